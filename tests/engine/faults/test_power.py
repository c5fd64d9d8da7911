# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power goes at any point of a command: the store opens, is repaired, and has all that was acknowledged.

The command's calls are recorded (SQLite's own included) and carried out again up to each point; what was not synced is
lost in several ways (tests/support/faults_power.py). VITRINE_FAULTS=all takes every point, otherwise some of them.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from support.faults_power import MODELS, record
from support.host import Host
from vitrine.engine import Engine
from vitrine.settings import Settings
from vitrine.store import Store

from .conftest import TABLE

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]
ALL = os.environ.get("VITRINE_FAULTS") == "all"
POINTS = 5


def names(store: Store) -> set[str]:
    return {record.name for record in store.containers.list()}


def has_image(store: Store, name: str) -> bool:
    reference = f"docker.io/library/{name}:latest" if "/" not in name else name
    return any(reference in store.images.names(image.id) for image in store.images.list())


def committed(store: Store) -> bool:
    return has_image(store, "committed") and len(store.images.resolve("committed").layers) == 2


# command -> (what comes before it, its words, whether it was done)
COMMANDS = {
    "create": ([], ["create", "--name", "it", "-v", "named:/v", "busybox", "x"],
               lambda store: "it" in names(store) and os.path.isdir(store.volumes.get("named").path)),
    "rename": ([["create", "--name", "it", "busybox", "x"]], ["rename", "it", "other"],
               lambda store: "other" in names(store)),
    "rm": ([["create", "--name", "it", "busybox", "x"]], ["rm", "it"], lambda store: "it" not in names(store)),
    "tag": ([], ["tag", "busybox", "tagged"], lambda store: has_image(store, "tagged")),
    "rmi": ([["tag", "busybox", "tagged"]], ["rmi", "tagged"], lambda store: not has_image(store, "tagged")),
    "commit": ([["create", "--name", "it", "busybox", "x"], ["cp", "/etc/passwd", "it:/passwd"]],
               ["commit", "it", "committed"], committed),
    "load": ([], ["load", "-q", "-i", "ARCHIVE"], committed),
    "pull": ([], ["pull", "-q", "REMOTE"], lambda store: len(store.images.list()) == 2),
    "network create": ([], ["network", "create", "mine"], lambda store: store.networks.get("mine")),
    "volume create": ([], ["volume", "create", "mine"], lambda store: os.path.isdir(store.volumes.get("mine").path)),
}  # fmt: skip


@pytest.fixture(scope="module")
def ground(tmp_path_factory, use_cases):
    """A host with a small image and things acknowledged long ago; an archive, and a registry's image."""
    from support.base_image import busybox_image

    here = Host(tmp_path_factory.mktemp("power"))
    with Store(str(here.root)) as store:
        busybox_image(store, applets=False)
    here("create", "--name", "witness", "-v", "kept:/kept", "busybox", "x")
    here("tag", "busybox", "witness:image")
    here("create", "--name", "it", "busybox", "x")
    here("cp", "/etc/passwd", "it:/passwd")
    here("commit", "it", "committed")
    archive = str(here.root.parent / "saved.tar")
    here("save", "-o", archive, "committed")
    remote = str(use_cases["pull"].words[-1]).replace("/it:1", "/power:1") if "pull" in use_cases else ""
    if remote:
        here("tag", "committed", remote)
        here("push", "-q", remote)
        here("rmi", remote)
    here("rm", "it")
    here("rmi", "committed")
    return here, archive, remote


@pytest.mark.parametrize("name", COMMANDS)
def test_the_power_goes(ground, tmp_path, name):
    before, words, done = COMMANDS[name]
    origin, archive, remote = ground
    if words[0] == "pull" and not remote:
        pytest.skip("needs docker-registry")
    host = Host(tmp_path / "host")
    shutil.copytree(origin.root, host.root, symlinks=True)
    for line in before:
        host(*line)
    words = [{"ARCHIVE": archive, "REMOTE": remote}.get(word, word) for word in words]
    replay, result = record([*host.base, *words], str(host.root), host.env, str(tmp_path / "log"))
    assert result.returncode == 0, result
    with Store(str(host.root)) as store:
        assert done(store), "the command itself did not do it"
    chosen = points(replay)
    failures = []
    for point in chosen:
        replay.go_to(point)
        for model in MODELS:
            call = replay.told(point) if point else ""
            try:
                found(replay, model, tmp_path / "found", done if point == chosen[-1] else None)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is one of many points
                failures.append(f"{model}, after {point} calls, the last: {call}\n  {error!r}")
            shutil.rmtree(tmp_path / "found", ignore_errors=True)
    TABLE.setdefault(name, {})["power"] = f"{len(replay.calls)} ({len(chosen)})"
    assert not failures, "\n".join(failures)


def points(replay) -> list[int]:
    """After each call that changes something of the folder, and the end; some of them unless all are wanted."""
    changing = ("write", "pwrite64", "rename", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "fsync",
                "fdatasync", "ftruncate", "symlink", "link")  # fmt: skip
    found = [
        index + 1
        for index, (_pid, name, text, _result) in enumerate(replay.calls)
        if name in changing and replay.folder.encode().hex() in text.replace("\\x", "")
    ]
    step = 1 if ALL else max(1, len(found) // POINTS)
    return sorted({0, *found[::step], len(replay.calls)})


def found(replay, model: str, target: Path, done) -> None:
    """The machine comes up again, and somebody looks."""
    target.mkdir()
    replay.materialise(str(target / "root"), model)
    config = target / "config.json"
    config.write_text("{}")
    engine = Engine(Settings.load(str(target / "root"), str(target / "run"), str(config)))
    try:
        report = engine.system.check(repair=True)
        assert not any("could not put right" in line for line in report["reconciled"]), report["reconciled"]
        assert not any(".damaged-" in line for line in report["reconciled"]), report["reconciled"]
        again = engine.store.verify()
        assert again == [], again
        store = engine.store
        assert "witness" in names(store) and has_image(store, "docker.io/library/witness:image"), "the witness is lost"
        assert os.path.isdir(store.volumes.get("kept").path)
        for record in store.containers.list():
            assert os.path.isdir(f"{store.root}/containers/{record.id}"), f"no folder of {record.name}"
        if done is not None:
            assert done(store), "what was acknowledged is lost"
            assert report["store"] == [], report["store"]
    finally:
        engine.store.close()
