# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits on a host whose cgroups are version 2 alone, each proven by exceeding it."""

from __future__ import annotations

import json

import pytest

BUSY = "while :; do :; done"


@pytest.fixture
def name(vm, request):
    """A container's name; it is removed afterwards."""
    name = request.node.name.replace("_", "-")[:40]
    yield name
    vm.run(f"vitrine rm -f -v {name}")


def counters(vm, path: str) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in vm.read(path).splitlines())}


def test_memory(vm, name):
    done = vm.run(f"vitrine run --name {name} --memory 24m --memory-swap 24m busybox tail /dev/zero", check=False)
    assert done.returncode == 137, done.stdout + done.stderr
    state = vm.inspect(name)["State"]
    assert (state["OOMKilled"], state["ExitCode"]) == (True, 137)
    vm("check")


def test_cpu_quota(vm, name):
    """Seen by the kernel holding it back, not by how long something takes."""
    vm(f"run -d --name {name} --cpus 0.1 busybox sh -c '{BUSY}'")
    group = vm.group(name)
    assert vm.read(f"{group}/cpu.max") == "10000 100000\n"
    vm.until(f"[ $(awk '$1 == \"nr_throttled\" {{print $2}}' {group}/cpu.stat) -ge 10 ]")
    used = counters(vm, f"{group}/cpu.stat")
    # within each period that it wanted more it got its tenth: a tick of the scheduler more or less
    assert used["usage_usec"] <= used["nr_periods"] * 10_000 * 2, used


def test_cpu_shares(vm):
    """Two that want all of one processor get it as their shares are, 8 to 1: twice as much at the very least."""
    for name, shares in (("much", 2048), ("little", 256)):
        vm(f"run -d --name {name} --cpuset-cpus 0 --cpu-shares {shares} busybox sh -c '{BUSY}'")
    try:
        groups = [vm.group(name) for name in ("much", "little")]
        vm.run(f"cat {groups[0]}/cpuset.cpus.effective | grep -qx 0")
        start = [counters(vm, f"{group}/cpu.stat")["usage_usec"] for group in groups]
        vm.until(f"[ $(awk '$1 == \"usage_usec\" {{print $2}}' {groups[0]}/cpu.stat) -ge {start[0] + 4_000_000} ]")
        much, little = (counters(vm, f"{group}/cpu.stat")["usage_usec"] - at for group, at in zip(groups, start))
        assert much > 2 * little, (much, little)
    finally:
        vm.run("vitrine rm -f much little")


def test_pids(vm, name):
    script = "for n in 1 2 3 4 5 6 7 8 9 10; do sleep 100 & done; wait"
    vm(f"run -d --name {name} --pids-limit 6 busybox sh -c '{script}'")
    vm.until(f"vitrine logs {name} 2>&1 | grep -i 'fork'")
    events = vm.run(f"cat {vm.group(name)}/pids.events 2>/dev/null", check=False).stdout
    assert events == "" or int(events.split()[1]) > 0  # the shell that cannot fork ends, and its group with it


def test_io(vm, name):
    """What is written past the cache is held to a rate. It cannot be had faster, however slow the host may be."""
    vm(f"run -d --name {name} --device-write-bps /dev/vda:1mb -v /srv/io:/data busybox sleep 100000")
    assert f"wbps={1 << 20} " in vm.read(f"{vm.group(name)}/io.max")
    assert vm.inspect(name)["HostConfig"]["BlkioDeviceWriteBps"] == [{"Path": "/dev/vda", "Rate": 1 << 20}]
    write = "dd if=/dev/zero of=/data/file bs=256k count=12 oflag=direct conv=fsync 2>/dev/null"
    times = vm(f"exec {name} sh -c 'cut -d\\  -f1 /proc/uptime; {write}; cut -d\\  -f1 /proc/uptime'").split()
    assert float(times[1]) - float(times[0]) >= 2, "three MiB at one MiB a second"
    written = dict(word.split("=") for word in vm.read(f"{vm.group(name)}/io.stat").split()[1:])
    assert int(written["wbytes"]) >= 3 << 20


def test_devices(vm, name):
    """By a program of ours in the kernel: nodes may be made, but only what was given can be opened."""
    numbers = vm.run("stat -c '%Hr %Lr' /dev/vda").stdout.split()
    script = f"mknod /tmp/disk b {' '.join(numbers)} && head -c 512 /tmp/disk | wc -c"
    refused = vm.run(f"vitrine run --rm busybox sh -c '{script}'", check=False)
    assert "not permitted" in refused.stderr.lower(), refused.stdout + refused.stderr
    assert refused.stdout.strip() in ("", "0")
    vm(f"run -d --name {name} --device /dev/vda:/dev/given:r busybox sleep 100000")
    assert vm(f"exec {name} sh -c 'head -c 512 /dev/given | wc -c'").strip() == "512"
    assert vm(f"exec {name} sh -c '{script}'").strip() == "512", "the device is given, whatever its node is called"
    refused = vm.run(f"vitrine exec {name} sh -c 'echo >/dev/given'", check=False)
    assert refused.returncode != 0 and "not permitted" in refused.stderr.lower(), refused.stderr
    assert vm(f"exec {name} sh -c 'echo >/dev/null; head -c 3 /dev/zero | wc -c'").strip() == "3"


def test_update(vm, name):
    """Of what runs: at once, and for its next lives."""
    vm(f"run -d --name {name} --memory 64m busybox sleep 100000")
    vm(f"update --memory 32m --memory-swap 32m --cpus 0.25 --cpu-shares 512 --pids-limit 9 {name}")
    files = "memory.max memory.swap.max cpu.max cpu.weight pids.max"
    wanted = [str(32 << 20), "0", "25000 100000", "59", "9"]
    assert vm.run(f"cd {vm.group(name)}; cat {files}").stdout.splitlines() == wanted
    vm(f"restart -t 0 {name}")
    assert vm.run(f"cd {vm.group(name)}; cat {files}").stdout.splitlines() == wanted


def test_pause_and_go_on(vm, name):
    vm(f"run -d --name {name} busybox sh -c 'n=0; while :; do n=$((n + 1)); echo $n >/count; done'")
    group = vm.group(name)
    vm(f"pause {name}")
    assert vm.read(f"{group}/cgroup.freeze") == "1\n" and "frozen 1" in vm.read(f"{group}/cgroup.events")
    pid = vm.inspect(name)["State"]["Pid"]
    count = vm.read(f"/proc/{pid}/root/count")
    assert vm.read(f"/proc/{pid}/root/count") == count and vm.inspect(name)["State"]["Status"] == "paused"
    vm(f"unpause {name}")
    vm.until(f"[ \"$(cat /proc/{pid}/root/count)\" != '{count.strip()}' ]")


def test_stats(vm, name):
    vm(f"run -d --name {name} --memory 64m busybox sh -c 'head -c 20000000 /dev/zero >/file; {BUSY}'")
    vm.until(f"[ $(awk '$1 == \"usage_usec\" {{print $2}}' {vm.group(name)}/cpu.stat) -ge 1000000 ]")
    shown = json.loads(vm(f"stats --no-stream --format json {name}").splitlines()[0])
    assert shown["PIDs"] == "1" and shown["MemUsage"].endswith("64MiB"), shown
    assert float(shown["CPUPerc"].rstrip("%")) > 0, shown


def test_confinement(vm):
    status = vm("run --rm busybox cat /proc/self/status /proc/self/attr/current")
    assert "Seccomp:\t2\n" in status
    assert "vitrine-default (enforce)" in status
    refused = vm.run("vitrine run --rm --cap-add SYS_ADMIN busybox mount -t tmpfs none /mnt", check=False)
    assert refused.returncode != 0, "AppArmor's profile lets nobody mount"
    free = vm("run --rm --security-opt apparmor=unconfined busybox cat /proc/self/attr/current")
    assert free.strip() == "unconfined"
    wrong = vm.run("vitrine run --rm --security-opt apparmor=nothing busybox true", check=False)
    assert wrong.returncode != 0 and "AppArmor profile 'nothing' cannot be used" in wrong.stderr, wrong.stderr
