# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a blob to the bytes of its archive: decompression and digest, beside whoever takes them.

zlib and hashlib let other threads run while they work, so one thread reads, inflates and hashes while the other one
writes files.
"""

from __future__ import annotations

import os
import threading
import zlib

from ...errors import ContentMismatch, InvalidInput, UnsupportedContent
from ...oci import media

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

COMPRESSED_CHUNK = 1 << 17
PLAIN_CHUNK = 1 << 20
AHEAD = 8  # chunks that may wait for their taker
MAX_RATIO = 250  # zlib's limit is 1032; real layers have 2 to 10
RATIO_MATTERS_FROM = 1 << 30
_MAGICS = ((b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"))


def compression_of(media_type: str) -> str:
    """Return "gzip", "zstd" or "" for a layer's media type. Raises UnsupportedContent."""
    found = media.compression(media_type)
    if found is None:
        raise UnsupportedContent(
            f"media type {media_type!r} is not a layer that this engine can unpack",
            hint="it takes plain, gzip and zstd tar layers of OCI and docker images",
            value=media_type,
        )
    return found


def sniff(head: bytes) -> str:
    """Return the compression that the first bytes of a file tell of; "" for none."""
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
    return ""


def chunks(fd: int, compression: str | None = None) -> Iterator[bytes]:
    """Yield the plain bytes of an open file from its present position.

    compression: "", "gzip", "zstd", "bzip2", "xz", or None: as its first bytes say (of gzip and zstd too, a file that
    ends too early is an error). Raises InvalidInput, UnsupportedContent.
    """
    if compression is None:
        head = os.read(fd, 6)
        compression = sniff(head)
    else:
        head = b""
    if compression == "gzip":
        return _gunzip(fd, head)
    if compression:
        return _decompress(fd, head, compression)
    return _plain(fd, head)


def _plain(fd: int, head: bytes) -> Iterator[bytes]:
    if head:
        yield head
    while True:
        data = os.read(fd, PLAIN_CHUNK)
        if not data:
            return
        yield data


def _gunzip(fd: int, head: bytes) -> Iterator[bytes]:
    """A gzip file is one or more members, one after another (RFC 1952, 2.2)."""
    taken = made = 0
    inflater: Any = None
    data = head or os.read(fd, COMPRESSED_CHUNK)
    while data:
        if inflater is None:
            if not data.strip(b"\0"):  # zeros behind the last member are padding
                data = os.read(fd, COMPRESSED_CHUNK)
                continue
            inflater = zlib.decompressobj(31)
        taken += len(data)
        try:
            plain = inflater.decompress(data)
        except zlib.error as error:
            raise InvalidInput(
                f"the layer is not gzip, or damaged: {error}", hint="pull it again, or from another source"
            ) from None
        made += len(plain)
        if made > RATIO_MATTERS_FROM and made > MAX_RATIO * taken:
            raise _bomb(made, taken)
        if plain:
            yield plain
        data = b""
        if inflater.eof:
            data = inflater.unused_data
            taken -= len(data)
            inflater = None
        data = data or os.read(fd, COMPRESSED_CHUNK)
    if inflater is not None:
        raise InvalidInput("the gzip layer ends too early", hint="pull it again, or from another source")


def _decompress(fd: int, head: bytes, compression: str) -> Iterator[bytes]:
    """Formats of one decompressor object per frame: zstd, bzip2, xz."""
    make = _decompressor(compression)
    taken = made = 0
    inflater: Any = None
    data = head or os.read(fd, COMPRESSED_CHUNK)
    while data:
        if inflater is None:
            inflater = make()
        taken += len(data)
        try:
            plain = inflater.decompress(data)
        except Exception as error:  # each library has errors of its own, zstandard's derive from Exception only
            raise InvalidInput(
                f"the layer is not {compression}, or damaged: {error}", hint="pull it again, or from another source"
            ) from None
        made += len(plain)
        if made > RATIO_MATTERS_FROM and made > 100 * MAX_RATIO * taken:
            raise _bomb(made, taken)
        if plain:
            yield plain
        data = b""
        if inflater.eof:
            data = inflater.unused_data
            taken -= len(data)
            inflater = None
        data = data or os.read(fd, COMPRESSED_CHUNK)
    if inflater is not None:
        raise InvalidInput(f"the {compression} layer ends too early", hint="pull it again, or from another source")


def _decompressor(compression: str) -> Callable[[], Any]:
    if compression == "bzip2":
        from bz2 import BZ2Decompressor

        return BZ2Decompressor
    if compression == "xz":
        from lzma import LZMADecompressor

        return LZMADecompressor
    if compression != "zstd":
        raise UnsupportedContent(f"compression {compression!r} is not supported", value=compression)
    try:
        from compression.zstd import ZstdDecompressor  # type: ignore[import-not-found]

        return ZstdDecompressor  # type: ignore[no-any-return]
    except ImportError:
        pass
    try:
        from zstandard import ZstdDecompressor as Zstandard
    except ImportError:
        raise UnsupportedContent(
            "the layer is compressed with zstd, which this Python cannot read",
            hint="install the package python3-zstandard (or pip's zstandard), or use Python 3.14, which has it",
            value="zstd",
        ) from None
    return lambda: Zstandard().decompressobj()


def _bomb(made: int, taken: int) -> InvalidInput:
    return InvalidInput(
        f"the layer inflates to {made} bytes from {taken}, which no real one does",
        hint="it is made to fill the disk; do not use this image",
    )


class Hashed:
    """The chunks of another iterator, made in a thread of their own, their digest taken on the way.

    Iterate to the end, then ask digest. Errors of the thread are raised to the taker. close() ends the thread early.
    """

    def __init__(self, source: Iterator[bytes]) -> None:
        from hashlib import sha256
        from queue import SimpleQueue

        self._source = source
        self._hash = sha256()
        self._full: SimpleQueue[Any] = SimpleQueue()
        self._free: SimpleQueue[bool] = SimpleQueue()
        for _ in range(AHEAD):
            self._free.put(True)
        self._stopped = False
        self.size = 0
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            for chunk in self._source:
                self._free.get()
                if self._stopped:
                    return
                self._full.put(chunk)
                self._hash.update(chunk)
                self.size += len(chunk)
        except BaseException as error:
            self._full.put(error)
        else:
            self._full.put(None)

    def __iter__(self) -> Iterator[bytes]:
        take, give = self._full.get, self._free.put
        while True:
            chunk = take()
            if chunk is None:
                self._thread.join()
                return
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
            give(True)

    @property
    def digest(self) -> str:
        """The digest of all that was taken; to be asked at the end only."""
        self._thread.join()
        return "sha256:" + self._hash.hexdigest()

    def close(self) -> None:
        """End the thread, if it has not ended."""
        self._stopped = True
        self._free.put(True)
        self._thread.join()


def check_diff_id(found: str, wanted: str) -> None:
    """Raise ContentMismatch unless an archive is the one that its image's configuration names."""
    if found != wanted:
        raise ContentMismatch(
            f"the layer's content has the digest {found[:19]}..., its image's configuration says {wanted[:19]}...",
            hint="the image is damaged or forged; pull it again, or from another source",
            value=wanted,
        )
