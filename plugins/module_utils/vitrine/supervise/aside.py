# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that a monitor does once, in a copy of itself: the memory that it takes is given back with the copy.

To wire a network touches a quarter of all that a monitor has, and a page that was touched is shared with nobody.
"""

from __future__ import annotations

import os

from ..errors import StartFailed
from . import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable


def call(stage: str, action: Callable[[], object]) -> None:
    """Call action in a child and wait for it. What it changes in memory is lost. Raises VitrineError as it does."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        child = os.fork()
        if not child:
            _child(writer, stage, action)
        os.close(writer)
        writer = -1
        message = report.receive(reader)
        os.waitpid(child, 0)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    if message is None:
        raise StartFailed(f"{stage}: the process that did it was killed", stage=stage)
    word, fields = message
    if word == "error":
        raise report.rebuild(fields)


def _child(writer: int, stage: str, action: Callable[[], object]) -> None:
    """Never returns."""
    try:
        try:
            action()
        except Exception as error:  # noqa: BLE001 - whatever it was, the monitor raises it
            report.send(writer, "error", report.describe(error, stage))
        else:
            report.send(writer, "done", {})
    finally:
        os._exit(0)
