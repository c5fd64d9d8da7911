# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container's files as one tar archive, as the container has them: its layers and what it changed, no volumes."""

from __future__ import annotations

from . import events
from .paths import Present

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from .core import Engine


def export(engine: Engine, name: str, file: BinaryIO) -> None:
    """Write all files of a container, running or not, to a tar archive. Raises ContainerNotFound, OSError."""
    record = engine.containers.record(name)
    paths = engine.containers.paths(record.id)
    layers = engine.store.layers
    with Present(paths):
        plan = layers.prepare_root(paths.folder, record.chain_id)
        if plan["work"] or plan["driver"] == "aufs":
            # only read: what the container changes lies on top of its layers here, and may be mounted by itself
            plan = {**plan, "lowers": [plan["upper"], *plan["lowers"]], "upper": None, "work": None}
        with layers.mounted(plan) as root:
            layers.copy_out(root, "/", file.write, name=b"")
    events.noted(engine, record.id, "export")
