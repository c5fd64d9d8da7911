# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log drivers and their options as a user sees them, and which streams are attached to the terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.host import Host
from support.traces import until


def folder_of(host: Host, name: str) -> Path:
    return host.root / "containers" / json.loads(host("inspect", name))[0]["Id"]


@pytest.mark.parametrize("driver", ["json-file", "k8s-file"])
def test_drivers_that_write_files_rotate_and_are_read_across_files(host: Host, driver: str) -> None:
    flags = [
        "--log-driver",
        driver,
        "--log-opt",
        "max-size=20k",
        "--log-opt",
        "max-file=3",
        "--log-opt",
        "compress=true",
    ]
    host("run", "--name", "much", *flags, "busybox", "seq", "1", "2000")
    document = json.loads(host("inspect", "much"))[0]
    assert document["HostConfig"]["LogConfig"]["Type"] == driver
    kept = [int(line) for line in host("logs", "much").split()]
    assert kept == list(range(kept[0], 2001)) and 1 < kept[0] < 1500
    assert host("logs", "--tail", "3", "much").split() == ["1998", "1999", "2000"]
    files = sorted(path.name for path in folder_of(host, "much").iterdir() if "log" in path.name)
    name = os.path.basename(document["LogPath"])
    assert files == [name, f"{name}.1.gz", f"{name}.2.gz"]
    newest = (folder_of(host, "much") / name).read_text().splitlines()[-1]
    if driver == "k8s-file":
        time, *rest = newest.split(" ")
        assert time.endswith("Z") and rest == ["stdout", "F", "2000"]
    else:
        assert json.loads(newest)["log"] == "2000\n"
    host("rm", "much")


def test_a_follower_sees_every_line_of_a_log_that_rotates(host: Host) -> None:
    flags = ["--log-opt", "max-size=30k", "--log-opt", "max-file=20"]
    script = "read go; seq 1 3000; sleep 0.3; seq 3001 3100"
    host("run", "-d", "-i", "--name", "much", *flags, "busybox", "sh", "-c", script)
    with host.spawn("logs", "-f", "much", stdout=subprocess.PIPE, text=True) as follower:
        host("attach", "much", stdin="\n")
        assert follower.stdout is not None
        assert follower.stdout.read().split() == [str(number) for number in range(1, 3101)]
    host("rm", "much")


def test_attributes_are_kept_with_each_entry(host: Host) -> None:
    flags = ["--log-opt", "labels=app,absent", "--log-opt", "env=STAGE", "--log-opt", "tag={{.Name}}/{{.ID}}"]
    host("run", "--name", "said", "-l", "app=web", "-e", "STAGE=test", *flags, "busybox", "echo", "hi")
    document = json.loads(host("inspect", "said"))[0]
    entry = json.loads(Path(document["LogPath"]).read_text())
    assert entry["attrs"] == {"app": "web", "STAGE": "test", "tag": f"said/{document['Id'][:12]}"}
    assert host("logs", "said") == "hi\n"
    host("rm", "said")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--log-driver", "syslog"], ["syslog", "journald"]),
        (["--log-opt", "max-sise=1m"], ["max-sise", "max-size, max-file, compress"]),
        (["--log-driver", "none", "--log-opt", "max-size=1m"], ["max-size", "it takes none"]),
        (["--log-opt", "max-file=0"], ["max-file", "1 to 1000"]),
        (["--log-opt", "compress=true"], ["compress", "max-size"]),
        (["--log-opt", "tag={{.Host}}"], ["{{.Host}}", "{{.Name}}"]),
    ],
)
def test_what_no_driver_takes_is_refused_before_anything_is_made(host: Host, flags: list[str], said: list[str]) -> None:
    result = host.try_("create", *flags, "busybox")
    assert result.code == 125 and all(word in result.err for word in said), result
    assert host("ps", "-aq") == ""


def test_without_a_journal_a_start_says_what_is_missing(host: Host) -> None:
    if os.path.exists("/run/systemd/journal/socket"):
        pytest.skip("needs a host without systemd's journal")
    result = host.try_("run", "--name", "it", "--log-driver", "journald", "busybox", "true")
    assert result.code == 125 and "/run/systemd/journal/socket" in result.err and "--log-driver" in result.err
    host("rm", "it")


def test_lines_that_a_full_disk_took_are_told_and_later_ones_are_kept(host: Host, tmp_path: Path) -> None:
    host("create", "-i", "--name", "full", "busybox", "sh", "-c", "seq 1 20000; read go; echo after; read go")
    log = Path(json.loads(host("inspect", "full"))[0]["LogPath"])
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], check=True)
    try:
        # the log's place alone is full: the path is not followed, so the file itself must be there
        log.touch()
        (disk / "log").touch()
        subprocess.run(["mount", "--bind", disk / "log", log], check=True)
        try:
            host("start", "full")
            state = until(lambda: (lambda s: s if s.get("LogDropped") else None)(_state(host, "full")))
            assert state["Running"]
            result = host.try_("logs", "full")
            assert result.code == 0 and "entries are missing" in result.err
            before = result.out.split()
            assert before == [str(number) for number in range(1, len(before) + 1)]
            subprocess.run(["mount", "-o", "remount,size=1m", disk], check=True)
            typing = host.spawn("attach", "full", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            assert typing.stdin is not None
            typing.stdin.write(b"\n")
            typing.stdin.flush()
            until(lambda: host.try_("logs", "full").out.endswith("after\n"))
            typing.stdin.write(b"\n")
            typing.stdin.close()
            assert typing.wait(20) == 0
            assert _state(host, "full")["LogDropped"] >= state["LogDropped"]
        finally:
            host("stop", "-t", "0", "full")
            subprocess.run(["umount", log], check=True)
            host("rm", "full")
    finally:
        subprocess.run(["umount", disk], check=True)


def _state(host: Host, name: str) -> dict:
    return json.loads(host("inspect", name))[0]["State"]


# -- attaching --------------------------------------------------------------------------------------------------------


def test_only_the_named_streams_are_attached(host: Host) -> None:
    script = ["busybox", "sh", "-c", "echo out; echo err >&2; exit 3"]
    for flags, shown in (
        ([], ("out\n", "err\n")),
        (["-a", "stdout"], ("out\n", "")),
        (["-a", "STDERR"], ("", "err\n")),
        (["-a", "stdin"], ("", "")),
    ):
        result = host.try_("run", "--rm", *flags, *script)
        assert (result.code, result.out, result.err) == (3, *shown)
    assert host.try_("run", "-d", "-a", "stdout", *script).code == 125
    assert "stdboth" in host.try_("run", "-a", "stdboth", *script).err
    assert host("ps", "-aq") == ""


def test_input_comes_only_where_it_is_attached(host: Host) -> None:
    assert host("run", "--rm", "-i", "-a", "stdin", "-a", "stdout", "busybox", "cat", stdin="hello") == "hello"


@pytest.mark.parametrize("verb", ["run", "attach", "start"])
def test_without_signal_proxy_the_client_alone_ends(host: Host, verb: str) -> None:
    script = ["busybox", "sh", "-c", "trap 'echo got-it; exit 11' INT TERM; echo ready; while :; do sleep 0.05; done"]
    if verb != "run":
        host("create" if verb == "start" else "run", *([] if verb == "start" else ["-d"]), "--name", "it", *script)
    words = {
        "run": ["run", "--sig-proxy=false", "--name", "it", *script],
        "attach": ["attach", "--sig-proxy=false", "it"],
        "start": ["start", "-a", "--sig-proxy=false", "it"],
    }[verb]
    process = host.spawn(*words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    until(lambda: host.try_("logs", "it").out == "ready\n")
    until(lambda: _sockets(process.pid))
    process.send_signal(signal.SIGINT)
    assert process.wait(20) != 11
    assert _state(host, "it")["Running"] and "got-it" not in host("logs", "it")
    host("rm", "-f", "it")


def _sockets(pid: int) -> list[str]:
    """What a client of a monitor holds once it is connected."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(entry))
        except FileNotFoundError:
            continue
    return [link for link in found if link.startswith("socket:")]


def test_what_is_typed_is_not_sent_where_no_input_is_attached(host: Host) -> None:
    host("run", "-d", "-i", "--name", "it", "busybox", "sh", "-c", "read line; echo got $line; exit 4")
    watcher = host.spawn("attach", "--no-stdin", "it", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert watcher.stdin is not None and watcher.stdout is not None
    until(lambda: _sockets(watcher.pid))
    watcher.stdin.write("wrong\n")
    watcher.stdin.close()
    assert host.try_("attach", "it", stdin="right\n").out == "got right\n"
    assert watcher.stdout.read() == "got right\n" and watcher.wait(20) == 4
    host("rm", "it")
