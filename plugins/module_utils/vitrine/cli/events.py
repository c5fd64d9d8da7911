# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""events: what happened, and what happens from now on."""

from __future__ import annotations

import json
import sys

from ..engine import eventlog
from . import table
from .flags import Command, Options, option, switch
from .messages import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..engine import Engine

COMMANDS = {
    "events": Command(
        "events", "Show what happens to containers, images, networks and volumes, until interrupted", "events",
        flags=(
            option("since", value="TIME", help="Begin with what happened then: a time, or a duration such as 10m"),
            option("until", value="TIME", help="End there: a time, or a duration such as 10m (ago)"),
            option("filter", "f", value="KEY=VALUE", many=True, help=f"Filter: {', '.join(eventlog.FILTERS)}"),
            option("format", value="FORMAT", help="As json, or a text with keys such as {{.Action}}"),
            switch("no-stream", help="Only what happened already, all of it if --since is not given"),
        ),
    ),
}  # fmt: skip


def events(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine events"""
    import time

    form = table.checked(options.format)
    since = None if options.since is None else table.moment(options.since)
    until = None if options.until is None else table.moment(options.until)
    if options.no_stream:
        now = time.time_ns()
        until = now if until is None else min(until, now)
    for event in eventlog.stream(engine, since=since, until=until, words=options.filter):
        if form is None:
            line = plain(eventlog.as_text(event))
        else:
            document = eventlog.as_document(event)
            line = json.dumps(document) if form == "json" else table.fill(_fields(document), form)
        sys.stdout.write(line.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
        sys.stdout.flush()
    return 0


def _fields(document: dict[str, Any]) -> dict[str, Any]:
    """An event by the names that docker's templates have: some of them are not those of its JSON."""
    names = {"Scope": "scope", "Time": "time", "TimeNano": "timeNano", "Status": "status", "From": "from", "ID": "id"}
    return {**document, **{name: document.get(key, "") for name, key in names.items()}}
