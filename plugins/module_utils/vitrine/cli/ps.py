# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ps: the containers there are."""

from __future__ import annotations

import sys
import time

from ..engine import health
from ..errors import InvalidInput
from . import table
from .flags import Command, Options, option, switch
from .selection import Selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..engine import Engine

COMMANDS = {
    "ps": Command(
        "ps", "List containers", "ps",
        flags=(
            switch("all", "a", help="Show those that do not run, too"),
            option("filter", "f", value="KEY=VALUE", many=True, help="Filter: name=, status=, health=, label=, ..."),
            option("last", "n", value="N", help="Show the last N created, in any state"),
            switch("latest", "l", help="Show the latest created, in any state"),
            switch("quiet", "q", help="Only print ids"),
            switch("size", "s", help="Show what containers wrote"),
            switch("no-trunc", help="Print ids and commands whole"), table.FORMAT,
        ),
    ),
}  # fmt: skip

_COLUMNS = {
    "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "RunningFor": "CREATED", "Status": "STATUS",
    "Ports": "PORTS", "Names": "NAMES", "Size": "SIZE",
}  # fmt: skip


def status_text(observed: dict[str, Any]) -> str:
    """The STATUS column."""
    status = observed["status"]
    if status in ("running", "paused", "stopping"):
        up = f"Up {table.span(time.time() - (table.seconds_of(observed['started_at']) or time.time()))}"
        if status == "paused":
            return f"{up} (Paused)"
        checked = health.status(observed)
        return up if checked == "none" else f"{up} (health: starting)" if checked == "starting" else f"{up} ({checked})"
    if status == "created":
        return "Created"
    code = observed.get("exit_code")
    verb = "Restarting" if status == "restarting" else "Exited"
    return f"{verb} ({'unknown' if code is None else code}) {table.ago(observed.get('finished_at') or '')}"


def ports_text(ports: list[list[Any]]) -> str:
    """The PORTS column."""
    words = []
    for host_ip, host_port, container_port, protocol in ports:
        address = f"[{host_ip}]" if ":" in host_ip else host_ip or "0.0.0.0"
        words.append(f"{address}:{host_port}->{container_port}/{protocol}")
    return ", ".join(words)


def _shortened(text: str, most: int, whole: bool) -> str:
    return text if whole or len(text) <= most else text[: most - 1] + "…"


def _row(engine: Engine, options: Options, record: Any, spec: Any, observed: dict[str, Any]) -> dict[str, str]:
    whole = options.no_trunc
    running = observed["status"] in ("running", "paused")
    sources = [mount.source or mount.target for mount in spec.mounts]
    networks = list(spec.networks) or ["bridge" if spec.network_mode == "default" else spec.network_mode]
    return {
        "ID": record.id if whole else record.id[:12],
        "Image": spec.image,
        "Command": f'"{_shortened(engine.containers.command_line(record, spec), 20, whole)}"',
        "CreatedAt": record.created,
        "RunningFor": table.ago(record.created),
        "State": observed["status"],
        "Status": status_text(observed),
        "Ports": ports_text(observed.get("ports") or []) if running else "",
        "Names": record.name,
        "Labels": ",".join(f"{key}={value}" for key, value in spec.labels.items()),
        "Mounts": ",".join(_shortened(source, 15, whole) for source in sources),
        "LocalVolumes": str(len([mount for mount in spec.mounts if mount.type == "volume"])),
        "Networks": ",".join(networks),
        "Size": _size(engine, record) if options.size else "",
    }


def _size(engine: Engine, record: Any) -> str:
    from ..engine import disk_use
    from .progress import size

    written, whole = disk_use.of_container(engine, record)
    return f"{size(written)} (virtual {size(whole)})"


def ps(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine ps"""
    selection = Selection(engine, options.filter)
    if options.last is not None and not options.last.isdigit():
        raise InvalidInput(f"--last is {options.last!r}", hint="write a whole number", value=options.last)
    last = 1 if options.latest else int(options.last or 0)
    everything = bool(options.all or last or selection.of_any_state)
    rows = [row for row in engine.containers.all(everything=everything) if selection.takes(*row)]
    rows = rows[:last] if last else rows
    if options.quiet:
        for record, _spec, _observed in rows:
            sys.stdout.write((record.id if options.no_trunc else record.id[:12]) + "\n")
        return 0
    columns = {key: head for key, head in _COLUMNS.items() if key != "Size" or options.size}
    shown = [_row(engine, options, *row) for row in rows]
    table.print_rows(tuple(columns.values()), shown, options.format, keys=tuple(columns))
    return 0
