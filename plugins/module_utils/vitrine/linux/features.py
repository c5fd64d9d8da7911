# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which newer system calls this kernel has: asked by calling them, never by comparing versions.

Distribution kernels carry single calls back, and a seccomp filter around the engine may take them away. Each ladder
of fallbacks in the engine asks ``has(name)``; the configuration key "without" and the environment variable
VITRINE_WITHOUT (names joined by commas) force the lower rungs, the only way to test them on a new kernel.
"""

from __future__ import annotations

import errno
import os

from .syscall import syscall

_BAD = -1 & 0xFFFFFFFF
# Calls with arguments that an existing call refuses, by any errno but the two that mean "not here".
_PROBES = {
    "clone3": lambda: syscall("clone3", None, 0),
    "openat2": lambda: syscall("openat2", -1, b"", None, 0),
    "new_mount_api": lambda: _both(("fsopen", None, _BAD), ("open_tree", -1, b"", _BAD)),
    "mount_setattr": lambda: syscall("mount_setattr", -1, b"", _BAD, None, 0),
    "close_range": lambda: syscall("close_range", 0x7FFFFFF0, 0x7FFFFFF1, 4),
    "pidfd": lambda: _both(("pidfd_open", 0, _BAD), ("pidfd_send_signal", -1, 0, None, 0)),
    "memfd": lambda: syscall("memfd_create", b"", _BAD),
    "copy_file_range": lambda: syscall("copy_file_range", -1, None, -1, None, 0, 0),
    "seccomp": lambda: syscall("seccomp", _BAD, 0, None),
}
PROBED = tuple(_PROBES)
_known: dict[str, bool] = {}
_without: frozenset[str] | None = None


def _both(first: tuple, second: tuple) -> None:
    """Raise what the second call raises, unless the first is not here."""
    try:
        syscall(*first)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM):
            raise
    syscall(*second)


def _probe(name: str) -> bool:
    try:
        _PROBES[name]()
    except OSError as error:
        if name == "close_range" and error.errno == errno.EINVAL:
            return False  # Linux 5.9 and 5.10 have the call, but not its CLOEXEC flag
        return error.errno not in (errno.ENOSYS, errno.EPERM)
    return True


def without() -> frozenset[str]:
    """The names that are switched off by force."""
    global _without
    if _without is None:
        _without = frozenset(filter(None, os.environ.get("VITRINE_WITHOUT", "").split(",")))
    return _without


def set_without(names: object) -> None:
    """Switch the named features off from now on in this process and what it starts (the rest as the kernel says)."""
    global _without
    wanted = frozenset(names)  # type: ignore[call-overload]
    if wanted != without():
        _without = wanted
        _known.clear()


def has(name: str) -> bool:
    """True when the feature may be used. A name that has no probe is a rung that exists until it is switched off."""
    if name not in _known:
        _known[name] = name not in without() and (name not in _PROBES or _probe(name))
    return _known[name]
