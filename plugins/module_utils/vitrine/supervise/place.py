# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a monitor holds of the host for its container: the lock, the files of the run directory, ports, the record.

All of it is given back here, in the order that lets the next monitor, and the next command, believe what they see.
"""

from __future__ import annotations

import marshal
import os
import time

from ..errors import VitrineError
from ..linux import fs
from . import journal, restart, state, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LEAVE_SECONDS = 5.0
_NOT_KEPT = ("adopt", "state", "attached", "oom_score_adj")  # of a request: what is true of one monitor only
NETWORK = "network.json"  # beside the state: the container's network as it is wanted now


class Place:
    """One container's. request: see launch.py; known: the state, of which the monitor writes the fields."""

    def __init__(self, request: dict[str, Any], known: dict[str, Any]) -> None:
        self._request = request
        self._known = known
        self._ports: list[int] = []
        self._lock = -1

    @property
    def held(self) -> bool:
        """Whether we are the container's monitor."""
        return self._lock >= 0

    def take(self) -> bool:
        """Become the monitor; False when there is one. The last may still be cleaning up after the end it recorded."""
        self._lock = take_lock(self._request["run_dir"])
        return self.held

    def handed(self) -> dict[str, Any]:
        """What resume() needs in a process that shares our descriptors, and with them the lock (fcntl(2))."""
        return {"lock": self._lock, "ports": self._ports}

    def resume(self, handed: dict[str, Any]) -> None:
        """Go on with what a worker took."""
        self._lock, self._ports = handed["lock"], handed["ports"]

    def drop_lock(self) -> None:
        """Let another monitor take over all that there is."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def let_go(self) -> None:
        """Be the container's monitor no longer."""
        run_dir = self._request["run_dir"]
        for name in (wire.SOCKET, state.INIT, wire.SAVED):
            try:
                os.unlink(os.path.join(run_dir, name))
            except OSError:
                pass
        self.drop_lock()

    def save(self) -> None:
        """Keep the request, with the ports that were chosen, for a monitor that may have to replace this one."""
        kept = {name: value for name, value in self._request.items() if name not in _NOT_KEPT}
        kept["format"] = wire.SAVED_FORMAT
        path = os.path.join(self._request["run_dir"], wire.SAVED)
        fs.write_atomic(path, marshal.dumps(kept), durable=False)

    def refresh_policy(self) -> None:
        """Take the restart policy and the limits as they are wanted by now (restart.change)."""
        kept = restart.saved(self._request["run_dir"])
        if kept is not None:
            self._request["restart"] = kept["restart"]
            self._request["cgroup"] = kept["cgroup"]
            self._request["plan"] = kept["plan"] or self._request["plan"]

    def restore(self) -> bool:
        """Make the run directory anew that somebody removed; returns whether that was so. Raises OSError."""
        run_dir = self._request["run_dir"]
        if os.path.exists(os.path.join(run_dir, state.LOCK)) or not self.held:
            return False
        os.makedirs(os.path.dirname(run_dir), 0o700, exist_ok=True)
        os.makedirs(run_dir, 0o700, exist_ok=True)
        lock = state.take_lock(run_dir)
        if lock < 0:
            return False
        os.close(self._lock)
        self._lock = lock
        self.save()
        if self._known["pid"]:
            state.write_init(run_dir, self._known["pid"], self._known["start_time"])
        return True

    # -- network ------------------------------------------------------------------------------------------------------

    def hold_ports(self, *, adopting: bool) -> None:
        """Bind the published ports, so that a conflict shows now and nobody takes them later. Raises PortInUse."""
        from ..network import ports

        network = self._request["network"]
        try:
            self._ports, network["ports"] = ports.hold_ports(network)
        except VitrineError:
            if not adopting:
                raise  # for a container that runs already somebody else's socket is no reason to go without a monitor
        self._known["ports"] = network["ports"]

    def release_ports(self) -> None:
        for fd in self._ports:
            os.close(fd)
        self._ports.clear()

    def refresh_network(self) -> None:
        """Take what was connected and disconnected since the start as the container's network."""
        from .. import lightjson

        network = self._request["network"] or {"ports": []}
        path = os.path.join(os.path.dirname(self._request["state_path"]), NETWORK)
        try:
            with open(path, "rb") as file:
                wanted = lightjson.loads(file.read(1 << 20))
        except (OSError, ValueError):
            return  # the container's folder is gone, or the file is: what we know is all there is
        if isinstance(wanted, dict) and wanted:
            wanted["ports"] = network["ports"]  # as they came out, not as they were asked
            self._request["network"] = wanted

    def forget_host(self) -> None:
        """Give back what belongs to all containers, if this was the last one. The lock went first: of two monitors
        that leave at once, at least one sees no other."""
        network = self._request["network"]
        if network:
            from ..network import links

            run_dir = self._request["run_dir"]
            try:
                links.teardown_if_idle(network, lambda: others_live(run_dir), self._request["lock_path"])
            except Exception:  # noqa: BLE001 - the next command sweeps
                pass

    # -- the record ---------------------------------------------------------------------------------------------------

    def write_state(self, *, durable: bool = False) -> None:
        """Record the state. When the disk takes nothing, the run directory (in memory) keeps it for observe()."""
        fallback = os.path.join(self._request["run_dir"], state.FALLBACK)
        try:
            state.write(self._request["state_path"], self._known, durable=durable)
            os.unlink(fallback)
        except FileNotFoundError:
            pass  # the rule: there is no fallback to forget (or the container's folder is gone already)
        except OSError:
            try:
                state.write(fallback, self._known, durable=False)
            except OSError:
                pass  # observe() will say that nobody saw the end

    def journal(self, action: str, attributes: dict[str, Any]) -> None:
        """Enter an event into the container's journal. Raises nothing: see journal.append."""
        path = os.path.join(os.path.dirname(self._request["state_path"]), journal.FILE)
        journal.append(path, action, time.time_ns(), {key: str(value) for key, value in attributes.items()})

    @property
    def stop_requested(self) -> bool:
        """A container whose folder somebody took away is not wanted either. Its run directory can be made anew."""
        folder = os.path.dirname(self._request["state_path"])
        return os.path.exists(os.path.join(self._request["run_dir"], state.STOP_REQUESTED)) or not os.path.isdir(folder)


class Shield:
    """The kernel's hunger for memory: without a monitor nobody tells of the container's end, so it goes last."""

    def __init__(self, came_with: bytes) -> None:
        """came_with: the value of the command that starts the container, where this process has not inherited it."""
        self._came_with = came_with
        self.lower()

    def raise_(self) -> None:
        if not self._came_with:
            self._came_with = _read_adj()
        _write_adj(b"-999")

    def lower(self) -> None:
        """Children inherit the value: the container gets the one that we came with."""
        if self._came_with:
            _write_adj(self._came_with)


def take_lock(run_dir: str) -> int:
    """Become the monitor; -1 when there is one that does not leave within a few seconds."""
    end = time.monotonic() + _LEAVE_SECONDS
    while True:
        fd = state.take_lock(run_dir)
        if fd >= 0 or state.living_init(run_dir) is not None or time.monotonic() > end:
            return fd
        time.sleep(0.005)


def others_live(run_dir: str) -> list[str]:
    """Return the ids of the other containers of this engine root that run: with a monitor, or having lost it."""
    run_root, own = os.path.split(run_dir)
    found = []
    for name in os.listdir(run_root):
        folder = os.path.join(run_root, name)
        if name != own and (state.monitor_alive(folder) or state.living_init(folder) is not None):
            found.append(name)
    return found


def _read_adj() -> bytes:
    try:
        with open("/proc/self/oom_score_adj", "rb", buffering=0) as file:
            return file.read(16) or b"0"
    except OSError:
        return b"0"


def _write_adj(value: bytes) -> None:
    try:
        with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(value)
    except OSError:
        pass  # lowering it is a privilege that an engine inside a container may lack
