# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Content-addressed files: ``blobs/<algorithm>/<hex digits>``, as received, whole and verified once named.

A download grows under ``blobs/partial``; its writer holds a lock on it, so of several processes that want the same
blob one fetches and the others wait for it; what a killed one left is carried on from where it ended.
"""

from __future__ import annotations

import os

from ..errors import ContentMismatch, NotFound, StoreDamaged
from ..linux.fs import sync_directory
from ..oci import digest as digests
from .disk import make_directory, writing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import Store

PARTIAL = "partial"
CHUNK = 1 << 20


class Blobs:
    """The blobs of one store. Its methods may be called by several threads and processes at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.root = os.path.join(store.root, "blobs")

    def path(self, digest: str) -> str:
        """Return where a blob is, or would be. Raises InvalidInput for what is no digest."""
        algorithm, _colon, name = digests.check(digest).partition(":")
        return f"{self.root}/{algorithm}/{name}"

    def has(self, digest: str) -> bool:
        """Tell whether the whole blob is here. Content under a digest's name was verified when it got it."""
        self._store.hold()
        return os.path.exists(self.path(digest))

    def size(self, digest: str) -> int:
        """Return a blob's size in bytes. Raises NotFound."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            raise _absent(digest) from None

    def open(self, digest: str) -> int:
        """Return a file descriptor to read a blob from. Raises NotFound."""
        try:
            return os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _absent(digest) from None

    def read(self, digest: str, limit: int = 4 << 20) -> bytes:
        """Return a small blob's content, verified anew. Raises NotFound, StoreDamaged."""
        with open(self.open(digest), "rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit or not digests.matches(data, digest):
            raise StoreDamaged(
                f"blob {digest} in {self.root} is not what its digest says",
                hint="run vitrine check --repair, then pull the image again",
                value=digest,
            )
        return data

    def put(self, data: bytes, media_type: str = "") -> str:
        """Store a small blob; returns its digest. Raises DiskFull."""
        digest = digests.of(data)
        if not self.has(digest):
            writer = self.writer(digest, len(data))
            try:
                if writer.offset < len(data):
                    writer.write(memoryview(data)[writer.offset :])
                writer.commit()
            except BaseException:
                writer.discard()
                raise
        return digest

    def writer(self, digest: str, size: int | None = None) -> BlobWriter:
        """Return a writer for a blob of that digest and size (None: not known); waits while another one writes it.

        Raises DiskFull.
        """
        self._store.hold()
        return BlobWriter(self, digests.check(digest), size)

    def take(self, path: str) -> str:
        """Store a copy of a file that has no digest yet; returns it. Raises DiskFull."""
        from hashlib import sha256

        self._store.hold()
        new = f"{self.root}/sha256/.new-{os.urandom(8).hex()}"
        state = sha256()
        with writing(new, "the blob was not stored"):
            try:
                with open(path, "rb", buffering=0) as source, open(new, "xb", buffering=0) as target:
                    while True:
                        data = source.read(CHUNK)
                        if not data:
                            break
                        state.update(data)
                        view = memoryview(data)
                        while view:
                            view = view[target.write(view) :]
                    os.fsync(target.fileno())
                digest = "sha256:" + state.hexdigest()
                os.rename(new, self.path(digest))
            except BaseException:
                if os.path.exists(new):
                    os.unlink(new)
                raise
            sync_directory(os.path.dirname(new))
        return digest

    def add_source(self, digest: str, repository: str) -> None:
        """Note that a repository ("registry/name") has the blob, so that a push may mount it from there."""
        statement = "INSERT OR IGNORE INTO blob_sources VALUES (?, ?)"
        if repository not in self.sources(digest):
            self._store.db.run(statement, digests.check(digest), repository)

    def sources(self, digest: str) -> list[str]:
        """Return the repositories that are known to have the blob."""
        return self._store.db.column("SELECT repository FROM blob_sources WHERE digest = ? ORDER BY 1", digest)

    def all(self) -> list[str]:
        """Return the digests of all blobs that are here."""
        found = []
        for algorithm in digests.HEX_LENGTHS:
            try:
                names = os.listdir(f"{self.root}/{algorithm}")
            except FileNotFoundError:
                continue
            found += [digest for digest in (f"{algorithm}:{name}" for name in names) if digests.valid(digest)]
        return sorted(found)

    def remove(self, digest: str) -> int:
        """Remove a blob; returns the bytes that this freed. Only the collector knows that nothing needs it."""
        path = self.path(digest)
        try:
            size = os.stat(path).st_size
            os.unlink(path)
        except FileNotFoundError:
            return 0
        return size


class BlobWriter:
    """One blob on its way in. Ends with exactly one of commit(), keep() and discard(); a with statement keeps it.

    offset: the bytes that are already here (from an interrupted download, or all of them): go on from there.
    """

    def __init__(self, blobs: Blobs, digest: str, size: int | None) -> None:
        self.digest = digest
        self.size = size
        self._final = blobs.path(digest)
        self._path = f"{blobs.root}/{PARTIAL}/{digest.replace(':', '-')}"
        make_directory(os.path.dirname(self._final))
        make_directory(os.path.dirname(self._path))
        self._hash: Any = digests.hasher(digest)
        self.offset = 0
        self._fd = -1
        with writing(self._path):
            self._open()

    def _open(self) -> None:
        import fcntl

        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            try:
                current = os.stat(self._path).st_ino == os.fstat(fd).st_ino
            except FileNotFoundError:
                current = False
            if current:
                break
            os.close(fd)  # whoever held the lock has renamed or removed this file
        self._fd = fd
        if os.path.exists(self._final):
            self.offset = os.stat(self._final).st_size
            os.unlink(self._path)
            self._close()
            return
        self._resume()

    def _resume(self) -> None:
        length = os.fstat(self._fd).st_size
        if self.size is not None and length > self.size:
            os.ftruncate(self._fd, 0)
        while True:
            data = os.read(self._fd, CHUNK)
            if not data:
                return
            self._hash.update(data)
            self.offset += len(data)

    @property
    def complete(self) -> bool:
        """True when the blob came from elsewhere meanwhile: nothing needs to be written, commit() succeeds."""
        return self._fd < 0

    def restart(self) -> None:
        """Forget what an interrupted download left: the server cannot carry on from the middle."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
            self._hash = digests.hasher(self.digest)
            self.offset = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises ContentMismatch as soon as there is more than was announced, DiskFull."""
        if self._fd < 0:
            return
        if self.size is not None and self.offset + len(data) > self.size:
            self.discard()
            raise ContentMismatch(
                f"blob {self.digest} is longer than the {self.size} bytes that its descriptor announces",
                hint="the registry or something on the way to it is broken; try again, or another mirror",
                value=self.digest,
            )
        view = memoryview(data)
        with writing(self._path, "the partial download is kept and will be carried on"):
            while view:
                done = os.write(self._fd, view)
                self._hash.update(view[:done])
                self.offset += done
                view = view[done:]

    def commit(self) -> str:
        """Verify size and digest, make the blob durable and give it its name; returns its path.

        Raises ContentMismatch (the bad content is removed), DiskFull.
        """
        if self._fd < 0:
            return self._final
        if self.size is not None and self.offset != self.size:
            self.keep()
            raise ContentMismatch(
                f"blob {self.digest} ended after {self.offset} of {self.size} bytes",
                hint="the connection broke; run the command again, it will go on from there",
                value=self.digest,
            )
        if self._hash.hexdigest() != self.digest.partition(":")[2]:
            found = self._hash.hexdigest()
            self.discard()
            raise ContentMismatch(
                f"blob {self.digest} has other content: its digest is {found[:12]}...",
                hint="the registry or something on the way to it is broken; try again, or another mirror",
                value=self.digest,
            )
        with writing(self._path, "the partial download is kept and will be carried on"):
            os.fsync(self._fd)
            os.rename(self._path, self._final)
            sync_directory(os.path.dirname(self._final))
        self._close()
        return self._final

    def keep(self) -> None:
        """Leave what came so far for a later writer to carry on."""
        self._close()

    def discard(self) -> None:
        """Remove what came so far."""
        if self._fd >= 0:
            os.unlink(self._path)
            self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, *_error: object) -> None:
        self.keep()


def _absent(digest: str) -> NotFound:
    return NotFound(f"blob {digest} is not in the store", hint="pull its image again", value=digest)
