# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at containers from outside: processes, live use, archives, filters, waiting; and names that change."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from support.host import Host
from support.refusals import refused
from support.traces import until

# -- top ------------------------------------------------------------------------------------------------------------


def test_top(host: Host, sleeper: str) -> None:
    pid = host("inspect", "-f", "{{.State.Pid}}", sleeper).strip()
    host("exec", "-d", sleeper, "sleep", "601")
    until(lambda: "601" in host("top", sleeper))
    lines = host("top", sleeper).splitlines()
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    rows = {line.split()[1]: line.split(None, 7) for line in lines[1:]}
    assert set(rows) == {
        word for word in host("top", sleeper, "-e", "-o", "pid").split() if word.isdigit()
    } and len(rows) == 2  # fmt: skip
    user, _pid, parent, _c, begun, terminal, used, command = rows[pid]
    assert (user, terminal, used, command) == ("root", "?", "00:00:00", "sleep 600")
    assert re.fullmatch(r"\d\d:\d\d", begun) and Path("/proc", parent).is_dir()
    # what ps says of them with its own columns
    shown = host("top", sleeper, "-o", "pid,args")
    assert re.search(rf"^{pid} +sleep 600$", shown, re.MULTILINE) and len(shown.splitlines()) == 3


def test_top_of_a_terminal(host: Host) -> None:
    host("run", "-d", "-t", "--name", "it", "busybox", "sleep", "600")
    try:
        assert re.search(r" pts/\d+ +00:00:00 +sleep 600$", host("top", "it"), re.MULTILINE)
    finally:
        host("rm", "-f", "it")


# -- stats ----------------------------------------------------------------------------------------------------------


def test_stats(host: Host) -> None:
    script = "dd if=/dev/zero of=/dev/shm/held bs=1M count=20; echo ready; while :; do :; done"
    host("run", "-d", "--name", "it", "-m", "64m", "busybox", "sh", "-c", script)
    host("create", "--name", "still", "busybox", "true")
    try:
        until(lambda: "ready" in host("logs", "it"))
        lines = host("stats", "--no-stream").splitlines()
        heads = ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]
        assert re.split(r"\s{2,}", lines[0]) == heads and len(lines) == 2
        row = json.loads(host("stats", "--no-stream", "--format", "json", "it"))
        assert re.fullmatch(r"2[\d.]+MiB / 64MiB", row["MemUsage"]) and row["PIDs"] == "1", row
        assert float(row["CPUPerc"].rstrip("%")) > 1 and 30 < float(row["MemPerc"].rstrip("%")) < 50
        rows = [json.loads(line) for line in host("stats", "-a", "--no-stream", "--format", "json").splitlines()]
        assert {item["Name"]: item["PIDs"] for item in rows} == {"it": "1", "still": "--"}
        assert len(rows[0]["ID"]) == 12
        whole = json.loads(host("stats", "--no-stream", "--no-trunc", "--format", "json", "it"))["ID"]
        assert len(whole) == 64 and whole.startswith(row["ID"])
        assert (
            host("stats", "-a", "--no-stream", "--format", "{{.Name}}={{.PIDs}}", "it", "still") == "it=1\nstill=--\n"
        )
    finally:
        host("rm", "-f", "it", "still")


def test_stats_go_on_until_interrupted(host: Host, sleeper: str) -> None:
    process = host.spawn("stats", "--format", "json", stdout=subprocess.PIPE, text=True)
    try:
        assert [json.loads(process.stdout.readline())["Name"] for _ in range(3)] == [sleeper] * 3
        process.send_signal(2)
        assert process.wait(10) == 130
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_cache_that_can_be_dropped_is_not_counted(host: Host) -> None:
    script = "dd if=/dev/zero of=/big bs=1M count=50; sync; echo ready; sleep 600"
    host("run", "-d", "--name", "it", "busybox", "sh", "-c", script)
    try:
        until(lambda: "ready" in host("logs", "it"), 60)
        used = json.loads(host("stats", "--no-stream", "--format", "json", "it"))["MemUsage"].partition(" / ")[0]
        number, unit = re.fullmatch(r"([\d.]+)(\w+)", used).groups()
        assert unit in ("B", "KiB") or float(number) < 40, used
    finally:
        host("rm", "-f", "it")


# -- export ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["overlay", "copy"])
def test_export(host: Host, new_host, tmp_path: Path, driver: str) -> None:
    archive = tmp_path / "busybox.tar"
    host("save", "-o", archive, "busybox")
    host = new_host(image=False, storage_driver=driver)
    host("load", "-i", archive)
    script = (
        "echo new > /made; rm /bin/ls; ln /made /twin; mkdir /d; chmod 700 /d; echo in > /vol/file; echo ok; sleep 600"
    )
    host("run", "-d", "--name", "it", "-v", "data:/vol", "busybox", "sh", "-c", script)
    until(lambda: "ok" in host("logs", "it"))
    running, stopped = tmp_path / "running.tar", tmp_path / "stopped.tar"
    host("export", "-o", running, "it")
    host("stop", "-t", "0", "it")
    with stopped.open("wb") as file:
        assert host.spawn("export", "it", stdout=file).wait() == 0
    for path in (running, stopped):
        with tarfile.open(path) as archive:
            members = {member.name: member for member in archive}
            assert archive.extractfile("made").read() == b"new\n"
        assert "bin/ls" not in members and "bin/sh" in members and members["twin"].islnk() != members["made"].islnk()
        assert members["d"].mode & 0o777 == 0o700 and members["proc"].isdir() and members["vol"].isdir()
        assert not [name for name in members if name.startswith(("vol/", "proc/", ".wh."))]
    assert (running.stat().st_mode & 0o777) == 0o600
    host("rm", "-f", "it")
    host("volume", "rm", "data")


def test_a_failing_export_leaves_no_file(host: Host, tmp_path: Path) -> None:
    refused(host.try_("export", "-o", tmp_path / "x.tar", "nosuch"), 1, "nosuch")
    assert os.listdir(tmp_path) == []
    code, shown = host.in_terminal("export", "nosuch")
    assert code == 1 and "nosuch" in shown


# -- ps -------------------------------------------------------------------------------------------------------------


def test_filters_of_ps(host: Host) -> None:
    host("create", "--name", "web-1", "-l", "a=b", "-p", "127.0.0.1:8099:80", "-v", "data:/data", "busybox", "true")
    host("tag", "busybox", "other:1")
    host("commit", "-c", "EXPOSE 7000/udp", "web-1", "made:1")
    host("create", "--name", "web-2", "--network", "none", "--expose", "9000-9002", "busybox", "true")
    host("create", "--name", "db", "made:1", "true")
    host.try_("run", "--name", "failed", "busybox", "sh", "-c", "exit 3")
    try:
        for words, names in {
            ("name=web",): {"web-1", "web-2"}, ("name=^web-1$",): {"web-1"}, ("name=^/web-1$",): {"web-1"},
            ("name=web-[2-9]",): {"web-2"}, ("network=none",): {"web-2"}, ("network=nosuch",): set(),
            ("volume=data",): {"web-1"}, ("volume=/data",): {"web-1"}, ("volume=none",): set(),
            ("publish=80",): {"web-1"}, ("publish=8099/tcp",): {"web-1"}, ("publish=8000-8100",): {"web-1"},
            ("publish=81",): set(), ("expose=9001",): {"web-2"}, ("expose=7000/udp",): {"db"}, ("expose=7000",): set(),
            ("before=web-2",): {"web-1"}, ("since=web-2",): {"db", "failed"}, ("exited=3",): {"failed"},
            ("ancestor=busybox",): {"web-1", "web-2", "db", "failed"}, ("ancestor=made:1",): {"db"},
            ("ancestor=other:1",): {"web-1", "web-2", "db", "failed"}, ("ancestor=nosuch",): set(),
            ("status=created", "status=exited"): {"web-1", "web-2", "db", "failed"},
            ("status=created", "name=db"): {"db"},
        }.items():  # fmt: skip
            flags = [flag for word in words for flag in ("-f", word)]
            assert set(host("ps", "-a", *flags, "--format", "{{.Names}}").split()) == names, words
        form = 'table {{.Names}}\\t{{.Label "a"}}\\t{{.Networks}}\\t{{.LocalVolumes}}'
        lines = host("ps", "-a", "-f", "volume=data", "--format", form).splitlines()
        assert re.split(r"\s{2,}", lines[0]) == ["NAMES", "A", "NETWORKS", "LOCALVOLUMES"]
        assert [re.split(r"\s{2,}", line) for line in lines[1:]] == [["web-1", "b", "bridge", "1"]]
    finally:
        host("rm", "-f", "web-1", "web-2", "db", "failed")
        host("rmi", "other:1", "made:1")
        host("volume", "rm", "data")


def test_sizes(host: Host) -> None:
    host("run", "--name", "it", "busybox", "sh", "-c", "head -c 5000 /dev/zero > /x; ln /x /y")
    try:
        document = json.loads(host("inspect", "--size", "it"))[0]
        assert document["SizeRw"] == 5000 and document["SizeRootFs"] > 500_000
        assert re.search(r"5kB \(virtual [\d.]+MB\)$", host("ps", "-a", "--size"), re.MULTILINE)
        assert "SizeRw" not in json.loads(host("inspect", "it"))[0]
    finally:
        host("rm", "it")


# -- wait, rename -----------------------------------------------------------------------------------------------------


def test_wait_for_several(host: Host) -> None:
    host("run", "-d", "--name", "slow", "busybox", "sh", "-c", "sleep 1; exit 4")
    host("run", "-d", "--rm", "--name", "fast", "busybox", "sh", "-c", "sleep 0.3; exit 5")
    assert host("wait", "slow", "fast") == "4\n5\n"
    result = host.try_("wait", "nosuch", "slow")
    assert result.out == "4\n" and "nosuch" in refused(result, 1)
    waiting = host.spawn("wait", "--condition", "running", "slow")
    host("start", "slow")
    assert waiting.wait(20) == 0
    waiting = host.spawn("wait", "--condition", "removed", "slow")
    assert waiting.poll() is None
    host("rm", "-f", "slow")
    assert waiting.wait(20) == 0
    assert host("wait", "--condition", "removed", "slow") == ""


def test_a_new_name_is_seen_everywhere(host: Host, sleeper: str) -> None:
    host("rename", sleeper, "renamed")
    try:
        assert host("ps", "--format", "{{.Names}}") == "renamed\n"
        assert host("inspect", "-f", "{{.Name}}", "renamed") == "/renamed\n"
        assert "renamed" in host("stats", "--no-stream")
        assert host("exec", "renamed", "echo", "here") == "here\n"
        refused(host.try_("exec", sleeper, "true"), 1, sleeper)
        host("run", "-d", "--name", sleeper, "busybox", "sleep", "600")
        refused(host.try_("rename", "renamed", sleeper), 1, sleeper)
        refused(host.try_("rename", "renamed", "renamed"), 1, "renamed")
        refused(host.try_("rename", "renamed", "a b"), 1, "a b")
    finally:
        host.try_("rm", "-f", "renamed")


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["top"], 1, ["at least 1 argument", "usage"]),
        (["top", "nosuch"], 1, ["nosuch"]),
        (["top", "still"], 1, ["still", "not running"]),
        (["top", "sleeper", "-o", "comm"], 1, ["PID"]),
        (["top", "sleeper", "--nosuch"], 1, ["ps --nosuch"]),
        (["stats", "nosuch", "--no-stream"], 1, ["nosuch"]),
        (["stats", "still"], 1, ["still", "not running"]),
        (["stats", "--format", "xml"], 125, ["xml", "json"]),
        (["stats", "--no-stream", "--format", "{{.Nosuch}}", "sleeper"], 1, ["Nosuch"]),
        (["export"], 1, ["1 argument", "usage"]),
        (["export", "still", "-o", "/nowhere/x"], 1, ["/nowhere/x"]),
        (["export", "still", "-o", "/tmp"], 1, ["/tmp", "folder"]),
        (["wait", "--condition", "blue", "still"], 125, ["blue", "running"]),
        (["ps", "-f", "exited=often"], 1, ["often"]),
        (["ps", "-f", "publish=http"], 1, ["http"]),
        (["ps", "-f", "since=nosuch"], 1, ["nosuch"]),
        (["ps", "-f", "name=["], 1, ["name=["]),
        (["inspect", "--type", "network-card", "still"], 125, ["network-card"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_usage(host: Host, words: list[str], code: int, expected: list[str]) -> None:
    host("create", "--name", "still", "busybox", "true")
    host("run", "-d", "--name", "sleeper", "busybox", "sleep", "600")
    try:
        refused(host.try_(*words), code, *expected)
    finally:
        host("rm", "-f", "still", "sleeper")
