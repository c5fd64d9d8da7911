# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container's life under its monitor: start, output, exit code, stop, restart; and that nothing stays behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from vitrine import errors
from vitrine.linux import process
from vitrine.runtime import cgroups
from vitrine.supervise import launch, state, stop

from .conftest import until


def status_of(pid, name):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return line.split(":", 1)[1].strip()
    raise AssertionError(name)


# -- start and end ----------------------------------------------------------------------------------------------------


def test_output_and_exit_code_are_recorded(box):
    box.sh("echo out; echo err >&2; exit 7")
    known = box.wait()
    assert (known["exit_code"], known["oom_killed"], known["error"]) == (7, False, "")
    assert known["started_at"] < known["finished_at"]
    assert (box.output(), box.output("stderr")) == (b"out\n", b"err\n")
    box.ended()
    assert os.listdir(box.run_dir) == [state.LOCK]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_is_128_and_its_number(box, number):
    box.start(
        "sleep", "100", host_pids=True
    )  # the first process of a namespace takes no signal that it does not handle
    process.send_signal(box.launched.pid, box.launched.start_time, number)
    assert box.wait()["exit_code"] == 128 + number


def test_while_it_runs_the_state_says_so(box):
    box.sh("sleep 100")
    known = box.state
    assert (known["status"], known["monitored"], known["pid"]) == ("running", True, box.launched.pid)
    assert known["monitor_pid"] == box.launched.monitor_pid
    with pytest.raises(errors.Conflict):
        launch.launch(box.request, attach=False)
    assert box.state == known  # the refused one changed nothing
    box.stop(timeout=0)
    assert box.state["exit_code"] == 137


@pytest.mark.parametrize(
    ("argv", "cls", "code"),
    [
        (["nothere"], errors.CommandNotFound, 127),
        (["/etc/passwd"], errors.CommandNotExecutable, 126),
    ],
)
def test_a_command_that_cannot_run_is_told_in_its_class_and_undone(box, argv, cls, code):
    box.prepare(*argv)
    with pytest.raises(cls) as caught:
        launch.launch(box.request, attach=False)
    assert argv[0] in str(caught.value)
    known = box.state
    assert (known["status"], known["exit_code"], known["monitored"]) == ("created", code, False)
    assert argv[0] in known["error"]
    assert not any(os.path.isdir(folder) for folder in cgroups.groups.directories(box.cgroup))


def test_a_bad_mount_is_told_with_its_stage(box):
    box.prepare("true")
    box.request["plan"]["mounts"].append(("bind", "/does/not/exist", "/tmp", True, 0, 0, False, "", False))
    with pytest.raises(errors.StartFailed) as caught:
        launch.launch(box.request, attach=False)
    assert caught.value.stage and "/does/not/exist" in str(caught.value)


def test_a_killed_monitor_during_the_start_is_an_error_and_leaves_nothing(box, monkeypatch):
    box.prepare("true")
    spawn = launch.seal.spawn

    def spawn_and_kill(*args, **options):
        pid = spawn(*args, **options)
        time.sleep(0.02)
        os.kill(pid, 9)
        return pid

    monkeypatch.setattr(launch.seal, "spawn", spawn_and_kill)
    with pytest.raises(errors.StartFailed) as caught:
        box.start()
    assert caught.value.stage == "monitor"
    cgroups.remove(box.cgroup)


def test_it_can_be_started_again(box):
    box.sh("echo one")
    for _ in range(4):
        box.wait()  # returns while the monitor still cleans up: the next one waits for that
        box.start()
    box.wait()
    assert box.output() == b"one\n" * 5
    box.ended()


def test_processes_that_outlive_init_are_killed(box):
    box.sh("sleep 1000 & echo $!", host_pids=True)
    box.wait()
    box.ended()
    pid = int(box.output())
    assert not process.alive(pid, process.start_time(pid) or 0)


def test_a_user_may_open_its_own_output_again(box):
    box.sh("echo one > /dev/stdout; echo two > /proc/self/fd/2; exec 3<>/dev/stdout", user="bob")
    box.wait()
    assert box.output() == b"one\n"
    assert box.output("stderr").startswith(b"two\n")


# -- the monitor as a process -----------------------------------------------------------------------------------------


def test_the_monitor_is_small_sleeps_and_stands_apart(box):
    box.sh("sleep 100", attached=False)
    monitor = box.launched.monitor_pid
    assert os.getsid(monitor) == monitor
    groups = cgroups.pids(box.cgroup)
    assert box.launched.pid in groups and monitor not in groups
    assert {os.readlink(f"/proc/{monitor}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}
    time.sleep(0.3)
    before = status_of(monitor, "voluntary_ctxt_switches")
    time.sleep(1.5)
    assert status_of(monitor, "voluntary_ctxt_switches") == before
    pss = next(
        int(line.split()[1])
        for line in Path(f"/proc/{monitor}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    )
    print(f"\nPSS of an idle monitor: {pss} kB")
    assert pss < 12_000


def test_the_monitor_ignores_the_end_of_sessions(box):
    box.sh("trap 'exit 5' TERM; sleep 100 & wait")
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        os.kill(box.launched.monitor_pid, number)
    time.sleep(0.1)
    assert box.state["monitored"]
    assert box.stop()["exit_code"] == 5  # and the container has its own dispositions


@pytest.mark.parametrize("adj", [None, 500])
def test_the_container_has_the_callers_oom_score_or_its_own(box, adj):
    own = int(Path("/proc/self/oom_score_adj").read_text())
    box.sh("cat /proc/self/oom_score_adj", oom_score_adj=adj)
    box.wait()
    assert int(box.output()) == (own if adj is None else adj)


def test_the_callers_pipes_are_not_held(box):
    read, write = os.pipe()
    os.set_inheritable(write, True)
    box.prepare("sleep", "100")
    if os.fork() == 0:
        os.dup2(write, 1)
        os.dup2(write, 2)
        box.start()
        os._exit(0)
    os.close(write)
    assert os.read(read, 10) == b""  # else an ssh session or an Ansible task would hang here
    os.close(read)
    os.wait()
    known = box.state
    assert known["status"] == "running"
    box.launched = launch.Launched(known["pid"], known["start_time"], known["monitor_pid"])


# -- stop, signal, wait -----------------------------------------------------------------------------------------------


def test_stop_gives_grace(box):
    box.sh("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done")
    until(lambda: box.output() == b"up\n")
    begun = time.monotonic()
    assert box.stop()["exit_code"] == 3
    assert time.monotonic() - begun < 5
    assert box.output() == b"up\nbye\n"
    assert box.stop()["exit_code"] == 3  # again: nothing changes
    box.ended()


def test_what_ignores_its_signal_is_killed_after_the_grace(box):
    box.sh("trap '' TERM; sleep 1000 & wait; sleep 1000")
    time.sleep(0.1)
    begun = time.monotonic()
    assert box.stop(timeout=0.5)["exit_code"] == 137
    assert 0.4 < time.monotonic() - begun < 5


def test_a_paused_container_can_be_stopped(box):
    box.sh("trap 'exit 4' TERM; echo up; while :; do sleep 0.05; done")
    until(lambda: box.output())
    assert cgroups.freeze(box.cgroup)
    state.set_flag(box.run_dir, state.PAUSED, True)
    assert box.state["status"] == "paused"
    assert box.stop()["exit_code"] == 4
    assert box.state["status"] == "exited"


def test_signals_reach_no_stranger(box):
    box.sh("sleep 100")
    known = box.state
    stranger = dict(known, start_time=known["start_time"] + 1)
    with pytest.raises(errors.Conflict):
        stop.signal(stranger, 9)
    assert box.state["status"] == "running"
    stop.signal(known, 9)
    assert box.wait()["exit_code"] == 137
    with pytest.raises(errors.Conflict):
        stop.signal(box.state, 9)


def test_wait_has_a_timeout_and_many_may_wait(box):
    box.sh("sleep 0.7; exit 9")
    assert stop.wait(box.state_path, box.run_dir, 0.1)["status"] == "running"
    children = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            os._exit(stop.wait(box.state_path, box.run_dir)["exit_code"])
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [9, 9, 9]


# -- restarts ---------------------------------------------------------------------------------------------------------


def test_on_failure_counts_and_ends_with_the_last_code(box):
    box.sh("echo run; exit 3", restart=("on-failure", 2))
    until(lambda: box.state["status"] == "exited")
    known = box.state
    assert (known["exit_code"], known["restart_count"]) == (3, 2)
    assert box.output() == b"run\n" * 3
    box.ended()


def test_on_failure_is_content_with_success(box):
    box.sh("echo x >> /n; [ $(wc -l < /n) -ge 3 ]", restart=("on-failure", 0))
    until(lambda: box.state["status"] == "exited")
    assert (box.state["exit_code"], box.state["restart_count"]) == (0, 2)


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_always_means_always_until_it_is_stopped(box, policy):
    box.sh("echo run", restart=(policy, 0))
    until(lambda: box.output().count(b"run") >= 3)
    known = box.stop()
    assert (known["status"], known["stop_requested"], known["monitored"]) == ("exited", True, False)
    count = box.output().count(b"run")
    time.sleep(0.5)
    assert box.output().count(b"run") == count


def test_stop_ends_a_pause_before_a_restart(box):
    box.sh("exit 1", restart=("always", 0))
    until(lambda: box.state["restart_count"] >= 3 and box.state["status"] == "restarting")
    begun = time.monotonic()
    known = box.stop()
    assert (known["status"], known["exit_code"]) == ("exited", 1)
    assert time.monotonic() - begun < 2
    box.ended()
    box.request["plan"]["process"]["argv"] = [b"sleep", b"100"]
    box.start()
    assert (box.state["status"], box.state["stop_requested"], box.state["restart_count"]) == ("running", False, 0)


def test_a_restart_that_cannot_start_goes_on_by_the_policy(box):
    box.sh("rm /bin/sh; exit 1", restart=("on-failure", 3))
    until(lambda: box.state["status"] == "exited")
    known = box.state
    assert (known["exit_code"], known["restart_count"]) == (127, 3)
    assert "sh" in known["error"]


# -- memory -----------------------------------------------------------------------------------------------------------


def test_an_end_for_want_of_memory_is_seen(box):
    box.sh("x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done", resources={"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    known = box.wait()
    assert (known["exit_code"], known["oom_killed"]) == (137, True)
    assert known["oom_kills"] >= 1


# -- auto remove ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attached", [True, False])
def test_who_removes(box, tmp_path, session, attached):
    """The attached client when there is one; else the monitor becomes the command that does."""
    mark = tmp_path / "removed"
    box.sh("echo x", attached=attached, auto_remove=True, cleanup_argv=["/bin/busybox", "touch", str(mark)])
    if attached:
        one = session(box, box.launched.attach_fd)
        assert one.rest() == b"x\n"
        assert one.code() == 0
        box.ended()
        assert not mark.exists()
    else:
        until(mark.exists)
        assert not box.state["monitored"]


# -- a monitor that is killed at any moment ---------------------------------------------------------------------------


@pytest.mark.parametrize("point", range(12))
def test_killed_at_any_moment_of_the_start_nothing_half_made_runs_on(box, monkeypatch, point):
    """Either the container runs, and can be adopted and stopped, or no process of it is left."""
    box.prepare("sleep", "1000")
    spawn = launch.seal.spawn

    def spawn_and_kill(*args, **options):
        pid = spawn(*args, **options)
        if os.fork() == 0:
            time.sleep(0.012 + 0.003 * point)
            os.kill(pid, 9)
            os._exit(0)
        return pid

    monkeypatch.setattr(launch.seal, "spawn", spawn_and_kill)
    try:
        box.start()
    except errors.StartFailed as error:
        assert error.stage == "monitor"
    monkeypatch.undo()
    os.wait()
    until(lambda: not state.monitor_alive(box.run_dir))
    known = box.state
    if known["status"] == "running":
        box.launched = launch.adopt(box.request, known["pid"], known["start_time"])
        assert box.stop(timeout=0)["exit_code"] in (137, None)
        box.ended()
    else:
        until(lambda: not cgroups.pids(box.cgroup), 3)
        assert cgroups.remove(box.cgroup)
        box.start()
        assert box.state["status"] == "running"


def test_what_the_host_could_not_give_is_told_to_who_starts(box):
    box.prepare("sleep", "1000")
    box.cgroup["warnings"] = ["the swap limit is not enforced"]
    box.start()
    assert box.launched.warnings == ("the swap limit is not enforced",)
    assert box.state["status"] == "running"
