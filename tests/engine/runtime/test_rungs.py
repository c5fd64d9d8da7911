# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every rung of every ladder, every Python, and namespaces of others: the same container comes out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("driver.py")
RUNGS = [
    "clone3",
    "clone_into_cgroup",
    "openat2",
    "mount_setattr",
    "new_mount_api,mount_setattr",
    "close_range",
    "pidfd",
    "memfd",
    "seal_overlay",
    "seal_overlay,seal_bind",
    "overlay_fd",
    "overlay_fd,overlay_lowerdir_plus",
    "clone3,openat2,new_mount_api,mount_setattr,close_range,pidfd,memfd,copy_file_range,reflink",
]
INSTALLED = sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3"))
PYTHONS = ["/usr/bin/python3", *(str(path) for path in INSTALLED if int(path.parts[-3].split(".")[1]) >= 9)]


def check(spec, run, busybox, tmp_path, **request):
    """One container that uses everything, with a terminal, and a process beside it."""
    for name in ("upper", "work", "data"):
        (tmp_path / name).mkdir(exist_ok=True)
    layers = {"driver": "overlay", "lowers": [str(tmp_path / "data"), str(busybox)],
              "upper": str(tmp_path / "upper"), "work": str(tmp_path / "work")}  # fmt: skip
    mounts = [
        {"destination": "/link/new", "source": str(tmp_path / "data"), "options": ["rbind", "ro", "rslave"]},
        {"destination": "/tmp", "type": "tmpfs", "options": ["nosuid", "mode=1777"]},
    ]
    os.makedirs(tmp_path / "data" / "real", exist_ok=True)
    if not os.path.lexists(tmp_path / "data" / "link"):
        os.symlink("/real", tmp_path / "data" / "link")
    text = (
        "id; tty; grep CapEff /proc/self/status; touch /real/new/x 2>&1; touch /deep/folder/x 2>&1;"
        " touch /tmp/y && echo tmp;"
        " cat /proc/timer_list | wc -c; (echo 1 > /proc/sys/kernel/hostname) 2>&1; ls -l /proc/self/fd;"
        " read line; echo $line"
    )
    made = spec("sh", "-c", text, tty=True, user="bob", mounts=mounts, cwd="/deep/folder",
                annotations={"io.vitrine.root": json.dumps(layers)}, sysctl={"net.ipv4.ip_forward": "1"})  # fmt: skip
    made["root"]["readonly"] = True
    process = {**made["process"], "args": ["sh", "-c", "pwd; tty"], "user": {"username": ""}}
    result = run(made, exec=process, input="done\n", **request)
    assert result["error"] is None and result["status"] == 0, result
    lines = result["output"].replace("\r", "").splitlines()
    for line in ("uid=1000(bob) gid=1001(bob) groups=10(wheel),1001(bob)", "/dev/pts/0", "tmp", "0", "done",
                 "CapEff:\t" + "0" * 16):  # fmt: skip
        assert line in lines, result["output"]
    assert result["output"].count("Read-only file system") == 3, result["output"]
    targets = {line.split(" -> ")[1] for line in lines if " -> " in line}
    assert targets == {"/dev/pts/0"}, result["output"]
    assert result["exec_output"].split() == ["/deep/folder", "/dev/pts/1"], result


@pytest.mark.parametrize("names", RUNGS)
def test_forced_rungs(spec, run, busybox, tmp_path, names):
    check(spec, run, busybox, tmp_path, without=names.split(","))


@pytest.mark.parametrize("python", PYTHONS)
def test_pythons(spec, run, busybox, tmp_path, python):
    check(spec, run, busybox, tmp_path, python=python)


@pytest.fixture
def other():
    """Another process with namespaces of its own, standing for another container. Gives its pid."""
    program = shutil.which("unshare")
    if not program:
        pytest.skip("needs unshare")
    script = "mount -t tmpfs x /dev/shm; echo there > /dev/shm/file; exec sleep 60"
    outer = subprocess.Popen([program, "-niupm", "-f", "--mount-proc", "sh", "-c", script])
    pid = ""
    for _attempt in range(500):
        pid = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().strip()
        if pid and Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
            break
        time.sleep(0.01)
    yield int(pid)
    os.kill(int(pid), 9)
    outer.wait()


def test_namespaces_of_others(spec, output, other):
    made = spec(
        "sh", "-c", "for n in net pid ipc uts mnt; do readlink /proc/self/ns/$n; done; ls -d /proc/[0-9]* | wc -l"
    )
    theirs = {kind: f"/proc/{other}/ns/{kind}" for kind in ("net", "pid", "ipc", "uts")}
    words = {"network": "net", "pid": "pid", "ipc": "ipc", "uts": "uts"}
    for item in made["linux"]["namespaces"]:
        if item["type"] in words:
            item["path"] = theirs[words[item["type"]]]
    del made["hostname"]
    lines = output(made).split()
    assert lines[:4] == [os.readlink(f"/proc/{other}/ns/{kind}") for kind in ("net", "pid", "ipc", "uts")]
    assert lines[4] != os.readlink(f"/proc/{other}/ns/mnt")
    assert int(lines[5]) >= 2


def test_shared_memory_of_another(spec, output, other):
    mount = {"destination": "/dev/shm", "source": f"/proc/{other}/root/dev/shm", "options": ["rbind", "rw"]}
    assert output(spec("cat", "/dev/shm/file", mounts=[mount])) == "there\n"


def test_a_namespace_that_is_gone(spec, failure):
    made = spec("true")
    made["linux"]["namespaces"][2]["path"] = "/proc/999999999/ns/net"
    error = failure(made)
    assert error["stage"] == "namespace" and "must be running" in error["text"]


def test_host_namespaces(spec, output):
    made = spec("sh", "-c", "for n in net pid ipc uts; do readlink /proc/self/ns/$n; done")
    made["linux"]["namespaces"] = [{"type": "mount"}]
    del made["hostname"]
    assert output(made).split() == [os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "pid", "ipc", "uts")]


@pytest.mark.parametrize(("word", "expected"), [("rprivate", "- "), ("rslave", "master:"), ("rshared", "shared:")])
def test_propagation_of_binds(spec, busybox, tmp_path, settings, word, expected):
    folder = tmp_path / "folder"
    folder.mkdir()
    made = spec("sh", "-c", "grep ' /v ' /proc/self/mountinfo",
                mounts=[{"destination": "/v", "source": str(folder), "options": ["rbind", word]}])  # fmt: skip
    request = json.dumps({"spec": made, "tag": settings.tag, "cgroup": None})
    script = f"mount --bind {folder} {folder} && mount --make-shared {folder} && exec {sys.executable} {DRIVER}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], input=request, capture_output=True, text=True)
    result = json.loads(done.stdout)
    assert result["status"] == 0, result
    optional = result["output"].split(" ", 6)[6]
    assert optional.startswith(expected), result["output"]
