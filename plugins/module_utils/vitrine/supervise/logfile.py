# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container's log: docker's json-file format, or the kubelet's text format, rotated by size.

A write never blocks the container and never fails: what a full disk refuses is counted and dropped.
"""

from __future__ import annotations

import os

from ..clock import rfc3339
from .jsontext import encode, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

GZIP = ".gz"
PIECE = 16384  # bytes of one entry, as docker's: a longer line is logged in pieces, only the last ends in a newline


class RotatingFile:
    """Appends whole entries to path; renames it to path.1 ... path.(max_files - 1) before it outgrows max_size bytes.

    max_size 0: no limit. max_files 1: the only file starts anew. compress: the renamed ones become path.1.gz ...
    dropped: entries that could not be written.
    """

    def __init__(self, path: str, max_size: int = 0, max_files: int = 1, *, compress: bool = False) -> None:
        self.path = path
        self.max_size = max_size
        self.max_files = max(max_files, 1)
        self.dropped = 0
        self._compress = compress
        self._compressor = 0  # pid of the process that compresses path.1
        self._limit = max_size
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
        """Write no more. What is being compressed is waited for by settle()."""
        self._close()

    def settle(self) -> None:
        """Leave the files as the next writer may find them: none may be renamed while it is compressed."""
        pid, self._compressor = self._compressor, 0
        if pid:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _fitting(self, entries: bytes) -> bytes:
        if not self._limit or self._size + len(entries) <= self._limit:
            return entries
        cut = entries.rfind(b"\n", 0, max(self._limit - self._size, 0)) + 1
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
                self._close()  # to open it again mends it
        return whole

    def _reopen(self) -> bool:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._fd = os.open(self.path, flags, 0o640)
            self._size = os.fstat(self._fd).st_size
            if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
                self._size += os.write(self._fd, b"\n")  # an earlier monitor was killed within a write
        except OSError:
            self._close()
        return self._fd >= 0

    def _rotate(self) -> None:
        size, self._size = self._size, 0
        self._close()
        self.settle()
        try:
            if self.max_files == 1:
                _unlink(self.path)
            for number in range(self.max_files - 1, 0, -1):
                newer = f"{self.path}.{number - 1}" if number > 1 else self.path
                for ending in ("", GZIP) if number > 1 else ("",):
                    try:
                        os.rename(newer + ending, f"{self.path}.{number}{ending}")
                    except FileNotFoundError:
                        continue
                    _unlink(f"{self.path}.{number}{'' if ending else GZIP}")  # an older one's other form
            self._limit = self.max_size
            if self._compress and self.max_files > 1:
                self._compressor = compress_aside(self.path + ".1")
        except OSError:
            self._limit = size + self.max_size  # a folder that takes no renames now: rather a long log than none


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def compress_aside(path: str) -> int:
    """Replace a file by its gzip form in a process of its own; return its pid, 0 when there can be none."""
    try:
        pid = os.fork()
    except OSError:
        return 0
    if pid:
        return pid
    status = 1
    try:
        os.nice(10)
        compress(path)
        status = 0
    finally:
        os._exit(status)


def compress(path: str) -> None:
    """Replace a file by path.gz. Raises OSError; then the file is as it was."""
    import zlib

    packer = zlib.compressobj(6, zlib.DEFLATED, 31)  # 31: with gzip's head and tail
    partial = path + GZIP + ".new"
    try:
        with open(path, "rb") as source, open(partial, "wb") as target:
            os.fchmod(target.fileno(), 0o640)
            block = source.read(1 << 18)
            while block:
                target.write(packer.compress(block))
                block = source.read(1 << 18)
            target.write(packer.flush())
            status = os.fstat(source.fileno())
        os.utime(partial, ns=(status.st_atime_ns, status.st_mtime_ns))  # by which who follows the log knows it again
        os.rename(partial, path + GZIP)
    except BaseException:
        _unlink(partial)
        raise
    os.unlink(path)


def json_entries(stream: str, text: bytes, stamp: str, attrs: str = "") -> bytes:
    """Return docker's json-file lines for text. One entry for each line; a last line without newline is one too.

    attrs: what every entry says besides, as '"attrs":{...},'.
    """
    head = '{"log":"'
    end = f'","stream":"{stream}",{attrs}"time":"{stamp}"}}\n'
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


def json_format(attrs: dict[str, str]) -> Callable[[str, bytes, str], bytes]:
    """Return json_entries with attributes for every entry."""
    if not attrs:
        return json_entries
    said = f'"attrs":{encode(attrs)},'
    return lambda stream, text, stamp: json_entries(stream, text, stamp, said)


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
                self._put(stream, whole, stamp)
        if len(tail) > PIECE:
            tail = self._write_pieces(stream, tail, stamp, keep=True)
        if tail:
            self._tails[stream] = tail

    def flush(self, now_ns: int) -> None:
        """Write the pieces of lines that wait."""
        for stream, tail in self._tails.items():
            self._put(stream, tail, rfc3339(now_ns))
        self._tails.clear()

    def close(self, now_ns: int, *, durable: bool) -> None:
        self.flush(now_ns)
        if durable:
            self._file.sync()
        self._file.close()

    def settle(self) -> None:
        """Wait for what goes on beside, after close()."""
        self._file.settle()

    def _write_pieces(self, stream: str, data: bytes, stamp: str, keep: bool = False) -> bytes:
        """Write data's lines, none longer than PIECE; keep: return the last piece instead of writing it."""
        start = 0
        while len(data) - start > (PIECE if keep else 0):
            end = data.find(b"\n", start, start + PIECE + 1) + 1
            if not end:
                end = cut_point(data, start)
            self._put(stream, data[start:end], stamp)
            start = end
        return data[start:]

    def _put(self, stream: str, text: bytes, stamp: str) -> None:
        self._file.append(self._format(stream, text, stamp))


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


def make(options: dict[str, Any], *, adopting: bool = False) -> Any:
    """Return the writer for a request's log options (launch.py): write, flush, close, pending, dropped.

    Raises StartFailed when the driver's service is not there; a container that runs already goes on without it.
    """
    driver = options.get("driver") or "none"
    if driver == "none":
        return NoLog()
    if driver == "journald":
        from . import journald

        return journald.JournalLog(options, adopting=adopting)
    file = RotatingFile(
        options["path"],
        options.get("max_size") or 0,
        options.get("max_file") or 1,
        compress=bool(options.get("compress")),
    )
    return LineLog(file, text_entries if driver == "k8s-file" else json_format(options.get("attrs") or {}))


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

    def settle(self) -> None:
        pass
