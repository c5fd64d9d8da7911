# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is everything what its digest or its row says? Reads every byte of the store.

A layer that was made here must give the archive that it is named by. A pulled one need not (archives of other makers
have another order), so its blob is unpacked once more, beside, and both trees are compared.
"""

from __future__ import annotations

import os

from ..errors import VitrineError
from ..oci import digest as digests
from .layers.inherit import inherit
from .layers.pack import archive
from .layers.parallel import Unpackers
from .layers.staging import discard
from .layers.walk import Walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import Store

CHUNK = 1 << 20


def verify(store: Store, *, repair: bool = False) -> list[str]:
    """See Store.verify. Faults come in the order index, blobs, layers, images, containers."""
    return _Check(store, repair).run()


class _Check:
    def __init__(self, store: Store, repair: bool) -> None:
        self.store = store
        self.repair = repair
        self.faults: list[str] = []
        self.bad_blobs: set[str] = set()

    def run(self) -> list[str]:
        self.store.recover()
        self.store.hold()
        self._index()
        if not self.faults:
            self._log()
            self._blobs()
            self._layers()
            self._images()
            self._containers()
        return self.faults

    def _fault(self, text: str, repaired: str = "") -> None:
        self.faults.append(f"{text}; {repaired}" if repaired and self.repair else text)

    def _index(self) -> None:
        for (text,) in self.store.db.rows("PRAGMA integrity_check(20)"):
            if text != "ok":
                self._fault(f"index: {text}")
        for table, row, parent, _number in self.store.db.rows("PRAGMA foreign_key_check"):
            self._fault(f"index: row {row} of {table} refers to a row of {parent} that does not exist")

    def _log(self) -> None:
        """Would the index come out of its log as it is?"""
        from .rebuild import replayed
        from .redo import NAME, dump

        there, content = self.store.db.compare()
        what = "cannot be read"
        if content is not None:
            connection, lost = replayed(":memory:", content)
            try:
                if not lost and not content.damaged and dump(connection) == there:
                    return
            finally:
                connection.close()
            what = "is damaged" if lost or content.damaged else "does not say what the index says"
        self._fault(f"{NAME}, from which a damaged index would be made anew, {what}", "written anew")
        if self.repair:
            self.store.db.renew_log()

    # -- blobs --------------------------------------------------------------------------------------------------------

    def _blobs(self) -> None:
        blobs = self.store.blobs
        for digest in blobs.all():
            state = digests.hasher(digest)
            with open(blobs.path(digest), "rb", buffering=0) as file:
                while data := file.read(CHUNK):
                    state.update(data)
            if state.hexdigest() != digest.partition(":")[2]:
                self.bad_blobs.add(digest)
                self._fault(f"blob {digest}: its content has another digest", "removed")
                if self.repair:
                    blobs.remove(digest)
        for digest, chain_id in self.store.db.rows("SELECT blob, chain_id FROM layers WHERE blob IS NOT NULL"):
            if not os.path.exists(blobs.path(digest)):
                if digest not in self.bad_blobs:
                    self._fault(
                        f"blob {digest} of layer {chain_id}: missing",
                        "it comes again with the next pull, or is made anew",
                    )
                if self.repair:
                    self.store.db.run("UPDATE layers SET blob = NULL WHERE chain_id = ?", chain_id)

    # -- layers -------------------------------------------------------------------------------------------------------

    def _layers(self) -> None:
        rows = self.store.db.rows("SELECT id, chain_id, diff_id, parent, blob, media_type FROM layers ORDER BY id")
        for number, chain_id, diff_id, parent, blob, media_type in rows:
            path = f"{self.store.layers.root}/{number}"
            there = os.path.isdir(path)
            if there and self._digest(path, parent) == diff_id:
                continue
            what = "its directory is not what was stored" if there else "its directory is missing"
            if blob is None or blob in self.bad_blobs or not self.store.blobs.has(blob):
                if there and media_type is not None:
                    continue  # without its blob there is nothing to hold a pulled layer against
                self._fault(f"layer {chain_id}: {what}", "not repairable here: remove its images and pull them again")
                continue
            try:
                if self._again(number, chain_id, diff_id, parent, blob, media_type, there):
                    self._fault(f"layer {chain_id}: {what}", "unpacked anew")
            except (VitrineError, OSError) as error:
                self._fault(f"layer {chain_id}: {what}, and its blob cannot be unpacked: {error}")

    def _digest(self, path: str, parent: str | None) -> str:
        from hashlib import sha256

        layers = self.store.layers
        state = sha256()
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            archive(Walk(fd, layers.driver.layout, root_like=layers._root_like(parent)), state.update)
        except (VitrineError, OSError) as error:
            return f"unreadable: {error}"
        finally:
            os.close(fd)
        return "sha256:" + state.hexdigest()

    def _again(
        self, number: int, chain_id: str, diff_id: str, parent: str | None, blob: str, media_type: str, there: bool
    ) -> bool:
        """Unpack a layer's blob beside it and compare; returns whether they differ, and with repair replaces it."""
        layers = self.store.layers
        with Unpackers(self.store, 1) as unpackers:
            unpackers.add(
                self.store.blobs.path(blob), media_type, diff_id=diff_id, chain_id=chain_id, parent=parent, digest=blob
            )
            (result,) = unpackers.wait()
            tree = result["path"] + "/tree"
            try:
                inherit(tree, result["implied"], layers.paths(parent), layers.driver.layout)
                path = f"{layers.root}/{number}"
                if there and self._digest(tree, parent) == self._digest(path, parent):
                    return False
                if self.repair:
                    discard(layers.root, str(number))
                    os.rename(tree, path)
            finally:
                unpackers.close()
        return True

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _images(self) -> None:
        for image in self.store.images.list():
            if digests.of(image.config) != image.id:
                self._fault(f"image {image.id}: its configuration has another digest")
            if not os.path.exists(self.store.blobs.path(image.id)):
                self._fault(f"image {image.id}: its configuration's blob is missing", "made anew")
                if self.repair:
                    self.store.blobs.put(image.config)

    def _containers(self) -> None:
        known = set(self.store.db.column("SELECT chain_id FROM layers"))
        for record in self.store.containers.list():
            if record.chain_id is not None and record.chain_id not in known:
                self._fault(f"container {record.name}: its layer {record.chain_id} is missing")
