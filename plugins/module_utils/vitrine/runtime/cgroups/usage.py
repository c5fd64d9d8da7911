# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container has used, in the same numbers for both versions."""

from __future__ import annotations

import os

from .files import read_or_empty, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

UNLIMITED = 1 << 62  # version 1 writes "no limit" as the largest multiple of the page size


def stats(plan: dict[str, Any]) -> dict[str, Any]:
    """Return counters and present values; what the host does not count is 0.

    cpu_ns, cpu_user_ns, cpu_system_ns: processor time. periods, throttled_periods, throttled_ns: of the quota.
    memory_usage: bytes in use without the file cache that could be dropped at once, as docker shows it;
    memory_limit: bytes, the host's memory where there is no limit; memory_cache, memory_peak: bytes.
    pids, pids_limit (0: none), io_read_bytes, io_write_bytes. system_cpu_ns, cpus: the whole host, to compute percents.
    """
    result: dict[str, Any] = dict.fromkeys(
        "cpu_ns cpu_user_ns cpu_system_ns periods throttled_periods throttled_ns memory_usage memory_limit "
        "memory_cache memory_peak pids pids_limit io_read_bytes io_write_bytes".split(),
        0,
    )
    v1, v2 = plan["dirs"], plan["unified"]
    if "cpuacct" in v1:
        _cpu_v1(v1["cpuacct"], result)
    elif v2:
        _cpu_v2(v2, result)
    if "cpu" in v1:
        _throttling(read_or_empty(v1["cpu"] + "/cpu.stat"), "throttled_time", 1, result)
    elif v2:
        _throttling(read_or_empty(v2 + "/cpu.stat"), "throttled_usec", 1000, result)
    if "memory" in v1:
        _memory_v1(v1["memory"], result)
    elif v2:
        _memory_v2(v2, result)
    pids = v1.get("pids") or v2
    if pids:
        result["pids"] = _number(pids + "/pids.current")
        result["pids_limit"] = _number(pids + "/pids.max")
    if "blkio" in v1:
        _io_v1(v1["blkio"], result)
    elif v2:
        _io_v2(v2, result)
    result["memory_limit"] = min(result["memory_limit"] or UNLIMITED, _host_memory())
    result["system_cpu_ns"], result["cpus"] = _host_cpu()
    return result


def _cpu_v1(group: str, result: dict[str, Any]) -> None:
    result["cpu_ns"] = _number(group + "/cpuacct.usage")
    result["cpu_user_ns"] = _number(group + "/cpuacct.usage_user")
    result["cpu_system_ns"] = _number(group + "/cpuacct.usage_sys")
    if not result["cpu_user_ns"] and not result["cpu_system_ns"]:  # before Linux 4.7: clock ticks only
        tick = 10**9 // os.sysconf("SC_CLK_TCK")
        table = _table(read_or_empty(group + "/cpuacct.stat"))
        result["cpu_user_ns"] = table.get("user", 0) * tick
        result["cpu_system_ns"] = table.get("system", 0) * tick


def _cpu_v2(group: str, result: dict[str, Any]) -> None:
    table = _table(read_or_empty(group + "/cpu.stat"))
    for ours, theirs in (("cpu_ns", "usage_usec"), ("cpu_user_ns", "user_usec"), ("cpu_system_ns", "system_usec")):
        result[ours] = table.get(theirs, 0) * 1000


def _throttling(text: str, time_name: str, factor: int, result: dict[str, Any]) -> None:
    table = _table(text)
    result["periods"] = table.get("nr_periods", 0)
    result["throttled_periods"] = table.get("nr_throttled", 0)
    result["throttled_ns"] = table.get(time_name, 0) * factor


def _memory_v1(group: str, result: dict[str, Any]) -> None:
    used = _number(group + "/memory.usage_in_bytes")
    table = _table(read_or_empty(group + "/memory.stat"))
    inactive = table.get("total_inactive_file", 0)
    result["memory_usage"] = used - inactive if inactive < used else used
    result["memory_cache"] = table.get("total_cache", 0)
    result["memory_peak"] = _number(group + "/memory.max_usage_in_bytes")
    limit = _number(group + "/memory.limit_in_bytes")
    result["memory_limit"] = limit if limit < UNLIMITED else 0


def _memory_v2(group: str, result: dict[str, Any]) -> None:
    used = _number(group + "/memory.current")
    table = _table(read_or_empty(group + "/memory.stat"))
    inactive = table.get("inactive_file", 0)
    result["memory_usage"] = used - inactive if inactive < used else used
    result["memory_cache"] = table.get("file", 0)
    result["memory_peak"] = _number(group + "/memory.peak")
    result["memory_limit"] = _number(group + "/memory.max")


def _io_v1(group: str, result: dict[str, Any]) -> None:
    """The throttling layer counts for every scheduler; its counters do not include the groups below before 5.x."""
    text = read_or_empty(group + "/blkio.throttle.io_service_bytes_recursive")
    if not text:
        text = "".join(read_or_empty(below + "/blkio.throttle.io_service_bytes") for below in tree(group))
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in ("Read", "Write"):
            result["io_read_bytes" if words[1] == "Read" else "io_write_bytes"] += int(words[2])


def _io_v2(group: str, result: dict[str, Any]) -> None:
    for word in read_or_empty(group + "/io.stat").split():
        name, _, number = word.partition("=")
        if name == "rbytes":
            result["io_read_bytes"] += int(number)
        elif name == "wbytes":
            result["io_write_bytes"] += int(number)


def _table(text: str) -> dict[str, int]:
    """Parse lines of "name number"."""
    table = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[1].isdigit():
            table[words[0]] = int(words[1])
    return table


def _number(path: str) -> int:
    text = read_or_empty(path).strip()
    return int(text) if text.isdigit() else 0


def _host_memory() -> int:
    for line in read_or_empty("/proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return UNLIMITED


def _host_cpu() -> tuple[int, int]:
    """Return (nanoseconds that all processors have run, processors online), from proc(5) stat."""
    total, cpus = 0, 0
    for line in read_or_empty("/proc/stat").splitlines():
        words = line.split()
        if words and words[0] == "cpu":
            total = sum(int(word) for word in words[1:9])
        elif words and words[0].startswith("cpu"):
            cpus += 1
    return total * (10**9 // os.sysconf("SC_CLK_TCK")), cpus or 1
