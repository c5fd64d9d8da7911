# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OCI resources as writes to the version 2 tree (kernel documentation, admin-guide/cgroup-v2). Pure.

The functions are those of `v1`, with the same arguments and results. OCI resources are in version 1 units; the
conversions are those that runc and crun use, so that a container gets the same share under every engine.
"""

from __future__ import annotations

from ...errors import InvalidInput
from .v1 import REQUIRED, THROTTLES, WANTED, cpuset, one, pids

__all__ = ("cpuset", "pids")  # their files are the same in both versions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .v1 import Write


def weight_of_shares(shares: int) -> int:
    """Convert cpu.shares (2 to 262144) to cpu.weight (1 to 10000) so that both defaults meet: 1024 gives 100.

    The curve through (2, 1), (1024, 100), (262144, 10000): a parabola in the logarithms.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    from math import ceil, log2

    power = log2(shares)
    return ceil(10 ** ((power * power + 125 * power) / 612 - 7 / 34))


def io_weight(weight: int) -> int:
    """Convert a blkio weight (10 to 1000) to io.weight (1 to 10000), linearly."""
    return 1 + (weight - 10) * 9999 // 990


def limit(number: int) -> str:
    """Write a limit: negative numbers are "max"."""
    return str(number) if number >= 0 else "max"


def memory(block: dict[str, Any]) -> list[Write]:
    """As v1.memory. memory.swap.max is swap alone, and is written first, so that a lower limit finds its swap."""
    writes = []
    swap, most = block.get("swap"), block.get("limit")
    if swap:
        if swap > 0 and (not most or most < 0):
            raise InvalidInput(
                f"memory_swap {swap} is set without memory",
                hint="memory_swap is memory and swap together: set memory too",
                value=swap,
            )
        if swap > 0 and swap < most:
            raise InvalidInput(
                f"memory_swap {swap} is less than memory {most}",
                hint="memory_swap is memory and swap together",
                value=swap,
            )
        writes.append(one("memory.swap.max", limit(swap - most if swap > 0 else -1), "memory_swap", WANTED))
    if most:
        writes.append(one("memory.max", limit(most), "memory"))
    if block.get("reservation"):
        writes.append(one("memory.low", max(block["reservation"], 0), "memory_reservation"))
    return writes


def memory_ignored(block: dict[str, Any]) -> list[str]:
    """Return the options of this block that version 2 has no file for."""
    ignored = []
    if block.get("swappiness") is not None:
        ignored.append("memory_swappiness")
    if block.get("disableOOMKiller"):
        ignored.append("oom_killer")
    return ignored


def cpu(block: dict[str, Any]) -> list[Write]:
    """As v1.cpu; there is no real-time limit in version 2 (see `cpu_ignored`)."""
    writes = []
    if block.get("shares"):
        writes.append(one("cpu.weight", weight_of_shares(block["shares"]), "cpu_shares"))
    quota, period = block.get("quota"), block.get("period")
    if quota or period:
        value = str(quota) if quota and quota > 0 else "max"
        writes.append(one("cpu.max", f"{value} {period or 100000}", "cpu_quota" if quota else "cpu_period"))
    if block.get("burst") is not None:
        writes.append(one("cpu.max.burst", block["burst"], "cpu_burst"))
    if block.get("idle") is not None:
        writes.append(one("cpu.idle", block["idle"], "cpu_idle"))
    return writes


def cpu_ignored(block: dict[str, Any]) -> list[str]:
    """Return the options of this block that version 2 has no file for."""
    names = (("realtimePeriod", "cpu_rt_period"), ("realtimeRuntime", "cpu_rt_runtime"))
    return [option for name, option in names if block.get(name)]


def block_io(block: dict[str, Any]) -> list[Write]:
    """As v1.block_io. bfq keeps version 1's numbers under a file of its own."""
    writes: list[Write] = []
    weight = block.get("weight")
    if weight:
        pairs: tuple[tuple[str, str], ...] = (("io.bfq.weight", str(weight)), ("io.weight", str(io_weight(weight))))
        writes.append((pairs, "blkio_weight", REQUIRED))
    for device in block.get("weightDevice") or ():
        name, number = f"{device['major']}:{device['minor']}", device["weight"]
        pairs = (("io.bfq.weight", f"{name} {number}"), ("io.weight", f"{name} {io_weight(number)}"))
        writes.append((pairs, "blkio_weight_device", REQUIRED))
    for name, _, key, option in THROTTLES:
        for device in block.get(name) or ():
            rate = device["rate"] or "max"
            writes.append(one("io.max", f"{device['major']}:{device['minor']} {key}={rate}", option))
    return writes


def huge_pages(block: list[dict[str, Any]]) -> list[Write]:
    """As v1.huge_pages."""
    writes = []
    for each in block:
        writes.append(one(f"hugetlb.{each['pageSize']}.max", each["limit"], "hugepage_limits"))
        writes.append(one(f"hugetlb.{each['pageSize']}.rsvd.max", each["limit"], "hugepage_limits", 0))
    return writes
