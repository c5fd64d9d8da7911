# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of a container's health check, served by the monitor's loop, which never waits for it.

The monitor runs in the sealed interpreter already, so a copy of it (fork) is the helper that enters the container
(runtime.join); what it leaves there is the monitor's own child. All of a probe sits in a cgroup of its own below the
container's: whatever it forked ends with it.
"""

from __future__ import annotations

import _signal
import os
import time

from ..errors import VitrineError
from ..linux import features, prctl, process
from ..runtime import cgroups, entry, join, wire
from . import loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

GROUP = "vitrine.probe"
OUTPUT_LIMIT = 4096  # bytes that are kept of what a probe writes
_LOOK_NS = 20_000_000  # between two looks at a probe that floods its output, or that no descriptor tells of
_CHUNK = 1 << 16
_DRAIN = 16  # chunks
_PATIENCE = 2.0  # seconds; a process that waits for a dead file system does not even hear SIGKILL


def group_plan(plan: dict[str, Any] | None) -> dict[str, Any] | None:
    """The cgroup plan of the probes of a container with this one; None where the host has no tree to find them by."""
    if plan and plan["unified"]:
        return {"unified": f"{plan['unified']}/{GROUP}", "mount": plan["mount"], "dirs": {}}
    if plan and "freezer" in plan["dirs"]:
        return {"unified": "", "mount": "", "dirs": {"freezer": f"{plan['dirs']['freezer']}/{GROUP}"}}
    return None


def make_group(group: dict[str, Any] | None) -> None:
    """Make the cgroup unless it is there. It goes with the container's."""
    for path in (group["unified"], *group["dirs"].values()) if group else ():
        try:
            if path:
                os.mkdir(path, 0o755)
        except FileExistsError:
            pass


def clear(group: dict[str, Any] | None) -> None:
    """Kill whatever is in the cgroup."""
    if group is not None:
        try:
            cgroups.kill(group, 0.0)
        except OSError:
            pass  # it went with the container


class Probe:
    """A probe that runs. plan: as runtime.exec.compile_exec makes it; group: of group_plan().

    on_running is called when its command runs; on_end(exit code, output) once it has ended by itself: -1 when it
    could not be started, and the output says why. look_ns: when to call look(), 0 for never. gone: nothing is left.
    """

    def __init__(
        self,
        plan: dict[str, Any],
        group: dict[str, Any] | None,
        events: loop.Loop,
        on_running: Callable[[], None],
        on_end: Callable[[int, str], None],
    ) -> None:
        self._plan = plan
        self._group = group
        self._loop = events
        self._on_running = on_running
        self._on_end: Callable[[int, str], None] | None = on_end
        self._output = bytearray()
        self._cut = False
        self._sock: Any = None
        self._reader = -1
        self._helper = 0
        self._pid = 0
        self._pidfd = -1
        self._executed = False
        self._failure = b""
        self.look_ns = 0

    def start(self) -> None:
        """Fork the helper. Raises OSError."""
        try:
            make_group(self._group)
        except OSError:  # the container's groups are full, or gone
            self._group = None
        self._sock, theirs = wire.pair()
        self._reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(writer, True)
        try:
            self._helper = os.fork()
            if self._helper == 0:
                self._become_helper(theirs, writer)
        except BaseException:
            self._close()
            raise
        finally:
            theirs.close()
            os.close(writer)
        self._sock.setblocking(False)
        try:
            self._sock.send(wire.PROCEED)  # it waits in the socket: the helper puts itself into the cgroup
        except OSError:
            pass  # it was killed already, which is heard of in a moment
        self._loop.watch(self._sock.fileno(), loop.READ, self._heard)
        self._loop.watch(self._reader, loop.READ, self._read)

    def _become_helper(self, sock: Any, writer: int) -> None:
        """In the copy of the monitor: drop all that is the monitor's, enter, and end."""
        status = 1
        try:
            _signal.set_wakeup_fd(-1)
            null = os.open("/dev/null", os.O_RDWR)
            for source, target in ((null, 0), (writer, 1), (writer, 2)):
                os.dup2(source, target)
            entry.close_others((0, 1, 2, sock.fileno()))
            prctl.set_name("vitrine-probe")
            features.set_without(set(self._plan["without"]) | features.without())
            self._inherit_oom_score()
            self._enter_group()
            status = join.Join(self._plan, sock).main()
        except BaseException as error:  # noqa: BLE001 - nobody else would hear of it
            wire.send_error(sock, "probe", "", error)
        finally:
            os._exit(status)

    def _inherit_oom_score(self) -> None:
        """As the container's, not as the monitor's, which is killed last. The spec's own value comes with the rest."""
        try:
            with open(f"/proc/{self._plan['pid']}/oom_score_adj", "rb") as theirs:
                value = theirs.read(16)
            with open("/proc/self/oom_score_adj", "wb", buffering=0) as own:
                own.write(value)
        except OSError:
            pass  # the container has just ended, which the next steps notice

    def _enter_group(self) -> None:
        plan = self._plan["cgroup"]
        if self._group is not None:
            try:
                cgroups.enter(self._group)
                if not self._group["unified"]:
                    others = {name: path for name, path in plan["dirs"].items() if name != "freezer"}
                    self._plan = dict(self._plan, cgroup=dict(plan, dirs=others))
                return
            except VitrineError:
                pass  # the container has made that impossible: beside its first process then
        if plan:
            cgroups.place(plan, os.getpid(), beside=self._plan["pid"])

    # -- while it runs ------------------------------------------------------------------------------------------------

    def _heard(self, _events: int) -> None:
        while True:
            try:
                kind, data, fd = wire.receive(self._sock)
            except BlockingIOError:
                return
            if fd >= 0:
                os.close(fd)
            if kind == wire.STARTED:
                self._pid = int(data)
            elif kind == wire.EXEC:
                self._executed = True
            elif kind == wire.ERROR:
                self._failure = data
            elif not kind:
                break
        self._close_socket()
        _wait(self._helper)  # it has closed all that it had, so this takes no time
        self._helper = 0
        if self._pid and self._executed and not self._failure:
            self._pidfd = process.pidfd_open(self._pid)
            if self._pidfd >= 0:
                self._loop.watch(self._pidfd, loop.READ, lambda _events: self.look())
            else:
                self.look_ns = time.monotonic_ns() + _LOOK_NS
            if self._on_end is not None:
                self._on_running()
            return
        if self._pid:
            _wait(self._pid)
            self._pid = 0
        else:
            self._wait_for_stray()
        self._end(-1, self._reason())

    def _wait_for_stray(self) -> None:
        """The helper may have been killed after it made the process and before it named it. Unless we wait for that
        one, the container's first process cannot end (pid_namespaces(7))."""
        init = self._plan["pid"]
        try:
            space = os.readlink(f"/proc/{init}/ns/pid")
            with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
                children = [int(word) for word in file.read().split()]
        except OSError:
            return
        for pid in children:
            try:
                if pid != init and os.readlink(f"/proc/{pid}/ns/pid") == space != os.readlink("/proc/self/ns/pid"):
                    os.kill(pid, 9)
                    _wait(pid)
            except OSError:
                continue

    def _reason(self) -> str:
        if not self._failure:
            return "the health check was killed before it could start its command"
        try:
            wire.raise_error(self._failure)
        except VitrineError as error:
            return error.message
        return ""

    def _read(self, _events: int) -> None:
        """Take a chunk. After what is kept, the rest is thrown away slowly: a flood is the probe's own problem."""
        if not self._take():
            return
        if self._cut:
            self._loop.unwatch(self._reader)
            self.look_ns = time.monotonic_ns() + _LOOK_NS

    def _take(self) -> bool:
        """Read one chunk; False when there is none at the moment, or no more."""
        if self._reader < 0:
            return False
        try:
            data = os.read(self._reader, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._close_output()
            return False
        room = OUTPUT_LIMIT - len(self._output)
        self._output += data[:room]
        self._cut = self._cut or len(data) > room
        return True

    def look(self) -> None:
        """See whether it has ended, and make room for more output."""
        self.look_ns = 0
        if self._pid and not self._helper:
            try:
                pid, status = os.waitpid(self._pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = self._pid, 255 << 8
            if pid:
                self._pid = 0
                self._end(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status), None)
                return
        self._take()
        if self._pid and ((self._cut and self._reader >= 0) or (self._pidfd < 0 and not self._helper)):
            self.look_ns = time.monotonic_ns() + _LOOK_NS

    def written(self) -> str:
        """What it wrote so far, as the record keeps it."""
        for _ in range(_DRAIN):
            if not self._take():
                break
        return self._output.decode("utf-8", "replace") + ("..." if self._cut else "")

    # -- the end ------------------------------------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        """Whether no process of it is left to wait for."""
        return not self._helper and not self._pid

    def kill(self) -> None:
        """End it and all that it started; on_end is not called any more."""
        self._on_end = None
        for pid in (self._helper, self._pid):
            if pid:
                os.kill(pid, 9)  # our own child that we have not waited for: the pid cannot be another's
        clear(self._group)

    def abandon(self) -> None:
        """Kill it and wait for it, as long as that is bearable: the container has ended."""
        self.kill()
        for pid in (self._helper, self._pid):
            if pid:
                _wait(pid, _PATIENCE)
        self._helper = self._pid = 0
        self._close()

    def _end(self, code: int, text: str | None) -> None:
        clear(self._group)  # what it left behind would be there for ever, and one more each time
        if text is None:
            text = self.written()
        self._close()
        tell, self._on_end = self._on_end, None
        if tell is not None:
            tell(code, text)

    def _close_socket(self) -> None:
        if self._sock is not None:
            self._loop.unwatch(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _close_output(self) -> None:
        if self._reader >= 0:
            self._loop.unwatch(self._reader)
            os.close(self._reader)
            self._reader = -1

    def _close(self) -> None:
        self.look_ns = 0
        self._close_socket()
        self._close_output()
        if self._pidfd >= 0:
            self._loop.unwatch(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1


def _wait(pid: int, patience: float | None = None) -> None:
    """Wait for a child; patience: seconds, after which it is left to whoever comes after us."""
    end = None if patience is None else time.monotonic() + patience
    try:
        while not os.waitpid(pid, 0 if end is None else os.WNOHANG)[0] and end is not None and time.monotonic() < end:
            time.sleep(0.001)
    except ChildProcessError:
        pass
