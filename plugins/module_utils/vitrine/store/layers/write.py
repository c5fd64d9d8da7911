# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing tar archives: the same members in the same order give the same bytes, anywhere and any time.

Members are ustar where they fit and get a PAX header where they do not (long names, large numbers, attributes). Times
are whole seconds, as docker's. Owners have numbers and no names. Names that are not UTF-8 stand as they are: in short
ones nobody minds; for long ones the PAX header says "hdrcharset=BINARY", as POSIX wants, and Go's readers accept that.
"""

from __future__ import annotations

import struct

from .entry import DIRECTORY, Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BLOCK = 512
END = bytes(2 * BLOCK)
_LAYOUT = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12x")
_MAX_OCTAL_7 = 0o7777777
_MAX_OCTAL_11 = 0o77777777777


class Writer:
    """Makes an archive by calling write with its bytes. Content follows its header: the caller passes it to data()."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._left = 0
        self._padding = 0

    def add(self, entry: Entry) -> None:
        """Write a member's header; exactly entry.size bytes of content must follow through data()."""
        if self._left:
            raise ValueError(f"{self._left} bytes of content are missing before {entry.name!r}")
        self._write(header(entry))
        self._left = entry.size
        self._padding = -entry.size % BLOCK

    def data(self, piece: bytes | memoryview) -> None:
        """Write content of the present member."""
        if len(piece) > self._left:
            raise ValueError("more content than the header says")
        self._write(piece)  # type: ignore[arg-type]
        self._left -= len(piece)
        if not self._left and self._padding:
            self._write(bytes(self._padding))
            self._padding = 0

    def add_bytes(self, entry: Entry, content: bytes) -> None:
        """Write a member with its content; entry.size is set."""
        entry.size = len(content)
        self.add(entry)
        if content:
            self.data(content)

    def close(self) -> None:
        """Write the end mark."""
        if self._left:
            raise ValueError(f"{self._left} bytes of content are missing at the end")
        self._write(END)


def header(entry: Entry) -> bytes:
    """Return a member's header blocks."""
    name = entry.name + b"/" if entry.kind == DIRECTORY and entry.name[-1:] != b"/" else entry.name
    link = entry.link
    records: list[tuple[bytes, bytes]] = []
    prefix = b""
    if len(name) > 100:
        prefix, short = _split(name)
        if not short:
            records.append((b"path", name))
            name, prefix = name[:100], b""
        else:
            name = short
    if len(link) > 100:
        records.append((b"linkpath", link))
        link = link[:100]
    uid = _fitting(b"uid", entry.uid, _MAX_OCTAL_7, records)
    gid = _fitting(b"gid", entry.gid, _MAX_OCTAL_7, records)
    size = _fitting(b"size", entry.size, _MAX_OCTAL_11, records)
    mtime = _fitting(b"mtime", entry.mtime // 1_000_000_000, _MAX_OCTAL_11, records)
    if entry.xattrs:
        for attribute, content in sorted(entry.xattrs.items()):
            records.append((b"SCHILY.xattr." + attribute.encode("utf-8", "surrogateescape"), content))
    block = _block(name, entry.kind, entry.mode, uid, gid, size, mtime, link, entry.major, entry.minor, prefix)
    return _extended(entry.name, records) + block if records else block


def _fitting(key: bytes, value: int, limit: int, records: list[tuple[bytes, bytes]]) -> int:
    """Return what stands in the header's field; a value that does not fit there goes into a record."""
    if 0 <= value <= limit:
        return value
    records.append((key, b"%d" % value))
    return 0


def _block(
    name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, link: bytes = b"",
    major: int = 0, minor: int = 0, prefix: bytes = b"",
) -> bytes:  # fmt: skip
    block = _LAYOUT.pack(
        name,
        b"%07o" % mode,
        b"%07o" % uid,
        b"%07o" % gid,
        b"%011o" % size,
        b"%011o" % mtime,
        b"        ",
        kind,
        link,
        b"ustar",
        b"00",
        b"",
        b"",
        b"%07o" % major,
        b"%07o" % minor,
        prefix,
    )
    return b"%b%06o\0 %b" % (block[:148], sum(block), block[156:])


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Cut a name into a prefix of at most 155 bytes and a rest of at most 100, at a slash; ("", "") if impossible."""
    if len(name) > 256:
        return b"", b""
    cut = name.rfind(b"/", max(0, len(name) - 101), 156)
    first = name.find(b"/", max(0, len(name) - 101))
    if 0 < first <= 155 and first < len(name) - 1:
        cut = first
    if cut <= 0 or cut > 155 or not 0 < len(name) - cut - 1 <= 100:
        return b"", b""
    return name[:cut], name[cut + 1 :]


def _extended(name: bytes, records: Iterable[tuple[bytes, bytes]]) -> bytes:
    text = b"".join(_record(key, value) for key, value in records)
    if b"path=" in text:
        try:
            for key, value in records:
                if key in (b"path", b"linkpath"):
                    value.decode()
        except UnicodeDecodeError:
            text = _record(b"hdrcharset", b"BINARY") + text
    base = name.rstrip(b"/").rpartition(b"/")[2]
    block = _block((b"PaxHeaders.0/" + base)[:100], b"x", 0o644, 0, 0, len(text), 0)
    return block + text + bytes(-len(text) % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    digits = len(str(length))
    while len(str(length + digits)) > digits:
        digits += 1
    return b"%d %b=%b\n" % (length + digits, key, value)
