# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A terminal of the container's own: opened in its devpts, so that it is no terminal of the host."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

from ..errors import StartFailed
from ..linux import mount, paths

_TIOCGPTN = 0x80045430
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_TIOCSWINSZ = 0x5414
_TIOCSCTTY = 0x540E
_PTMX = (5, 2)
if os.uname().machine.startswith("ppc"):
    _TIOCGPTN, _TIOCSPTLCK, _TIOCGPTPEER, _TIOCSWINSZ = 0x40045430, 0x80045431, 0x20005441, 0x80087467

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def open_pair(root_fd: int, size: Sequence[int] | None) -> tuple[int, int]:
    """(master, slave) of a new terminal in the devpts at /dev/pts below root_fd. size: (rows, columns)."""
    flags = os.O_RDWR | os.O_NOCTTY
    path_fd = paths.open_in_root(root_fd, "dev/pts/ptmx", os.O_PATH, follow=False)
    try:
        status = os.fstat(path_fd)
        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(*_PTMX):
            raise StartFailed("/dev/pts/ptmx of the container is no terminal", stage="console", errno=errno.ENOTTY)
        master = os.open(f"/proc/self/fd/{path_fd}", flags | os.O_CLOEXEC)
    finally:
        os.close(path_fd)
    try:
        fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("=i", 0))
        try:
            slave = fcntl.ioctl(master, _TIOCGPTPEER, flags | os.O_CLOEXEC)
        except OSError:  # before Linux 4.13
            (number,) = struct.unpack("=i", fcntl.ioctl(master, _TIOCGPTN, bytes(4)))
            slave = paths.open_in_root(root_fd, f"dev/pts/{number}", flags, follow=False)
        if size:
            fcntl.ioctl(master, _TIOCSWINSZ, struct.pack("=4H", size[0], size[1], 0, 0))
    except BaseException:
        os.close(master)
        raise
    return master, slave


def bind_console(root_fd: int, slave: int) -> None:
    """Make the terminal /dev/console as well; a link there, which an image may ship, is refused."""
    try:
        target = paths.open_in_root(root_fd, "dev/console", os.O_PATH, follow=False)
    except FileNotFoundError:
        folder = paths.mkdirs_in_root(root_fd, "dev", follow=False)
        try:
            target = paths.create_file_in_root(folder, "console", 0o600)
        finally:
            os.close(folder)
    try:
        number = os.readlink(f"/proc/self/fd/{slave}").rpartition("/")[2]
        source = paths.open_in_root(root_fd, f"dev/pts/{number}", os.O_PATH, follow=False)
        try:
            if os.fstat(source).st_rdev != os.fstat(slave).st_rdev:
                raise StartFailed("the terminal is not where it should be", stage="console", errno=errno.ENODEV)
            mount.bind(source, target, recursive=False)
        finally:
            os.close(source)
    finally:
        os.close(target)


def take(slave: int) -> None:
    """Make it standard input, output and error, and the controlling terminal of this session's leader."""
    for fd in (0, 1, 2):
        os.dup2(slave, fd, inheritable=True)
    os.close(slave)
    fcntl.ioctl(0, _TIOCSCTTY, 0)
