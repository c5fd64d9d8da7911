# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories that a long operation works in: on the store's file system, gone with their maker, however that ends."""

from __future__ import annotations

import fcntl
import os
import time

from ..linux import fs

_PREFIX = "work-"
_GRACE = 3600.0  # seconds that a directory without a lock may be in the making


class WorkDirectory:
    """``with WorkDirectory(store_root) as path:`` an empty directory, removed at the end.

    It is locked as long as its maker lives; what makers left that were killed goes when the next one is made.
    """

    def __init__(self, store_root: str) -> None:
        self._parent = os.path.join(store_root, "tmp")
        self._path = ""
        self._lock = -1

    def __enter__(self) -> str:
        os.makedirs(self._parent, 0o700, exist_ok=True)
        sweep(self._parent)
        self._path = os.path.join(self._parent, _PREFIX + os.urandom(8).hex())
        os.mkdir(self._path, 0o700)
        try:
            self._lock = fs.lock(os.path.join(self._path, "lock"))
        except BaseException:
            fs.remove_tree(self._path)
            raise
        return self._path

    def __exit__(self, *_exception: object) -> None:
        fs.remove_tree(self._path)
        os.close(self._lock)


def sweep(parent: str) -> None:
    """Remove the work directories of makers that are dead."""
    for name in os.listdir(parent):
        if name.startswith(_PREFIX):
            _remove_if_dead(os.path.join(parent, name))


def _remove_if_dead(path: str) -> None:
    try:
        fd = os.open(os.path.join(path, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        # Its maker is between mkdir and the lock, or died there, or in removing it.
        try:
            if time.time() - os.lstat(path).st_mtime > _GRACE:
                fs.remove_tree(path)
        except FileNotFoundError:
            pass
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fs.remove_tree(path)
    except BlockingIOError:
        pass
    finally:
        os.close(fd)
