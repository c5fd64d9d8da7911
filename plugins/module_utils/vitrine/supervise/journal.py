# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened to one container: a file of lines beside its state, appended by its monitor and by commands.

A line is ``{"time":nanoseconds since 1970,"action":"die","attributes":{"exitCode":"0"}}`` and is written by one
write(2) with O_APPEND, so writers need no lock. Nothing is synced: a start must not wait for the disk to hear of it.
After a power cut the newest lines may be missing or torn; a torn one is skipped, and those that remain are in order.
"""

from __future__ import annotations

import os

from .jsontext import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "events"  # in the container's folder
OLDER = ".1"  # what was appended before the file was full; what was there before that is gone
LIMIT = 64 << 10  # bytes of one file
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


def append(path: str, action: str, time_ns: int, attributes: dict[str, str]) -> None:
    """Add one line. Never raises OSError: a full disk or a removed container is no reason to stop what happened."""
    line = encode({"time": time_ns, "action": action, "attributes": attributes}).encode("ascii")
    try:
        fd = os.open(path, _FLAGS, 0o600)
        try:
            size = os.fstat(fd).st_size
            # an empty line costs nothing, and parts this one from what a write that was cut short left
            os.write(fd, b"\n" + line + b"\n" if size else line + b"\n")
        finally:
            os.close(fd)
        if size + len(line) > LIMIT:
            os.rename(path, path + OLDER)
    except OSError:
        pass


def read(path: str) -> list[tuple[int, str, dict[str, Any]]]:
    """Return (time_ns, action, attributes) of each line, in the order of their writing; [] when there is no file."""
    from .. import lightjson as json

    older = identity(path + OLDER)
    while True:
        data = _content(path + OLDER) + b"\n" + _content(path)
        now = identity(path + OLDER)
        if now == older:
            break
        older = now  # the file became the older one between the two looks
    found = []
    for line in data.split(b"\n"):
        if not line:
            continue
        try:
            entry = json.loads(line)
            found.append((int(entry["time"]), str(entry["action"]), dict(entry["attributes"])))
        except (ValueError, TypeError, KeyError, RecursionError):
            pass  # torn by a power cut or a full disk
    return found


def identity(path: str) -> tuple[int, int]:
    """What tells a file from another under its name, and whether it grew; (0, 0) when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_ino, status.st_size


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(LIMIT * 4)
    except (FileNotFoundError, NotADirectoryError):
        return b""
