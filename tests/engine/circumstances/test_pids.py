# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pids that are given away again: nobody but the container's own process is signalled, joined or waited for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.host import CHECKOUT, VITRINE

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare"),
]

# Runs as the first process of a pid namespace of its own, where it can say which pid comes next.
DRIVER = r"""
import json, os, signal, subprocess, sys, time
root, run_root, launcher = sys.argv[1:4]
sys.path[:0] = sys.argv[4:]
from support.base_image import busybox_image
from vitrine.store import Store
with Store(root) as store:
    busybox_image(store)

def vitrine(*words):
    done = subprocess.run([launcher, "--root", root, "--run-root", run_root, *words], capture_output=True, text=True)
    return [done.returncode, done.stdout, done.stderr]

def state(name):
    (found,) = [row for row in json.loads(vitrine("inspect", name)[1])]
    with open(f"{root}/containers/{found['Id']}/state.json") as file:
        return json.load(file)

def stranger_at(pid):
    # what has this pid next: a process that would die of any signal that was meant for another
    for _ in range(50):
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write(str(pid - 1))
        child = subprocess.Popen(["sleep", "1000"])
        if child.pid == pid:
            return child
        child.kill()
        child.wait()
    raise SystemExit("the pid could not be had again")

def gone(pid):
    end = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}"):
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            pass
        if time.monotonic() > end:
            raise SystemExit(f"{pid} does not end")
        time.sleep(0.005)

answer = {"run": vitrine("run", "-d", "--name", "it", "busybox", "sleep", "1000")}
joining = ["--network", "container:it", "--pid", "container:it"]
answer["joins"] = vitrine("create", "--name", "joins", *joining, "busybox", "true")
known = state("it")
os.kill(known["monitor_pid"], signal.SIGKILL)  # nobody records the end
os.kill(known["pid"], signal.SIGKILL)
gone(known["monitor_pid"])
gone(known["pid"])
strangers = [stranger_at(known["pid"]), stranger_at(known["monitor_pid"])]
answer["ps"] = vitrine("ps", "-a", "--format", "json")
for verb in ("exec it true", "kill it", "top it", "start joins", "stop it", "wait it", "rm -f it", "rm joins", "check"):
    answer[verb] = vitrine(*verb.split())
answer["strangers"] = [one.poll() for one in strangers]

# and again and again the same few numbers for everything
def rewind():
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write("30")

answer["rounds"] = []
for number in range(15):
    rewind()
    answer["rounds"].append(vitrine("run", "--rm", "busybox", "sh", "-c", "exit 3")[0])
answer["detached"] = []
for number in range(5):
    rewind()
    answer["detached"].append(vitrine("run", "-d", "--name", f"n{number}", "busybox", "sleep", "1000")[0])
rewind()
answer["stopped"] = vitrine("rm", "-f", *[f"n{n}" for n in range(5)])
answer["strangers too"] = [one.poll() for one in strangers]
answer["end"] = vitrine("check")
for one in strangers:
    one.kill()
print(json.dumps(answer))
"""


def test_a_pid_that_was_given_away(tmp_path: Path) -> None:
    paths = [str(CHECKOUT / "tests"), str(CHECKOUT / "plugins/module_utils")]
    argv = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", DRIVER]
    done = subprocess.run(
        [*argv, str(tmp_path / "root"), str(tmp_path / "run"), VITRINE, *paths],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["run"][0] == 0 and said["joins"][0] == 0, said
    assert said["strangers"] == [None, None], "a stranger was signalled"
    (row,) = [json.loads(line) for line in said["ps"][1].splitlines() if '"it"' in line]
    assert row["State"] == "exited" and "unknown" in row["Status"], row
    for verb in ("exec it true", "kill it", "top it", "start joins"):
        assert said[verb][0] not in (0, 3) and "running" in said[verb][2] or "it is exited" in said[verb][2], said[verb]
    for verb in ("stop it", "rm -f it", "rm joins", "check"):
        assert said[verb][0] == 0, (verb, said[verb])
    assert said["wait it"][1] == "unknown\n"
    assert said["rounds"] == [3] * 15 and said["detached"] == [0] * 5, said
    assert said["stopped"][0] == 0 and said["strangers too"] == [None, None], said
    assert said["end"][0] == 0 and "the store is whole" in said["end"][1], said["end"]
