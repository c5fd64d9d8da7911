# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Named volumes: directories that outlive containers."""

from __future__ import annotations

import os

from ..errors import Conflict, InvalidInput, NotFound
from ..record import Record
from .disk import REMOVED, make_directory, writing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Sequence

    from . import Store

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_ATTRIBUTES = {"driver": "local"}


class Volume(Record):
    """One volume. created: RFC 3339 text. labels: JSON text. path: the directory that is mounted."""

    name: str
    created: str
    labels: str
    path: str


class Volumes:
    """The volumes of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.root = os.path.join(store.root, "volumes")

    def path(self, name: str) -> str:
        """Return the directory of a volume, there or not. Raises InvalidInput for a malformed name."""
        if not 0 < len(name) <= 128 or name[0] in "_.-" or not _NAME.issuperset(name):
            raise InvalidInput(
                f"{name!r} is not a volume's name",
                hint="use letters, digits, '_', '.' and '-', beginning with a letter or digit, at most 128",
                value=name,
            )
        return f"{self.root}/{name}/_data"

    def create(self, name: str, *, created: str = "", labels: str = "{}") -> bool:
        """Make a volume; returns False when it exists. Raises InvalidInput, DiskFull."""
        path = self.path(name)
        if os.path.isdir(path) and self._store.db.row("SELECT 1 FROM volumes WHERE name = ?", name):
            return False
        from ..linux.fs import remove_tree

        folder = os.path.dirname(path)
        fresh = not os.path.lexists(folder)
        try:
            self._make(folder, path)
            db = self._store.db
            with db.transaction():
                new = db.run("INSERT OR IGNORE INTO volumes VALUES (?, ?, ?)", name, created, labels) > 0
                if new:
                    self._store.events.add("volume", "create", name, _ATTRIBUTES)
        except BaseException:
            if fresh and not self._store.db.row("SELECT 1 FROM volumes WHERE name = ?", name):
                remove_tree(folder)
            raise
        return new

    def _make(self, folder: str, path: str) -> None:
        from ..linux.fs import sync_directory

        with writing(path, "the volume was not made"):
            make_directory(self.root)
            make_directory(folder, 0o701)
            make_directory(path, 0o755)
            sync_directory(folder)
            sync_directory(self.root)

    def get(self, name: str) -> Volume:
        """Return a volume. Raises NotFound."""
        row = self._store.db.row("SELECT name, created, labels FROM volumes WHERE name = ?", name)
        if row is None:
            raise NotFound(f"no such volume: {name}", hint="vitrine volume ls lists them", value=name)
        return Volume(row[0], row[1], row[2], self.path(name))

    def list(self) -> builtins.list[Volume]:
        """Return all volumes by name."""
        rows = self._store.db.rows("SELECT name, created, labels FROM volumes ORDER BY name")
        return [Volume(name, created, labels, self.path(name)) for name, created, labels in rows]

    def remove(self, name: str, *, users: Callable[[str], Sequence[str]] | None = None) -> bool:
        """Remove a volume and all that is in it; returns False when there was none.

        users: gives the names of the containers that mount it, asked when no container can get it any more; Raises
        Conflict when there are any.
        """
        from ..linux.fs import remove_tree

        folder = os.path.dirname(self.path(name))
        rubbish = f"{self.root}/{REMOVED}{os.urandom(8).hex()}"
        moved = False
        try:
            with self._store.db.transaction():
                found = self._forget(name, users)
                # a folder without a row would be taken for a new volume's
                if os.path.isdir(folder):
                    os.rename(folder, rubbish)
                    moved = True
        except BaseException:
            if moved:
                os.rename(rubbish, folder)
            raise
        if moved:
            remove_tree(rubbish)
        return found

    def _forget(self, name: str, users: Callable[[str], Sequence[str]] | None) -> bool:
        db = self._store.db
        with db.transaction():
            holders = users(name) if users is not None else ()
            if holders:
                raise Conflict(
                    f"volume {name!r} is used by container {holders[0]!r}",
                    hint="remove the container first",
                    value=name,
                )
            found = db.run("DELETE FROM volumes WHERE name = ?", name) > 0
            if found:
                self._store.events.add("volume", "destroy", name, _ATTRIBUTES)
            return found
