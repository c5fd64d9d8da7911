# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""prctl(2): what a process says about itself."""

from __future__ import annotations

import os

from .syscall import syscall

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47


def prctl(option: int, *args: int | bytes) -> int:
    """Raises OSError; the kernel wants unused arguments to be zero."""
    return syscall("prctl", option, *args, *([0] * (4 - len(args))))


def set_dumpable(value: bool) -> None:
    """Without it, nobody but a process with CAP_SYS_PTRACE may look into /proc/PID or trace the process."""
    prctl(PR_SET_DUMPABLE, int(value))


def die_with_parent(parent: int) -> None:
    """Be killed when the thread that forked this process ends. parent: its pid; ends at once if it is dead already."""
    prctl(PR_SET_PDEATHSIG, 9)
    if os.getppid() != parent:
        os._exit(1)


def set_no_new_privs() -> None:
    """From now on no execve gives more privileges; cannot be taken back."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def set_keepcaps(value: bool) -> None:
    """Keep the permitted capabilities when all user ids change from 0 to others; reset by execve."""
    prctl(PR_SET_KEEPCAPS, int(value))


def set_name(name: str) -> None:
    """The short name that ps shows (15 bytes)."""
    prctl(PR_SET_NAME, name.encode()[:15])


def set_child_subreaper() -> None:
    """Orphans below this process become its children."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
