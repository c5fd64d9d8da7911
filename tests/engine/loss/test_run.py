# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill client, monitor or init of a run at any instant: nothing is left, and the same command then succeeds.

The client is killed at the n-th of its system calls that change anything (strace injects the signal), the monitor and
the init at instants after they were first seen. VITRINE_TEST_LOSS=all takes every call instead of some.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from support.traces import until

from .conftest import (
    HELLO,
    POINTS,
    SERVE,
    answer,
    calls,
    free_port,
    instants,
    killed_at,
    monitor_of,
    no_containers,
    whole,
)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]


@pytest.mark.parametrize("flags", [(), ("--rm",), ("-t",), ("--rm", "-v", "/data", "--network", "none")], ids=" ".join)
def test_a_run_whose_client_is_killed(host, traces, flags):
    words = ("run", *flags, "busybox", *HELLO)
    for call in instants(calls(host, *words)):
        killed_at(host, call, *words)
        traces.ids()
        until(lambda: not traces.inits(), 10, "the container did not end")
        whole(host)
        traces.gone()
        if "--rm" in flags:
            until(lambda: host("ps", "-aq") == "", 5, "the container was not removed")
            assert not any((host.root / "volumes").iterdir())
        result = host.try_(*words)
        assert result.code == 3 and result.out.strip() == "hello", (call, result)
        no_containers(host)


def test_a_detached_run_with_a_port_whose_client_is_killed(host, traces):
    port = free_port()
    words = ("run", "-d", "--name", "web", "-p", f"127.0.0.1:{port}:80", "busybox", *SERVE)
    count = calls(host, *words)
    no_containers(host)
    for call in instants(count):
        killed_at(host, call, *words)
        whole(host)
        if host("ps", "-q"):  # it was started: then it is all there
            until(lambda: answer(port) == b"served\n", 5, "nothing answers")
            host("rm", "-f", "web")
        else:
            no_containers(host)
        traces.gone()
        host(*words)
        until(lambda: answer(port) == b"served\n", 5, "nothing answers")
        host("rm", "-f", "web")


def test_a_start_that_is_killed(host, traces):
    host("create", "--name", "it", "busybox", "sleep", "1000")
    count = calls(host, "start", "it")
    for call in instants(count):
        host("stop", "-t", "0", "it")
        killed_at(host, call, "start", "it")
        whole(host)
        host("start", "it")
        assert len(traces.inits()) == 1
        assert json.loads(host("inspect", "it"))[0]["State"]["Running"]
    host("rm", "-f", "it")


@pytest.mark.parametrize("flags", [(), ("--rm",), ("-d",), ("-t",)], ids=" ".join)
def test_a_run_whose_monitor_is_killed(host, traces, flags):
    words = ("run", *flags, "busybox", "sh", "-c", "echo hello; sleep 0.1; exit 3")
    for point in range(POINTS):
        client = host.spawn(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        monitor = monitor_of(client, traces)
        time.sleep(0.008 * point)
        try:
            os.kill(monitor, signal.SIGKILL)
        except ProcessLookupError:
            pass
        out, err = client.communicate(timeout=20)
        if client.returncode == 3:
            assert "hello" in out
        elif client.returncode == 0:
            assert flags == ("-d",), (point, out, err)
        else:
            assert client.returncode == 125 or "monitor" in err, (point, client.returncode, out, err)
        whole(host)
        until(lambda: not traces.inits(), 10, "the container did not end")
        until(lambda: not traces.processes(), 10, "its next monitor did not leave")
        whole(host)
        traces.gone()
        for document in json.loads(host("inspect", *ids)) if (ids := host("ps", "-aq").split()) else ():
            state = document["State"]
            assert state["Status"] == "created" or state["ExitCode"] in (3, None), (point, state)
        assert "--rm" not in flags or not ids
        result = host.try_(*words)
        assert result.code == (0 if "-d" in flags else 3), result
        until(lambda: not host("ps", "-q"), 10)
        no_containers(host)


@pytest.mark.parametrize("flags", [(), ("--rm",), ("-t",)], ids=" ".join)
def test_a_run_whose_init_is_killed(host, traces, flags):
    words = ("run", *flags, "busybox", "sh", "-c", "echo hello; sleep 0.1; exit 3")
    for point in range(POINTS):
        client = host.spawn(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        init = until(traces.inits, 10, "no init came")[0]
        time.sleep(0.006 * point)
        try:
            os.kill(init, signal.SIGKILL)
        except ProcessLookupError:
            pass
        out, err = client.communicate(timeout=20)
        assert client.returncode in (3, 125, 137), (point, client.returncode, out, err)
        assert client.returncode != 125 or err
        whole(host)
        traces.gone()
        assert "--rm" not in flags or not host("ps", "-aq")
        result = host.try_(*words)
        assert result.code == 3 and "hello" in result.out, result
        no_containers(host)
