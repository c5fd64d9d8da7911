# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands in running containers, their streams joined to this process's, or captured."""

from __future__ import annotations

import os
import select

from ..errors import Conflict, InvalidInput
from ..linux import process
from ..runtime import capabilities
from ..runtime import exec as runtime_exec
from . import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .core import Engine

_CHUNK = 1 << 16
_TOLD = 1000  # characters of a command line in events
_TICK = 50  # milliseconds between two looks at a process that has no pidfd


def plan(
    engine: Engine,
    name: str,
    argv: Sequence[str],
    *,
    env: Sequence[str] = (),
    user: str | None = None,
    working_dir: str | None = None,
    tty: bool = False,
    privileged: bool = False,
) -> dict[str, Any]:
    """The exec plan of a command: the container's own process description with what is different.

    Raises Conflict when the container does not run, InvalidInput.
    """
    record = engine.containers.record(name)
    observed = engine.containers.running(record)
    if observed["status"] == "paused":
        raise Conflict(f"container {record.name!r} is paused", hint="unpause it first", value=name)
    if not argv:
        raise InvalidInput("there is no command to run", hint="name one", value="")
    paths = engine.containers.paths(record.id)
    spec = paths.read_json(paths.config)
    given = {word.partition("=")[0]: word for word in (*spec["process"]["env"], *(["TERM=xterm"] if tty else ()), *env)}
    described = {
        **spec["process"],
        "args": list(argv),
        "env": list(given.values()),
        "terminal": tty,
        "cwd": working_dir or spec["process"]["cwd"],
    }
    if user is not None:
        described["user"] = {"username": user}
    if privileged:
        names = list(capabilities.resolve((), (), True))
        described["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), names)
        spec = {**spec, "annotations": {**spec["annotations"], "io.vitrine.seccomp": "unconfined"}}
    return runtime_exec.compile_exec(
        described,
        pid=observed["pid"],
        start_time=observed["start_time"],
        cgroup=engine.containers.cgroup(record.id),
        spec=spec,
        privileged=privileged,
        seccomp_cache=f"{engine.settings.run_root}/cache",
    )


def run(
    engine: Engine, name: str, argv: Sequence[str], *, stdin: bool = False, detach: bool = False, **how: Any
) -> int:
    """Run a command joined to this process's streams; returns its exit code (128 + n for a signal), 0 if detached."""

    told = _Told(engine, name, argv)

    def compiled() -> dict[str, Any]:
        made = plan(engine, name, argv, **how)
        told.begins()
        return made

    if detach:
        _started(compiled, None)
        return 0
    if how.get("tty"):
        return told.ends(_with_terminal(compiled, stdin))
    sinks: dict[int, Callable[[bytes], object]] = {1: lambda data: _write(1, data), 2: lambda data: _write(2, data)}
    return told.ends(_with_pipes(compiled, 0 if stdin else None, sinks))


class _Told:
    """The events of one command, in docker's words."""

    def __init__(self, engine: Engine, name: str, argv: Sequence[str]) -> None:
        self._engine = engine
        self._container = engine.containers.record(name).id
        self._line = " ".join(argv)[:_TOLD]
        self._id = os.urandom(32).hex()

    def begins(self) -> None:
        for action in ("exec_create", "exec_start"):
            events.noted(self._engine, self._container, f"{action}: {self._line}", {"execID": self._id})

    def ends(self, code: int) -> int:
        events.noted(self._engine, self._container, "exec_die", {"execID": self._id, "exitCode": str(code)})
        return code


def _exit_code(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _started(compiled: Callable[[], dict[str, Any]], stdio: tuple[int, int, int] | None) -> runtime_exec.ExecProcess:
    """Start a process; the interpreter that enters the container starts while the plan is compiled."""
    helper = runtime_exec.begin(stdio)
    try:
        return helper.run(compiled())
    finally:
        helper.drop()


def _with_terminal(compiled: Callable[[], dict[str, Any]], stdin: bool) -> int:
    from ..supervise import terminal

    child = _started(compiled, None)
    try:
        terminal.relay(child.console_fd, stdin=stdin)
    finally:
        os.close(child.console_fd)
    return _exit_code(child.wait())


def _with_pipes(
    compiled: Callable[[], dict[str, Any]], source: int | None, sinks: dict[int, Callable[[bytes], object]]
) -> int:
    """Feed and drain a process through pipes of our own: what is behind ours (a terminal, a file) stays outside.

    source: a descriptor to read standard input from, or None for none.
    """
    inputs = os.pipe2(os.O_CLOEXEC) if source is not None else (os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), -1)
    outputs = {number: os.pipe2(os.O_CLOEXEC) for number in sinks}
    try:
        child = _started(compiled, (inputs[0], outputs[1][1], outputs[2][1]))
    except BaseException:
        for fd in (*inputs, *(fd for pair in outputs.values() for fd in pair)):
            if fd >= 0:
                os.close(fd)
        raise
    for fd in (inputs[0], outputs[1][1], outputs[2][1]):
        os.close(fd)
    pump = _Pump(child.pid, source, inputs[1], {outputs[number][0]: sink for number, sink in sinks.items()})
    try:
        pump.run()
    finally:
        pump.close()
    return _exit_code(child.wait())


class _Pump:
    """Moves bytes until the process has ended and what it wrote is read; who it left behind is not waited for."""

    def __init__(self, pid: int, source: int | None, target: int, sinks: dict[int, Callable[[bytes], object]]) -> None:
        self._pidfd = process.pidfd_open(pid)
        self._pid = pid
        self._source = -1 if source is None else source
        self._pending = b""
        self._target = target
        self._sinks = dict(sinks)
        self._poll = select.poll()
        for fd in sinks:
            os.set_blocking(fd, False)
            self._poll.register(fd, select.POLLIN)
        if self._pidfd >= 0:
            self._poll.register(self._pidfd, select.POLLIN)
        if target >= 0:
            os.set_blocking(target, False)
        self._watch_input()

    def _watch_input(self) -> None:
        """Wait for the pipe while something is to be written, else for the source."""
        if self._target < 0:
            return
        if self._pending:
            self._poll.register(self._target, select.POLLOUT)
            if self._source >= 0:
                self._unwatch(self._source)
        elif self._source >= 0:
            self._poll.register(self._source, select.POLLIN)
            self._unwatch(self._target)
        else:
            self._end_input()

    def _unwatch(self, fd: int) -> None:
        try:
            self._poll.unregister(fd)
        except KeyError:
            pass

    def _end_input(self) -> None:
        if self._source >= 0:
            self._unwatch(self._source)
        if self._target >= 0:
            self._unwatch(self._target)
            os.close(self._target)
        self._source = self._target = -1

    def run(self) -> None:
        """Work until the process has ended."""
        ended = False
        while not ended:
            for fd, _events in self._poll.poll(-1 if self._pidfd >= 0 else _TICK):
                if fd == self._pidfd:
                    ended = True
                elif fd in self._sinks:
                    self._drain(fd)
                elif fd == self._target:
                    self._feed()
                elif fd == self._source:
                    self._pending = os.read(fd, _CHUNK)
                    if self._pending:
                        self._watch_input()
                    else:
                        self._end_input()
            if self._pidfd < 0:
                flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
                ended = os.waitid(os.P_PID, self._pid, flags) is not None
        for fd in list(self._sinks):
            while fd in self._sinks and self._drain(fd):
                pass

    def _feed(self) -> None:
        try:
            self._pending = self._pending[os.write(self._target, self._pending) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._end_input()
            return
        if not self._pending:
            self._watch_input()

    def _drain(self, fd: int) -> bool:
        """Pass one piece on; False when there is none at the moment, or no more."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        if data:
            self._sinks[fd](data)
            return True
        self._unwatch(fd)
        del self._sinks[fd]
        os.close(fd)
        return False

    def close(self) -> None:
        """Close every descriptor of ours."""
        self._end_input()
        for fd in self._sinks:
            os.close(fd)
        self._sinks.clear()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
