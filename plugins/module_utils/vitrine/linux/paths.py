# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths inside a container's tree, which is hostile: every link in it means something inside it, and races are run.

openat2(2) with RESOLVE_IN_ROOT does this in the kernel; before Linux 5.6 the same walk is made here, one component at
a time, with a stack of open directories, so that ".." never leaves the root.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from .features import has
from .syscall import syscall

O_PATH = os.O_PATH
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10
_LINKS_MAX = 40  # as the kernel's own limit
_RACES_MAX = 32


def _error(code: int, path: bytes) -> OSError:
    return OSError(code, os.strerror(code), os.fsdecode(path))


def components(path: bytes | str) -> list[bytes]:
    """The parts of a path, without empty ones and "."."""
    return [part for part in os.fsencode(path).split(b"/") if part not in (b"", b".")]


def open_in_root(root_fd: int, path: bytes | str, flags: int, mode: int = 0, *, follow: bool = True) -> int:
    """Open path as if root_fd were the root directory. Always CLOEXEC; magic links (/proc/PID/fd/...) are refused.

    follow=False refuses any symbolic link on the way (ELOOP). With O_NOFOLLOW, only the last one is not followed.
    Raises OSError; ELOOP for links refused or too many.
    """
    name = os.fsencode(path)
    if b"\0" in name:
        raise _error(errno.EINVAL, name)
    flags |= os.O_CLOEXEC
    if not has("openat2"):
        return _walk(root_fd, name, flags, mode, follow)
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | (0 if follow else RESOLVE_NO_SYMLINKS)
    how = struct.pack("=3Q", flags, mode if flags & (os.O_CREAT | os.O_TMPFILE) else 0, resolve)
    for _attempt in range(_RACES_MAX):
        try:
            return syscall("openat2", root_fd, name or b"/", how, len(how))
        except OSError as error:
            if error.errno != errno.EAGAIN:  # something was renamed meanwhile
                raise _error(error.errno or errno.EIO, name) from None
    raise _error(errno.EAGAIN, name)


def _walk(root_fd: int, path: bytes, flags: int, mode: int, follow: bool) -> int:
    """The fallback of open_in_root. The stack holds the open directories from the root to the present one."""
    stack = [os.open(b".", O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root_fd)]
    try:
        todo = components(path)[::-1]
        must_be_directory = path.endswith((b"/", b"/."))
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                if len(stack) > 1:
                    os.close(stack.pop())
                continue
            last = not todo
            create = last and flags & os.O_CREAT
            try:
                fd = os.open(part, O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stack[-1])
            except FileNotFoundError:
                if create:
                    return os.open(part, flags | os.O_NOFOLLOW, mode, dir_fd=stack[-1])
                raise
            stack.append(fd)
            kind = stat.S_IFMT(os.fstat(fd).st_mode)
            if kind == stat.S_IFLNK:
                if last and flags & os.O_NOFOLLOW and not must_be_directory:
                    break
                links += 1
                if not follow or links > _LINKS_MAX:
                    raise _error(errno.ELOOP, path)
                target = os.readlink(b"", dir_fd=fd)
                os.close(stack.pop())
                if not target.startswith(b"/"):
                    pass
                elif _is_magic(stack[-1]):
                    raise _error(errno.ELOOP, path)
                else:
                    while len(stack) > 1:
                        os.close(stack.pop())
                todo += components(target)[::-1]
            elif not last and kind != stat.S_IFDIR:
                raise _error(errno.ENOTDIR, path)
        return _reopen(stack[-1], flags | (os.O_DIRECTORY if must_be_directory else 0), path)
    except OSError as error:
        raise _error(error.errno or errno.EIO, path) from None
    finally:
        for fd in stack:
            os.close(fd)


def _is_magic(directory_fd: int) -> bool:
    """True in a procfs, whose links lead to places that their text does not name."""
    return file_system_type(directory_fd) == PROC_SUPER_MAGIC


def _reopen(fd: int, flags: int, path: bytes) -> int:
    """Open what an O_PATH descriptor names with other flags."""
    mode = os.fstat(fd).st_mode
    if flags & os.O_EXCL and flags & os.O_CREAT:
        raise _error(errno.EEXIST, path)
    if flags & os.O_DIRECTORY and not stat.S_ISDIR(mode):
        raise _error(errno.ENOTDIR, path)
    if flags & O_PATH:
        return os.dup(fd)  # not inheritable, as all that Python makes
    if stat.S_ISLNK(mode):
        raise _error(errno.ELOOP, path)
    return os.open(f"/proc/self/fd/{fd}", flags & ~(os.O_NOFOLLOW | os.O_CREAT))


PROC_SUPER_MAGIC = 0x9FA0
TMPFS_MAGIC = 0x01021994
CGROUP2_SUPER_MAGIC = 0x63677270
OVERLAYFS_SUPER_MAGIC = 0x794C7630
AUFS_SUPER_MAGIC = 0x61756673


def file_system_type(fd: int) -> int:
    """The magic number of the file system (statfs(2), f_type); fd may be O_PATH."""
    from .syscall import ctypes

    data = ctypes.create_string_buffer(256)
    syscall("fstatfs", fd, data)
    size = 4 if "s390x" in os.uname().machine else 8  # f_type is an int on s390x, a long elsewhere
    return int.from_bytes(data.raw[:size], "big" if struct.pack("=H", 1) == b"\0\1" else "little")


def expand(root_fd: int, path: bytes | str) -> list[bytes]:
    """The parts of path with every link in it replaced, inside the root, also where it leads to what is missing.

    Images ship links to files that only a running system has (/etc/resolv.conf). What comes out holds no link at the
    time of asking; who acts on it must refuse those that appear later. Raises OSError: ELOOP.
    """
    done: list[bytes] = []
    todo = components(path)[::-1]
    links = 0
    while todo:
        part = todo.pop()
        if part == b"..":
            del done[-1:]
            continue
        try:
            fd = open_in_root(root_fd, b"/".join([*done, part]), O_PATH | os.O_NOFOLLOW)
        except FileNotFoundError:
            done.append(part)
            continue
        try:
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                done.append(part)
                continue
            target = os.readlink(b"", dir_fd=fd)
        finally:
            os.close(fd)
        links += 1
        if links > _LINKS_MAX:
            raise _error(errno.ELOOP, os.fsencode(path))
        if target.startswith(b"/"):
            done = []
        todo += components(target)[::-1]
    return done


def mkdirs_in_root(root_fd: int, path: bytes | str, mode: int = 0o755, *, follow: bool = True) -> int:
    """Make the directory and its missing parents, and return an O_PATH descriptor of it.

    Links are followed inside the root (follow=False: refused); what is made is made in directories held open, with
    exactly that mode. Raises OSError: ENOTDIR or ELOOP where something else is in the way.
    """
    flags = O_PATH | os.O_DIRECTORY
    try:
        return open_in_root(root_fd, path, flags, follow=follow)
    except FileNotFoundError:
        pass
    parts = expand(root_fd, path) if follow else components(path)
    if b".." in parts:
        raise _error(errno.EINVAL, os.fsencode(path))
    known = len(parts)
    while True:  # the deepest ancestor that exists
        try:
            current = open_in_root(root_fd, b"/".join(parts[:known]), flags, follow=False)
            break
        except FileNotFoundError:
            known -= 1
    for part in parts[known:]:
        current = _step_down(current, part, mode, path)
    return current


def _step_down(parent: int, name: bytes, mode: int, path: bytes | str) -> int:
    """Make (unless there) and open one directory; closes parent."""
    try:
        try:
            os.mkdir(name, mode, dir_fd=parent)
            made = True
        except FileExistsError:
            made = False
        fd = os.open(name, O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        if made:
            os.chmod(f"/proc/self/fd/{fd}", mode)  # whatever the umask is
        return fd
    except OSError as error:
        # A dangling link is "not a directory" to os.open: the kernel follows none for us here.
        raise _error(error.errno or errno.EIO, os.fsencode(path)) from None
    finally:
        os.close(parent)


def create_file_in_root(root_fd: int, path: bytes | str, mode: int = 0o644) -> int:
    """Make an empty file with its parent directories unless something is there; return an O_PATH descriptor of it."""
    try:
        return open_in_root(root_fd, path, O_PATH)
    except FileNotFoundError:
        pass
    parts = expand(root_fd, path)
    if not parts:
        raise _error(errno.EISDIR, os.fsencode(path))
    parent = mkdirs_in_root(root_fd, b"/".join(parts[:-1]), follow=False)
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(parts[-1], flags, mode, dir_fd=parent)
        try:
            os.fchmod(fd, mode)  # whatever the umask is
        finally:
            os.close(fd)
        return os.open(parts[-1], O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    finally:
        os.close(parent)
