# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding a monitor again whose run directory somebody removed: nothing on disk leads to it but the last record."""

from __future__ import annotations

import os
import time

from ..linux import process
from . import state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SECONDS = 2.0
_KILL = 9


def recall(known: dict[str, Any], run_dir: str) -> bool:
    """Tell the monitor of a recorded run to make its run directory anew; returns whether there is one that did.

    known: state.read's. A monitor that does not, as one of another version may, is killed: another can take its place.
    """
    pid = known["monitor_pid"]
    started = process.start_time(pid) if pid > 0 else None
    if started is None or not _is_of(pid, run_dir):
        return False
    end = time.monotonic() + _SECONDS
    while process.send_signal(pid, started, state.RECALL):  # again and again: it may just have been about to wait
        for _ in range(20):
            if state.monitor_alive(run_dir):
                return True
            time.sleep(0.005)
        if time.monotonic() > end:
            process.send_signal(pid, started, _KILL)
            while process.alive(pid, started) and time.monotonic() < end + _SECONDS:
                time.sleep(0.005)
            break
    return False


def _is_of(pid: int, run_dir: str) -> bool:
    """Whether a process has a lock open that is the one of this run directory, or was: pids are used again."""
    path = f"{os.path.realpath(run_dir)}/{state.LOCK}"
    folder = f"/proc/{pid}/fd"
    try:
        return any(os.readlink(f"{folder}/{name}") in (path, f"{path} (deleted)") for name in os.listdir(folder))
    except OSError:
        return False
