# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers: each one a directory of differences, known by its chain id, shown together by a driver.

From outside: ``Layers`` (as ``store.layers``) and ``archive`` (tar archives for other rooms). Drivers are overlay, aufs
and copy, behind ``driver.Driver``.
"""

from __future__ import annotations

import os

from ...errors import Conflict, NotFound, StoreDamaged
from ...record import Record
from ..disk import writing
from .driver import Driver, choose, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from .. import Store
    from .access import Mounted
    from .parallel import Unpackers

_QUERY = "SELECT chain_id, diff_id, parent, size FROM layers WHERE chain_id = ?"
_CHAIN = """
    WITH RECURSIVE chain (id, chain_id, parent, depth) AS (
        SELECT id, chain_id, parent, 0 FROM layers WHERE chain_id = ?
        UNION ALL
        SELECT layers.id, layers.chain_id, layers.parent, depth + 1 FROM layers JOIN chain
            ON layers.chain_id = chain.parent
    ) SELECT id FROM chain ORDER BY depth
"""
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LEVEL = 5


class Layer(Record):
    """One layer. chain_id names it with all below it, diff_id its own archive; parent: chain id of the one below, or
    None; size: bytes of content."""

    chain_id: str
    diff_id: str
    parent: str | None
    size: int


class Layers:
    """The layers of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.root = os.path.join(store.root, "layers")
        self._driver: Driver | None = None

    # -- what is ------------------------------------------------------------------------------------------------------

    @property
    def driver(self) -> Driver:
        """The driver that the store was begun with; the first use begins it. Raises HostError, Conflict."""
        if self._driver is None:
            row = self._store.db.row("SELECT value FROM meta WHERE key = 'driver'")
            wanted = self._store.driver
            if row is not None and (wanted is None or wanted == row[0]):
                self._driver = load(row[0])
            else:
                self._driver = self._begin(choose(self.root, wanted), row[0] if row else None)
        return self._driver

    def _begin(self, driver: Driver, before: str | None) -> Driver:
        db = self._store.db
        with db.transaction():
            if before is not None and db.row("SELECT 1 FROM layers LIMIT 1"):
                raise Conflict(
                    f"{self._store.root} was begun with the storage driver {before!r}, not {driver.name!r}",
                    hint=f"set storage_driver to {before!r}, or remove all images and containers first",
                    value=driver.name,
                )
            db.run("INSERT OR REPLACE INTO meta VALUES ('driver', ?)", driver.name)
        return driver

    @property
    def driver_name(self) -> str:
        """ "overlay", "aufs" or "copy"."""
        return self.driver.name

    def has(self, chain_id: str) -> bool:
        """Tell whether a layer is here; a pulled one that lost its blob counts as not here, so that it comes again."""
        self._store.hold()
        query = "SELECT 1 FROM layers WHERE chain_id = ? AND (blob IS NOT NULL OR media_type IS NULL)"
        return self._store.db.row(query, chain_id) is not None

    def get(self, chain_id: str) -> Layer:
        """Return a layer. Raises NotFound."""
        row = self._store.db.row(_QUERY, chain_id)
        if row is None:
            raise _absent(chain_id)
        return Layer(*row)

    def path(self, chain_id: str) -> str:
        """Return the directory of a layer. Raises NotFound."""
        row = self._store.db.row("SELECT id FROM layers WHERE chain_id = ?", chain_id)
        if row is None:
            raise _absent(chain_id)
        return f"{self.root}/{row[0]}"

    def paths(self, chain_id: str | None) -> list[str]:
        """Return the directories of a layer and all below it, top first; none for None. Raises NotFound."""
        if chain_id is None:
            return []
        numbers = self._store.db.column(_CHAIN, chain_id)
        if not numbers:
            raise _absent(chain_id)
        return [f"{self.root}/{number}" for number in numbers]

    # -- mounting -----------------------------------------------------------------------------------------------------

    def prepare_root(self, container_dir: str, chain_id: str | None) -> dict[str, Any]:
        """Make a container's writable directories in container_dir, unless they are there; returns its root plan.

        Raises NotFound, DiskFull (then nothing is left).
        """
        lowers = self._lowers(chain_id)
        with writing(container_dir, "the container's root was not made"):
            return self.driver.prepare(container_dir, lowers, lowers[0])

    def _lowers(self, chain_id: str | None) -> list[str]:
        from .staging import make_skeleton

        paths = self.paths(chain_id)
        skeleton = f"{self.root}/skeleton"
        if not os.path.isdir(skeleton):
            make_skeleton(self.root)
        return [*paths, skeleton]

    def mounted(self, plan: dict[str, Any]) -> Mounted:
        """``with layers.mounted(plan) as fd:`` an open directory of a root that is not running; no mount is left."""
        from .access import Mounted

        return Mounted(load({"bind": "copy"}.get(plan["driver"], plan["driver"])), plan)

    def copy_from_root(self, plan: dict[str, Any], path: str, target: str) -> bool:
        """Copy what a root has in a directory into target (an existing directory); returns False if there is none.

        Links on the way are those of the root. Owners, modes and attributes come along; the directory's own too.
        """
        from .access import copy_tree

        with self.mounted(plan) as root:
            return copy_tree(root, path, target)

    @staticmethod
    def copy_out(root: int, path: str | bytes, write: Callable[[Any], object], *, name: bytes | None = None) -> None:
        """Write a tar archive of something inside an open root (mounted(), or /proc/PID/root). See access.copy_out."""
        from .access import copy_out

        copy_out(root, path, write, name=name)

    @staticmethod
    def copy_in(root: int, path: str | bytes, chunks: Iterable[bytes], *, owner: tuple[int, int] | None = None) -> None:
        """Unpack a tar stream into a directory inside an open root. See access.copy_in."""
        from .access import copy_in

        copy_in(root, path, chunks, owner=owner)

    # -- making -------------------------------------------------------------------------------------------------------

    def unpacker(self, jobs: int | None = None, progress: Callable[[dict[str, Any]], None] | None = None) -> Unpackers:
        """Return workers that unpack layers while their blobs arrive: add() each, then finish(). See parallel.

        Make it before starting threads: it forks.
        """
        from .parallel import Unpackers

        self._store.hold()
        return Unpackers(self._store, jobs, progress)

    def unpack(
        self, blob: str, media_type: str, *, diff_id: str, chain_id: str, parent: str | None, digest: str | None = None
    ) -> Layer:
        """Unpack one layer; its parent must be here. See unpack_many."""
        with self.unpacker(1) as unpacker:
            unpacker.add(blob, media_type, diff_id=diff_id, chain_id=chain_id, parent=parent, digest=digest)
            unpacker.finish()
        return self.get(chain_id)

    def unpack_many(self, layers: Iterable[dict[str, Any]], jobs: int | None = None) -> list[Layer]:
        """Unpack several layers, each given as the arguments of unpack, in parallel. All of them appear, or none.

        Raises ContentMismatch, InvalidInput (hostile or broken archive), UnsupportedContent, DiskFull.
        """
        layers = list(layers)
        with self.unpacker(jobs) as unpacker:
            for layer in layers:
                unpacker.add(**layer)
            unpacker.finish()
        return [self.get(layer["chain_id"]) for layer in layers]

    def import_tree(self, directory: str, *, parent: str | None = None, clamp_mtime: int | None = None) -> Layer:
        """Make a layer of a whole directory. clamp_mtime: no time is later than this (seconds since the epoch).

        The same content gives the same layer. Raises DiskFull, InvalidInput for what no layer can hold.
        """
        from .walk import Walk

        clamp = None if clamp_mtime is None else int(clamp_mtime) * 1_000_000_000
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            layer = self._make(lambda: Walk(fd, "plain", clamp=clamp, root_like=self._root_like(parent)), parent)
        finally:
            os.close(fd)
        if layer is None:
            raise Conflict(f"the directory {directory} is empty", hint="put something into it", value=directory)
        return layer

    def commit_upper(self, upper_dir: str, *, parent: str | None) -> Layer | None:
        """Make a layer of what a container changed; None when that is nothing.

        upper_dir: the root plan's "upper". Directories whose time alone changed, and files that are the same below,
        are no change. Raises DiskFull, InvalidInput for names that no layer can hold.
        """
        from .union import Place

        driver = self.driver
        fd = os.open(upper_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with Place.root(self._lowers(parent), driver.layout) as lower:
                return self._make(lambda: driver.walk(fd, lower, self._root_like(parent)), parent)
        finally:
            os.close(fd)

    def diff_id(self, upper_dir: str, *, parent: str | None) -> str | None:
        """Return the diff id that commit_upper would give, None for no change; nothing is written."""
        from hashlib import sha256

        from .pack import archive
        from .union import Place

        state = sha256()
        fd = os.open(upper_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with Place.root(self._lowers(parent), self.driver.layout) as lower:
                count = archive(self.driver.walk(fd, lower, self._root_like(parent)), state.update)
        finally:
            os.close(fd)
        return "sha256:" + state.hexdigest() if count else None

    def _root_like(self, parent: str | None) -> tuple[int, int, int]:
        """Mode and owner of the root directory of a layer; without one, what everyone expects."""
        import stat

        if parent is None:
            return (0o755, 0, 0)
        status = os.stat(self.path(parent))
        return (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)

    def _make(self, items: Callable[[], Iterable[Any]], parent: str | None) -> Layer | None:
        from hashlib import sha256

        from ...oci import digest as digests
        from .pack import Maker
        from .staging import Ready, Staging, enter

        self._store.hold()
        with writing(self.root, "the layer was not made, what was begun is removed"), Staging(self.root) as staging:
            target = staging.open_tree()
            try:
                mode, uid, gid = self._root_like(parent)
                os.fchown(target, uid, gid)
                os.fchmod(target, mode)
                state = sha256()
                maker = Maker(target, self.driver.layout, state.update)
                maker.run(items())
            finally:
                os.close(target)
            if not maker.count:
                return None
            diff_id = "sha256:" + state.hexdigest()
            chain_id = diff_id if parent is None else digests.of(f"{parent} {diff_id}".encode())
            if not self.has(chain_id):
                enter(self._store, self.root, [Ready(chain_id, diff_id, parent, maker.size, staging.tree)])
        return self.get(chain_id)

    # -- differences and archives -------------------------------------------------------------------------------------

    def changes(self, container_dir: str, chain_id: str | None) -> list[tuple[str, bytes]]:
        """Return what a container changed, as (kind, path from "/"): "A" added, "C" changed, "D" deleted."""
        from .diff import changes
        from .union import Place

        driver = self.driver
        fd = os.open(driver.writable(container_dir), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with Place.root(self._lowers(chain_id), driver.layout) as lower:
                return changes(driver.walk(fd, lower, self._root_like(chain_id)), lower)
        finally:
            os.close(fd)

    def write_archive(self, chain_id: str, write: Callable[[Any], object]) -> None:
        """Write the (plain) archive of a layer that was made here; its digest is the layer's diff id."""
        from .pack import archive
        from .walk import Walk

        layer = self.get(chain_id)
        fd = os.open(self.path(chain_id), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            archive(Walk(fd, self.driver.layout, root_like=self._root_like(layer.parent)), write)
        finally:
            os.close(fd)

    def ensure_blob(self, chain_id: str) -> tuple[str, int, str]:
        """Return (digest, size, media type) of a layer's blob; that of a layer made here is compressed when needed.

        Raises StoreDamaged when the layer's directory is not what was committed, DiskFull.
        """
        row = self._store.db.row("SELECT blob, blob_size, media_type FROM layers WHERE chain_id = ?", chain_id)
        if row is None:
            raise _absent(chain_id)
        self._store.hold()
        if row[0] is not None and self._store.blobs.has(row[0]):
            return row
        return self._compress(self.get(chain_id))

    def _compress(self, layer: Layer) -> tuple[str, int, str]:
        import zlib
        from hashlib import sha256

        blobs = self._store.blobs
        path = f"{blobs.root}/sha256/.new-{os.urandom(8).hex()}"
        plain, packed = sha256(), sha256()
        deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
        with writing(path, "the layer's blob was not made"):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with open(fd, "wb", buffering=1 << 20) as file:

                    def write(data: Any) -> None:
                        plain.update(data)
                        out(deflate.compress(data))

                    def out(data: bytes) -> None:
                        packed.update(data)
                        file.write(data)

                    self.write_archive(layer.chain_id, write)
                    out(deflate.flush())
                    file.flush()
                    os.fsync(fd)
                    size = file.tell()
                if "sha256:" + plain.hexdigest() != layer.diff_id:
                    raise StoreDamaged(
                        f"layer {layer.chain_id} in {self.path(layer.chain_id)} is not what was stored",
                        hint="run vitrine check; remove its images and pull or build them again",
                        value=layer.chain_id,
                    )
                digest = "sha256:" + packed.hexdigest()
                os.rename(path, blobs.path(digest))
            except BaseException:
                if os.path.exists(path):
                    os.unlink(path)
                raise
        self._store.db.run(
            "UPDATE layers SET blob = ?, blob_size = ?, media_type = ? WHERE chain_id = ?",
            digest, size, GZIP, layer.chain_id,
        )  # fmt: skip
        return digest, size, GZIP


def _absent(chain_id: str) -> NotFound:
    return NotFound(f"layer {chain_id} is not in the store", hint="pull its image again", value=chain_id)
