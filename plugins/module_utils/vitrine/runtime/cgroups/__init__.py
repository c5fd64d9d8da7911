# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgroups: one interface over version 1 controllers, the version 2 tree, both together, and systemd's ownership.

detect() -> compile(resources, path, layout) -> a plan (plain data) -> create(plan), enter(plan), ..., remove(plan).
From outside touch what this file names; importing it costs what a container's start needs and no more.
"""

from __future__ import annotations

from .groups import create, directories, remove
from .layout import Layout, detect
from .oom import kills as oom_kills
from .processes import attach, clone_fd, enter, freeze, frozen, kill, pids, place, thaw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = (
    "Layout",
    "attach",
    "clone_fd",
    "compile",
    "create",
    "detect",
    "directories",
    "enter",
    "freeze",
    "frozen",
    "kill",
    "oom_kills",
    "pids",
    "place",
    "remove",
    "stats",
    "thaw",
    "update",
)


def compile(resources: dict[str, Any] | None, path: str, layout: Layout) -> dict[str, Any]:  # noqa: A001
    """Compile OCI linux.resources to a cgroup plan; see `plans.compile_plan`."""
    from .plans import compile_plan

    return compile_plan(resources, path, layout)


def update(plan: dict[str, Any], resources: dict[str, Any], undo: list[tuple[str, str]] | None = None) -> list[str]:
    """Bring a living container's groups to new OCI linux.resources; return warnings; see `changes.update`."""
    from . import changes

    return changes.update(plan, resources, undo)


def stats(plan: dict[str, Any]) -> dict[str, Any]:
    """Return what the container has used; see `usage.stats`."""
    from . import usage

    return usage.stats(plan)
