# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From items to a layer: its archive's digest, its directory, its archive. One pass over the content for all."""

from __future__ import annotations

import errno
import os
import stat

from ...linux.features import has
from .entry import DIRECTORY, FIFO, FILE, HARDLINK, OPAQUE, SYMLINK, WHITEOUT
from .union import DIRECTORY_FLAGS
from .unpack import OPAQUE_XATTR
from .write import BLOCK, END, header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .entry import Entry
    from .walk import Item

CHUNK = 1 << 20
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FICLONE = 0x40049409


def archive(items: Iterable[Item], write: Callable[[bytes | memoryview], object]) -> int:
    """Write the archive of items; returns the number of items. Content that shrank meanwhile is filled with zeros."""
    count = 0
    for item in items:
        count += 1
        entry = item.entry
        write(header(entry))
        if entry.size:
            _content(item.fd, entry.size, write)
            if entry.size % BLOCK:
                write(bytes(-entry.size % BLOCK))
    write(END)
    return count


def _content(fd: int, size: int, write: Callable[[bytes | memoryview], object]) -> None:
    left = size
    while left:
        data = os.read(fd, min(CHUNK, left))
        if not data:
            for _ in range(left // CHUNK):
                write(bytes(CHUNK))
            write(bytes(left % CHUNK))
            return
        write(data)
        left -= len(data)


class Maker:
    """Makes a layer's directory from items while their archive's bytes go to update (a hash's).

    layout: the new directory's, "overlay" or "aufs". size: bytes of content; count: items.
    """

    def __init__(self, target: int, layout: str, update: Callable[[bytes | memoryview], object]) -> None:
        self._target = target
        self._layout = layout
        self._update = update
        self._open: list[tuple[bytes, int, Entry]] = []  # name, descriptor, entry of each on the way
        self._clone = has("reflink")
        self.size = 0
        self.count = 0

    def run(self, items: Iterable[Item]) -> None:
        """Take all items. Raises OSError."""
        try:
            for item in items:
                self.count += 1
                self._update(header(item.entry))
                self._make(item)
            self._update(END)
            self._leave(b"")
        finally:
            while self._open:
                os.close(self._open.pop()[1])

    def _parent(self, path: bytes) -> tuple[int, bytes]:
        """Return the open directory that a path is in and its last part; directories that are done are closed."""
        folder, _slash, base = path.rpartition(b"/")
        self._leave(folder)
        return (self._open[-1][1] if self._open else self._target), base

    def _leave(self, folder: bytes) -> None:
        while self._open and self._open[-1][0] != folder and not folder.startswith(self._open[-1][0] + b"/"):
            _name, fd, entry = self._open.pop()
            try:
                # The setgid bit and default ACLs come last: what was made in the directory would have inherited them.
                if entry.mode & 0o6000:
                    os.fchmod(fd, entry.mode)
                self._xattrs(fd, entry)
                os.utime(fd, ns=(entry.mtime, entry.mtime))
            finally:
                os.close(fd)

    def _make(self, item: Item) -> None:
        entry = item.entry
        if entry.name == b".":
            os.fchown(self._target, entry.uid, entry.gid)
            os.fchmod(self._target, entry.mode)
            return
        fd, base = self._parent(entry.name)
        if item.hidden is not None:
            self._whiteout(fd, base)
            return
        if base == OPAQUE and item.status is None:
            self._opaque(fd)
            return
        if entry.kind == DIRECTORY:
            os.mkdir(base, 0o700, dir_fd=fd)
            new = os.open(base, DIRECTORY_FLAGS, dir_fd=fd)
            self._open.append((entry.name, new, entry))
            os.fchown(new, entry.uid, entry.gid)
            os.fchmod(new, entry.mode & 0o1777)
        elif entry.kind == FILE:
            self._file(fd, base, item)
        elif entry.kind == HARDLINK:
            self._hardlink(fd, base, entry.link)
        else:
            self._special(fd, base, item)

    def _whiteout(self, fd: int, base: bytes) -> None:
        if self._layout == "overlay":
            os.mknod(base[len(WHITEOUT) :], stat.S_IFCHR, 0, dir_fd=fd)
        else:
            os.close(os.open(base, _CREATE, 0o444, dir_fd=fd))

    def _opaque(self, fd: int) -> None:
        if self._layout == "overlay":
            os.setxattr(fd, OPAQUE_XATTR, b"y")
        else:
            os.close(os.open(OPAQUE, _CREATE, 0o444, dir_fd=fd))

    def _xattrs(self, fd: int, entry: Entry) -> None:
        for name, value in (entry.xattrs or {}).items():
            os.setxattr(fd, name, value)

    def _file(self, folder: int, base: bytes, item: Item) -> None:
        entry = item.entry
        fd = os.open(base, _CREATE, 0o600, dir_fd=folder)
        try:
            if entry.size:
                self._copy(item, fd)
                self.size += entry.size
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            self._xattrs(fd, entry)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _copy(self, item: Item, fd: int) -> None:
        """Copy and hash; blocks are shared where the file system can, holes stay holes."""
        size = item.entry.size
        cloned = self._clone and self._reflink(item.fd, fd, size)
        # A clone stays as it is, while a running container may change the original between two looks at it.
        source = fd if cloned else item.fd
        sparse = not cloned and item.status is not None and item.status.st_blocks * 512 < size
        update = self._update
        position = 0
        while position < size:
            if sparse:
                position = self._hole(source, fd, position, size)
                if position >= size:
                    break
            data = os.read(source, min(CHUNK, size - position))
            if not data:
                data = bytes(min(CHUNK, size - position))
            update(data)
            if not cloned:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
            position += len(data)
        if sparse:
            os.ftruncate(fd, size)
        if size % BLOCK:
            update(bytes(-size % BLOCK))

    def _hole(self, source: int, fd: int, position: int, size: int) -> int:
        """Step over a hole at position, hashing zeros; returns where data begin."""
        try:
            start = min(os.lseek(source, position, os.SEEK_DATA), size)
        except OSError as error:
            if error.errno != errno.ENXIO:
                os.lseek(source, position, os.SEEK_SET)
                return position
            start = size
        zeros = bytes(min(CHUNK, start - position))
        left = start - position
        while left:
            piece = zeros if left >= len(zeros) else zeros[:left]
            self._update(piece)
            left -= len(piece)
        os.lseek(source, start, os.SEEK_SET)
        os.lseek(fd, start, os.SEEK_SET)
        return start

    def _reflink(self, source: int, fd: int, size: int) -> bool:
        import fcntl

        try:
            fcntl.ioctl(fd, _FICLONE, source)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.ENOSYS):
                self._clone = False
            return False
        if os.fstat(fd).st_size == size:
            return True
        os.ftruncate(fd, 0)  # it changed under our hands
        return False

    def _hardlink(self, folder: int, base: bytes, link: bytes) -> None:
        where, _slash, name = link.rpartition(b"/")
        current = os.dup(self._target)
        try:
            for part in where.split(b"/") if where else ():
                below = os.open(part, DIRECTORY_FLAGS, dir_fd=current)
                os.close(current)
                current = below
            os.link(name, base, src_dir_fd=current, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(current)

    def _special(self, folder: int, base: bytes, item: Item) -> None:
        entry = item.entry
        if entry.kind == SYMLINK:
            os.symlink(entry.link, base, dir_fd=folder)
        else:
            kind = stat.S_IFIFO if entry.kind == FIFO else stat.S_IFCHR if entry.kind == b"3" else stat.S_IFBLK
            os.mknod(base, kind | 0o600, os.makedev(entry.major, entry.minor), dir_fd=folder)
        os.chown(base, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
        if entry.kind != SYMLINK:
            os.chmod(base, entry.mode, dir_fd=folder)  # a node that was made here, in a directory of our own
        os.utime(base, ns=(entry.mtime, entry.mtime), dir_fd=folder, follow_symlinks=False)
