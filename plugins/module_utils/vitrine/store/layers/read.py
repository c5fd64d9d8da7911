# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading tar archives as a stream: ustar, PAX, GNU and old star, with GNU's four ways of sparse files.

Formats: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar Format" and
"Storing Sparse Files"; star(5) for SCHILY.xattr; libarchive-formats(5) for LIBARCHIVE.xattr.
Written for speed: a layer has thousands of small members, so that what this does for each is most of a pull's time.
"""

from __future__ import annotations

import os
import zlib

from .entry import DIRECTORY, FILE, HARDLINK, MAX_NAME, Entry, malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

BLOCK = 512
MAX_EXTENSION = 1 << 20  # bytes of one extended header: names and attributes of one member
MAX_SPARSE = 1 << 16  # parts of one sparse file
MAX_ENTRIES = 2_000_000
MAX_INT = (1 << 63) - 1
MAX_ID = (1 << 32) - 2
MAX_TIME = 1 << 40  # seconds; nothing of this age can be stored by any file system here
_ZERO = bytes(BLOCK)
_GLOBAL: dict[str, bytes] = {}


class Reader:
    """Members of an archive that comes in chunks: ``for entry in reader:``, then ``copy_to`` or ``content`` before the
    next. Content that is not taken is skipped. Raises InvalidInput for what is no archive, or cut off."""

    def __init__(self, chunks: Iterable[bytes], max_entries: int = MAX_ENTRIES) -> None:
        self._chunks = iter(chunks)
        self._buffer = b""
        self._position = 0
        self._left = 0  # bytes of the present member that are still to come, without padding
        self._padding = 0
        self._max_entries = max_entries
        self._numbers: dict[bytes, int] = {}

    # -- bytes --------------------------------------------------------------------------------------------------------

    def _more(self) -> bool:
        """Replace an exhausted buffer by the next chunk; False at the end."""
        for chunk in self._chunks:
            if chunk:
                self._buffer = chunk
                self._position = 0
                return True
        self._buffer = b""
        self._position = 0
        return False

    def _read(self, count: int) -> bytes:
        """Return exactly count bytes; fewer at the end of the stream."""
        position = self._position
        end = position + count
        if end <= len(self._buffer):
            self._position = end
            return self._buffer[position:end]
        parts = [self._buffer[position:]]
        count -= len(parts[0])
        while count and self._more():
            part = self._buffer[:count]
            self._position = len(part)
            parts.append(part)
            count -= len(part)
        if count:
            self._position = len(self._buffer)
        return b"".join(parts)

    def _skip(self, count: int) -> None:
        while count:
            here = min(count, len(self._buffer) - self._position)
            self._position += here
            count -= here
            if count and not self._more():
                raise malformed("it ends in the middle of a member")

    def _block(self) -> bytes:
        block = self._read(BLOCK)
        if 0 < len(block) < BLOCK:
            raise malformed("it ends in the middle of a header")
        return block

    def _pieces(self, count: int) -> Iterator[bytes | memoryview]:
        """Yield the next count bytes of the present member, without copying more than needed."""
        if count > self._left:
            raise malformed("a sparse file's map is longer than its content")
        self._left -= count
        while count:
            buffer, position = self._buffer, self._position
            here = len(buffer) - position
            if here > count:
                here = count
            if here:
                self._position = position + here
                count -= here
                yield (
                    buffer[position : position + here]
                    if here < 65536
                    else memoryview(buffer)[position : position + here]
                )
            elif not self._more():
                raise malformed("it ends in the middle of a member")

    # -- content of the present member --------------------------------------------------------------------------------

    def copy_to(self, entry: Entry, fd: int) -> None:
        """Write the present member's content to an open, empty file; holes stay holes."""
        write = os.write
        if entry.sparse is None:
            position, size = self._position, entry.size
            if size <= len(self._buffer) - position and size < 65536:
                self._position = position + size  # the usual case: all of it is here
                self._left = 0
                data: Any = self._buffer[position : position + size]
                done = write(fd, data)
                if done != size:
                    _write_all(fd, data[done:])
                return
            for piece in self._pieces(size):
                _write_all(fd, piece)
            return
        os.ftruncate(fd, entry.size)
        for offset, length in entry.sparse:
            os.lseek(fd, offset, os.SEEK_SET)
            for piece in self._pieces(length):
                _write_all(fd, piece)

    def content(self, entry: Entry, limit: int) -> bytes:
        """Return the present member's content. Raises InvalidInput when it is longer than limit."""
        if entry.size > limit:
            raise malformed(f"{entry.name!r} has {entry.size} bytes, more than {limit}")
        if entry.sparse is None:
            return b"".join(self._pieces(entry.size))
        result = bytearray(entry.size)
        for offset, length in entry.sparse:
            result[offset : offset + length] = b"".join(self._pieces(length))
        return bytes(result)

    def pieces(self, entry: Entry) -> Iterator[bytes | memoryview]:
        """Yield the present member's content (of a file that is not sparse) piece by piece."""
        return self._pieces(entry.size)

    def drain(self) -> None:
        """Take the rest of the stream: what follows the end mark counts for the digest."""
        while self._more():
            pass

    # -- headers ------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Entry]:
        count = 0
        defaults: dict[str, bytes] = {}
        extensions: dict[str, bytes] = {}
        long_name = long_link = b""
        pairs: list[tuple[str, bytes]] = []
        while True:
            block = self._block()
            if not block or block == _ZERO:
                # One block of zeros is an end as well: some writers make only one, and none goes on after it.
                if extensions or long_name or long_link:
                    raise malformed("it ends after an extended header")
                return
            entry = self._header(block)
            kind = entry.kind
            if kind in (b"x", b"X", b"g", b"L", b"K"):
                count += 1
                data = self._extension(entry)
                if kind == b"L":
                    long_name = _text(data)
                elif kind == b"K":
                    long_link = _text(data)
                else:
                    pairs = _records(data)
                    if kind == b"g":
                        defaults.update(pairs)
                    else:
                        extensions = dict(pairs)
                continue
            if long_name:
                entry.name = long_name
            if long_link:
                entry.link = long_link
            if kind == b"S":
                self._old_sparse(entry, block)
            if extensions or defaults:
                self._extend(entry, {**defaults, **extensions}, pairs)
                extensions, pairs = {}, []
            long_name = long_link = b""
            count += 1
            if count > self._max_entries:
                raise malformed(f"it has more than {self._max_entries} members")
            if kind in (b"V", b"I"):  # GNU: label of a volume; Solaris: inode data
                self._finish()
                continue
            self._settle(entry)
            yield entry
            if self._left or self._padding:
                self._finish()

    def _finish(self) -> None:
        self._skip(self._left + self._padding)
        self._left = self._padding = 0

    def _header(self, block: bytes) -> Entry:
        """Parse one header block (ustar, or what came before it)."""
        number = self._number
        try:
            expected = int(block[148:156].strip(b" \0") or b"x", 8)
        except ValueError:
            raise malformed("a header has no checksum") from None
        # adler32's lower half is 1 + the sum of all bytes, modulo 65521: the checksum without a loop in Python
        actual = (zlib.adler32(block) & 0xFFFF) - 1 - sum(block[148:156]) + 256
        if (actual - expected) % 65521 and not _signed_sum(block, expected):
            raise malformed("a header's checksum is wrong")
        name, nul, _rest = block[:100].partition(b"\0")
        magic = block[257:263]
        if magic == b"ustar\0" and block[345]:
            end = 476 if block[508:512] == b"tar\0" else 500  # star keeps times behind a shorter prefix
            name = block[345:end].partition(b"\0")[0] + b"/" + name
        entry = Entry(
            name,
            block[156:157],
            number(block[100:108]) & 0o7777,
            number(block[108:116]),
            number(block[116:124]),
            number(block[124:136]),
            number(block[136:148]) * 1_000_000_000,
        )
        if block[157]:
            entry.link = block[157:257].partition(b"\0")[0]
        if entry.kind in b"34":
            entry.major, entry.minor = number(block[329:337]), number(block[337:345])
        size = entry.size
        if size < 0:
            raise malformed("a size is negative", size)
        self._left = size
        self._padding = -size % BLOCK
        return entry

    def _number(self, field: bytes) -> int:
        """An octal field, or GNU's base 256. The few different owners and modes of an archive are remembered."""
        known = self._numbers.get(field)
        if known is not None:
            return known
        if field[0] & 0x80:
            # 0x80: positive, 0xff: negative, both with the top bit as the mark (GNU tar manual, "Extensions")
            value = (
                int.from_bytes(field, "big", signed=True)
                if field[0] == 0xFF
                else int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
            )
            if not -MAX_INT <= value <= MAX_INT:
                raise malformed("a number is out of range", field)
        else:
            text = field.partition(b"\0")[0].strip(b" ")
            if text and (not text.isdigit() or b"8" in text or b"9" in text):
                raise malformed("a number is not octal", field)
            value = int(text, 8) if text else 0
        if len(self._numbers) < 4096:
            self._numbers[field] = value
        return value

    def _extension(self, entry: Entry) -> bytes:
        if entry.size > MAX_EXTENSION:
            raise malformed(f"an extended header has {entry.size} bytes, more than {MAX_EXTENSION}")
        data = self._read(entry.size)
        if len(data) < entry.size:
            raise malformed("it ends in the middle of an extended header")
        self._left = 0
        self._finish()
        return data

    def _settle(self, entry: Entry) -> None:
        """Bring the kinds that are spelled in several ways to one, and check what was read."""
        kind = entry.kind
        if kind in (b"\0", b"7", b"S"):
            kind = FILE
            if entry.name[-1:] == b"/":
                kind = DIRECTORY  # the oldest archives know no directories
        elif kind == b"D":
            kind = DIRECTORY
        elif kind not in b"0123456":
            raise malformed(f"{entry.name!r} is of an unknown kind", entry.kind)
        entry.kind = kind
        if not (0 <= entry.uid <= MAX_ID and 0 <= entry.gid <= MAX_ID):
            raise malformed(f"the owner of {entry.name!r} is out of range", (entry.uid, entry.gid))
        if not -MAX_TIME < entry.mtime // 1_000_000_000 < MAX_TIME:
            raise malformed(f"the time of {entry.name!r} is out of range", entry.mtime // 1_000_000_000)
        if len(entry.link) > MAX_NAME or b"\0" in entry.link or (kind in b"12" and not entry.link):
            raise malformed(f"the target of the link {entry.name!r} is empty or too long")
        if kind in (HARDLINK, DIRECTORY):
            entry.size = 0  # content that comes with a link (pax allows it) is the target's, and is skipped

    # -- extended headers ---------------------------------------------------------------------------------------------

    def _extend(self, entry: Entry, records: dict[str, bytes], pairs: list[tuple[str, bytes]]) -> None:
        """Apply PAX records to a member."""
        sparse = False
        for key, value in records.items():
            if key == "path":
                entry.name = value
            elif key == "linkpath":
                entry.link = value
            elif key == "size":
                entry.size = self._left = _decimal(key, value)
                self._padding = -entry.size % BLOCK
            elif key == "mtime":
                entry.mtime = _time(value)
            elif key == "uid":
                entry.uid = _decimal(key, value)
            elif key == "gid":
                entry.gid = _decimal(key, value)
            elif key.startswith("SCHILY.xattr."):
                if entry.xattrs is None:
                    entry.xattrs = {}
                entry.xattrs[key[13:]] = value
            elif key.startswith("LIBARCHIVE.xattr."):
                name, data = _libarchive(key[17:], value)
                if entry.xattrs is None:
                    entry.xattrs = {}
                entry.xattrs.setdefault(name, data)
            elif key.startswith("GNU.sparse."):
                sparse = True
        if sparse:
            self._sparse(entry, records, pairs)

    def _sparse(self, entry: Entry, records: dict[str, bytes], pairs: list[tuple[str, bytes]]) -> None:
        """GNU.sparse records of format 0.0, 0.1 and 1.0."""
        if "GNU.sparse.name" in records:
            entry.name = records["GNU.sparse.name"]
        size = records.get("GNU.sparse.realsize", records.get("GNU.sparse.size"))
        if records.get("GNU.sparse.major") == b"1":
            numbers = self._sparse_map()
        elif "GNU.sparse.map" in records:
            numbers = [_decimal("GNU.sparse.map", word) for word in records["GNU.sparse.map"].split(b",") if word]
        else:
            wanted = ("GNU.sparse.offset", "GNU.sparse.numbytes")
            numbers = [_decimal(key, value) for key, value in pairs if key in wanted]
        if size is None:
            raise malformed(f"the sparse file {entry.name!r} has no size")
        entry.size = _decimal("GNU.sparse.size", size)
        entry.sparse = _parts(numbers, entry, self._left)

    def _sparse_map(self) -> list[int]:
        """Format 1.0: the map stands before the content, in decimal lines, padded to a block."""
        text = b""
        wanted = None
        while wanted is None or text.count(b"\n") < wanted:
            if self._left < BLOCK or len(text) > MAX_SPARSE * 24:
                raise malformed("a sparse file's map is cut off or too long")
            text += self._block()
            self._left -= BLOCK
            if wanted is None and b"\n" in text:
                wanted = 1 + 2 * _decimal("GNU.sparse map", text.partition(b"\n")[0])
                if wanted > 2 * MAX_SPARSE:
                    raise malformed("a sparse file's map is too long")
        return [_decimal("GNU.sparse map", word) for word in text.split(b"\n")[1:wanted]]

    def _old_sparse(self, entry: Entry, block: bytes) -> None:
        """Old GNU format: four parts in the header, the others in blocks of 21 behind it."""
        number = self._number
        fields = [block[386 + 12 * index : 398 + 12 * index] for index in range(8)]
        real_size = number(block[483:495])
        more = block[482]
        while more:
            block = self._block()
            if len(block) < BLOCK or len(fields) > 2 * MAX_SPARSE:
                raise malformed("a sparse file's map is cut off or too long")
            fields += [block[12 * index : 12 * index + 12] for index in range(42)]
            more = block[504]
        numbers: list[int] = []
        for offset, length in zip(fields[::2], fields[1::2]):
            if length[0] == 0 and offset[0] == 0:
                break
            numbers += [number(offset), number(length)]
        entry.size = real_size
        entry.sparse = _parts(numbers, entry, self._left)


def _parts(numbers: list[int], entry: Entry, stored: int) -> list[tuple[int, int]]:
    """Check a sparse map: in order, inside the file, and as long as what is stored."""
    if len(numbers) % 2 or len(numbers) > 2 * MAX_SPARSE:
        raise malformed(f"the map of the sparse file {entry.name!r} is cut off or too long")
    parts = list(zip(numbers[::2], numbers[1::2]))
    end = total = 0
    for offset, length in parts:
        if offset < end or length < 0:
            raise malformed(f"the map of the sparse file {entry.name!r} is out of order")
        end = offset + length
        total += length
    if end > entry.size or entry.size > MAX_INT or total > stored:
        raise malformed(f"the map of the sparse file {entry.name!r} does not fit its size")
    return parts


def _text(data: bytes) -> bytes:
    return data.partition(b"\0")[0]


def _records(data: bytes) -> list[tuple[str, bytes]]:
    """PAX records: "<length> <key>=<value>\\n"; the length counts itself."""
    records = []
    position = 0
    while position < len(data):
        if data[position] == 0:  # padding, seen in archives of old writers
            break
        space = data.find(b" ", position, position + 20)
        length = data[position:space]
        if space < 0 or not length.isdigit():
            raise malformed("an extended header has no length", data[position : position + 20])
        end = position + int(length)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end <= space + 1 or end > len(data) or data[end - 1 : end] != b"\n" or not equals:
            raise malformed("an extended header's record is cut off", data[position : position + 40])
        records.append((key.decode("utf-8", "surrogateescape"), value))
        position = end
    return records


def _decimal(key: str, value: bytes) -> int:
    if not value.isdigit() or len(value) > 19:
        raise malformed(f"the extended header {key} is not a number", value[:40])
    return int(value)


def _time(value: bytes) -> int:
    """Seconds with an optional fraction, of which nanoseconds are kept."""
    whole, _dot, fraction = value.partition(b".")
    negative = whole.startswith(b"-")
    digits = whole[1:] if negative else whole
    if not digits.isdigit() or len(digits) > 19 or (fraction and not fraction.isdigit()):
        raise malformed("the extended header mtime is not a time", value[:40])
    result = int(digits) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0") if fraction else 0)
    return -result if negative else result


def _libarchive(key: str, value: bytes) -> tuple[str, bytes]:
    from base64 import b64decode
    from urllib.parse import unquote_to_bytes

    try:
        data = b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except ValueError:
        raise malformed("a LIBARCHIVE.xattr is not base64", value[:40]) from None
    return os.fsdecode(unquote_to_bytes(key)), data


def _signed_sum(block: bytes, expected: int) -> bool:
    """Some old writers summed signed bytes."""
    total = sum(byte - 256 if byte > 127 else byte for byte in block[:148] + block[156:]) + 256
    return total == expected


def _write_all(fd: int, data: Any) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
