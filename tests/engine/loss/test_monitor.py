# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A monitor that was killed is replaced by the next command that passes; an end that nobody saw is told as such."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time

import pytest

from support.host import Host
from support.traces import comm, ended, until

from .conftest import (
    SERVE,
    answer,
    free_port,
)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]


def monitor_pid(host: Host, name: str) -> int:
    """The pid that the record of a container's state tells."""
    container_id = json.loads(host("inspect", name))[0]["Id"]
    return json.loads((host.root / "containers" / container_id / "state.json").read_text())["monitor_pid"]


def end_monitor(host: Host, name: str) -> int:
    """Kill a container's monitor; returns its pid."""
    pid = monitor_pid(host, name)
    assert comm(pid) == "vitrine-monitor"
    os.kill(pid, signal.SIGKILL)
    until(lambda: ended(pid))
    return pid


COUNT = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); echo line $i; [ $((i % 50)) = 0 ] && sleep 0.01; done"


@pytest.mark.parametrize("passing", [("ps",), ("images",), ("exec", "it", "true"), ("logs", "it")], ids=" ".join)
def test_a_killed_monitor_is_replaced_by_the_next_command(host, traces, passing):
    port = free_port()
    script = f"{COUNT} & while :; do echo served | nc -l -p 80; done"
    host("run", "-d", "--name", "it", "-p", f"127.0.0.1:{port}:80", "busybox", "sh", "-c", script)
    init = json.loads(host("inspect", "it"))[0]["State"]["Pid"]
    for _ in range(3):
        old = end_monitor(host, "it")
        time.sleep(0.05)  # output comes meanwhile, and waits
        host(*passing)
        new = monitor_pid(host, "it")
        assert new != old and comm(new) == "vitrine-monitor"
        assert json.loads(host("inspect", "it"))[0]["State"]["Pid"] == init
        until(lambda: answer(port) == b"served\n", 5, "the published port does not answer")
        before = host("logs", "it").count("\n")
        until(lambda before=before: host("logs", "it").count("\n") > before, 10, "the logs do not go on")
    numbers = [int(line.split()[1]) for line in host("logs", "it").splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))
    host("stop", "-t", "1", "it")
    assert json.loads(host("inspect", "it"))[0]["State"]["Status"] == "exited"
    host("start", "it")
    until(lambda: answer(port) == b"served\n", 5, "the published port does not answer")
    host("rm", "-f", "it")


def test_a_port_that_was_chosen_stays_the_same(host, traces):
    host("run", "-d", "--name", "it", "-p", "127.0.0.1::80", "busybox", *SERVE)
    port = published(host, "it")
    until(lambda: answer(port) == b"served\n", 5)
    end_monitor(host, "it")
    host("ps")
    assert published(host, "it") == port
    until(lambda: answer(port) == b"served\n", 5)
    other = host.try_("run", "-d", "-p", f"127.0.0.1:{port}:80", "busybox", "true")
    assert other.code == 125 and str(port) in other.err, other


def published(host: Host, name: str) -> int:
    return int(json.loads(host("inspect", name))[0]["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"])


def test_an_end_that_nobody_saw_is_unknown(host, traces):
    host("run", "-d", "--name", "it", "busybox", "sleep", "1000")
    init = json.loads(host("inspect", "it"))[0]["State"]["Pid"]
    end_monitor(host, "it")
    os.kill(init, signal.SIGKILL)
    until(lambda: not traces.inits())
    state = json.loads(host("inspect", "it"))[0]["State"]
    assert state["Status"] == "exited" and state["ExitCode"] is None and state["Error"]
    host("start", "it")
    assert json.loads(host("inspect", "it"))[0]["State"]["Running"]


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure:3", "no"])
def test_an_end_that_nobody_saw_is_followed_by_the_policy(host, traces, policy):
    host("run", "-d", "--name", "it", "--restart", policy, "busybox", "sleep", "1000")
    init = json.loads(host("inspect", "it"))[0]["State"]["Pid"]
    end_monitor(host, "it")
    os.kill(init, signal.SIGKILL)
    until(lambda: init not in traces.inits())
    host("ps")
    document = json.loads(host("inspect", "it"))[0]
    assert document["State"]["Running"] == (policy != "no")
    assert document["RestartCount"] == (policy != "no")
    host("rm", "-f", "it")


def test_after_a_boot_the_policy_applies_and_what_removes_itself_is_gone(host, traces):
    host("run", "-d", "--name", "always", "--restart", "always", "busybox", "sleep", "1000")
    host("run", "-d", "--name", "plain", "busybox", "sleep", "1000")
    host("run", "-d", "--name", "removed", "--rm", "-v", "/data", "busybox", "sleep", "1000")
    monitors = [monitor_pid(host, name) for name in ("always", "plain", "removed")]
    for pid in (*monitors, *traces.inits()):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not traces.inits() and all(map(ended, monitors)))
    shutil.rmtree(host.run_root)  # as a boot does
    for top in traces.cgroups():
        for path, _folders, _files in os.walk(top, topdown=False):
            os.rmdir(path)
    from vitrine.engine import Engine

    assert Engine(traces.settings).system.boot() == [("always", "started")]
    assert host("ps", "-a", "--format", "json").count("Names") == 2
    assert json.loads(host("inspect", "always"))[0]["State"]["Running"]
    assert json.loads(host("inspect", "plain"))[0]["State"]["ExitCode"] is None
    assert not any((host.root / "volumes").iterdir())


@pytest.mark.parametrize("verb", [("stop", "-t", "0"), ("kill",), ("rm", "-f"), ("restart", "-t", "0")], ids=" ".join)
def test_a_container_without_monitor_obeys(host, traces, verb):
    host("run", "-d", "--name", "it", "busybox", "sleep", "1000")
    end_monitor(host, "it")
    host(*verb, "it")
    if verb[0] == "restart":
        assert json.loads(host("inspect", "it"))[0]["State"]["Running"]
    else:
        until(lambda: not host("ps", "-q"), 10, "it still runs")
