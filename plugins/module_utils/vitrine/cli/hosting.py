# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""boot, shutdown: what a host's own start and stop call."""

from __future__ import annotations

import sys

from ..errors import InvalidInput
from .flags import Command, Options, option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine import Engine

COMMANDS = {
    "boot": Command("boot", "Start what its restart policy wants started after a reboot", "boot"),
    "shutdown": Command(
        "shutdown", "Stop all containers before the host goes down; what should run comes back with 'vitrine boot'",
        "shutdown",
        flags=(option("time", "t", value="SECONDS", help="The longest time that any container gets to stop"),),
    ),
}  # fmt: skip


def seconds(text: str | None) -> int | None:
    """A --time of at least 0; None when it is not given."""
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise InvalidInput(f"--time is {text!r}", hint="write whole seconds, at least 0", value=text)
    return int(text)


def boot(engine: Engine, _options: Options, _operands: list[str]) -> int:
    """vitrine boot"""
    from ..engine import booting

    return _told(engine.system.boot(), booting.STARTED)


def shutdown(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine shutdown"""
    from ..engine import booting

    return _told(engine.system.shutdown(seconds(options.time)), booting.STOPPED)


def _told(outcomes: list[tuple[str, str]], good: str) -> int:
    failed = False
    for name, outcome in outcomes:
        sys.stdout.write(f"{name}: {outcome}\n")
        failed = failed or outcome != good
    return int(failed)
