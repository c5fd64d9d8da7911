# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a build step made: the image by the step's key. A row goes with its image."""

from __future__ import annotations

import _sqlite3 as sqlite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import Store


class BuildCache:
    """The build cache of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, key: str) -> str | None:
        """Return the id of the image that this step made before, or None."""
        row = self._store.db.row("SELECT image_id FROM build_cache WHERE key = ?", key)
        return row[0] if row else None

    def put(self, key: str, image_id: str) -> None:
        """Remember what a step made. An image that was removed meanwhile is not worth remembering."""
        try:
            self._store.db.run("INSERT OR REPLACE INTO build_cache VALUES (?, ?)", key, image_id)
        except sqlite.IntegrityError:
            pass

    def clear(self) -> int:
        """Forget everything; returns the number of steps forgotten."""
        return self._store.db.run("DELETE FROM build_cache")
