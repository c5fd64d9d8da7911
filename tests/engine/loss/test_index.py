# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index (vitrine.db) is damaged below running containers: they go on, and are managed again after one command."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from support.host import Host
from support.traces import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def remove(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)


def settle(path: Path) -> None:
    """Bring all that SQLite's own log holds into the file, as it does now and then."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def cut_off(path: Path) -> None:
    settle(path)
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    settle(path)
    os.truncate(path, 0)


def header(path: Path) -> None:
    settle(path)
    with open(path, "r+b") as file:
        file.write(b"\0" * 100)


def without_log(path: Path) -> None:
    for end in ("-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)


def garbage_log(path: Path) -> None:
    Path(f"{path}-shm").unlink(missing_ok=True)
    Path(f"{path}-wal").write_bytes(b"garbage!" * 4096)


#: how -> whether the next command makes the index anew, and says so (else it is brought up from its log, silently)
DAMAGES = {
    "missing": (remove, True), "cut off": (cut_off, True), "emptied": (emptied, True), "header": (header, True),
    "SQLite's log deleted": (without_log, False), "SQLite's log overwritten": (garbage_log, False),
}  # fmt: skip


def known(host: Host) -> dict:
    """What a user sees of everything."""
    rows = [json.loads(line) for line in host("ps", "-a", "--no-trunc", "--format", "json").splitlines() if line]
    for row in rows:
        for changing in ("Status", "RunningFor"):
            row.pop(changing, None)
    images = host("images", "--no-trunc")
    return {"containers": rows, "images": [line.split()[:3] for line in images.splitlines()]}


@pytest.fixture
def ground(host, traces):
    """A host with running and stopped containers, a volume, names and an image of its own."""
    host("run", "-d", "--name", "runs", "-v", "data:/data", "busybox", "sh", "-c", "echo kept > /data/f; sleep 1000")
    host("run", "--name", "ended", "--network", "none", "busybox", "sh", "-c", "echo x > /file; exit 3", code=3)
    host("commit", "ended", "committed")
    host("rename", "ended", "renamed")
    host("tag", "busybox", "other:name")
    yield host
    for path in host.root.glob("vitrine.db.damaged-*"):
        path.unlink()
    host("rm", "-f", "runs", "renamed")
    host("rmi", "committed", "other:name")


@pytest.fixture
def host(host):
    """The host, whose commands may be expected to end with another exit code than 0."""

    class Coded:
        def __getattr__(self, name: str) -> object:
            return getattr(host, name)

        def __call__(self, *words: object, code: int = 0) -> str:
            result = host.try_(*words)
            assert result.code == code, result
            return result.out

    return Coded()


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_index_below_running_containers(ground, traces, how):
    host = ground
    damage, anew = DAMAGES[how]
    before = known(host)
    (init,) = traces.inits()
    damage(host.root / "vitrine.db")
    result = host.try_("ps", "-q")
    assert result.code == 0 and len(result.out.split()) == 1, result
    if anew:
        assert "could not be used" in result.err and "made anew from vitrine.redo" in result.err, result
        kept = [path for path in host.root.glob("vitrine.db.damaged-*") if not str(path).endswith("-wal")]
        assert len(kept) == (how != "missing") and all(str(path) in result.err for path in kept)
    else:
        assert result.err == "", result
    assert host.try_("ps", "-q").err == ""  # it is said once
    assert known(host) == before
    assert traces.inits() == [init]  # nothing was restarted
    assert host("exec", "runs", "cat", "/data/f") == "kept\n"
    assert host("run", "--rm", "--network", "none", "committed", "cat", "/file") == "x\n"
    host("stop", "-t", "0", "runs")
    assert json.loads(host("inspect", "runs"))[0]["State"]["Status"] == "exited"
    host("start", "runs")
    assert json.loads(host("inspect", "renamed"))[0]["State"]["ExitCode"] == 3
    report = json.loads(host("check", "--format", "json"))
    assert report["store"] == []


def test_a_page_in_the_middle(ground, traces):
    host = ground
    before = known(host)
    settle(host.root / "vitrine.db")
    connection = sqlite3.connect(host.root / "vitrine.db")
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'containers'").fetchone()
    connection.close()
    with open(host.root / "vitrine.db", "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))
    result = host.try_("ps", "-q")
    assert result.code != 0 and "damaged" in result.err and "vitrine check --repair" in result.err, result
    assert len(traces.inits()) == 1
    repaired = host("check", "--repair")
    assert "made anew from vitrine.redo" in repaired and "the store is whole" in repaired
    assert known(host) == before
    assert host("exec", "runs", "cat", "/data/f") == "kept\n"


def test_both_the_index_and_its_log(ground, traces):
    """Then nothing can be known, so nothing is touched; with either of them back everything is there again."""
    host = ground
    before = known(host)
    settle(host.root / "vitrine.db")
    aside = host.root.parent / "aside"
    aside.mkdir()
    for name in ("vitrine.db", "vitrine.redo"):
        os.rename(host.root / name, aside / name)
    without_log(host.root / "vitrine.db")
    tree = sorted(os.listdir(host.root / "layers")), sorted(os.listdir(host.root / "containers"))
    for words in (("ps",), ("run", "--rm", "busybox", "true"), ("check", "--repair")):
        result = host.try_(*words)
        assert result.code != 0 and "nor can its log" in result.err and "from a backup" in result.err, result
    assert (sorted(os.listdir(host.root / "layers")), sorted(os.listdir(host.root / "containers"))) == tree
    assert len(traces.inits()) == 1
    os.replace(aside / "vitrine.redo", host.root / "vitrine.redo")
    (aside / "vitrine.db").unlink()
    aside.rmdir()
    assert known(host) == before


def test_damage_while_a_command_is_at_work(ground, traces, tmp_path):
    """Who has the old index open is told, and can do it again; what it had done by then is there."""
    host = ground
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN sleep 1; echo y > /file\n")
    words = ("build", "-q", "-t", "slow", tmp_path)
    slow = host.spawn(*words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: len(traces.inits()) == 2, 20)
    remove(host.root / "vitrine.db")
    assert "made anew" in host.try_("ps", "-q").err
    _out, err = slow.communicate(timeout=60)
    assert slow.returncode == 0 or "made anew by another command" in err, err
    until(lambda: len(traces.inits()) == 1, 20)
    host(*words)
    report = json.loads(host("check", "--format", "json"))
    assert report["store"] == []
    host("rmi", "slow")
