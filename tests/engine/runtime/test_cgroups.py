# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real groups on this host: that limits hold, that everything is counted, and that nothing stays behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from vitrine.errors import HostError, InvalidInput, StartFailed
from vitrine.runtime import cgroups
from vitrine.runtime.cgroups import oom
from vitrine.settings import Settings

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.usefixtures("leakcheck"),
]
OPEN = [{"allow": True, "access": "rwm"}]
MIB = 1 << 20


@pytest.fixture
def make(settings: Settings) -> Iterator[Callable[..., dict[str, Any]]]:
    """Make a group with these resources; what is in it at the end is killed and removed."""
    plans = []

    def factory(resources: dict[str, Any] | None = None, layout: cgroups.Layout | None = None) -> dict[str, Any]:
        plan = cgroups.compile(resources, f"/{settings.tag}/{len(plans):064x}", layout or cgroups.detect())
        plans.append(plan)
        assert cgroups.create(plan) == []
        return plan

    yield factory
    for plan in plans:
        cgroups.thaw(plan)
        cgroups.kill(plan, patience=0)
        for pid in cgroups.pids(plan):
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass
        assert cgroups.remove(plan)


def need(controller: str) -> None:
    if not cgroups.detect().has(controller):
        pytest.skip(f"this host has no cgroup controller {controller}")


def start(plan: dict[str, Any], work: Callable[[], int | None]) -> int:
    """Run work in a child that is in the plan's groups; what it returns is the child's exit status."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            cgroups.enter(plan)
            status = work() or 0
        finally:
            os._exit(status)
    return pid


def run(plan: dict[str, Any], work: Callable[[], int | None]) -> int:
    return os.waitpid(start(plan, work), 0)[1]


def sleeper(plan: dict[str, Any]) -> int:
    pid = start(plan, lambda: time.sleep(60))
    deadline = time.monotonic() + 5
    while pid not in cgroups.pids(plan):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return pid


def spin(seconds: float) -> int:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return 0


def test_a_process_sits_in_every_hierarchy(make: Callable[..., dict[str, Any]]) -> None:
    plan = make()
    pid = sleeper(plan)
    found = dict(line.split(":")[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    for controller in plan["dirs"]:
        assert found[controller] == plan["path"]
    if plan["unified"] and not plan["systemd"]:
        assert found[""] == plan["path"]


def test_another_process_can_be_moved(make: Callable[..., dict[str, Any]]) -> None:
    plan = make()
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
    cgroups.attach(plan, pid)
    assert cgroups.pids(plan) == [pid]


def test_memory_over_the_limit_is_killed_and_counted(make: Callable[..., dict[str, Any]]) -> None:
    need("memory")
    plan = make({"memory": {"limit": 32 * MIB, "swap": 32 * MIB}})

    def hog() -> int:
        held = []
        for _ in range(100):
            held.append(b"x" * MIB)
        return len(held)

    fds = oom.watch(plan)
    assert os.WTERMSIG(run(plan, hog)) == signal.SIGKILL
    assert cgroups.oom_kills(plan) == 1
    if fds:
        assert os.read(fds[0], 64)
    for fd in fds:
        os.close(fd)
    assert cgroups.stats(plan)["memory_limit"] == 32 * MIB
    assert run(plan, lambda: len(b"x" * MIB) - MIB) == 0
    assert cgroups.oom_kills(plan) == 1


def test_more_processes_than_allowed_are_refused(make: Callable[..., dict[str, Any]]) -> None:
    need("pids")
    plan = make({"pids": {"limit": 3}})

    def bomb() -> int:
        for number in range(10):
            try:
                if os.fork() == 0:
                    time.sleep(60)
            except BlockingIOError:
                return number
        return 50

    assert os.waitstatus_to_exitcode(run(plan, bomb)) == 2
    assert cgroups.stats(plan)["pids_limit"] == 3
    assert cgroups.stats(plan)["pids"] == 2


def test_a_cpu_quota_throttles(make: Callable[..., dict[str, Any]]) -> None:
    need("cpu")
    plan = make({"cpu": {"quota": 10000, "period": 100000}})
    assert run(plan, lambda: spin(0.05)) == 0
    used = cgroups.stats(plan)
    assert used["throttled_periods"] >= 2
    assert used["throttled_ns"] > 0
    assert used["cpu_ns"] >= 50_000_000
    free = make()
    assert run(free, lambda: spin(0.05)) == 0
    assert cgroups.stats(free)["throttled_periods"] == 0


def test_a_cpuset_binds(make: Callable[..., dict[str, Any]]) -> None:
    need("cpuset")
    plan = make({"cpu": {"cpus": "0"}})
    assert run(plan, lambda: 0 if os.sched_getaffinity(0) == {0} else 1) == 0


def deny_devices(layout: cgroups.Layout, make: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    def use(node: str, flags: int) -> Callable[[], int]:
        def work() -> int:
            try:
                os.close(os.open(node, flags))
            except OSError as error:
                return error.errno or 98
            return 0

        return work

    kernel_log = os.makedev(1, 11)
    os.mknod(tmp_path / "kmsg", 0o20600, kernel_log)
    confined = make({"devices": [{"allow": False, "access": "rwm"}]}, layout)
    assert confined["devices"] == ("v1" if "devices" in confined["dirs"] else "bpf")
    assert run(confined, use("/dev/null", os.O_RDWR)) == 0
    assert os.waitstatus_to_exitcode(run(confined, use(str(tmp_path / "kmsg"), os.O_RDONLY))) == 1  # EPERM
    one = {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}
    reader = make({"devices": [{"allow": False, "access": "rwm"}, one]}, layout)
    assert run(reader, use(str(tmp_path / "kmsg"), os.O_RDONLY)) == 0
    assert os.waitstatus_to_exitcode(run(reader, use(str(tmp_path / "kmsg"), os.O_WRONLY))) == 1
    everything = make({"devices": OPEN}, layout)
    assert run(everything, use(str(tmp_path / "kmsg"), os.O_RDWR)) == 0


def test_devices_are_denied(make: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    deny_devices(cgroups.detect(), make, tmp_path)


def test_devices_are_denied_by_a_program(make: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    layout = cgroups.detect()
    if not layout.unified:
        pytest.skip("this host has no version 2 tree")
    deny_devices(layout.replace(v1={}, controllers=()), make, tmp_path)


def test_a_program_is_replaced(make: Callable[..., dict[str, Any]]) -> None:
    from vitrine.runtime import bpf_devices

    layout = cgroups.detect()
    if not layout.unified:
        pytest.skip("this host has no version 2 tree")
    plan = make({"devices": [{"allow": False, "access": "rwm"}]}, layout.replace(v1={}, controllers=()))
    before = bpf_devices.attached(plan["unified"])
    assert len(before) == 1
    bpf_devices.replace(bpf_devices.compile_program(False, ()), plan["unified"])
    assert len(bpf_devices.attached(plan["unified"])) == 1
    assert bpf_devices.attached(plan["unified"]) != before

    def null() -> int:
        try:
            os.open("/dev/null", os.O_RDONLY)
        except PermissionError:
            return 0
        return 1

    assert run(plan, null) == 0


def test_freezing_stops_and_thawing_goes_on(make: Callable[..., dict[str, Any]]) -> None:
    plan = make()
    reader, writer = os.pipe()

    def talk() -> None:
        while True:
            os.write(writer, b".")
            time.sleep(0.002)

    start(plan, talk)
    os.read(reader, 1)
    assert cgroups.freeze(plan)
    assert cgroups.frozen(plan)
    os.set_blocking(reader, False)
    try:
        while os.read(reader, 4096):
            pass
    except BlockingIOError:
        pass
    time.sleep(0.05)
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    cgroups.thaw(plan)
    assert not cgroups.frozen(plan)
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b"."
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("tree", ["all", "version 1 only"])
@pytest.mark.parametrize("frozen", [False, True])
def test_killing_spares_nobody(make: Callable[..., dict[str, Any]], tree: str, frozen: bool) -> None:
    layout = cgroups.detect()
    if tree != "all":
        if not layout.v1:
            pytest.skip("this host has no version 1 controllers")
        layout = layout.replace(unified="", controllers=())
    plan = make(None, layout)

    def family() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for _ in range(5):
            if os.fork() == 0:
                break
        time.sleep(60)

    first = start(plan, family)
    while len(cgroups.pids(plan)) < 6:
        time.sleep(0.001)
    if frozen:
        cgroups.freeze(plan)
    cgroups.kill(plan, patience=0)
    assert os.WTERMSIG(os.waitpid(first, 0)[1]) == signal.SIGKILL
    assert cgroups.kill(plan)
    assert cgroups.pids(plan) == []


def test_limits_change_while_it_runs(make: Callable[..., dict[str, Any]]) -> None:
    need("memory")
    plan = make({"memory": {"limit": 32 * MIB, "swap": 32 * MIB}, "cpu": {"quota": 10000, "period": 20000}})
    sleeper(plan)
    # Up and down again: each way needs the other order of writing memory and its swap.
    for size in (64 * MIB, 16 * MIB):
        assert cgroups.update(plan, {"memory": {"limit": size, "swap": size}}) == []
        assert cgroups.stats(plan)["memory_limit"] == size
    assert cgroups.update(plan, {"pids": {"limit": 7}, "cpu": {"quota": 500000, "period": 1000000}}) == []
    assert cgroups.stats(plan)["pids_limit"] == 7
    with pytest.raises(InvalidInput, match=r"memory cannot be set.*stop something"):
        cgroups.update(plan, {"memory": {"limit": 4096}})


def test_impossible_values_are_refused_and_leave_nothing(settings: Settings) -> None:
    need("cpuset")
    plan = cgroups.compile({"cpu": {"cpus": "9000"}}, f"/{settings.tag}/x", cgroups.detect())
    with pytest.raises(InvalidInput, match="cpuset_cpus cannot be set.*'9000'"):
        cgroups.create(plan)
    assert not [path for path in (*plan["dirs"].values(), plan["unified"]) if os.path.exists(path)]


def test_a_missing_file_names_the_option(settings: Settings) -> None:
    layout = cgroups.detect()
    if not layout.unified:
        pytest.skip("this host has no version 2 tree")
    plan = cgroups.compile({"unified": {"cgroup.nothing": "1"}}, f"/{settings.tag}/x", layout)
    with pytest.raises(HostError, match="cannot be set: this kernel has no cgroup.nothing"):
        cgroups.create(plan)


def test_an_empty_leftover_is_replaced_and_a_living_group_is_not(make: Callable[..., dict[str, Any]]) -> None:
    plan = make({"pids": {"limit": 3}})
    fresh = cgroups.compile(None, plan["path"], cgroups.detect())
    assert cgroups.create(fresh) == []
    assert cgroups.stats(fresh)["pids_limit"] == 0
    pid = sleeper(plan)
    with pytest.raises(StartFailed, match="already holds processes"):
        cgroups.create(fresh)
    assert cgroups.pids(plan) == [pid]


def test_groups_made_inside_go_too(make: Callable[..., dict[str, Any]]) -> None:
    plan = make()
    for directory in {*plan["dirs"].values(), plan["unified"]} - {""}:
        os.makedirs(directory + "/a/b")
    assert cgroups.remove(plan)
    assert cgroups.remove(plan)  # again, with nothing there
    assert cgroups.pids(plan) == []
    assert cgroups.oom_kills(plan) == 0
    assert cgroups.stats(plan)["cpu_ns"] == 0


def test_a_new_process_can_be_born_in_the_group(make: Callable[..., dict[str, Any]]) -> None:
    plan = make()
    fd = cgroups.clone_fd(plan)
    if not plan["unified"]:
        assert fd == -1
        return
    assert os.readlink(f"/proc/self/fd/{fd}") == plan["unified"]
    os.close(fd)
    assert cgroups.clone_fd(dict(plan, unified="")) == -1


@pytest.fixture
def huge(settings: Settings) -> Iterator[cgroups.Layout]:
    """A version 2 tree with the hugetlb controller; what is enabled for the test is disabled again."""
    layout = cgroups.detect()
    if "hugetlb" not in layout.controllers or not os.path.isdir("/sys/kernel/mm/hugepages/hugepages-2048kB"):
        pytest.skip("this host has no version 2 tree with the hugetlb controller and pages of 2 MiB")
    control = Path(layout.unified, "cgroup.subtree_control")
    before = control.read_text().split()
    yield layout
    if "hugetlb" not in before:
        control.write_text("-hugetlb")


def test_a_limit_of_version_2(huge: cgroups.Layout, make: Callable[..., dict[str, Any]]) -> None:
    plan = make({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]})
    assert Path(plan["unified"], "hugetlb.2MB.max").read_text() == f"{4 * MIB}\n"
    assert cgroups.update(plan, {"hugepageLimits": [{"pageSize": "2MB", "limit": 2 * MIB}]}) == []
    assert Path(plan["unified"], "hugetlb.2MB.max").read_text() == f"{2 * MIB}\n"
    pid = sleeper(plan)
    assert f"0::{plan['path']}\n" in Path(f"/proc/{pid}/cgroup").read_text()


def test_processes_in_the_group_above_are_an_explained_obstacle(huge: cgroups.Layout, settings: Settings) -> None:
    above = os.path.join(huge.unified, settings.tag)
    os.mkdir(above)
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
    try:
        Path(above, "cgroup.procs").write_text(str(pid))
        limited = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]}
        plan = cgroups.compile(limited, f"/{settings.tag}/x", huge)
        with pytest.raises(HostError, match="hugepage_limits cannot be set.*'hugetlb' cannot be enabled") as caught:
            cgroups.create(plan)
        assert "move them to a group below it" in caught.value.hint
        # Without that limit, the container starts, and says what it could not have.
        free = dict(cgroups.compile(None, f"/{settings.tag}/x", huge), enable=(("hugetlb", ""),))
        assert [text for text in cgroups.create(free) if "'hugetlb' cannot be enabled" in text]
        assert cgroups.remove(free)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        while os.path.exists(above):
            try:
                os.rmdir(above)
            except OSError:
                time.sleep(0.01)


def test_newcomers_join_the_group_that_init_moved_to(make: Callable[..., dict[str, Any]]) -> None:
    plan = make()
    if not plan["unified"]:
        pytest.skip("this host has no version 2 tree")
    first = sleeper(plan)
    inner = plan["unified"] + "/inner"
    os.mkdir(inner)
    Path(inner, "cgroup.procs").write_text(str(first))
    newcomer = sleeper(plan)
    cgroups.place(plan, newcomer, beside=first)
    assert f"0::{plan['path']}/inner\n" in Path(f"/proc/{newcomer}/cgroup").read_text()
    # A process of somebody else's changes nothing: it is the container's own group that is taken then.
    cgroups.place(plan, newcomer, beside=os.getpid())
    assert f"0::{plan['path']}\n" in Path(f"/proc/{newcomer}/cgroup").read_text()


def test_many_containers_come_and_go_at_once(settings: Settings) -> None:
    """The group above all containers goes with the last one: nobody may stumble over that."""
    children = []
    for worker in range(4):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for turn in range(25):
                    plan = cgroups.compile({"pids": {"limit": 9}}, f"/{settings.tag}/{worker}-{turn}", cgroups.detect())
                    cgroups.create(plan)
                    if not cgroups.remove(plan):
                        os._exit(2)
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
