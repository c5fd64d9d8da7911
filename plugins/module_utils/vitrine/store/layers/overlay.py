# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers by the kernel's overlay file system: the usual driver (Linux 4.0 and later)."""

from __future__ import annotations

import os

from ..disk import make_directory
from .driver import Driver, make_upper, mount_apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Overlay(Driver):
    """Whiteouts are character devices 0:0, opaque directories have an attribute: what the kernel itself writes."""

    name = "overlay"
    layout = "overlay"

    def usable(self, root: str) -> str | None:
        """Try it: two lower layers, a whiteout, a write through the mount."""
        from .staging import Staging

        try:
            with Staging(root) as staging:
                return self._try(staging.tree)
        except OSError as error:
            return f"{error.strerror or error} (file system of {root}, or the kernel)"

    def _try(self, probe: str) -> str | None:
        names = [os.path.join(probe, name) for name in ("one", "two", "upper", "work")]
        for name in names:
            os.mkdir(name)
        os.mkdir(names[0] + "/folder")
        with open(names[0] + "/folder/file", "wb"):
            pass
        plan = self.plan([names[1], names[0]], names[2], names[3])
        fd = self.mount(plan)
        try:
            os.unlink("folder/file", dir_fd=fd)
        finally:
            os.close(fd)
        os.setxattr(names[2], "trusted.overlay.opaque", b"y")
        status = os.lstat(names[2] + "/folder/file")
        return None if status.st_rdev == 0 else "whiteouts do not work"

    def prepare(self, folder: str, lowers: list[str], like: str) -> dict[str, Any]:
        """Make upper and work."""
        upper = make_upper(folder, like)
        work = os.path.join(folder, "work")
        make_directory(work, 0o700)
        return self.plan(lowers, upper, work)

    def plan(self, lowers: list[str], upper: str | None, work: str | None) -> dict[str, Any]:
        """Return the root plan."""
        return {"driver": "overlay", "lowers": lowers, "upper": upper, "work": work}

    def mount(self, plan: dict[str, Any]) -> int:
        """Mount detached where the kernel can, else in a child's namespace."""
        from ...linux import mount
        from ...linux.features import has

        lowers, upper, work = plan["lowers"], plan["upper"], plan["work"]
        if upper is None and len(lowers) == 1:
            return os.open(lowers[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if has("new_mount_api"):
            fd = mount.detached_overlay(lowers, upper, work)
            if fd >= 0:
                try:
                    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
                finally:
                    os.close(fd)
        return mount_apart(lambda target: mount.overlay(lowers, upper, work, target))
