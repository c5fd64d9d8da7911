# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container's standard streams as its monitor holds them.

Output goes through two named FIFOs of the run directory that the container itself holds open for reading and writing:
when a monitor dies, nothing that was written is lost and no writer sees a broken pipe; the next monitor opens them
anew. They are FIFOs, not sockets, because images open /dev/stdout again by name. Input is an anonymous pipe: opening
that again never blocks. A terminal's master serves both and lives as long as the monitor.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

from . import loop
from .wire import CHUNK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

STDOUT, STDERR = "stdout", "stderr"
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ
_PIPE_SIZE = 256 << 10
_INPUT_FULL = CHUNK  # bytes of input that wait here before clients have to wait

# Any user of the container may open its own output again for writing (the folder lets nobody else reach the FIFO).
_FIFO_MODE = 0o622
_PIPE_MODE = 0o644


def make_fifos(run_dir: str) -> None:
    """Make both output FIFOs anew: what an earlier run left unread must not appear in this one's log."""
    for name in (STDOUT, STDERR):
        path = os.path.join(run_dir, name)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        os.mkfifo(path, 0o600)
        os.chmod(path, _FIFO_MODE)


def remove_fifos(run_dir: str) -> None:
    for name in (STDOUT, STDERR):
        try:
            os.unlink(os.path.join(run_dir, name))
        except FileNotFoundError:
            pass


def open_fifo(run_dir: str, name: str, *, for_container: bool) -> int:
    """Open for reading and writing, so that neither side ever sees the other's end go. The monitor's never blocks."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (0 if for_container else os.O_NONBLOCK)
    fd = os.open(os.path.join(run_dir, name), flags)
    if not for_container:
        try:
            fcntl.fcntl(fd, _SET_PIPE_SIZE, _PIPE_SIZE)
        except OSError:
            pass  # the limit for this user is reached: 64 KiB do
    return fd


def open_removed(run_dir: str, name: str, pid: int) -> int:
    """Open a FIFO whose name is gone as the monitor, by a process that has it open; -1 when that has it no more."""
    folder = f"/proc/{pid}/fd"
    wanted = f"{os.path.realpath(run_dir)}/{name} (deleted)"
    try:
        for number in os.listdir(folder):
            if os.readlink(f"{folder}/{number}") == wanted:
                return os.open(f"{folder}/{number}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        pass  # it ended just now
    return -1


def input_pipe() -> tuple[int, int]:
    """Return (the container's end, the monitor's non-blocking end)."""
    inner, outer = os.pipe2(os.O_CLOEXEC)
    os.fchmod(inner, _PIPE_MODE)
    os.set_blocking(outer, False)
    return inner, outer


class Output:
    """One descriptor that the container writes to. on_data gets every chunk, at most CHUNK bytes each."""

    def __init__(self, events: loop.Loop, fd: int, on_data: Callable[[bytes], None]) -> None:
        self._loop = events
        self._on_data = on_data
        self.fd = fd
        os.set_blocking(fd, False)
        self._ended = False
        self._paused = False
        self._watch()

    def pause(self, paused: bool) -> None:
        """Stop reading for a while: the container's writes will wait."""
        if paused != self._paused:
            self._paused = paused
            self._watch()

    def drain(self) -> None:
        """Read all that is there now: after the container's last process, that is all there will ever be."""
        while self._read():
            pass

    def close(self) -> None:
        if self.fd >= 0:
            self._loop.unwatch(self.fd)
            os.close(self.fd)
            self.fd = -1

    def _watch(self) -> None:
        if self.fd < 0:
            return
        if self._ended or self._paused:
            self._loop.unwatch(self.fd)  # watching for nothing would still report a hang-up, for ever
        else:
            self._loop.watch(self.fd, loop.READ, self._event)

    def _event(self, _events: int) -> None:
        self._read()

    def _read(self) -> bool:
        if self._ended or self.fd < 0:
            return False
        try:
            data = os.read(self.fd, CHUNK)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # a terminal's master says EIO when nobody has the other side open
                raise
            data = b""
        if not data:
            self._ended = True
            self._watch()
            return False
        self._on_data(data)
        return True


class Input:
    """What clients send to the container. fd: a pipe's end (owned) or a duplicate of the terminal's master (owned).

    on_full is called with True when clients have to wait, with False when they may go on.
    """

    def __init__(self, events: loop.Loop, fd: int, on_full: Callable[[bool], None]) -> None:
        self._loop = events
        self._on_full = on_full
        self.fd = fd
        self._waiting = b""
        self._ending = False
        self._full = False

    def feed(self, data: bytes) -> None:
        """Pass data on; what the container does not take yet waits. Input to a closed end is dropped."""
        if self.fd < 0 or self._ending:
            return
        self._waiting += data
        self._write()

    def end(self) -> None:
        """Close the container's input after all that was fed."""
        self._ending = True
        self._write()

    def close(self) -> None:
        if self.fd >= 0:
            self._loop.unwatch(self.fd)
            os.close(self.fd)
            self.fd = -1
        self._waiting = b""
        self._say_full(False)

    def _write(self, _events: int = 0) -> None:
        if self.fd < 0:
            return
        try:
            while self._waiting:
                self._waiting = self._waiting[os.write(self.fd, self._waiting) :]
        except BlockingIOError:
            self._loop.watch(self.fd, loop.WRITE, self._write)
        except OSError:
            self.close()  # nobody reads it any more
            return
        if not self._waiting:
            self._loop.unwatch(self.fd)
            if self._ending:
                self.close()
                return
        self._say_full(len(self._waiting) >= _INPUT_FULL)

    def _say_full(self, full: bool) -> None:
        if full != self._full:
            self._full = full
            self._on_full(full)


def set_window(fd: int, rows: int, columns: int) -> None:
    """Give a terminal its size (ioctl_tty(2), TIOCSWINSZ); its foreground processes get SIGWINCH."""
    import termios

    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
