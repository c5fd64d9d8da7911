# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading events: the index's and the containers' own, in the order of their times, past ones and those to come."""

from __future__ import annotations

import time

from ..store.events import Event
from ..supervise import journal
from . import events, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from .core import Engine

KINDS = ("container", "image", "network", "volume")
FILTERS = (*KINDS, "type", "event", "label", "scope")
_REMEMBERED = 4096  # events of one container that are not told twice when its journal moves into the index


class Filter:
    """docker's filters: several values of one key are alternatives, several labels all have to be there."""

    def __init__(self, words: Sequence[str]) -> None:
        """words: "key=value". Raises InvalidInput."""
        self._wanted: dict[str, list[str]] = {}
        for key, value in parse.filters(words, FILTERS, {"type": KINDS}):
            self._wanted.setdefault(key, []).append(value)

    def passes(self, event: Event) -> bool:
        """Whether an event is wanted."""
        return all(self._one(event, key, values) for key, values in self._wanted.items())

    def _one(self, event: Event, key: str, values: list[str]) -> bool:
        own = event.attributes
        if key == "type":
            return event.kind in values
        if key == "event":  # as docker: "health_status" and "exec_start" stand for all that begin with them
            return event.action in values or event.action.partition(":")[0] in values
        if key == "scope":
            return "local" in values
        if key == "label":
            pairs = [value.partition("=") for value in values]
            return all(name in own and (not equals or own[name] == text) for name, equals, text in pairs)
        if key == event.kind:
            name = own.get("name", "")
            return any(event.id == value or name == value or _begins(event.id, value) for value in values)
        if key == "image" and event.kind == "container":
            image = own.get("image", "")
            return any(value in (image, image.rpartition(":")[0], f"{image}:latest") for value in values)
        if key == "container":  # networks tell whom they were connected to
            whom = own.get("container", "")
            return any(whom == value or _begins(whom, value) for value in values)
        return False


def _begins(object_id: str, value: str) -> bool:
    return len(value) >= 4 and object_id.partition(":")[2 if ":" in object_id else 0].startswith(value)


class Reader:
    """Gives each event once, in the order of their times as far as they are known when asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._after = 0
        self._index = journal.identity(engine.store.db.path)[0]
        self._told: dict[str, dict[tuple[int, str], None]] = {}
        self._read: dict[str, tuple[Any, ...]] = {}

    def news(self) -> list[Event]:
        """All events that were not given yet."""
        store = self._engine.store
        index = journal.identity(store.db.path)[0]
        if index != self._index:  # it was damaged, and made anew by another command: ours is the old file
            store.close()
            self._index = journal.identity(store.db.path)[0]
        found = []
        # journals first, and then the index: what moves between the two looks is seen in both rather than in none
        for record in store.containers.list():
            path = events.path(self._engine, record.id)
            seen = (journal.identity(path), journal.identity(path + journal.OLDER))
            if seen != self._read.get(record.id):
                self._read[record.id] = seen
                found += [event for event in events.of_container(self._engine, record) if self._first_time(event)]
        for event in store.events.list(self._after):
            self._after = event.seq
            if event.kind != "container" or self._first_time(event):
                found.append(event)
            if event.kind == "container" and event.action == "destroy":
                self._told.pop(event.id, None)
                self._read.pop(event.id, None)
        return sorted(found, key=lambda event: event.time_ns)

    def _first_time(self, event: Event) -> bool:
        told = self._told.setdefault(event.id, {})
        key = (event.time_ns, event.action)
        if key in told:
            return False
        told[key] = None
        if len(told) > _REMEMBERED:
            del told[next(iter(told))]
        return True


def stream(
    engine: Engine, *, since: int | None = None, until: int | None = None, words: Sequence[str] = ()
) -> Iterator[Event]:
    """Give events from since (ns; None: those to come, or all when there is an end) to until (ns; None: for ever).

    Raises InvalidInput for a filter that is none.
    """
    wanted = Filter(words)
    reader = Reader(engine)
    begun = time.time_ns()
    first = since if since is not None else 0 if until is not None else begun

    def chosen(first: int) -> Iterator[Event]:
        for event in reader.news():
            if event.time_ns >= first and (until is None or event.time_ns <= until) and wanted.passes(event):
                yield event

    return _stream(engine, chosen, first, until)


def _stream(engine: Engine, chosen: Callable[[int], Iterator[Event]], first: int, until: int | None) -> Iterator[Event]:
    if until is not None and until <= time.time_ns():
        yield from chosen(first)
        return
    from .watching import Watch

    with Watch(engine.settings.root, journal.FILE) as watch:
        while True:
            yield from chosen(first)
            first = 0  # what comes now comes now, even if somebody put the clock back
            left = None if until is None else (until - time.time_ns()) / 1e9
            if left is not None and left <= 0:
                return
            watch.wait(left)


def as_document(event: Event) -> dict[str, Any]:
    """docker's JSON object of an event."""
    document: dict[str, Any] = {
        "Type": event.kind,
        "Action": event.action,
        "Actor": {"ID": event.id, "Attributes": event.attributes},
        "scope": "local",
        "time": event.time_ns // 10**9,
        "timeNano": event.time_ns,
    }
    if event.kind in ("container", "image"):  # as in the days when there was nothing else
        document = {"status": event.action, "id": event.id, **document}
        if event.kind == "container":
            document["from"] = event.attributes.get("image", "")
    return document


def as_text(event: Event) -> str:
    """docker's line of an event; the time is this host's."""
    seconds, rest = divmod(event.time_ns, 10**9)
    here = time.localtime(seconds)
    zone = time.strftime("%z", here)
    words = ", ".join(f"{key}={value}" for key, value in sorted(event.attributes.items()))
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', here)}.{rest:09d}{zone[:3]}:{zone[3:]}"
    return f"{stamp} {event.kind} {event.action} {event.id}" + (f" ({words})" if words else "")
