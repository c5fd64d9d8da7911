# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One life of a container, from its standard streams and cgroup to its init process, and the end of it all.

start() makes everything in order; what was made before a failing step is undone in reverse. A restart is another Run.
"""

from __future__ import annotations

import _signal
import errno
import fcntl
import os

from ..errors import Conflict, VitrineError
from ..linux import process
from . import aside, loop, state, streams, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_LOOK_MS = 500


class Run:
    """Kernel objects of one run. events: the monitor's loop; on_output gets (wire kind, bytes) of each chunk;
    on_input_full is told when clients have to wait; stage names what is being done, for errors. worker: the container
    is our parent's child, to which all goes that we make here (dozing.py)."""

    def __init__(
        self,
        request: dict[str, Any],
        events: loop.Loop,
        on_output: Callable[[int, bytes], None],
        on_input_full: Callable[[bool], None],
        *,
        worker: bool = False,
    ) -> None:
        self._worker = worker
        self._request = request
        self._loop = events
        self._on_output = on_output
        self._on_input_full = on_input_full
        self._outputs: list[streams.Output] = []
        self._undo: list[Callable[[], object]] = []
        self._console = -1
        self._child = False
        self._connected = False
        self.input: streams.Input | None = None
        self.pid = 0
        self.start_time = 0
        self.pidfd = -1
        self.stage = ""
        self.warnings: list[str] = []  # what the container has to do without

    # -- beginning ----------------------------------------------------------------------------------------------------

    def start(self, ready: Callable[[], None]) -> None:
        """Make everything and execute the command. Raises what a step raised, after undoing the steps before it.

        ready is called when all is made, network included, and the command is about to be executed.
        """
        try:
            self._start(ready)
        except BaseException:
            self.undo()
            raise

    def _start(self, ready: Callable[[], None]) -> None:
        from ..runtime import cgroups, start

        request = self._request
        run_dir = request["run_dir"]
        self.stage = "cgroup"
        if request["cgroup"]:
            self._undo.append(self._remove_cgroup)
            self.warnings = cgroups.create(request["cgroup"])
        self.stage = "streams"
        stdio = None if request["tty"] else self._open_streams(run_dir)
        self.stage = "process"
        try:
            init = start.create(request["plan"], stdio, sibling=self._worker)
        finally:
            for fd in stdio or ():
                os.close(fd)
        try:
            # From here on the container is found, even when we are killed before its state is recorded.
            state.write_init(run_dir, init.pid, init.start_time)
            if request["network"]:
                from ..network import links

                self.stage = "network"
                self._connected = True
                self._undo.append(self.disconnect)
                try:
                    network, path, lock = request["network"], init.netns_path, request["lock_path"]
                    if self._worker:
                        links.connect(network, path, lock)
                    else:
                        aside.call("network", lambda: links.connect(network, path, lock))
                except (OSError, VitrineError):
                    init.prepare()  # an init that ended before it could be wired says itself why
                    raise
            self.stage = "process"
            self.pid, self.start_time = init.pid, init.start_time
            ready()
            init.proceed()
        except BaseException:
            init.abort()
            self.pid = 0
            raise
        self._child = True
        self.pidfd = init.pidfd
        if request["tty"]:
            self._open_console(init.console_fd)

    def adopt(self, pid: int, start_time: int) -> None:
        """Take over a container whose monitor died. Raises Conflict when its init is dead."""
        self.stage = "adopt"
        try:
            self.pidfd = process.pidfd_open(pid)
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise
            self.pidfd = -1
        if not process.alive(pid, start_time):
            raise Conflict("the container ended before it got a new monitor", value=pid)
        self.pid, self.start_time = pid, start_time
        if not self._request["tty"]:
            self._watch_fifos(self._request["run_dir"])
        if self._request["cgroup"]:
            self._undo.append(self._remove_cgroup)
        if self._request["network"]:
            self._connected = True
            self._undo.append(self.disconnect)

    def handed(self) -> dict[str, Any]:
        """All that resume() needs in a process that has the same descriptors."""
        return {
            "pid": self.pid, "start_time": self.start_time, "pidfd": self.pidfd, "console": self._console,
            "outputs": [output.fd for output in self._outputs], "input": self.input.fd if self.input else -1,
        }  # fmt: skip

    def resume(self, handed: dict[str, Any]) -> None:
        """Go on with what a worker has started."""
        run_dir = self._request["run_dir"]
        self._child = True
        self.pid, self.start_time, self.pidfd = handed["pid"], handed["start_time"], handed["pidfd"]
        self._console = handed["console"]
        if self._request["cgroup"]:
            self._undo.append(self._remove_cgroup)
        if self._console < 0:
            self._undo.append(lambda: streams.remove_fifos(run_dir))
        self._undo.append(self.close_streams)
        for fd, kind in zip(handed["outputs"], (wire.STDOUT, wire.STDERR)):
            self._outputs.append(streams.Output(self._loop, fd, self._receiver(kind)))
        if handed["input"] >= 0:
            self.input = streams.Input(self._loop, handed["input"], self._on_input_full)
        if self._request["network"]:
            self._connected = True
            self._undo.append(self.disconnect)

    def _open_streams(self, run_dir: str) -> tuple[int, int, int]:
        """Make the streams; return the container's ends, which the caller closes."""
        streams.make_fifos(run_dir)
        self._undo.append(lambda: streams.remove_fifos(run_dir))
        self._undo.append(self.close_streams)
        if self._request["open_stdin"]:
            inner, outer = streams.input_pipe()
            self.input = streams.Input(self._loop, outer, self._on_input_full)
        else:
            inner = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._watch_fifos(run_dir)
        out, err = (streams.open_fifo(run_dir, name, for_container=True) for name in (streams.STDOUT, streams.STDERR))
        return inner, out, err

    def _watch_fifos(self, run_dir: str) -> None:
        for name, kind in ((streams.STDOUT, wire.STDOUT), (streams.STDERR, wire.STDERR)):
            try:
                fd = streams.open_fifo(run_dir, name, for_container=False)
            except FileNotFoundError:  # somebody emptied /run: the container has it open still
                fd = streams.open_removed(run_dir, name, self.pid)
            if fd >= 0:
                self._outputs.append(streams.Output(self._loop, fd, self._receiver(kind)))

    def _open_console(self, master: int) -> None:
        self._console = master
        self._undo.append(self.close_streams)
        self._outputs.append(streams.Output(self._loop, master, self._receiver(wire.STDOUT)))
        if self._request["open_stdin"]:
            copy = fcntl.fcntl(master, fcntl.F_DUPFD_CLOEXEC, 3)
            self.input = streams.Input(self._loop, copy, self._on_input_full)

    def _receiver(self, kind: int) -> Callable[[bytes], None]:
        return lambda data: self._on_output(kind, data)

    # -- while it runs ------------------------------------------------------------------------------------------------

    def watch_end(self, handler: Callable[[], None]) -> int | None:
        """Call handler when init has ended. Return the longest time in ms that the loop may sleep (None: any)."""
        if self.pidfd >= 0:
            self._loop.watch(self.pidfd, loop.READ, lambda _events: handler())
            return None
        if not self._child:
            return _LOOK_MS  # somebody else's child, before Linux 5.3: the caller asks ended() after each turn
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda _number, _frame: None)

        def woken(_events: int) -> None:
            os.read(reader, 512)
            if self.ended:
                handler()

        def forget() -> None:
            _signal.set_wakeup_fd(-1)
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            self._loop.unwatch(reader)
            os.close(reader)
            os.close(writer)

        self._undo.append(forget)
        self._loop.watch(reader, loop.READ, woken)
        os.write(writer, b"x")  # it may have ended before anybody listened
        return None

    @property
    def ended(self) -> bool:
        """Whether init is dead, waited for or not."""
        return not process.alive(self.pid, self.start_time)

    def pause_output(self, paused: bool) -> None:
        for output in self._outputs:
            output.pause(paused)

    def resize(self, rows: int, columns: int) -> None:
        if self._console >= 0:
            try:
                streams.set_window(self._console, rows, columns)
            except OSError:
                pass

    def signal(self, number: int) -> None:
        if 0 < number < 65:
            process.send_signal(self.pid, self.start_time, number)

    # -- the end ------------------------------------------------------------------------------------------------------

    def reap(self) -> int | None:
        """Return the exit code of the init that has ended: 128 + n for a signal, None where it cannot be known."""
        status = None
        if self._child:
            try:
                status = os.waitpid(self.pid, 0)[1]
            except ChildProcessError:
                pass
        elif self.pidfd >= 0:
            from . import witness

            return witness.code_of(witness.status_of_other(self.pidfd))
        if status is None:
            return None
        return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def kill(self) -> None:
        """Kill all of the container, frozen or not."""
        from ..runtime import cgroups

        self.signal(_signal.SIGKILL)
        if self._request["cgroup"]:
            cgroups.kill(self._request["cgroup"])

    def kill_rest(self) -> None:
        """Kill what is left of the container: with a process namespace of its own that is nothing."""
        from ..runtime import cgroups

        plan = self._request["cgroup"]
        if plan and cgroups.pids(plan):
            cgroups.kill(plan)

    def drain(self) -> None:
        """Take all output that is left. After the last process's end that is all there will ever be."""
        for output in self._outputs:
            output.drain()

    def oom_kills(self) -> int:
        from ..runtime import cgroups

        try:
            return cgroups.oom_kills(self._request["cgroup"]) if self._request["cgroup"] else 0
        except OSError:
            return 0

    def close_streams(self) -> None:
        for output in self._outputs:
            output.close()
        self._outputs.clear()
        self._console = -1
        if self.input is not None:
            self.input.close()
            self.input = None

    def undo(self) -> None:
        """Remove everything of this run from the host, in reverse order of its making. Never raises."""
        if self.pidfd >= 0:
            self._loop.unwatch(self.pidfd)
            os.close(self.pidfd)
            self.pidfd = -1
        while self._undo:
            step = self._undo.pop()
            try:
                step()
            except Exception:  # noqa: BLE001 - each step is tried; what stays is swept by a later command
                pass

    def disconnect(self) -> None:
        """Take back the published ports, so that the next container may publish them. The rest goes by itself."""
        if self._connected:
            from ..network import links

            self._connected = False
            try:
                links.disconnect(self._request["network"], self._request["lock_path"])
            except (OSError, VitrineError):
                pass  # the next command sweeps

    def _remove_cgroup(self) -> None:
        from ..runtime import cgroups

        plan = self._request["cgroup"]
        if not cgroups.remove(plan, 0.2):
            cgroups.kill(plan)
            cgroups.remove(plan)
