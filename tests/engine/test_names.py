# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers find each other by name, as a user types it: aliases, changes, restarts, a killed monitor, both libcs."""

from __future__ import annotations

import json
import marshal
import os
import shutil
import signal
import subprocess

import pytest

from support.base_image import base_image, busybox_image
from support.host import Host
from support.traces import Traces, until
from vitrine.store import Store

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("busybox"), reason="needs root and busybox")
SLEEP = ("busybox", "sleep", "600")
DEBIAN = ("debian:bookworm", "sleep", "600")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    here = Host(tmp_path_factory.mktemp("names"))
    with Store(str(here.root)) as store:
        busybox_image(store)
        base_image(store)
    yield here
    here.close()
    Traces(here).gone()


@pytest.fixture
def host(shared):
    """Two networks, front and back; containers and networks go afterwards."""
    shared("network", "create", "front")
    shared("network", "create", "back")
    yield shared
    shared.close()
    shared("network", "rm", "front", "back")


def start(host, name, *flags, network="front"):
    return host("run", "--detach", "--name", name, "--network", network, "--stop-timeout", "0", *flags, *SLEEP).strip()


def look_up(host, container, name):
    """The addresses that a program in a container finds for a name."""
    result = host.try_("exec", container, "nslookup", name)
    answer = result.out.partition("Non-authoritative")[2] or result.out.partition("\n\n")[2]
    return sorted(line.split()[-1] for line in answer.splitlines() if line.startswith("Address") and ":53" not in line)


def address(host, container, network="front"):
    settings = json.loads(host("inspect", container))[0]["NetworkSettings"]["Networks"][network]
    return settings["IPAddress"]


def reached(host, container, name):
    return host.try_("exec", container, "ping", "-c", "1", "-W", "2", name).code == 0


def test_two_containers_reach_each_other_by_all_their_names(host):
    identity = start(host, "one", "--hostname", "hosty", "--network-alias", "first")
    start(host, "two")
    for name in ("one", "ONE", "one.front", "hosty", "first", identity[:12]):
        assert reached(host, "two", name), name
    assert reached(host, "one", "two") and reached(host, "one", "one")
    assert look_up(host, "two", "one")[:1] == [address(host, "one")]
    assert "one.front" in host("exec", "two", "nslookup", address(host, "one"))


def test_names_are_a_networks_own(host):
    start(host, "one")
    start(host, "two", network="back")
    start(host, "both")
    host("network", "connect", "--alias", "bridge-man", "back", "both")
    assert reached(host, "both", "one") and reached(host, "both", "two")
    assert not reached(host, "one", "two") and not reached(host, "two", "one")
    assert reached(host, "two", "bridge-man") and not reached(host, "one", "bridge-man")
    host("network", "disconnect", "back", "both")
    assert not reached(host, "two", "both") and not reached(host, "both", "two")
    assert reached(host, "one", "both")


def test_a_container_may_come_to_names_late_and_leave_them_again(host):
    start(host, "one")
    start(host, "late", network="bridge")
    assert not reached(host, "late", "one")
    host("network", "connect", "front", "late")
    assert reached(host, "late", "one") and reached(host, "one", "late")
    os.kill(monitor(host, "late"), signal.SIGKILL)
    host("ps")
    assert reached(host, "late", "one") and reached(host, "one", "late")
    host("network", "disconnect", "front", "late")
    assert not reached(host, "late", "one") and not reached(host, "one", "late")
    assert "127.0.0.11" in host("exec", "late", "cat", "/etc/resolv.conf")


def test_who_comes_goes_and_is_renamed_is_known_at_once(host):
    start(host, "asks")
    start(host, "one", "--network-alias", "both")
    start(host, "two", "--network-alias", "both")
    four = [found for found in look_up(host, "asks", "both") if "." in found]
    assert four == sorted([address(host, "one"), address(host, "two")])
    host("stop", "two")
    assert not reached(host, "asks", "two")
    assert [found for found in look_up(host, "asks", "both") if "." in found] == [address(host, "one")]
    host("rename", "one", "uno")
    assert reached(host, "asks", "uno") and not reached(host, "asks", "one")
    host("start", "two")
    assert reached(host, "asks", "two") and reached(host, "two", "uno")
    host("restart", "--time", "0", "asks")
    assert reached(host, "asks", "two") and reached(host, "uno", "asks")


def test_a_new_name_lasts_through_the_monitors_own_restart(host):
    start(host, "asks")
    host("run", "--detach", "--name", "old", "--network", "front", "--restart", "always", *SLEEP)
    host("rename", "old", "new")
    pid = json.loads(host("inspect", "new"))[0]["State"]["Pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: json.loads(host("inspect", "new"))[0]["State"]["Pid"] not in (0, pid))
    assert reached(host, "asks", "new") and not reached(host, "asks", "old")


def test_when_its_monitor_is_killed_the_next_one_answers(host):
    start(host, "asks")
    start(host, "one")
    for name in ("asks", "one"):
        os.kill(monitor(host, name), signal.SIGKILL)
    host("ps")  # any command gives both new ones
    assert reached(host, "asks", "one") and reached(host, "one", "asks")


def monitor(host, name):
    identity = json.loads(host("inspect", name))[0]["Id"]
    return json.loads((host.root / "containers" / identity / "state.json").read_text())["monitor_pid"]


def test_an_internal_network_asks_nobody_outside(host):
    host("network", "create", "--internal", "inner")
    try:
        start(host, "one", "--dns", "192.0.2.1", network="inner")
        start(host, "two", network="inner")
        assert reached(host, "one", "two")
        result = host.try_("exec", "one", "nslookup", "example.com")
        assert "SERVFAIL" in result.out + result.err
    finally:
        host("rm", "--force", "one", "two")
        host("network", "rm", "inner")


def test_the_files_that_resolvers_read(host):
    flags = (
        "--hostname",
        "hosty",
        "--domainname",
        "corp.example",
        "--dns-search",
        "corp.example",
        "--add-host",
        "x:192.0.2.7",
    )
    start(host, "one", *flags)
    resolv = host("exec", "one", "cat", "/etc/resolv.conf")
    assert "nameserver 127.0.0.11\n" in resolv and resolv.count("nameserver") == 1
    assert "search corp.example\n" in resolv and "ndots:0" in resolv
    lines = host("exec", "one", "cat", "/etc/hosts").splitlines()
    assert f"{address(host, 'one')}\thosty.corp.example hosty" in lines and "192.0.2.7\tx" in lines
    start(host, "plain", network="bridge")
    assert "127.0.0.11" not in host("exec", "plain", "cat", "/etc/resolv.conf")


def test_a_container_that_shares_the_network_asks_the_same_resolver(host):
    start(host, "one")
    start(host, "two")
    assert host("run", "--rm", "--network", "container:one", "busybox", "ping", "-c", "1", "-W", "2", "two")


def test_a_name_server_in_a_container_has_port_53_for_itself(host):
    start(host, "asks")
    words = ("busybox", "sh", "-c", "echo mine | nc -l -p 53; sleep 600")
    host("run", "--detach", "--name", "own", "--network", "front", "--stop-timeout", "0", *words)
    until(lambda: ":0035" in host("exec", "own", "cat", "/proc/net/tcp", "/proc/net/tcp6"))
    assert reached(host, "own", "asks")
    assert host("exec", "asks", "sh", "-c", "nc own 53 </dev/null") == "mine\n"


def test_programs_that_use_glibc(host):
    start(host, "one", "--network-alias", "many")
    start(host, "two", "--network-alias", "many")
    host(
        "run",
        "--detach",
        "--name",
        "big",
        "--network",
        "front",
        "--stop-timeout",
        "0",
        "debian:bookworm",
        "sleep",
        "600",
    )
    assert host("exec", "big", "getent", "ahostsv4", "one").split()[0] == address(host, "one")
    found = {line.split()[0] for line in host("exec", "big", "getent", "ahostsv4", "many").splitlines()}
    assert found == {address(host, "one"), address(host, "two")}
    assert "one.front" in host("exec", "big", "getent", "hosts", address(host, "one"))
    assert host.try_("exec", "big", "getent", "ahosts", "nosuch").code == 2


def test_a_name_that_many_have_is_answered_as_a_whole(host):
    """More than a datagram without EDNS takes: glibc asks again by TCP."""
    host("run", "--detach", "--name", "big", "--network", "front", "--stop-timeout", "0", *DEBIAN)
    process = f"/proc/{json.loads(host('inspect', 'big'))[0]['State']['Pid']}"
    folder = next(path for path in (host.run_root / "networks").iterdir() if any(path.iterdir()))
    for number in range(60):  # as many containers would have written them
        entry = {
            "id": f"{number:064x}", "name": f"n{number}", "hostname": "", "network": "front", "aliases": ["crowd"],
            "addresses": [f"10.1.0.{number}"],
        }  # fmt: skip
        (folder / entry["id"]).write_bytes(marshal.dumps(entry))
    # by no command of ours, which would sweep the names that no container has
    argv = ["nsenter", f"--net={process}/ns/net", "chroot", f"{process}/root", "getent", "ahostsv4", "crowd"]
    found = subprocess.check_output(argv, text=True)
    assert {line.split()[0] for line in found.splitlines()} == {f"10.1.0.{number}" for number in range(60)}
