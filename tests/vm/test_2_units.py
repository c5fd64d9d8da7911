# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container that a unit of its own starts, stops and brings back."""

from __future__ import annotations

import pytest

SCRIPT = "trap 'echo ends; exit 0' TERM; echo begins; while :; do sleep 0.3; done"


@pytest.fixture
def unit(vm, request):
    """Install the unit of a container: unit("flags") -> its name; both are removed afterwards."""
    name = "unit" if "new" not in request.node.name else "fresh"
    vm(f'create --name {name} busybox sh -c "{SCRIPT}"')
    file = f"/etc/systemd/system/container-{name}.service"

    def install(flags: str) -> str:
        vm.run(f"vitrine generate systemd --name {flags} {name} >{file}")
        assert vm.run(f"systemd-analyze verify {file}").stderr == ""
        vm.run(f"systemctl daemon-reload; systemctl start container-{name}")
        return f"container-{name}"

    yield install
    vm.run(f"systemctl stop container-{name}; rm -f {file}; systemctl daemon-reload; vitrine rm -f {name}", check=False)


def test_start_stop_restart(vm, unit):
    service = unit("")
    assert vm.inspect("unit")["State"]["Running"], "the unit is up only when the container is"
    assert vm.read(f"/proc/{vm.inspect('unit')['State']['Pid']}/cgroup").startswith("0::/vitrine.slice/vitrine.scope/")
    vm.until("vitrine logs unit | grep begins")
    vm.run(f"systemctl restart {service}")
    vm.until("[ $(vitrine logs unit | grep -c begins) = 2 ]")
    vm.run(f"systemctl stop {service}")
    assert vm("logs unit").split() == ["begins", "ends", "begins", "ends"]
    assert vm.inspect("unit")["State"]["ExitCode"] == 0
    assert vm.run(f"systemctl show {service} -p Result,ActiveState").stdout.split() == [
        "Result=success",
        "ActiveState=inactive",
    ]
    assert "begins" in vm.run(f"journalctl -u {service} -o cat --no-pager").stdout.splitlines()


def test_it_is_brought_back_when_it_fails(vm, unit):
    service = unit("--restart-policy on-failure")
    pid = vm.inspect("unit")["State"]["Pid"]
    vm.run(f"kill -9 {pid}")
    vm.until(f"systemctl is-active -q {service} && [ $(vitrine inspect unit | grep -c '\"Pid\": {pid},') = 0 ]")
    vm.until("vitrine ps | grep unit")


def test_a_new_container_for_each_start(vm, unit):
    service = unit("--new --time 5")
    first = vm.inspect("fresh")["Id"]
    vm.run(f"systemctl restart {service}")
    assert vm.inspect("fresh")["Id"] != first
    vm.run(f"systemctl stop {service}")
    assert vm.run("vitrine inspect fresh", check=False).returncode != 0
