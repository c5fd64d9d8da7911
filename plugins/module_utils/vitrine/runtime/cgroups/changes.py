# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing a living container's limits to new values."""

from __future__ import annotations

from ...errors import InvalidInput
from .files import read_or_empty
from .groups import write_all
from .plans import update_writes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def update(plan: dict[str, Any], resources: dict[str, Any]) -> list[str]:
    """Write what OCI linux.resources says; what it leaves out stays as it is. Return warnings.

    Raises HostError when a limit needs a controller that the container is not in, InvalidInput when the kernel refuses
    a value; what was written before stays written. Device rules cannot be changed this way.
    """
    resources = dict(resources)
    memory = dict(resources.get("memory") or {})
    if memory and "memory" not in plan["dirs"]:
        _complete_v2(plan, memory)
        resources["memory"] = memory
    writes, warnings = update_writes(plan, resources)
    return warnings + write_all(writes)


def _complete_v2(plan: dict[str, Any], memory: dict[str, Any]) -> None:
    """Version 2 limits swap alone, and kills where version 1 refuses a limit that is below what is in use."""
    group = plan["unified"]
    limit = memory.get("limit") or 0
    if limit > 0 and memory.get("checkBeforeUpdate", True):
        used = read_or_empty(group + "/memory.current").strip()
        if used.isdigit() and int(used) > limit:
            raise InvalidInput(
                f"memory cannot be set to {limit}: the container uses {used} bytes",
                hint="a limit below that would kill its processes: stop something in the container first",
                value=limit,
            )
    if memory.get("swap") and not limit:
        present = read_or_empty(group + "/memory.max").strip()
        if present.isdigit():
            memory["limit"] = int(present)
