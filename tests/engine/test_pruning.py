# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes, what takes room, and making some: only what nothing needs goes, and what is asked for is all that goes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support.host import Host
from support.refusals import refused

# -- volumes --------------------------------------------------------------------------------------------------------


def test_the_life_of_a_volume(host: Host) -> None:
    assert host("volume", "create", "data", "--label", "a=b") == "data\n" == host("volume", "create", "data")
    nameless = host("volume", "create").strip()
    assert re.fullmatch("[0-9a-f]{64}", nameless)
    (document,) = json.loads(host("volume", "inspect", "data"))
    assert document["Labels"] == {"a": "b"} and Path(document["Mountpoint"]).is_dir() and document["Driver"] == "local"
    assert json.loads(host("inspect", "--type", "volume", "data")) == json.loads(host("inspect", "data")) == [document]
    assert host("volume", "inspect", "-f", "{{.Name}} {{.Labels.a}}", "data") == "data b\n"
    host("run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo kept > /d/file")
    assert Path(document["Mountpoint"], "file").read_text() == "kept\n"
    host("create", "--name", "it", "-v", "data:/d", "busybox", "true")
    try:
        lines = host("volume", "ls").splitlines()
        assert [line.split() for line in lines] == [["DRIVER", "VOLUME", "NAME"]] + [
            ["local", name] for name in sorted(["data", nameless])
        ]
        for words, names in (
            (["dangling=true"], [nameless]), (["dangling=false"], ["data"]), (["name=dat"], ["data"]),
            (["label=a"], ["data"]), (["label=a=c"], []), (["driver=local"], sorted(["data", nameless])),
            (["driver=nfs"], []), (["name=dat", "dangling=1"], []),
        ):  # fmt: skip
            flags = [flag for word in words for flag in ("-f", word)]
            assert host("volume", "ls", "-q", *flags).split() == names, words
        refused(host.try_("volume", "rm", "data"), 1, "data", "'it'")
        assert Path(document["Mountpoint"], "file").exists()
    finally:
        host("rm", "it")
    assert host("volume", "rm", "data", nameless) == f"data\n{nameless}\n"
    assert not Path(document["Mountpoint"]).parent.exists()
    refused(host.try_("volume", "rm", "data"), 1, "data", "volume ls")
    assert host("volume", "rm", "-f", "data") == "data\n"


# -- prune ------------------------------------------------------------------------------------------------------------


def test_containers_that_do_not_run_go(host: Host, sleeper: str) -> None:
    made = host("create", "--name", "made", "busybox", "true").strip()
    ended = host("run", "-d", "--name", "ended", "-l", "keep=yes", "busybox", "head", "-c", "1", "/dev/zero").strip()
    host("wait", "ended")
    host("pause", sleeper)
    result = host.try_("container", "prune", stdin="n\n")
    assert result.code == 0 and "Are you sure" in result.out and len(host("ps", "-aq").split()) == 3
    assert host("container", "prune", "-f", "--filter", "until=1h").startswith("Total reclaimed space: 0B")
    assert host("container", "prune", "-f", "--filter", "label=nosuch").startswith("Total")
    out = host("container", "prune", "--filter", "label!=keep", stdin="y\n")
    assert made in out and ended not in out
    assert ended in host("container", "prune", "-f", "--filter", "label=keep=yes")
    assert host("ps", "-a", "--format", "{{.Names}} {{.State}}") == f"{sleeper} paused\n"
    host("unpause", sleeper)


def test_a_container_in_the_making_stays(host: Host) -> None:
    identity = host("create", "--name", "it", "busybox", "true").strip()
    owner = host.root / "containers" / identity / "owner"
    import fcntl

    with owner.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert identity not in host("container", "prune", "-f")
        assert host("ps", "-aq", "--no-trunc").split() == [identity]
    owner.unlink()
    host("rm", "it")


def test_images_that_nothing_needs_go(new_host) -> None:
    host: Host = new_host()
    host("run", "--name", "it", "busybox", "sh", "-c", "head -c 100000 /dev/urandom > /big")
    nameless = host("commit", "it").strip()
    host("commit", "-c", "LABEL a=b", "it", "named:1")
    host("rm", "it")
    host("create", "--name", "user", "busybox", "true")
    out = host("image", "prune", "-f")
    assert f"deleted: {nameless}" in out and "named" not in out
    assert host("image", "prune", "-af", "--filter", "label=nosuch") == "Total reclaimed space: 0B\n"
    out = host("image", "prune", "-af")
    assert "untagged: named:1" in out and re.search(r"Total reclaimed space: 10\d(\.\d+)?kB$", out)
    assert host("images", "--format", "{{.Repository}}") == "busybox\n"  # a container needs it
    host("rm", "user")
    assert "untagged: busybox:latest" in host("image", "prune", "-af")
    assert host("images", "-q") == ""


def test_volumes_that_nobody_mounts_go(host: Host) -> None:
    host("volume", "create", "named", "--label", "a=b")
    used = host("create", "--name", "it", "-v", "/anonymous", "busybox", "true") and host("volume", "ls", "-q").split()
    try:
        assert host("volume", "prune", "-f") == "Total reclaimed space: 0B\n"
        assert host("volume", "prune", "-af", "--filter", "label!=a") == "Total reclaimed space: 0B\n"
        assert host("volume", "prune", "-af", "--filter", "label=a=b").splitlines()[:2] == ["Deleted Volumes:", "named"]
        left = host("volume", "ls", "-q").split()
        assert len(left) == 1 and set(left) < set(used)
    finally:
        host("rm", "it")
    assert left[0] in host("volume", "prune", "-f")


def test_what_takes_room(new_host) -> None:
    host: Host = new_host()

    def rows() -> dict[str, dict[str, str]]:
        lines = host("system", "df", "--format", "json").splitlines()
        return {row["Type"]: row for row in map(json.loads, lines)}

    assert rows()["Images"]["Reclaimable"].endswith("(100%)")
    host("run", "--name", "it", "-v", "data:/d", "busybox", "sh", "-c", "head -c 30000 /dev/zero > /x; cp /x /d")
    found = rows()
    assert (found["Images"]["TotalCount"], found["Images"]["Active"]) == ("1", "1")
    assert found["Images"]["Reclaimable"].startswith("0B")
    assert found["Containers"]["Size"] == "30kB" and found["Containers"]["Reclaimable"] == "30kB (100%)"
    assert found["Local Volumes"]["Size"] == "30kB" and found["Local Volumes"]["Reclaimable"].startswith("0B")
    assert host("system", "df").splitlines()[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    host("network", "create", "idle")
    out = host("system", "prune", "-f")
    assert "Deleted Networks:\nidle\n" in out
    assert out.endswith("Total reclaimed space: 30kB\n") and host("ps", "-aq") == ""
    assert host("volume", "ls", "-q") == "data\n" and host("images", "-q") != ""
    assert "untagged: busybox:latest" in host("system", "prune", "-af", "--volumes")
    host("volume", "rm", "data")


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["volume"], 1, ["volume", "create", "ls"]),
        (["volume", "burn"], 1, ["volume burn", "create"]),
        (["volume", "create", "a b"], 1, ["a b", "letters"]),
        (["volume", "create", "../x"], 1, ["../x"]),
        (["volume", "create", ""], 1, ["empty"]),
        (["volume", "create", "-d", "nfs", "x"], 125, ["nfs", "local"]),
        (["volume", "create", "--label", "=x"], 1, ["=x"]),
        (["volume", "inspect", "nosuch"], 1, ["nosuch"]),
        (["volume", "inspect"], 1, ["at least 1 argument"]),
        (["volume", "ls", "-f", "colour=red"], 1, ["colour", "dangling"]),
        (["volume", "ls", "-f", "dangling=perhaps"], 1, ["perhaps", "true"]),
        (["volume", "rm"], 1, ["at least 1 argument"]),
        (["container", "prune", "-f", "--filter", "colour=red"], 1, ["colour", "until"]),
        (["container", "prune", "-f", "--filter", "until=soon"], 1, ["soon"]),
        (["volume", "prune", "-f", "--filter", "until=1h"], 1, ["until", "label"]),
        (["image", "prune", "-f", "extra"], 1, ["0 arguments"]),
        (["system", "df", "--format", "xml"], 125, ["xml", "json"]),
        (["system"], 1, ["system", "df"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_usage(host: Host, words: list[str], code: int, expected: list[str]) -> None:
    refused(host.try_(*words), code, *expected)
