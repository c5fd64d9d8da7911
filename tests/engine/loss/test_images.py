# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill pull, load, build, commit and rm at any instant: the store stays whole, and the same command then succeeds."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

import pytest

from support.traces import Traces, children, until

from .conftest import (
    POINTS,
    calls,
    instants,
    killed_at,
    layers,
    monitor_of,
    whole,
)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]


def test_a_pull_that_is_killed(puller, pulled):
    host, traces = puller, Traces(puller)
    words = ("pull", "-q", pulled)
    count = calls(host, *words)
    host("rmi", pulled)
    for call in instants(count):
        killed_at(host, call, *words)
        whole(host)
        traces.gone()
        host(*words)
        look = ("sh", "-c", "ls /many | wc -l; cat /two /three | wc -c; ls -a /one 2>/dev/null")
        assert host.try_("run", "--rm", "--network", "none", pulled, *look).out == f"300\n{6 << 20}\n"
        host("rmi", pulled)
        assert layers(host) == []


def test_a_pull_that_is_killed_as_a_group(puller, pulled):
    """With its workers: a power cut, or the kernel's out-of-memory killer in a group."""
    host, traces = puller, Traces(puller)
    began = time.monotonic()
    host("pull", "-q", pulled)
    length = time.monotonic() - began
    host("rmi", pulled)
    for point in range(POINTS):
        client = host.spawn("pull", "-q", pulled, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            start_new_session=True)  # fmt: skip
        time.sleep(length * (point + 0.5) / POINTS)
        try:
            os.killpg(client.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        client.wait(10)
        whole(host)
        traces.gone()
        host("pull", "-q", pulled)
        host("rmi", pulled)
        assert layers(host) == []


def test_a_pulls_worker_that_is_killed_is_told(puller, pulled):
    host, traces = puller, Traces(puller)
    for _ in range(4):
        client = host.spawn("pull", "-q", pulled, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        workers = until(lambda client=client: children(client.pid) or client.poll() is not None, 20)
        if workers is not True:
            os.kill(workers[0], signal.SIGKILL)
        _out, err = client.communicate(timeout=30)
        assert client.returncode == 0 or "killed" in err, err
        whole(host)
        traces.gone()
        host("pull", "-q", pulled)
        host("rmi", pulled)


def test_a_load_that_is_killed(puller, pulled, folder):
    host, traces = puller, Traces(puller)
    host("pull", "-q", pulled)
    host("save", "-o", folder / "saved.tar", pulled)
    host("rmi", pulled)
    words = ("load", "-q", "-i", folder / "saved.tar")
    count = calls(host, *words)
    for call in instants(count, 8):
        host("rmi", pulled)
        killed_at(host, call, *words)
        whole(host)
        traces.gone()
        host(*words)
        assert len(layers(host)) == 5
    host("rmi", pulled)
    assert layers(host) == []


def test_a_build_that_is_killed(host, traces, context):
    words = ("build", "-q", "--no-cache", "-t", "built", context)
    for call in instants(calls(host, *words), 14):
        killed_at(host, call, *words)
        whole(host)
        traces.gone()
        assert host("ps", "-aq") == ""
        host("build", "-q", "-t", "built", context)
        assert host("run", "--rm", "--network", "none", "built") == "content\nran\n"
        host("rmi", "built")


@pytest.mark.parametrize("what", ["monitor", "init"])
def test_a_build_step_whose_process_is_killed(host, traces, folder, what):
    context = folder / what
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo one > /one\nRUN echo two > /two; sleep 0.3\n")
    for point in range(4):
        client = host.spawn("build", "--no-cache", "-t", "built", context, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)  # fmt: skip
        pid = monitor_of(client, traces) if what == "monitor" else until(traces.inits)[0]
        time.sleep(0.05 * point)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        out, err = client.communicate(timeout=30)
        assert client.returncode == 0 or err, out
        whole(host)
        until(lambda: not traces.inits())
        whole(host)
        traces.gone()
        host("build", "-q", "-t", "built", context)
        assert host("run", "--rm", "--network", "none", "built", "cat", "/one", "/two") == "one\ntwo\n"
        host("rmi", "built")


def test_a_commit_that_is_killed(host, traces):
    host("run", "-d", "--name", "it", "busybox", "sh", "-c", "echo changed > /changed; while :; do sleep 0.1; done")
    until(lambda: host.try_("exec", "it", "cat", "/changed").out == "changed\n")
    words = ("commit", "it", "committed")
    count = calls(host, *words)
    host("rmi", "committed")
    for call in instants(count, 16):
        killed_at(host, call, *words)
        whole(host)
        assert host("exec", "it", "cat", "/changed") == "changed\n"  # it is not frozen for ever
        host(*words)
        assert host("run", "--rm", "--network", "none", "committed", "cat", "/changed") == "changed\n"
        host("rmi", "committed")
    host("rm", "-f", "it")


def test_a_removal_that_is_killed(host, traces):
    count = 0
    for call in range(1, 60):
        host("run", "-d", "--name", "it", "-v", "/data", "--network", "none", "busybox", "sleep", "1000")
        came = killed_at(host, call, "rm", "-f", "-v", "it")
        whole(host)
        host.try_("rm", "-f", "-v", "it")
        assert not any((host.root / "volumes").iterdir())
        traces.gone()
        count += came
        if not came:
            break
    assert count > 3
