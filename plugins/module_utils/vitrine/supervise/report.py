# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors on their way from the monitor to the command that started it: plain values on a pipe, classes kept."""

from __future__ import annotations

import errno as errno_names
import marshal
import os
import struct

from .. import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HEAD = "=I"
_LARGEST = 1 << 20


def describe(error: BaseException, stage: str) -> dict[str, Any]:
    """Return the error as marshal-able values. stage: what was being done, where the error does not say."""
    if isinstance(error, errors.VitrineError):
        value = error.value if isinstance(error.value, (str, int, bytes, type(None))) else str(error.value)
        return {
            "kind": error.kind,
            "message": error.message,
            "hint": error.hint,
            "value": value,
            "stage": getattr(error, "stage", "") or stage,
            "errno": getattr(error, "errno", 0),
        }
    number = getattr(error, "errno", None) or 0
    where = getattr(error, "filename", None)
    text = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    message = f"{stage}: {text}" + (f" ({os.fsdecode(where)})" if isinstance(where, (str, bytes)) else "")
    kind = "DiskFull" if number in (errno_names.ENOSPC, errno_names.EDQUOT) else "StartFailed"
    return {"kind": kind, "message": message, "hint": "", "value": None, "stage": stage, "errno": number}


def rebuild(fields: dict[str, Any]) -> errors.VitrineError:
    """Return the error that describe() got, in its own class where this engine knows it."""
    cls = getattr(errors, str(fields.get("kind")), None)
    if not (isinstance(cls, type) and issubclass(cls, errors.VitrineError)):
        cls = errors.StartFailed
    error = cls.__new__(cls)
    Exception.__init__(error, fields["message"])
    for name in ("message", "hint", "value"):
        setattr(error, name, fields[name])
    if isinstance(error, errors.StartFailed):
        error.stage, error.errno = fields["stage"], fields["errno"]
    return error


def exit_code(fields: dict[str, Any]) -> int:
    """The exit code that a failed start is recorded with: 126, 127, or 128 as docker's."""
    cls = getattr(errors, fields["kind"], None)
    code = getattr(cls, "exit_code", 125)
    return code if code in (126, 127) else 128


def send(fd: int, word: str, fields: dict[str, Any]) -> None:
    """Write one message to the pipe. A reader that is gone is no error: the start goes on without it."""
    data = marshal.dumps((word, fields))
    data = struct.pack(_HEAD, len(data)) + data
    try:
        while data:
            data = data[os.write(fd, data) :]
    except BrokenPipeError:
        pass


def receive(fd: int) -> tuple[str, dict[str, Any]] | None:
    """Read one message; None when the other side closed without one."""
    head = _read_exactly(fd, struct.calcsize(_HEAD))
    if head is None:
        return None
    (size,) = struct.unpack(_HEAD, head)
    data = _read_exactly(fd, size) if size <= _LARGEST else None
    return None if data is None else marshal.loads(data)


def _read_exactly(fd: int, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        part = os.read(fd, size - len(data))
        if not part:
            return None
        data += part
    return data
