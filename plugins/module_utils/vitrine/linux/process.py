# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a process is (pid, start time, boot), whether it lives, and signals that reach no stranger."""

from __future__ import annotations

import errno
import os

from .features import has
from .syscall import syscall

_boot_id: list[str] = []


def boot_id() -> str:
    """The kernel's random name of this boot."""
    if not _boot_id:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            _boot_id.append(file.read().strip())
    return _boot_id[0]


def _stat(pid: int) -> list[bytes] | None:
    """Fields 3.. of /proc/PID/stat (proc_pid_stat(5)); None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            text = file.read(4096)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return None
        raise
    # The second field is the program's name in parentheses, and it may hold any byte.
    return text[text.rindex(b")") + 2 :].split()


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when there is none."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def alive(pid: int, started: int) -> bool:
    """True when this very process exists and is no zombie."""
    fields = _stat(pid) if pid > 0 else None
    return fields is not None and int(fields[19]) == started and fields[0] not in (b"Z", b"X")


def ending(pid: int, started: int) -> bool:
    """True when this very process ends at this moment (the kernel's PF_EXITING), or is no more."""
    fields = _stat(pid) if pid > 0 else None
    return fields is None or int(fields[19]) != started or bool(int(fields[6]) & 4)


def pidfd_open(pid: int) -> int:
    """File descriptor of the process, readable when it has ended; -1 on kernels without. Raises OSError(ESRCH)."""
    return syscall("pidfd_open", pid, 0) if has("pidfd") else -1


def pidfd_send_signal(pidfd: int, signum: int) -> None:
    """Signal exactly the process of the file descriptor. Raises OSError(ESRCH) when it has ended."""
    syscall("pidfd_send_signal", pidfd, signum, None, 0)


def send_signal(pid: int, started: int, signum: int) -> bool:
    """Signal exactly the process that had this pid and start time; False when it is no more."""
    try:
        pidfd = pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return False
        raise
    try:
        if not alive(pid, started):
            return False
        if pidfd >= 0:
            pidfd_send_signal(pidfd, signum)
        else:
            os.kill(pid, signum)
    except ProcessLookupError:
        return False
    finally:
        if pidfd >= 0:
            os.close(pidfd)
    return True
