# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A monitor that has done nothing yet: what a process never touches after its fork it shares with all the others.

It has a worker, a process with which it shares its descriptors (CLONE_FILES) but not its memory. That one starts the
container, as a child of the monitor (CLONE_PARENT), leaves word of it in a file in memory and a set of all that the
monitor has to wait for, and ends. The monitor sleeps until there is something in that set, and is an ordinary one from
then on (Monitor.resume). A start that needs more of a monitor than waiting is left to the monitor itself.
"""

from __future__ import annotations

import _signal
import marshal
import os
import select

from ..linux import clone, memory, prctl
from ..runtime import seal
from . import loop, monitor, state, wire
from .place import Shield

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DOZE, _FAILED, _REFUSED = 0, 1, 2  # a worker's exit statuses


def live(nursery: tuple[int, int]) -> int:
    """Be the monitor that the request asks for. nursery: see monitor.live()."""
    for place in (wire.HANDED_FD, wire.WAKE_FD):
        os.dup2(0, place, inheritable=False)  # nothing else shall get these numbers
    recalls = _Recalls()
    own = os.getpid()
    worker = clone.clone(clone.CLONE_FILES)[0]
    if not worker:
        status = _FAILED
        try:
            prctl.die_with_parent(own)
            status = _work(nursery)
        finally:
            os._exit(status)
    status = os.waitpid(worker, 0)[1]
    if status == _REFUSED << 8:
        _leave(seal.PAYLOAD_FD, wire.HANDED_FD)
        os.close(wire.WAKE_FD)
        return monitor.live(nursery)
    if status:
        return 1  # the client has been told, or sees that nobody tells it anything
    Shield(b"").raise_()
    memory.let_go()
    recalls.sleep()
    os.close(wire.WAKE_FD)
    handed = _read(wire.HANDED_FD)
    resumed = monitor.Monitor(handed["request"])
    resumed.resume(handed, recalled=recalls.came)
    os._exit(resumed.serve())


class _Recalls:
    """Takes state.RECALL while nobody else does. came: whether it was there."""

    def __init__(self) -> None:
        self.came = False
        self._sleeping = False
        _signal.signal(state.RECALL, self._take)

    def _take(self, _number: int, _frame: object) -> None:
        self.came = True
        if self._sleeping:
            raise loop.Woken

    def sleep(self) -> None:
        """Return when there is something for a monitor to do."""
        poll = select.poll()
        poll.register(wire.WAKE_FD, select.POLLIN)
        try:
            self._sleeping = True
            if not self.came:
                poll.poll()
            self._sleeping = False
        except loop.Woken:
            self._sleeping = False


def _work(nursery: tuple[int, int]) -> int:
    """In the worker: do what there is to do up to the moment when the monitor only has to wait."""
    request: Any = seal.request()
    if request.get("adopt") or request.get("health") or request.get("names"):
        _leave(wire.HANDED_FD, seal.pack(request))
        return _REFUSED
    working = monitor.Monitor(request, nursery, worker=True)
    if not working.begin():
        return _FAILED
    handed, wake = working.hand_over()
    _leave(wire.WAKE_FD, wake.fileno())
    _leave(wire.HANDED_FD, seal.pack(handed))
    working.tell_started()
    return _DOZE


def _leave(place: int, fd: int) -> None:
    os.dup2(fd, place, inheritable=False)
    os.close(fd)


def _read(fd: int) -> Any:
    with open(fd, "rb") as file:
        return marshal.loads(file.read())
