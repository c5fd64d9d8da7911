# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sleeping until something is written into the index or a container's journal: inotify(7), or a look each second."""

from __future__ import annotations

import os
import select
import struct
import time

from ..linux.syscall import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOOK_SECONDS = 1.0  # without inotify, or when the host gives no more watches
_MODIFY, _MOVED_TO, _CREATE = 0x2, 0x80, 0x100
_ONLYDIR, _CLOEXEC, _NONBLOCK = 0x01000000, 0o2000000, 0o4000
_IGNORED, _OVERFLOW = 0x8000, 0x4000
_HEAD = struct.Struct("iIII")
_INDEX = b"vitrine."
_SETTLE_MS = 5  # what comes in one go is told in one go


class Watch:
    """For a with statement. root: the engine's; journal: the name of the file in each container's folder."""

    def __init__(self, root: str, journal: str) -> None:
        self._root = root
        self._containers = f"{root}/containers"
        self._journal = os.fsencode(journal)
        self._fd = -1
        self._kinds: dict[int, str] = {}
        self._complete = True

    def __enter__(self) -> Watch:
        try:
            self._fd = _checked(libc.inotify_init1(_CLOEXEC | _NONBLOCK))
            self._add(self._root, _MODIFY | _CREATE | _MOVED_TO, "index")
            self._add(self._containers, _CREATE | _MOVED_TO, "containers")
            for name in os.listdir(self._containers):
                self._container(name)
        except (OSError, AttributeError):
            self._give_up()
        return self

    def __exit__(self, *_error: object) -> None:
        self._give_up()

    def _give_up(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _add(self, path: str, mask: int, kind: str) -> None:
        number = _checked(libc.inotify_add_watch(self._fd, os.fsencode(path), mask))
        self._kinds[number] = kind

    def _container(self, name: str) -> None:
        """A folder tells when its journal appears, the journal when it grows: the log beside it is not ours."""
        if len(name) != 64:
            return
        folder = f"{self._containers}/{name}"
        try:
            self._add(folder, _CREATE | _MOVED_TO | _ONLYDIR, name)
            self._add(f"{folder}/{os.fsdecode(self._journal)}", _MODIFY, "journal")
        except FileNotFoundError:
            pass  # it is gone again, or nothing happened to it yet
        except OSError:
            self._complete = False  # fs.inotify.max_user_watches: all the others are watched all the same

    def wait(self, seconds: float | None) -> None:
        """Return when there may be something new, or after so many seconds."""
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if end is None else max(0.0, end - time.monotonic())
            if self._fd < 0 or not self._complete:
                left = LOOK_SECONDS if left is None else min(left, LOOK_SECONDS)
            if self._fd < 0:
                time.sleep(left or 0)
                return
            poller = select.poll()
            poller.register(self._fd, select.POLLIN)
            ready = poller.poll(None if left is None else int(left * 1000) + 1)
            if not ready or self._relevant():
                return

    def _relevant(self) -> bool:
        """Read what inotify says; whether any of it is about events."""
        time.sleep(_SETTLE_MS / 1000)
        try:
            data = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return False
        found, place = False, 0
        while place + _HEAD.size <= len(data):
            number, mask, _cookie, length = _HEAD.unpack_from(data, place)
            name = data[place + _HEAD.size : place + _HEAD.size + length].rstrip(b"\0")
            place += _HEAD.size + length
            kind: Any = self._kinds.get(number, "")
            if mask & _OVERFLOW:
                found = True
            elif mask & _IGNORED:
                self._kinds.pop(number, None)
            elif kind == "journal":
                found = True
            elif kind == "index":
                found = found or name.startswith(_INDEX)
            elif kind == "containers":
                self._container(os.fsdecode(name))
                found = True
            elif kind and name == self._journal:
                self._container(kind)
                found = True
        return found


def _checked(result: int) -> int:
    if result < 0:
        import ctypes

        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
