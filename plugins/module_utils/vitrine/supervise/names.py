# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The attendant that answers names inside a container, at 127.0.0.11, and lets others find the container by its own.

Sockets inside the container's network namespace take questions (network/listen.py); containers' names are looked up in
files (network/names.py, network/resolver.py); for the rest the host's name servers are asked (upstreams.py). All that
a container can make grow has an end: questions under way, connections, what is read and what is kept for sending.
"""

from __future__ import annotations

import _socket
import os
import struct
import time

from ..linux.namespaces import inside, open_ns
from ..network import listen, names, resolver
from . import loop, upstreams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ..network.resolver import Query
    from .monitor import Monitor
    from .run import Run

_BATCH = 32  # datagrams of one turn: the container's output and end must not wait for its questions
_LONGEST = 4096  # of a query
_MOST_CLIENTS = 16
_IDLE_NS = 10_000_000_000


class Names:
    """One container's. request: the monitor's, of which "names" is a scope (network/names.py)."""

    def __init__(self, request: dict[str, Any], events: Any, monitor: Monitor) -> None:
        self._monitor = monitor
        self._asked: dict[str, Any] = request["names"]
        self._run_dir = request["run_dir"]
        self._run_root = os.path.dirname(self._run_dir)
        self.loop = events
        self._registry = names.Registry(self._run_root)
        self._host_servers = upstreams.HostServers()
        self._questions = upstreams.Questions(events, self._open)
        self._pending: set[tuple[Any, bytes]] = set()
        self._clients: dict[int, _Client] = {}
        self._most_clients = min(_MOST_CLIENTS, max(1, os.sysconf("SC_OPEN_MAX") // 8))
        self._scope: dict[str, Any] = self._asked
        self._scope_seen: tuple[int, int] = (0, 0)
        self._netns = -1
        self._udp: _socket.socket | None = None
        self._tcp: _socket.socket | None = None

    # -- an attendant's life ------------------------------------------------------------------------------------------

    def begin(self, run: Run) -> None:
        """Listen in the container's network namespace, and tell the others of it. Raises OSError."""
        self._read_scope()
        names.publish(self._run_root, self._scope)
        self._netns = open_ns(run.pid, "net")
        try:
            self._udp, self._tcp = listen.open_sockets(self._netns)
        except OSError as error:  # the container took the port while it had no monitor; it can still be found
            self._monitor.note(error=f"names cannot be answered at {listen.ADDRESS}: {error.strerror}")
            return
        self.loop.watch(self._udp.fileno(), loop.READ, self._datagrams)
        self.loop.watch(self._tcp.fileno(), loop.READ, self._connection)

    def end(self) -> None:
        """Let go of everything."""
        self._questions.close()
        self._pending.clear()
        for client in list(self._clients.values()):
            client.close()
        for socket in (self._udp, self._tcp):
            if socket is not None:
                self.loop.unwatch(socket.fileno())
                socket.close()
        self._udp = self._tcp = None
        if self._netns >= 0:
            os.close(self._netns)
            self._netns = -1
        names.withdraw(self._run_root, self._asked["id"])

    @property
    def next_ns(self) -> int:
        """When a server or a client has been silent for too long; 0: nobody is waited for."""
        times = [self._questions.next_ns, *(client.deadline for client in self._clients.values())]
        return min([at for at in times if at], default=0)

    def due(self, now_ns: int) -> None:
        self._questions.due(now_ns)
        for client in [one for one in self._clients.values() if 0 < one.deadline <= now_ns]:
            client.close()

    # -- questions ----------------------------------------------------------------------------------------------------

    def _datagrams(self, _events: int) -> None:
        udp = self._udp
        for _number in range(_BATCH):
            if udp is None:
                return
            try:
                packet, sender = udp.recvfrom(_LONGEST)
            except OSError:
                return  # nothing more, or an error that an answer of ours met
            if (sender, packet) not in self._pending:
                self._take(packet, sender)

    def _take(self, packet: bytes, sender: Any) -> None:
        def send(message: bytes) -> None:
            self._pending.discard((sender, packet))
            if self._udp is not None:
                try:
                    self._udp.sendto(message, sender)
                except OSError:
                    pass  # as if it were lost on the way: who asked asks again

        self._pending.add((sender, packet))
        if not self.answer(packet, send, stream=False):
            self._pending.discard((sender, packet))

    def answer(self, packet: bytes, send: Callable[[bytes], None], *, stream: bool) -> bool:
        """Answer one message by calling send, now or later; False: it deserves no answer."""
        query, at_once = resolver.parse(packet)
        if query is None:
            if at_once is not None:
                send(at_once)
            return at_once is not None
        limit = resolver.MAX_TCP if stream else query.limit
        try:
            answer = self._known().answer(query, limit)
        except OSError:  # no descriptors are left, perhaps: the next question may find some
            answer = resolver.reply(query, resolver.SERVER_FAILURE, (), limit)
        if answer is not None:
            send(answer)
        elif self._questions.full:
            send(resolver.reply(query, resolver.REFUSED, (), limit))
        else:
            self._forward(query, limit, send, stream=stream)
        return True

    def _forward(self, query: Query, limit: int, send: Callable[[bytes], None], *, stream: bool) -> None:
        def done(response: bytes | None) -> None:
            if response is None:
                send(resolver.reply(query, resolver.SERVER_FAILURE, (), limit))
            else:
                send(resolver.relay(query, response, limit))

        servers = tuple(self._scope["upstreams"]) or self._host_servers()
        self._questions.ask(query, servers, done, stream=stream)

    def _open(self, server: str, family: int, kind: int) -> _socket.socket:
        """A socket to ask a server. A loopback address that was asked for is the container's own, as for docker."""
        made: list[_socket.socket] = []
        own = server.startswith("127.") or server == "::1"
        if own and server in self._scope["upstreams"] and self._netns >= 0:
            inside(self._netns, "net", lambda: made.append(_socket.socket(family, kind)))
        else:
            made.append(_socket.socket(family, kind))
        return made[0]

    # -- names --------------------------------------------------------------------------------------------------------

    def _read_scope(self) -> None:
        try:
            status = os.stat(os.path.join(self._run_dir, names.SCOPE))
        except OSError:
            return  # the run folder was wiped: what we know is all there is
        seen = (status.st_ino, status.st_mtime_ns)
        if seen != self._scope_seen:
            self._scope = names.read_scope(self._run_dir) or self._scope
            self._scope_seen = seen

    def _known(self) -> resolver.Scope:
        """The names that the container may know, as they are at this moment."""
        self._read_scope()
        own = {network["id"] for network in self._scope["networks"]}
        zones = [self._registry.zone(network["id"], network["name"]) for network in self._scope["networks"]]
        return resolver.Scope(zones, lambda: self._registry.others(own), internal=self._scope["internal"])

    # -- TCP ----------------------------------------------------------------------------------------------------------

    def _connection(self, _events: int) -> None:
        if self._tcp is None:
            return
        try:
            fd, _address = self._tcp._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        if len(self._clients) >= self._most_clients:  # who holds connections open holds up nobody
            min(self._clients.values(), key=lambda client: client.deadline).close()
        self._clients[fd] = _Client(self, fd)

    def forget(self, fd: int) -> None:
        """A client has closed its descriptor."""
        self._clients.pop(fd, None)


class _Client:
    """One connection: a question is read, answered, sent; then the next. Each is preceded by its length."""

    def __init__(self, owner: Names, fd: int) -> None:
        self._owner = owner
        self._fd = fd
        self._in = bytearray()
        self._out = b""
        self._asking = False  # a question is being answered
        self._working = False
        self.deadline = time.monotonic_ns() + _IDLE_NS
        os.set_blocking(fd, False)
        owner.loop.watch(fd, loop.READ, self._readable)

    def _readable(self, _events: int) -> None:
        try:
            data = os.read(self._fd, _LONGEST + 2 - len(self._in))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._in += data
            self._work()
        else:
            self.close()

    def _work(self, _events: int = 0) -> None:
        """Go on until the container has to read or write, or somebody else to answer."""
        self._working = True
        while self._fd >= 0:
            if self._out:
                if not self._write():
                    break
            elif self._asking:
                self._owner.loop.unwatch(self._fd)  # no more questions until this one has its answer
                break
            elif not self._ask():
                break
        self._working = False

    def _write(self) -> bool:
        try:
            sent = os.write(self._fd, self._out)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return False
        self._out = self._out[sent:]
        if self._out:
            self._owner.loop.watch(self._fd, loop.WRITE, self._work)
        return not self._out

    def _ask(self) -> bool:
        """Put the next question, if it is there as a whole."""
        size = int.from_bytes(self._in[:2], "big") + 2
        if size > _LONGEST:
            self.close()
            return False
        if len(self._in) < max(size, 3):
            self._owner.loop.watch(self._fd, loop.READ, self._readable)
            return False
        packet = bytes(self._in[2:size])
        del self._in[:size]
        self._asking = True
        self.deadline = time.monotonic_ns() + _IDLE_NS + upstreams.TIMEOUT_NS * upstreams.MOST_SERVERS
        if not self._owner.answer(packet, self._send, stream=True):
            self.close()
            return False
        return True

    def _send(self, message: bytes) -> None:
        self._asking = False
        if self._fd >= 0:
            self._out = struct.pack(">H", len(message)) + message
            self.deadline = time.monotonic_ns() + _IDLE_NS
            if not self._working:
                self._work()

    def close(self) -> None:
        if self._fd >= 0:
            self._owner.loop.unwatch(self._fd)
            os.close(self._fd)
            self._owner.forget(self._fd)
            self._fd = -1
