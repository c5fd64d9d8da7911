# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Monitors that are forked: what they share, what they must not, and starts when the nursery is no help."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from support.traces import children, comm
from vitrine.errors import StartFailed
from vitrine.linux import process
from vitrine.supervise import forking, launch, state, wire

from .conftest import until


def nurseries(settings) -> list[int]:
    """Pids of this run root's nurseries."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            if name == "vitrine-nursery" and os.readlink(f"/proc/{pid}/fd/5").startswith(settings.run_root):
                found.append(int(pid))
        except OSError:
            continue
    return found


def status_of(pid, name):
    return re.search(rf"^{name}:\s*(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE).group(1)


def memory_of(pid) -> bytes:
    """All that a process could have written."""
    parts = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            begin, end, flags = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()
            if flags.startswith("rw"):
                memory.seek(int(begin, 16))
                try:
                    parts.append(memory.read(int(end, 16) - int(begin, 16)))
                except OSError:
                    continue
    return b"".join(parts)


@pytest.fixture
def nursery(settings):
    """Pid of the only nursery; to be called. Nobody's is left in the end."""
    yield lambda: nurseries(settings)[0]
    for pid in nurseries(settings):  # a failed test's
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def two(boxes, nursery):
    """Two containers, both with forked monitors; the first has a secret."""
    first, second = boxes(), boxes()
    first.prepare("sleep", "1000")
    first.request["plan"]["process"]["env"] = [b"PATH=/bin", b"SECRET=abracadabra-7391"]
    first.start(forked=True)
    second.start("sleep", "1000", forked=True)
    return first, second


def test_both_come_from_one_nursery_and_stand_apart(two, settings, nursery):
    assert len(nurseries(settings)) == 1
    for box in two:
        monitor = box.launched.monitor_pid
        assert Path(f"/proc/{monitor}/comm").read_text().strip() == "vitrine-monitor"
        assert status_of(monitor, "PPid") != str(nursery())  # it would have to collect it
        assert os.getsid(monitor) == monitor
        assert os.readlink(f"/proc/{monitor}/cwd") == "/"
        assert status_of(monitor, "Umask") == "0077"
        ignored = int(status_of(monitor, "SigIgn"), 16)
        assert all(ignored >> (number - 1) & 1 for number in (signal.SIGINT, signal.SIGTERM))
        assert os.path.samestat(os.stat(f"/proc/{monitor}/exe"), os.stat(f"/proc/{nursery()}/exe"))
        assert box.state["monitored"] and box.state["monitor_pid"] == monitor


def held(folder):
    found = []
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(f"{folder}/{fd}"))
    return found


def test_nothing_of_one_container_is_in_another_ones_monitor(two, nursery):
    first, second = two
    folder = f"/proc/{second.launched.monitor_pid}/fd"
    # its container's pidfd and what it waits for; one pipe, which tells the nursery that it lives; its listening socket
    kinds = ["anon_inode", "anon_inode", "pipe", "socket"]
    until(lambda: sorted(name.split(":")[0] for name in held(folder) if ":" in name and name[0] != "/") == kinds)
    assert not [name for name in held(folder) if first.id in name or str(first.folder) in name]
    assert {name for name in held(folder) if name.startswith("/")} == {
        "/dev/null", "/memfd:request (deleted)",  # what its worker left it
        *(f"{second.run_dir}/{name}" for name in (state.LOCK, "stdout", "stderr")),
    }  # fmt: skip
    awake = second.launched.monitor_pid
    with contextlib.closing(wire.connect(second.run_dir)):
        until(lambda: second.id.encode() in memory_of(awake))  # it was read, then; what sleeps has nobody's
    for pid in (nursery(), awake, first.launched.monitor_pid):
        content = memory_of(pid)
        assert second.id.encode() not in content or pid == awake
        assert first.id.encode() not in content
        assert b"abracadabra" not in content


def test_the_executable_cannot_be_written(two, nursery):
    for pid in (nursery(), two[1].launched.monitor_pid):
        with pytest.raises(OSError):
            os.close(os.open(f"/proc/{pid}/exe", os.O_WRONLY))


def test_nobody_wakes_when_nothing_happens(two, nursery):
    pids = [nursery(), *(box.launched.monitor_pid for box in two)]

    def switches():
        return [status_of(pid, f"{kind}_ctxt_switches") for pid in pids for kind in ("voluntary", "nonvoluntary")]

    time.sleep(0.3)
    before = switches()
    time.sleep(3)
    assert switches() == before


def test_it_ends_with_the_last_container(two, settings):
    two[0].stop(timeout=0)
    assert len(nurseries(settings)) == 1
    two[1].stop(timeout=0)
    until(lambda: not nurseries(settings))
    assert not [name for name in os.listdir(settings.run_root) if name.startswith("nursery.") and name != forking.LOCK]


def test_a_killed_nursery_harms_nobody_and_is_replaced(two, boxes, settings, nursery):
    dead = nursery()
    os.kill(dead, signal.SIGKILL)
    until(lambda: dead not in nurseries(settings))
    for box in two:
        assert box.state["status"] == "running" and box.state["monitored"]
    third = boxes().sh("exit 3", forked=True)
    assert third.wait()["exit_code"] == 3
    two[0].stop(timeout=0)
    assert two[0].state["exit_code"] == 137


def test_a_nursery_that_hangs_is_waited_for_but_not_for_ever(two, boxes, settings, nursery, monkeypatch):
    hanging = nursery()
    os.kill(hanging, signal.SIGSTOP)
    third = boxes()
    try:
        with monkeypatch.context() as impatient:
            impatient.setattr(forking, "_PATIENCE", 0.2)
            third.sh("exit 3", forked=True)
        assert third.wait()["exit_code"] == 3
        assert status_of(hanging, "State")[0] == "T"
    finally:
        os.kill(hanging, signal.SIGCONT)
    # what it forks now, for nobody, ends without having done anything
    until(lambda: status_of(hanging, "State")[0] == "S")
    fourth = boxes().sh("exit 4", forked=True)
    assert fourth.wait()["exit_code"] == 4
    third.ended()
    fourth.ended()
    monitors = {box.launched.monitor_pid for box in two}
    until(lambda: {pid for pid in _monitors(settings)} == monitors)


def _monitors(settings):
    """Pids of monitors, of any container, below this run root's nurseries' session of life: by the pipe they hold."""
    life = {os.readlink(f"/proc/{pid}/fd/4") for pid in nurseries(settings)}
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            links = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
            if links & life and Path(f"/proc/{pid}/comm").read_text().strip() == "vitrine-monitor":
                found.append(int(pid))
        except OSError:
            continue
    return found


def test_its_death_within_a_request_makes_the_client_boot_a_monitor(two, boxes, settings, nursery):
    dying = nursery()
    os.kill(dying, signal.SIGSTOP)
    third = boxes().prepare("sh", "-c", "exit 3")
    begun = launch.begin(attach=False, run_root=settings.run_root)
    os.kill(dying, signal.SIGKILL)
    third.launched = launch.launch(third.request, attach=False, begun=begun)
    assert third.wait()["exit_code"] == 3


def test_who_differs_has_another_nursery(boxes, settings, nursery):
    assert forking.key() == forking.key()
    first = boxes().start("sleep", "1000", forked=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = forking.key()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 7, hard))
    try:
        assert forking.key() != before
        second = boxes().sh("ulimit -n; sleep 1000", forked=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    until(lambda: second.output())
    assert second.output() == b"%d\n" % (soft - 7)
    assert len(nurseries(settings)) == 2
    assert first.state["monitored"]


def test_sources_that_changed_want_a_nursery_of_their_own(tmp_path):
    (tmp_path / "one.py").write_text("1")
    before = forking._sources(str(tmp_path))
    (tmp_path / "one.py").write_text("22")
    assert forking._sources(str(tmp_path)) != before


def test_the_container_has_its_own_clients_oom_score(boxes, nursery):
    boxes().start("sleep", "1000", forked=True)
    before = Path("/proc/self/oom_score_adj").read_text()
    Path("/proc/self/oom_score_adj").write_text("321")
    try:
        second = boxes().start("sleep", "1000", forked=True)
    finally:
        Path("/proc/self/oom_score_adj").write_text(before)
    assert Path(f"/proc/{second.launched.pid}/oom_score_adj").read_text().strip() == "321"


def test_a_client_that_dies_before_it_asks_leaves_nothing(settings, nursery):
    os.makedirs(settings.run_root, exist_ok=True)
    program = (
        "import os, sys; from vitrine.supervise import launch; launch.begin(attach=True, run_root=sys.argv[1]);"
        "os.kill(os.getpid(), 9)"
    )
    path = os.path.dirname(os.path.dirname(os.path.dirname(launch.__file__)))
    subprocess.run([sys.executable, "-c", program, settings.run_root], env={**os.environ, "PYTHONPATH": path})
    until(lambda: not nurseries(settings))


def test_starts_at_the_same_time_share_one(boxes, settings, nursery):
    made = [boxes().prepare("sleep", "1000") for _ in range(6)]
    threads = [threading.Thread(target=box.start, kwargs={"forked": True}) for box in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(box.state["status"] == "running" for box in made)
    assert len(nurseries(settings)) == 1


def test_an_attached_container_is_served_by_a_forked_monitor(box, session, nursery):
    box.prepare("sh", "-c", "read line; echo got $line; exit 5", stdin=True).start(attached=True, forked=True)
    client = session(box)
    client.type(b"hello\n")
    assert client.read(b"got hello\n")
    assert client.code() == 5


def test_what_adopts_is_forked_too(box, nursery):
    box.start("sleep", "1000", forked=True)
    monitor = box.launched.monitor_pid
    process.send_signal(monitor, process.start_time(monitor), 9)
    until(lambda: not box.state["monitored"])
    launch.adopt(box.request, box.launched.pid, box.launched.start_time)
    assert box.state["monitored"]
    box.stop(timeout=0)
    assert box.state["exit_code"] in (137, None)


# -- monitors that sleep until something happens -----------------------------------------------------------------------


@pytest.fixture
def delayed(box, nursery):
    """A start that does not come far, as somebody holds the container's lock: (box, monitor, worker, its thread)."""
    os.makedirs(box.run_dir)
    program = (
        "import fcntl, os, sys; fcntl.lockf(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX);"
        "print(flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, f"{box.run_dir}/{state.LOCK}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    holder.stdout.read(1)
    raised = []
    before = set(os.listdir("/proc"))

    def start():
        try:
            box.start("sleep", "1000", forked=True)
        except StartFailed as error:
            raised.append(error)

    thread = threading.Thread(target=start)
    thread.start()

    def working():
        for pid in map(int, filter(str.isdigit, set(os.listdir("/proc")) - before)):
            workers = [child for child in children(pid) if comm(child) == "vitrine-monitor"]
            if comm(pid) == "vitrine-monitor" and workers:
                return pid, workers[0]
        return None

    yield box, *until(working), thread, raised
    holder.communicate()
    thread.join()


@pytest.mark.parametrize("killed", ["monitor", "worker"])
def test_a_start_ends_with_its_monitor_and_with_its_worker(delayed, killed):
    box, monitor, worker, thread, raised = delayed
    os.kill({"monitor": monitor, "worker": worker}[killed], signal.SIGKILL)
    thread.join(timeout=10)
    assert "ended before the container ran" in raised[0].message
    until(lambda: not comm(monitor) and not comm(worker))
    assert box.state["status"] == "created"


def test_a_sleeping_monitor_wakes_for_output_and_for_the_end(box, nursery):
    box.start("sh", "-c", "until test -e /go; do sleep 0.05; done; echo late; exit 7", forked=True)
    until(lambda: children(box.launched.monitor_pid) == [box.launched.pid])  # its worker is gone
    Path(f"/proc/{box.launched.pid}/root/go").touch()
    assert box.wait()["exit_code"] == 7
    assert [json.loads(line)["log"] for line in Path(box.log).read_text().splitlines()] == ["late\n"]


def test_a_sleeping_monitor_has_a_terminal_to_give(box, session, nursery):
    box.start("sh", "-c", "read line; echo got $line; stty size; exit 3", tty=True, stdin=True, forked=True)
    client = session(box, tty=True)
    client.type(b"hello\n")
    client.read(b"got hello")
    assert client.code() == 3


def test_a_sleeping_monitor_starts_it_again(box, nursery):
    """Its worker left it what it needs for that."""
    box.start("sleep", "1000", restart=("on-failure", 1), forked=True)
    os.kill(box.launched.pid, signal.SIGKILL)
    until(lambda: box.state["restart_count"] == 1 and box.state["status"] == "running")
    assert box.state["monitor_pid"] == box.launched.monitor_pid and box.state["pid"] != box.launched.pid
