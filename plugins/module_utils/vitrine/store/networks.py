# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks by name: what a network is made of is its owner's business, here it is one JSON object."""

from __future__ import annotations

from ..errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable
    from typing import Any

    from . import Store


class Networks:
    """The networks of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, name: str) -> dict[str, Any] | None:
        """Return a network's object, or None."""
        from .. import lightjson as json

        row = self._store.db.row("SELECT value FROM networks WHERE name = ?", name)
        return json.loads(row[0]) if row else None

    def create(self, name: str, value: dict[str, Any]) -> dict[str, Any]:
        """Record a network unless another command was faster; returns what is recorded."""
        from .. import lightjson as json

        db = self._store.db
        with db.transaction():
            db.run("INSERT OR IGNORE INTO networks VALUES (?, ?)", name, json.dumps(value, sort_keys=True))
            return self.get(name) or value

    def update(self, name: str, value: dict[str, Any]) -> None:
        """Replace a network's object."""
        from .. import lightjson as json

        self._store.db.run("INSERT OR REPLACE INTO networks VALUES (?, ?)", name, json.dumps(value, sort_keys=True))

    def list(self) -> dict[str, dict[str, Any]]:
        """Return all networks by name."""
        from .. import lightjson as json

        return {name: json.loads(text) for name, text in self._store.db.rows("SELECT * FROM networks ORDER BY name")}

    def remove(self, name: str, users: Callable[[], builtins.list[str]] = lambda: []) -> bool:
        """Remove a network; returns False when there was none.

        users: called in the transaction; names of the containers that are on it. Raises Conflict while there are any.
        """
        db = self._store.db
        with db.transaction():
            holders = users()
            if holders:
                raise Conflict(
                    f"the network {name!r} has active endpoints: {', '.join(sorted(holders))}",
                    hint="disconnect or remove these containers first",
                    value=name,
                )
            db.run("DELETE FROM leases WHERE network = ?", name)
            db.run("DELETE FROM lease_marks WHERE network = ?", name)
            return db.run("DELETE FROM networks WHERE name = ?", name) > 0
