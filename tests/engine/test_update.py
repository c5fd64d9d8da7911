# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits that change while a container runs: in the kernel and in the record, both or neither, and for restarts too."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from support.host import Host
from support.refusals import refused
from support.traces import until
from vitrine.engine import Engine
from vitrine.errors import InvalidInput
from vitrine.runtime import cgroups
from vitrine.settings import Settings

# of version 1 and version 2: the file that holds a limit
FILES = {
    "memory": ("memory.limit_in_bytes", "memory.max"),
    "reservation": ("memory.soft_limit_in_bytes", "memory.low"),
    "shares": ("cpu.shares", "cpu.weight"),
    "quota": ("cpu.cfs_quota_us", "cpu.max"),
    "pids": ("pids.max", "pids.max"),
    "cpus": ("cpuset.cpus", "cpuset.cpus"),
}


def engine_of(host: Host) -> Engine:
    return Engine(Settings.load(str(host.root), str(host.run_root), str(host.config)))


def present(host: Host, name: str) -> dict[str, str]:
    """What the kernel holds of a running container's limits."""
    engine = engine_of(host)
    plan = engine.containers.cgroup(engine.containers.record(name).id)
    folders = [*plan["dirs"].values(), plan["unified"]]
    found = {}
    for limit, files in FILES.items():
        for folder in filter(None, folders):
            for file in files:
                path = Path(folder, file)
                if path.exists():
                    found.setdefault(limit, path.read_text().strip())
    engine.store.close()
    return found


def record(host: Host, name: str) -> dict:
    return json.loads(host("inspect", name))[0]["HostConfig"]


@pytest.fixture
def it(host: Host):
    host("run", "-d", "--name", "it", "busybox", "sleep", "600")
    yield "it"
    host.try_("rm", "-f", "it")


def test_every_limit_of_a_running_container(host: Host, it: str) -> None:
    before = present(host, it)
    host(
        "update", "--memory", "64m", "--memory-reservation", "32m", "--cpu-shares", "512", "--cpus", "0.5",
        "--pids-limit", "77", "--cpuset-cpus", "0", "--oom-score-adj", "300", it,
    )  # fmt: skip
    now = present(host, it)
    assert now["memory"] == str(64 << 20) and now["reservation"] == str(32 << 20) and now["pids"] == "77"
    assert now["shares"] in ("512", "59") and now["quota"].split()[0] == "50000" and now["cpus"] == "0"
    pid = host("inspect", "-f", "{{.State.Pid}}", it).strip()
    assert Path("/proc", pid, "oom_score_adj").read_text() == "300\n"
    kept = record(host, it)
    wanted = {"Memory": 64 << 20, "MemoryReservation": 32 << 20, "CpuShares": 512, "NanoCpus": 5 * 10**8,
              "PidsLimit": 77, "CpusetCpus": "0", "OomScoreAdj": 300}  # fmt: skip
    assert {key: kept[key] for key in wanted} == wanted
    # and all of it away again
    host(
        "update", "--memory", "0", "--memory-reservation", "0", "--cpu-shares", "0", "--cpus", "0",
        "--pids-limit", "-1", it,
    )  # fmt: skip
    now = present(host, it)
    assert {key: now[key] for key in ("memory", "reservation", "shares", "quota", "pids")} == {
        key: before[key] for key in ("memory", "reservation", "shares", "quota", "pids")
    }
    assert record(host, it)["Memory"] == 0


def test_it_lasts_over_every_kind_of_restart(host: Host) -> None:
    host("run", "-d", "--name", "it", "--restart", "always", "busybox", "sleep", "600")
    try:
        host("update", "--memory", "48m", "--oom-score-adj", "200", "it")
        first = host("inspect", "-f", "{{.State.Pid}}", "it").strip()
        os.kill(int(first), 9)  # its monitor starts it again

        def again() -> str:
            state = json.loads(host("inspect", "it"))[0]["State"]
            return str(state["Pid"]) if state["Pid"] not in (0, int(first)) else ""

        second = until(again, 20)
        assert present(host, "it")["memory"] == str(48 << 20)
        assert Path("/proc", second, "oom_score_adj").read_text() == "200\n"
        host("restart", "-t", "0", "it")
        assert present(host, "it")["memory"] == str(48 << 20)
    finally:
        host("rm", "-f", "it")


def test_a_stopped_container_takes_limits_too(host: Host) -> None:
    host("create", "--name", "it", "busybox", "sleep", "600")
    try:
        assert host("update", "--memory", "40m", "--restart", "on-failure:3", "it") == "it\n"
        assert record(host, "it")["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
        host("start", "it")
        assert present(host, "it")["memory"] == str(40 << 20)
    finally:
        host("rm", "-f", "it")


def test_cpus_and_quota_replace_each_other(host: Host, it: str) -> None:
    host("update", "--cpus", "0.5", it)
    host("update", "--cpu-quota", "20000", "--cpu-period", "100000", it)
    assert present(host, it)["quota"].split()[0] == "20000"
    assert (record(host, it)["NanoCpus"], record(host, it)["CpuQuota"]) == (0, 20000)
    host("update", "--cpus", "0.25", it)
    assert present(host, it)["quota"].split()[0] == "25000"
    assert (record(host, it)["NanoCpus"], record(host, it)["CpuQuota"]) == (25 * 10**7, 0)


def test_what_the_kernel_refuses_changes_nothing(host: Host, it: str) -> None:
    before, kept = present(host, it), record(host, it)
    refused(host.try_("update", "--pids-limit", "5", "--cpuset-cpus", "4095", it), 1, "4095", "cpuset.cpus")
    assert present(host, it) == before and record(host, it) == kept


def test_memory_below_what_is_used_is_refused(host: Host) -> None:
    code = "dd if=/dev/zero of=/dev/shm/held bs=1M count=30 && echo ready && sleep 600"
    host("run", "-d", "--name", "it", "-m", "200m", "busybox", "sh", "-c", code)
    try:
        until(lambda: "ready" in host("logs", "it"), 20)
        engine = engine_of(host)
        used = engine.containers.stats("it")["memory_usage"]
        engine.store.close()
        assert used > 25_000_000
        swap = int(re.search(r"SwapTotal: +(\d+)", Path("/proc/meminfo").read_text())[1])
        result = host.try_("update", "--memory", "8m", "--memory-swap", "8m", "it")
        if swap == 0:
            refused(result, 1, str(8 << 20))
            assert present(host, "it")["memory"] == str(200 << 20) and record(host, "it")["Memory"] == 200 << 20
    finally:
        host("rm", "-f", "it")


def test_a_record_that_cannot_be_written_takes_the_kernel_back(host: Host, it: str) -> None:
    before = present(host, it)
    engine = engine_of(host)
    try:
        # the row refuses: as when the disk is full
        engine.store.db._connection.execute(
            "CREATE TEMP TRIGGER full BEFORE UPDATE ON containers"
            " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
        with pytest.raises(Exception, match="full|in use"):
            engine.containers.update(it, memory=64 << 20, pids_limit=9)
    finally:
        engine.store.close()
    assert present(host, it) == before and record(host, it)["Memory"] == 0


def test_what_cannot_be_changed_is_said(host: Host, it: str) -> None:
    engine = engine_of(host)
    try:
        with pytest.raises(InvalidInput, match="hostname"):
            engine.containers.update(it, hostname="other")
    finally:
        engine.store.close()


def test_layouts_take_limits_away(tmp_path: Path) -> None:
    """A cpuset that is not wanted any more is that of the group above."""
    layout = cgroups.detect()
    plan = cgroups.compile({"cpu": {"cpus": "0"}}, "/vitrine-test-update/" + "a" * 64, layout)
    if "cpuset" not in plan["dirs"] and "cpuset" not in plan["controllers"]:
        return
    cgroups.create(plan)
    try:
        folder = plan["dirs"].get("cpuset") or plan["unified"]
        cgroups.update(plan, {"cpu": {"cpus": ""}})
        assert Path(folder, "cpuset.cpus").read_text() == Path(folder).parent.joinpath("cpuset.cpus").read_text()
    finally:
        cgroups.remove(plan)


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["it"], 1, ["nothing", "--help"]),
        ([], 1, ["at least 1 argument", "usage"]),
        (["--memory", "5q", "it"], 1, ["5q"]),
        (["--memory", "1m", "it"], 1, ["1048576", "6 MiB"]),
        (["--memory", "64m", "--memory-swap", "32m", "it"], 1, ["33554432", "67108864"]),
        (["--memory-swap", "64m", "it"], 1, ["67108864", "memory"]),
        (["--cpus", "9999", "it"], 1, ["9999"]),
        (["--cpus", "some", "it"], 1, ["some"]),
        (["--cpus", "1", "--cpu-quota", "5000", "it"], 1, ["cpu_quota"]),
        (["--cpu-shares", "many", "it"], 1, ["many"]),
        (["--blkio-weight", "5", "it"], 1, ["5", "10 to 1000"]),
        (["--restart", "perhaps", "it"], 1, ["perhaps"]),
        (["--pids-limit", "5", "nosuch"], 1, ["nosuch"]),
        (["--hostname", "x", "it"], 125, ["--hostname"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_usage(host: Host, words: list[str], code: int, expected: list[str]) -> None:
    if "it" in words:
        host("create", "--name", "it", "busybox", "true")
    try:
        refused(host.try_("update", *words), code, *expected)
        if "it" in words:
            assert (record(host, "it")["Memory"], record(host, "it")["NanoCpus"]) == (0, 0)
    finally:
        host.try_("rm", "-f", "it")
