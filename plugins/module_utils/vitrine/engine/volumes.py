# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Volumes as people name them: made, shown, and removed when no container mounts them."""

from __future__ import annotations

from .. import clock
from .. import lightjson as json
from .spec import ContainerSpec
from .spec import anonymous as is_anonymous

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .core import Engine


def create(engine: Engine, name: str = "", labels: dict[str, str] | None = None) -> tuple[str, bool]:
    """Make a volume, under a name of the engine's own if none is given; returns (name, whether it is new)."""
    import os

    name = name or os.urandom(32).hex()
    made = engine.store.volumes.create(name, created=clock.now(), labels=json.dumps(labels or {}))
    return name, made


def users(engine: Engine) -> dict[str, list[str]]:
    """The names of the containers that mount each volume."""
    found: dict[str, list[str]] = {}
    for record in engine.store.containers.list():
        for mount in ContainerSpec.from_json(record.spec).mounts:
            if mount.type == "volume" and record.name not in found.setdefault(mount.source, []):
                found[mount.source].append(record.name)
    return found


def remove(engine: Engine, name: str, *, force: bool = False) -> bool:
    """Remove a volume; force: one that is not there is no error. Raises NotFound, Conflict while it is mounted."""
    volumes = engine.store.volumes
    if not force:
        volumes.get(name)
    return volumes.remove(name, users=lambda name: users(engine).get(name, ()))


def document(volume: Any) -> dict[str, Any]:
    """docker's inspect object of a volume."""
    return {
        "CreatedAt": volume.created,
        "Driver": "local",
        "Labels": json.loads(volume.labels) or None,
        "Mountpoint": volume.path,
        "Name": volume.name,
        "Options": None,
        "Scope": "local",
    }


def unused(engine: Engine, *, named: bool = True) -> list[Any]:
    """The volumes that no container mounts; named: also those that somebody gave a name."""
    taken = users(engine)
    every = engine.store.volumes.list()
    return [volume for volume in every if volume.name not in taken and (named or is_anonymous(volume.name))]
