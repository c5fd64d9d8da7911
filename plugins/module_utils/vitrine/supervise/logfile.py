# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container's log: docker's json-file format, or the kubelet's text format, rotated by size.

A write never blocks the container and never fails: what a full disk refuses is counted and dropped.
"""

from __future__ import annotations

import os

from ..clock import rfc3339
from .jsontext import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

PIECE = 16384  # bytes of one entry, as docker's: a longer line is logged in pieces, only the last ends in a newline


class RotatingFile:
    """Appends whole entries to path; renames it to path.1 ... path.(max_files - 1) before it outgrows max_size bytes.

    max_size 0: no limit. max_files 1: the only file starts anew. dropped: entries that could not be written.
    """

    def __init__(self, path: str, max_size: int = 0, max_files: int = 1) -> None:
        self.path = path
        self.max_size = max_size
        self.max_files = max(max_files, 1)
        self.dropped = 0
        self._size = 0
        self._fd = -1
        self._reopen()

    def append(self, entries: bytes) -> None:
        """Write whole entries, each ending in a newline."""
        while entries:
            part = self._fitting(entries)
            if not part:
                self._rotate()
                continue
            done = self._write(part)
            entries = entries[done:]
            if done < len(part):
                self.dropped += entries.count(b"\n")
                return

    def sync(self) -> None:
        """Ask the disk to keep what was written; a disk that cannot is not the container's problem."""
        try:
            if self._fd >= 0:
                os.fdatasync(self._fd)
        except OSError:
            pass

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _fitting(self, entries: bytes) -> bytes:
        if not self.max_size or self._size + len(entries) <= self.max_size:
            return entries
        cut = entries.rfind(b"\n", 0, max(self.max_size - self._size, 0)) + 1
        if cut or self._size:
            return entries[:cut]
        return entries[: entries.find(b"\n") + 1]  # one entry larger than the limit gets a file of its own

    def _write(self, part: bytes) -> int:
        """Write as many whole entries as the disk takes; return their bytes."""
        if self._fd < 0 and not self._reopen():
            return 0
        done = 0
        try:
            while done < len(part):
                done += os.write(self._fd, part[done:] if done else part)
        except OSError:
            done = self._cut(done, part.rfind(b"\n", 0, done) + 1)
        self._size += done
        return done

    def _cut(self, written: int, whole: int) -> int:
        """No torn entry may stay before the ones that fit later."""
        if written > whole:
            try:
                os.ftruncate(self._fd, self._size + whole)
            except OSError:
                self.close()  # to open it again mends it
        return whole

    def _reopen(self) -> bool:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._fd = os.open(self.path, flags, 0o640)
            self._size = os.fstat(self._fd).st_size
            if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
                self._size += os.write(self._fd, b"\n")  # an earlier monitor was killed within a write
        except OSError:
            self.close()
        return self._fd >= 0

    def _rotate(self) -> None:
        self.close()
        self._size = 0
        try:
            if self.max_files == 1:
                os.unlink(self.path)
                return
            for number in range(self.max_files - 1, 0, -1):
                older = f"{self.path}.{number}"
                newer = f"{self.path}.{number - 1}" if number > 1 else self.path
                try:
                    os.rename(newer, older)
                except FileNotFoundError:
                    continue
        except OSError:
            self.max_size = 0  # a folder that takes no renames: rather one long log than none


def json_entries(stream: str, text: bytes, stamp: str) -> bytes:
    """Return docker's json-file lines for text. One entry for each line; a last line without newline is one too."""
    head = '{"log":"'
    end = f'","stream":"{stream}","time":"{stamp}"}}\n'
    decoded = text.decode("utf-8", "replace")
    if "\\" not in decoded and decoded.endswith("\n"):
        # Then each \n of the quoted text is a newline's escape, and one C call serves the whole chunk.
        return (head + quote(decoded)[1:-1].replace("\\n", "\\n" + end + head))[: -len(head)].encode()
    lines = decoded.split("\n")
    last = lines.pop()
    entries = [head + quote(line)[1:-1] + "\\n" + end for line in lines]
    if last:
        entries.append(head + quote(last)[1:-1] + end)
    return "".join(entries).encode()


def text_entries(stream: str, text: bytes, stamp: str) -> bytes:
    """Return the kubelet's format: "TIME STREAM F line"; P instead of F where the newline is still to come."""
    lines = text.split(b"\n")
    last = lines.pop()
    head = f"{stamp} {stream} F ".encode()
    entries = b"".join([head + line + b"\n" for line in lines])
    return entries + f"{stamp} {stream} P ".encode() + last + b"\n" if last else entries


FORMATS = {"json-file": json_entries, "local": json_entries, "k8s-file": text_entries}


class LineLog:
    """Makes entries of what the container's streams bring: whole lines at once, the rest when its line is complete.

    pending: a piece of a line waits. flush() writes it as it is, which readers show unchanged (they join pieces).
    """

    def __init__(self, file: RotatingFile, format_entries: Callable[[str, bytes, str], bytes]) -> None:
        self._file = file
        self._format = format_entries
        self._tails: dict[str, bytes] = {}

    @property
    def dropped(self) -> int:
        return self._file.dropped

    @property
    def pending(self) -> bool:
        return bool(self._tails)

    def write(self, stream: str, data: bytes, now_ns: int) -> None:
        tail = self._tails.pop(stream, b"")
        if tail:
            data = tail + data
        end = data.rfind(b"\n") + 1
        whole, tail = data[:end], data[end:]
        stamp = rfc3339(now_ns)
        if whole:
            if has_long_line(whole):
                self._write_pieces(stream, whole, stamp)
            else:
                self._file.append(self._format(stream, whole, stamp))
        if len(tail) > PIECE:
            tail = self._write_pieces(stream, tail, stamp, keep=True)
        if tail:
            self._tails[stream] = tail

    def flush(self, now_ns: int) -> None:
        """Write the pieces of lines that wait."""
        for stream, tail in self._tails.items():
            self._file.append(self._format(stream, tail, rfc3339(now_ns)))
        self._tails.clear()

    def close(self, now_ns: int, *, durable: bool) -> None:
        self.flush(now_ns)
        if durable:
            self._file.sync()
        self._file.close()

    def _write_pieces(self, stream: str, data: bytes, stamp: str, keep: bool = False) -> bytes:
        """Write data's lines, none longer than PIECE; keep: return the last piece instead of writing it."""
        entries = []
        start = 0
        while len(data) - start > (PIECE if keep else 0):
            end = data.find(b"\n", start, start + PIECE + 1) + 1
            if not end:
                end = cut_point(data, start)
            entries.append(self._format(stream, data[start:end], stamp))
            start = end
        self._file.append(b"".join(entries))
        return data[start:]


def has_long_line(data: bytes) -> bool:
    """Whether some line of data (whole lines) has more than PIECE bytes before its newline."""
    start = 0
    while len(data) - start > PIECE + 1:
        newline = data.rfind(b"\n", start, start + PIECE + 1)
        if newline < 0:
            return True
        start = newline + 1
    return False


def cut_point(data: bytes, start: int) -> int:
    """Return where to cut a line that is too long: at most PIECE bytes on, not within a UTF-8 character."""
    end = min(start + PIECE, len(data))
    for back in range(4):
        if end - back >= len(data) or data[end - back] & 0xC0 != 0x80:
            return end - back
    return end


class NoLog:
    """The log of a container that wants none."""

    dropped = 0
    pending = False

    def write(self, stream: str, data: bytes, now_ns: int) -> None:
        pass

    def flush(self, now_ns: int) -> None:
        pass

    def close(self, now_ns: int, *, durable: bool) -> None:
        pass
