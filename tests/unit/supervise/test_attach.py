# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attaching: the packets, the monitor's side with several clients, the client's side with pipes and terminals."""

from __future__ import annotations

import os
import pty
import signal
import struct
import termios
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.errors import Conflict, InvalidInput
from vitrine.supervise import attach, clients, loop, streams, wire


@given(st.none() | st.integers(0, 255), st.booleans())
def test_exit_packets(code, oom):
    assert wire.parse_exit(wire.exit_packet(code, oom)) == (code, oom)


@pytest.mark.parametrize("size", [(0, 0), (24, 80), (65535, 65535)])
def test_resize_packets(size):
    assert wire.parse_resize(wire.resize(*size)) == size
    assert wire.parse_resize(b"\2\1") is None


@pytest.mark.parametrize(
    ("text", "keys"),
    [("ctrl-p,ctrl-q", b"\x10\x11"), ("ctrl-a,d", b"\x01d"), ("ctrl-@,ctrl-[", b"\0\x1b"), ("", b""), ("q", b"q")],
)
def test_detach_keys(text, keys):
    assert attach.parse_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "ctrl-p,", "strg-p", ",", "ctrl-P", "ä"])
def test_bad_detach_keys_are_named(text):
    with pytest.raises(InvalidInput) as caught:
        attach.parse_keys(text)
    assert repr(text) in str(caught.value)


@given(st.binary(min_size=1, max_size=4), st.lists(st.binary(max_size=6), max_size=8))
def test_the_filter_finds_the_keys_however_they_arrive(keys, pieces):
    keyfilter = attach.KeyFilter(keys)
    sent = b""
    found = False
    for piece in pieces:
        part, found = keyfilter.feed(piece)
        sent += part
        if found:
            break
    whole = b"".join(pieces)
    at = whole.find(keys)
    assert found == (at >= 0)
    if found:
        assert sent == whole[:at]
    else:
        held = whole[len(sent) :]
        assert sent + held == whole
        assert keys.startswith(held) and len(held) < len(keys)


def test_no_keys_pass_everything():
    assert attach.KeyFilter(b"").feed(b"\x10\x11") == (b"\x10\x11", False)


# -- the monitor's side -----------------------------------------------------------------------------------------------


class Server:
    """Clients of a loop that runs in a thread, as in a monitor."""

    def __init__(self, tmp_path):
        self.events = loop.Loop()
        self.packets = []
        self.clients = clients.Clients(self.events, False, self.packets.append)
        self.run_dir = str(tmp_path)
        self.clients.listen(self.run_dir)
        self.todo = []
        self.wake_read, self.wake_write = os.pipe()
        self.events.watch(self.wake_read, loop.READ, self._woken)
        self.ended = False
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.ended:
            self.events.turn(None)

    def _woken(self, _events):
        os.read(self.wake_read, 1)
        self.todo.pop(0)()

    def do(self, call):
        done = threading.Event()
        result = []

        def action():
            result.append(call())
            done.set()

        self.todo.append(action)
        os.write(self.wake_write, b"x")
        assert done.wait(10)
        return result[0]

    def until(self, condition):
        end = time.monotonic() + 10
        while not self.do(condition):
            assert time.monotonic() < end
            time.sleep(0.001)

    def close(self):
        def end():
            self.ended = True
            self.clients.close()

        self.do(end)
        self.thread.join()
        os.close(self.wake_read)
        os.close(self.wake_write)


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    yield server
    server.close()


def test_the_socket_is_for_root_only_and_its_path_may_be_long(tmp_path):
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    server = Server(folder)
    try:
        assert os.stat(folder / wire.SOCKET).st_mode & 0o777 == 0o600
        os.close(attach.connect(str(folder), stdin=False))
    finally:
        server.close()


def test_no_monitor_is_a_conflict(tmp_path):
    with pytest.raises(Conflict):
        attach.connect(str(tmp_path), stdin=False)
    assert wire.connect(str(tmp_path / "none")) is None


def test_every_client_gets_all_output_in_order_and_then_the_exit(server):
    fds = [attach.connect(server.run_dir, stdin=False) for _ in range(3)]
    quiet = attach.connect(server.run_dir, stdin=False, output=False)
    for number in range(100):
        server.do(lambda number=number: server.clients.output(wire.STDOUT, b"%d\n" % number))
    server.do(lambda: server.clients.output(wire.STDERR, b"err"))
    server.do(lambda: server.clients.exited(wire.exit_packet(3, False)))
    for fd in fds:
        packets = [os.read(fd, 1000) for _ in range(102)]
        assert packets[:100] == [b"\x10%d\n" % number for number in range(100)]
        assert packets[100] == b"\x11err"
        assert wire.parse_exit(packets[101]) == (3, False)
    assert wire.parse_exit(os.read(quiet, 1000)) == (3, False)
    late = wire.connect(server.run_dir)
    late.send(wire.hello())
    assert late.recv(100)[0] == wire.WELCOME
    assert wire.parse_exit(late.recv(100)) == (3, False)
    late.close()
    for fd in (*fds, quiet):
        os.close(fd)


def test_a_stuck_client_is_dropped_and_the_others_go_on(server, monkeypatch):
    monkeypatch.setattr(clients, "STUCK_NS", 100_000_000)
    stuck = attach.connect(server.run_dir, stdin=False)
    good = attach.connect(server.run_dir, stdin=False)
    sent = got = 0
    while not server.do(server.clients.congested):
        server.do(lambda: server.clients.output(wire.STDOUT, bytes(wire.CHUNK)))
        sent += wire.CHUNK
        got += len(os.read(good, wire.CHUNK + 16)) - 1
        assert sent < 64 << 20
    assert got == sent
    server.until(lambda: not server.clients.congested())
    assert server.do(lambda: len(server.clients._all)) == 1
    while os.read(stuck, wire.CHUNK + 16):
        pass  # what was sent before it got stuck, then the end of the stream
    os.close(stuck)
    os.close(good)


def test_a_slow_client_is_waited_for(server, monkeypatch):
    monkeypatch.setattr(clients, "STUCK_NS", 200_000_000)
    slow = attach.connect(server.run_dir, stdin=False)
    while not server.do(server.clients.congested):
        server.do(lambda: server.clients.output(wire.STDOUT, bytes(wire.CHUNK)))
    for _ in range(5):
        assert os.read(slow, wire.CHUNK + 16)
        server.do(server.clients.congested)
        time.sleep(0.1)
    server.do(server.clients.congested)
    assert server.do(lambda: len(server.clients._all)) == 1
    os.close(slow)


def test_a_client_with_hold_is_waited_for(server):
    ours, theirs = wire.pair()
    ours.send(wire.hello(output=True, hold=True))
    server.do(lambda: server.clients.add(theirs))
    assert ours.recv(100)[0] == wire.WELCOME
    sent = 0
    while not server.do(server.clients.congested):
        server.do(lambda: server.clients.output(wire.STDOUT, bytes(wire.CHUNK)))
        sent += wire.CHUNK
        assert sent < 64 << 20
    server.do(lambda: server.clients.exited(wire.exit_packet(0, False)))
    got = 0
    while True:
        packet = ours.recv(wire.CHUNK + 16)
        if packet[0] == wire.EXIT:
            break
        got += len(packet) - 1
    assert got == sent
    assert not server.do(server.clients.unsent)
    assert server.do(lambda: server.clients.attended)
    ours.close()


def test_input_counts_only_from_clients_that_said_so(server):
    deaf = wire.connect(server.run_dir)
    deaf.send(wire.hello(output=True))
    deaf.send(bytes((wire.STDIN,)) + b"no")
    deaf.send(wire.resize(1, 2))
    typing = wire.connect(server.run_dir)
    typing.send(bytes((wire.STDIN,)) + b"before hello")
    typing.send(wire.hello(stdin=True))
    typing.send(bytes((wire.STDIN,)) + b"yes")
    typing.send(bytes((wire.STDIN_END,)))
    typing.send(bytes((wire.STDIN,)) + b"after the end")
    server.until(lambda: len(server.packets) >= 3)
    typing.close()
    deaf.close()
    server.until(lambda: not server.clients._all)
    assert sorted(server.packets) == sorted(
        [wire.resize(1, 2), bytes((wire.STDIN,)) + b"yes", bytes((wire.STDIN_END,))]
    )


@pytest.mark.parametrize(("detach", "ends"), [(True, 0), (False, 1)])
def test_a_client_that_vanishes_ends_the_input_but_not_one_that_detaches(server, detach, ends):
    sock = wire.connect(server.run_dir)
    sock.send(wire.hello(stdin=True))
    if detach:
        sock.send(bytes((wire.DETACH,)))
    server.until(lambda: detach or server.clients._all)
    sock.close()
    server.until(lambda: not server.clients._all)
    assert server.packets == [bytes((wire.STDIN_END,))] * ends


def test_input_waits_in_the_socket_while_the_container_is_slow(server):
    sock = wire.connect(server.run_dir)
    sock.send(wire.hello(stdin=True))
    server.until(lambda: any(client.greeted for client in server.clients._all.values()))
    server.do(lambda: server.clients.pause_stdin(True))
    sock.send(bytes((wire.STDIN,)) + b"one")
    time.sleep(0.05)
    assert server.packets == []
    server.do(lambda: server.clients.pause_stdin(False))
    server.until(lambda: server.packets)
    server.do(lambda: server.clients.pause_stdin(True))
    sock.send(bytes((wire.STDIN,)) + b"two")
    sock.close()  # gone: nothing is gained by waiting, and what it sent is not lost
    server.until(lambda: not server.clients._all)
    assert server.packets[1] == bytes((wire.STDIN,)) + b"two"


# -- streams ----------------------------------------------------------------------------------------------------------


def test_fifos_keep_what_nobody_read_and_never_end(tmp_path):
    streams.make_fifos(str(tmp_path))
    inner = streams.open_fifo(str(tmp_path), "stdout", for_container=True)
    os.write(inner, b"before")
    events = loop.Loop()
    got = []
    output = streams.Output(events, streams.open_fifo(str(tmp_path), "stdout", for_container=False), got.append)
    events.turn(1000)
    os.close(inner)
    events.turn(0)
    assert got == [b"before"]
    again = os.open(tmp_path / "stdout", os.O_WRONLY)
    os.write(again, b"after")
    output.pause(True)
    events.turn(0)
    assert got == [b"before"]
    output.pause(False)
    output.drain()
    assert got == [b"before", b"after"]
    output.close()
    os.close(again)


def test_input_larger_than_the_pipe_arrives_whole_and_then_ends():
    events = loop.Loop()
    full = []
    inner, outer = streams.input_pipe()
    source = streams.Input(events, outer, full.append)
    data = os.urandom(300_000)
    source.feed(data)
    assert full == [True]
    source.end()
    got = b""
    while True:
        part = os.read(inner, 65536)
        if not part:
            break
        got += part
        events.turn(0)
    assert got == data
    assert full == [True, False]
    os.close(inner)


def test_input_that_nobody_reads_is_dropped():
    inner, outer = streams.input_pipe()
    source = streams.Input(loop.Loop(), outer, lambda full: None)
    os.close(inner)
    source.feed(b"x")
    source.feed(b"y")
    assert source.fd == -1


# -- the client's side ------------------------------------------------------------------------------------------------


class Pump:
    """attach_terminal in a process of its own, its descriptors in our hands."""

    def __init__(self, *, terminal=False, stdin=True, tty=None, **options):
        tty = terminal if tty is None else tty
        self.sock, theirs = wire.pair()
        if terminal:
            self.master, slave = pty.openpty()
            self.before = termios.tcgetattr(slave)
            self.slave = slave
            ends = {"stdin_fd": slave, "stdout_fd": slave, "stderr_fd": slave}
        else:
            inputs, outputs, errors = os.pipe(), os.pipe(), os.pipe()
            self.stdin, self.stdout, self.stderr = inputs[1], outputs[0], errors[0]
            ends = {"stdin_fd": inputs[0], "stdout_fd": outputs[1], "stderr_fd": errors[1]}
        self.pid = os.fork()
        if self.pid == 0:
            status = 99
            try:
                self.sock.close()
                if not terminal:
                    for fd in (self.stdin, self.stdout, self.stderr):
                        os.close(fd)
                code = attach.attach_terminal(theirs.detach(), tty=tty, stdin=stdin, **ends, **options)
                status = 98 if code is None else code
            except attach.MonitorLost:
                status = 97
            except BrokenPipeError:
                status = 96
            finally:
                os._exit(status)
        theirs.close()
        if not terminal:
            for fd in ends.values():
                os.close(fd)

    def until_raw(self):
        end = time.monotonic() + 10
        while termios.tcgetattr(self.slave)[3] & termios.ECHO:
            assert time.monotonic() < end
            time.sleep(0.005)

    def status(self):
        self.sock.close()
        return os.waitpid(self.pid, 0)[1]


def test_streams_are_joined_and_the_code_comes_back():
    pump = Pump()
    os.write(pump.stdin, b"typed")
    assert pump.sock.recv(100) == bytes((wire.STDIN,)) + b"typed"
    os.close(pump.stdin)
    assert pump.sock.recv(100) == bytes((wire.STDIN_END,))
    pump.sock.send(bytes((wire.STDOUT,)) + b"out")
    pump.sock.send(bytes((wire.STDERR,)) + b"err")
    assert os.read(pump.stdout, 10) == b"out"
    assert os.read(pump.stderr, 10) == b"err"
    pump.sock.send(wire.exit_packet(42, False))
    assert os.waitstatus_to_exitcode(os.waitpid(pump.pid, 0)[1]) == 42


def test_detaching_says_so_and_keeps_everything_typed_before():
    pump = Pump(terminal=True)
    pump.until_raw()
    os.write(pump.master, b"ab\x10c\x10\x11")
    got = b""
    while True:
        packet = pump.sock.recv(100)
        if packet[0] == wire.DETACH:
            break
        got += packet[1:]
    assert got == b"ab\x10c"
    assert os.waitstatus_to_exitcode(pump.status()) == 98
    assert termios.tcgetattr(pump.slave) == pump.before


def test_the_terminal_is_raw_meanwhile_and_restored_whatever_happens():
    pump = Pump(terminal=True)
    pump.until_raw()
    os.kill(pump.pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pump.pid, 0)[1]) == -signal.SIGTERM
    assert termios.tcgetattr(pump.slave) == pump.before


def test_a_lost_monitor_restores_the_terminal_and_is_an_error():
    pump = Pump(terminal=True)
    assert os.waitstatus_to_exitcode(pump.status()) == 97
    assert termios.tcgetattr(pump.slave) == pump.before


def test_the_windows_size_follows():
    import fcntl

    pump = Pump(terminal=True)
    pump.until_raw()
    fcntl.ioctl(pump.master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    os.kill(pump.pid, signal.SIGWINCH)
    assert pump.sock.recv(100) == wire.resize(33, 99)
    pump.sock.send(wire.exit_packet(0, False))
    assert os.waitstatus_to_exitcode(os.waitpid(pump.pid, 0)[1]) == 0


def test_signals_are_passed_on_without_a_terminal():
    pump = Pump()
    os.write(pump.stdin, b"ready")
    pump.sock.recv(100)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        os.kill(pump.pid, number)
        assert pump.sock.recv(100) == bytes((wire.SIGNAL, number))
    pump.sock.send(wire.exit_packet(0, False))
    assert os.waitstatus_to_exitcode(os.waitpid(pump.pid, 0)[1]) == 0


def test_a_reader_that_goes_away_ends_the_client():
    pump = Pump()
    os.close(pump.stdout)
    pump.sock.send(bytes((wire.STDOUT,)) + b"out")
    assert os.waitstatus_to_exitcode(pump.status()) == 96


def test_an_unknown_exit_is_no_zero():
    pump = Pump()
    pump.sock.send(wire.exit_packet(None, False))
    assert os.waitstatus_to_exitcode(pump.status()) == 97


def test_large_output_is_complete_through_a_slow_non_blocking_reader():
    pump = Pump()
    sent = os.urandom(1 << 20)

    def feed():
        for start in range(0, len(sent), wire.CHUNK):
            pump.sock.send(bytes((wire.STDOUT,)) + sent[start : start + wire.CHUNK])
        pump.sock.send(wire.exit_packet(0, False))

    thread = threading.Thread(target=feed)
    thread.start()
    got = b""
    while len(got) < len(sent):
        got += os.read(pump.stdout, 5000)
    thread.join()
    assert got == sent
    assert os.waitstatus_to_exitcode(pump.status()) == 0


def test_signals_get_through_while_the_container_writes_without_end():
    pump = Pump()
    os.write(pump.stdin, b"ready")
    pump.sock.recv(100)
    os.set_blocking(pump.stdout, False)
    pump.sock.setblocking(False)
    told = False
    end = time.monotonic() + 10
    while not told:
        assert time.monotonic() < end
        for act in (
            lambda: pump.sock.send(bytes((wire.STDOUT,)) + bytes(1000)),
            lambda: os.read(pump.stdout, 3000),
        ):
            try:
                act()
            except BlockingIOError:
                pass
        os.kill(pump.pid, signal.SIGUSR1)
        try:
            told = pump.sock.recv(100)[0] == wire.SIGNAL
        except BlockingIOError:
            pass
    pump.sock.setblocking(True)
    os.kill(pump.pid, 9)
    os.waitpid(pump.pid, 0)
