# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The monitor's side of attaching: who is connected, what each still has to get, and what they send.

A client that is slow makes the container wait, as a pipe in a shell does. One that takes nothing at all for a few
seconds is dropped, unless it asked for patience (HOLD: the command that started the container in the foreground).
"""

from __future__ import annotations

import _socket
import fcntl
import os
import struct
import time

from . import loop, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

HOLD_AT = 256 << 10  # bytes waiting for a client at which the container has to wait
STUCK_NS = 4_000_000_000
_MAX_CLIENTS = 64
_TURN = 8  # packets taken from one client before the others get their turn


class Client:
    """One connection. queue: packets that its socket did not take yet; waiting: their bytes; moved: when it last took
    something; unread: what it had not read then."""

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.queue: list[bytes] = []
        self.waiting = 0
        self.moved = 0
        self.unread = -1
        self.greeted = False
        self.stdin = False
        self.output = False
        self.hold = False
        self.told_exit = False


class Clients:
    """All connections of one monitor.

    on_packet gets (packet) of the kinds STDIN, RESIZE, SIGNAL and STOP; on_stdin_end is called when a client ends the
    container's input, in words or by vanishing.
    """

    def __init__(self, events: loop.Loop, tty: bool, on_packet: Callable[[bytes], None]) -> None:
        self._loop = events
        self._tty = tty
        self._on_packet = on_packet
        self._listener: _socket.socket | None = None
        self._all: dict[int, Client] = {}
        self._stdin_paused = False
        self._last_exit = b""
        self.closing = False

    # -- connections --------------------------------------------------------------------------------------------------

    def listen(self, run_dir: str) -> None:
        """Take connections at the run directory's socket, which is made anew."""
        if self._listener is not None:
            self._loop.unwatch(self._listener.fileno())
            self._listener.close()
        self.listen_at(wire.listen(run_dir))

    def listen_at(self, listener: _socket.socket) -> None:
        """Take connections at a socket that listens already."""
        self._listener = listener
        self._loop.watch(listener.fileno(), loop.READ, self._accept)

    @property
    def listener_fd(self) -> int:
        """Of the socket at which connections are taken; -1 for none."""
        return self._listener.fileno() if self._listener is not None else -1

    def add(self, sock: _socket.socket) -> None:
        """Serve this connection; packets that it sent already are taken at once (its HELLO, its window's size)."""
        sock.setblocking(False)
        wire.enlarge(sock)
        client = Client(sock)
        self._all[client.fd] = client
        self._watch(client)
        self._receive(client, everything=False)

    def drop(self, client: Client) -> None:
        if self._all.pop(client.fd, None) is None:
            return
        self._loop.unwatch(client.fd)
        client.sock.close()
        if client.stdin and not self.closing:
            self._on_packet(bytes((wire.STDIN_END,)))

    def close(self) -> None:
        """End every connection: clients read the end of the stream after all that was sent."""
        self.closing = True
        if self._listener is not None:
            self._loop.unwatch(self._listener.fileno())
            self._listener.close()
            self._listener = None
        for client in list(self._all.values()):
            self.drop(client)

    def _accept(self, _events: int) -> None:
        if self._listener is None:
            return
        try:
            fd, _address = self._listener._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        os.set_inheritable(fd, False)
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)
        _pid, uid, _gid = struct.unpack("=iII", sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))
        if uid not in (0, os.geteuid()) or len(self._all) >= _MAX_CLIENTS:
            sock.close()
            return
        self.add(sock)

    def _watch(self, client: Client) -> None:
        if client.fd not in self._all:
            return
        paused = self._stdin_paused and client.stdin
        events = (0 if paused else loop.READ) | (loop.WRITE if client.queue else 0)
        self._loop.watch(client.fd, events, lambda happened: self._event(client, happened))

    def _event(self, client: Client, events: int) -> None:
        if events & loop.WRITE:
            self._flush(client)
        if events & (loop.READ | loop.HANGUP):
            self._receive(client, everything=bool(events & loop.HANGUP))

    # -- to the clients -----------------------------------------------------------------------------------------------

    def output(self, stream: int, data: bytes) -> None:
        """Give what the container wrote to every client that wants output."""
        packet = b""
        for client in list(self._all.values()):
            if client.output and not client.told_exit:
                packet = packet or bytes((stream,)) + data
                self._send(client, packet)

    def exited(self, packet: bytes) -> None:
        """Tell every client that the container ended. They get no later run's output."""
        self._last_exit = packet
        for client in list(self._all.values()):
            self._tell_exit(client)

    def running(self) -> None:
        """The container was started again: who connects from now on waits for the next end."""
        self._last_exit = b""
        for client in list(self._all.values()):
            if client.told_exit and not client.queue:
                self.drop(client)

    def drop_idle(self) -> None:
        """End the connections to which nothing is left to be said, but that of a client that waits for our end."""
        for client in list(self._all.values()):
            if (client.told_exit or not client.greeted) and not client.queue and not client.hold:
                self.drop(client)

    def congested(self) -> bool:
        """Whether the container has to wait for a client. Those that are stuck are dropped here: ask again while so."""
        congested = False
        for client in list(self._all.values()):
            if client.waiting > HOLD_AT and not client.told_exit and not self._drop_stuck(client):
                congested = True
        return congested

    def _drop_stuck(self, client: Client) -> bool:
        if client.hold:
            return False
        now = time.monotonic_ns()
        unread = unread_bytes(client.sock)  # poll tells of progress only after most of the buffer was read
        if unread != client.unread:
            client.unread = unread
            client.moved = now
        stuck = now - client.moved > STUCK_NS
        if stuck:
            self.drop(client)
        return stuck

    @property
    def attended(self) -> bool:
        """Whether the command that started the container in the foreground was there for its end."""
        return any(client.told_exit and client.hold for client in self._all.values())

    def unsent(self) -> bool:
        """Whether a client has not got everything yet. Those that are stuck are dropped here."""
        unsent = False
        for client in list(self._all.values()):
            if client.queue and not self._drop_stuck(client):
                unsent = True
        return unsent

    def _tell_exit(self, client: Client) -> None:
        if client.greeted and not client.told_exit:
            client.told_exit = True
            self._send(client, self._last_exit)

    def _send(self, client: Client, packet: bytes) -> None:
        if not client.queue:
            try:
                client.sock.send(packet, _socket.MSG_NOSIGNAL)
                return
            except BlockingIOError:
                pass
            except OSError:
                self._mute(client)
                return
        client.queue.append(packet)
        client.waiting += len(packet)
        if len(client.queue) == 1:
            client.moved = time.monotonic_ns()
            self._watch(client)

    def _flush(self, client: Client) -> None:
        done = 0
        try:
            for packet in client.queue:
                client.sock.send(packet, _socket.MSG_NOSIGNAL)
                done += 1
                client.waiting -= len(packet)
        except BlockingIOError:
            pass
        except OSError:
            self._mute(client)
            return
        if done:
            client.moved = time.monotonic_ns()
            del client.queue[:done]
        self._watch(client)

    def _mute(self, client: Client) -> None:
        """It takes nothing any more, but what it sent before it went (that it detaches) is still to be read."""
        client.queue.clear()
        client.waiting = 0
        client.output = client.hold = False
        client.told_exit = True
        self._watch(client)

    # -- from the clients ---------------------------------------------------------------------------------------------

    def pause_stdin(self, paused: bool) -> None:
        """Leave in their sockets what clients send while the container does not read its standard input."""
        if paused != self._stdin_paused:
            self._stdin_paused = paused
            for client in self._all.values():
                self._watch(client)

    def _receive(self, client: Client, *, everything: bool) -> None:
        """Take packets. everything: the peer is gone, so what it left is taken although the container is slow."""
        turns = 0
        while client.fd in self._all and (everything or turns < _TURN):
            if self._stdin_paused and client.stdin and not everything:
                return
            turns += 1
            try:
                packet = client.sock.recv(wire.CHUNK + 16)
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # it left something unread; what it sent before is still to be had
            except OSError:
                packet = b""
            if not packet:
                self.drop(client)
                return
            self._packet(client, packet)

    def _packet(self, client: Client, packet: bytes) -> None:
        kind = packet[0]
        if kind == wire.HELLO and len(packet) >= 3 and not client.greeted:
            client.greeted = True
            client.stdin = bool(packet[2] & wire.WANT_STDIN)
            client.output = bool(packet[2] & wire.WANT_OUTPUT)
            client.hold = bool(packet[2] & wire.HOLD)
            self._send(client, wire.welcome(self._tty))
            if self._last_exit:
                self._tell_exit(client)
        elif kind == wire.DETACH:
            client.stdin = False
            self.drop(client)
        elif kind == wire.STDIN_END:
            if client.stdin:
                client.stdin = False
                self._on_packet(packet)
        elif kind == wire.STDIN:
            if client.stdin:
                self._on_packet(packet)
        elif kind in (wire.RESIZE, wire.SIGNAL, wire.STOP, wire.NAMED) and client.greeted:
            self._on_packet(packet)


def unread_bytes(sock: _socket.socket) -> int:
    """Return what the peer has not read yet (ioctl TIOCOUTQ; it counts the kernel's overhead too)."""
    import termios

    return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
