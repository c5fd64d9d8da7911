# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart policies as a user sees them: after an end, after a change of the policy, after a boot."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest

from support.traces import Traces, ended, until
from vitrine.engine import Engine

SLEEP = ("busybox", "sleep", "1000")


@pytest.fixture
def run(host):
    """Runs containers, and removes them."""
    made = []

    def run(name, policy, *words):
        host("run", "-d", "--network", "none", "--name", name, "--restart", policy, *(words or SLEEP))
        made.append(name)

    yield run
    if made:
        host("rm", "-f", *made)


@pytest.fixture
def engine(host):
    made = Engine(Traces(host).settings)
    yield made
    made.store.close()


def inspect(host, name):
    return json.loads(host("inspect", name))[0]


def kill(host, name):
    """End a container's first process as a fault would."""
    os.kill(inspect(host, name)["State"]["Pid"], signal.SIGKILL)


def restarted(host, name, count=1):
    """Wait until a container was restarted so often, and runs."""
    return until(
        lambda: (found := inspect(host, name))["RestartCount"] >= count and found["State"]["Pid"] and found,
        what=f"{name} was not restarted",
    )


def down(host, name):
    """Wait until it is down for good; return its document."""
    until(lambda: inspect(host, name)["State"]["Status"] == "exited", what=f"{name} does not end")
    return inspect(host, name)


# -- after an end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure", "on-failure:5"])
def test_a_killed_container_is_started_again(host, run, policy):
    run("it", policy)
    kill(host, "it")
    assert restarted(host, "it")["RestartCount"] == 1


@pytest.mark.parametrize(("policy", "count"), [("no", 0), ("on-failure:2", 2)])
def test_a_failing_command_is_tried_as_often_as_the_policy_says(host, run, policy, count):
    run("it", policy, "busybox", "sh", "-c", "echo tried; exit 3")
    document = down(host, "it")
    assert (document["RestartCount"], document["State"]["ExitCode"]) == (count, 3)
    assert host("logs", "it") == "tried\n" * (count + 1)


def test_a_success_is_no_failure(host, run):
    run("it", "on-failure", "busybox", "true")
    assert down(host, "it")["RestartCount"] == 0


def test_while_it_waits_it_is_restarting_and_can_be_stopped(host, run):
    run("it", "always", "busybox", "sh", "-c", "exit 4")
    document = until(lambda: (found := inspect(host, "it"))["State"]["Restarting"] and found)
    state = document["State"]
    assert (state["Status"], state["Running"], state["Pid"], state["ExitCode"]) == ("restarting", True, 0, 4)
    until(lambda: "Restarting (4)" in host("ps"))
    refused = until(lambda: (done := host.try_("exec", "it", "true")).code and "is restarting" in done.err and done)
    assert "its command ends again and again: see vitrine logs it" in refused.err
    host("stop", "it")
    document = inspect(host, "it")
    assert (document["State"]["Status"], document["State"]["ExitCode"]) == ("exited", 4)
    host("ps")
    assert inspect(host, "it")["RestartCount"] == document["RestartCount"]


def test_a_start_by_hand_begins_to_count_anew(host, run):
    run("it", "always")
    kill(host, "it")
    restarted(host, "it")
    host("restart", "-t", "0", "it")
    assert restarted(host, "it", 0)["RestartCount"] == 0


@pytest.mark.parametrize("verb", [("stop", "-t", "0"), ("kill",), ("kill", "-s", "TERM")], ids=" ".join)
@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure"])
def test_what_was_stopped_by_hand_stays_down(host, run, policy, verb):
    run("it", policy, "busybox", "sh", "-c", 'trap "exit 7" TERM; while :; do usleep 10000; done')
    host(*verb, "it")
    assert down(host, "it")["RestartCount"] == 0
    host("start", "it")
    kill(host, "it")
    assert restarted(host, "it")["RestartCount"] == 1  # being stopped was once


def test_a_stop_without_limit_of_time_kills_nobody(host, run):
    run(
        "it",
        "no",
        "--stop-timeout",
        "-1",
        "busybox",
        "sh",
        "-c",
        "trap 'sleep 1; exit 7' TERM; while :; do usleep 10000; done",
    )
    host("stop", "it")
    assert down(host, "it")["State"]["ExitCode"] == 7


def test_a_signal_that_is_not_meant_to_end_it_leaves_the_policy(host, run):
    run("it", "always", "busybox", "sh", "-c", 'trap "exit 7" USR1; while :; do usleep 10000; done')
    host("kill", "-s", "USR1", "it")
    assert restarted(host, "it")["RestartCount"] == 1


# -- another policy ---------------------------------------------------------------------------------------------------


def test_a_changed_policy_holds_for_the_living_monitor(host, run, engine):
    run("it", "no")
    engine.containers.update("it", restart_policy="always", restart_retries=0)
    assert inspect(host, "it")["HostConfig"]["RestartPolicy"] == {"Name": "always", "MaximumRetryCount": 0}
    kill(host, "it")
    restarted(host, "it")
    engine.containers.update("it", restart_policy="no", restart_retries=0)
    kill(host, "it")
    assert down(host, "it")["RestartCount"] == 1


def test_a_changed_limit_of_retries_holds_for_the_living_monitor(host, run, engine):
    run("it", "on-failure:50", "busybox", "sh", "-c", "usleep 50000; exit 3")
    restarted(host, "it")
    engine.containers.update("it", restart_policy="on-failure", restart_retries=1)
    assert down(host, "it")["State"]["ExitCode"] == 3
    assert inspect(host, "it")["RestartCount"] < 50


def test_what_removes_itself_gets_no_policy(host, engine):
    host("run", "-d", "--rm", "--network", "none", "--name", "it", *SLEEP)
    with pytest.raises(Exception, match="the restart policy of container 'it' cannot be changed"):
        engine.containers.update("it", restart_policy="always", restart_retries=0)
    host("rm", "-f", "it")


# -- after a boot -----------------------------------------------------------------------------------------------------


def reboot(host):
    """As a power cut does it: all processes end, /run is empty, the records are of another boot."""
    traces = Traces(host)
    records = [(path, json.loads(path.read_text())) for path in host.root.glob("containers/*/state.json")]
    monitors = [known["monitor_pid"] for _path, known in records if known["status"] in ("running", "restarting")]
    for pid in (*monitors, *traces.inits()):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not traces.inits() and all(map(ended, monitors)))
    shutil.rmtree(host.run_root)
    for top in traces.cgroups():
        for path, _folders, _files in os.walk(top, topdown=False):
            os.rmdir(path)
    for path, known in records:
        path.write_text(json.dumps({**known, "boot_id": "00000000-0000-0000-0000-000000000000"}))


def test_after_a_boot_runs_what_the_policies_say(host, run):
    run("no", "no")
    for policy in ("always", "unless-stopped", "on-failure"):
        run(policy, policy)
        run(f"{policy}-stopped", policy)
        host("stop", "-t", "0", f"{policy}-stopped")
    run("done", "on-failure", "busybox", "true")
    run("given-up", "on-failure:1", "busybox", "false")
    run("waiting", "unless-stopped", "busybox", "sh", "-c", "test -f /again && exec sleep 1000; touch /again; exit 1")
    host("create", "--network", "none", "--name", "never-started", "--restart", "always", *SLEEP)
    run("second", "always")
    for name in ("done", "given-up"):
        down(host, name)
    restarted(host, "waiting")
    reboot(host)
    state = inspect(host, "no")["State"]
    assert (state["Status"], state["ExitCode"], state["Error"]) == (
        "exited", None, "the host was restarted while the container ran"
    )  # fmt: skip
    host("boot")
    running = set(host("ps", "--format", "json").split('"Names": "')[1:])
    running = {word.split('"')[0] for word in running}
    assert running == {"always", "always-stopped", "unless-stopped", "on-failure", "waiting", "second"}
    assert inspect(host, "always")["RestartCount"] == 0
    host("rm", "never-started")


def test_a_second_boot_changes_nothing(host, run):
    run("it", "unless-stopped")
    reboot(host)
    host("boot")
    pid = inspect(host, "it")["State"]["Pid"]
    host("boot")
    assert pid and inspect(host, "it")["State"]["Pid"] == pid
