# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an archive into a layer's directory. The archive is hostile; the directory is ours alone while this runs.

Every name is reached through open directories, one component at a time, without following a link that the archive
made: a directory component that is a link is resolved as it would be inside the container, by openat2's
RESOLVE_IN_ROOT, so that it cannot lead out. Whiteouts become what the layer's format wants:

    overlay   character device 0:0 of the hidden name; attribute trusted.overlay.opaque on the directory
    aufs      empty file ".wh.<name>"; empty file ".wh..wh..opq" in the directory

Must run with umask 0 (modes are given when files are made, which saves a call for each).
"""

from __future__ import annotations

import errno
import os
import stat

from ...errors import Conflict, UnsupportedContent
from ...linux import fs, paths
from .entry import (
    AUFS_PRIVATE,
    BLOCK,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    HARDLINK,
    MAX_DEPTH,
    OPAQUE,
    PSEUDO_LINKS,
    SYMLINK,
    WHITEOUT,
    Entry,
    clean_name,
    keeps_xattr,
    malformed,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .read import Reader

OPAQUE_XATTR = "trusted.overlay.opaque"
OPEN_DIRECTORIES = 128
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_XATTRS = (errno.EOPNOTSUPP, errno.EPERM, errno.ENOSYS)


class Unpacker:
    """Makes what entries say below an open directory.

    implied: directories that no entry described (yet), as made for the sake of what is in them. size: bytes of
    content. layout: "overlay", "aufs", or "plain": the tree is no layer, and whiteouts are files like any other.
    anchor: (root directory, path in it) of the tree, where links mean something in a larger tree.
    """

    def __init__(
        self, root_fd: int, layout: str, spare_fd: int = -1, *, anchor: tuple[int, bytes] | None = None
    ) -> None:
        self._root = root_fd
        self._anchor = anchor or (root_fd, b"")
        self._layout = layout
        self._spare = spare_fd  # a directory outside of the tree, for aufs' pseudo links
        self._open: dict[bytes, int] = {b"": root_fd}
        self._times: dict[bytes, int] = {}
        self._late: dict[bytes, Entry] = {}
        self._hidden: set[bytes] = set()  # names with a whiteout that this layer made
        self.implied: set[bytes] = {b""}
        self.size = 0
        self.count = 0

    def close(self) -> None:
        """Close the directories that are kept open."""
        for name, fd in self._open.items():
            if name:
                os.close(fd)
        self._open = {b"": self._root}

    def apply(self, reader: Reader, owner: tuple[int, int] | None = None) -> None:
        """Unpack all members of an archive, then give the directories their times. Raises InvalidInput, OSError.

        owner: (uid, gid) of everything, None: as the archive says.
        """
        last: bytes | None = None
        directory = -1
        plain = self._layout == "plain"
        make = {
            FILE: self._file,
            DIRECTORY: self._directory,
            SYMLINK: self._symlink,
            HARDLINK: self._hardlink,
            CHARACTER: self._node,
            BLOCK: self._node,
            FIFO: self._node,
        }
        for entry in reader:
            name = clean_name(entry.name)
            if owner is not None:
                entry.uid, entry.gid = owner
            parent, _slash, base = name.rpartition(b"/")
            if not name:
                self._root_entry(entry)
                continue
            if len(base) > 255:
                raise malformed(f"a name has {len(base)} bytes, more than the 255 that Linux allows", base[:64])
            special = base[:4] == WHITEOUT or parent[:12] == PSEUDO_LINKS
            if special and not plain and self._special(entry, parent, base, reader):
                last = None
                continue
            if parent != last:
                directory = self._enter_for(name, parent)
                last = parent
            try:
                make[entry.kind](entry, name, base, directory, reader)
            except FileExistsError:
                self._replace(entry, name, base, directory)
                last = None
                if entry.kind == DIRECTORY and name in self._open:
                    continue
                directory = self._enter(parent)
                make[entry.kind](entry, name, base, directory, reader)
            if len(self._open) > OPEN_DIRECTORIES:
                self._trim()
                last = None
        self.finish()

    def _enter_for(self, name: bytes, parent: bytes) -> int:
        try:
            return self._enter(parent)
        except NotADirectoryError:
            raise malformed("a name goes through something that is no directory", name) from None

    # -- directories --------------------------------------------------------------------------------------------------

    def _enter(self, name: bytes) -> int:
        """Return the open directory of that name; missing ones are made and noted as implied."""
        fd = self._open.get(name)
        if fd is not None:
            return fd
        parts = name.split(b"/")
        if len(parts) > MAX_DEPTH:
            raise malformed(f"directories are nested more than {MAX_DEPTH} deep", name[:64])
        known = len(parts) - 1
        while known and b"/".join(parts[:known]) not in self._open:
            known -= 1
        current = self._open[b"/".join(parts[:known])]
        for index in range(known, len(parts)):
            here = b"/".join(parts[: index + 1])
            part = parts[index]
            try:
                fd = os.open(part, _DIRECTORY, dir_fd=current)
            except FileNotFoundError:
                os.mkdir(part, 0o755, dir_fd=current)
                fd = os.open(part, _DIRECTORY, dir_fd=current)
                self.implied.add(here)
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                fd = self._through(here, part, current)
            self._open[here] = current = fd
        return current

    def _through(self, name: bytes, part: bytes, parent: int) -> int:
        """Open a directory component that is something else: a link within the tree, or what a whiteout left."""
        mode = os.stat(part, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISLNK(mode.st_mode):
            root, base = self._anchor
            try:
                anchor = paths.open_in_root(root, base + b"/" + name, os.O_PATH | os.O_DIRECTORY)
            except FileNotFoundError:
                anchor = paths.mkdirs_in_root(root, self._target(base + b"/" + name, part, parent), 0o755)
            try:
                return os.open(b".", _DIRECTORY, dir_fd=anchor)
            finally:
                os.close(anchor)
        if _is_whiteout(mode):
            self._unhide(name, part, parent)
            os.mkdir(part, 0o755, dir_fd=parent)
            self.implied.add(name)
            fd = os.open(part, _DIRECTORY, dir_fd=parent)
            self._make_opaque(fd)
            return fd
        raise NotADirectoryError(errno.ENOTDIR, "a name goes through something that is no directory", os.fsdecode(name))

    def _target(self, name: bytes, part: bytes, parent: int) -> bytes:
        """Where a dangling link leads, for making it as a directory inside the tree."""
        joined = os.path.join(b"/", os.path.dirname(name), os.readlink(part, dir_fd=parent))
        return os.path.normpath(joined).lstrip(b"/")

    def _trim(self) -> None:
        """Close the directories opened first; paths come in order, so they are seldom needed again."""
        for name in list(self._open)[1 : OPEN_DIRECTORIES // 2]:
            os.close(self._open.pop(name))

    def _forget(self, name: bytes) -> None:
        """Something that was at name is gone: so is all that is known of what was below it."""
        below = name + b"/"
        for known in [one for one in self._open if one == name or one.startswith(below)]:
            os.close(self._open.pop(known))
        for table in (self._times, self._late):
            for known in [one for one in table if one == name or one.startswith(below)]:
                del table[known]  # type: ignore[attr-defined]
        self.implied = {one for one in self.implied if one != name and not one.startswith(below)}

    # -- members ------------------------------------------------------------------------------------------------------

    def _file(self, entry: Entry, name: bytes, base: bytes, directory: int, reader: Reader) -> None:
        fd = os.open(base, _CREATE, entry.mode & 0o1777, dir_fd=directory)
        try:
            if entry.size:
                reader.copy_to(entry, fd)
                self.size += entry.size
            self._own(fd, entry)
            if entry.mode & 0o6000:
                os.fchmod(fd, entry.mode)
            if entry.xattrs:
                _set_xattrs(fd, entry)
            os.utime(fd, ns=(entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _own(self, fd: int, entry: Entry) -> None:
        # Also when the owner is root: in a directory with the setgid bit, files get its group.
        if entry.uid or entry.gid:
            os.fchown(fd, entry.uid, entry.gid)

    def _directory(self, entry: Entry, name: bytes, base: bytes, directory: int, reader: Reader) -> None:
        # The setgid bit and default ACLs come at the end: what is made in the directory would inherit them.
        os.mkdir(base, entry.mode & 0o1777, dir_fd=directory)
        fd = os.open(base, _DIRECTORY, dir_fd=directory)
        old = self._open.get(name)
        if old is not None:
            os.close(old)
        self._open[name] = fd
        self._describe(entry, name, fd)
        if name in self._hidden:
            self._make_opaque(fd)

    def _describe(self, entry: Entry, name: bytes, fd: int) -> None:
        """Give a new directory its owner; the rest is noted for the end."""
        self._own(fd, entry)
        self._times[name] = entry.mtime
        if entry.mode & 0o6000 or entry.xattrs:
            self._late[name] = entry
        self.implied.discard(name)

    def _root_entry(self, entry: Entry) -> None:
        if entry.kind != DIRECTORY:
            raise malformed("its root is no directory")
        os.fchown(self._root, entry.uid, entry.gid)
        os.fchmod(self._root, entry.mode & 0o1777)
        self._describe(entry, b"", self._root)

    def _symlink(self, entry: Entry, name: bytes, base: bytes, directory: int, reader: Reader) -> None:
        os.symlink(entry.link, base, dir_fd=directory)
        if entry.uid or entry.gid:
            os.chown(base, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
        os.utime(base, ns=(entry.mtime, entry.mtime), dir_fd=directory, follow_symlinks=False)

    def _hardlink(self, entry: Entry, name: bytes, base: bytes, directory: int, reader: Reader) -> None:
        target = clean_name(entry.link)
        if target[:12] == PSEUDO_LINKS and self._spare >= 0:
            parent, last = self._spare, target.rpartition(b"/")[2]
        else:
            folder, _slash, last = target.rpartition(b"/")
            parent = self._existing(folder, entry)
        try:
            os.link(last, base, src_dir_fd=parent, dst_dir_fd=directory, follow_symlinks=False)
        except FileExistsError:
            if target == name:  # a link to itself changes nothing
                return
            raise
        except (FileNotFoundError, PermissionError):
            raise malformed(f"the hard link {name!r} leads to nothing in this layer", entry.link) from None

    def _existing(self, folder: bytes, entry: Entry) -> int:
        """Open the directory of a hard link's target, which must be there."""
        fd = self._open.get(folder)
        if fd is None:
            try:
                root, base = self._anchor
                anchor = paths.open_in_root(root, base + b"/" + folder, os.O_PATH | os.O_DIRECTORY)
            except OSError:
                raise malformed(f"the hard link {entry.name!r} leads to nothing in this layer", entry.link) from None
            try:
                fd = os.open(b".", _DIRECTORY, dir_fd=anchor)
            finally:
                os.close(anchor)
            self._open[folder] = fd
        return fd

    def _node(self, entry: Entry, name: bytes, base: bytes, directory: int, reader: Reader) -> None:
        if entry.kind == FIFO:
            os.mkfifo(base, entry.mode & 0o1777, dir_fd=directory)
        else:
            kind = stat.S_IFCHR if entry.kind == CHARACTER else stat.S_IFBLK
            device = os.makedev(entry.major, entry.minor)
            if entry.kind == CHARACTER and device == 0:
                raise malformed(f"{name!r} is the character device 0:0, which overlay takes for itself")
            os.mknod(base, kind | entry.mode & 0o1777, device, dir_fd=directory)
        if entry.uid or entry.gid:
            os.chown(base, entry.uid, entry.gid, dir_fd=directory, follow_symlinks=False)
        os.utime(base, ns=(entry.mtime, entry.mtime), dir_fd=directory, follow_symlinks=False)

    def _replace(self, entry: Entry, name: bytes, base: bytes, directory: int) -> None:
        """An entry for a name that exists: the later one wins, except that directories become one."""
        there = os.stat(base, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(there.st_mode):
            if entry.kind == DIRECTORY:
                fd = self._enter(name)
                os.fchmod(fd, entry.mode & 0o1777)
                os.fchown(fd, entry.uid, entry.gid)
                self._late.pop(name, None)
                self._describe(entry, name, fd)
                return
            if self._layout == "plain":
                raise Conflict(
                    f"{os.fsdecode(name)!r} is a directory, and would be replaced by something else",
                    hint="remove it first, or copy to another place",
                    value=os.fsdecode(name),
                )
            self._forget(name)
            fs.remove_tree(base, dir_fd=directory)
            return
        if _is_whiteout(there):
            self._unhide(name, base, directory)
            return
        os.unlink(base, dir_fd=directory)
        self._forget(name)

    # -- whiteouts ----------------------------------------------------------------------------------------------------

    def _special(self, entry: Entry, parent: bytes, base: bytes, reader: Reader) -> bool:
        """Whiteouts and aufs' own names; False when the name is an ordinary one."""
        if parent[:12] == PSEUDO_LINKS:
            if self._spare >= 0 and entry.kind == FILE and parent == PSEUDO_LINKS:
                self._file(entry, entry.name, base, self._spare, reader)
                self.size -= entry.size
            return True
        if base[:4] != WHITEOUT:
            return False
        if base == OPAQUE:
            self._make_opaque(self._enter(parent))
            return True
        if base[:8] == AUFS_PRIVATE:
            return True
        hidden = base[4:]
        if hidden in (b"", b".", b".."):
            raise malformed("a whiteout hides nothing that can be", base)
        self._hide(parent, hidden)
        return True

    def _hide(self, parent: bytes, hidden: bytes) -> None:
        try:
            directory = self._enter(parent)
        except NotADirectoryError:
            return  # umoci deletes one by one what was in a directory that is a file now: it is hidden already
        name = parent + b"/" + hidden if parent else hidden
        try:
            there = os.stat(hidden, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            pass
        else:
            # The layer has the name itself: what is below it in other layers is hidden by that, or else by this.
            if stat.S_ISDIR(there.st_mode):
                self._make_opaque(self._enter(name))
            return
        try:
            if self._layout == "overlay":
                os.mknod(hidden, stat.S_IFCHR | 0o000, 0, dir_fd=directory)
            else:
                os.close(os.open(WHITEOUT + hidden, _CREATE, 0o444, dir_fd=directory))
        except FileExistsError:
            pass
        self._hidden.add(name)

    def _unhide(self, name: bytes, base: bytes, directory: int) -> None:
        os.unlink(base, dir_fd=directory)
        self._hidden.add(name)

    def _make_opaque(self, fd: int) -> None:
        if self._layout == "overlay":
            os.setxattr(fd, OPAQUE_XATTR, b"y")
        else:
            try:
                os.close(os.open(OPAQUE, _CREATE, 0o444, dir_fd=fd))
            except FileExistsError:
                pass

    # -- the end ------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Give directories what would have been changed or inherited by making things in them."""
        if self._layout == "aufs":
            for name in self._hidden:
                self._settle_hidden(name)
        for name, mtime in sorted(self._times.items(), reverse=True):
            entry = self._late.get(name)
            fd = self._enter(name)
            if entry is not None:
                if entry.mode & 0o6000:
                    os.fchmod(fd, entry.mode)
                if entry.xattrs:
                    _set_xattrs(fd, entry)
            os.utime(fd, ns=(mtime, mtime))
            if len(self._open) > OPEN_DIRECTORIES:
                self._trim()
        self.close()

    def _settle_hidden(self, name: bytes) -> None:
        """aufs: a whiteout beside something of the same name becomes opaqueness of that, or nothing."""
        parent, _slash, base = name.rpartition(b"/")
        directory = self._enter(parent)
        try:
            there = os.stat(base, dir_fd=directory, follow_symlinks=False)
            os.unlink(WHITEOUT + base, dir_fd=directory)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(there.st_mode):
            self._make_opaque(self._enter(name))


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _set_xattrs(fd: int, entry: Entry) -> None:
    for name, value in (entry.xattrs or {}).items():
        if not keeps_xattr(name):
            continue
        try:
            os.setxattr(fd, name, value)
        except OSError as error:
            if error.errno not in _NO_XATTRS and error.errno != errno.EINVAL:
                raise
            if name == "security.capability":
                raise UnsupportedContent(
                    f"{entry.name!r} has file capabilities, which the store's disk cannot keep: {error.strerror}",
                    hint="put the engine's root on ext4, xfs or btrfs",
                    value=name,
                ) from None
