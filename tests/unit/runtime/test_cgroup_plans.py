# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import marshal
from typing import Any

import pytest

from vitrine.errors import HostError, InvalidInput
from vitrine.runtime import cgroups
from vitrine.runtime.cgroups import layout as layouts
from vitrine.runtime.cgroups import plans, v2

PATH = "/vitrine/" + "a" * 64
V1 = {
    name: "/sys/fs/cgroup/" + name
    for name in ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")
}
LEGACY = cgroups.Layout(V1)
HYBRID = cgroups.Layout(V1, "/sys/fs/cgroup/unified", ("hugetlb",))
UNIFIED = cgroups.Layout({}, "/sys/fs/cgroup", ("cpuset", "cpu", "io", "memory", "hugetlb", "pids"))
BARE = cgroups.Layout({})
OPEN = [{"allow": True, "access": "rwm"}]


def writes(resources: dict[str, Any], layout: cgroups.Layout) -> dict[str, str]:
    """Return {file below the mount: value} of a plan in which all devices are allowed."""
    plan = cgroups.compile({"devices": OPEN, **resources}, PATH, layout)
    marshal.dumps(plan)  # a plan travels to the monitor this way
    return {
        directory.replace(PATH, "") + "/" + file: value
        for directory, candidates, _, _ in plan["writes"]
        for file, value in candidates
    }


def test_limits_on_version_1() -> None:
    resources = {
        "memory": {"limit": 64, "swap": 128, "reservation": 32, "swappiness": 0, "disableOOMKiller": True},
        "cpu": {"shares": 512, "quota": 5000, "period": 10000, "burst": 10, "cpus": "0-1", "mems": "0"},
        "pids": {"limit": 10},
        "blockIO": {"weight": 500, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1000}]},
    }
    root = "/sys/fs/cgroup/"
    assert writes(resources, LEGACY) == {
        root + "devices/devices.allow": "a",
        root + "cpu/cpu.shares": "512",
        root + "cpu/cpu.cfs_period_us": "10000",
        root + "cpu/cpu.cfs_quota_us": "5000",
        root + "cpu/cpu.cfs_burst_us": "10",
        root + "cpuset/cpuset.cpus": "0-1",
        root + "cpuset/cpuset.mems": "0",
        root + "memory/memory.limit_in_bytes": "64",
        root + "memory/memory.memsw.limit_in_bytes": "128",
        root + "memory/memory.soft_limit_in_bytes": "32",
        root + "memory/memory.swappiness": "0",
        root + "memory/memory.oom_control": "1",
        root + "pids/pids.max": "10",
        root + "blkio/blkio.weight": "500",
        root + "blkio/blkio.bfq.weight": "500",
        root + "blkio/blkio.throttle.read_bps_device": "8:0 1000",
    }


def test_limits_on_version_2() -> None:
    resources = {
        "memory": {"limit": 64, "swap": 128, "reservation": 32},
        "cpu": {"shares": 1024, "quota": 5000, "burst": 10, "cpus": "0-1"},
        "pids": {"limit": 10},
        "blockIO": {"weight": 1000, "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 7}]},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4}],
        "unified": {"memory.high": "50"},
    }
    found = writes(resources, UNIFIED)
    assert {name.rpartition("/")[2]: value for name, value in found.items()} == {
        "cpu.weight": "100",
        "cpu.max": "5000 100000",
        "cpu.max.burst": "10",
        "cpuset.cpus": "0-1",
        "memory.swap.max": "64",
        "memory.max": "64",
        "memory.low": "32",
        "pids.max": "10",
        "io.bfq.weight": "1000",
        "io.weight": "10000",
        "io.max": "8:0 wiops=7",
        "hugetlb.2MB.max": "4",
        "hugetlb.2MB.rsvd.max": "4",
        "memory.high": "50",
    }
    # Swap first: when memory shrinks, there must be somewhere to go.
    assert list(found).index("/sys/fs/cgroup/memory.swap.max") < list(found).index("/sys/fs/cgroup/memory.max")


@pytest.mark.parametrize(
    ("resources", "file", "value"),
    [
        ({"memory": {"limit": -1}}, "memory.max", "max"),
        ({"memory": {"limit": 64, "swap": -1}}, "memory.swap.max", "max"),
        ({"memory": {"limit": 64, "swap": 64}}, "memory.swap.max", "0"),
        ({"cpu": {"quota": -1}}, "cpu.max", "max 100000"),
        ({"cpu": {"period": 50000}}, "cpu.max", "max 50000"),
        ({"pids": {"limit": 0}}, "pids.max", "max"),
        ({"pids": {"limit": -1}}, "pids.max", "max"),
        ({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 0}]}}, "io.max", "8:0 rbps=max"),
    ],
)
def test_values_of_version_2(resources: dict[str, Any], file: str, value: str) -> None:
    assert writes(resources, UNIFIED)["/sys/fs/cgroup/" + file] == value


@pytest.mark.parametrize(
    ("shares", "weight"), [(0, 1), (2, 1), (512, 59), (1024, 100), (2048, 174), (262144, 10000), (999999, 10000)]
)
def test_shares_become_weights(shares: int, weight: int) -> None:
    assert v2.weight_of_shares(shares) == weight


def test_weights_grow_with_shares() -> None:
    weights = [v2.weight_of_shares(shares) for shares in range(2, 262144, 97)]
    assert weights == sorted(weights)
    assert [v2.io_weight(10), v2.io_weight(1000)] == [1, 10000]


@pytest.mark.parametrize("memory", [{"swap": 64}, {"limit": 64, "swap": 32}, {"limit": -1, "swap": 32}])
def test_contradicting_memory_is_refused_on_version_2(memory: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="memory_swap"):
        cgroups.compile({"memory": memory}, PATH, UNIFIED)


@pytest.mark.parametrize("layout", [LEGACY, HYBRID, UNIFIED, BARE])
@pytest.mark.parametrize("resources", [None, {}, {"memory": {}, "cpu": {}, "pids": {"limit": -1}, "devices": None}])
def test_without_limits_every_host_will_do(layout: cgroups.Layout, resources: dict[str, Any] | None) -> None:
    plan = cgroups.compile(resources, PATH, layout)
    assert bool(plan["warnings"]) == (layout is BARE)


@pytest.mark.parametrize(
    ("resources", "option", "controller"),
    [
        ({"memory": {"limit": 64}}, "memory", "memory"),
        ({"cpu": {"quota": 64}}, "cpu_quota", "cpu"),
        ({"cpu": {"cpus": "0"}}, "cpuset_cpus", "cpuset"),
        ({"pids": {"limit": 64}}, "pids_limit", "pids"),
        ({"blockIO": {"weight": 64}}, "blkio_weight", "blkio"),
        ({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}, "hugepage_limits", "hugetlb"),
        ({"network": {"classID": 5}}, "net_class", "net_cls"),
        ({"unified": {"memory.high": "1"}}, "unified['memory.high']", "memory"),
    ],
)
def test_a_limit_without_its_controller_names_option_controller_and_a_way_out(
    resources: dict[str, Any], option: str, controller: str
) -> None:
    with pytest.raises(HostError) as caught:
        cgroups.compile(resources, PATH, BARE)
    assert option in str(caught.value)
    assert repr(controller) in str(caught.value)
    assert f"leave {option} out" in caught.value.hint


def test_what_version_2_lacks() -> None:
    plan = cgroups.compile({"memory": {"swappiness": 5, "disableOOMKiller": True}}, PATH, UNIFIED)
    assert [text.split()[0] for text in plan["warnings"]] == ["memory_swappiness", "oom_killer"]
    with pytest.raises(HostError, match="cpu_rt_runtime"):
        cgroups.compile({"cpu": {"realtimeRuntime": 5}}, PATH, UNIFIED)


def test_hybrid_uses_both_trees() -> None:
    resources = {"memory": {"limit": 64}, "hugepageLimits": [{"pageSize": "2MB", "limit": 4}]}
    plan = cgroups.compile(resources, PATH, HYBRID)
    assert plan["dirs"]["memory"] == "/sys/fs/cgroup/memory" + PATH
    assert plan["unified"] == "/sys/fs/cgroup/unified" + PATH
    assert plan["enable"] == (("hugetlb", "hugepage_limits"),)
    assert plan["devices"] == "v1"
    assert plan["program"] is None


def test_version_2_enables_all_it_has_but_insists_only_on_what_was_asked_for() -> None:
    plan = cgroups.compile({"pids": {"limit": 5}}, PATH, UNIFIED)
    assert dict(plan["enable"]) == {
        "cpuset": "",
        "cpu": "",
        "io": "",
        "memory": "",
        "hugetlb": "",
        "pids": "pids_limit",
    }


def test_devices_of_version_2_are_a_program() -> None:
    plan = cgroups.compile({}, PATH, UNIFIED)
    assert plan["devices"] == "bpf"
    assert len(plan["program"]) % 8 == 0
    assert cgroups.compile({"devices": OPEN}, PATH, UNIFIED)["program"] is None


def test_under_systemd_groups_lie_in_the_delegated_scope() -> None:
    plan = cgroups.compile({}, PATH, UNIFIED.replace(systemd=True))
    assert plan["unified"] == "/sys/fs/cgroup/vitrine.slice/vitrine.scope/" + "a" * 64
    assert plan["systemd"]["scope"] == "vitrine.scope"
    assert "hugetlb" in UNIFIED.controllers
    assert dict(plan["enable"]) == dict.fromkeys(("cpuset", "cpu", "io", "memory", "pids"), "")
    pages = {"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}
    asked = cgroups.compile(pages, PATH, UNIFIED.replace(systemd=True))
    assert dict(asked["enable"])["hugetlb"] == "hugepage_limits"
    old = cgroups.compile({}, PATH, LEGACY.replace(systemd=True))
    assert (old["systemd"], old["dirs"]["memory"]) == (None, "/sys/fs/cgroup/memory" + PATH)


@pytest.mark.parametrize("path", ["", "vitrine/a", "/vitrine", "/vitrine/a/b", "/../a", "/vitrine/..", "//a"])
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(InvalidInput):
        cgroups.compile({}, path, LEGACY)


def test_an_update_writes_only_what_it_names() -> None:
    plan = cgroups.compile({"memory": {"limit": 64}, "pids": {"limit": 5}}, PATH, LEGACY)
    found, warnings = plans.update_writes(plan, {"pids": {"limit": 7}})
    assert found == (("/sys/fs/cgroup/pids" + PATH, (("pids.max", "7"),), "pids_limit", 2),)
    assert warnings == []


MOUNTS = b"""\
22 1 0:21 / /sys rw - sysfs sysfs rw
31 22 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 master:2 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/a\\040b rw - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids
35 31 0:32 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
37 31 0:33 / /mnt/again rw - cgroup2 cgroup2 rw
garbage
"""


def test_mountinfo() -> None:
    assert layouts.parse_mountinfo(MOUNTS) == (
        {
            "cpu": "/sys/fs/cgroup/cpu,cpuacct",
            "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
            "memory": "/sys/fs/cgroup/a b",
            "name=systemd": "/sys/fs/cgroup/systemd",
        },
        "/sys/fs/cgroup/unified",
    )


@pytest.mark.parametrize(
    ("layout", "mode", "version"),
    [(LEGACY, "legacy", "1"), (HYBRID, "hybrid", "1"), (UNIFIED, "unified", "2"), (BARE, "none", "1")],
)
def test_modes(layout: cgroups.Layout, mode: str, version: str) -> None:
    assert layout.mode == mode
    assert layout.version == version


def test_a_layout_knows_a_controller_by_both_names() -> None:
    assert LEGACY.has("io")
    assert UNIFIED.has("blkio")
    assert not LEGACY.has("hugetlb")
