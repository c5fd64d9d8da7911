# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Entering events: what changes the index goes there in the same transaction, the rest beside the container.

A container's own journal (supervise.journal) is not synced and needs no lock: starts, signals and execs cost nothing.
When the container goes, its journal moves into the index with the row's removal. Reading all of them is eventlog's.
"""

from __future__ import annotations

import time

from .. import lightjson as json
from ..supervise import journal
from .paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .core import Engine


def attributes(record: Any, extra: dict[str, str] | None = None, *, name: str = "") -> dict[str, str]:
    """What docker says of a container in each event: its labels, image and name. record: the store's row."""
    spec = json.loads(record.spec)
    labels = {key: str(value) for key, value in (spec.get("labels") or {}).items()}
    return {**labels, "image": spec.get("image", ""), "name": name or record.name, **(extra or {})}


def entered(engine: Engine, record: Any, action: str, extra: dict[str, str] | None = None, *, name: str = "") -> None:
    """Enter a container's event into the index, in the caller's transaction."""
    engine.store.events.add("container", action, record.id, attributes(record, extra, name=name))


def noted(engine: Engine, container_id: str, action: str, extra: dict[str, str] | None = None) -> None:
    """Append an event to a container's own journal."""
    journal.append(path(engine, container_id), action, time.time_ns(), extra or {})


def path(engine: Engine, container_id: str) -> str:
    """Where a container's journal is."""
    return f"{Paths(engine, container_id).folder}/{journal.FILE}"


def of_container(engine: Engine, record: Any) -> list[Any]:
    """The events of a container's own journal, with the name that it had at each time."""
    from ..store.events import Event

    lines = journal.read(path(engine, record.id))
    if not lines:
        return []
    renames = engine.store.events.of(record.id, "rename")
    names = [(event.time_ns, event.attributes.get("oldName", "").lstrip("/")) for event in renames]
    known: dict[str, dict[str, str]] = {}
    found = []
    for time_ns, action, extra in lines:
        name = next((old for moment, old in names if moment > time_ns), record.name)
        if name not in known:
            known[name] = attributes(record, name=name)
        own = {key: str(value) for key, value in extra.items()}
        found.append(Event(0, time_ns, "container", action, record.id, {**known[name], **own}))
    return found


def forgotten(engine: Engine, record: Any) -> None:
    """Move a container's journal into the index, with the container's end; in the transaction that removes its row."""
    from ..store.events import Event

    moved = of_container(engine, record)
    destroyed = Event(0, time.time_ns(), "container", "destroy", record.id, attributes(record))
    engine.store.events.add_all([*moved, destroyed])
