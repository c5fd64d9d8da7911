# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking other name servers what no container answers to: one socket for each question, several questions at once.

Each question has a socket and an id of its own, both by chance, and believes only its server's answer to it. A server
that fails, refuses, or says nothing for four seconds is followed by the next; after the last the question has failed.
The sockets are the host's: a server at 127.0.0.53 is the host's own. Nothing here waits.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct
import time

from ..network import resolver
from . import loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ..network.resolver import Query

    Done = Callable[[bytes | None], None]

TIMEOUT_NS = 4_000_000_000  # as docker's
MOST_SERVERS = 3  # as resolv.conf(5)
MOST_QUESTIONS = 128  # each is a descriptor, of which all of them have a quarter at most
HOST_FILE = "/etc/resolv.conf"
_PORT = 53
_LOCAL = ("127.0.0.1",)  # resolv.conf(5): the server that a host without any has


class HostServers:
    """The host's name servers, read anew whenever its file has changed."""

    def __init__(self, path: str = HOST_FILE) -> None:
        self._path = path
        self._seen: tuple[int, ...] = ()
        self._servers: tuple[str, ...] = _LOCAL

    def __call__(self) -> tuple[str, ...]:
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_ino, status.st_dev, status.st_size)
            if seen != self._seen:
                with open(self._path, "rb", buffering=0) as file:
                    text = (file.read(1 << 16) or b"").decode("utf-8", "replace")
                self._servers = parse(text) or _LOCAL
                self._seen = seen
        except OSError:
            pass  # it is being replaced: what we know is good enough until then
        return self._servers


def parse(text: str) -> tuple[str, ...]:
    """Return the addresses of the first name servers in a resolv.conf(5)."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            found.append(words[1])
    return tuple(found[:MOST_SERVERS])


def server_address(server: str) -> tuple[int, Any]:
    """Return (address family, socket address) of a server, which may be a link-local one. Raises OSError."""
    host, _percent, link = server.partition("%")
    if ":" not in host:
        _socket.inet_pton(_socket.AF_INET, host)  # a name would be looked up, by us
        return _socket.AF_INET, (host, _PORT)
    _socket.inet_pton(_socket.AF_INET6, host)
    scope = (int(link) if link.isdigit() else _socket.if_nametoindex(link)) if link else 0
    return _socket.AF_INET6, (host, _PORT, 0, scope)


class Question:
    """One query on its way through the servers. done gets the answer of one of them, or None."""

    def __init__(self, owner: Questions, query: Query, servers: list[str], done: Done, *, stream: bool) -> None:
        self._owner = owner
        self._query = query
        self._servers = servers
        self._done = done
        self._stream = stream
        self._socket: _socket.socket | None = None
        self._fd = -1
        self._identity = 0
        self._out = b""
        self._in = bytearray()
        self.deadline = 0

    def next_server(self) -> None:
        """Ask the next server, if there is one; an answer, or that there is none, is told to done."""
        self._close()
        while self._servers:
            server = self._servers.pop(0)
            try:
                self._ask(server)
            except (OSError, ValueError):
                self._close()
                continue
            self.deadline = time.monotonic_ns() + TIMEOUT_NS
            self._owner.waits(self)
            return
        self.end(None)

    def _ask(self, server: str) -> None:
        family, address = server_address(server)
        self._identity = int.from_bytes(os.urandom(2), "big")
        message = resolver.renamed(self._query, self._identity)
        kind = _socket.SOCK_STREAM if self._stream else _socket.SOCK_DGRAM
        self._socket = self._owner.open(server, family, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        self._fd = self._socket.fileno()
        failed = self._socket.connect_ex(address)
        if failed and failed != errno.EINPROGRESS:
            raise OSError(failed, os.strerror(failed))
        if self._stream:
            self._out = struct.pack(">H", len(message)) + message
            self._in = bytearray()
            self._owner.loop.watch(self._fd, loop.WRITE, self._writable)
        else:
            self._socket.send(message)
            self._owner.loop.watch(self._fd, loop.READ, self._datagram)

    def _datagram(self, _events: int) -> None:
        try:
            response = os.read(self._fd, resolver.MAX_TCP)
        except BlockingIOError:
            return
        except OSError:
            self.next_server()  # nobody listens there
            return
        if resolver.valid(self._query, self._identity, response):
            self._judge(response)  # anything else is a forgery, or late: the true answer may still come

    def _writable(self, _events: int) -> None:
        try:
            sent = os.write(self._fd, self._out)
        except BlockingIOError:
            return
        except OSError:
            self.next_server()
            return
        self._out = self._out[sent:]
        if not self._out:
            self._owner.loop.watch(self._fd, loop.READ, self._readable)

    def _readable(self, _events: int) -> None:
        try:
            data = os.read(self._fd, resolver.MAX_TCP)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._in += data
        size = int.from_bytes(self._in[:2], "big") + 2
        if len(self._in) >= max(size, 3):
            response = bytes(self._in[2:size])
            if resolver.valid(self._query, self._identity, response):
                self._judge(response)
            else:
                self.next_server()
        elif not data:
            self.next_server()

    def _judge(self, response: bytes) -> None:
        if resolver.code_of(response) in (resolver.SERVER_FAILURE, resolver.REFUSED):
            self.next_server()
        else:
            self.end(response)

    def end(self, response: bytes | None) -> None:
        """Be over, with an answer or without."""
        self._close()
        self._owner.over(self)
        self._done(response)

    def drop(self) -> None:
        """Be over, and nobody is to know."""
        self._close()
        self._owner.over(self)

    def _close(self) -> None:
        if self._socket is not None:
            self._owner.loop.unwatch(self._fd)
            self._socket.close()
            self._socket = None
            self._fd = -1


class Questions:
    """All questions of one container. open(server, family, type): makes a socket for asking a server."""

    def __init__(self, events: Any, open_socket: Callable[[str, int, int], _socket.socket]) -> None:
        self.loop = events
        self.open = open_socket
        self._waiting: dict[Question, None] = {}  # in the order of their deadlines
        self._most = min(MOST_QUESTIONS, os.sysconf("SC_OPEN_MAX") // 4)

    @property
    def next_ns(self) -> int:
        """When the first of them has waited long enough; 0: none waits."""
        for question in self._waiting:
            return question.deadline
        return 0

    @property
    def full(self) -> bool:
        return len(self._waiting) >= self._most

    def ask(self, query: Query, servers: tuple[str, ...], done: Done, *, stream: bool) -> None:
        """Put a query to the servers, one after another. stream: by TCP."""
        Question(self, query, list(servers[:MOST_SERVERS]), done, stream=stream).next_server()

    def due(self, now_ns: int) -> None:
        for question in [one for one in self._waiting if one.deadline <= now_ns]:
            question.next_server()

    def waits(self, question: Question) -> None:
        self._waiting.pop(question, None)
        self._waiting[question] = None

    def over(self, question: Question) -> None:
        self._waiting.pop(question, None)

    def close(self) -> None:
        for question in list(self._waiting):
            question.drop()
