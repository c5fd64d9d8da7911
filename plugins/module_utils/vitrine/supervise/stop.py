# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals to a container, stopping it with grace, and waiting for its end. For commands; the monitor needs none of it.

A process is always named by pid and start time, and signalled through a pidfd where the kernel has them.
"""

from __future__ import annotations

import os
import select
import time

from ..errors import Conflict, VitrineError
from ..linux import process
from ..runtime import cgroups
from . import state, wire
from .witness import Witness

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any

_POLL_SECONDS = 0.05  # without pidfds (before Linux 5.3) the end of a process has to be looked for
_RECORD_SECONDS = 10.0  # how long a monitor may take from the end of init to the end of its own work
_KILL = 9


def signal(known: dict[str, Any], number: int) -> None:
    """Signal a container's init; known is its observed state. Raises Conflict when it does not run."""
    if known["status"] not in ("running", "paused") or not process.send_signal(
        known["pid"], known["start_time"], number
    ):
        raise Conflict("the container is not running", hint="start it first", value=known["status"])


def request_stop(run_dir: str) -> None:
    """Let no restart policy bring the container back: set the flag, and end a pause before a restart."""
    state.set_flag(run_dir, state.STOP_REQUESTED, True)
    _tell(run_dir, wire.STOP)


def ask_for_names(run_dir: str) -> None:
    """Let a running container's monitor answer names from now on, by the scope in its folder (network/names.py)."""
    _tell(run_dir, wire.NAMED)


def _tell(run_dir: str, kind: int) -> None:
    """Send a container's monitor a packet without content, and wait until it has been heeded or the monitor leaves."""
    sock = wire.connect(run_dir)
    if sock is None:
        return
    try:
        sock.settimeout(_RECORD_SECONDS)
        for packet in (wire.hello(), bytes((kind,)), bytes((wire.DETACH,))):
            sock.send(packet)
        while sock.recv(wire.CHUNK + 1):
            pass  # until it drops us, which comes last
    except OSError:
        pass  # it is leaving already
    finally:
        sock.close()


def stop(
    state_path: str, run_dir: str, cgroup: dict[str, Any] | None, signum: int, timeout: float | None
) -> dict[str, Any]:
    """Stop a container: signum to its init, then after timeout seconds the end of all its processes.

    timeout: 0 kills at once, None or less than 0 waits for ever. Returns the state afterwards ("exited";
    exit_code None where there was no monitor, and the kernel tells nobody else). Stopping what does not run changes
    nothing. A paused container gets the signal when it is thawed, which is now. Raises VitrineError when processes
    cannot be killed (uninterruptible).
    """
    known = state.observe(state_path, run_dir)
    if known["status"] in ("created", "exited"):
        return known
    if timeout is not None and timeout < 0:
        timeout = None
    sock = _waiter(run_dir)
    witness = Witness()
    try:
        request_stop(run_dir)
        known = state.observe(state_path, run_dir)
        witness.look(known)
        if known["status"] in ("running", "paused"):
            _end_init(known, cgroup, signum, timeout)
            state.set_flag(run_dir, state.PAUSED, False)
        _await_record(sock, run_dir)
        return witness.testify(state.observe(state_path, run_dir), state_path, run_dir)
    finally:
        witness.close()
        if sock is not None:
            sock.close()


def wait(state_path: str, run_dir: str, timeout: float | None = None) -> dict[str, Any]:
    """Wait until the container is not running; return its state, also when it was not. Restarts count as ends.

    timeout: seconds, after which the state is returned as it is then; None waits for ever.
    """
    witness = Witness()
    try:
        return _wait(state_path, run_dir, None if timeout is None else time.monotonic() + timeout, witness)
    finally:
        witness.close()


def _wait(state_path: str, run_dir: str, end: float | None, witness: Witness) -> dict[str, Any]:
    while True:
        sock = _waiter(run_dir)
        known = state.observe(state_path, run_dir)
        witness.look(known)
        try:
            if known["status"] in ("created", "exited"):
                return witness.testify(known, state_path, run_dir)
            if sock is not None:
                code = _await_exit(sock, end)
                known = state.observe(state_path, run_dir)
                if code is not None and known["status"] not in ("created", "exited"):
                    known.update(exit_code=code[0], oom_killed=code[1])  # it was started again meanwhile
                if code is not None:
                    return known
            elif not _await_process(known["pid"], known["start_time"], _remaining(end)):
                return known
        finally:
            if sock is not None:
                sock.close()
        if end is not None and time.monotonic() >= end:
            return state.observe(state_path, run_dir)


# -- the parts --------------------------------------------------------------------------------------------------------


def _end_init(known: dict[str, Any], cgroup: dict[str, Any] | None, signum: int, timeout: float | None) -> None:
    pid, started = known["pid"], known["start_time"]
    if timeout is None or timeout > 0 or signum == _KILL:
        process.send_signal(pid, started, signum)
    if cgroup and cgroups.frozen(cgroup):
        cgroups.thaw(cgroup)
    if (timeout is None or timeout > 0) and _await_process(pid, started, timeout):
        return
    process.send_signal(pid, started, _KILL)
    if cgroup:
        cgroups.kill(cgroup)
    if not _await_process(pid, started, _RECORD_SECONDS):
        raise VitrineError(
            f"process {pid} of the container does not end: it is stopping, uninterruptible",
            hint="it waits for a device or a file system: ps shows it in state D",
            value=pid,
        )


def _await_process(pid: int, started: int, timeout: float | None) -> bool:
    """Wait for the end of a process; return whether it came in time."""
    end = None if timeout is None else time.monotonic() + timeout
    try:
        pidfd = process.pidfd_open(pid)
    except OSError:
        return True
    try:
        while process.alive(pid, started):
            left = _remaining(end)
            if left is not None and left <= 0:
                return False
            if pidfd < 0:
                time.sleep(_POLL_SECONDS if left is None else min(_POLL_SECONDS, left))
                continue
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            poll.poll(None if left is None else left * 1000)
        return True
    finally:
        if pidfd >= 0:
            os.close(pidfd)


def _remaining(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - time.monotonic())


def _waiter(run_dir: str) -> _socket.socket | None:
    """Return a connection that gets nothing but the next end; None without a monitor."""
    sock = wire.connect(run_dir)
    if sock is None:
        return None
    try:
        sock.send(wire.hello())
        return sock
    except OSError:
        sock.close()
        return None


def _await_exit(sock: _socket.socket, end: float | None) -> tuple[int | None, bool] | None:
    """Return what the exit packet says; None at the end of the stream or of the time."""
    while True:
        left = _remaining(end)
        sock.settimeout(left if left is None or left > 0 else 0.001)
        try:
            packet = sock.recv(wire.CHUNK + 16)
        except OSError:  # a timeout is one
            return None
        if not packet:
            return None
        if packet[0] == wire.EXIT:
            return wire.parse_exit(packet)


def _await_record(sock: _socket.socket | None, run_dir: str) -> None:
    """Wait until the monitor has recorded the end and cleaned up, which it is about to."""
    if sock is None:
        return
    end = time.monotonic() + _RECORD_SECONDS
    while _await_exit(sock, end) is not None:
        pass
    while state.monitor_alive(run_dir) and time.monotonic() < end:
        time.sleep(0.002)
