# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This process's terminal joined to a pseudo-terminal's master that it holds itself (exec -t).

Not on the start path.
"""

from __future__ import annotations

import _signal as signal  # the C module: the one around it imports enum, which takes longer than an attach
import os
import select

from .attach import Signals, make_raw, restore, window_size, write_all

_CHUNK = 1 << 16


def relay(master: int, *, stdin: bool, stdin_fd: int = 0, stdout_fd: int = 1) -> None:
    """Move bytes both ways until nobody holds the other side any more. Our terminal is raw meanwhile.

    master: the pty's master; not closed here. stdin: whether what is typed goes in.
    """
    raw = stdin and os.isatty(stdin_fd)
    saved = make_raw(stdin_fd) if raw else None
    signals = Signals((signal.SIGWINCH,))
    try:
        _resize(master, stdin_fd)
        poll = select.poll()
        poll.register(master, select.POLLIN)
        if stdin:
            poll.register(stdin_fd, select.POLLIN)
        if signals.fd >= 0:
            poll.register(signals.fd, select.POLLIN)
        while True:
            for fd, _events in poll.poll():
                if fd == signals.fd:
                    signals.take()
                    _resize(master, stdin_fd)
                elif fd == stdin_fd:
                    data = os.read(stdin_fd, _CHUNK)
                    write_all(master, memoryview(data))
                    if not data:
                        poll.unregister(stdin_fd)
                elif not _show(master, stdout_fd):
                    return
    finally:
        signals.restore()
        if saved is not None:
            restore(stdin_fd, saved)


def _show(master: int, stdout_fd: int) -> bool:
    try:
        data = os.read(master, _CHUNK)
    except OSError:  # EIO: the last process of the terminal is gone
        data = b""
    write_all(stdout_fd, memoryview(data))
    return bool(data)


def _resize(master: int, stdin_fd: int) -> None:
    size = window_size(stdin_fd)
    if size is not None:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
