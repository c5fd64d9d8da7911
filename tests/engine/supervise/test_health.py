# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health checks of real containers: what is run in them, what is made of it, and what a bad check cannot do."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from support.traces import Traces, children, comm, ended, until
from vitrine.engine import Engine, health
from vitrine.errors import Conflict, ContainerNotFound
from vitrine.runtime import cgroups

QUICK = ("--health-interval", "50ms")
SLEEP = ("busybox", "sleep", "1000")


@pytest.fixture
def run(host):
    """Runs a container named it, and removes it."""

    def start(*words):
        host("run", "-d", "--network", "none", "--name", "it", *words)

    yield start
    host.try_("rm", "-f", "it")


def inspect(host, name="it"):
    return json.loads(host("inspect", name))[0]


def checked(host, name="it"):
    return inspect(host, name)["State"]["Health"]


def becomes(host, status, name="it"):
    """Wait until the container's health is so; return it."""
    return until(lambda: (found := checked(host, name))["Status"] == status and found, what=f"it is not {status}")


def logged(host, entries=1, name="it"):
    """Wait for so many results; return the newest."""
    return until(lambda: len(log := checked(host, name)["Log"]) >= entries and log[-1], what="no result")


def record(host, name="it"):
    path = host.root / "containers" / inspect(host, name)["Id"] / "state.json"
    return json.loads(path.read_text())


def inside(host, name="it"):
    """The commands that run in the container; one that is being executed at this moment is its shell still."""
    return host("exec", name, "ps", "-o", "args").splitlines()[1:]


# -- what it says -----------------------------------------------------------------------------------------------------


def test_a_container_becomes_healthy(host, run):
    run("--health-cmd", "test -f /ok && echo fine", *QUICK, "--health-retries", "1000", *SLEEP)
    found = logged(host, 2)
    assert (checked(host)["Status"], found["ExitCode"], found["Output"]) == ("starting", 1, "")
    assert "(health: starting)" in host("ps") and host("ps", "-q", "-f", "health=starting")
    assert not host("ps", "-q", "-f", "health=healthy")
    host("exec", "it", "touch", "/ok")
    found = becomes(host, "healthy")
    assert (found["FailingStreak"], found["Log"][-1]["ExitCode"], found["Log"][-1]["Output"]) == (0, 0, "fine\n")
    assert set(found["Log"][-1]) == {"Start", "End", "ExitCode", "Output"}
    assert found["Log"][-1]["Start"] < found["Log"][-1]["End"] and len(found["Log"]) <= 5
    assert re.search(r"Up [^)]* \(healthy\)", host("ps")) and host("ps", "-q", "-f", "health=healthy")
    assert inspect(host)["Config"]["Healthcheck"] == {
        "Test": ["CMD-SHELL", "test -f /ok && echo fine"],
        "Interval": 50_000_000,
        "Retries": 1000,
    }


def test_failures_in_a_row_make_it_unhealthy_and_a_success_healthy(host, run):
    run("--health-cmd", "test -f /ok", *QUICK, "--health-retries", "3", *SLEEP)
    found = becomes(host, "unhealthy")
    assert found["FailingStreak"] >= 3
    assert "(unhealthy)" in host("ps") and inspect(host)["State"]["Running"]  # nothing is done about it
    host("exec", "it", "touch", "/ok")
    assert becomes(host, "healthy")["FailingStreak"] == 0
    events = host("events", "--no-stream", "--filter", f"container={inspect(host)['Id']}")
    assert re.findall(r"health_status: \w+", events) == ["health_status: unhealthy", "health_status: healthy"]


def test_failures_in_the_start_period_do_not_count(host, run):
    run("--health-cmd", "test -f /ok", *QUICK, "--health-retries", "1", "--health-start-period", "10m",
        "--health-start-interval", "20ms", *SLEEP)  # fmt: skip
    logged(host, 5)
    assert (checked(host)["Status"], checked(host)["FailingStreak"]) == ("starting", 0)
    host("exec", "it", "touch", "/ok")
    becomes(host, "healthy")
    host("exec", "it", "rm", "/ok")
    becomes(host, "unhealthy")  # the success ended the period


def test_without_a_check_there_is_no_health(host, run):
    run(*SLEEP)
    assert "Health" not in inspect(host)["State"] and inspect(host)["Config"]["Healthcheck"] is None
    assert "health" not in host("ps") and host("ps", "-q", "-f", "health=none")


def test_the_images_check_is_overridden_field_by_field(host, run, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nHEALTHCHECK --interval=50ms --timeout=3s --start-period=1m --retries=9 CMD echo $WHO\n"
        "ENV WHO=image\nCMD [\"sleep\", \"1000\"]\n"
    )  # fmt: skip
    host("build", "-q", "-t", "checked", tmp_path)
    own = {"Test": ["CMD-SHELL", "echo $WHO"], "Interval": 50_000_000, "Timeout": 3 * 10**9,
           "StartPeriod": 60 * 10**9, "Retries": 9}  # fmt: skip
    assert json.loads(host("inspect", "--type", "image", "checked"))[0]["Config"]["Healthcheck"] == own
    run("checked")
    assert becomes(host, "healthy")["Log"][0]["Output"] == "image\n"
    host("rm", "-f", "it")
    run("--health-retries", "1", "--health-cmd", "echo mine", "checked")
    assert becomes(host, "healthy")["Log"][0]["Output"] == "mine\n"
    assert inspect(host)["Config"]["Healthcheck"] == {**own, "Retries": 1, "Test": ["CMD-SHELL", "echo mine"]}
    host("commit", "it", "mine")
    assert json.loads(host("inspect", "--type", "image", "mine"))[0]["Config"]["Healthcheck"]["Retries"] == 1
    host("rm", "-f", "it")
    run("--no-healthcheck", "checked")
    assert "Health" not in inspect(host)["State"] and inspect(host)["Config"]["Healthcheck"] == {"Test": ["NONE"]}


# -- how it is run ----------------------------------------------------------------------------------------------------


def test_a_check_is_as_confined_as_the_container(host, run):
    script = "id -u; id -g; pwd; echo $A; cat /proc/self/oom_score_adj; grep -E 'Cap|Seccomp|NoNew' /proc/self/status"
    run("--health-cmd", script, *QUICK, "--user", "1000:1001", "-w", "/tmp", "-e", "A=b", "--cap-drop", "net_raw",
        *SLEEP)  # fmt: skip
    output = becomes(host, "healthy")["Log"][-1]["Output"].splitlines()
    init = inspect(host)["State"]["Pid"]
    status = Path(f"/proc/{init}/status").read_text().splitlines()
    assert output[:4] == ["1000", "1001", "/tmp", "b"]
    assert output[4] == Path(f"/proc/{init}/oom_score_adj").read_text().strip() != "-999"
    assert output[5:] == [line for line in status if re.match("Cap|Seccomp|NoNew", line)]


def test_a_check_is_in_the_containers_cgroups(host, run):
    run("--health-cmd", "cat /proc/self/cgroup; readlink /proc/self/ns/pid", *QUICK, "--memory",
        "32m", *SLEEP)  # fmt: skip
    groups, *_spaces = becomes(host, "healthy")["Log"][-1]["Output"].partition("pid:")
    init = inspect(host)["State"]["Pid"]
    theirs = host("exec", "it", "cat", "/proc/1/cgroup").splitlines()
    assert groups.splitlines()[:-1] == theirs[:-1]
    assert groups.splitlines()[-1] in (theirs[-1], theirs[-1].rstrip("/") + "/vitrine.probe")
    assert os.readlink(f"/proc/{init}/ns/pid") in checked(host)["Log"][-1]["Output"]


def test_what_cannot_be_executed_is_told_in_dockers_words(host, run, tmp_path):
    (tmp_path / "Dockerfile").write_text('FROM busybox\nHEALTHCHECK --interval=50ms --retries=1 CMD ["nix"]\n')
    host("build", "-q", "-t", "broken", tmp_path)
    run("broken", "sleep", "1000")
    found = becomes(host, "unhealthy")["Log"][-1]
    assert (found["ExitCode"], found["Output"]) == (-1, 'exec: "nix": executable file not found in $PATH')


@pytest.mark.parametrize("without", ["", "pidfd", "clone3,close_range"])
def test_a_check_that_takes_too_long_is_killed_with_all_that_it_started(host, run, without):
    script = 'trap "" TERM; (setsid sleep 2000 &); echo begun; sleep 3000'
    before, host.env = host.env, {**host.env, "VITRINE_WITHOUT": without}
    try:
        run("--health-cmd", script, *QUICK, "--health-timeout", "300ms", "--health-retries", "1", *SLEEP)
        found = becomes(host, "unhealthy")["Log"][0]
        assert (found["ExitCode"], found["Output"]) == (-1, "Health check exceeded timeout (300ms): begun\n")
        logged(host, 3)
        # of the checks before, nothing is left; the present one may be there
        assert inside(host).count("sleep 2000") <= 1
    finally:
        host.env = before


def test_a_short_check_leaves_nothing_behind(host, run):
    run("--health-cmd", "for i in 1 2 3; do setsid sleep 2000 & done; exit 0", "--init", *QUICK, *SLEEP)
    logged(host, 5)
    assert inside(host).count("sleep 2000") <= 3


def test_a_flood_is_cut_and_the_log_goes_on_meanwhile(host, run):
    run("--health-cmd", "yes", *QUICK, "--health-timeout", "400ms", "--health-retries", "1",
        "busybox", "sh", "-c", "while :; do date; usleep 20000; done")  # fmt: skip
    until(lambda: "yes" in host("exec", "it", "ps"))
    lines = len(host("logs", "it").splitlines())
    until(lambda: len(host("logs", "it").splitlines()) > lines + 3)
    output = becomes(host, "unhealthy")["Log"][0]["Output"]
    assert output == "Health check exceeded timeout (400ms): " + "y\n" * 2048 + "..."


def test_output_that_is_no_text_is_kept_as_well_as_can_be(host, run):
    run("--health-cmd", r"printf 'a\377\000b\n'", *QUICK, *SLEEP)
    assert becomes(host, "healthy")["Log"][-1]["Output"] == "a\ufffd\0b\n"


# -- its life ---------------------------------------------------------------------------------------------------------


def test_a_paused_container_is_not_checked(host, run):
    run("--health-cmd", "test ! -f /no", *QUICK, "--health-retries", "1", *SLEEP)
    becomes(host, "healthy")
    host("exec", "it", "touch", "/no")
    becomes(host, "unhealthy")
    host("pause", "it")
    assert "(Paused)" in host("ps")
    time.sleep(0.2)  # a check that had ended by then is recorded; one that had not is frozen with the container
    last = checked(host)["Log"][-1]
    with pytest.raises(AssertionError, match="went on"):
        until(lambda: checked(host)["Log"][-1] != last, 0.5, "nothing went on")
    host("unpause", "it")
    until(lambda: checked(host)["Log"][-1] != last)


def test_a_container_may_end_while_it_is_checked(host, run):
    run("--health-cmd", "sleep 1000", *QUICK, *SLEEP)
    until(lambda: "sleep 1000" in inside(host)[1:])
    host("kill", "it")
    until(lambda: not host("ps", "-q"))
    state = inspect(host)["State"]
    assert (state["Status"], state["ExitCode"], state["Health"]) == (
        "exited", 137, {"Status": "unhealthy", "FailingStreak": 0, "Log": []}
    )  # fmt: skip
    assert "health" not in host("ps", "-a")


def test_a_new_monitor_goes_on(host, run):
    run("--health-cmd", "test -f /ok", *QUICK, "--health-retries", "2", *SLEEP)
    becomes(host, "unhealthy")
    host("pause", "it")
    monitor = record(host)["monitor_pid"]
    streak = checked(host)["FailingStreak"]
    os.kill(monitor, signal.SIGKILL)
    until(lambda: ended(monitor))
    assert checked(host)["Status"] == "unhealthy" and checked(host)["FailingStreak"] >= streak
    host("unpause", "it")
    assert record(host)["monitor_pid"] != monitor
    until(lambda: checked(host)["FailingStreak"] > streak)
    host("exec", "it", "touch", "/ok")
    becomes(host, "healthy")


def test_a_restart_begins_anew_and_keeps_the_log(host, run):
    run("--health-cmd", "exit 1", *QUICK, "--health-retries", "3", "--restart", "always", *SLEEP)
    becomes(host, "unhealthy")
    os.kill(inspect(host)["State"]["Pid"], signal.SIGKILL)
    until(lambda: inspect(host)["RestartCount"] == 1)
    becomes(host, "unhealthy")
    assert len(checked(host)["Log"]) == 5


@pytest.mark.parametrize(
    ("action", "policy", "count", "status"),
    [
        ("kill", "no", 0, "exited"),
        ("kill", "on-failure:1", 1, "exited"),
        ("stop", "always", 0, "exited"),
        ("restart", "no", 2, "running"),
        ("none", "always", 0, "running"),
    ],
)
def test_what_is_done_about_an_unhealthy_container(host, run, action, policy, count, status):
    run("--health-cmd", "exit 1", *QUICK, "--health-retries", "2", "--health-on-failure", action,
        "--restart", policy, "busybox", "sh", "-c", 'trap "exit 7" TERM; while :; do usleep 10000; done')  # fmt: skip
    if status == "running":
        until(lambda: inspect(host)["RestartCount"] >= count and checked(host)["Log"])
    else:
        until(lambda: not host("ps", "-q"))
        document = inspect(host)
        assert (document["RestartCount"], document["State"]["Status"]) == (count, status)
        assert document["State"]["ExitCode"] == (7 if action == "stop" else 137)


# -- waiting ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def engine(host):
    made = Engine(Traces(host).settings)
    yield made
    made.store.close()


def test_waiting_for_health(host, run, engine):
    run("--health-cmd", "test -f /ok", *QUICK, "--health-retries", "2", *SLEEP)
    assert health.wait(engine, "it", ("unhealthy",)) == "unhealthy"
    with pytest.raises(health.NotHealthy, match=r"Timeout of 0.2 seconds.*its health is unhealthy"):
        health.wait(engine, "it", ("healthy",), 0.2)
    touch = host.spawn("exec", "it", "touch", "/ok")
    assert health.wait(engine, "it", ("healthy", "none"), 10) == "healthy"
    assert touch.wait() == 0


def test_waiting_ends_with_the_container(host, run, engine):
    run("--health-cmd", "exit 1", *QUICK, "busybox", "sh", "-c", "usleep 300000; exit 5")
    with pytest.raises(Conflict, match=r"'it' ended with exit code 5 while its health was waited for"):
        health.wait(engine, "it", ("healthy",), 10)
    assert "exited" in inspect(host)["State"]["Status"]
    with pytest.raises(Conflict, match="ended with exit code 5"):
        health.wait(engine, "it", ("healthy",), 10)


def test_waiting_ends_with_the_containers_removal(host, run, engine):
    run("--health-cmd", "exit 1", *QUICK, *SLEEP)
    removal = host.spawn("rm", "-f", "it")
    with pytest.raises((ContainerNotFound, Conflict), match="no such container|ended with exit code 137"):
        health.wait(engine, "it", ("healthy",), 20)
    assert removal.wait() == 0
    with pytest.raises(ContainerNotFound):
        health.wait(engine, "it", ("healthy",), 20)


def test_a_container_without_check_has_health_none(run, engine):
    run(*SLEEP)
    assert health.wait(engine, "it", ("healthy", "none"), 10) == "none"
    with pytest.raises(Conflict, match="'it' has no health check, so it never becomes unhealthy"):
        health.wait(engine, "it", ("unhealthy",), 10)


# -- hosts and kernels that have less ---------------------------------------------------------------------------------

OPTIONS = {
    "argv": [b"sh", b"-c", b"(setsid sleep 2000 &); exit 1"], "interval": 50_000_000, "timeout": 10**9,
    "start_period": 0, "start_interval": 50_000_000, "retries": 2, "on_failure": "none",
}  # fmt: skip


def results(box):
    return (box.state["health"] or {}).get("log") or ()


@pytest.mark.parametrize("kept", [("freezer", "pids"), ("pids",), ()], ids=["freezer", "pids", "none"])
def test_without_a_version_2_tree_checks_are_found_by_what_there_is(box, kept):
    layout = cgroups.detect()
    if not set(kept) <= set(layout.v1):
        pytest.skip("needs version 1 controllers")
    box.prepare("sleep", "1000", health=OPTIONS)
    less = layout.replace(unified="", controllers=(), v1={name: layout.v1[name] for name in kept})
    box.cgroup = cgroups.compile({}, box.cgroup["path"], less)
    box.request["cgroup"] = box.request["plan"]["cgroup"] = box.cgroup
    box.start()
    until(lambda: len(results(box)) >= 3)
    assert box.state["health"]["status"] == "unhealthy" and results(box)[-1]["exit_code"] == 1
    if "freezer" in kept:
        group = Path(box.cgroup["dirs"]["freezer"], "vitrine.probe", "cgroup.procs")
        until(lambda: not group.read_text())  # in between two checks
    if kept:
        assert box.stop(9, 0)["status"] == "exited"
        box.ended()
        assert not os.path.exists(box.cgroup["dirs"][kept[0]])


def test_a_helper_that_is_killed_on_its_way_is_a_failed_check(box):
    box.start("sleep", "1000", health={**OPTIONS, "argv": [b"sleep", b"1000"]})

    def helper():
        return next((pid for pid in children(box.launched.monitor_pid) if comm(pid) == "vitrine-probe"), 0)

    for _ in range(20):
        with contextlib.suppress(ProcessLookupError):
            os.kill(until(helper), signal.SIGKILL)
        if any("killed before it could start" in entry["output"] for entry in results(box)):
            break
    until(lambda: len(results(box)) >= 2)
    assert {entry["exit_code"] for entry in results(box)} <= {-1, 137}
    assert box.stop(9, 0)["exit_code"] == 137
    box.ended()
