# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a container's run: one small JSON file, written by its monitor, read by everybody.

Fields: status ("created", "running", "paused", "restarting", "exited"), pid, start_time (clock ticks after boot),
boot_id, monitor_pid, started_at, finished_at (RFC 3339 or ""), exit_code (128 + n for a signal; None when nobody saw
the end), oom_killed, oom_kills, error, restart_count, ports, log_dropped (entries lost to a full disk), health (as
health.py keeps it; empty without a check).
``observe`` adds monitored and stop_requested, and corrects what a dead monitor can no longer write.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from ..linux import fs, process
from .jsontext import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

LOCK = "monitor.lock"
STOP_REQUESTED = "stop-requested"
PAUSED = "paused"
INIT = "init"  # file of the run directory: "pid start_time" of the container's first process
FALLBACK = "state.json"  # file of the run directory: the record that the disk did not take
HEALTH = "health"  # file of the run directory: what is known of a running container's health
RECALL = 1  # SIGHUP: a monitor that gets it looks whether its run directory is still there
_MONITOR_NAME = b"vitrine-monitor"  # as runtime.entry names the process of this module
# struct flock of every 64-bit Linux: who would keep us from locking the whole file?
_QUESTION = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_UNLOCKED = struct.pack("h", fcntl.F_UNLCK)
_UNSEEN = "its monitor died and nobody saw how the container ended"
_NOT_RESTARTED = "its monitor ended before it started the container again"
_REBOOTED = "the host was restarted while the container ran"


def new(status: str = "created") -> dict[str, Any]:
    """Return a state with every field at its first value."""
    return {
        "status": status,
        "pid": 0,
        "start_time": 0,
        "boot_id": "",
        "monitor_pid": 0,
        "started_at": "",
        "finished_at": "",
        "exit_code": 0,
        "oom_killed": False,
        "oom_kills": 0,
        "error": "",
        "restart_count": 0,
        "ports": [],
        "log_dropped": 0,
        "health": {},
    }


def write(path: str, state: dict[str, Any], *, durable: bool = True) -> None:
    """Replace the file by rename. durable: also survive a power cut (fsync of file and folder). Raises OSError."""
    fs.write_atomic(path, encode(state).encode("ascii"), durable=durable)


def read(path: str) -> dict[str, Any]:
    """Return the recorded state; that of a new container when there is none. A torn file reads as an unknown end."""
    try:
        data = _content(path)
    except (FileNotFoundError, NotADirectoryError):
        return new()
    from .. import lightjson as json

    state = new()
    try:
        loaded = json.loads(data)
        state.update({key: loaded[key] for key in state if key in loaded})
    except (ValueError, TypeError):
        state.update(status="exited", exit_code=None, error="its record is damaged")
    return state


def _content(path: str) -> bytes:
    """A small file, without what open() does besides: ps reads one for each container."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(fd, 16384)
        return data if len(data) < 16384 else fs.read_file(path)
    finally:
        os.close(fd)


def observe(path: str, run_dir: str) -> dict[str, Any]:
    """Return what is so now.

    monitored: a monitor lives. A recorded run whose init is dead and that no monitor will record any more becomes
    "exited" with exit_code None; an init that lives although none is recorded is "running". Nothing is written.
    """
    state = _latest(path, run_dir)
    monitored = monitor_alive(run_dir)
    if not monitored and state["status"] not in ("created", "exited"):
        state = _latest(path, run_dir)  # the monitor may have written its last record between the two looks
    if state["status"] not in ("created", "exited") and not monitored:
        rebooted = state["boot_id"] != process.boot_id()
        if rebooted or not (state["pid"] and process.alive(state["pid"], state["start_time"])):
            if state["status"] == "restarting":  # its last end was seen
                state.update(status="exited", error=_NOT_RESTARTED)
            else:
                state.update(status="exited", exit_code=None, error=_REBOOTED if rebooted else _UNSEEN)
    elif not monitored:
        init = living_init(run_dir)
        if init is not None and not _half_made(init[0]):  # its monitor was killed before it recorded the start
            state.update(status="running", pid=init[0], start_time=init[1], boot_id=process.boot_id(), error="")
    state["monitored"] = monitored
    state["stop_requested"] = os.path.exists(os.path.join(run_dir, STOP_REQUESTED))
    if state["status"] == "running":
        if state["health"]:
            state["health"] = read_health(run_dir, state["pid"], state["start_time"]) or state["health"]
        if os.path.exists(os.path.join(run_dir, PAUSED)):
            state["status"] = "paused"
    return state


def read_health(run_dir: str, pid: int, start_time: int) -> dict[str, Any] | None:
    """Return what is known of the health of the life that began with this process; None when nothing is."""
    try:
        with open(os.path.join(run_dir, HEALTH), "rb") as file:
            data = file.read(1 << 20)
    except OSError:
        return None
    from .. import lightjson as json

    try:
        known = json.loads(data)
        if known.pop("pid") == pid and known.pop("start_time") == start_time:
            return {key: known[key] for key in ("status", "failing_streak", "log")}
    except (ValueError, TypeError, KeyError, AttributeError):
        pass  # not written by us
    return None


def write_init(run_dir: str, pid: int, start_time: int) -> None:
    """Leave word of the container's first process, where it is found without reading JSON."""
    fd = os.open(os.path.join(run_dir, INIT), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, b"%d %d\n" % (pid, start_time))
    finally:
        os.close(fd)


def living_init(run_dir: str) -> tuple[int, int] | None:
    """Return (pid, start time) of the first process of this run directory's container if it lives."""
    try:
        with open(os.path.join(run_dir, INIT), "rb") as file:
            pid, start_time = map(int, file.read(100).split())
    except (OSError, ValueError):
        return None
    return (pid, start_time) if process.alive(pid, start_time) else None


def _half_made(pid: int) -> bool:
    """Whether an init still is the monitor's copy that sets up: without a monitor it ends at any moment."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().strip() == _MONITOR_NAME
    except OSError:
        return True


def _latest(path: str, run_dir: str) -> dict[str, Any]:
    fallback = os.path.join(run_dir, FALLBACK)
    return read(fallback if os.path.exists(fallback) else path)


def set_flag(run_dir: str, name: str, on: bool) -> None:
    """Set or clear STOP_REQUESTED or PAUSED. They are files, so that they need no lock and the monitor may be dead."""
    path = os.path.join(run_dir, name)
    if on:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    else:
        _unlink(path)


def take_lock(run_dir: str) -> int:
    """Make this process the container's monitor; return the descriptor that must stay open, or -1 when one lives.

    A POSIX record lock: it dies with this process, is not inherited by a fork (an init between clone and exec must
    not look like a monitor), and can be tested without being taken. Open this file nowhere else in this process:
    closing any descriptor of it would drop the lock.
    """
    path = os.path.join(run_dir, LOCK)
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EACCES, errno.EAGAIN):
                return -1
            raise
        try:
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        except FileNotFoundError:
            pass
        os.close(fd)  # the folder was emptied while we waited: ours is the lock of a file that is gone


def monitor_alive(run_dir: str) -> bool:
    """Whether some process holds the monitor's lock. Takes nothing, so that it can disturb no start."""
    return _held(os.path.join(run_dir, LOCK))


def unmonitored(run_root: int, names: Iterable[str]) -> list[str]:
    """Those of many run directories, below an open folder, that have no living monitor: three syscalls for each."""
    return [name for name in names if not _held(f"{name}/{LOCK}", run_root)]


def _held(path: str, folder: int | None = None) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return fcntl.fcntl(fd, fcntl.F_GETLK, _QUESTION)[:2] != _UNLOCKED
    finally:
        os.close(fd)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
