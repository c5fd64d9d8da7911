# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bare host becomes one of containers by the playbook, and systemd knows them."""

from __future__ import annotations

import re

import pytest

# answers its stop signal after a moment, and with a code of its own
POLITE = "trap 'echo got TERM; sleep 1; exit 7' TERM; echo up; while :; do sleep 0.3; done"
# ends as most programs do, by the signal
PLAIN = "echo up; exec sleep 100000"
STUBBORN = "trap 'echo got TERM' TERM; echo up; while :; do sleep 0.3; done"
SERVER = "echo up; while :; do echo HELLO $(hostname) | nc -l -p 80; done"


def container(name: str, command: str, policy: str = "no", **more: object) -> dict:
    """One of the playbook's."""
    return {"name": name, "image": "busybox", "command": ["sh", "-c", command], "restart_policy": policy, **more}


CONTAINERS = [
    container("always", POLITE, "always"),
    container("web", SERVER, "unless-stopped", published_ports=["8080:80"], stop_signal="KILL"),
    container("halted", PLAIN, "unless-stopped", stop_signal="KILL"),
    container("failing", POLITE, "on-failure"),
    container("once", POLITE),
    container("stubborn", STUBBORN, stop_timeout=2),
    container("beside", PLAIN, "always", network_mode="container:web", stop_signal="KILL"),
]


@pytest.fixture
def wanted(vm, busybox_archive):
    vm.run("cat > /root/busybox.tar", data=busybox_archive.read_bytes())
    image = {"name": "busybox", "source": "load", "load_path": "/root/busybox.tar"}
    return {"vitrine_images": [image], "vitrine_containers": CONTAINERS}


@pytest.fixture(scope="session")
def busybox_archive(tmp_path_factory):
    from support.base_image import busybox_image
    from vitrine.engine import Engine
    from vitrine.settings import Settings

    folder = tmp_path_factory.mktemp("busybox")
    engine = Engine(Settings.load(str(folder / "root"), str(folder / "run")))
    busybox_image(engine.store)
    with open(folder / "busybox.tar", "wb") as file:
        engine.images.save(["busybox"], file)
    return folder / "busybox.tar"


def recap(text: str) -> dict[str, int]:
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", text.rpartition("PLAY RECAP")[2])}


def test_the_host_is_what_it_should_be(vm):
    """Else the tests below would say nothing about such hosts."""
    assert vm.run("stat -f -c %T /sys/fs/cgroup; ps -o comm= 1").stdout.split() == ["cgroup2fs", "systemd"]
    assert "apparmor" in vm.read("/sys/kernel/security/lsm")
    assert vm.run("command -v vitrine", check=False).returncode != 0


def test_the_playbook_makes_a_host_of_containers_and_then_changes_nothing(play, wanted):
    assert recap(play("deploy.yml", **wanted).stdout)["failed"] == 0
    again = play("deploy.yml", **wanted).stdout
    assert recap(again)["changed"] == 0, again[-6000:]


def test_systemd_sees_each_container_in_a_delegated_scope(vm):
    shown = vm.run("systemctl show vitrine.scope -p ActiveState,Slice,Delegate,TasksMax").stdout.splitlines()
    assert sorted(shown) == ["ActiveState=active", "Delegate=yes", "Slice=vitrine.slice", "TasksMax=infinity"]
    status = vm.run("systemctl status --no-pager vitrine.slice").stdout
    for name in ("always", "once", "web"):
        known = vm.inspect(name)
        assert known["Id"] in status
        assert vm.read(f"/proc/{known['State']['Pid']}/cgroup") == f"0::/vitrine.slice/vitrine.scope/{known['Id']}\n"
    monitors = vm.read("/sys/fs/cgroup/vitrine.slice/vitrine.scope/monitors/cgroup.procs").split()
    assert len(monitors) >= len(CONTAINERS)
    assert sorted(monitors) == sorted(vm.run("pgrep -f vitrine.runtime.entry").stdout.split()), "none is elsewhere"
    assert "cpu" in vm.read("/sys/fs/cgroup/vitrine.slice/vitrine.scope/cgroup.subtree_control").split()


def test_the_boot_service_is_up_so_that_it_can_stop_containers(vm):
    assert vm.run("systemctl is-enabled vitrine-boot; systemctl is-active vitrine-boot").stdout.split() == [
        "enabled",
        "active",
    ]
    vm.run("systemd-analyze verify /etc/systemd/system/vitrine-boot.service")


def test_the_check_is_clean(vm):
    vm("check")


def test_a_container_outlives_the_ssh_session_that_started_it(vm):
    """Also where systemd ends all processes of a session with it, as it does with the other one here."""
    vm.run(
        "mkdir -p /etc/systemd/logind.conf.d; "
        "printf '[Login]\\nKillUserProcesses=yes\\nKillExcludeUsers=nobody\\n' > /etc/systemd/logind.conf.d/test.conf; "
        "systemctl restart systemd-logind"
    )
    session = vm.run(
        "vitrine run -d --name left busybox sleep 100000 >/dev/null; "
        "setsid sleep 99999 >/dev/null 2>&1 </dev/null & cat /proc/self/cgroup"
    ).stdout
    (scope,) = re.findall(r"session-\w+\.scope", session)
    vm.until(f"! systemctl is-active -q {scope}")
    assert not vm.run("pgrep -fx 'sleep 99999'", check=False).stdout, "nothing ended: this test says nothing"
    assert vm.inspect("left")["State"]["Running"]
    assert vm("exec left echo alive") == "alive\n"
    vm("rm -f left")


def test_a_daemon_reload_takes_nothing_away(vm):
    vm("run -d --name limited --memory 32m --cpus 0.5 --pids-limit 20 busybox sleep 100000")
    group = vm.group("limited")
    files = f"cd {group}; cat memory.max cpu.max pids.max"
    before = vm.run(files).stdout
    assert before.splitlines() == [str(32 << 20), "50000 100000", "20"]
    pid = vm.inspect("limited")["State"]["Pid"]
    vm.run("systemctl daemon-reload; systemctl daemon-reexec; systemctl set-property vitrine.slice CPUWeight=200")
    assert vm.run(files).stdout == before
    assert vm.inspect("limited")["State"]["Pid"] == pid
    refused = vm.run("vitrine exec limited sh -c 'head -c 1 </dev/vda'", check=False)
    assert refused.returncode != 0, "systemd took the device program away"
    vm("rm -f limited")
