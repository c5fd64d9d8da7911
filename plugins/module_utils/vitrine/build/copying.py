# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what COPY and ADD copy into an image's tree, which is hostile: each path is resolved inside its root.

Docker's rules for destinations: "/" at the end, or several sources, make it a directory; a source directory gives its
content; links on the way to the destination are followed inside the image. Missing directories are made 0755.
"""

from __future__ import annotations

import errno
import os
import stat

from ..errors import InvalidInput, StartFailed
from ..linux import fs, paths
from ..record import Record
from ..runtime import users
from . import tree as trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .tree import Entry, Tree


class Ownership(Record):
    """What --chown and --chmod say. uid, gid: None keeps the source's (or 0 from a context). mode: None keeps it."""

    uid: int | None = None
    gid: int | None = None
    mode: int | None = None


class Target(Record):
    """Where to. path: absolute in the image. directory: it is one even if it does not exist yet."""

    path: str
    directory: bool


def copy(root_fd: int, tree: Tree, source: str, entries: list[Entry], target: Target, owner: Ownership) -> None:
    """Copy one source, by its path as named and its entries in tree, into the image's tree.

    Raises OSError with the image's path, InvalidInput where the two trees do not fit.
    """
    top = entries[0]
    if stat.S_ISDIR(top.status.st_mode):
        base = target.path
        os.close(make_directories(root_fd, base, owner))
        for entry in entries[1:]:
            _write(root_fd, tree, entry, f"{base.rstrip('/')}/{entry.path}", owner)
        return
    folder, name = os.path.split(target.path)
    if target.directory or is_directory(root_fd, target.path):
        folder, name = target.path, os.path.basename(source)
    _write_followed(root_fd, tree, top, folder, name, owner)


def is_directory(root_fd: int, path: str) -> bool:
    """Whether the path is a directory in the image, links followed inside it."""
    try:
        os.close(paths.open_in_root(root_fd, path, os.O_PATH | os.O_DIRECTORY))
    except OSError:
        return False
    return True


def make_directories(root_fd: int, path: str, owner: Ownership | None = None) -> int:
    """Make a directory and its missing parents, and return an O_PATH descriptor. Raises OSError."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    made = 0
    for count in range(len(parts), 0, -1):
        if is_directory(root_fd, "/".join(parts[:count])):
            break
        made = count
    fd = paths.mkdirs_in_root(root_fd, "/".join(parts) or ".", 0o755)
    if made and owner is not None and (owner.uid or owner.gid):
        for count in range(made, len(parts) + 1):
            one = paths.open_in_root(root_fd, "/".join(parts[:count]), os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fchown(one, owner.uid or 0, owner.gid or 0)
            finally:
                os.close(one)
    return fd


def _write_followed(root_fd: int, tree: Tree, entry: Entry, folder: str, name: str, owner: Ownership) -> None:
    """One file at the destination itself: if a link is there, what it leads to is what is written, as docker does."""
    directory = make_directories(root_fd, folder, owner)
    try:
        status = _lstat(name, directory)
        if status is not None and stat.S_ISLNK(status.st_mode) and stat.S_ISREG(entry.status.st_mode):
            try:
                fd = paths.open_in_root(root_fd, f"{folder.rstrip('/')}/{name}", os.O_WRONLY | os.O_NONBLOCK)
            except FileNotFoundError:
                pass  # a link to nothing is replaced
            else:
                try:
                    if stat.S_ISREG(os.fstat(fd).st_mode):
                        os.ftruncate(fd, 0)
                        _fill(fd, tree, entry, owner)
                        return
                finally:
                    os.close(fd)
        _put(directory, tree, entry, name, owner)
    finally:
        os.close(directory)


def _write(root_fd: int, tree: Tree, entry: Entry, path: str, owner: Ownership) -> None:
    if stat.S_ISDIR(entry.status.st_mode):
        there = is_directory(root_fd, path)
        parent, name = os.path.split(path)
        if not there:
            directory = make_directories(root_fd, parent)
            try:
                status = _lstat(name, directory)
                if status is not None:
                    raise _does_not_fit(path, "a directory", "something that is none")
            finally:
                os.close(directory)
        fd = make_directories(root_fd, path)
        os.close(fd)
        fd = paths.open_in_root(root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _dress(fd, tree, entry, owner)
        finally:
            os.close(fd)
        return
    parent, name = os.path.split(path)
    directory = make_directories(root_fd, parent)
    try:
        _put(directory, tree, entry, name, owner)
    finally:
        os.close(directory)


def _lstat(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _does_not_fit(path: str, what: str, there: str) -> InvalidInput:
    return InvalidInput(
        f"{what} cannot be copied to {path}: {there} is there", hint="choose another destination", value=path
    )


def _put(directory: int, tree: Tree, entry: Entry, name: str, owner: Ownership) -> None:
    """Make one file, link or device in an open directory, in place of what is there."""
    status = _lstat(name, directory)
    if status is not None:
        if stat.S_ISDIR(status.st_mode):
            raise _does_not_fit(entry.path or name, "a file", "a directory")
        os.unlink(name, dir_fd=directory)
    kind = stat.S_IFMT(entry.status.st_mode)
    if kind == stat.S_IFREG:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=directory)
        try:
            _fill(fd, tree, entry, owner)
        finally:
            os.close(fd)
        return
    uid, gid = _ids(tree, entry, owner)
    if kind == stat.S_IFLNK:
        os.symlink(tree.link_target(entry), name, dir_fd=directory)
    elif kind == stat.S_IFSOCK:
        return  # nobody listens there any more
    elif tree.context:
        raise InvalidInput(
            f"{entry.real!r} in the build's context is a device or a named pipe",
            hint="name it in .dockerignore",
            value=entry.real,
        )
    else:
        os.mknod(name, entry.status.st_mode, entry.status.st_rdev, dir_fd=directory)
    os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
    times = (entry.status.st_mtime_ns, entry.status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)


def _ids(tree: Tree, entry: Entry, owner: Ownership) -> tuple[int, int]:
    own_uid, own_gid = (entry.status.st_uid, entry.status.st_gid) if tree.keep_owner else (0, 0)
    return own_uid if owner.uid is None else owner.uid, own_gid if owner.gid is None else owner.gid


def _fill(fd: int, tree: Tree, entry: Entry, owner: Ownership) -> None:
    source = tree.open_file(entry)
    try:
        fs.copy_file(source, fd)
        _dress(fd, tree, entry, owner)
        _set_xattrs(fd, trees.content_xattrs(source))
        os.utime(fd, ns=(entry.status.st_mtime_ns, entry.status.st_mtime_ns))
    finally:
        os.close(source)


def _set_xattrs(fd: int, attributes: list[tuple[str, bytes]]) -> None:
    for name, value in attributes:
        try:
            os.setxattr(fd, name, value)
        except OSError as error:
            # What programs noted for themselves may be lost with the file system; a privilege must not be.
            if error.errno != errno.EOPNOTSUPP or not name.startswith("user."):
                raise


def _dress(fd: int, tree: Tree, entry: Entry, owner: Ownership) -> None:
    """Owner, then mode: changing the owner takes the set-user-id bits away."""
    os.fchown(fd, *_ids(tree, entry, owner))
    os.fchmod(fd, stat.S_IMODE(entry.status.st_mode) if owner.mode is None else owner.mode)
    os.utime(fd, ns=(entry.status.st_mtime_ns, entry.status.st_mtime_ns))


# -- owners ----------------------------------------------------------------------------------------------------------


def resolve_owner(root_fd: int, text: str) -> tuple[int, int]:
    """(uid, gid) of --chown's "user[:group]", names looked up in the image. Without a group it is as the user's number.

    Raises InvalidInput for what is no user or group of the image.
    """
    user, colon, group = text.partition(":")
    try:
        passwd, groups = (users.read_database(root_fd, path) for path in ("etc/passwd", "etc/group"))
        uid, gid, _all, _home = users.resolve(f"{user or '0'}:{group}" if colon else user, (), passwd, groups)
    except StartFailed as error:
        raise InvalidInput(
            f"--chown={text}: {error.message}", hint="use names that the image has, or numbers", value=text
        ) from None
    return uid, gid if colon else uid
