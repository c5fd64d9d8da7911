# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""stats, top: what containers use, and what runs in them."""

from __future__ import annotations

import sys
import time

from ..errors import Conflict, ContainerNotFound
from . import table
from .flags import Command, Options, switch
from .progress import binary_size, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..engine import Engine

COMMANDS = {
    "stats": Command(
        "stats", "Show what containers use, live", "stats", "[CONTAINER...]", 0, -1,
        (
            switch("all", "a", help="Show those that do not run, too"),
            switch("no-stream", help="Print once and end"),
            switch("no-trunc", help="Print ids whole"),
            table.FORMAT,
        ),
        complete="container",
    ),
    "top": Command(
        "top", "Show the processes of a container; the options are those of ps", "top", "CONTAINER [PS OPTIONS]",
        1, -1, options_first=True, complete="container",
    ),
}  # fmt: skip

COLUMNS = ("CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS")
KEYS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_EMPTY = {"CPUPerc": "--", "MemUsage": "-- / --", "MemPerc": "--", "NetIO": "--", "BlockIO": "--", "PIDs": "--"}
_PAUSE = 1.0  # seconds between two looks, as docker's
_FIRST_PAUSE = 0.25  # before the first answer, which needs two looks


class Samples:
    """Looks at containers, one after another; a row says what was used since the look before."""

    def __init__(self, engine: Engine, names: list[str], *, everything: bool, whole_ids: bool) -> None:
        self._engine = engine
        self._names = names
        self._everything = everything
        self._whole_ids = whole_ids
        self._last: dict[str, tuple[int, dict[str, Any]]] = {}
        self._first = True

    def rows(self) -> list[dict[str, str]]:
        """Look now. Raises ContainerNotFound for a name that there is not, Conflict when it does not run at first."""
        rows, seen = [], {}
        for record in self._records():
            try:
                seen[record.id] = (time.monotonic_ns(), self._engine.containers.stats(record.id))
            except (Conflict, ContainerNotFound):  # it does not run, or not any more
                if self._names and self._first and not self._everything:
                    raise
                if self._names or self._everything:
                    rows.append({**self._head(record), **_EMPTY})
                continue
            rows.append({**self._head(record), **self._used(self._last.get(record.id), seen[record.id])})
        self._last, self._first = seen, False
        return rows

    def _records(self) -> list[Any]:
        if self._names:
            return [self._engine.containers.record(name) for name in self._names]
        return [row[0] for row in self._engine.containers.all(everything=self._everything)]

    def _head(self, record: Any) -> dict[str, str]:
        identity = record.id if self._whole_ids else record.id[:12]
        return {"ID": identity, "Container": identity, "Name": record.name}

    @staticmethod
    def _used(before: tuple[int, dict[str, Any]] | None, now: tuple[int, dict[str, Any]]) -> dict[str, str]:
        used = now[1]
        busy = (used["cpu_ns"] - before[1]["cpu_ns"]) / (now[0] - before[0]) if before else 0.0
        memory, limit = used["memory_usage"], used["memory_limit"]
        return {
            "CPUPerc": f"{max(busy, 0.0) * 100:.2f}%",
            "MemUsage": f"{binary_size(memory)} / {binary_size(limit)}",
            "MemPerc": f"{100 * memory / limit:.2f}%" if limit else "0.00%",
            "NetIO": f"{size(used['net_rx_bytes'])} / {size(used['net_tx_bytes'])}",
            "BlockIO": f"{size(used['io_read_bytes'])} / {size(used['io_write_bytes'])}",
            "PIDs": str(used["pids"]),
        }


def stats(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine stats"""
    form = None if options.format == "table" else table.checked(options.format)
    samples = Samples(engine, operands, everything=options.all, whole_ids=options.no_trunc)
    samples.rows()
    time.sleep(_FIRST_PAUSE)
    clear = not options.no_stream and form != "json" and sys.stdout.isatty()
    while True:
        rows = samples.rows()
        if clear:
            sys.stdout.write("\x1b[H\x1b[J")
        table.print_rows(COLUMNS, rows, form, keys=KEYS)
        sys.stdout.flush()
        if options.no_stream:
            return 0
        time.sleep(_PAUSE)


def top(engine: Engine, _options: Options, operands: list[str]) -> int:
    """vitrine top"""
    from ..engine import processes

    titles, rows = processes.top(engine, operands[0], operands[1:])
    table.print_rows(titles, [dict(zip(titles, row)) for row in rows], None, keys=titles)
    return 0
