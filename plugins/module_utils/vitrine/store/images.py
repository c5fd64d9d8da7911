# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images and their names. An image's id is the digest of its configuration, as docker's is."""

from __future__ import annotations

import _sqlite3 as sqlite

from ..errors import ImageInUse, ImageNotFound, InvalidInput, VitrineError
from ..oci import digest as digests
from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable
    from typing import Any

    from . import Store

_HEX = frozenset("0123456789abcdef")
_QUERY = "SELECT id, config, created, size, parent, manifest, manifest_type FROM images "


class Image(Record):
    """One image.

    id: "sha256:" + 64 hex digits. config: the OCI image configuration's bytes. created: its creation time or "".
    size: bytes of all its layers' content. layers: chain ids, bottom first. parent: id of the image that it was
    committed or built from, or "". manifest: the one it was pulled with (bytes or None) and manifest_type.
    """

    id: str
    config: bytes
    created: str
    size: int
    layers: tuple[str, ...]
    parent: str = ""
    manifest: bytes | None = None
    manifest_type: str | None = None

    @property
    def top(self) -> str | None:
        """The chain id of the topmost layer; None for an image without layers."""
        return self.layers[-1] if self.layers else None


class Images:
    """The images of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        config: bytes,
        diff_ids: Iterable[str] | None = None,
        *,
        manifest: bytes | None = None,
        manifest_type: str | None = None,
        parent: str = "",
    ) -> str:
        """Record an image whose layers are here; returns its id. An image that is here keeps what it has.

        diff_ids: bottom first; None: as the configuration says. Chain ids are taken as well. Raises ImageNotFound when
        a layer is missing, DiskFull.
        """
        from .. import lightjson as json
        from ..oci.config import chain_ids

        document = json.loads(config)
        if diff_ids is None:
            diff_ids = document.get("rootfs", {}).get("diff_ids") or ()
        diff_ids = tuple(diff_ids)
        chains = chain_ids(diff_ids)
        image_id = self._store.blobs.put(config)
        if manifest is not None:
            self._store.blobs.put(manifest)
        db = self._store.db
        with db.transaction():
            sizes = self._sizes(chains)
            db.run(
                "INSERT OR IGNORE INTO images (id, config, created, size, parent) VALUES (?, ?, ?, ?, ?)",
                image_id, config, str(document.get("created") or ""), sum(sizes), parent,
            )  # fmt: skip
            for position, chain_id in enumerate(chains):
                db.run("INSERT OR IGNORE INTO image_layers VALUES (?, ?, ?)", image_id, position, chain_id)
            if manifest is not None:
                db.run(
                    "UPDATE images SET manifest = ?, manifest_type = ? WHERE id = ?", manifest, manifest_type, image_id
                )
        return image_id

    def _sizes(self, chains: tuple[str, ...]) -> builtins.list[int]:
        sizes = []
        for chain_id in chains:
            row = self._store.db.row("SELECT size FROM layers WHERE chain_id = ?", chain_id)
            if row is None:
                raise ImageNotFound(
                    f"layer {chain_id} of the image is not in the store",
                    hint="another command may have removed it; run this one again",
                    value=chain_id,
                )
            sizes.append(row[0])
        return sizes

    # -- finding ------------------------------------------------------------------------------------------------------

    def get(self, text: str) -> Image:
        """Return the image of an id, with or without "sha256:", or the beginning of one. Raises ImageNotFound."""
        db = self._store.db
        row = db.row(_QUERY + "WHERE id = ?", text)
        if row is None:
            row = self._by_prefix(text)
        if row is None:
            raise ImageNotFound(f"no such image: {text}", hint="vitrine images lists what is here", value=text)
        return self._image(row)

    def _by_prefix(self, text: str) -> tuple[Any, ...] | None:
        prefix = text[7:] if text.startswith("sha256:") else text
        if not prefix or len(prefix) > 64 or not _HEX.issuperset(prefix):
            return None
        low = f"sha256:{prefix}"
        rows = self._store.db.rows(_QUERY + "WHERE id >= ? AND id < ? LIMIT 2", low, low + "g")
        if len(rows) > 1:
            raise InvalidInput(
                f"several images have ids that begin with {text!r}", hint="write more digits", value=text
            )
        return rows[0] if rows else None

    def _image(self, row: tuple[Any, ...]) -> Image:
        chains = self._store.db.column("SELECT chain_id FROM image_layers WHERE image_id = ? ORDER BY position", row[0])
        return Image(row[0], row[1], row[2], row[3], tuple(chains), *row[4:])

    def resolve(self, text: str) -> Image:
        """Return the image that a user means: a name with or without tag or digest, an id or the beginning of one.

        A name wins over the beginning of an id, as docker has it. Raises ImageNotFound, InvalidInput.
        """
        db = self._store.db
        image_id = text if digests.valid(text) else self._named(text)
        row = db.row(_QUERY + "WHERE id = ?", image_id) if image_id else self._by_prefix(text)
        if row is None:
            raise ImageNotFound(
                f"no such image: {text}", hint=f"get it with vitrine pull {text}, or see vitrine images", value=text
            )
        return self._image(row)

    def _named(self, text: str) -> str | None:
        from ..oci import reference

        try:
            parsed = reference.parse(text)
        except VitrineError:
            if text and _HEX.issuperset(text.replace("sha256:", "", 1)):
                return None
            raise
        db = self._store.db
        if parsed.digest:
            row = db.row("SELECT image_id FROM digests WHERE reference = ?", f"{parsed.name}@{parsed.digest}")
        else:
            row = db.row("SELECT image_id FROM names WHERE reference = ?", parsed.canonical)
        return row[0] if row else None

    def list(self) -> builtins.list[Image]:
        """Return all images, newest first."""
        return [self._image(row) for row in self._store.db.rows(_QUERY + "ORDER BY created DESC, id")]

    def children(self, image_id: str) -> builtins.list[str]:
        """Return the ids of the images that were made from this one."""
        return self._store.db.column("SELECT id FROM images WHERE parent = ? ORDER BY created, id", image_id)

    # -- names --------------------------------------------------------------------------------------------------------

    def tag(self, reference: str, image_id: str, manifest_digest: str | None = None) -> bool:
        """Give an image a (canonical) name, taking it from another one; returns False when that was so already.

        manifest_digest: the digest by which the name's registry knows the image. Raises ImageNotFound.
        """
        db = self._store.db
        repository = _repository(reference)
        with db.transaction():
            row = db.row("SELECT image_id FROM names WHERE reference = ?", reference)
            changed = row is None or row[0] != image_id
            try:
                if "@" not in reference and changed:
                    db.run("INSERT OR REPLACE INTO names VALUES (?, ?)", reference, image_id)
                if manifest_digest:
                    name = f"{repository}@{digests.check(manifest_digest)}"
                    db.run("INSERT OR REPLACE INTO digests VALUES (?, ?)", name, image_id)
            except sqlite.IntegrityError:
                raise ImageNotFound(f"no such image: {image_id}", value=image_id) from None
        return changed

    def untag(self, reference: str) -> bool:
        """Take a (canonical) name away, and with a repository's last name its digests; False when there was none."""
        db = self._store.db
        if "@" in reference:
            return db.run("DELETE FROM digests WHERE reference = ?", reference) > 0
        with db.transaction():
            row = db.row("SELECT image_id FROM names WHERE reference = ?", reference)
            if row is None:
                return False
            db.run("DELETE FROM names WHERE reference = ?", reference)
            repository = _repository(reference)
            if repository not in map(_repository, self.names(row[0])):
                for name in self.digests(row[0]):
                    if _repository(name) == repository:
                        db.run("DELETE FROM digests WHERE reference = ?", name)
        return True

    def names(self, image_id: str) -> builtins.list[str]:
        """Return an image's (canonical) names."""
        return self._store.db.column("SELECT reference FROM names WHERE image_id = ? ORDER BY 1", image_id)

    def digests(self, image_id: str) -> builtins.list[str]:
        """Return the "registry/repository@digest" by which registries know the image."""
        return self._store.db.column("SELECT reference FROM digests WHERE image_id = ? ORDER BY 1", image_id)

    # -- removal ------------------------------------------------------------------------------------------------------

    def remove(self, image_id: str, *, force: bool = False, collect: bool = True) -> builtins.list[str]:
        """Remove an image with all its names, and what only it needed; returns what went, layers included.

        Raises ImageInUse when containers or child images need it (force: their layers stay, the image goes),
        ImageNotFound.
        """
        db = self._store.db
        with db.transaction():
            if not force:
                users = [record.name for record in self._store.containers.of_image(image_id)]
                if users:
                    raise ImageInUse(
                        f"image {image_id[7:19]} is used by container {users[0]!r}",
                        hint="remove the container first, or use force",
                        value=image_id,
                    )
                children = self.children(image_id)
                if children:
                    raise ImageInUse(
                        f"image {image_id[7:19]} has a dependent image {children[0][7:19]}",
                        hint="remove that one first, or use force",
                        value=image_id,
                    )
            if not db.run("DELETE FROM images WHERE id = ?", image_id):
                raise ImageNotFound(f"no such image: {image_id}", value=image_id)
        gone = [image_id]
        if collect:
            gone += self._store.collect()
        return gone


def _repository(reference: str) -> str:
    """Cut tag and digest off a canonical reference."""
    name = reference.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(":")[0]
