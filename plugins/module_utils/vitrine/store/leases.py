# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses given to containers: a lease is a row, and taking one is a transaction."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from . import Store


class Leases:
    """The leases of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def acquire(self, network: str, container_id: str, candidates: Callable[[set[str]], str]) -> str:
        """Return the container's address on a network; if it has none, lease what candidates(used) chooses."""
        db = self._store.db
        query = "SELECT address FROM leases WHERE network = ? AND container_id = ?"
        row = db.row(query, network, container_id)
        if row is None:
            with db.transaction():
                row = db.row(query, network, container_id)
                if row is None:
                    row = (candidates(set(db.column("SELECT address FROM leases WHERE network = ?", network))),)
                    db.run("INSERT INTO leases VALUES (?, ?, ?)", network, row[0], container_id)
        return str(row[0])

    def release(self, container_id: str) -> bool:
        """Take back all addresses of a container; returns False when it had none."""
        db = self._store.db
        if db.row("SELECT 1 FROM leases WHERE container_id = ?", container_id) is None:
            return False
        return db.run("DELETE FROM leases WHERE container_id = ?", container_id) > 0

    def all(self, network: str) -> dict[str, str]:
        """Return container id by address."""
        return dict(self._store.db.rows("SELECT address, container_id FROM leases WHERE network = ?", network))  # type: ignore[arg-type]
