# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first lines that a process started by seal.spawn() runs: shut what was inherited, then call the module."""

from __future__ import annotations

import os
import sys

from ..linux import prctl
from ..linux.features import has
from ..linux.syscall import syscall

CLOSE_RANGE_CLOEXEC = 4
_MOST = 0x7FFFFFFF


def open_descriptors(proc: str = "/proc") -> list[int]:
    """The descriptors of this process; proc must be a procfs that nobody else can have changed."""
    return [int(name) for name in os.listdir(f"{proc}/self/fd")]


def close_others(keep: tuple[int, ...]) -> None:
    """Close every descriptor but these; whatever the caller of the engine had open is not ours to hold."""
    for fd in open_descriptors():
        if fd not in keep:
            try:
                os.close(fd)
            except OSError:
                pass  # the one that listed them


def cloexec_from(lowest: int, proc: str = "/proc") -> None:
    """Let execve close every descriptor from lowest on."""
    if has("close_range"):
        syscall("close_range", lowest, _MOST, CLOSE_RANGE_CLOEXEC)
        return
    for fd in open_descriptors(proc):
        if fd >= lowest:
            try:
                os.set_inheritable(fd, False)
            except OSError:
                pass


def enter(module: str, keep: str) -> None:
    """Make the process a quiet one, then run vitrine.<module>.main() and end with the status that it returns."""
    prctl.set_dumpable(False)
    prctl.set_name("vitrine-" + module.rpartition(".")[2])
    close_others(tuple(map(int, keep.split(","))))
    cloexec_from(3)
    os.chdir("/")
    package = __name__.partition(".")[0]
    name = f"{package}.{module}"
    __import__(name)
    raise SystemExit(sys.modules[name].main())  # type: ignore[attr-defined]
