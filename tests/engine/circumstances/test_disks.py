# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that are full, out of inodes, read-only, or lack what others have: said, and nothing is half made."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.host import Host
from support.refusals import Elsewhere, in_namespace, refused, whole
from support.traces import Traces, until

from .conftest import inside

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

TICK = ("sh", "-c", "while :; do echo tick; sleep 0.05; done")


def works_again(host: Elsewhere, context: Path) -> None:
    """With room again, all that was refused is done."""
    whole(host)
    assert host("run", "--name", "again", "busybox", "sh", "-c", "echo more > /more; echo fine") == "fine\n"
    host("commit", "again", "copy")
    assert host("run", "--rm", "copy", "cat", "/more") == "more\n"
    host("rmi", "copy")
    host("rm", "again")
    assert host("run", "--rm", host("build", "-q", str(context)).strip(), "cat", "/built") == "built\n"


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM busybox\nRUN echo built > /built\n")
    return folder


@pytest.fixture
def saved(host: Host, tmp_path: Path) -> Path:
    """An image's archive of 8 MB."""
    host("run", "--name", "large", "busybox", "dd", "if=/dev/urandom", "of=/large", "bs=1M", "count=8")
    host("commit", "large", "large")
    host("save", "-o", tmp_path / "large.tar", "large")
    host("rm", "large")
    host("rmi", "large")
    return tmp_path / "large.tar"


@pytest.mark.parametrize("full", ["blocks", "inodes"])
def test_a_full_disk(on_disk, context: Path, saved: Path, full: str) -> None:
    limit = "size=40m" if full == "blocks" else "size=400m,nr_inodes=3000"
    with on_disk(f"mount -t tmpfs -o {limit} none ROOT") as host:
        host("run", "-d", "--name", "lives", "busybox", *TICK)
        until(lambda: host("logs", "lives"))
        fill = f"dd if=/dev/zero of={host.root}/fill bs=4k; true"
        if full == "inodes":
            fill = f"mkdir {host.root}/fill; cd {host.root}/fill; i=0; while echo > $i; do i=$((i+1)); done; true"
        inside(host, "sh", "-c", f"{fill} 2>/dev/null")
        images = host("images", "-aq", "--no-trunc")
        for words in (
            ["create", "busybox"], ["run", "--rm", "busybox", "true"], ["run", "-d", "busybox", "true"],
            ["commit", "lives", "copy"], ["build", "-q", str(context)], ["load", "-i", str(saved)],
            ["volume", "create", "mine"],
        ):  # fmt: skip
            result = host.try_(*words)
            assert result.code in (1, 125), (words, result)
            refused(result, result.code, "space")
        assert host("images", "-aq", "--no-trunc") == images
        assert [line.split()[-1] for line in host("ps", "-a").splitlines()[1:]] == ["lives"]
        # what runs is not held up, and can be looked at and stopped
        assert host("exec", "lives", "echo", "inside") == "inside\n"
        assert "tick" in host("logs", "--tail", "1", "lives")
        host("stop", "-t", "0", "lives")
        assert "Exited (137)" in host("ps", "-a")
        refused(host.try_("start", "lives"), 125, "space")
        inside(host, "rm", "-rf", f"{host.root}/fill")
        host("start", "lives")
        before = host("logs", "lives")
        until(lambda: host("logs", "lives") > before)
        host("rm", "-f", "lives")
        host("load", "-i", saved)
        works_again(host, context)


def test_a_log_on_a_full_disk_holds_nobody_up(on_disk) -> None:
    with on_disk("mount -t tmpfs -o size=24m none ROOT") as host:
        lines = 400_000
        host("run", "-d", "--name", "talks", "busybox", "sh", "-c", f"seq {lines}; exec sleep 1000")
        host("run", "-d", "--name", "shouts", "busybox", "sh", "-c", f"seq {lines}; echo ended >/over; exec sleep 1000")
        until(lambda: host.try_("exec", "shouts", "cat", "/over").code == 0 or full(host), 60)
        assert full(host), "the disk was meant to be too small"
        host("stop", "-t", "0", "talks", "shouts")
        lost = [json.loads(inside(host, "cat", path))["log_dropped"] for path in states(host)]
        assert any(lost), lost
        removed = host.try_("rm", "talks")
        if removed.code:  # of nothing at all, nothing can be written down
            refused(removed, 1, "space")
            inside(host, "sh", "-c", f"rm {host.root}/containers/*/*-json.log")
            host("rm", "talks")
        host("run", "-d", "--name", "after", "busybox", "echo", "word")
        assert until(lambda: host("logs", "after")) == "word\n"


def states(host: Elsewhere) -> list[str]:
    """The paths of all containers' records; in the run root is what the disk did not take."""
    return inside(host, "find", host.root / "containers", host.run_root, "-name", "state.json").split()


def full(host: Elsewhere) -> bool:
    return int(inside(host, "stat", "-f", "-c", "%a", host.root)) == 0


def read_only(host: Host) -> Elsewhere:
    """The same host to commands for which its engine root cannot be written to."""
    return Elsewhere(
        host, *in_namespace(f"mount --bind {host.root} {host.root} && mount -o remount,ro,bind {host.root}")
    )


READING = (
    "ps -a", "images", "inspect over", "logs over", "logs --tail 1 lives", "history busybox", "diff over", "wait over",
    "volume ls", "events --since 1h --until 0s", "info",
)  # fmt: skip
LIVING = ("exec lives true", "stats --no-stream lives", "top lives", "port lives")
WRITING = (
    "run --rm busybox true", "create busybox", "start over", "stop lives", "rm -f lives", "rm over", "commit over copy",
    "tag busybox mine", "rename over other", "volume create mine", "pause lives", "kill lives", "restart lives",
)  # fmt: skip


def test_a_read_only_disk(new_host) -> None:
    host = new_host()
    host("run", "-d", "--name", "lives", "busybox", *TICK)
    host("run", "--name", "over", "busybox", "echo", "spoken")
    frozen = read_only(host)
    for words in (*READING, *LIVING):
        result = frozen.try_(*words.split())
        assert result.code == 0, (words, result)
    assert frozen("logs", "over") == "spoken\n"
    before = host("ps", "-a", "--no-trunc", "--format", "json"), host("images", "--format", "json")
    for words in WRITING:
        result = frozen.try_(*words.split())
        refused(result, result.code, str(host.root))
        assert result.code in (1, 125) and ("read-only" in result.err.lower() or "readonly" in result.err), result
    seen = host("ps", "-a", "--no-trunc", "--format", "json"), host("images", "--format", "json")
    assert [line.count('"State": "running"') for line in seen] == [line.count('"State": "running"') for line in before]
    whole(host)
    # as after a reboot into a read-only system, the index closed in good order
    host("rm", "-f", "lives")
    closed(host)
    for words in ("ps -a", "images", "inspect over", "logs over", "history busybox"):
        result = frozen.try_(*words.split())
        assert result.code == 0, (words, result)
    result = frozen.try_("tag", "busybox", "mine")
    refused(result, 125, "readonly")


def closed(host: Host) -> None:
    """Have SQLite take away what it keeps beside the index while it is used."""
    from vitrine.store import Store

    with Store(str(host.root)) as store:
        store.images.list()
    assert not (host.root / "vitrine.db-wal").exists()


def test_a_disk_without_extended_attributes(on_disk, context: Path) -> None:
    """ramfs has none, and so no overlay can be written on it: layers are copied then."""
    with on_disk("mount -t ramfs none ROOT") as host:
        assert "copy" in host("info")
        host("run", "--name", "changed", "busybox", "rm", "/etc/group")
        host("commit", "changed", "without")
        assert "group" not in host("run", "--rm", "without", "ls", "/etc")
        works_again(host, context)


def test_a_disk_mounted_noexec_nodev_nosuid(on_disk, context: Path) -> None:
    """As /var often is: what is in a container has mounts of its own."""
    with on_disk("mount -t tmpfs -o noexec,nodev,nosuid none ROOT") as host:
        script = "cp /bin/busybox /tmp/echo && /tmp/echo runs && echo x > /dev/null && test -c /dev/null"
        assert host("run", "--rm", "busybox", "sh", "-c", script) == "runs\n"
        works_again(host, context)


def test_layers_that_are_copied(tmp_path: Path) -> None:
    from support.base_image import busybox_image
    from vitrine.store import Store

    here = Host(tmp_path / "host", '{"storage_driver": "copy"}')
    with Store(str(here.root), driver="copy") as store:
        busybox_image(store)
    assert "Driver: copy" in here("info")
    assert here("run", "--name", "it", "busybox", "sh", "-c", "rm /etc/group; echo fine") == "fine\n"
    here("commit", "it", "copy")
    assert "group" not in here("run", "--rm", "copy", "ls", "/etc")
    here.close()
    Traces(here).gone()
