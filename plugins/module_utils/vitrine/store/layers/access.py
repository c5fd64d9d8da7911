# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a container from outside: of a stopped one through a mount of our own, of a running one through /proc.

All paths are the container's and hostile: they are resolved inside the given root, by descriptors.
"""

from __future__ import annotations

import errno
import os
import stat

from ...errors import NotFound
from ...linux import paths
from ..disk import writing
from .entry import HARDLINK
from .pack import Maker, archive
from .read import Reader
from .unpack import Unpacker
from .walk import Walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from .driver import Driver
    from .walk import Item

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Mounted:
    """An open directory of a container's root; the mount behind it ends when it is closed."""

    def __init__(self, driver: Driver, plan: dict[str, Any]) -> None:
        self._driver = driver
        self._plan = plan
        self._fd = -1

    def __enter__(self) -> int:
        self._fd = self._driver.mount(self._plan)
        return self._fd

    def __exit__(self, *_error: object) -> None:
        os.close(self._fd)
        self._fd = -1


def copy_tree(root: int, path: str | bytes, target: str) -> bool:
    """Copy the content of a directory inside root into an existing, empty directory of the host.

    Returns False when there is no such directory. Raises OSError.
    """
    try:
        source = paths.open_in_root(root, path, _DIRECTORY)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise
    try:
        fd = os.open(target, _DIRECTORY)
        try:
            if not os.listdir(fd):
                Maker(fd, "plain", _ignore).run(Walk(source, "host", root_like=_root_of(source)))
            status = os.fstat(source)
            os.fchown(fd, status.st_uid, status.st_gid)
            os.fchmod(fd, stat.S_IMODE(status.st_mode))
        finally:
            os.close(fd)
    finally:
        os.close(source)
    return True


def _root_of(fd: int) -> tuple[int, int, int]:
    """What makes a walk leave out the root itself."""
    status = os.fstat(fd)
    return (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def copy_out(root: int, path: str | bytes, write: Callable[[Any], object], *, name: bytes | None = None) -> None:
    """Write a tar archive of a file or directory inside root: its members are name and "name/...".

    name: None: the last part of path. b"" for a directory: what is in it, without itself. A link that path itself
    is, is followed inside the root only if path ends with "/". Raises NotFound, OSError.
    """
    text = os.fsencode(path)
    parts = [part for part in text.split(b"/") if part not in (b"", b".")]
    follow = text.endswith((b"/", b"/.")) or not parts
    base = name if name is not None else (parts[-1] if parts else b"")
    try:
        parent = paths.open_in_root(root, b"/".join(parts if follow else parts[:-1]) or b".", _DIRECTORY)
    except OSError as error:
        raise _absent(text, error) from None
    try:
        status = None if follow else os.stat(parts[-1], dir_fd=parent, follow_symlinks=False)
        if status is not None and not stat.S_ISDIR(status.st_mode):
            archive(_single(parent, parts[-1], base, status), write)
            return
        fd = os.dup(parent) if follow else os.open(parts[-1], _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        try:
            archive(_below(fd, base), write)
        finally:
            os.close(fd)
    except FileNotFoundError as error:
        raise _absent(text, error) from None
    finally:
        os.close(parent)


def _single(parent: int, last: bytes, base: bytes, status: os.stat_result) -> Iterator[Item]:
    item, fd = Walk.single(parent, last, last, status, {})
    if item is not None:
        item.entry.name = base or last
        try:
            yield item
        finally:
            if fd >= 0:
                os.close(fd)


def _below(fd: int, base: bytes) -> Iterator[Item]:
    """The items of a directory, with base before their names."""
    for item in Walk(fd, "host", root_like=(-1, -1, -1)):
        entry = item.entry
        if entry.name == b".":
            if not base:
                continue
            entry.name = base
        elif base:
            entry.name = base + b"/" + entry.name
            if entry.kind == HARDLINK:
                entry.link = base + b"/" + entry.link
        yield item


def copy_in(root: int, path: str | bytes, chunks: Iterable[bytes], *, owner: tuple[int, int] | None = None) -> None:
    """Unpack a (plain) tar stream into an existing directory inside root. The caller's umask is taken aside meanwhile.

    owner: (uid, gid) of everything, None: as the archive says. Links on the way are those of the root. A directory is
    never replaced by something else, nor the reverse. Raises NotFound, InvalidInput, Conflict, DiskFull.
    """
    text = os.fsencode(path)
    try:
        target = paths.open_in_root(root, text or b".", _DIRECTORY)
    except OSError as error:
        raise _absent(text, error) from None
    before = os.umask(0)
    unpacker = Unpacker(target, "plain", anchor=(root, text))
    try:
        with writing(text, "what was copied before stays"):
            reader = Reader(chunks)
            unpacker.apply(reader, owner)
            reader.drain()
    finally:
        unpacker.close()
        os.umask(before)
        os.close(target)


def _absent(path: bytes, error: OSError) -> Exception:
    shown = os.fsdecode(path)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        why = "does not exist" if error.errno == errno.ENOENT else "is no directory, or goes through something else"
        return NotFound(f"{shown!r} {why} in the container", hint="write a path that is there", value=shown)
    return error


def _ignore(_data: object) -> None:
    """No archive is wanted."""
