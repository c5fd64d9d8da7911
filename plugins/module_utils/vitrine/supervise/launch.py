# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting a container's monitor and learning from it whether the container runs.

A request is a dict of plain values (marshal takes it):
    id            64 hex digits
    run_dir       folder of its own (0700), made here when absent; forgotten by a reboot
    state_path    where the monitor records what is so (state.py)
    plan          of runtime.plan.compile_spec
    cgroup        plan of runtime.cgroups.compile, or None
    network       plan of network.plan, or None; lock_path: the lock of the host's side of networks
    log           {"driver": "json-file" | "k8s-file" | "none", "path", "max_size": bytes (0: no limit), "max_file",
                  "compress", "attrs": {}}, or {"driver": "journald", "fields": {}} (see journald.py)
    restart       {"policy", "max_retries"} (see restart.change)
    health        see health.py, or None
    stop          (signal, seconds of grace; -1: for ever) when the monitor itself ends the container
    tty, open_stdin, stdin_once, auto_remove: bools
    window        (rows, columns) of a terminal, or None
    cleanup_argv  what to execute when an auto_remove container has ended and no client is there to do it, or None
"""

from __future__ import annotations

import os
import select

from ..errors import StartFailed
from ..linux import features
from ..record import Record
from ..runtime import seal
from . import report, state, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_children: set[int] = set()


class Launched(Record):
    """A container that runs. attach_fd: for attach.attach_terminal, the caller's to close; -1 when not attached.

    ports: the published ports as lists [host_ip, host_port, container_port, protocol], with the host ports chosen.
    warnings: what the host could not give the container, though it may do without.
    """

    pid: int
    start_time: int
    monitor_pid: int
    attach_fd: int = -1
    ports: tuple[Any, ...] = ()
    warnings: tuple[str, ...] = ()


class Begun:
    """A monitor that waits for its request; our ends of its status pipe and, to be attached, of its first client.

    run_root: where the nursery is that forks it, if one can be had; "" boots it.
    """

    def __init__(self, run_root: str, *, attach: bool) -> None:
        self._attach = attach
        self._begin(run_root)

    def _begin(self, run_root: str) -> None:
        self.status, status_write = os.pipe2(os.O_CLOEXEC)
        fds = {wire.STATUS_FD: status_write}
        self.client: Any = None
        theirs = None
        try:
            if self._attach:
                self.client, theirs = wire.pair()
                fds[wire.CLIENT_FD] = theirs.fileno()
            self.process = _fork(run_root, fds) or seal.Beginning("supervise.monitor", fds)
        except BaseException:
            self._close()
            raise
        finally:
            os.close(status_write)
            if theirs is not None:
                theirs.close()

    def drop(self) -> None:
        """End it, unless it was given its request."""
        self.process.drop()
        self._close()

    def _close(self) -> None:
        if self.status >= 0:
            os.close(self.status)
            self.status = -1
        if self.client is not None:
            self.client.close()
            self.client = None

    def give(self, request: dict[str, Any], timeout: float | None) -> Launched:
        """Let it start the container; see launch()."""
        if not self.process.ready():
            self.drop()  # the nursery was killed, or hangs: whatever it may still do finds that nobody waits
            self._begin("")
        try:
            if self.process.own:
                _children.add(self.process.pid)
            try:
                if self.client is not None:
                    self.client.send(wire.hello(stdin=bool(request["open_stdin"]), output=True, hold=True))
                self.process.give(request)
            except (BrokenPipeError, ConnectionError):
                pass  # it was killed: it will not say that it started
            fields = _await_status(self.status, self.process, timeout)
            attach_fd = self.client.detach() if self.client is not None else -1
            self.client = None
        finally:
            self._close()
            self.process.drop()
        return Launched(
            pid=fields["pid"],
            start_time=fields["start_time"],
            monitor_pid=self.process.pid,
            attach_fd=attach_fd,
            ports=tuple(fields["ports"]),
            warnings=tuple(fields["warnings"]),
        )


def begin(*, attach: bool, run_root: str = "") -> Begun:
    """Have a monitor made, for a launch() that comes soon: that takes as long as making up the request.

    attach: as launch() will have it. run_root: the engine's; without, the monitor is booted instead of being forked
    (forking.py). The caller drops what it does not launch.
    """
    reap()
    return Begun(run_root, attach=attach)


def launch(
    request: dict[str, Any], *, attach: bool, status_timeout: float | None = None, begun: Begun | None = None
) -> Launched:
    """Start the container under a monitor of its own; return when its command was executed.

    attach: be connected from the first byte on; then the container waits when this client is slow. Raises what kept
    the container from starting in its own class (StartFailed, CommandNotFound, PortInUse, Conflict, ...), after the
    monitor has undone everything. status_timeout: seconds after which StartFailed is raised and the monitor killed.
    begun: the monitor to use, from begin().
    """
    _make_run_dir(request["run_dir"])
    for flag in (state.STOP_REQUESTED, state.PAUSED):
        state.set_flag(request["run_dir"], flag, False)
    once = request["stdin_once"] and attach  # as docker: only who starts it in the foreground brings all of its input
    begun = begun or begin(attach=attach, run_root=os.path.dirname(request["run_dir"]))
    return begun.give(dict(request, attached=attach, stdin_once=once), status_timeout)


def adopt(request: dict[str, Any], pid: int, start_time: int, *, status_timeout: float | None = None) -> Launched:
    """Give a running container whose monitor died a new one: logs go on, its end is recorded, its policy applies.

    pid, start_time: of its init, from the recorded state. Raises Conflict when it has a monitor, or does not live.
    """
    known = state.read(request["state_path"])
    adopted = dict(request, attached=False, adopt=(pid, start_time), state=known)
    if request["network"] and known["ports"]:
        adopted["network"] = dict(request["network"], ports=known["ports"])  # as they came out, not as they were asked
    begun = begin(attach=False, run_root=os.path.dirname(request["run_dir"]))
    return begun.give(adopted, status_timeout)


def _fork(run_root: str, fds: dict[int, int]) -> Any:
    """Return the monitor that the nursery is asked for; None when there is none, and none can be had."""
    if not run_root or not features.has("nursery"):
        return None
    from . import forking

    try:
        forked = forking.Forked(run_root, fds)
    except OSError:
        return None
    if forked.nursery:
        _children.add(forked.nursery)
    return forked


def _await_status(fd: int, monitor: Any, timeout: float | None) -> dict[str, Any]:
    if timeout is not None:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(timeout * 1000):
            monitor.kill()
            raise StartFailed(f"the container did not start within {timeout:g} seconds", stage="monitor")
    message = report.receive(fd)
    if message is None:
        raise StartFailed(
            "the container's monitor ended before the container ran",
            stage="monitor",
            hint="it was killed, or the host is out of memory: look into the kernel's log",
        )
    word, fields = message
    if word == "error":
        raise report.rebuild(fields)
    return fields


def _make_run_dir(path: str) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        os.chmod(path, 0o700)


def reap() -> None:
    """Collect monitors that we started and that ended, in processes that live longer than one command."""
    for pid in list(_children):
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                continue
        except ChildProcessError:
            pass
        _children.discard(pid)  # another thread may have done it
