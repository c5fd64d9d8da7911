# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress of pulls and pushes: bars on a terminal, one line a layer's end in a pipe, nothing when quiet."""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_REDRAW = 0.1  # seconds between two drawings of a bar
_BAR = 40
_DONE = ("Pull complete", "Already exists", "Pushed", "Layer already exists", "Mounted", "Download complete")


def size(count: float) -> str:
    """A size as docker writes it: "12.3MB" (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.4g}{unit}"
        count /= 1000
    return f"{count:.4g}TB"


def binary_size(count: float) -> str:
    """A size as docker writes memory: "12.3MiB" (powers of 1024)."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g}{unit}"
        count /= 1024
    return f"{count:.4g}TiB"


def reporter(*, quiet: bool = False) -> Callable[[dict[str, Any]], None] | None:
    """What to hand to pull and push as their progress: None when nothing shall be shown."""
    if quiet:
        return None
    return Bars().show if os.isatty(2) else show_line


def show_line(event: dict[str, Any]) -> None:
    """One line for each thing that is done; a pipe has no use for the rest."""
    status = event.get("status", "")
    if event.get("id") and status not in _DONE:
        return
    sys.stderr.write(f"{event['id']}: {status}\n" if event.get("id") else f"{status}\n")


class Bars:
    """A line for each layer, redrawn in place."""

    def __init__(self) -> None:
        self._rows: list[str] = []
        self._drawn: dict[str, tuple[str, float]] = {}

    def show(self, event: dict[str, Any]) -> None:
        """Draw one event."""
        key = event.get("id", "")
        status = event.get("status", "")
        if not key:
            self._rows.append("")
            sys.stderr.write(f"{status}\n")
            sys.stderr.flush()
            return
        last_status, last_time = self._drawn.get(key, ("", 0.0))
        moment = time.monotonic()
        if status == last_status and moment - last_time < _REDRAW and event.get("current") != event.get("total"):
            return
        self._drawn[key] = (status, moment)
        if key not in self._rows:
            self._rows.append(key)
            sys.stderr.write("\n")
        up = len(self._rows) - self._rows.index(key)
        sys.stderr.write(f"\x1b[{up}A\r\x1b[2K{key}: {status}{self._bar(event)}\x1b[{up}B\r")
        sys.stderr.flush()

    @staticmethod
    def _bar(event: dict[str, Any]) -> str:
        current, total = event.get("current") or 0, event.get("total") or 0
        if not total or event.get("status") in _DONE:
            return ""
        filled = min(_BAR, _BAR * current // total)
        arrow = ("=" * filled + ">").ljust(_BAR + 1)[: _BAR + 1]
        return f" [{arrow}] {size(current)}/{size(total)}"
