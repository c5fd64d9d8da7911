# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a container's log: docker's json-file lines or the kubelet's text lines, across rotated files, following.

Not on the start path: the monitor never imports this.
"""

from __future__ import annotations

import os
import select

from ..errors import InvalidInput
from . import state
from .logfile import GZIP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO, Callable

_BLOCK = 1 << 16
_FOLLOWED = 1 << 18  # bytes that are read at once while following; most entries are much shorter
_LOOK_AGAIN_MS = 1000  # a monitor that is killed writes nothing: whether it lives has to be asked
_SETTLE_MS = 200
_MAX_ROTATED = 1000


def read(
    path: str,
    *,
    follow: bool = False,
    alive: Callable[[], bool] | None = None,
    since: int | None = None,
    until: int | None = None,
    tail: int | None = None,
    timestamps: bool = False,
) -> Iterator[tuple[str, bytes]]:
    """Yield (stream, bytes) of each entry, oldest first; stream is "stdout" or "stderr".

    follow: go on until alive() is false and everything is read. since, until: nanoseconds since 1970, both included.
    tail: only the last so many entries. timestamps: each entry begins with its time and a space. A log that does not
    exist is empty; lines that are no entries (a monitor was killed while writing one) are skipped.
    """
    from ..clock import rfc3339

    first = "" if since is None else rfc3339(since)
    last = "" if until is None else rfc3339(until)
    for line in _lines(path, tail, (alive or (lambda: False)) if follow else None):
        entry = parse(line)
        if entry is None or entry[1] < first:
            continue
        stream, stamp, text = entry
        if last and stamp > last:
            if follow:
                return
            continue  # the clock may have been set back since: what comes later may bear an earlier time
        yield stream, (stamp.encode() + b" " + text if timestamps else text)


def follower(run_dir: str) -> Callable[[], bool]:
    """Return the alive function for read(): whether the container has a monitor."""
    return lambda: state.monitor_alive(run_dir)


def parse(line: bytes) -> tuple[str, str, bytes] | None:
    """Return (stream, time, text) of one line of a log file, or None for one that is no entry."""
    if line[:1] == b"{":
        import json

        try:
            fields = json.loads(line)
            return fields["stream"], fields["time"], fields["log"].encode("utf-8", "replace")
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
    words = line.split(b" ", 3)
    if len(words) < 4 or words[1] not in (b"stdout", b"stderr") or words[2] not in (b"F", b"P"):
        return None
    text = words[3].rstrip(b"\n") if words[2] == b"P" else words[3]
    return words[1].decode(), words[0].decode("ascii", "replace"), text


def parse_time(text: str, now_ns: int) -> int:
    """Return nanoseconds since 1970 of "2026-11-24T09:47:25.5Z", "2026-11-24", a Unix time, or "10m" (before now).

    Raises InvalidInput.
    """
    import re
    from calendar import timegm
    from time import strptime

    if re.fullmatch(r"\d{1,11}(\.\d{1,9})?", text, re.ASCII):
        seconds, _dot, rest = text.partition(".")
        return int(seconds) * 10**9 + int(rest.ljust(9, "0"))
    if text and re.fullmatch(r"(\d+(?:\.\d+)?(?:h|ms|m|s))+", text, re.ASCII):
        units = {"h": 3_600_000_000_000, "m": 60_000_000_000, "s": 1_000_000_000, "ms": 1_000_000}
        parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|m|s)", text)
        return now_ns - sum(int(float(number) * units[unit]) for number, unit in parts)
    match = re.fullmatch(
        r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?", text, re.ASCII
    )
    if match:
        day, minutes, seconds, rest, zone = match.groups()
        try:
            clock = strptime(f"{day}T{minutes or '00:00'}{seconds or ':00'}", "%Y-%m-%dT%H:%M:%S")
        except ValueError:
            pass
        else:
            offset = 0
            if zone and zone != "Z":
                offset = (int(zone[1:3]) * 3600 + int(zone[4:6]) * 60) * (-1 if zone[0] == "-" else 1)
            return (timegm(clock) - offset) * 10**9 + int((rest or "0").ljust(9, "0"))
    raise InvalidInput(
        f"{text!r} is no time",
        hint="write 2026-11-24T09:47:25Z, 2026-11-24, seconds since 1970, or a time before now such as 10m or 1h30m",
        value=text,
    )


# -- files ------------------------------------------------------------------------------------------------------------


def _lines(path: str, tail: int | None, alive: Callable[[], bool] | None) -> Iterator[bytes]:
    """Yield complete lines from all files, oldest first; alive is None when not following."""
    files = [item.unpacked() for item in _list(path)]
    try:
        if tail is not None:
            files = _seek_tail(files, max(tail, 0))
        while len(files) > 1:
            with files[0] as file:
                yield from file
            del files[0]
        if alive is None:
            for file in files:
                for line in file:
                    if line.endswith(b"\n"):
                        yield line
            return
        current = files.pop() if files else None
        yield from _follow(path, current, alive)
    finally:
        for file in files:
            file.close()


def _seek_tail(files: list[BinaryIO], count: int) -> list[BinaryIO]:
    """Position the files on the last count lines; close and leave out those before them."""
    left = count
    for index in range(len(files) - 1, -1, -1):
        left = _seek_lines(files[index], left)
        if left == 0:
            for file in files[:index]:
                file.close()
            return files[index:]
    return files


def _seek_lines(file: BinaryIO, count: int) -> int:
    """Seek to the last count complete lines; return how many are missing when the file has fewer."""
    end = position = file.seek(0, os.SEEK_END)
    if count == 0:
        return 0
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        if position + size == end and block.endswith(b"\n"):
            block = block[:-1]  # the newline that ends the last line begins no further one
            if not block and position == 0:
                break
        newlines = block.count(b"\n")
        if newlines < count:
            count -= newlines
            continue
        at = len(block)
        for _ in range(count):
            at = block.rindex(b"\n", 0, at)
        file.seek(position + at + 1)
        return 0
    file.seek(0)
    return count - 1 if end else count


def _follow(path: str, file: BinaryIO | None, alive: Callable[[], bool]) -> Iterator[bytes]:
    """Yield the lines of the newest file as they come, and of the files that replace it."""
    watch = Watch(os.path.dirname(path) or ".")
    try:
        while True:
            live = alive()  # asked before reading: what was written before the monitor ended is read below
            progress = False
            if file is not None:
                for line in _whole_lines(file):
                    progress = True
                    yield line
            newer = _newer(path, file)
            if newer is not None:
                if file is not None:
                    yield from _whole_lines(file)  # written between our last read and the rename
                    file.close()
                file = newer
                continue
            if not live and not progress:
                return
            if not progress:
                watch.wait(_LOOK_AGAIN_MS)
    finally:
        watch.close()
        if file is not None:
            file.close()


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines that are whole by now, and stay before the one that is not: it may yet be taken back, by a
    monitor whose disk is full."""
    at = file.tell()
    size = _FOLLOWED
    while True:
        block = file.read(size)
        end = block.rfind(b"\n") + 1
        if end:
            at += end
            for line in block[: end - 1].split(b"\n"):
                yield line + b"\n"
        file.seek(at)
        if len(block) < size:
            return
        size = _FOLLOWED if end else size * 2


def _newer(path: str, file: BinaryIO | None) -> BinaryIO | None:
    """Return the file that follows this one by now, or None when it is the newest still (or there is none yet)."""
    try:
        if file is not None and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return None
    except FileNotFoundError:
        pass  # between a rename and the new file
    files = _list(path)
    following = 0
    if file is not None:
        mine = os.fstat(file.fileno())
        # Nothing equal: ours was deleted by several rotations since; everything that is left is newer.
        following = 1 + next((index for index, item in enumerate(files) if item.same(mine)), -1)
    for index, item in enumerate(files):
        if index != following:
            item.file.close()
    return files[following].unpacked() if following < len(files) else None


class _Found:
    """One of a log's files, open."""

    def __init__(self, file: BinaryIO, packed: bool) -> None:
        self.file = file
        self.packed = packed
        self.status = os.fstat(file.fileno())

    def same(self, status: os.stat_result) -> bool:
        """Whether it has the content of the file with this status: compressing keeps the time of the last change, and
        gzip's last four bytes are the size."""
        if os.path.samestat(self.status, status):
            return True
        if not self.packed or self.status.st_mtime_ns != status.st_mtime_ns:
            return False
        size = os.pread(self.file.fileno(), 4, self.status.st_size - 4)
        return int.from_bytes(size, "little") == status.st_size & 0xFFFFFFFF

    def unpacked(self) -> BinaryIO:
        """Return its text, as a file that can be sought in; the compressed one is closed."""
        if not self.packed:
            return self.file
        import tempfile
        import zlib

        text = tempfile.TemporaryFile()  # noqa: SIM115 - closed by who reads it
        unpacker = zlib.decompressobj(31)
        with self.file as file:
            block = file.read(_FOLLOWED)
            while block:
                text.write(unpacker.decompress(block))
                block = file.read(_FOLLOWED)
        text.seek(0)
        return text


def _list(path: str) -> list[_Found]:
    """Open log.N ... log.1, log, each once, although they may be renamed and compressed between two opens."""
    while True:
        found: list[_Found] = []
        missing = 0
        for number in range(_MAX_ROTATED):
            item = _open(f"{path}.{number}" if number else path, packed=number > 0)
            if item is None:
                missing += 1
                if missing > 2:  # one may be about to be renamed, and the newest about to be made
                    break
            elif any(os.path.samestat(item.status, other.status) for other in found):
                item.file.close()
            else:
                missing = 0
                found.append(item)
        if not found or _is_still(path, found[0]):
            found.reverse()
            return found
        for item in found:  # rotated meanwhile: the order may be wrong
            item.file.close()


def _open(path: str, *, packed: bool) -> _Found | None:
    for ending in ("", GZIP) if packed else ("",):
        try:
            return _Found(open(path + ending, "rb"), bool(ending))  # noqa: SIM115 - closed by who reads it
        except (FileNotFoundError, NotADirectoryError):
            continue
    return None


def _is_still(path: str, newest: _Found) -> bool:
    try:
        return os.path.samestat(os.stat(path), newest.status)
    except FileNotFoundError:
        return True  # the next one is to be made by the next entry


class Watch:
    """Sleeps until something happens in a folder (inotify(7)), or for the given time."""

    _EVENTS = 0x2 | 0x40 | 0x80 | 0x100 | 0x200  # IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE

    def __init__(self, folder: str) -> None:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd >= 0:
            libc.inotify_add_watch(self._fd, os.fsencode(folder), self._EVENTS)

    def wait(self, timeout_ms: int) -> None:
        """Without inotify (its instances are used up) this polls instead."""
        if self._fd < 0:
            select.poll().poll(_SETTLE_MS)
            return
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if poll.poll(timeout_ms):
            try:
                while os.read(self._fd, 65536):
                    pass
            except BlockingIOError:
                pass

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
