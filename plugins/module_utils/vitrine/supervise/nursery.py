# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that monitors are forked from, so that they share its memory and need no start of an interpreter.

It is executed like a monitor (runtime.seal), imports what monitors need, and then sleeps. It never sees a request: when
a client connects it forks, and the new process, which is not its child, takes the client's packet with the descriptors
that a booted monitor would have been given, closes all others, answers with its pid and becomes the monitor. So no
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

from ..linux import clone, features, memory, prctl, process
from ..runtime import entry, seal
from . import dozing, monitor, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PLACES = (seal.PAYLOAD_FD, wire.STATUS_FD, wire.CLIENT_FD)
_CMSG_CLOEXEC = 0x40000000  # MSG_CMSG_CLOEXEC
_HIGH = 20  # descriptors that are put in place wait above this
_PATIENCE = 2.0  # seconds for a request to come


def main() -> int:
    """Entry point of the process."""
    monitor.stand_apart()
    _warm_up()
    nursery = Nursery()
    connection = nursery.serve()
    if connection < 0:
        return 0
    return _become_monitor(connection, nursery.who)


class Nursery:
    """The loop. It does as little as it can: what it writes to its memory, no child shares with the next one.

    who: its pid and start time.
    """

    def __init__(self) -> None:
        self.who = (os.getpid(), process.start_time(os.getpid()) or 0)
        self._starter = os.getppid()
        self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, wire.LISTEN_FD)
        self._listener.setblocking(False)

    def serve(self) -> int:
        """Return -1 when the last monitor is gone; in each new process the connection of who asked for it."""
        poll = select.poll()
        poll.register(wire.LISTEN_FD, select.POLLIN)
        poll.register(wire.LIFE_FD, 0)  # tells of the hang-up alone
        while True:
            memory.let_go()
            ready = poll.poll()
            if ready[0][0] != wire.LISTEN_FD:  # who wants to be served comes first
                self._leave()
                return -1
            try:
                connection, _address = self._listener._accept()  # type: ignore[attr-defined]
            except OSError:
                continue  # it is gone again
            try:
                if not self._clone():
                    self._listener.detach()  # its number will be another descriptor's
                    return int(connection)
            except OSError:
                pass  # no more processes: the client tries it itself, and says why it cannot
            os.close(connection)

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
    """Return the descriptors that come with a request; none for what is no request."""
    _pid, uid, _gid = struct.unpack("=iII", sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))
    if uid not in (0, os.geteuid()):
        return []
    sock.settimeout(_PATIENCE)  # it is sent right after connecting
    try:
        data, ancillary, _flags, _address = sock.recvmsg(16, 256, _CMSG_CLOEXEC)
    except OSError:
        return []
    fds: list[int] = []
    for level, kind, content in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
            fds += struct.unpack(f"={len(content) // 4}i", content[: len(content) // 4 * 4])
    return fds if data == wire.FORK and 2 <= len(fds) <= len(_PLACES) else []


def _warm_up() -> None:
    """Do once what monitors would each do, and collect no garbage: either would part memory that could be shared."""
    from .. import lightjson  # noqa: F401
    from ..network import links, ports  # noqa: F401

    process.boot_id()
    for name in features.PROBED:
        features.has(name)
    memory.learn()
    gc.disable()
    gc.freeze()


def _become_monitor(connection: int, nursery: tuple[int, int]) -> int:
    """In the new process: hold nothing but what was sent, say who we are, and go on as a booted monitor does."""
    life = os.open(f"/proc/self/fd/{wire.LIFE_FD}", os.O_WRONLY | os.O_CLOEXEC)
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, connection)
    fds = _receive(sock)
    if not fds:
        return 0
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH) for fd in (*fds, life, sock.detach())]
    keep = {0, 1, 2, *high[-2:]}
    for place, fd in zip(_PLACES, high[: len(fds)]):
        os.dup2(fd, place, inheritable=False)
        keep.add(place)
    entry.close_others(tuple(keep))
    os.setsid()
    prctl.set_name("vitrine-monitor")
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, high[-1])
    pid = os.getpid()
    try:
        sock.send(struct.pack(wire.BORN, pid, process.start_time(pid) or 0), _socket.MSG_NOSIGNAL)
    except OSError:
        return 0  # it waits no longer
    sock.close()
    gc.enable()  # what was there before the fork is left alone: gc.freeze()
    attached = len(fds) == len(_PLACES)  # then there is something to do from the beginning
    return monitor.live(nursery) if attached or not features.has("pidfd") else dozing.live(nursery)
