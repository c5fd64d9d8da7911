# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a process ended that is not our child: what an adopting monitor sees, and commands while there is no monitor.

Linux 6.15 keeps the wait status for the holders of a pidfd that was opened before the process was waited for
(PIDFD_GET_INFO). Who has to wait for it, the host's init, does so at any moment. Older kernels tell nobody.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time

from .. import clock
from ..linux import process
from . import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PIDFD_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, 64 bytes), linux/pidfd.h
_PIDFD_INFO_EXIT = 1 << 3
PATIENCE = 5.0  # seconds that the host's init may take to wait for a process that it inherited
_BY_OTHERS = "its monitor died; the end was seen by a command that waited for it"


def status_of_other(pidfd: int, patience: float = PATIENCE) -> int | None:
    """Return the wait status of a process that is not our child and has ended; None where the kernel does not tell."""
    end = time.monotonic() + patience
    pause = 0.001
    while True:
        info = bytearray(struct.pack("=QQ11Ii", _PIDFD_INFO_EXIT, 0, *[0] * 12))
        try:
            fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info, True)
        except OSError as error:
            if error.errno != errno.ESRCH:
                return None
        else:
            mask, *_rest, status = struct.unpack("=QQ11Ii", info)
            if mask & _PIDFD_INFO_EXIT:
                return int(status)
        if time.monotonic() > end:
            return None
        time.sleep(pause)
        pause = min(pause * 2, 0.1)


def code_of(status: int | None) -> int | None:
    """Return the exit code that a wait status stands for: 128 + n for a signal."""
    if status is None:
        return None
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


class Witness:
    """Holds on to a container's first process, in case that its monitor dies before it does."""

    def __init__(self) -> None:
        self._pid = 0
        self._started = 0
        self._pidfd = -1

    def look(self, known: dict[str, Any]) -> None:
        """Take hold of the process that an observed state names; it may be another one than before."""
        if known["status"] not in ("running", "paused") or (known["pid"], known["start_time"]) == self._who:
            return
        self.close()
        try:
            self._pidfd = process.pidfd_open(known["pid"])
        except OSError:
            return
        if process.alive(known["pid"], known["start_time"]):
            self._pid, self._started = known["pid"], known["start_time"]
        else:
            self.close()

    @property
    def _who(self) -> tuple[int, int]:
        return self._pid, self._started

    def testify(self, known: dict[str, Any], state_path: str, run_dir: str) -> dict[str, Any]:
        """Return the observed state, with the exit code where nobody but us saw it; then it is recorded too."""
        if self._pidfd < 0 or known["status"] != "exited" or known["exit_code"] is not None:
            return known
        if state.read(state_path)["pid"] not in (0, self._pid):
            return known  # it was started again, and what ended then was another one
        code = code_of(status_of_other(self._pidfd))
        if code is None:
            return known
        known = dict(known, exit_code=code, error=_BY_OTHERS, finished_at=known["finished_at"] or clock.now())
        lock = state.take_lock(run_dir) if os.path.isdir(run_dir) else -1
        if lock >= 0:
            try:
                recorded = state.read(state_path)
                if (recorded["pid"], recorded["start_time"]) == self._who:
                    recorded.update({name: known[name] for name in ("exit_code", "error", "finished_at")})
                    state.write(state_path, dict(recorded, status="exited", pid=0, start_time=0))
            except OSError:
                pass  # it was told at least
            finally:
                os.close(lock)
        return known

    def close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._pid = self._started = 0
        self._pidfd = -1
