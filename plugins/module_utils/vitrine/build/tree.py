# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What COPY and ADD read from: the build's context, or the root of an image or stage. Both may be hostile.

Paths inside are texts with "/" between parts and none at either end; "" is the top. A path is *resolved* into one
without symbolic links, component by component; all later access refuses links altogether, so that a link that is put
there meanwhile gains nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from hashlib import sha256

from ..errors import InvalidInput
from ..linux import paths
from ..record import Record
from . import ignore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .ignore import Ignore

_LINKS_MAX = 40
_CHUNK = 1 << 20
#: Extended attributes that are part of a file's content; the others belong to the host (labels) or to overlay mounts.
_XATTR_PREFIX = "user."
_XATTR_CAPABILITY = "security.capability"


class OutsideContext(InvalidInput):
    """A path that leads out of the build's context."""


class Entry(Record):
    """One file of a source. path: below the source, "" for the source itself. real: where it is in the tree."""

    path: str
    real: str
    status: os.stat_result


class Tree:
    """A directory that is read from.

    root_fd: owned by the caller. context: whether links that lead out are an error (a context), or mean the tree's
    own root (an image). keep_owner: whether owners are part of the content.
    """

    def __init__(self, root_fd: int, *, rules: Ignore | None = None, context: bool = True) -> None:
        self.root_fd = root_fd
        self.rules = rules
        self.context = context
        self.keep_owner = not context

    def open(self, real: str, flags: int = os.O_RDONLY) -> int:
        """Open a resolved path. Raises OSError, ELOOP if a link is there by now."""
        return paths.open_in_root(self.root_fd, real or ".", flags | os.O_NOFOLLOW, follow=False)

    def excluded(self, real: str) -> bool:
        """Whether .dockerignore keeps the path out."""
        return bool(real and self.rules and self.rules.excludes(real))

    def resolve(self, path: str) -> str:
        """The path without symbolic links, ".." and ".". Raises OutsideContext, FileNotFoundError, OSError(ELOOP)."""
        done: list[str] = []
        todo = path.split("/")[::-1]
        links = 0
        while todo:
            part = todo.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if done:
                    done.pop()
                elif self.context:
                    raise self._outside(path)
                continue
            here = "/".join([*done, part])
            fd = self.open(here, os.O_PATH)
            try:
                mode = os.fstat(fd).st_mode
                target = os.readlink("", dir_fd=fd) if stat.S_ISLNK(mode) else None
            finally:
                os.close(fd)
            if target is None:
                done.append(part)
                continue
            links += 1
            if links > _LINKS_MAX:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                if self.context:
                    raise self._outside(path)
                done.clear()
            todo += target.split("/")[::-1]
        return "/".join(done)

    def _outside(self, path: str) -> OutsideContext:
        return OutsideContext(
            f"{path!r} leads outside of the build's context",
            hint="only what is in the context directory can be copied: put it there, without links that lead out",
            value=path,
        )

    def find(self, pattern: str) -> list[tuple[str, str]]:
        """(path, resolved path) of all that one source, which may have wildcards, names; sorted.

        Raises FileNotFoundError if there is none, OutsideContext.
        """
        parts: list[str] = []
        for part in pattern.split("/"):
            if part == "..":
                if not parts:
                    raise self._outside(pattern) if self.context else FileNotFoundError(errno.ENOENT, "", pattern)
                parts.pop()
            elif part not in ("", "."):
                parts.append(part)
        if not any(character in part for part in parts for character in "*?[\\"):
            found = ["/".join(parts)]
        else:
            found = self._expand(parts)
        reals = []
        for path in found:
            real = self.resolve(path)
            if self._wanted(path) and self._wanted(real):
                reals.append((path, real))
        if not reals:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), pattern)
        return reals

    def _wanted(self, real: str) -> bool:
        """Whether .dockerignore leaves the path, or something below it."""
        if not self.excluded(real):
            return True
        return not self.prunes(real) and any(entry.path for entry in self.entries(self.resolve(real)))

    def prunes(self, real: str) -> bool:
        """Whether an excluded directory need not be looked into."""
        return self.rules is None or self.rules.prunes(real)

    def _expand(self, parts: list[str]) -> list[str]:
        found = [""]
        for part in parts:
            following: list[str] = []
            for folder in found:
                if not any(character in part for character in "*?[\\"):
                    following.append(f"{folder}/{part}".lstrip("/"))
                    continue
                rule = ignore.glob(part)
                following += [f"{folder}/{name}".lstrip("/") for name in self._names(folder) if rule.fullmatch(name)]
            found = following
        return [path for path in found if self._exists(path)]

    def _names(self, folder: str) -> list[str]:
        try:
            fd = self.open(self.resolve(folder), os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return []
        try:
            return sorted(os.listdir(fd), key=os.fsencode)
        finally:
            os.close(fd)

    def _exists(self, path: str) -> bool:
        try:
            self.resolve(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def entries(self, real: str) -> Iterator[Entry]:
        """The source itself and, sorted, all below it that is not ignored. A directory comes before what is in it.

        A directory that is ignored but has something in it that is not comes as well.
        """
        top = self._entry("", real)
        yield top
        if not stat.S_ISDIR(top.status.st_mode):
            return
        pending: list[Entry] = []  # ignored directories, until something below them is wanted
        stack = self._below(top)
        while stack:
            entry = stack.pop()
            directory = stat.S_ISDIR(entry.status.st_mode)
            pending = [folder for folder in pending if entry.path.startswith(folder.path + "/")]
            if self.excluded(entry.real):
                if directory and not self.prunes(entry.real):
                    pending.append(entry)
                    stack += self._below(entry)
                continue
            yield from pending
            pending = []
            yield entry
            if directory:
                stack += self._below(entry)

    def _entry(self, path: str, real: str) -> Entry:
        fd = self.open(real, os.O_PATH)
        try:
            return Entry(path, real, os.fstat(fd))
        finally:
            os.close(fd)

    def _below(self, folder: Entry) -> list[Entry]:
        """The directory's entries, last first."""
        fd = self.open(folder.real, os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = []
            for name in sorted(os.listdir(fd), key=os.fsencode, reverse=True):
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                path, real = f"{folder.path}/{name}".lstrip("/"), f"{folder.real}/{name}".lstrip("/")
                found.append(Entry(path, real, status))
            return found
        finally:
            os.close(fd)

    def digest(self, entries: list[Entry]) -> str:
        """64 hex digits that change when what a copy of these entries would write changes; times do not count."""
        total = sha256()
        for entry in entries:
            status = entry.status
            kind = stat.S_IFMT(status.st_mode)
            fields = [os.fsencode(entry.path), b"%o" % status.st_mode]
            if self.keep_owner:
                fields.append(b"%d:%d" % (status.st_uid, status.st_gid))
            if kind == stat.S_IFREG:
                fields += self._file_digest(entry)
            elif kind == stat.S_IFLNK:
                fields.append(os.fsencode(self.link_target(entry)))
            elif kind in (stat.S_IFCHR, stat.S_IFBLK):
                fields.append(b"%d" % status.st_rdev)
            total.update(b"".join(b"%d:%s," % (len(field), field) for field in fields) + b"\n")
        return total.hexdigest()

    def _file_digest(self, entry: Entry) -> list[bytes]:
        fd = self.open_file(entry)
        try:
            content = sha256()
            while True:
                data = os.read(fd, _CHUNK)
                if not data:
                    break
                content.update(data)
            attributes = [os.fsencode(name) + b"=" + value for name, value in content_xattrs(fd)]
        finally:
            os.close(fd)
        return [content.digest(), *attributes]

    def open_file(self, entry: Entry) -> int:
        """Open a regular file for reading. Raises OSError(ESTALE) if it is no longer what the entry was made from."""
        fd = self.open(entry.real, os.O_RDONLY | os.O_NONBLOCK)
        now, then = os.fstat(fd), entry.status
        if any(
            getattr(now, field) != getattr(then, field) for field in ("st_ino", "st_size", "st_mtime_ns", "st_mode")
        ):
            os.close(fd)
            raise OSError(errno.ESTALE, "the file changed during the build", entry.real)
        return fd

    def link_target(self, entry: Entry) -> str:
        """The text of a symbolic link."""
        fd = self.open(entry.real, os.O_PATH)
        try:
            return os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)


def content_xattrs(fd: int) -> list[tuple[str, bytes]]:
    """(name, value), sorted, of those extended attributes that are copied with a file."""
    try:
        names = os.listxattr(fd)
        wanted = [name for name in names if name.startswith(_XATTR_PREFIX) or name == _XATTR_CAPABILITY]
        return [(name, os.getxattr(fd, name)) for name in sorted(wanted)]
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENODATA, errno.EPERM):
            return []
        raise
