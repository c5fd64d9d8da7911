# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a container from outside: of a stopped one through a mount of our own, of a running one through /proc.

All paths are the container's and hostile: they are resolved inside the given root, by descriptors.
"""

from __future__ import annotations

import os
import stat

from ...linux import paths
from .entry import DIRECTORY, Entry
from .pack import Maker
from .walk import Walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .driver import Driver

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Mounted:
    """An open directory of a container's root; the mount behind it ends when it is closed."""

    def __init__(self, driver: Driver, plan: dict[str, Any]) -> None:
        self._driver = driver
        self._plan = plan
        self._fd = -1

    def __enter__(self) -> int:
        self._fd = self._driver.mount(self._plan)
        return self._fd

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)
        self._fd = -1


def copy_tree(root: int, path: str | bytes, target: str) -> bool:
    """Copy the content of a directory inside root into an existing, empty directory of the host.

    Returns False when there is no such directory. Raises OSError.
    """
    try:
        source = paths.open_in_root(root, path, _DIRECTORY)
    except OSError as error:
        if error.errno in (2, 20):
            return False
        raise
    try:
        fd = os.open(target, _DIRECTORY)
        try:
            if not os.listdir(fd):
                Maker(fd, "plain", _ignore).run(Walk(source, "plain"))
            status = os.fstat(source)
            os.fchown(fd, status.st_uid, status.st_gid)
            os.fchmod(fd, stat.S_IMODE(status.st_mode))
        finally:
            os.close(fd)
    finally:
        os.close(source)
    return True


def _ignore(_data: object) -> None:
    """No archive is wanted."""


__all__ = ["DIRECTORY", "Entry", "Mounted", "copy_tree"]
