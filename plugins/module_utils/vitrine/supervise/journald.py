# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a container that goes to systemd's journal, by its native protocol (systemd's JOURNAL_NATIVE_PROTOCOL).

One datagram for each line, or the descriptor of a sealed memory file where a datagram is too large. A journal that is
busy or restarts is waited for half a second; then lines are dropped and counted: it never blocks the container.
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import struct
import time

from ..errors import StartFailed
from ..runtime import seal
from .logfile import LineLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOCKET = "/run/systemd/journal/socket"
_PRIORITIES = {"stdout": 6, "stderr": 3}  # as docker's: info and err
_WAIT_MS = 500
_GIVE_UP_NS = 5_000_000_000  # after a wait in vain, nothing is waited for so long
_GONE = (errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOTCONN, errno.ENOENT, errno.EPIPE)


class JournalLog(LineLog):
    """options: "fields", a dict of what every entry carries; "socket", where it is not the usual one."""

    def __init__(self, options: dict[str, Any], *, adopting: bool = False) -> None:
        super().__init__(None, None)  # type: ignore[arg-type]
        self._path = options.get("socket") or SOCKET
        self._fields = b"".join([_field(name, value) for name, value in options["fields"].items()])
        self._dropped = 0
        self._patient_at = 0
        self._socket: Any = None
        if not self._connect() and not adopting:
            raise StartFailed(
                f"the log driver journald has no journal to write to: nobody listens at {self._path}",
                stage="log", hint="use another --log-driver, or start systemd-journald", value=self._path,
            )  # fmt: skip

    @property
    def dropped(self) -> int:
        return self._dropped

    def close(self, now_ns: int, *, durable: bool) -> None:
        self.flush(now_ns)
        self._disconnect()

    def settle(self) -> None:
        pass

    def _put(self, stream: str, text: bytes, stamp: str) -> None:
        head = self._fields + b"PRIORITY=%d\n" % _PRIORITIES[stream]
        lines = text.split(b"\n")
        last = lines.pop()
        for line in lines:
            self._send(head + _field("MESSAGE", line))
        if last:
            self._send(head + b"CONTAINER_PARTIAL_MESSAGE=true\n" + _field("MESSAGE", last))

    def _send(self, entry: bytes) -> None:
        for again in (False, True):
            if self._socket is None and not self._connect():
                break
            try:
                self._socket.send(entry, _socket.MSG_NOSIGNAL)
                return
            except BlockingIOError:
                if again or not self._wait():
                    break
            except OSError as error:
                if error.errno in (errno.EMSGSIZE, errno.ENOBUFS):
                    if self._send_file(entry):
                        return
                    break
                self._disconnect()
                if error.errno not in _GONE:
                    break
        self._dropped += 1

    def _send_file(self, entry: bytes) -> bool:
        fd = -1
        try:
            fd = seal.memory_file("journal")
            data = memoryview(entry)
            while data:
                data = data[os.write(fd, data) :]
            seal.seal(fd)
            rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("=i", fd))]
            self._socket.sendmsg([], rights, _socket.MSG_NOSIGNAL)
            return True
        except OSError:
            return False
        finally:
            if fd >= 0:
                os.close(fd)

    def _wait(self) -> bool:
        now = time.monotonic_ns()
        if now < self._patient_at:
            return False
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLOUT)
        if poll.poll(_WAIT_MS):
            return True
        self._patient_at = time.monotonic_ns() + _GIVE_UP_NS
        return False

    def _connect(self) -> bool:
        kind = _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        sock = _socket.socket(_socket.AF_UNIX, kind)
        try:
            sock.connect(self._path)
        except OSError:
            sock.close()
            return False
        self._socket = sock
        return True

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _field(name: str, value: str | bytes) -> bytes:
    """One field of an entry: in the form with a length where the value has a newline."""
    data = value.encode("utf-8", "replace") if isinstance(value, str) else value
    if b"\n" in data:
        return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"
