# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""/run emptied below running containers: they go on, and the next command finds them and their monitors again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import urllib.request

import pytest

from support.host import Host
from support.refusals import whole
from support.traces import Traces, ended, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

SERVE = (
    "mkdir -p /www; echo served > /www/index.html; httpd -p 80 -h /www; "
    "n=0; while :; do n=$((n+1)); echo $n; sleep 0.05; done"
)


def id_of(host: Host, name: str) -> str:
    """By the index itself: any command would put things right."""
    with contextlib.closing(sqlite3.connect(host.root / "vitrine.db")) as index:
        return index.execute("SELECT id FROM containers WHERE name = ?", (name,)).fetchone()[0]


def state(host: Host, name: str) -> dict:
    return json.loads((host.root / "containers" / id_of(host, name) / "state.json").read_text())


def served(host: Host) -> bytes:
    address = host("port", "web", "80").splitlines()[0]
    with urllib.request.urlopen(f"http://{address}/", timeout=10) as answer:
        return answer.read()


def numbers(host: Host) -> list[int]:
    return list(map(int, host("logs", "web").split()))


@pytest.fixture
def three(host: Host):
    """A web server with a published port, a terminal, a paused container."""
    host("run", "-d", "--name", "web", "-p", "127.0.0.1::80", "--restart", "always", "busybox", "sh", "-c", SERVE)
    host("run", "-d", "-it", "--name", "typed", "busybox", "sh", "-c", "while sleep 0.1; do echo .; done & exec sh")
    host("run", "-d", "--name", "paused", "busybox", "sleep", "1000")
    host("pause", "paused")
    until(lambda: served(host) == b"served\n")
    yield
    host.close()
    whole(host)
    Traces(host).gone()


def test_an_emptied_run_root(host: Host, three) -> None:
    monitors = {name: state(host, name)["monitor_pid"] for name in ("web", "typed", "paused")}
    address = json.loads(host("inspect", "web"))[0]["NetworkSettings"]["IPAddress"]
    port = host("port", "web")
    last = until(lambda: numbers(host))[-1]
    shutil.rmtree(host.run_root)
    until(lambda: numbers_in_file(host)[-1] > last)  # nobody has looked, and it goes on
    shown = host("ps", "--format", "json").splitlines()
    assert {row["Names"]: row["State"] for row in map(json.loads, shown)} == {
        "web": "running", "typed": "running", "paused": "paused",
    }  # fmt: skip
    assert {name: state(host, name)["monitor_pid"] for name in monitors} == monitors, "they live: none was replaced"
    assert json.loads(host("inspect", "web"))[0]["NetworkSettings"]["IPAddress"] == address
    assert host("port", "web") == port and served(host) == b"served\n"
    assert host("exec", "web", "cat", "/www/index.html") == "served\n"
    last = numbers(host)[-1]
    until(lambda: numbers(host)[-1] > last)
    seen = numbers(host)
    assert seen == list(range(1, len(seen) + 1)), "no line was lost"
    code, shown = host.in_terminal("attach", "typed", typed=b"echo $((40+2)); exit 5\n", timeout=20)
    assert code == 5 and "42" in shown
    host("unpause", "paused")
    # the address is still leased: a new container gets another one
    host("run", "-d", "--name", "new", "busybox", "sleep", "1000")
    assert json.loads(host("inspect", "new"))[0]["NetworkSettings"]["IPAddress"] != address
    # and the policy still brings it back
    os.kill(state(host, "web")["pid"], signal.SIGKILL)
    until(lambda: state(host, "web")["restart_count"] == 1 and state(host, "web")["status"] == "running")
    until(lambda: served(host) == b"served\n")
    host("stop", "-t", "0", "web", "paused", "new")
    assert state(host, "paused")["exit_code"] == 137


def numbers_in_file(host: Host) -> list[int]:
    """What the web server has logged, without any command that would put things right."""
    found = []
    for path in (host.root / "containers").glob("*/*-json.log"):
        words = [json.loads(line)["log"].strip() for line in path.read_text().splitlines() if line.endswith("}")]
        found += [int(word) for word in words if word.isdigit()]
    return sorted(found)


def test_an_end_and_a_restart_without_run_root(host: Host, three) -> None:
    """What ends while nobody has looked is recorded, and started again where its policy says so."""
    shutil.rmtree(host.run_root)
    os.kill(state(host, "paused")["pid"], signal.SIGKILL)
    os.kill(state(host, "web")["pid"], signal.SIGKILL)
    until(lambda: state(host, "web")["restart_count"] == 1 and state(host, "web")["status"] == "running")
    until(lambda: state(host, "paused")["status"] == "exited")
    assert state(host, "paused")["exit_code"] == 137
    assert host("exec", "web", "echo", "inside") == "inside\n"
    until(lambda: served(host) == b"served\n")
    assert "Exited (137)" in host("ps", "-a")


def test_a_run_root_emptied_when_the_monitor_is_dead(host: Host, three) -> None:
    """A new monitor finds the output by the container's own descriptors."""
    last = until(lambda: numbers(host))[-1]
    pid = state(host, "web")["pid"]
    os.kill(state(host, "web")["monitor_pid"], signal.SIGKILL)
    shutil.rmtree(host.run_root)
    assert "web" in host("ps")
    assert state(host, "web")["pid"] == pid
    until(lambda: numbers(host)[-1] > last)
    assert served(host) == b"served\n"
    host("stop", "-t", "0", "web")
    assert ended(pid)


def test_a_monitor_that_does_not_answer_is_replaced(host: Host, three) -> None:
    before = state(host, "paused")
    os.kill(before["monitor_pid"], signal.SIGSTOP)
    shutil.rmtree(host.run_root)
    assert "paused" in host("ps")
    after = state(host, "paused")
    assert after["monitor_pid"] != before["monitor_pid"] and after["pid"] == before["pid"]
    assert ended(before["monitor_pid"])
    host("unpause", "paused")
    assert host("exec", "paused", "echo", "inside") == "inside\n"


def test_a_pid_that_was_given_away_is_not_taken_for_the_monitor(host: Host, three) -> None:
    """The record names a process that is somebody else's by now: it is left alone."""
    before = state(host, "paused")
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        try:
            os.kill(before["monitor_pid"], signal.SIGKILL)
            until(lambda: ended(before["monitor_pid"]))
            shutil.rmtree(host.run_root)
            (path,) = (host.root / "containers").glob(f"{id_of(host, 'paused')}/state.json")
            path.write_text(json.dumps({**before, "monitor_pid": stranger.pid}))
            assert "paused" in host("ps")
            assert stranger.poll() is None
        finally:
            stranger.kill()
