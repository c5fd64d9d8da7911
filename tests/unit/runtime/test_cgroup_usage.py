# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters of both versions read from files with the kernel's own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vitrine.errors import InvalidInput
from vitrine.runtime import cgroups

V2 = {
    "cpu.stat": "usage_usec 3000\nuser_usec 2000\nsystem_usec 1000\nnr_periods 9\nnr_throttled 4\nthrottled_usec 50\n",
    "memory.current": "1000\n",
    "memory.stat": "anon 100\nfile 700\ninactive_file 600\n",
    "memory.max": "4096\n",
    "memory.peak": "2000\n",
    "memory.events": "low 0\nhigh 0\nmax 5\noom 3\noom_kill 2\noom_group_kill 0\n",
    "pids.current": "7\n",
    "pids.max": "max\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=2 rios=1 wios=1\n",
}
V1 = {
    "cpuacct.usage": "3000000\n",
    "cpuacct.usage_user": "2000000\n",
    "cpuacct.usage_sys": "1000000\n",
    "cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_time 50000\n",
    "memory.usage_in_bytes": "1000\n",
    "memory.stat": "cache 1\ninactive_file 2\ntotal_cache 700\ntotal_inactive_file 600\n",
    "memory.limit_in_bytes": "4096\n",
    "memory.max_usage_in_bytes": "2000\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "pids.current": "7\n",
    "pids.max": "max\n",
    "blkio.throttle.io_service_bytes_recursive": "8:0 Read 11\n8:0 Write 22\n8:0 Sync 33\n8:0 Total 33\nTotal 33\n",
}
EXPECTED = {
    "cpu_ns": 3000000,
    "cpu_user_ns": 2000000,
    "cpu_system_ns": 1000000,
    "periods": 9,
    "throttled_periods": 4,
    "throttled_ns": 50000,
    "memory_usage": 400,
    "memory_limit": 4096,
    "memory_cache": 700,
    "memory_peak": 2000,
    "pids": 7,
    "pids_limit": 0,
    "io_read_bytes": 11,
    "io_write_bytes": 22,
}


def plan_of(folder: Path, files: dict[str, str], version: int) -> dict[str, Any]:
    for name, text in files.items():
        (folder / name).write_text(text)
    if version == 2:
        return {"dirs": {}, "unified": str(folder), "controllers": ("cpu", "memory", "pids", "io"), "warnings": []}
    dirs = dict.fromkeys(("cpu", "cpuacct", "memory", "pids", "blkio"), str(folder))
    return {"dirs": dirs, "unified": "", "controllers": (), "warnings": []}


@pytest.mark.parametrize(("files", "version"), [(V1, 1), (V2, 2)])
def test_both_versions_give_the_same_numbers(tmp_path: Path, files: dict[str, str], version: int) -> None:
    plan = plan_of(tmp_path, files, version)
    found = cgroups.stats(plan)
    assert found.pop("system_cpu_ns") > 0
    assert found.pop("cpus") > 0
    assert found == EXPECTED
    assert cgroups.oom_kills(plan) == 2


def test_no_limit_is_the_host_s_memory(tmp_path: Path) -> None:
    host = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    plan = plan_of(tmp_path, {**V1, "memory.limit_in_bytes": "9223372036854771712\n"}, 1)
    assert cgroups.stats(plan)["memory_limit"] == host
    plan = plan_of(tmp_path, {"memory.max": "max\n"}, 2)
    assert cgroups.stats(plan)["memory_limit"] == host


def test_old_kernels_count_in_ticks(tmp_path: Path) -> None:
    files = {"cpuacct.usage": "30000000\n", "cpuacct.stat": "user 2\nsystem 1\n"}
    found = cgroups.stats(plan_of(tmp_path, files, 1))
    assert (found["cpu_user_ns"], found["cpu_system_ns"]) == (20000000, 10000000)
    assert cgroups.oom_kills(plan_of(tmp_path, {"memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, 1)) == 0


def test_groups_below_count_too(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, V1, 1)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "memory.oom_control").write_text("oom_kill 5\n")
    assert cgroups.oom_kills(plan) == 7


def test_what_is_not_there_is_zero() -> None:
    plan = {"dirs": {"memory": "/nonexistent/a"}, "unified": "/nonexistent/b", "controllers": (), "warnings": []}
    found = cgroups.stats(plan)
    assert {found[name] for name in EXPECTED if name != "memory_limit"} == {0}
    assert cgroups.oom_kills(plan) == 0


def test_version_2_is_never_asked_to_kill_by_an_update(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, V2, 2)
    # 1000 bytes, of which the kernel can drop 700
    with pytest.raises(InvalidInput, match="memory cannot be set to 299: the container uses 300 bytes"):
        cgroups.update(plan, {"memory": {"limit": 299}})
    assert cgroups.update(plan, {"memory": {"limit": 300}}) == []
    assert (tmp_path / "memory.max").read_text().startswith("300")


def test_swap_alone_is_measured_against_the_present_memory(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {**V2, "memory.swap.max": ""}, 2)
    assert cgroups.update(plan, {"memory": {"swap": 5096}}) == []
    assert (tmp_path / "memory.swap.max").read_text() == "1000"
    with pytest.raises(InvalidInput, match="memory_swap 4000 is less than memory 4096"):
        cgroups.update(plan, {"memory": {"swap": 4000}})
