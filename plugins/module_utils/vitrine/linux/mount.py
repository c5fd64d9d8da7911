# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mounts: mount(2), the newer calls that work on descriptors (Linux 5.2 and 5.12), and ladders over both.

Targets are descriptors wherever a path could be swapped under us. On kernels without the newer calls a descriptor is
named by its path in /proc/self/fd, which must then be the host's.
"""

from __future__ import annotations

import errno
import os
import struct

from .features import has
from .syscall import syscall

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_REMOUNT = 32
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4
MOUNT_ATTR_NOEXEC = 8
MOUNT_ATTR_ATIME_MASK = 0x70
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOVE_MOUNT_T_EMPTY_PATH = 0x40
_FSCONFIG_SET_FLAG = 0
_FSCONFIG_SET_STRING = 1
_FSCONFIG_SET_FD = 5
_FSCONFIG_CMD_CREATE = 6
_FS_CLOEXEC = 1

# Flags of mount(2) that belong to the mount and not to the file system, and what fsmount(2) calls them.
_ATTRIBUTES = {
    MS_RDONLY: MOUNT_ATTR_RDONLY,
    MS_NOSUID: MOUNT_ATTR_NOSUID,
    MS_NODEV: MOUNT_ATTR_NODEV,
    MS_NOEXEC: MOUNT_ATTR_NOEXEC,
    MS_NOATIME: MOUNT_ATTR_NOATIME,
    MS_NODIRATIME: MOUNT_ATTR_NODIRATIME,
    MS_STRICTATIME: MOUNT_ATTR_STRICTATIME,
    MS_NOSYMFOLLOW: MOUNT_ATTR_NOSYMFOLLOW,
}
# os.statvfs().f_flag uses the same low bits as mount(2), except for these.
_ST_NOATIME, _ST_NODIRATIME, _ST_RELATIME = 1024, 2048, 4096
PAGE = 4096


TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class MountError(OSError):
    """A mount that failed; strerror also holds what the kernel wrote into the file system context's log."""


def _encode(value: object) -> object:
    return os.fsencode(value) if isinstance(value, (str, bytes)) else value


def attributes(flags: int) -> int:
    """MOUNT_ATTR_* of the per-mount MS_* flags."""
    result = 0
    for flag, attribute in _ATTRIBUTES.items():
        if flags & flag:
            result |= attribute
    return result


def path_of(fd: int) -> str:
    """What names the descriptor in calls that take paths."""
    return f"/proc/self/fd/{fd}"


def mount(source: object, target: object, fstype: object, flags: int = 0, data: object = None) -> None:
    """mount(2). Strings may be str or bytes. Raises OSError, also for option text that the kernel would cut (4095)."""
    text = _encode(data)
    if isinstance(text, bytes) and len(text) >= PAGE:
        raise OSError(errno.E2BIG, "mount options longer than a page", os.fsdecode(text[:60]) + "...")
    try:
        syscall("mount", _encode(source), _encode(target), _encode(fstype), flags, text)
    except OSError as error:
        where = os.fsdecode(target) if isinstance(target, (str, bytes)) else str(target)
        raise MountError(error.errno, os.strerror(error.errno or 0), where) from None


def umount(target: object, flags: int = 0) -> None:
    """umount2(2)."""
    syscall("umount2", _encode(target), flags)


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    syscall("pivot_root", os.fsencode(new), os.fsencode(old))


# -- the newer calls ---------------------------------------------------------------------------------------------------


def open_tree(dir_fd: int, path: object, *, clone: bool = True, recursive: bool = False) -> int:
    """Descriptor of a mount, or of a detached copy of it (clone), with those below it (recursive).

    path "" means dir_fd itself.
    """
    name = _encode(path)
    flags = _OPEN_TREE_CLOEXEC | (_OPEN_TREE_CLONE if clone else 0) | (AT_RECURSIVE if recursive else 0)
    return syscall("open_tree", dir_fd, name, flags | (0 if name else AT_EMPTY_PATH))


def move_mount(mount_fd: int, target_fd: int) -> None:
    """Attach a detached mount on an open directory or file."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    syscall("move_mount", mount_fd, b"", target_fd, b"", flags)


def mount_setattr(fd: int, *, set_: int = 0, clear: int = 0, propagation: int = 0, recursive: bool = False) -> None:
    """Change MOUNT_ATTR_* and the propagation (MS_PRIVATE, ...) of an open mount (Linux 5.12)."""
    data = struct.pack("=4Q", set_, clear, propagation, 0)
    syscall("mount_setattr", fd, b"", AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0), data, len(data))


def fsopen(fstype: object, options: object = (), attributes_: int = 0) -> int:
    """Make a new file system instance and return its detached mount.

    options: pairs (key, value); a value is text, a descriptor (int) or None for a flag. Raises MountError whose text
    holds the kernel's explanation.
    """
    context = syscall("fsopen", _encode(fstype), _FS_CLOEXEC)
    try:
        try:
            for key, value in options:  # type: ignore[attr-defined]
                _configure(context, key, value)
            syscall("fsconfig", context, _FSCONFIG_CMD_CREATE, None, None, 0)
            return syscall("fsmount", context, _FS_CLOEXEC, attributes_)
        except OSError as error:
            raise MountError(error.errno, _explain(context, error.errno or 0), str(fstype)) from None
    finally:
        os.close(context)


def _configure(context: int, key: object, value: object) -> None:
    if value is None:
        syscall("fsconfig", context, _FSCONFIG_SET_FLAG, _encode(key), None, 0)
    elif isinstance(value, int):
        syscall("fsconfig", context, _FSCONFIG_SET_FD, _encode(key), None, value)
    else:
        syscall("fsconfig", context, _FSCONFIG_SET_STRING, _encode(key), _encode(value), 0)


def _explain(context: int, code: int) -> str:
    """The errno's text with the messages that the kernel left in the context: "e overlay: too many lower ..."."""
    lines = []
    for _message in range(8):
        try:
            lines.append(os.read(context, 1024).decode("utf-8", "replace").strip()[2:])
        except OSError:
            break
    return os.strerror(code) + (f" ({'; '.join(lines)})" if lines else "")


# -- ladders -----------------------------------------------------------------------------------------------------------


def set_propagation(target: str, kind: int, *, recursive: bool = True) -> None:
    """kind: MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE."""
    mount(None, target, None, kind | (MS_REC if recursive else 0))


def new(fstype: str, target_fd: int, flags: int = 0, options: str = "", source: str | None = None) -> None:
    """Mount a new file system instance on an open directory. options: comma-separated, as for mount(2)."""
    if has("new_mount_api"):
        pairs = [("source", source)] if source else []
        for word in filter(None, options.split(",")):
            key, separator, value = word.partition("=")
            pairs.append((key, value if separator else None))  # type: ignore[arg-type]
        fd = fsopen(fstype, pairs, attributes(flags))
        try:
            move_mount(fd, target_fd)
        finally:
            os.close(fd)
    else:
        mount(source or fstype, path_of(target_fd), fstype, flags, options or None)


def bind(source_fd: int, target_fd: int, *, recursive: bool = True) -> None:
    """Show what source_fd names at target_fd as well."""
    if has("new_mount_api"):
        tree = open_tree(source_fd, "", recursive=recursive)
        try:
            move_mount(tree, target_fd)
        finally:
            os.close(tree)
    else:
        mount(path_of(source_fd), path_of(target_fd), None, MS_BIND | (MS_REC if recursive else 0))


def change(fd: int, flags: int, clear: int = 0, *, recursive: bool = False) -> None:
    """Set and clear per-mount MS_* flags of the mount whose root is open as fd.

    recursive: with those below it; refused by kernels without mount_setattr (they do only the one: ENOSYS).
    """
    if has("mount_setattr"):
        put, drop = attributes(flags), attributes(clear)
        if (put | drop) & MOUNT_ATTR_ATIME_MASK or (flags | clear) & MS_RELATIME:
            drop |= MOUNT_ATTR_ATIME_MASK
        mount_setattr(fd, set_=put, clear=drop, recursive=recursive)
        return
    if recursive:
        raise OSError(errno.ENOSYS, "this kernel cannot change mounts recursively (it lacks mount_setattr)")
    # A remount replaces all flags of the mount, so those it has must be named again.
    present = os.statvfs(fd).f_flag
    kept = present & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | _ST_NOATIME | _ST_NODIRATIME)
    if present & _ST_RELATIME:
        kept |= MS_RELATIME
    mount(None, path_of(fd), None, MS_REMOUNT | MS_BIND | (kept & ~clear) | flags)


# -- the layers --------------------------------------------------------------------------------------------------------


def overlay_options() -> list[str]:
    """Options that keep every upper directory a complete diff: switched off where the kernel knows them at all."""
    names = ("index", "metacopy", "redirect_dir")
    return [f"{name}=off" for name in names if os.path.exists(f"/sys/module/overlay/parameters/{name}")]


def overlay(lowers: list[str], upper: str | None, work: str | None, target: str, *, readonly: bool = False) -> None:
    """Mount layers at target. lowers: absolute directories, top first. upper None: all read only.

    Raises MountError. With one lower and no upper, overlay refuses: that is a read-only bind mount here.
    """
    if upper is None and len(lowers) == 1:
        _bind_readonly(lowers[0], target)
        return
    if has("new_mount_api"):
        fd = detached_overlay(lowers, upper, work, readonly=readonly)
        if fd >= 0:
            try:
                target_fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    move_mount(fd, target_fd)
                finally:
                    os.close(target_fd)
            finally:
                os.close(fd)
            return
    _overlay_by_names(lowers, upper, work, target, readonly)


def _bind_readonly(source: str, target: str) -> None:
    mount(source, target, None, MS_BIND)
    mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY)


def detached_overlay(lowers: list[str], upper: str | None, work: str | None, *, readonly: bool = False) -> int:
    """Detached overlay mount, or -1 where the kernel cannot take the layers one by one.

    Each layer is handed over as a descriptor (Linux 6.13), else as text of at most 255 bytes (Linux 6.8).
    """
    options: list[tuple[str, object]] = [tuple(word.split("=")) for word in overlay_options()]  # type: ignore[misc]
    attributes_ = MOUNT_ATTR_RDONLY if readonly else 0
    for rung in ("overlay_fd", "overlay_lowerdir_plus"):
        if not has(rung):
            continue
        fds: list[int] = []

        def name(path: str, by_fd: bool = rung == "overlay_fd", fds: list[int] = fds) -> object:
            if not by_fd:
                return path
            fds.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            return fds[-1]

        try:
            layers = [("lowerdir+", name(path)) for path in lowers]
            if upper is not None:
                layers += [("upperdir", name(upper)), ("workdir", name(work or ""))]
            return fsopen("overlay", [("source", "overlay"), *options, *layers], attributes_)
        except MountError as error:
            # EINVAL is also what a kernel says that does not know the key or the kind of its value
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF):
                raise
        finally:
            for fd in fds:
                os.close(fd)
    return -1


def _escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _overlay_by_names(lowers: list[str], upper: str | None, work: str | None, target: str, readonly: bool) -> None:
    """mount(2) takes one page of options: where the paths do not fit, the layers are named by descriptors."""
    layers = [*lowers, *([upper, work or ""] if upper is not None else [])]
    flags = MS_RDONLY if readonly else 0
    text = _overlay_text([_escape(path) for path in layers], len(lowers))
    if len(os.fsencode(text)) < PAGE:
        mount("overlay", target, "overlay", flags, text)
        return
    fds: list[int] = []
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in layers:
            fds.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        os.chdir("/proc/self/fd")  # here, a number names a layer: 500 of them fit into a page
        mount("overlay", target, "overlay", flags, _overlay_text([str(fd) for fd in fds], len(lowers)))
    finally:
        os.fchdir(here)
        for fd in (here, *fds):
            os.close(fd)


def _overlay_text(names: list[str], count: int) -> str:
    """Option text of count lowers and, if there are two more names, upper and work."""
    words = ["lowerdir=" + ":".join(names[:count]), *overlay_options()]
    if len(names) > count:
        words += ["upperdir=" + names[count], "workdir=" + names[count + 1]]
    return ",".join(words)


def aufs(branches: list[tuple[str, str]], target: str, *, options: str = "", mount: Any = mount) -> None:
    """Mount aufs branches at target. branches: (directory, "rw" or "ro+wh"), top first.

    The first call takes as many branches as fit into a page of options, the rest is appended by remounting
    (aufs(5), "append:"). mount: what makes the calls, for tests: no kernel of today's distributions has aufs.
    """
    tail = ",dio,xino=/dev/shm/aufs.xino" + (f",{options}" if options else "")
    text = "br"
    rest = list(branches)
    while rest:
        word = f":{rest[0][0]}={rest[0][1]}"
        if len(text) + len(word) + len(tail) >= PAGE and text != "br":
            break
        text += word
        rest.pop(0)
    mount("none", target, "aufs", 0, text + tail)
    while rest:
        words: list[str] = []
        while rest:
            word = f"append:{rest[0][0]}={rest[0][1]}"
            if words and len(",".join([*words, word])) >= PAGE:
                break
            words.append(word)
            rest.pop(0)
        mount("none", target, "aufs", MS_REMOUNT, ",".join(words))
