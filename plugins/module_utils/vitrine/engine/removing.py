# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking a container away: its row, what happened to it, its files, and the volumes that only it knew of."""

from __future__ import annotations

import os

from .. import lightjson as json
from ..errors import Conflict, DiskFull
from ..linux.fs import remove_tree, write_atomic
from . import events
from .paths import DOOMED, Paths, remove_folder
from .spec import ContainerSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .core import Engine


def remove(engine: Engine, name: str, *, force: bool = False, volumes: bool = False) -> str:
    """Remove a container; returns its id. force: kill it first. volumes: its anonymous volumes too.

    Raises Conflict when it runs and force is not set, ContainerNotFound.
    """
    from .containers import ALIVE

    containers = engine.containers
    record = containers.record(name)
    with containers.locked(record.id):
        if containers.settled(record.id)["status"] in ALIVE:
            if not force:
                raise Conflict(
                    f"container {record.name!r} is running", hint="stop it first, or use force", value=record.name
                )
            containers.end(record, 0, kill=True)
        orphaned = engine.system.release(record.id)
        discard(engine, record, volumes=volumes)
    if orphaned:
        engine.system.sweep_network()
    return record.id


def discard(engine: Engine, record: Any, *, volumes: bool) -> None:
    """Remove what is kept of a container that does not run; the caller holds its lock."""
    store = engine.store
    paths = Paths(engine, record.id)
    anonymous = []
    if volumes:
        mounts = ContainerSpec.from_json(record.spec).mounts
        anonymous = [mount.source for mount in mounts if mount.anonymous]
    if anonymous:  # another container may have been given one of them by its name: then it stays
        others = [other.spec for other in store.containers.list() if other.id != record.id]
        anonymous = [source for source in anonymous if not any(source in spec for spec in others)]
    try:
        write_atomic(f"{paths.folder}/{DOOMED}", json.dumps(anonymous).encode(), durable=bool(anonymous))
        with store.db.transaction():
            if store.containers.delete(record.id):
                events.forgotten(engine, record)
    except (DiskFull, OSError):
        # no room is left even for this: what the container wrote and said goes first then, and without a word
        for name in os.listdir(paths.folder):
            if name in ("upper", "root") or ".log" in name:
                remove_tree(f"{paths.folder}/{name}")
        store.containers.delete(record.id)
    for source in anonymous:
        store.volumes.remove(source)
    remove_folder(paths.folder)
    remove_tree(paths.run)
