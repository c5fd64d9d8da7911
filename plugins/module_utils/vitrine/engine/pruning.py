# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing what nothing needs: stopped containers, nameless images, volumes that nobody mounts."""

from __future__ import annotations

import os
import time

from .. import lightjson as json
from ..errors import Conflict, ImageInUse, InvalidInput, NotFound
from . import disk_use, parse, volumes
from .paths import ATTENDED, OWNER, Paths
from .spec import ContainerSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from .core import Engine

    Moment = Callable[[str], int]


class Choice:
    """docker's filters of prune: until=TIME (older than that), label=KEY[=VALUE], label!=KEY[=VALUE]."""

    def __init__(self, words: Sequence[str], moment: Moment, *, until: bool = True) -> None:
        """moment: reads a time (ns). until: whether this kind of thing has an age. Raises InvalidInput."""
        self._until = 0
        self._labels: list[tuple[bool, str, str, str]] = []
        keys = ("until", "label", "label!") if until else ("label", "label!")
        for key, value in parse.filters(words, keys):
            if not value:
                raise InvalidInput(f"the filter {key!r} has no value", hint="write key=value", value=key)
            if key == "until":
                self._until = moment(value)
            else:
                self._labels.append((key == "label", *value.partition("=")))

    def takes(self, created: str, labels: dict[str, Any]) -> bool:
        """Whether a thing is chosen. created: RFC 3339, or ""."""
        if self._until and _seconds(created) * 10**9 >= self._until:
            return False
        for wanted, key, equals, value in self._labels:
            if (key in labels and (not equals or str(labels[key]) == value)) != wanted:
                return False
        return True


def _seconds(stamp: str) -> int:
    import calendar

    try:
        return calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0  # no time at all: as old as can be


def containers(engine: Engine, choice: Choice) -> tuple[list[str], int]:
    """Remove all containers that do not run; returns (their ids, bytes that they had written)."""
    from .containers import ALIVE

    gone, freed = [], 0
    for record in engine.store.containers.list():
        folder = Paths(engine, record.id).folder
        if any(os.path.exists(f"{folder}/{mark}") for mark in (OWNER, ATTENDED)):
            continue  # a command is about to start it, or to remove it
        labels = ContainerSpec.from_json(record.spec).labels
        if engine.containers.observe(record.id)["status"] in ALIVE or not choice.takes(record.created, labels):
            continue
        written = disk_use.of_container(engine, record)[0]
        try:
            gone.append(engine.containers.remove(record.id))
        except (Conflict, NotFound):
            continue  # somebody started it, or removed it, meanwhile
        freed += written
    return gone, freed


def images(engine: Engine, choice: Choice, *, everything: bool = False) -> tuple[list[str], int]:
    """Remove images without a name that no container and no image needs; everything: those with names too.

    Returns (names and ids that went, bytes of their layers).
    """
    store = engine.store
    before = _layers(engine)
    gone: list[str] = []
    again = True
    while again:  # what an image came from can go when that image is gone
        again = False
        for image in store.images.list():
            names = store.images.names(image.id)
            if (names and not everything) or store.containers.of_image(image.id):
                continue
            config = json.loads(image.config).get("config") or {}
            if store.images.children(image.id) or not choice.takes(image.created, config.get("Labels") or {}):
                continue
            try:
                done = engine.images.remove(image.id, force=bool(names))
            except (ImageInUse, NotFound, Conflict):
                continue
            gone += [
                *(f"untagged: {name}" for name in done["untagged"]),
                *(f"deleted: {item}" for item in done["deleted"]),
            ]
            again = True
    after = _layers(engine)
    return gone, sum(size for chain_id, size in before.items() if chain_id not in after)


def _layers(engine: Engine) -> dict[str, int]:
    return dict(engine.store.db.rows("SELECT chain_id, size FROM layers"))


def unused_volumes(engine: Engine, choice: Choice, *, everything: bool = False) -> tuple[list[str], int]:
    """Remove volumes without a name of their own that no container mounts; everything: named ones too."""
    gone, freed = [], 0
    for volume in volumes.unused(engine, named=everything):
        if not choice.takes(volume.created, json.loads(volume.labels)):
            continue
        size = disk_use.tree(volume.path)
        try:
            if volumes.remove(engine, volume.name, force=True):
                gone.append(volume.name)
                freed += size
        except Conflict:
            continue  # a container was made meanwhile that mounts it
    return gone, freed
