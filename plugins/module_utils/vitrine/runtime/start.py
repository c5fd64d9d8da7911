# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The monitor's side of a container's start: clone init, let it go on when the network is wired, hear how it went."""

from __future__ import annotations

import errno
import os
import select

from ..errors import StartFailed
from ..linux import clone, features, namespaces, process
from . import become, cgroups, init, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class InitProcess:
    """A container's first process. console_fd: the terminal's master after proceed(), or -1; the caller closes it."""

    def __init__(self, pid: int, sock: Any, *, sibling: bool = False) -> None:
        self.pid = pid
        self._sibling = sibling
        self.start_time = process.start_time(pid) or 0
        self.pidfd = process.pidfd_open(pid)
        self.netns_path = f"/proc/{pid}/ns/net"
        self.console_fd = -1
        self._sock = sock
        self._ready = False

    def prepare(self) -> None:
        """Wait until init needs nothing but PROCEED: all is mounted. Part of proceed(). Raises StartFailed."""
        if not self._ready:
            self._receive(wire.READY)
            self._ready = True

    def proceed(self) -> None:
        """The host's side of the network is wired: let init go on, and return when the command runs.

        Raises StartFailed, CommandNotFound or CommandNotExecutable with stage, errno and text; init is reaped then.
        """
        self.prepare()
        try:
            self._sock.send(wire.PROCEED)
        except OSError:
            pass  # it has ended: what it said before is still to be read
        self._receive(wire.EXEC)
        self._receive(b"")
        self._sock.close()

    def _receive(self, wanted: bytes) -> None:
        try:
            while True:
                kind, data, fd = wire.receive(self._sock)
                if kind == wire.CONSOLE and fd >= 0 and self.console_fd < 0:
                    self.console_fd = fd
                    continue
                if fd >= 0:
                    os.close(fd)
                if kind == wanted:
                    return
                if kind == wire.ERROR:
                    wire.raise_error(data)
                if not kind:
                    raise wire.died()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """End init, whatever it is doing, and reap it, or leave that to its parent. May be called again."""
        self._sock.close()
        if self.console_fd >= 0:
            os.close(self.console_fd)
            self.console_fd = -1
        if self.pid > 0:
            try:
                os.kill(self.pid, 9)
                if self._sibling:
                    poll = select.poll()
                    poll.register(self.pidfd, select.POLLIN)
                    poll.poll()
                else:
                    os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
            self.pid = 0
        self.close()

    def close(self) -> None:
        """Give the pidfd back; the process goes on."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def _open_joined(plan: dict[str, Any]) -> list[int]:
    fds = []
    try:
        for kind, path in plan["join"]:
            try:
                fds.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                raise StartFailed(
                    f"the {kind} namespace {path} cannot be joined: {os.strerror(error.errno or 0)}",
                    stage="namespace", errno=error.errno or 0,
                    hint="the container that owns it must be running", value=path,
                ) from None  # fmt: skip
        for pid, started in plan.get("owners", {}).items():
            # What was opened by a number that was given away again may be a stranger's, or the host's.
            if not process.alive(pid, started):
                raise StartFailed(
                    f"the namespaces of process {pid} cannot be joined: it has ended",
                    stage="namespace", errno=errno.ESRCH,
                    hint="start the container that owns them, and then this one", value=pid,
                ) from None  # fmt: skip
    except BaseException:
        for fd in fds:
            os.close(fd)
        raise
    return fds


def _confine_devices(plan: dict[str, Any]) -> None:
    """Where nobody can confine devices, a container must not be able to make nodes for them."""
    if plan["cgroup"] and plan["cgroup"]["devices"] == "none" and plan["confine_devices"]:
        become.refuse_nodes(plan["process"])


def create(plan: dict[str, Any], stdio: tuple[int, int, int] | None, *, sibling: bool = False) -> InitProcess:
    """Clone init, which enters its cgroups (cgroups.create has made them), mounts, and then waits for proceed().

    stdio: descriptors for the command's standard input, output and error; None with a terminal, or for /dev/null.
    sibling: init becomes a child of our parent, which is alone in waiting for it (the kernel must have pidfds).
    The caller has one thread and runs in the sealed interpreter. Raises StartFailed.
    """
    features.set_without(set(plan["without"]) | features.without())
    if not clone.single_threaded():
        raise StartFailed("a process with threads cannot start a container", stage="clone", errno=errno.EBUSY)
    _confine_devices(plan)
    joined = _open_joined(plan)
    null = -1
    if stdio is None:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        stdio = (null, null, null)
    cgroup_fd = cgroups.clone_fd(plan["cgroup"]) if plan["cgroup"] else -1
    ours, theirs = wire.pair()
    own_pid_namespace = -1
    try:
        for (kind, _path), fd in zip(plan["join"], joined):
            if kind == "pid":  # a process cannot change its own, only its children's
                own_pid_namespace = namespaces.open_ns("self", "pid")
                namespaces.setns(fd, namespaces.FLAGS["pid"])
        pid, inside = -1, False
        try:
            pid, inside = clone.clone(plan["new"] | (clone.CLONE_PARENT if sibling else 0), cgroup_fd)
        finally:
            if own_pid_namespace >= 0 and pid != 0:
                namespaces.setns(own_pid_namespace, namespaces.FLAGS["pid"])
        if pid == 0:
            try:
                ours.close()
                init.Init(plan, theirs, joined, inside).main(stdio)
            finally:
                os._exit(1)  # whatever happens, the monitor's own code must not go on twice
        theirs.close()
        return InitProcess(pid, ours, sibling=sibling)
    except OSError as error:
        ours.close()
        theirs.close()
        hint = "the kernel needs namespaces, and the engine root" if error.errno in (errno.EPERM, errno.EINVAL) else ""
        raise StartFailed(
            f"the container's first process cannot be made: {os.strerror(error.errno or 0)}",
            stage="clone", errno=error.errno or 0, hint=hint,
        ) from None  # fmt: skip
    finally:
        for fd in (*joined, null, cgroup_fd, own_pid_namespace):
            if fd >= 0:
                os.close(fd)
