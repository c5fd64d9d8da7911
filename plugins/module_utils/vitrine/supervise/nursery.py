# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that monitors are forked from, so that they share its memory and need no start of an interpreter.

It is executed like a monitor (runtime.seal), imports what monitors need, and then sleeps. It never sees a request: a
client sends it one packet with the descriptors that a booted monitor would have been given, it forks twice, and the
grandchild, which is nobody's child and holds nothing else, answers with its pid and becomes the monitor. So no
container's environment or terminal can be found in another one's monitor.

It lives no longer than the monitors: each holds the writing end of a pipe of which it holds the reading end, and so
does the client that started it, until that one has a monitor. forking.py is the clients' side.
"""

from __future__ import annotations

import _socket
import fcntl
import gc
import os
import select
import struct

from ..linux import clone, features, prctl, process
from ..runtime import entry, seal
from . import monitor, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PLACES = (seal.PAYLOAD_FD, wire.STATUS_FD, wire.CLIENT_FD)
_CMSG_CLOEXEC = 0x40000000  # MSG_CMSG_CLOEXEC
_HIGH = 20  # descriptors that are put in place wait above this


def main() -> int:
    """Entry point of the process."""
    monitor.stand_apart()
    _warm_up()
    born = Nursery().serve()
    if born is None:
        return 0
    return _become_monitor(born)


class Born:
    """What a new process has: the connection to its client, the descriptors that came over it, what tells the nursery
    that it lives, and the nursery's pid and start time."""

    def __init__(self, sock: Any, fds: list[int], life: int, nursery: tuple[int, int]) -> None:
        self.sock = sock
        self.fds = fds
        self.life = life
        self.nursery = nursery


class Nursery:
    """The loop: connections, and who of them has asked for a monitor."""

    def __init__(self) -> None:
        self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, wire.LISTEN_FD)
        self._listener.setblocking(False)
        self._poll = select.poll()
        self._poll.register(wire.LISTEN_FD, select.POLLIN)
        self._poll.register(wire.LIFE_FD, 0)  # tells of the hang-up alone
        self._waiting: dict[int, Any] = {}
        self._starter = os.getppid()
        self._self = (os.getpid(), process.start_time(os.getpid()) or 0)

    def serve(self) -> Born | None:
        """Return None when the last monitor is gone; in each new process what it was given."""
        while True:
            ready = [fd for fd, _events in self._poll.poll()]
            if ready == [wire.LIFE_FD]:  # after all that came before it
                self._leave()
                return None
            for fd in ready:
                if fd == wire.LISTEN_FD:
                    self._accept()
                elif fd != wire.LIFE_FD:
                    sock = self._waiting.pop(fd)
                    self._poll.unregister(fd)
                    born = self._fork(sock)
                    if born is not None:
                        return born
                    sock.close()

    def _accept(self) -> None:
        while True:
            try:
                fd, _address = self._listener._accept()  # type: ignore[attr-defined]
            except OSError:
                return
            sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)
            _pid, uid, _gid = struct.unpack("=iII", sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))
            if uid not in (0, os.geteuid()):
                sock.close()
                continue
            os.set_inheritable(fd, False)
            self._waiting[fd] = sock
            self._poll.register(fd, select.POLLIN)

    def _fork(self, sock: Any) -> Born | None:
        """Serve one request; return something in the new process only."""
        fds = _receive(sock)
        try:
            if len(fds) < 2:
                return None
            child = self._clone()
            if not child:
                life = os.open(f"/proc/self/fd/{wire.LIFE_FD}", os.O_WRONLY | os.O_CLOEXEC)
                born, fds = Born(sock, fds, life, self._self), []
                return born
            return None
        except OSError:
            return None  # no more processes: the client tries it itself, and says why it cannot
        finally:
            for fd in fds:
                os.close(fd)

    def _clone(self) -> int:
        """Fork a process that is nobody's to wait for but the host's init (or subreaper): 0 in that one."""
        if os.getppid() != self._starter:  # the command that started us has ended, so that init is our parent
            return clone.clone(clone.CLONE_PARENT)[0]
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return child
        grandchild = -1
        try:
            grandchild = os.fork()
        finally:
            if grandchild:
                os._exit(0)
        return 0

    def _leave(self) -> None:
        """The name goes first: who connected already sees the end of the stream, who comes now starts another."""
        name = os.path.basename(self._listener.getsockname())
        try:
            os.unlink(name, dir_fd=wire.FOLDER_FD)
        except OSError:
            pass
        self._listener.close()


def _receive(sock: Any) -> list[int]:
    try:
        data, ancillary, _flags, _address = sock.recvmsg(16, 256, _CMSG_CLOEXEC)
    except OSError:
        return []
    fds: list[int] = []
    for level, kind, content in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            fds += struct.unpack(f"={len(content) // 4}i", content[: len(content) // 4 * 4])
    if data == wire.FORK and len(fds) <= len(_PLACES):
        return fds
    for fd in fds:
        os.close(fd)
    return []


def _warm_up() -> None:
    """Do once what monitors would each do, and collect no garbage: either would part memory that could be shared."""
    from .. import lightjson  # noqa: F401
    from ..network import links, ports  # noqa: F401

    process.boot_id()
    for name in features.PROBED:
        features.has(name)
    gc.disable()
    gc.freeze()


def _become_monitor(born: Born) -> int:
    """In the new process: hold nothing but what was sent, say who we are, and go on as a booted monitor does."""
    keep = {0, 1, 2}
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH) for fd in (*born.fds, born.life, born.sock.fileno())]
    born.sock.detach()
    for place, fd in zip(_PLACES, high[: len(born.fds)]):
        os.dup2(fd, place, inheritable=False)
        keep.add(place)
    keep.update(high[-2:])
    entry.close_others(tuple(keep))
    os.setsid()
    prctl.set_name("vitrine-monitor")
    answers = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, high[-1])
    pid = os.getpid()
    try:
        answers.send(struct.pack(wire.BORN, pid, process.start_time(pid) or 0), _socket.MSG_NOSIGNAL)
    except OSError:
        return 0  # it waits no longer
    answers.close()
    return monitor.live(born.nursery)
