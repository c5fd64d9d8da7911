# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two versions of the engine on one host: an upgrade does not end the containers that run.

The other version is this one with other numbers: of the engine, of the monitor's protocol, of what a monitor saves.
"""

from __future__ import annotations

import json
import marshal
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from support.host import CHECKOUT, Host
from support.refusals import refused, whole
from support.traces import Traces, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

OTHER = {
    "version.py": (r'VERSION = "[^"]*"', 'VERSION = "999.0.0"'),
    "supervise/wire.py": (r"(?m)^VERSION = \d+", "VERSION = 99"),
}
TALK = ("sh", "-c", "while read line; do echo heard $line; done")


class OtherVersion(Host):
    """The same engine root, used with another version of the engine."""

    def __init__(self, like: Host, launcher: Path) -> None:
        self.__dict__.update(like.__dict__)
        self.launcher = str(launcher)

    @property
    def base(self) -> list[str]:
        return [self.launcher, *super().base[1:]]


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other")
    engine = folder / "plugins/module_utils/vitrine"
    shutil.copytree(CHECKOUT / "plugins/module_utils/vitrine", engine, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (found, wanted) in OTHER.items():
        text, count = re.subn(found, wanted, (engine / name).read_text())
        assert count == 1, name
        (engine / name).write_text(text)
    wire = engine / "supervise/wire.py"
    text, count = re.subn(r"(?m)^SAVED_FORMAT = \d+", "SAVED_FORMAT = 99", wire.read_text())
    assert count == 1
    wire.write_text(text)
    (folder / "scripts").mkdir()
    shutil.copy(CHECKOUT / "scripts/vitrine", folder / "scripts/vitrine")
    return folder / "scripts/vitrine"


@pytest.fixture
def versions(host: Host, launcher: Path):
    yield host, OtherVersion(host, launcher)
    host.close()
    whole(host)
    Traces(host).gone()


@pytest.fixture(params=["upgraded", "downgraded"])
def old_and_new(versions, request: pytest.FixtureRequest):
    """(who started the containers, who comes after)."""
    return versions if request.param == "upgraded" else versions[::-1]


def state(host: Host, name: str) -> dict:
    container = json.loads(host("inspect", name))[0]["Id"]
    return json.loads((host.root / "containers" / container / "state.json").read_text())


def test_containers_of_another_version(old_and_new) -> None:
    old, new = old_and_new
    assert old("version") != new("version")
    old("run", "-d", "--name", "lives", "--restart", "always", "-p", "127.0.0.1::80", "busybox", "sleep", "1000")
    old("run", "-d", "-i", "--name", "talks", "busybox", *TALK)
    old("create", "--name", "made", "busybox", "echo", "made")
    before = {name: state(old, name) for name in ("lives", "talks")}
    # everything but to talk to the monitor itself
    assert {line.split()[-1] for line in new("ps").splitlines()[1:]} == {"lives", "talks"}
    assert new("exec", "lives", "echo", "inside") == "inside\n"
    assert new("port", "lives") == old("port", "lives")
    assert new("top", "lives") and new("stats", "--no-stream", "lives")
    assert new("start", "-a", "made") == "made\n"
    assert new("logs", "made") == "made\n"
    new("pause", "lives")
    old("unpause", "lives")
    new("commit", "lives", "copy")
    refused(new.try_("attach", "talks"), 1, "another version", "restart the container")
    refused(new.try_("attach", "--no-stdin", "talks"), 1, "another version")
    assert {name: state(new, name) for name in before} == before, "nobody was disturbed"
    # each version's containers side by side, and both stop them
    new("run", "-d", "--name", "new", "busybox", "sleep", "1000")
    old("stop", "-t", "0", "new")
    assert state(old, "new")["exit_code"] == 137
    new("restart", "-t", "0", "talks")
    new("stop", "-t", "0", "lives")
    assert state(new, "lives")["exit_code"] == 137 and state(new, "lives")["status"] == "exited"
    new("rmi", "copy")


def test_a_wait_for_a_container_of_another_version(old_and_new) -> None:
    old, new = old_and_new
    old("run", "-d", "-i", "--name", "ends", "busybox", "sh", "-c", "sleep 0.5; exit 7")
    assert new("wait", "ends") == "7\n"


def test_a_monitor_of_another_version_that_dies(old_and_new) -> None:
    """What it saved is not understood: the new one's request is made anew from the record."""
    old, new = old_and_new
    old("run", "-d", "--name", "it", "-p", "127.0.0.1::80", "busybox", "sh", "-c", "while sleep 0.1; do echo x; done")
    before = state(old, "it")
    container = json.loads(old("inspect", "it"))[0]["Id"]
    saved = old.run_root / container / "request"
    kept = marshal.loads(saved.read_bytes())
    os.kill(before["monitor_pid"], signal.SIGKILL)
    assert "it" in new("ps")
    after = state(new, "it")
    assert after["monitor_pid"] != before["monitor_pid"]
    assert (after["pid"], after["ports"]) == (before["pid"], before["ports"])
    assert marshal.loads(saved.read_bytes())["format"] != kept["format"]
    lines = len(new("logs", "it").split())
    until(lambda: len(new("logs", "it").split()) > lines)
    new("stop", "-t", "0", "it")


def test_a_saved_request_that_nobody_understands(versions) -> None:
    host, _other = versions
    for text in (b"", b"\xff" * 20, marshal.dumps([1]), marshal.dumps({"format": 1 << 40})):
        host("run", "-d", "--name", "it", "busybox", "sleep", "1000")
        container = json.loads(host("inspect", "it"))[0]["Id"]
        (host.run_root / container / "request").write_bytes(text)
        os.kill(state(host, "it")["monitor_pid"], signal.SIGKILL)
        assert "it" in host("ps")
        host("rm", "-f", "it")


def test_an_index_of_a_newer_engine(versions, tmp_path: Path) -> None:
    import sqlite3

    host, _other = versions
    index = sqlite3.connect(host.root / "vitrine.db")
    (version,) = index.execute("PRAGMA user_version").fetchone()
    try:
        index.execute("PRAGMA user_version = 999")
        index.commit()
        for words in (["ps"], ["run", "--rm", "busybox", "true"], ["images"]):
            refused(host.try_(*words), 125, "newer engine", "999")
    finally:
        index.execute(f"PRAGMA user_version = {version}")
        index.commit()
        index.close()
    assert host("run", "--rm", "busybox", "echo", "fine") == "fine\n"
