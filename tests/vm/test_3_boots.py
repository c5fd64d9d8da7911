# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host goes down in order, and by a power cut: what comes back, and what is said of what ended."""

from __future__ import annotations

import json
import socket
import time

BACK = {"always", "web", "failing", "beside", "server", "asker"}
DOWN = {"halted", "finished", "once", "stubborn"}


def running(vm) -> set[str]:
    return set(vm("ps --format '{{.Names}}'").split())


def answer(vm, port: int = 8080) -> str:
    """What the published port says to somebody outside of the host."""
    end = time.monotonic() + 120
    while True:
        try:
            with socket.create_connection(("127.0.0.1", vm.forward[port]), 10) as connection:
                text = connection.makefile().read()
        except OSError as error:
            text = str(error)
        if text.startswith("HELLO") or time.monotonic() > end:
            return text
        time.sleep(0.5)


def names_work(vm) -> bool:
    """Whether a container reaches another one of its network by name."""
    return bool(vm.until("vitrine exec asker nc -w 5 server 80 </dev/null | grep HELLO"))


def test_before(vm):
    vm("network create inner")
    serve = "while :; do echo HELLO $(hostname) | nc -l -p 80; done"
    vm(f"run -d --name server --restart always --stop-signal KILL --network inner busybox sh -c '{serve}'")
    vm("run -d --name asker --restart always --stop-signal KILL --network inner busybox sleep 100000")
    assert names_work(vm)
    vm("stop halted")
    vm("run -d --name finished --restart on-failure busybox true")
    vm.until("vitrine ps -a --format '{{.Names}} {{.Status}}' | grep -q 'finished Exited (0)'")
    assert running(vm) == BACK | {"once", "stubborn"}
    assert answer(vm).startswith("HELLO")


def test_a_reboot_stops_containers_in_order_and_brings_back_what_should_run(vm):
    vm.run("sync -f /")  # what came before this test is not what it is about
    before = vm.boot_id()
    vm.run("systemctl reboot", check=False)
    vm.await_up(after=before)
    vm.until("systemctl is-active vitrine-boot")
    assert running(vm) == BACK
    for name, code in (("once", 7), ("stubborn", 137), ("halted", 137), ("finished", 0)):
        state = vm.inspect(name)["State"]
        assert (name, state["Status"], state["ExitCode"]) == (name, "exited", code), state
    assert vm("logs always").split("\n")[:3] == ["up", "got TERM", "up"]
    for name in ("once", "stubborn"):
        assert vm(f"logs {name}").splitlines() == ["up", "got TERM"]
    assert answer(vm).startswith("HELLO") and names_work(vm)
    vm("check")


def test_the_journal_tells_that_containers_stopped_before_the_network_went(vm):
    lines = vm.run("journalctl -b -1 -o cat --no-pager").stdout.splitlines()
    stopped = [number for number, line in enumerate(lines) if line.endswith(": stopped") and line.split(":")[0] in BACK]
    assert len(stopped) == len(BACK), lines[-80:]
    joined = next(number for number, line in enumerate(lines) if line == "beside: stopped")
    assert joined == min(stopped), "what uses another's network stops before it"
    (network,) = [number for number, line in enumerate(lines) if line.startswith("Stopped systemd-networkd.service")]
    assert max(stopped) < network


def test_a_power_cut_loses_nothing_that_was_said_to_be_done(vm):
    vm("start once")
    vm("run -d --name late --restart always busybox sh -c 'echo late; exec sleep 100000'")
    vm.until("vitrine logs late | grep late && vitrine logs once | tail -n 1 | grep -x up")
    vm("rm stubborn")
    vm.power_cut()
    vm.boot()
    vm.until("systemctl is-active vitrine-boot")
    assert running(vm) == BACK | {"late"}
    names = set(vm("ps -a --format '{{.Names}}'").split())
    assert names == BACK | DOWN - {"stubborn"} | {"late"}
    once = vm.inspect("once")["State"]
    assert once["Status"] == "exited" and once["ExitCode"] is None and once["Error"], once
    assert "Exited (unknown)" in vm("ps -a --filter name=once --format '{{.Status}}'")
    assert vm("logs always").splitlines()[:3] == ["up", "got TERM", "up"]
    assert answer(vm).startswith("HELLO") and names_work(vm)
    vm("check")
    checked = json.loads(vm("check --format json"))
    assert not checked["store"] and not checked["reconciled"], checked


def test_what_runs_is_not_started_twice(vm):
    pids = {name: vm.inspect(name)["State"]["Pid"] for name in BACK}
    assert vm("boot") == ""
    assert {name: vm.inspect(name)["State"]["Pid"] for name in BACK} == pids


def test_one_that_cannot_start_keeps_no_other_down(vm):
    vm("run -d --name broken --restart always -v /srv/gone:/data busybox sleep 100000")
    vm("shutdown --time 5")
    assert running(vm) == set()
    vm.run("rmdir /srv/gone")
    done = vm.run("vitrine boot", check=False)
    assert done.returncode == 1
    outcomes = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert outcomes.pop("broken") != "started"
    assert outcomes == dict.fromkeys(BACK | {"late"}, "started")
    assert names_work(vm)
    vm("rm -f broken late")
