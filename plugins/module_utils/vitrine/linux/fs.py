# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of our own: written whole or not at all, copied without copying where possible, locked, removed."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time

from .features import has
from .syscall import syscall

FICLONE = 0x40049409
RESOLVE_NO_XDEV, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 1, 4, 8  # openat2(2)
_CHUNK = 1 << 20
_NOT_THIS_WAY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


def write_atomic(path: str, data: bytes, mode: int = 0o600, *, durable: bool = True) -> None:
    """Replace the file: readers see the old content or the new. durable: on disk when this returns.

    Raises OSError; then nothing was changed and no temporary file is left (a kill may leave "<path>.<pid>.tmp").
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        try:
            os.fchmod(fd, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise
    if durable:
        sync_directory(os.path.dirname(path) or ".")


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_file(path: str, limit: int = 1 << 20) -> bytes:
    """The content. Raises OSError(EFBIG) when it is longer than limit."""
    with open(path, "rb", buffering=0) as file:
        data = file.readall() if limit < 0 else file.read(limit + 1)
        while data and len(data) <= limit:
            more = file.read(limit + 1 - len(data))
            if not more:
                break
            data += more
    if data and len(data) > limit >= 0:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return data or b""


_MANY_TIMES = 20  # somebody may make something in a directory that is just being emptied


def remove_tree(path: str | bytes, *, dir_fd: int | None = None) -> None:
    """Remove a file or a directory with all below it. Links are removed, never followed.

    What vanishes meanwhile is fine, and what appears meanwhile goes too. Never goes into a mount, a bind of the same
    file system included: that is EBUSY, and nothing of it is touched. Any depth. Raises OSError for what cannot be
    removed.
    """
    try:
        os.unlink(path, dir_fd=dir_fd)
        return
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        pass
    folder, name = os.path.split(os.fsencode(path).rstrip(b"/"))
    if name in (b"", b".", b".."):
        raise OSError(errno.EINVAL, "not the name of a directory", os.fsdecode(path))
    try:
        parent = os.open(folder or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    try:
        for last in (*[False] * _MANY_TIMES, True):
            top = _open_below(parent, name)
            try:
                _empty(top)
            finally:
                os.close(top)
            try:
                os.rmdir(name, dir_fd=parent)
                break
            except OSError as error:
                if last or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
    except FileNotFoundError:
        pass
    finally:
        os.close(parent)


def _open_below(parent: int, name: bytes) -> int:
    """Open a directory that is in parent and not mounted there. Raises OSError(EBUSY) for a mount."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    if has("openat2"):
        how = struct.pack("=3Q", flags, 0, RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH)
        try:
            return syscall("openat2", parent, name, how, len(how))
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise OSError(errno.EBUSY, "a mount is in the way", os.fsdecode(name)) from None
            raise
    fd = os.open(name, flags, dir_fd=parent)
    if _mount_of(fd) != _mount_of(parent):
        os.close(fd)
        raise OSError(errno.EBUSY, "a mount is in the way", os.fsdecode(name))
    return fd


def _mount_of(fd: int) -> tuple[int, bytes]:
    """What tells mounts apart: the device, and the mount's id where procfs says it (Linux 3.15)."""
    with open(f"/proc/self/fdinfo/{fd}", "rb", buffering=0) as file:
        lines = [line for line in file.read(4096).splitlines() if line.startswith(b"mnt_id:")]
    return os.fstat(fd).st_dev, b"".join(lines)


def _identity(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def _unlink_files(fd: int) -> list[bytes]:
    """Unlink all that is no directory; return the names of the directories."""
    folders = []
    with os.scandir(fd) as scan:
        for entry in scan:
            name = os.fsencode(entry.name)
            if entry.is_dir(follow_symlinks=False):
                folders.append(name)
                continue
            try:
                os.unlink(name, dir_fd=fd)
            except FileNotFoundError:
                pass
    return folders


def _empty(top: int) -> None:
    """Remove all below the open directory, with one descriptor open at a time: depth is limited by nothing."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    current = os.dup(top)
    way: list[tuple[bytes, tuple[int, int]]] = []  # from top to current: each name, and the directory it is in
    pending = [_unlink_files(current)]  # for each directory on the way: those in it that are still to be emptied
    try:
        while pending:
            if pending[-1]:
                name = pending[-1].pop()
                try:
                    child = _open_below(current, name)
                except FileNotFoundError:
                    continue
                way.append((name, _identity(current)))
                os.close(current)
                current = child
                pending.append(_unlink_files(current))
                continue
            pending.pop()
            if not way:
                return
            name, expected = way.pop()
            parent = os.open("..", flags, dir_fd=current)
            os.close(current)
            current = parent
            if _identity(current) != expected:  # somebody moved it: what is above it now is not ours to empty
                raise OSError(errno.EBUSY, "a directory was moved while it was being removed", os.fsdecode(name))
            try:
                os.rmdir(name, dir_fd=current)
            except FileNotFoundError:
                pass
    finally:
        os.close(current)


def lock(path: str, *, shared: bool = False, timeout: float | None = None, blocking: bool = True) -> int:
    """Take a flock on path (made if missing, 0600) and return its descriptor; closing that releases the lock.

    timeout: seconds, None waits for ever. Raises BlockingIOError when the lock is held by another (blocking=False, or
    the time is over), OSError otherwise. A lock file that was removed meanwhile is not mistaken for the present one.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = 0.002
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if blocking and deadline is None:
                fcntl.flock(fd, kind)
            else:
                fcntl.flock(fd, kind | fcntl.LOCK_NB)
            mine, there = os.fstat(fd), os.stat(path)
            if (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino):
                return fd
            os.close(fd)
        except FileNotFoundError:
            os.close(fd)
        except BlockingIOError:
            os.close(fd)
            if not blocking or (deadline is not None and time.monotonic() >= deadline):
                raise BlockingIOError(errno.EAGAIN, "the lock is held by another process", path) from None
            time.sleep(pause)
            pause = min(pause * 2, 0.1)
        except BaseException:
            os.close(fd)
            raise


def copy_file(source_fd: int, target_fd: int, size: int = -1) -> int:
    """Copy from the present position of source to that of target; return the number of bytes.

    Shares the blocks where the file system can (whole files only), else copies in the kernel, else here.
    size: bytes to copy at most, -1: to the end.
    """
    if has("reflink") and os.lseek(source_fd, 0, os.SEEK_CUR) == 0 and size in (-1, os.fstat(source_fd).st_size):
        try:
            fcntl.ioctl(target_fd, FICLONE, source_fd)
            length = os.fstat(source_fd).st_size
            os.lseek(source_fd, length, os.SEEK_SET)
            os.lseek(target_fd, length, os.SEEK_SET)
            return length
        except OSError:
            pass
    done = 0
    ways = [_copy_range, os.sendfile, _copy_here] if has("copy_file_range") else [os.sendfile, _copy_here]
    while size < 0 or done < size:
        want = _CHUNK * 16 if size < 0 else min(_CHUNK * 16, size - done)
        try:
            if ways[0] is os.sendfile:
                count = os.sendfile(target_fd, source_fd, None, want)  # type: ignore[arg-type]
            else:
                count = ways[0](target_fd, source_fd, want)  # type: ignore[operator]
        except OSError as error:
            if len(ways) > 1 and error.errno in _NOT_THIS_WAY:
                ways.pop(0)
                continue
            raise
        if count == 0:
            # Files of procfs and the like say size 0 and give copy_file_range nothing, although they can be read.
            if done == 0 and len(ways) > 1:
                ways.pop(0)
                continue
            break
        done += count
    return done


def _copy_range(target_fd: int, source_fd: int, count: int) -> int:
    return os.copy_file_range(source_fd, target_fd, count)


def _copy_here(target_fd: int, source_fd: int, count: int) -> int:
    data = os.read(source_fd, min(count, _CHUNK))
    view = memoryview(data)
    while view:
        view = view[os.write(target_fd, view) :]
    return len(data)


def is_directory(path: str) -> bool:
    """True for a real directory, not for a link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
