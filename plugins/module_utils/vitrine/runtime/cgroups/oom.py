# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often the kernel killed for want of memory: the counters of both versions."""

from __future__ import annotations

import os

from .files import read_or_empty, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def kills(plan: dict[str, Any]) -> int:
    """Return the number of processes that the kernel killed in the container because a memory limit was reached.

    Read it after the last process has ended and before remove(). Version 2 counts in memory.events, version 1 in
    memory.oom_control (since Linux 4.13; 0 on older kernels, which do not count).
    """
    directory = plan["dirs"].get("memory")
    if directory:
        return sum(_counter(group + "/memory.oom_control") for group in tree(directory))
    if plan["unified"]:
        return _counter(plan["unified"] + "/memory.events")
    return 0


def watch(plan: dict[str, Any]) -> tuple[int, ...]:
    """Return fds that become readable when the container runs out of memory, or () where the kernel cannot tell.

    Version 2: one inotify fd on memory.events. Version 1: an eventfd registered in cgroup.event_control, and the fd of
    memory.oom_control that must stay open with it; it also fires once when the group is removed. The caller closes all,
    polls the first, and asks `kills` for the truth.
    """
    directory = plan["dirs"].get("memory")
    try:
        if directory:
            return _watch_v1(directory)
        if plan["unified"] and os.path.exists(plan["unified"] + "/memory.events"):
            return (_inotify(plan["unified"] + "/memory.events"),)
    except OSError:
        pass
    return ()


def _counter(path: str) -> int:
    for line in read_or_empty(path).splitlines():
        name, _, number = line.partition(" ")
        if name == "oom_kill":
            return int(number)
    return 0


def _watch_v1(directory: str) -> tuple[int, ...]:
    import ctypes

    from ...linux.syscall import libc

    event = libc.eventfd(ctypes.c_uint(0), ctypes.c_int(os.O_CLOEXEC | os.O_NONBLOCK))
    if event < 0:
        raise OSError(ctypes.get_errno(), "eventfd")
    control = os.open(directory + "/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fd = os.open(directory + "/cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"%d %d" % (event, control))
        finally:
            os.close(fd)
    except OSError:
        os.close(event)
        os.close(control)
        raise
    return event, control


def _inotify(path: str) -> int:
    import ctypes

    from ...linux.syscall import libc

    fd = libc.inotify_init1(ctypes.c_int(os.O_CLOEXEC | os.O_NONBLOCK))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    if libc.inotify_add_watch(ctypes.c_int(fd), os.fsencode(path), ctypes.c_uint32(2)) < 0:  # IN_MODIFY
        code = ctypes.get_errno()
        os.close(fd)
        raise OSError(code, path)
    return fd
