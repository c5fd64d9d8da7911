# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Companions of a running container that live in its monitor: what probes its health, what answers its names.

An attendant has ``begin(run)``, called when a run's first process (run.pid) has its network and is about to execute
the command, or was adopted; ``end()``, called at its end, or when the command could not be executed; ``next_ns``, the
CLOCK_MONOTONIC time of what it does next (0: nothing); and ``due(now_ns)``, called then. All of it again for the next
run. For descriptors it uses the loop that it was made with. Of the monitor it may use run, note(), happened() and
stop(). What one raises ends that attendant alone, never the monitor.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from . import loop
    from .monitor import Monitor
    from .run import Run


def make(request: dict[str, Any], events: Any, monitor: Monitor) -> list[Any]:
    """Return what this container's request asks for; nothing else is imported (memory)."""
    made: list[Any] = []
    if request.get("health"):
        from . import health

        made.append(health.Health(request, events, monitor))
    if request.get("names"):
        from . import names

        made.append(names.Names(request, events, monitor))
    return made


class Attendants:
    """All attendants of one monitor. A failure of one is noted in the container's record ("error")."""

    def __init__(self, request: dict[str, Any], events: loop.Loop, monitor: Monitor) -> None:
        self._request = request
        self._monitor = monitor
        self._guarded = _Guarded(events, self._failed)
        self._all: list[Any] | None = None

    @property
    def next_ns(self) -> int:
        """When the first of them has something to do; 0: nobody has."""
        return min([one.next_ns for one in self._all or () if one.next_ns], default=0)

    def begin(self, run: Run) -> None:
        if self._all is None:
            self._all = []
            try:
                self._all = make(self._request, self._guarded, self._monitor)
            except Exception as error:  # noqa: BLE001 - the container runs without them rather than not at all
                self._failed(error)
        self._each(lambda one: one.begin(run))

    def name(self, run: Run) -> bool:
        """Answer names from now on: the container was put on its first network that has them. False: it does so."""
        from ..network import names as scopes

        scope = None if self._request.get("names") else scopes.read_scope(self._request["run_dir"])
        if scope is None or self._all is None:
            return False
        from . import names

        self._request["names"] = scope
        self._all.append(names.Names(self._request, self._guarded, self._monitor))
        self._each(lambda one: one.begin(run) if isinstance(one, names.Names) else None)
        return True

    def end(self) -> None:
        self._each(lambda one: one.end())

    def due(self, now_ns: int) -> None:
        self._each(lambda one: one.due(now_ns) if one.next_ns and one.next_ns <= now_ns else None)

    def _each(self, action: Callable[[Any], object]) -> None:
        for one in list(self._all or ()):
            try:
                action(one)
            except Exception as error:  # noqa: BLE001 - it must not take the monitor with it
                self._all.remove(one)  # type: ignore[union-attr]
                self._failed(error)
                try:
                    one.end()
                except Exception:  # noqa: BLE001 - it had its chance
                    pass

    def _failed(self, error: Exception) -> None:
        self._monitor.note(error=f"{type(error).__name__}: {error}")


class _Guarded:
    """The loop as attendants get it: what a handler raises is noted, and its descriptor watched no longer."""

    def __init__(self, events: loop.Loop, failed: Callable[[Exception], None]) -> None:
        self._loop = events
        self._failed = failed

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        def guarded(happened: int) -> None:
            try:
                handler(happened)
            except Exception as error:  # noqa: BLE001 - as above
                self._loop.unwatch(fd)
                self._failed(error)

        self._loop.watch(fd, events, guarded)

    def unwatch(self, fd: int) -> None:
        self._loop.unwatch(fd)
