# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much room things take on the disk, and how much of it would be free if what nothing needs were gone."""

from __future__ import annotations

import os

from . import volumes
from .paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .core import Engine


def tree(path: str) -> int:
    """The bytes of all files below a folder, links to the same file counted once. What vanishes meanwhile is 0."""
    total = 0
    seen: set[tuple[int, int]] = set()
    folders = [path]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif status.st_nlink == 1 or (status.st_dev, status.st_ino) not in seen:
                        seen.add((status.st_dev, status.st_ino))
                        total += status.st_size
        except OSError:
            continue
    return total


def of_container(engine: Engine, record: Any) -> tuple[int, int]:
    """(bytes that a container wrote, bytes of its root with the layers below)."""
    driver = engine.store.layers.driver
    written = tree(driver.writable(Paths(engine, record.id).folder))
    below = sum(engine.store.layers.get(chain_id).size for chain_id in _chain(engine, record))
    return (written, written + below) if driver.name != "copy" else (max(0, written - below), written)


def _chain(engine: Engine, record: Any) -> list[str]:
    chains = []
    chain_id = record.chain_id
    while chain_id:
        chains.append(chain_id)
        chain_id = engine.store.layers.get(chain_id).parent
    return chains


def summary(engine: Engine) -> list[dict[str, Any]]:
    """Totals as docker's "system df" has them: Type, TotalCount, Active, Size, Reclaimable (bytes)."""
    from .containers import ALIVE

    store = engine.store
    records = store.containers.list()
    images = [
        image for image in store.images.list() if not store.images.children(image.id) or store.images.names(image.id)
    ]
    used_ids = {record.image_id for record in records}
    layers: dict[str, int] = {}
    needed: set[str] = set()
    for image in images:
        for chain_id in image.layers:
            layers[chain_id] = store.layers.get(chain_id).size
        if image.id in used_ids:
            needed.update(image.layers)
    written = [(record, of_container(engine, record)[0]) for record in records]
    living = {record.id for record in records if engine.containers.observe(record.id)["status"] in ALIVE}
    spaces = {volume.name: tree(volume.path) for volume in store.volumes.list()}
    idle = {volume.name for volume in volumes.unused(engine)}
    return [
        {
            "Type": "Images",
            "TotalCount": len(images),
            "Active": len([image for image in images if image.id in used_ids]),
            "Size": sum(layers.values()),
            "Reclaimable": sum(size for chain_id, size in layers.items() if chain_id not in needed),
        },
        {
            "Type": "Containers",
            "TotalCount": len(records),
            "Active": len(living),
            "Size": sum(size for _record, size in written),
            "Reclaimable": sum(size for record, size in written if record.id not in living),
        },
        {
            "Type": "Local Volumes",
            "TotalCount": len(spaces),
            "Active": len(spaces) - len(idle),
            "Size": sum(spaces.values()),
            "Reclaimable": sum(spaces[name] for name in idle),
        },
    ]
