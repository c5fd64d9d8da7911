# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes in and comes out: attached clients with and without terminals, the log, and that nothing of it is lost."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time

import pytest

from vitrine.linux import process
from vitrine.supervise import attach, launch, restart, state, stop, wire, witness

from .conftest import until

# -- without a terminal -----------------------------------------------------------------------------------------------


def test_a_foreground_client_sees_all_and_the_code(box, session):
    box.sh("echo out; echo err >&2; exit 42", attached=True)
    one = session(box, box.launched.attach_fd)
    assert (one.rest(), one.rest(one.stderr), one.code()) == (b"out\n", b"err\n", 42)
    box.ended()


def test_input_goes_in_and_its_end_too(box, session):
    box.sh("cat; echo end", stdin=True, attached=True)
    one = session(box, box.launched.attach_fd)
    data = os.urandom(300_000).hex().encode()
    pid = os.fork()
    if pid == 0:
        while data:
            data = data[os.write(one.stdin, data) :]
        os._exit(0)
    one.end_input()
    assert one.rest() == data + b"end\n"
    assert one.code() == 0
    os.waitpid(pid, 0)


def test_input_that_nobody_reads_blocks_nothing(box, session):
    box.sh("sleep 0.3; echo done", stdin=True, attached=True)
    one = session(box, box.launched.attach_fd)
    os.set_blocking(one.stdin, False)
    try:
        while True:
            os.write(one.stdin, bytes(65536))
    except BlockingIOError:
        pass
    assert one.rest() == b"done\n"
    assert one.code() == 0


def test_without_input_there_is_none(box, session):
    box.sh("cat; readlink /proc/self/fd/0", attached=True)
    one = session(box, box.launched.attach_fd)
    one.type(b"nobody wants this\n")
    assert one.rest() == b"/dev/null\n"


def test_input_can_be_opened_again_by_name(box, session):
    box.sh("sleep 0.2; cat /dev/stdin", stdin=True, attached=True, user="bob")
    one = session(box, box.launched.attach_fd, stdin=True)
    one.type(b"hello")
    one.end_input()
    assert one.rest() == b"hello"


def test_signals_go_to_the_container(box, session):
    box.sh("trap 'echo got; exit 6' INT; echo up; while :; do sleep 0.02; done", attached=True)
    one = session(box, box.launched.attach_fd)
    one.read(b"up\n")
    os.kill(one.pid, signal.SIGINT)
    assert one.rest() == b"got\n"
    assert one.code() == 6


def test_the_container_outlives_its_client(box, session):
    box.sh("while :; do echo x; sleep 0.02; done", attached=True)
    one = session(box, box.launched.attach_fd)
    one.read(b"x\nx\n")
    os.kill(one.pid, 9)
    count = box.output().count(b"x")
    until(lambda: box.output().count(b"x") > count + 5)
    assert box.state["status"] == "running"


def test_hundred_megabytes_arrive_whole_and_fast(box, session):
    box.sh("dd if=/dev/zero bs=1M count=100 2>/dev/null", attached=True, log={"max_size": 1 << 20, "max_file": 2})
    one = session(box, box.launched.attach_fd)
    digest = hashlib.sha256()
    size = 0
    begun = time.monotonic()
    while True:
        part = os.read(one.stdout, 1 << 20)
        if not part:
            break
        size += len(part)
        digest.update(part)
    took = time.monotonic() - begun
    assert one.code() == 0
    assert (size, digest.hexdigest()) == (100 << 20, hashlib.sha256(bytes(100 << 20)).hexdigest())
    print(f"\n100 MiB through a foreground client and a rotated log: {took:.2f} s")
    box.ended()
    assert sum(os.stat(box.log + end).st_size for end in ("", ".1")) <= 2 << 20


def test_a_slow_foreground_client_makes_the_container_wait_and_loses_nothing(box, session):
    box.sh("seq 1 400000", attached=True, log={"driver": "none"})
    one = session(box, box.launched.attach_fd)
    time.sleep(0.5)
    assert box.state["status"] == "running"  # a pipe's worth went on, the rest waits
    assert one.rest() == b"".join(b"%d\n" % n for n in range(1, 400001))
    assert one.code() == 0


def test_several_clients_and_one_that_is_stuck(box, session):
    box.sh("read x; seq 1 900000; exit 3", stdin=True, stdin_once=False, log={"driver": "none"})
    stuck = attach.connect(box.run_dir, stdin=False)
    first, second = session(box), session(box, stdin=False)
    time.sleep(0.1)
    first.type(b"\n")
    wanted = hashlib.sha256(b"".join(b"%d\n" % n for n in range(1, 900001))).digest()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if hashlib.sha256(second.rest()).digest() == wanted else 1)
    assert hashlib.sha256(first.rest()).digest() == wanted
    assert (first.code(), second.code()) == (3, 3)
    assert os.waitpid(pid, 0)[1] == 0
    box.ended()  # the one that is stuck held up the others for two seconds, once
    os.close(stuck)


def test_detached_input_stays_open(box, session):
    box.sh("while read x; do echo got $x; done; echo end", stdin=True, stdin_once=False)
    one = session(box)
    one.type(b"a\n")
    one.read(b"got a\n")
    one.end_input()
    time.sleep(0.1)
    two = session(box)
    two.type(b"b\n")
    two.read(b"got b\n")
    assert box.state["status"] == "running"


# -- with a terminal --------------------------------------------------------------------------------------------------


@pytest.fixture
def terminal():
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
    yield master, slave
    os.close(master)
    os.close(slave)


def test_a_shell_on_a_terminal(box, session, terminal):
    master, slave = terminal
    before = termios.tcgetattr(slave)
    box.start("sh", tty=True, stdin=True, attached=True)
    one = session(box, box.launched.attach_fd, tty=True, terminal=slave)
    os.write(master, b"stty size; tty; [ -t 0 ] && echo is$((40+2))\r")
    got = one.read(b"is42\r\n", master)
    assert b"31 97" in got and b"/dev/pts/0" in got
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 50, 0, 0))
    os.kill(one.pid, signal.SIGWINCH)
    time.sleep(0.1)
    os.write(master, b"stty size\r")
    one.read(b"20 50", master)
    os.write(master, b"exit 5\r")
    assert one.code() == 5
    assert termios.tcgetattr(slave) == before
    box.ended()
    assert b"is42" in box.output()


def test_detach_and_attach_again(box, session, terminal):
    master, slave = terminal
    box.start("sh", tty=True, stdin=True, attached=True)
    one = session(box, box.launched.attach_fd, tty=True, terminal=slave)
    os.write(master, b"echo a$((1+1))\r")
    one.read(b"a2\r\n", master)
    os.write(master, b"\x10\x11")
    assert one.code() == 98
    assert box.state["status"] == "running"
    two = session(box, tty=True, terminal=slave)
    os.write(master, b"echo b$((1+1))\r")
    two.read(b"b2\r\n", master)
    os.write(master, b"exit\r")
    assert two.code() == 0


def test_the_last_words_of_a_terminal_are_not_lost(box, session, terminal):
    master, slave = terminal
    box.sh("seq 1 3000; exit 1", tty=True, attached=True)
    one = session(box, box.launched.attach_fd, tty=True, terminal=slave, stdin=False)
    got = one.read(b"\n3000", master)
    assert one.code() == 1
    assert [int(word) for word in got.split()][:3000] == list(range(1, 3001))
    assert box.output().split()[-1] == b"3000"


def test_a_terminal_without_a_client(box):
    box.sh("stty size; tty; echo err >&2", tty=True, window=(40, 100))
    box.wait()
    assert box.output() == b"40 100\r\n/dev/pts/0\r\nerr\r\n"


# -- the log ----------------------------------------------------------------------------------------------------------


def test_a_piece_of_a_line_is_logged_after_a_second(box):
    box.sh("printf prompt; sleep 100")
    assert box.output() == b""
    until(lambda: box.output() == b"prompt", 5)


def test_following_ends_with_the_container(box):
    box.sh("for i in 1 2 3; do echo $i; sleep 0.2; done")
    assert box.output(follow=True, alive=lambda: state.monitor_alive(box.run_dir)) == b"1\n2\n3\n"


def test_a_full_disk_stops_no_container(box, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    try:
        box.state_path = str(disk / "state.json")
        box.sh("seq 1 100000; sleep 0.2; exit 3", log={"path": str(disk / "log")})
        until(lambda: os.statvfs(disk).f_bfree == 0)
        known = box.wait()
        assert (known["status"], known["exit_code"]) == ("exited", 3)
        assert 10_000 < known["log_dropped"] < 100_000
        lines = (disk / "log").read_bytes().splitlines()
        numbers = [int(json.loads(line)["log"]) for line in lines]
        assert len(numbers) == 100_000 - known["log_dropped"] and numbers == sorted(set(numbers))
        box.ended()
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("driver", ["none", "k8s-file"])
def test_other_logs(box, driver):
    box.sh("echo one; printf two", log={"driver": driver})
    box.wait()
    assert box.output() == (b"" if driver == "none" else b"one\ntwo")


# -- a monitor that dies ----------------------------------------------------------------------------------------------


def kill_monitor(box):
    os.kill(box.launched.monitor_pid, 9)
    if box.launched.monitor_pid in launch._children:  # else it was forked, and is nobody's to collect
        os.waitpid(box.launched.monitor_pid, 0)
        launch._children.remove(box.launched.monitor_pid)
    until(lambda: not state.monitor_alive(box.run_dir))


def adopt(box):
    known = box.state
    assert (known["status"], known["monitored"]) == ("running", False)
    request = restart.saved(box.run_dir)
    box.launched = launch.adopt(request, known["pid"], known["start_time"])


def test_a_killed_monitor_is_replaced_and_no_line_is_lost(box, session):
    box.sh("i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); usleep 5000; done; exit 17")
    until(lambda: box.output().count(b"line") > 20)
    for _ in range(3):
        kill_monitor(box)
        time.sleep(0.2)
        adopt(box)
        count = box.output().count(b"line")
        until(lambda count=count: box.output().count(b"line") > count)
    one = session(box, stdin=False)
    known = box.wait()
    one.rest()
    assert box.output() == b"".join(b"line %d\n" % n for n in range(300))
    # The kernel tells (Linux 6.15), or nobody does: never another code.
    assert known["exit_code"] in (17, None)
    assert one.code() == (17 if known["exit_code"] == 17 else 97)
    print(f"\nexit code seen by an adopting monitor: {known['exit_code']}")
    box.ended()


def test_the_container_waits_for_a_monitor_when_its_pipe_is_full(box):
    box.sh("while [ ! -e /go ]; do usleep 10000; done; seq 1 200000; exit 2")
    kill_monitor(box)
    pid = box.state["pid"]
    os.close(os.open(f"/proc/{pid}/root/go", os.O_CREAT | os.O_WRONLY))
    time.sleep(0.5)
    assert process.alive(pid, box.state["start_time"])
    adopt(box)
    until(lambda: box.state["status"] == "exited")
    assert box.output() == b"".join(b"%d\n" % n for n in range(1, 200001))


def collected(box):
    """What the host's init does for a container whose monitor died; here that may be this very process."""

    def collect():
        try:
            os.waitpid(box.launched.pid, 0)
        except ChildProcessError:
            pass

    thread = threading.Thread(target=collect)
    thread.start()
    return thread


def test_an_end_that_nobody_saw_is_unknown(box):
    box.sh("sleep 0.3; exit 0")
    kill_monitor(box)
    assert box.state["status"] == "running"
    collected(box).join()
    until(lambda: box.state["status"] == "exited")
    known = stop.wait(box.state_path, box.run_dir, 10)
    assert (known["status"], known["exit_code"], known["monitored"]) == ("exited", None, False)
    assert "nobody saw" in known["error"]


def kernel_tells():
    """Whether it keeps a wait status for the holders of a pidfd (Linux 6.15)."""
    pid = os.fork()
    if pid == 0:
        os._exit(3)
    pidfd = os.pidfd_open(pid)
    os.waitpid(pid, 0)
    try:
        return witness.code_of(witness.status_of_other(pidfd, 0)) == 3
    finally:
        os.close(pidfd)


@pytest.mark.parametrize("exit_code", [0, 7])
def test_who_waits_sees_the_end_when_the_monitor_does_not(box, exit_code):
    box.sh(f"sleep 0.5; exit {exit_code}")
    seen = []
    waiting = threading.Thread(target=lambda: seen.append(stop.wait(box.state_path, box.run_dir, 10)))
    waiting.start()
    kill_monitor(box)
    collected(box)
    waiting.join()
    wanted = exit_code if kernel_tells() else None
    assert (seen[0]["status"], seen[0]["exit_code"]) == ("exited", wanted)
    assert box.state["exit_code"] == wanted  # and it was recorded


def test_a_container_without_monitor_can_be_stopped(box):
    box.sh("trap 'exit 9' TERM; while :; do sleep 0.05; done")
    kill_monitor(box)
    collected(box)
    known = box.stop(timeout=5)
    assert (known["status"], known["exit_code"]) == ("exited", 9 if kernel_tells() else None)


def test_what_ended_or_is_monitored_is_not_adopted(box):
    box.sh("sleep 100")
    known = box.state
    with pytest.raises(launch.StartFailed.__mro__[1]) as caught:
        launch.adopt(box.request, known["pid"], known["start_time"])
    assert caught.value.kind == "Conflict"
    kill_monitor(box)
    with pytest.raises(Exception, match="ended before"):
        launch.adopt(box.request, known["pid"], known["start_time"] + 1)
    assert box.state["status"] == "running"
    adopt(box)
    assert box.state["monitored"]
    assert wire.connect(box.run_dir) is not None


def test_an_adopted_container_is_restarted_by_its_policy(box):
    box.sh("echo run; sleep 0.5; exit 1", restart=("on-failure", 2))
    until(lambda: box.output() == b"run\n")
    kill_monitor(box)
    adopt(box)
    until(lambda: box.state["status"] == "exited")
    known = box.state
    assert (known["exit_code"], known["restart_count"]) == (1, 2)
    assert box.output() == b"run\n" * 3
    box.ended()
