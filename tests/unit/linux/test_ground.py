# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""fs.py, command.py, process.py, features.py, caps.py, and aufs' calls as data."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time

import pytest

from vitrine.errors import DependencyMissing, HostError
from vitrine.linux import caps, command, features, fs, mount, process


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "file"
    fs.write_atomic(str(path), b"one")
    fs.write_atomic(str(path), b"two", 0o644, durable=False)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o7777 == 0o644
    assert os.listdir(tmp_path) == ["file"]


def test_nothing_is_left_of_a_write_that_fails(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        fs.write_atomic(str(tmp_path / "folder"), b"x")
    assert os.listdir(tmp_path) == ["folder"]


def test_files_longer_than_the_limit_are_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert fs.read_file(str(path), 100) == b"x" * 100
    with pytest.raises(OSError) as caught:
        fs.read_file(str(path), 99)
    assert caught.value.errno == errno.EFBIG


def test_trees_are_removed_at_any_depth_and_links_are_not_followed(tmp_path):
    keep = tmp_path / "keep"
    keep.mkdir()
    (keep / "file").write_text("")
    top = tmp_path / "top"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _level in range(1500):
        os.mkdir("d", dir_fd=fd)
        os.symlink(keep, "link", dir_fd=fd)
        child = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = child
    os.close(fd)
    for name in (b"\xff\xfe", b"sub"):
        os.mkdir(os.fsencode(top) + b"/" + name)
    fs.remove_tree(str(top))
    fs.remove_tree(str(top))
    assert sorted(os.listdir(tmp_path)) == ["keep"] and (keep / "file").exists()
    os.symlink(keep, tmp_path / "link")
    fs.remove_tree(str(tmp_path / "link"))
    assert (keep / "file").exists() and not (tmp_path / "link").is_symlink()


def test_locks_exclude_and_time_out(tmp_path):
    path = str(tmp_path / "lock")
    first = fs.lock(path)
    with pytest.raises(BlockingIOError):
        fs.lock(path, blocking=False)
    begun = time.monotonic()
    with pytest.raises(BlockingIOError):
        fs.lock(path, timeout=0.1)
    assert 0.1 <= time.monotonic() - begun < 2
    os.unlink(path)  # a lock file that is gone locks nobody out, and its successor is another lock
    second = fs.lock(path, timeout=1)
    os.close(first)
    with pytest.raises(BlockingIOError):
        fs.lock(path, blocking=False)
    os.close(second)
    shared = [fs.lock(path, shared=True), fs.lock(path, shared=True, blocking=False)]
    for fd in shared:
        os.close(fd)


@pytest.mark.parametrize("names", [(), ("reflink",), ("reflink", "copy_file_range")])
@pytest.mark.parametrize("size", [0, 1, 5 << 20])
def test_copies(tmp_path, names, size):
    data = os.urandom(size)
    (tmp_path / "a").write_bytes(data)
    before = features.without()
    features.set_without(names)
    try:
        source = os.open(tmp_path / "a", os.O_RDONLY)
        target = os.open(tmp_path / "b", os.O_RDWR | os.O_CREAT)
        assert fs.copy_file(source, target) == size
        os.lseek(source, 0, os.SEEK_SET)
        assert fs.copy_file(source, target, min(size, 10)) == min(size, 10)
    finally:
        features.set_without(before)
    os.close(source)
    os.close(target)
    assert (tmp_path / "b").read_bytes() == data + data[:10]


def test_files_that_say_they_are_empty_are_copied_too(tmp_path):
    source = os.open("/proc/self/status", os.O_RDONLY)
    target = os.open(tmp_path / "b", os.O_RDWR | os.O_CREAT)
    assert fs.copy_file(source, target) > 100
    os.close(source)
    os.close(target)


def test_programs_get_a_fixed_environment_and_report_their_end(monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", "/nonsense")
    done = command.run(["env"], env={"A": "1"})
    assert done.status == 0 and b"A=1" in done.stdout and b"LD_PRELOAD" not in done.stdout
    done = command.run(["sh", "-c", "cat; echo bad >&2; exit 3"], input=b"in")
    assert (done.status, done.stdout, done.stderr) == (3, b"in", b"bad\n")
    assert command.run(["sh", "-c", "kill -9 $$"]).status == -9
    with pytest.raises(DependencyMissing, match="no-such-program"):
        command.run(["no-such-program"])
    with pytest.raises(HostError, match="did not end"):
        command.run(["sleep", "5"], timeout=0.05)
    assert command.which("sh") and command.which("no-such-program") is None


def test_a_process_is_known_by_its_start_too():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = process.start_time(child.pid)
    assert started and process.alive(child.pid, started) and not process.alive(child.pid, started + 1)
    assert process.send_signal(child.pid, started + 1, 9) is False
    assert child.poll() is None
    assert process.send_signal(child.pid, started, 9) is True
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process.alive(child.pid, started)  # a zombie is no living process
    child.stdin.close()
    child.wait()
    assert process.start_time(child.pid) is None


def test_features_can_be_switched_off(monkeypatch):
    before = features.without()
    features.set_without(["openat2", "made_up"])
    assert not features.has("openat2") and not features.has("made_up") and features.has("another")
    monkeypatch.setattr(features, "_without", None)
    monkeypatch.setenv("VITRINE_WITHOUT", "clone3,memfd")
    assert features.without() == {"clone3", "memfd"}
    features.set_without(before)


def test_capabilities_of_this_kernel():
    assert 20 < caps.last() < 64
    assert caps.NUMBERS["CAP_CHECKPOINT_RESTORE"] == 40
    effective, permitted, _inheritable = caps.get()
    assert effective & ~permitted == 0


class Calls(list):
    """Stands for mount(2), whose aufs no kernel at hand has."""

    def __call__(self, source, target, fstype, flags=0, data=None) -> None:
        assert len(data) < 4096
        self.append((target, fstype, flags, data))


def test_aufs_with_few_branches_is_one_call():
    calls = Calls()
    mount.aufs([("/u", "rw"), ("/l/2", "ro+wh"), ("/l/1", "ro+wh")], "/t", mount=calls)
    assert calls == [("/t", "aufs", 0, "br:/u=rw:/l/2=ro+wh:/l/1=ro+wh,dio,xino=/dev/shm/aufs.xino")]


def test_aufs_with_many_branches_appends_them_in_order():
    calls = Calls()
    branches = [("/u", "rw")] + [(f"/var/lib/vitrine/layers/{number:064x}", "ro+wh") for number in range(120)]
    mount.aufs(branches, "/t", mount=calls)
    assert len(calls) == 3 and [call[2] for call in calls] == [0, mount.MS_REMOUNT, mount.MS_REMOUNT]
    words = calls[0][3].split(",")[0][3:].split(":") + [
        word[len("append:") :] for call in calls[1:] for word in call[3].split(",")
    ]
    assert words == [f"{path}={mode}" for path, mode in branches]


def test_options_that_the_kernel_would_cut_are_refused():
    with pytest.raises(OSError) as caught:
        mount.mount("x", "/nowhere", "tmpfs", 0, "a" * 4096)
    assert caught.value.errno == errno.E2BIG
