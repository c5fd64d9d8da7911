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

COMPRESSED_CHUNK = 1 << 16
PLAIN_CHUNK = 1 << 18
AHEAD = 16  # chunks that may wait for their taker
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
    """A gzip file is one or more members, one after another (RFC 1952, 2.2); zeros behind the last are padding."""
    ratio = _Ratio(MAX_RATIO)
    inflater: Any = None
    data = head or os.read(fd, COMPRESSED_CHUNK)
    while data:
        if inflater is None:
            if not data.strip(b"\0"):
                data = os.read(fd, COMPRESSED_CHUNK)
                continue
            inflater = zlib.decompressobj(31)
        try:
            plain = inflater.decompress(data, PLAIN_CHUNK)
        except zlib.error as error:
            raise _damaged("gzip", error) from None
        rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        ratio.count(len(data) - len(rest), len(plain))
        if plain:
            yield plain
        if inflater.eof:
            inflater = None
        data = rest or os.read(fd, COMPRESSED_CHUNK)
    if inflater is not None:
        yield from _rest(inflater)


def _rest(inflater: Any) -> Iterator[bytes]:
    """What zlib still holds back although it has had all input."""
    plain = inflater.decompress(b"", PLAIN_CHUNK)
    while plain:
        yield plain
        plain = inflater.decompress(b"", PLAIN_CHUNK)
    if not inflater.eof:
        raise _damaged("gzip", "it ends too early")


def _decompress(fd: int, head: bytes, compression: str) -> Iterator[bytes]:
    """bzip2, xz and zstd by the standard library's decompressors, which are all of one kind: one object for a frame."""
    make = _decompressor(compression)
    if make is None:
        yield from _zstandard(fd, head)
        return
    ratio = _Ratio(100 * MAX_RATIO)
    inflater: Any = None
    data = head or os.read(fd, COMPRESSED_CHUNK)
    while data or (inflater is not None and not inflater.needs_input):
        inflater = inflater or make()
        try:
            plain = inflater.decompress(data, PLAIN_CHUNK)
        except Exception as error:  # OSError, LZMAError, ZstdError: each has its own
            raise _damaged(compression, error) from None
        ratio.count(len(data), len(plain))
        if plain:
            yield plain
        data = b""
        if inflater.eof:
            data = inflater.unused_data
            inflater = None
        if not data and (inflater is None or inflater.needs_input):
            data = os.read(fd, COMPRESSED_CHUNK)
    if inflater is not None:
        raise _damaged(compression, "it ends too early")


def _zstandard(fd: int, head: bytes) -> Iterator[bytes]:
    """zstd by the package zstandard. A cut frame ends without an error: the tar reader or the digest finds it."""
    try:
        from zstandard import ZstdDecompressor, ZstdError
    except ImportError:
        raise UnsupportedContent(
            "the layer is compressed with zstd, which this Python cannot read",
            hint="install the package python3-zstandard (or pip's zstandard), or use Python 3.14, which has it",
            value="zstd",
        ) from None
    source = _Source(fd, head)
    ratio = _Ratio(100 * MAX_RATIO)
    try:
        with ZstdDecompressor().stream_reader(source, read_across_frames=True, closefd=False) as reader:
            while True:
                plain = reader.read(PLAIN_CHUNK)
                if not plain:
                    return
                ratio.count(source.taken, len(plain))
                source.taken = 0
                yield plain
    except ZstdError as error:
        raise _damaged("zstd", error) from None


class _Source:
    """What the package zstandard reads from: a few bytes that were read already, then a descriptor."""

    def __init__(self, fd: int, head: bytes) -> None:
        self._fd = fd
        self._head = head
        self.taken = 0

    def read(self, size: int = COMPRESSED_CHUNK) -> bytes:
        data, self._head = self._head or os.read(self._fd, size), b""
        self.taken += len(data)
        return data


def _decompressor(compression: str) -> Callable[[], Any] | None:
    """Return the class of decompressors; None: ask the package zstandard."""
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
    except ImportError:
        return None
    return ZstdDecompressor  # type: ignore[no-any-return]


class _Ratio:
    """Counts what goes in and comes out, and stops what no real layer does."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = self._made = 0

    def count(self, taken: int, made: int) -> None:
        self._taken += taken
        self._made += made
        if self._made > RATIO_MATTERS_FROM and self._made > self._limit * self._taken:
            raise _bomb(self._made, self._taken)


def _damaged(compression: str, why: object) -> InvalidInput:
    return InvalidInput(
        f"the layer is not {compression}, or damaged: {why}", hint="pull it again, or from another source"
    )


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
