# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces: their flags, how to open one, to enter it and to make a new one (namespaces(7))."""

from __future__ import annotations

import _thread
import os

from .syscall import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

FLAGS = {
    "mnt": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
# The words of the OCI runtime specification ("linux.namespaces[].type") and the names below /proc/PID/ns.
FROM_OCI = {"mount": "mnt", "network": "net", "pid": "pid", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup"}


def open_ns(pid: int | str, kind: str) -> int:
    """File descriptor of a process's namespace; kind as below /proc/PID/ns. Raises OSError (ENOENT: no such kind)."""
    return os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)


def setns(fd: int, flags: int = 0) -> None:
    """Enter the namespace of fd; with a pidfd (Linux 5.8), all those named by flags. Single-threaded callers only."""
    syscall("setns", fd, flags)


def inside(fd: int, kind: str, action: Callable[[], object]) -> None:
    """Run action with the calling thread in another namespace, that of fd; what it opens stays there."""
    own = open_ns(f"self/task/{_thread.get_native_id()}", kind)
    try:
        setns(fd, FLAGS[kind])
        try:
            action()
        finally:
            setns(own, FLAGS[kind])
    finally:
        os.close(own)


def unshare(flags: int) -> None:
    """Leave the named namespaces for new ones."""
    syscall("unshare", flags)
