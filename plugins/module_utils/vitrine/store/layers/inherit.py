# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories that a layer has only for the sake of what is in them: they must look as the layers below say.

An archive may hold "usr/bin/tool" without "usr" and "usr/bin". In the layer's directory they exist nevertheless, and
since the top directory's attributes are those that a union shows, they are copied from the next layer that has them.
"""

from __future__ import annotations

import errno
import os
import stat

from .entry import keeps_xattr
from .union import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def inherit(tree: str, implied: Iterable[bytes], below: list[str], layout: str) -> None:
    """Give the implied directories of a new layer owner, mode, times and attributes of the layers below (top first)."""
    if not below:
        return
    with Place.root([tree], "plain") as new, Place.root(below, layout) as old:
        for name in sorted(implied):
            parts = name.split(b"/") if name else []
            target, source = _walk(new, parts), _walk(old, parts)
            try:
                if target is not None and source is not None:
                    _copy(source.fds[0], target.fds[0])
            finally:
                for place in (target, source):
                    if place is not None:
                        place.close()


def _walk(root: Place, parts: list[bytes]) -> Place | None:
    """Open a directory of a union; None when it has none of that name."""
    place = Place([os.dup(fd) for fd in root.fds], root.layout)
    for part in parts:
        below = place.enter(part)
        place.close()
        place = below
    if place.fds:
        return place
    return None


def _copy(source: int, target: int) -> None:
    status = os.fstat(source)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    try:
        for name in filter(keeps_xattr, os.listxattr(source)):
            os.setxattr(target, name, os.getxattr(source, name))
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.ENODATA):
            raise
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
