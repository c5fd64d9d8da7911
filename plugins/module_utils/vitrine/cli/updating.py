# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""update: other limits for containers that exist."""

from __future__ import annotations

from ..engine import parse
from ..errors import InvalidInput
from .container_flags import CONTAINER_FLAGS, limits
from .flags import Command, Options
from .lifecycle import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..engine import Engine

_NAMES = (
    "blkio-weight", "cpu-period", "cpu-quota", "cpu-shares", "cpus", "cpuset-cpus", "cpuset-mems", "memory",
    "memory-reservation", "memory-swap", "oom-score-adj", "pids-limit", "restart",
)  # fmt: skip

COMMANDS = {
    "update": Command(
        "update", "Change the limits of containers, running or not", "update", "CONTAINER [CONTAINER...]", 1, -1,
        tuple(flag for flag in CONTAINER_FLAGS if flag.names[0] in _NAMES), complete="container",
    ),
}  # fmt: skip


def update(engine: Engine, options: Options, names: list[str]) -> int:
    """vitrine update"""
    no_cpus = options.cpus is not None and not options.cpus.strip("0.")  # as for the others, 0 takes the limit away
    options = Options({**vars(options), "cpus": None}) if no_cpus else options
    values: dict[str, Any] = {"nano_cpus": 0} if no_cpus else {}
    values.update({key: value for key, value in limits(options).items() if value is not None})
    if options.restart is not None:
        values["restart_policy"], values["restart_retries"] = parse.restart(options.restart)
    if not values:
        raise InvalidInput("nothing to change was named", hint="see 'vitrine update --help'", value=names)
    return each(names, lambda name: engine.containers.update(name, **values))
