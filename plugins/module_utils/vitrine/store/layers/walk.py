# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a directory to the members of its layer, in the one order that the engine writes archives in.

Three walks give the same kind of items: all of a directory; what a writable layer changed (``lower``); the difference
between a full copy and the layers that it was made from (``naive``). Directories come before what is in them, names
in the order of their bytes. The item's descriptor is valid until the next item is asked for.
"""

from __future__ import annotations

import os
import stat

from ...errors import InvalidInput
from .entry import (
    AUFS_PRIVATE,
    DIRECTORY,
    FILE,
    HARDLINK,
    KINDS,
    MAX_DEPTH,
    MAX_NAME,
    OPAQUE,
    SYMLINK,
    WHITEOUT,
    Entry,
    keeps_xattr,
)
from .union import DIRECTORY_FLAGS, Place, is_opaque, is_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Item:
    """entry: as it stands in the archive. fd: the open file or directory, else -1. hidden: for whiteouts, the name
    that they hide, or None. status: of the file (None for whiteouts that stand for nothing on disk)."""

    __slots__ = ("entry", "fd", "hidden", "status")

    def __init__(self, entry: Entry, fd: int = -1, hidden: bytes | None = None, status: os.stat_result | None = None):
        self.entry = entry
        self.fd = fd
        self.hidden = hidden
        self.status = status


class Walk:
    """One walk. layout: of the directory: "overlay", "aufs", "plain" (to become a layer), "host" (not to become one).
    clamp: latest mtime in ns, or None.

    lower: the union of the layers below: with it, directories and files are left out that are the same there.
    """

    def __init__(
        self,
        root: int,
        layout: str,
        *,
        lower: Place | None = None,
        naive: bool = False,
        clamp: int | None = None,
        root_like: tuple[int, int, int] = (0o755, 0, 0),
    ) -> None:
        self._root = root
        self._layout = layout
        self._lower = lower
        self._naive = naive
        self._clamp = clamp
        self._root_like = root_like
        self._links: dict[tuple[int, int], bytes] = {}

    def __iter__(self) -> Iterator[Item]:
        status = os.fstat(self._root)
        if (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) != self._root_like:
            entry = self._entry(b".", status, DIRECTORY)
            entry.mtime = min(status.st_mtime_ns, self._clamp) if self._clamp is not None else status.st_mtime_ns
            yield Item(entry, self._root, None, status)
        yield from self._folder(self._root, b"", self._lower, 0)

    @classmethod
    def single(
        cls, parent: int, path: bytes, name: bytes, status: os.stat_result, links: dict[tuple[int, int], bytes]
    ) -> tuple[Item | None, int]:
        """Return the item of one name and the descriptor to close after it (or -1); links: hard links told so far."""
        walk = cls(-1, "plain")
        walk._links = links
        if stat.S_ISDIR(status.st_mode):
            fd = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
            entry = walk._entry(path, os.fstat(fd), DIRECTORY)
            entry.xattrs = _xattrs(fd)
            return Item(entry, fd, None, os.fstat(fd)), fd
        for item in walk._leaf(parent, path[: len(path) - len(name)], name, status, None):
            if item.fd < 0:
                return item, -1
            item.fd = os.dup(item.fd)
            return item, item.fd
        return None, -1

    def _entry(self, name: bytes, status: os.stat_result, kind: bytes) -> Entry:
        mtime = status.st_mtime_ns
        if self._clamp is not None and mtime > self._clamp:
            mtime = self._clamp
        return Entry(name, kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, 0, mtime)

    # -- directories --------------------------------------------------------------------------------------------------

    def _folder(self, fd: int, prefix: bytes, lower: Place | None, depth: int) -> Iterator[Item]:
        if depth > MAX_DEPTH:
            raise _unfit(prefix, f"directories are nested more than {MAX_DEPTH} deep")
        for key, name, status in self._listing(fd, lower):
            path = prefix + name
            if len(path) > MAX_NAME:
                raise _unfit(path[:64], f"a path is longer than {MAX_NAME} bytes")
            if status is None:
                yield self._whiteout(prefix, name)
            elif key[:4] == WHITEOUT and self._layout != "host":
                raise _unfit(path, "the name begins with '.wh.', which means a deletion in a layer")
            elif stat.S_ISDIR(status.st_mode):
                yield from self._below(fd, name, path, lower, depth)
            else:
                yield from self._leaf(fd, prefix, name, status, lower)

    def _listing(self, fd: int, lower: Place | None) -> list[tuple[bytes, bytes, os.stat_result | None]]:
        """(name in the archive, name, status) in the archive's order; status is None for what is hidden."""
        found: list[tuple[bytes, bytes, os.stat_result | None]] = []
        overlay, aufs = self._layout == "overlay", self._layout == "aufs"
        for text in os.listdir(fd):
            name = os.fsencode(text)
            if aufs and name[:4] == WHITEOUT:
                if name[:8] != AUFS_PRIVATE:
                    found.append((name, name[4:], None))
                continue
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue  # the container goes on working while it is looked at
            if overlay and is_whiteout(status):
                # One inode may stand for many whiteouts (Linux 5.8): they are no hard links.
                found.append((WHITEOUT + name, name, None))
            else:
                found.append((name, name, status))
        if self._naive and lower is not None:
            here = {name for _key, name, _status in found}
            found += [(WHITEOUT + name, name, None) for name in lower.names() - here]
        found.sort(key=lambda one: one[0])
        return found

    def _whiteout(self, prefix: bytes, name: bytes) -> Item:
        return Item(Entry(prefix + WHITEOUT + name, FILE, 0o600), hidden=prefix + name)

    def _below(self, parent: int, name: bytes, path: bytes, lower: Place | None, depth: int) -> Iterator[Item]:
        try:
            fd = os.open(name, DIRECTORY_FLAGS, dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            status = os.fstat(fd)
            opaque = is_opaque(fd, self._layout)
            entry = self._entry(path, status, DIRECTORY)
            entry.xattrs = _xattrs(fd)
            item = Item(entry, fd, None, status)
            below = None if lower is None else (Place([], lower.layout) if opaque else lower.enter(name))
            try:
                shown = not self._same_folder(lower, name, item) or opaque
                if shown:
                    yield item
                    if opaque:
                        yield Item(Entry(path + b"/" + OPAQUE, FILE, 0o600), fd, None, None)
                for inner in self._folder(fd, path + b"/", below, depth + 1):
                    if not shown:
                        shown = True
                        yield from self._announce(item, inner)
                    else:
                        yield inner
            finally:
                if below is not None:
                    below.close()
        finally:
            os.close(fd)

    def _announce(self, item: Item, first: Item) -> Iterator[Item]:
        """A directory that is the same below is told only for the sake of the first change in it."""
        yield item
        yield first

    def _same_folder(self, lower: Place | None, name: bytes, item: Item) -> bool:
        """A directory whose time alone changed carries no news: something in it came and went."""
        if lower is None:
            return False
        found = lower.find(name)
        if found is None or not stat.S_ISDIR(found[0].st_mode) or item.status is None:
            return False
        if not _same_owner(found[0], item.status):
            return False
        try:
            fd = os.open(name, DIRECTORY_FLAGS, dir_fd=found[1])
        except OSError:
            return False
        try:
            return _xattrs(fd) == item.entry.xattrs
        finally:
            os.close(fd)

    # -- everything else ----------------------------------------------------------------------------------------------

    def _leaf(
        self, parent: int, prefix: bytes, name: bytes, status: os.stat_result, lower: Place | None
    ) -> Iterator[Item]:
        path = prefix + name
        kind = KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:  # a socket: no archive can hold one, and none outlives its process
            return
        if kind == FILE:
            yield from self._file(parent, path, name, lower)
            return
        entry = self._entry(path, status, kind)
        if self._linked(entry, status):
            yield Item(entry, -1, None, status)
            return
        if kind == SYMLINK:
            entry.link = os.readlink(name, dir_fd=parent)
        elif kind in b"34":
            entry.major, entry.minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        if lower is None or not self._same_leaf(lower, name, entry, status, -1):
            self._remember(path, status)
            yield Item(entry, -1, None, status)

    def _file(self, parent: int, path: bytes, name: bytes, lower: Place | None) -> Iterator[Item]:
        try:
            fd = os.open(name, _READ, dir_fd=parent)
        except OSError as error:
            if error.errno in (2, 6, 40):  # ENOENT, ENXIO (now a socket or fifo), ELOOP (now a link)
                return
            raise
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                return
            entry = self._entry(path, status, FILE)
            if self._linked(entry, status):
                yield Item(entry, -1, None, status)
                return
            entry.size = status.st_size
            entry.xattrs = _xattrs(fd)
            if lower is None or not self._same_leaf(lower, name, entry, status, fd):
                self._remember(path, status)
                yield Item(entry, fd, None, status)
        finally:
            os.close(fd)

    def _linked(self, entry: Entry, status: os.stat_result) -> bool:
        """Turn a further name of what was told already into a hard link."""
        first = self._links.get((status.st_dev, status.st_ino)) if status.st_nlink > 1 else None
        if first is None:
            return False
        entry.kind, entry.link, entry.size = HARDLINK, first, 0
        return True

    def _remember(self, path: bytes, status: os.stat_result) -> None:
        if status.st_nlink > 1:
            self._links[(status.st_dev, status.st_ino)] = path

    def _same_leaf(self, lower: Place, name: bytes, entry: Entry, status: os.stat_result, fd: int) -> bool:
        """Tell whether the layers below have the very same: attributes, time and content."""
        found = lower.find(name)
        if found is None:
            return False
        there, folder = found
        if status.st_nlink > 1 and not (self._naive and there.st_nlink > 1):
            return False  # overlay's copies have one name each, so more names are news
        if (
            stat.S_IFMT(there.st_mode) != stat.S_IFMT(status.st_mode)
            or not _same_owner(there, status)
            or there.st_rdev != status.st_rdev
            or not _same_time(there.st_mtime_ns, status.st_mtime_ns)
        ):
            return False
        if entry.kind == SYMLINK:
            return os.readlink(name, dir_fd=folder) == entry.link
        if entry.kind != FILE:
            return True
        if there.st_size != status.st_size:
            return False
        other = os.open(name, _READ, dir_fd=folder)
        try:
            return _xattrs(other) == entry.xattrs and _same_content(fd, other)
        finally:
            os.close(other)


def _same_owner(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid)


def _same_time(one: int, other: int) -> bool:
    """Equal; or equal in whole seconds where one of them has no more."""
    if one == other:
        return True
    whole = 1_000_000_000
    return one // whole == other // whole and (one % whole == 0 or other % whole == 0)


def _same_content(one: int, other: int) -> bool:
    try:
        while True:
            data = os.read(one, 1 << 20)
            if data != os.read(other, 1 << 20):
                return False
            if not data:
                return True
    finally:
        os.lseek(one, 0, os.SEEK_SET)


def _xattrs(fd: int) -> dict[str, bytes] | None:
    try:
        names = os.listxattr(fd)
    except OSError:
        return None
    if not names:
        return None
    kept = {name: os.getxattr(fd, name) for name in names if keeps_xattr(name)}
    return kept or None


def _unfit(path: bytes, why: str) -> InvalidInput:
    return InvalidInput(
        f"{os.fsdecode(path)!r} cannot be held in a layer: {why}",
        hint="rename or remove it in the container, then try again",
        value=os.fsdecode(path),
    )
