# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened to containers, images, networks and volumes: the newest events, entered with the change itself."""

from __future__ import annotations

import time

from .. import lightjson as json
from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable
    from typing import Any

    from . import Store

KEPT = 10_000
_SLACK = 256  # how many more there may be, so that not every change removes one


class Event(Record):
    """One event. seq: rises with each; 0 for one that only a container's own journal knows yet.

    time_ns: since 1970. kind: container, image, network or volume. action: docker's word. id: the container's, image's
    or network's, a volume's name. attributes: texts by name.
    """

    seq: int
    time_ns: int
    kind: str
    action: str
    id: str
    attributes: dict[str, str] = {}


class Events:
    """The events of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self, kind: str, action: str, object_id: str, attributes: dict[str, str] | None = None, *, time_ns: int = 0
    ) -> None:
        """Enter an event, in the caller's transaction if there is one. time_ns: 0 for now."""
        self.add_all([Event(0, time_ns or time.time_ns(), kind, action, object_id, attributes or {})])

    def add_all(self, events: Iterable[Event]) -> None:
        """Enter several at once."""
        db = self._store.db
        last = 0
        with db.transaction():
            for event in events:
                text = json.dumps(event.attributes, separators=(",", ":"))
                last = db.insert(
                    "INSERT INTO events (time_ns, kind, action, id, attributes) VALUES (?, ?, ?, ?, ?)",
                    event.time_ns, event.kind, event.action, event.id, text,
                )  # fmt: skip
            if last:
                (first,) = db.row("SELECT min(seq) FROM events") or (last,)
                if last - first >= KEPT + _SLACK:
                    db.run("DELETE FROM events WHERE seq <= ?", last - KEPT)

    def last(self) -> int:
        """Return the number of the newest event; 0 when there never was one."""
        return int((self._store.db.row("SELECT max(seq) FROM events") or (0,))[0] or 0)

    def list(self, after: int = 0) -> builtins.list[Event]:
        """Return all events after a number, in the order of their entering."""
        return self._events("seq > ?", after)

    def of(self, object_id: str, action: str) -> builtins.list[Event]:
        """Return the events of one object and action, in the order of their entering."""
        return self._events("id = ? AND action = ?", object_id, action)

    def _events(self, condition: str, *values: Any) -> builtins.list[Event]:
        query = f"SELECT seq, time_ns, kind, action, id, attributes FROM events WHERE {condition} ORDER BY seq"
        rows = self._store.db.rows(query, *values)
        return [Event(seq, at, kind, action, i, _texts(text)) for seq, at, kind, action, i, text in rows]


def _texts(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        return {}
