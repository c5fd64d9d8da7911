# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers without any union file system: each container gets a full copy. Slow and large, but it works anywhere.

Layers lie on disk in aufs' layout, which needs nothing of a file system. What a container changed is found by
comparing its copy with what its layers show together.
"""

from __future__ import annotations

import os

from .driver import Driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .union import Place
    from .walk import Item


class Copy(Driver):
    """The container's root is an ordinary directory, bound into its place."""

    name = "copy"
    layout = "aufs"

    def usable(self, root: str) -> str | None:
        """It needs nothing but a directory."""
        return None

    def prepare(self, folder: str, lowers: list[str], like: str) -> dict[str, Any]:
        """Copy all layers together, under another name until all is there."""
        from ...linux.fs import remove_tree
        from .pack import Maker
        from .union import Place

        final = os.path.join(folder, "root")
        if not os.path.isdir(final):
            staging = os.path.join(folder, "root.new")
            remove_tree(staging)
            os.mkdir(staging, 0o700)
            try:
                target = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    with Place.root(lowers, self.layout) as place:
                        Maker(target, self.layout, _ignore).run(merged(place))
                    status = os.stat(like)
                    os.fchown(target, status.st_uid, status.st_gid)
                    os.fchmod(target, status.st_mode & 0o7777)
                finally:
                    os.close(target)
                os.rename(staging, final)
            except BaseException:
                remove_tree(staging)
                raise
        return self.plan(lowers, final, None)

    def plan(self, lowers: list[str], upper: str | None, work: str | None) -> dict[str, Any]:
        """Return the root plan: upper is the full copy."""
        return {"driver": "bind", "lowers": [], "upper": upper, "work": None}

    def writable(self, folder: str) -> str:
        """Return the full copy."""
        return os.path.join(folder, "root")

    def walk(self, fd: int, lower: Place, root_like: tuple[int, int, int]) -> Iterable[Item]:
        """Compare the copy with the layers."""
        from .walk import Walk

        return Walk(fd, "plain", lower=lower, naive=True, root_like=root_like)

    def mount(self, plan: dict[str, Any]) -> int:
        """Open the copy."""
        return os.open(plan["upper"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _ignore(_data: object) -> None:
    """The copy's archive is of no interest."""


def merged(place: Place) -> Iterable[Item]:
    """Yield the items of everything that a union shows."""
    return _merged(place, b"", {})


def _merged(place: Place, prefix: bytes, links: dict[tuple[int, int], bytes]) -> Iterable[Item]:
    from .walk import Walk

    for name in sorted(place.names()):
        found = place.find(name)
        if found is None:
            continue
        status, folder = found
        item, fd = Walk.single(folder, prefix + name, name, status, links)
        if item is None:
            continue
        try:
            yield item
            if item.entry.kind == b"5":
                with place.enter(name) as below:
                    yield from _merged(below, prefix + name + b"/", links)
        finally:
            if fd >= 0:
                os.close(fd)
