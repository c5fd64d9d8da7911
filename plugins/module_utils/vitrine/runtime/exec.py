# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One more process in a running container, started from outside by whoever wants it: a command, a health check.

The caller never enters the container: a helper in the sealed interpreter does (join.py), and the process that it leaves
there is the caller's own child.
"""

from __future__ import annotations

import errno
import os

from ..errors import Conflict, StartFailed
from ..linux import features, process
from . import cgroups, seal, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOCKET_FD = 4


def compile_exec(
    process_: dict[str, Any],
    *,
    pid: int,
    start_time: int | None = None,
    cgroup: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    privileged: bool = False,
    seccomp_cache: str | None = None,
) -> dict[str, Any]:
    """Compile the plan of a process in a running container.

    process_: an OCI process; pid, start_time: the container's first process; cgroup: its cgroup plan; spec: its OCI
    spec, whose seccomp settings apply. privileged: it may make device nodes even if the container may not. Raises
    InvalidInput.
    """
    from .plan import compile_process

    plan = compile_process(process_, spec, seccomp_cache=seccomp_cache)
    plan["init"] = 0
    return {
        "pid": pid,
        "start_time": process.start_time(pid) if start_time is None else start_time,
        "cgroup": cgroup,
        "without": sorted(features.without()),
        "confine_devices": int(not privileged),
        "process": plan,
    }


class ExecProcess:
    """A running process: a child of this process. console_fd: its terminal's master, or -1; the caller closes it."""

    def __init__(self, pid: int, console_fd: int) -> None:
        self.pid = pid
        self.console_fd = console_fd
        self._status: int | None = None

    def wait(self) -> int:
        """Wait for its end and return the wait status (os.waitstatus_to_exitcode understands it)."""
        while self._status is None:
            try:
                self._status = os.waitpid(self.pid, 0)[1]
            except InterruptedError:
                continue
        return self._status


class Helper:
    """The helper of a process whose plan is still being made up; its interpreter starts meanwhile. See begin()."""

    def __init__(self, stdio: tuple[int, int, int] | None) -> None:
        self._sock, theirs = wire.pair()
        try:
            fds = {SOCKET_FD: theirs.fileno()}
            if stdio is not None:
                fds.update(enumerate(stdio))
            self._process = seal.Beginning("runtime.join", fds)
        except BaseException:
            self._sock.close()
            raise
        finally:
            theirs.close()

    def run(self, plan: dict[str, Any]) -> ExecProcess:
        """Start the process; see spawn()."""
        try:
            if not process.alive(plan["pid"], plan["start_time"] or 0):
                raise Conflict("the container is not running", hint="start it first", value=plan["pid"])
            self._process.give(plan)
            _admit(plan, self._sock, self._process.pid)
            return _listen(self._sock, self._process.pid)
        finally:
            self.drop()

    def drop(self) -> None:
        """End the helper if it got no plan."""
        self._sock.close()
        self._process.drop()


def begin(stdio: tuple[int, int, int] | None) -> Helper:
    """Start the helper of a process; run() or drop() it. stdio: as spawn() takes."""
    return Helper(stdio)


def spawn(plan: dict[str, Any], stdio: tuple[int, int, int] | None) -> ExecProcess:
    """Start the process and return when its command runs.

    stdio: descriptors for standard input, output and error; None with a terminal, or for /dev/null. Raises Conflict
    when the container is not running, StartFailed, CommandNotFound or CommandNotExecutable.
    """
    return begin(stdio).run(plan)


def _admit(plan: dict[str, Any], sock: Any, helper: int) -> None:
    """Put the helper, and so all that comes of it, into the container's version 2 group while it still starts."""
    try:
        if plan["cgroup"]:
            cgroups.place(plan["cgroup"], helper, beside=plan["pid"])
        sock.send(wire.PROCEED)
    except BaseException as error:
        # When it has ended already, what it said before is still to be read, and says more than this.
        if getattr(error, "errno", 0) not in (errno.ESRCH, errno.EPIPE):
            sock.close()
            os.waitpid(helper, 0)
            raise


def _listen(sock: Any, helper: int) -> ExecProcess:
    """Read until the last of helper and process has closed its end."""
    pid, console, running, failure = 0, -1, False, b""
    while True:
        kind, data, fd = wire.receive(sock)
        if fd >= 0 and kind == wire.CONSOLE and console < 0:
            console = fd
        elif fd >= 0:
            os.close(fd)
        if kind == wire.STARTED:
            pid = int(data)
        elif kind == wire.EXEC:
            running = True
        elif kind == wire.ERROR:
            failure = data
        elif not kind:
            break
    status = os.waitpid(helper, 0)[1]
    if running and not failure and pid:
        return ExecProcess(pid, console)
    if console >= 0:
        os.close(console)
    if pid:
        os.waitpid(pid, 0)
    if failure:
        wire.raise_error(failure)
    if not pid:
        raise StartFailed(f"the helper that enters the container ended too early (wait status {status})", stage="exec")
    raise StartFailed(
        "the process was killed before it could start its command", stage="exec",
        hint="the container has ended, or its memory limit is too low",
    )  # fmt: skip
