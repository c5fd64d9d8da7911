# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The monitor's event loop: poll(2) and who is called for which descriptor. Nothing happens: it sleeps for ever."""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

READ = select.POLLIN
WRITE = select.POLLOUT
_LONGEST = 0x7FFFFFFF  # ms that poll(2) takes: 24 days
HANGUP = select.POLLHUP | select.POLLERR | select.POLLNVAL


class Woken(BaseException):
    """What a signal's handler may raise while the loop is waiting, to make it go on."""


class Loop:
    """One poll set. A handler gets the events of its descriptor and may watch and unwatch any other."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._events: dict[int, int] = {}
        self.waiting = False  # whether a signal's handler may raise Woken

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        self._handlers[fd] = handler
        if self._events.get(fd) != events:
            self._events[fd] = events
            self._poll.register(fd, events)

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor; must come before it is closed. Unknown ones are ignored."""
        if self._handlers.pop(fd, None) is not None:
            del self._events[fd]
            self._poll.unregister(fd)

    def epoll(self) -> select.epoll:
        """Return an epoll(7) set of all that is watched, for a process that only wants to know whether to wake."""
        found = select.epoll()
        for fd, events in self._events.items():
            found.register(fd, events)
        return found

    def turn(self, timeout_ms: int | None) -> None:
        """Wait for events, at most timeout_ms (None: for ever), and serve them."""
        try:
            self.waiting = True
            ready = self._poll.poll(None if timeout_ms is None else min(timeout_ms, _LONGEST))
            self.waiting = False
        except Woken:
            self.waiting = False
            return
        for fd, events in ready:
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(events)
