# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Extended attributes through file descriptors, symbolic links included, and without surprises on odd file systems."""

from __future__ import annotations

import errno
import os

_ABSENT = (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM)


def path_of(fd: int) -> str:
    """A path that names the open file itself, O_PATH ones too: what the calls without an f... form need."""
    return f"/proc/self/fd/{fd}"


def get(fd: int, name: str) -> bytes | None:
    """The value, or None where there is none. fd may be O_PATH, of anything but a symbolic link."""
    try:
        return os.getxattr(path_of(fd), name)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def all_of(path: bytes | str) -> dict[str, bytes]:
    """Every attribute of the file itself (links are not followed); empty where the file system has none."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in _ABSENT:
            return {}
        raise
    result = {}
    for name in names:
        try:
            result[name] = os.getxattr(path, name, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
    return result
