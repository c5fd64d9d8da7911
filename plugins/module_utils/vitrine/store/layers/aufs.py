# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers by aufs, for kernels that have it and no usable overlay: Debian 7-8, Ubuntu 14.04-20.04, aufs-dkms.

Layer directories are branches: whiteouts are files ".wh.<name>", an opaque directory holds ".wh..wh..opq". Lower
branches are mounted "ro+wh", or aufs would not look at their whiteouts (aufs manual, "Branch Syntax").
"""

from __future__ import annotations

import os

from ...linux import mount
from .driver import Driver, make_upper, mount_apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_BRANCHES = 127  # AUFS_BRANCH_MAX as most kernels are built
MAX_NAME = 242  # longer names cannot be copied up: aufs needs room for ".wh..wh." and a suffix
# udba=none: nothing but the mount touches the branches while it is there.
OPTIONS = "udba=none"
_REFUSED = ("aufs", "ecryptfs", "btrfs", "overlay", "ramfs")


class Aufs(Driver):
    """aufs' own layout, which is also that of image layers, so nothing has to be translated."""

    name = "aufs"
    layout = "aufs"

    def usable(self, root: str) -> str | None:
        """Look for aufs in /proc/filesystems, then try a mount."""
        from .staging import Staging

        with open("/proc/filesystems", encoding="ascii") as file:
            if not any(line.split()[-1:] == ["aufs"] for line in file):
                return "the kernel has no aufs (modprobe aufs, if its package is installed)"
        kind = file_system_of(root)
        if kind in _REFUSED:
            return f"aufs cannot stand on {kind}"
        try:
            with Staging(root) as staging:
                lower, upper = os.path.join(staging.tree, "lower"), os.path.join(staging.tree, "upper")
                os.mkdir(lower)
                os.mkdir(upper)
                os.close(self.mount(self.plan([lower], upper, None)))
        except OSError as error:
            return f"{error.strerror or error} (file system of {root}, or the kernel)"
        return None

    def prepare(self, folder: str, lowers: list[str], like: str) -> dict[str, Any]:
        """Make the writable branch."""
        return self.plan(lowers, make_upper(folder, like), None)

    def plan(self, lowers: list[str], upper: str | None, work: str | None) -> dict[str, Any]:
        """Return the root plan. Raises OSError (E2BIG) for more branches than aufs takes."""
        if len(lowers) + 1 > MAX_BRANCHES:
            raise OSError(7, f"aufs takes {MAX_BRANCHES} branches, this image has {len(lowers)} layers")
        return {"driver": "aufs", "lowers": lowers, "upper": upper, "work": None}

    def mount(self, plan: dict[str, Any]) -> int:
        """Mount in a child's namespace."""
        return mount_apart(lambda target: mount.aufs(branches(plan), target, options=OPTIONS))


def branches(plan: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the branches of a root plan with their permissions, top first."""
    upper = [(plan["upper"], "rw")] if plan["upper"] else []
    return upper + [(path, "ro+wh") for path in plan["lowers"]]


def file_system_of(path: str) -> str:
    """Return the type of the file system that a path is on, as mountinfo names it; "" when it is not found."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _dash, right = line.partition(" - ")
            if left.split()[2] == wanted:
                return right.split()[0]
    return ""
