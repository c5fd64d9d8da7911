# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client's way to a monitor that is forked instead of booted: the nursery of its engine root, started when absent.

A process inherits more than memory, and a forked monitor inherits it from the nursery instead of from its client. So
everything that could make a difference to a container is part of the name of the nursery's socket: who differs in any
of it has another nursery. Whatever fails here, the caller boots a monitor of its own.
"""

from __future__ import annotations

import _socket
import fcntl
import marshal
import os
import select
import struct

from ..linux import features, process
from ..runtime import seal
from ..settings import sha256
from . import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOCK = "nursery.lock"
_PREFIX = "nursery."
_PATIENCE = 2.0  # seconds that the nursery may take to fork; a host under load may need some of it
_BOOTING = 10.0  # and to be started, where an emulated processor may need them
_BACKLOG = 256
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "user", "uts")
# Of /proc/self/status, what a child inherits.
_INHERITED = (
    b"Uid", b"Gid", b"Groups", b"CapInh", b"CapPrm", b"CapEff", b"CapBnd", b"CapAmb", b"NoNewPrivs", b"Seccomp",
    b"Seccomp_filters", b"Cpus_allowed", b"Mems_allowed",
)  # fmt: skip
_ROOMS = ("", "linux", "runtime", "network", "supervise")  # the sources that monitors run


class Forked:
    """A monitor that is being forked. pid and start_time: after ready(). own: it is our child, to be waited for."""

    own = False

    def __init__(self, run_root: str, fds: dict[int, int]) -> None:
        """fds: as seal.Beginning takes them. Raises OSError when there is nobody to ask, and nobody could be made."""
        self.pid = self.start_time = 0
        self.nursery = 0  # pid of the nursery if it was started here
        self._life = -1
        self._sock: Any = None
        self._path = f"{run_root}/{_PREFIX}{key()}"
        reader, self._writer = os.pipe2(os.O_CLOEXEC)
        try:
            self._sock = self._reach(run_root)
            sent = struct.pack(f"={1 + len(fds)}i", reader, *(fd for _place, fd in sorted(fds.items())))
            self._sock.sendmsg([wire.FORK], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, sent)])
        except BaseException:
            self.drop()
            raise
        finally:
            os.close(reader)

    def ready(self) -> bool:
        """Wait for the new process; whether it came. To be called before give()."""
        try:
            poll = select.poll()
            poll.register(self._sock.fileno(), select.POLLIN)
            patience = _BOOTING if self.nursery else _PATIENCE
            if poll.poll(patience * 1000):
                answer = self._sock.recv(64)
            else:
                answer = b""
                os.unlink(self._path)  # it hangs: the next one shall not wait for it too, but start another
        except OSError:
            answer = b""
        finally:
            self._sock.close()
        if len(answer) != struct.calcsize(wire.BORN):
            return False
        self.pid, self.start_time = struct.unpack(wire.BORN, answer)
        return True

    def give(self, request: dict[str, object]) -> None:
        """Hand over the request. That the process is dead is found out elsewhere."""
        writer, self._writer = self._writer, -1
        seal.hand_over(writer, dict(request, oom_score_adj=_oom_score_adj()))

    def drop(self) -> None:
        """Let it end if it was given no request."""
        for fd in (self._writer, self._life):
            if fd >= 0:
                os.close(fd)
        self._writer = self._life = -1
        if self._sock is not None:
            self._sock.close()

    def kill(self) -> None:
        process.send_signal(self.pid, self.start_time, 9)

    def _reach(self, run_root: str) -> _socket.socket:
        """Return a connection to the nursery; it may only just have been started."""
        name = os.path.basename(self._path)
        sock = wire.reach(run_root, name, wait=False)
        if sock is not None:
            return sock
        os.makedirs(run_root, 0o700, exist_ok=True)
        lock = os.open(f"{run_root}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # for microseconds: who comes second finds a socket to wait at
            sock = wire.reach(run_root, name, wait=False)
            if sock is not None:
                return sock
            listener = listen(run_root, name)
        finally:
            os.close(lock)
        try:
            self._start(run_root, listener)
            sock = wire.reach(run_root, name, wait=False)
        finally:
            listener.close()
        if sock is None:
            raise ConnectionRefusedError
        return sock

    def _start(self, run_root: str, listener: _socket.socket) -> None:
        reader, self._life = os.pipe2(os.O_CLOEXEC)
        folder = -1
        try:
            folder = os.open(run_root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            fds = {wire.LISTEN_FD: listener.fileno(), wire.LIFE_FD: reader, wire.FOLDER_FD: folder}
            self.nursery = seal.spawn("supervise.nursery", fds=fds)
        finally:
            os.close(reader)
            if folder >= 0:
                os.close(folder)


def key() -> str:
    """Name what a nursery must have in common with its client: 16 hex digits."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    program = os.stat(seal.interpreter())
    root = os.stat("/")
    parts = [
        package, sorted(features.without()), (program.st_dev, program.st_ino, program.st_mtime_ns),
        (root.st_dev, root.st_ino), os.getpriority(os.PRIO_PROCESS, 0), [_inode(kind) for kind in _NAMESPACES],
        [line for line in _read("/proc/self/status").split(b"\n") if line.partition(b":")[0] in _INHERITED],
        _read("/proc/self/limits"), _read("/proc/self/attr/current"),
        # Where systemd rules, monitors move to a group of their own; elsewhere they stay in their client's.
        b"" if os.path.isdir("/run/systemd/system") else _read("/proc/self/cgroup"),
        [_sources(os.path.join(package, room)) for room in _ROOMS],
    ]  # fmt: skip
    return sha256(marshal.dumps(parts, 2))[:16]


def _inode(kind: str) -> int:
    try:
        return os.stat(f"/proc/self/ns/{kind}").st_ino
    except OSError:
        return 0


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(16384) or b""
    except OSError:
        return b""


def _sources(folder: str) -> list[tuple[str, int, int]]:
    """The sources of a room as they are now: a nursery that runs older ones is another one's."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                status = entry.stat()
                found.append((entry.name, status.st_mtime_ns, status.st_size))
    return sorted(found)


def _oom_score_adj() -> bytes:
    return _read("/proc/self/oom_score_adj").strip()


def listen(run_root: str, name: str) -> _socket.socket:
    """Return the socket that a nursery will serve; clients may connect, and wait, from now on."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    folder = -1
    try:
        folder = os.open(run_root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        for stale in os.listdir(run_root):  # of nurseries that were killed, or never came to listen
            if stale.startswith(_PREFIX) and stale != LOCK and (stale == name or _refused(run_root, stale)):
                os.unlink(stale, dir_fd=folder)
        sock.bind(f"/proc/self/fd/{folder}/{name}")
        os.chmod(name, 0o600, dir_fd=folder)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    finally:
        if folder >= 0:
            os.close(folder)
    return sock


def _refused(run_root: str, name: str) -> bool:
    try:
        sock = wire.reach(run_root, name, wait=False)
    except OSError:
        return False
    if sock is not None:
        sock.close()
    return sock is None
