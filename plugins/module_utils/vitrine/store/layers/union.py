# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several layers show together, read in user space: for the copy driver, for diffs, and without any mount.

A Place is one directory of the union: the directories of that name in all layers that take part, top first, down to
the first opaque one. Whiteouts are those of the layers' layout.
"""

from __future__ import annotations

import errno
import os
import stat

from .entry import AUFS_PRIVATE, OPAQUE, WHITEOUT
from .unpack import OPAQUE_XATTR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ABSENT = (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM)


def is_whiteout(status: os.stat_result) -> bool:
    """Tell whether this is overlay's mark for "nothing here"."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(fd: int, layout: str) -> bool:
    """Tell whether an open directory of a layer hides what lower layers have in it."""
    if layout == "overlay":
        try:
            return os.getxattr(fd, OPAQUE_XATTR) == b"y"
        except OSError as error:
            if error.errno in _ABSENT:
                return False
            raise
    if layout == "aufs":
        try:
            os.stat(OPAQUE, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True
    return False


class Place:
    """One directory of a union; fds are its directories in the layers, top first, and are closed with it."""

    def __init__(self, fds: list[int], layout: str) -> None:
        self.fds = fds
        self.layout = layout

    @classmethod
    def root(cls, layers: Sequence[str], layout: str) -> Place:
        """Open a union's root; layers are directories, top first."""
        fds: list[int] = []
        try:
            for path in layers:
                fds.append(os.open(path, DIRECTORY_FLAGS))
                if is_opaque(fds[-1], layout):
                    break
        except BaseException:
            cls(fds, layout).close()
            raise
        return cls(fds, layout)

    def find(self, name: bytes) -> tuple[os.stat_result, int] | None:
        """Return (status, directory that holds it) of a name, or None."""
        for fd in self.fds:
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                if self.layout == "aufs" and _exists(WHITEOUT + name, fd):
                    return None
                continue
            return None if self.layout == "overlay" and is_whiteout(status) else (status, fd)
        return None

    def enter(self, name: bytes) -> Place:
        """Return the directory of that name below this one; empty when there is none."""
        fds: list[int] = []
        try:
            for fd in self.fds:
                try:
                    below = os.open(name, DIRECTORY_FLAGS, dir_fd=fd)
                except FileNotFoundError:
                    if self.layout == "aufs" and _exists(WHITEOUT + name, fd):
                        break
                    continue
                except OSError as error:
                    if error.errno in (errno.ENOTDIR, errno.ELOOP):
                        break
                    raise
                fds.append(below)
                if is_opaque(below, self.layout):
                    break
        except BaseException:
            Place(fds, self.layout).close()
            raise
        return Place(fds, self.layout)

    def names(self) -> set[bytes]:
        """Return the names that can be seen in this directory."""
        seen: set[bytes] = set()
        hidden: set[bytes] = set()
        for fd in self.fds:
            marks = set()
            for text in os.listdir(fd):
                name = os.fsencode(text)
                if self.layout == "aufs" and name[:4] == WHITEOUT:
                    if name[:8] != AUFS_PRIVATE:
                        marks.add(name[4:])
                elif name not in seen and name not in hidden:
                    if self.layout == "overlay" and is_whiteout(os.stat(name, dir_fd=fd, follow_symlinks=False)):
                        marks.add(name)
                    else:
                        seen.add(name)
            hidden |= marks - seen
        return seen

    def close(self) -> None:
        """Close the directories."""
        while self.fds:
            os.close(self.fds.pop())

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _exists(name: bytes, fd: int) -> bool:
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
            return False
        raise
    return True
