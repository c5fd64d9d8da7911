# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several transfers at once: threads that do them, and the caller's thread, in which everything is reported."""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

PROGRESS_INTERVAL = 0.1  # seconds between two reports of one transfer
# Threads are waited for this long after a failure: a stalled server must not hold up the message, and whatever they
# were writing is only visible once it is whole.
FAREWELL = 2.0


class Stopped(Exception):
    """Another transfer failed: this one ends here."""


class Report:
    """One transfer's progress, sent on to the caller's thread. id: what it is about; total: bytes."""

    def __init__(self, workers: Workers, label: str, total: int) -> None:
        self._workers = workers
        self._label = label
        self._total = total
        self._next = 0.0

    def state(self, status: str, current: int | None = None) -> None:
        """Report a change of state, always."""
        current = self._total if current is None else current
        self._workers.post({"id": self._label, "status": status, "current": current, "total": self._total})

    def moved(self, status: str, current: int) -> None:
        """Report how far it is, at most ten times a second. Raises Stopped."""
        if self._workers.stopping:
            raise Stopped
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PROGRESS_INTERVAL
            self.state(status, current)


class Workers:
    """Runs work(job) for each job, several at once; calls progress and done in the thread that called run().

    A first failure stops the others and is raised; so does an interrupt of the caller. Good for one run().
    """

    def __init__(self, count: int, progress: Callable[[dict[str, Any]], object] | None = None) -> None:
        import queue

        self._count = count
        self._progress = progress
        self._events: Any = queue.SimpleQueue()
        self.stopping = False

    def post(self, event: dict[str, Any]) -> None:
        """Hand a progress event to the caller's thread."""
        if self._progress is not None:
            self._events.put(("progress", event, None))

    def run(
        self, jobs: Iterable[Any], work: Callable[[Any], Any], done: Callable[[Any, Any], object] | None = None
    ) -> None:
        """Do all jobs. done(job, result) is called as each ends, in order of their ends."""
        waiting = list(reversed(list(jobs)))
        open_jobs = len(waiting)
        lock = threading.Lock()

        def loop() -> None:
            while not self.stopping:
                with lock:
                    if not waiting:
                        return
                    job = waiting.pop()
                try:
                    self._events.put(("done", job, work(job)))
                except BaseException as error:
                    self._events.put(("failed", job, error))
                    return

        threads = [threading.Thread(target=loop, daemon=True) for _ in range(min(self._count, open_jobs))]
        try:
            for thread in threads:
                thread.start()
            while open_jobs:
                kind, subject, value = self._events.get()
                if kind == "progress":
                    if self._progress is not None:
                        self._progress(subject)
                elif kind == "failed":
                    raise value
                else:
                    open_jobs -= 1
                    if done is not None:
                        done(subject, value)
        finally:
            self.stopping = True
            deadline = time.monotonic() + FAREWELL
            for thread in threads:
                if thread.ident is not None:
                    thread.join(max(0.0, deadline - time.monotonic()))
