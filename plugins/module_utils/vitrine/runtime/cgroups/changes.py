# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing a living container's limits to new values, all of them or none."""

from __future__ import annotations

import os

from ...errors import InvalidInput
from .files import read, read_or_empty, write
from .groups import write_all
from .plans import update_writes
from .v1 import WANTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WEIGHT_V1, _WEIGHT_V2 = 500, "100"  # what the kernel begins with: the scales of the two versions do not meet there
# what takes a limit away again; a cpuset is then that of the group above, a weight what the kernel begins with
UNLIMITED: dict[str, dict[str, Any]] = {
    "memory": {"limit": -1, "swap": -1, "reservation": -1},
    "cpu": {"shares": 1024, "quota": -1, "period": 100000, "cpus": "", "mems": ""},
    "pids": {"limit": 0},
    "blockIO": {"weight": 0},
}


def update(plan: dict[str, Any], resources: dict[str, Any], undo: list[tuple[str, str]] | None = None) -> list[str]:
    """Write what OCI linux.resources says; what it leaves out stays as it is. Return warnings.

    undo: is filled with what restore() needs. Raises HostError when a limit needs a controller that the container is
    not in, InvalidInput when the kernel refuses a value; then nothing is changed. Device rules stay as they are.
    """
    resources = {name: dict(block) if isinstance(block, dict) else block for name, block in resources.items()}
    if resources.get("memory") and "memory" not in plan["dirs"]:
        _complete_v2(plan, resources["memory"])
    if resources.get("cpu"):
        _complete_cpuset(plan, resources["cpu"])
    resources.pop("devices", None)
    weight = (resources.get("blockIO") or {}).get("weight")
    if weight == 0 and "blkio" in plan["dirs"]:
        resources["blockIO"]["weight"] = _WEIGHT_V1
    writes, warnings = update_writes(plan, resources)
    if weight == 0 and "io" in plan["controllers"] and "blkio" not in plan["dirs"]:
        writes += (
            (plan["unified"], (("io.bfq.weight", _WEIGHT_V2), ("io.weight", _WEIGHT_V2)), "blkio_weight", WANTED),
        )
    before = [] if undo is None else undo
    before += _present(writes)
    try:
        return warnings + write_all(writes)
    except BaseException:
        restore(before)
        raise


def restore(before: list[tuple[str, str]]) -> None:
    """Write back what update() found. Raises nothing: a container that ended has no limits to restore."""
    for _ in range(2):  # memory and its swap, quota and period: the order that works depends on the values
        for path, value in reversed(before):
            try:
                write(path, value)
            except OSError:
                pass


def _present(writes: tuple[tuple[Any, ...], ...]) -> list[tuple[str, str]]:
    """(path, content) of each file that will be written."""
    found = []
    for directory, candidates, _option, _level in writes:
        for file, _value in candidates:
            path = f"{directory}/{file}"
            try:
                text = read(path).strip()
            except OSError:
                continue
            # "default 100" is how io.weight shows its only line; several lines are one value for each device
            found += [(path, line) for line in text.splitlines()] or [(path, "\n")]
            break
    return found


def _complete_v2(plan: dict[str, Any], memory: dict[str, Any]) -> None:
    """Version 2 limits swap alone, and kills where version 1 refuses a limit that is below what is in use."""
    group = plan["unified"]
    limit = memory.get("limit") or 0
    if limit > 0 and memory.get("checkBeforeUpdate", True):
        used = _unreclaimable(group)
        if used > limit:
            raise InvalidInput(
                f"memory cannot be set to {limit}: the container uses {used} bytes",
                hint="a limit below that would kill its processes: stop something in the container first",
                value=limit,
            )
    if memory.get("swap") and not limit:
        present = read_or_empty(group + "/memory.max").strip()
        if present.isdigit():
            memory["limit"] = int(present)


def _unreclaimable(group: str) -> int:
    """Bytes in use without the cache of files on disks, which the kernel drops when it has to."""
    used = read_or_empty(group + "/memory.current").strip()
    table = dict(line.partition(" ")[::2] for line in read_or_empty(group + "/memory.stat").splitlines())
    cache = int(table.get("file") or 0) - int(table.get("shmem") or 0)
    return max(0, int(used) - cache) if used.isdigit() else 0


def _complete_cpuset(plan: dict[str, Any], cpu: dict[str, Any]) -> None:
    """An empty set is that of the group above, which version 1 does not take for an answer."""
    group = plan["dirs"].get("cpuset") or plan["unified"]
    above = os.path.dirname(group)
    for key in ("cpus", "mems"):
        if cpu.get(key) == "":
            name = f"{above}/cpuset.{key}"
            cpu[key] = read_or_empty(name if "cpuset" in plan["dirs"] else name + ".effective").strip()
