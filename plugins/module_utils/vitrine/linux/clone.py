# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fork into new namespaces and into a cgroup: clone3 with CLONE_INTO_CGROUP, clone3, clone, in that order.

The C library's own preparations for fork are not run, so the caller must be single-threaded, and the child should keep
to ``os`` functions until it execs.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from .features import has
from .syscall import machine, syscall_held

CLONE_FILES = 0x00000400
CLONE_PARENT = 0x00008000
CLONE_INTO_CGROUP = 0x200000000
SIGCHLD = 17
_hooks = ctypes.pythonapi


def single_threaded() -> bool:
    """True when this process has one thread: what entering or making most namespaces needs."""
    return len(os.listdir("/proc/self/task")) == 1


def _clone3(flags: int, cgroup_fd: int) -> int:
    exit_signal = 0 if flags & CLONE_PARENT else SIGCHLD
    into = cgroup_fd if cgroup_fd >= 0 else 0
    if cgroup_fd >= 0:
        flags |= CLONE_INTO_CGROUP
    # struct clone_args: flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup
    args = struct.pack("=11Q", flags, 0, 0, 0, exit_signal, 0, 0, 0, 0, 0, into)
    return syscall_held("clone3", args, len(args))


def _clone(flags: int) -> int:
    flags |= 0 if flags & CLONE_PARENT else SIGCHLD
    first, second = (0, flags) if machine() == "s390x" else (flags, 0)
    return syscall_held("clone", first, second, 0, 0, 0)


def clone(flags: int, cgroup_fd: int = -1) -> tuple[int, bool]:
    """Return (pid, True when the child was born in the cgroup); pid is 0 in the child.

    flags: CLONE_NEW*, CLONE_FILES, CLONE_PARENT. cgroup_fd: a directory of a version 2 hierarchy, or -1. Where the
    kernel cannot start a child in a cgroup, the caller has to move it. Raises OSError.
    """
    _hooks.PyOS_BeforeFork()
    pid, inside = -1, False
    try:
        if has("clone3"):
            if cgroup_fd >= 0 and has("clone_into_cgroup"):
                try:
                    pid, inside = _clone3(flags, cgroup_fd), True
                except OSError as error:
                    # EINVAL, E2BIG: a kernel before 5.7; EBUSY, EOPNOTSUPP: the cgroup takes no processes this way
                    if error.errno not in (errno.EINVAL, errno.E2BIG, errno.EBUSY, errno.EOPNOTSUPP):
                        raise
            if pid < 0:
                pid = _clone3(flags, -1)
        else:
            pid = _clone(flags)
    finally:
        if pid == 0:
            _hooks.PyOS_AfterFork_Child()
        else:
            _hooks.PyOS_AfterFork_Parent()
    return pid, inside
