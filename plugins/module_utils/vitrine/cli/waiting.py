# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""wait: until containers have ended, or have become something else."""

from __future__ import annotations

import sys

from ..engine import waiting
from ..errors import VitrineError
from .flags import Command, Options, option
from .messages import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine import Engine

COMMANDS = {
    "wait": Command(
        "wait", "Wait until containers stop, and print their exit codes", "wait", "CONTAINER [CONTAINER...]", 1, -1,
        (
            option(
                "condition", value="CONDITION", choices=waiting.CONDITIONS,
                help=f"Wait for something else, and print nothing: {', '.join(waiting.CONDITIONS)}",
            ),
        ),
        complete="container",
    ),
}  # fmt: skip


def wait(engine: Engine, options: Options, names: list[str]) -> int:
    """vitrine wait"""
    failed = False
    for outcome in waiting.wait_all(engine, names, options.condition or "stopped"):
        if isinstance(outcome, VitrineError):
            complain(outcome)
            failed = True
        elif outcome:
            sys.stdout.write(f"{outcome}\n")
            sys.stdout.flush()
    return int(failed)
