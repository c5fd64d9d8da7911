# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OCI resources as writes to version 1 controllers (kernel documentation, admin-guide/cgroup-v1). Pure.

Each function takes one block of linux.resources and returns writes: (candidates, option, level). candidates are
(file, value) pairs of which the first whose file exists is used; option is the user's word for it; level says what
a failure is: REQUIRED an error, WANTED a warning.
"""

from __future__ import annotations

from . import devices as device_rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Write = tuple[tuple[tuple[str, str], ...], str, int]

WANTED, REQUIRED = 1, 2


def one(file: str, value: object, option: str, level: int = REQUIRED) -> Write:
    """A write with a single candidate."""
    return (((file, str(value)),), option, level)


def memory(block: dict[str, Any]) -> list[Write]:
    """limit, swap (memory and swap together) and reservation are bytes, -1 for unlimited.

    limit before swap: a first pass lowers, and whoever executes tries what was refused once more, so raising works.
    """
    writes = []
    if block.get("limit"):
        writes.append(one("memory.limit_in_bytes", block["limit"], "memory"))
    if block.get("swap"):
        # Absent when the kernel does not account swap: docker then limits memory alone and says so.
        writes.append(one("memory.memsw.limit_in_bytes", block["swap"], "memory_swap", WANTED))
    if block.get("reservation"):
        writes.append(one("memory.soft_limit_in_bytes", block["reservation"], "memory_reservation"))
    if block.get("swappiness") is not None:
        writes.append(one("memory.swappiness", block["swappiness"], "memory_swappiness"))
    if block.get("disableOOMKiller"):
        writes.append(one("memory.oom_control", 1, "oom_killer"))
    return writes


def cpu(block: dict[str, Any]) -> list[Write]:
    """quota, period, burst and the real-time times are microseconds; a quota of 0 or less is unlimited."""
    writes = []
    if block.get("shares"):
        writes.append(one("cpu.shares", block["shares"], "cpu_shares"))
    if block.get("period"):
        writes.append(one("cpu.cfs_period_us", block["period"], "cpu_period"))
    if block.get("quota"):
        writes.append(one("cpu.cfs_quota_us", max(block["quota"], -1), "cpu_quota"))
    if block.get("burst") is not None:
        writes.append(one("cpu.cfs_burst_us", block["burst"], "cpu_burst"))
    if block.get("realtimePeriod"):
        writes.append(one("cpu.rt_period_us", block["realtimePeriod"], "cpu_rt_period"))
    if block.get("realtimeRuntime"):
        writes.append(one("cpu.rt_runtime_us", block["realtimeRuntime"], "cpu_rt_runtime"))
    if block.get("idle") is not None:
        writes.append(one("cpu.idle", block["idle"], "cpu_idle"))
    return writes


def cpuset(block: dict[str, Any]) -> list[Write]:
    """cpus and mems are lists as in cpuset(7): "0-2,7"."""
    writes = []
    if block.get("cpus"):
        writes.append(one("cpuset.cpus", block["cpus"], "cpuset_cpus"))
    if block.get("mems"):
        writes.append(one("cpuset.mems", block["mems"], "cpuset_mems"))
    return writes


def pids(block: dict[str, Any]) -> list[Write]:
    """A limit of 0 or less is unlimited."""
    limit = block.get("limit")
    if limit is None:
        return []
    return [one("pids.max", limit if limit > 0 else "max", "pids_limit", REQUIRED if limit > 0 else WANTED)]


THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps", "device_read_bps"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps", "device_write_bps"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops", "device_read_iops"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops", "device_write_iops"),
)


def block_io(block: dict[str, Any]) -> list[Write]:
    """Weights are 10 to 1000; rates are bytes or operations per second, 0 for unlimited."""
    writes: list[Write] = []
    weight = block.get("weight")
    if weight:
        writes.append(((("blkio.weight", str(weight)), ("blkio.bfq.weight", str(weight))), "blkio_weight", REQUIRED))
    for device in block.get("weightDevice") or ():
        value = f"{device['major']}:{device['minor']} {device['weight']}"
        pairs = (("blkio.weight_device", value), ("blkio.bfq.weight_device", value))
        writes.append((pairs, "blkio_weight_device", REQUIRED))
    for name, file, _, option in THROTTLES:
        for device in block.get(name) or ():
            writes.append(one(file, f"{device['major']}:{device['minor']} {device['rate']}", option))
    return writes


def huge_pages(block: list[dict[str, Any]]) -> list[Write]:
    """One limit in bytes for each page size ("2MB"); the reservation limit too where the kernel has one (5.7)."""
    writes = []
    for each in block:
        file = f"hugetlb.{each['pageSize']}"
        writes.append(one(file + ".limit_in_bytes", each["limit"], "hugepage_limits"))
        writes.append(one(file + ".rsvd.limit_in_bytes", each["limit"], "hugepage_limits", 0))
    return writes


def network_class(block: dict[str, Any]) -> list[Write]:
    """The class id that net_cls tags packets with."""
    return [one("net_cls.classid", block["classID"], "net_class")] if block.get("classID") else []


def network_priorities(block: dict[str, Any]) -> list[Write]:
    """The priority of what leaves by each interface."""
    return [
        one("net_prio.ifpriomap", f"{each['name']} {each['priority']}", "net_priority")
        for each in block.get("priorities") or ()
    ]


def devices(rules: list[dict[str, Any]] | None) -> list[Write]:
    """The state of the devices controller; see `devices.effective`."""
    return [one(file, line, "devices") for file, line in device_rules.v1_lines(*device_rules.effective(rules))]
