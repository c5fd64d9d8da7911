# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few things one does with cgroup files: read, write, list the groups below, wait for a state."""

from __future__ import annotations

import errno
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

GONE = (errno.ENOENT, errno.ENODEV)
REFUSED = (errno.EPERM, errno.EACCES, errno.EROFS)


def until(condition: Callable[[], bool], patience: float) -> bool:
    """Wait until the condition holds, at most patience seconds; return whether it does."""
    end = time.monotonic() + patience
    pause = 0.0005
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
    return True


def write(path: str, value: str) -> None:
    """Write a value to a cgroup file, which must exist. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def read(path: str) -> str:
    """Return the text of a cgroup file. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks: list[bytes] = []
        while True:
            chunk = os.read(fd, 65536)
            if not chunk:
                return b"".join(chunks).decode("utf-8", "replace")
            chunks.append(chunk)
    finally:
        os.close(fd)


def read_or_empty(path: str) -> str:
    """Return the text of a cgroup file, or "" when it cannot be read."""
    try:
        return read(path)
    except OSError:
        return ""


def remove_tree(top: str) -> None:
    """Remove a group and those below, the lowest first. Raises OSError (EBUSY: processes are left)."""
    for directory in reversed(tree(top)):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            pass


def tree(top: str) -> list[str]:
    """Return top and all groups below it, each before its children."""
    found = [top]
    for directory in found:
        try:
            with os.scandir(directory) as entries:
                found += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            pass
    return found
