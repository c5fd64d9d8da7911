# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several commands at once end as if they had come one after another."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from support.host import Host
from support.traces import until

from .conftest import (
    HELLO,
    SERVE,
    answer,
    free_port,
    layers,
    no_containers,
    whole,
)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]


def together(host: Host, *commands: tuple) -> list[tuple[int, str, str]]:
    """Start all, wait for all; returns (exit code, output, errors) of each."""
    started = [host.spawn(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for words in commands]
    texts = [one.communicate(timeout=60) for one in started]
    return [(one.returncode, *text) for one, text in zip(started, texts)]


def test_two_tasks_at_once_on_one_name(host, traces):
    for _ in range(5):
        results = together(host, *[("run", "-d", "--name", "it", "busybox", "sleep", "1000")] * 2)
        codes = sorted(code for code, _out, _err in results)
        assert codes == [0, 125], results
        assert "in use" in next(err for code, _out, err in results if code), results
        assert len(host("ps", "-q").split()) == 1
        results = together(host, ("rm", "-f", "it"), ("rm", "-f", "it"))
        assert 0 in [code for code, _out, _err in results], results
        assert all(code == 0 or "no such container" in err or "removed meanwhile" in err for code, _o, err in results)
        assert host("ps", "-aq") == ""
    host("create", "--name", "it", "busybox", "sleep", "1000")
    assert [code for code, _out, _err in together(host, *[("start", "it")] * 3)] == [0, 0, 0]
    assert len(traces.inits()) == 1
    results = together(host, ("stop", "-t", "1", "it"), ("start", "it"), ("restart", "-t", "0", "it"), ("ps",))
    assert [code for code, _out, _err in results] == [0, 0, 0, 0], results
    whole(host)


def test_six_runs_at_once(host, traces):
    port = free_port()
    for _ in range(3):
        results = together(host, *[("run", "--rm", "-v", "/data", "busybox", *HELLO)] * 6)
        assert [(code, out) for code, out, _err in results] == [(3, "hello\n")] * 6, results
        results = together(host, *[("run", "-d", "-p", f"{port}:80", "busybox", *SERVE)] * 3)
        assert sorted(code for code, _out, _err in results) == [0, 125, 125], results
        until(lambda: answer(port) == b"served\n", 5)
        no_containers(host)
    whole(host)
    assert not any((host.root / "volumes").iterdir())


def test_pulls_of_the_same_image_at_once(puller, pulled):
    results = together(puller, *[("pull", "-q", pulled)] * 4)
    assert [code for code, _out, _err in results] == [0] * 4, results
    whole(puller)
    assert len(layers(puller)) == 5
    results = together(puller, ("rmi", pulled), ("run", "--rm", "--network", "none", pulled, *HELLO))
    assert results[0][0] in (0, 1), results
    assert results[1][0] == 3 or "meanwhile" in results[1][2] or "no such image" in results[1][2].lower(), results
    whole(puller)


def test_an_image_that_is_removed_while_it_runs(host, traces):
    host("tag", "busybox", "mine")
    host("run", "-d", "--name", "it", "mine", "sleep", "1000")
    image = host("inspect", "-f", "json", "it") and json.loads(host("inspect", "it"))[0]["Image"]
    refused = host.try_("rmi", image)
    assert refused.code == 1 and "it" in refused.err, refused
    assert host("exec", "it", "echo", "lives") == "lives\n"
    host("rmi", "mine")
    whole(host)


def test_builds_and_runs_and_checks_at_once(host, traces, context):
    commands = [("build", "-q", "--no-cache", "-t", f"built{number}", context) for number in range(2)]
    commands += [("run", "--rm", "busybox", *HELLO)] * 2 + [("check",), ("ps", "-a")]
    results = together(host, *commands)
    assert [code for code, _out, _err in results] == [0, 0, 3, 3, 0, 0], results
    host("rmi", "built0", "built1")
    whole(host)
