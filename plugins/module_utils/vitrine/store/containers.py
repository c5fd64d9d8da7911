# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers' rows: identity, name, image, specification and what their owner wants of them."""

from __future__ import annotations

import _sqlite3 as sqlite

from ..errors import ContainerNotFound, ImageNotFound, InvalidInput, NameInUse
from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins

    from . import Store

COLUMNS = "id, name, image_id, chain_id, created, spec, desired, labels"
_HEX = frozenset("0123456789abcdef")


class Container(Record):
    """One container.

    id: 64 hex digits. chain_id: the layer that its root stands on, None on an empty image. created: RFC 3339.
    spec: JSON text. desired: "" (never started), "running" or "stopped" (by its owner). labels: JSON text.
    """

    id: str
    name: str
    image_id: str
    chain_id: str | None
    created: str
    spec: str
    desired: str = ""
    labels: str = "{}"


class Containers:
    """The containers of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self,
        container_id: str,
        name: str,
        image_id: str,
        spec_json: str,
        *,
        created: str = "",
        desired: str = "",
        labels: str = "{}",
    ) -> Container:
        """Record a container. Raises NameInUse, ImageNotFound (removed meanwhile), InvalidInput for a malformed id."""
        if len(container_id) != 64 or not _HEX.issuperset(container_id):
            raise InvalidInput(f"{container_id!r} is not a container id: 64 hex digits are", value=container_id)
        db = self._store.db
        with db.transaction():
            if db.row("SELECT 1 FROM images WHERE id = ?", image_id) is None:
                raise ImageNotFound(
                    f"image {image_id} was removed meanwhile", hint="pull it again, then create again", value=image_id
                )
            top = db.row(
                "SELECT chain_id FROM image_layers WHERE image_id = ? ORDER BY position DESC LIMIT 1", image_id
            )
            record = Container(
                container_id, name, image_id, top[0] if top else None, created, spec_json, desired, labels
            )
            try:
                db.run(f"INSERT INTO containers ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?)", *record.as_dict().values())
            except sqlite.IntegrityError:
                raise self._name_in_use(name) from None
        return record

    def get(self, text: str) -> Container:
        """Return the container of an id, a name or the beginning of an id. Raises ContainerNotFound, InvalidInput."""
        db = self._store.db
        text = text[1:] if text.startswith("/") else text
        query = f"SELECT {COLUMNS} FROM containers WHERE "
        row = db.row(query + "id = ?", text) or db.row(query + "name = ?", text)
        if row is None and text and _HEX.issuperset(text):
            rows = db.rows(query + "id >= ? AND id < ? LIMIT 2", text, text + "g")
            if len(rows) > 1:
                raise InvalidInput(
                    f"several containers have ids that begin with {text!r}", hint="write more digits", value=text
                )
            row = rows[0] if rows else None
        if row is None:
            raise ContainerNotFound(f"no such container: {text}", hint="vitrine ps -a lists all containers", value=text)
        return Container(*row)

    def list(self) -> builtins.list[Container]:
        """Return all containers, oldest first."""
        query = f"SELECT {COLUMNS} FROM containers ORDER BY created, id"
        return [Container(*row) for row in self._store.db.rows(query)]

    def ids(self) -> set[str]:
        """Return the ids of all containers."""
        return set(self._store.db.column("SELECT id FROM containers"))

    def update(self, container_id: str, **fields: object) -> None:
        """Change columns of a container (spec, desired, labels, image_id). Raises ContainerNotFound, NameInUse."""
        unknown = set(fields) - set(Container._fields) | {"id"} & set(fields)
        if unknown:
            raise TypeError(f"a container has no field {sorted(unknown)[0]!r} to change")
        names = ", ".join(f"{name} = ?" for name in fields)
        try:
            changed = self._store.db.run(f"UPDATE containers SET {names} WHERE id = ?", *fields.values(), container_id)
        except sqlite.IntegrityError:
            raise self._name_in_use(str(fields.get("name", ""))) from None
        if not changed:
            raise ContainerNotFound(f"no such container: {container_id}", value=container_id)

    def rename(self, container_id: str, name: str) -> None:
        """Give a container another name. Raises NameInUse, ContainerNotFound."""
        self.update(container_id, name=name)

    def delete(self, container_id: str) -> bool:
        """Remove a container's row and leases; returns False when there was none."""
        db = self._store.db
        with db.transaction():
            db.run("DELETE FROM leases WHERE container_id = ?", container_id)
            return db.run("DELETE FROM containers WHERE id = ?", container_id) > 0

    def of_image(self, image_id: str) -> builtins.list[Container]:
        """Return the containers made from an image."""
        return [
            Container(*row)
            for row in self._store.db.rows(f"SELECT {COLUMNS} FROM containers WHERE image_id = ?", image_id)
        ]

    def _name_in_use(self, name: str) -> NameInUse:
        row = self._store.db.row("SELECT id FROM containers WHERE name = ?", name)
        holder = f" by container {row[0][:12]}" if row else ""
        return NameInUse(
            f"the container name {name!r} is in use{holder}",
            hint="remove or rename that container, or choose another name",
            value=name,
        )
