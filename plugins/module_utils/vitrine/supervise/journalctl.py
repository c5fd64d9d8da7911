# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading back what a container wrote to systemd's journal, with journalctl(1). Not on the start path."""

from __future__ import annotations

import os
import select
import shutil
import subprocess

from ..errors import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Callable

_LOOK_MS = 500
_BLOCK = 1 << 16


def read(
    container_id: str,
    *,
    follow: bool = False,
    alive: Callable[[], bool] | None = None,
    since: int | None = None,
    until: int | None = None,
    tail: int | None = None,
    timestamps: bool = False,
) -> Iterator[tuple[str, bytes]]:
    """As logs.read, of the entries of one container. Raises HostError where there is no journalctl."""
    program = shutil.which("journalctl")
    if program is None:
        raise HostError(
            "the container's log is in systemd's journal, and there is no journalctl here to read it",
            hint=f"install systemd's journalctl, or look for CONTAINER_ID_FULL={container_id}",
            value=container_id,
        )
    argv = [program, "--output=json", "--all", "--quiet", "--no-pager", f"CONTAINER_ID_FULL={container_id}"]
    argv += ["--no-tail" if tail is None else f"--lines={tail}"] if follow or tail is not None else []
    for name, moment in (("since", since), ("until", until)):
        if moment is not None:
            argv.append(f"--{name}=@{moment // 10**9}.{moment % 10**9 // 1000:06d}")
    if follow:
        argv.append("--follow")
    for line in _lines(argv, (alive or (lambda: False)) if follow else None):
        found = entry(line, timestamps)
        if found is not None:
            yield found


def entry(line: bytes, timestamps: bool) -> tuple[str, bytes] | None:
    """Return (stream, text) of one line of journalctl's JSON, or None for one that is no container's output."""
    from .. import lightjson as json
    from ..clock import rfc3339

    try:
        fields = json.loads(line)
        message = fields.get("MESSAGE")
        # what is no UTF-8 comes as a list of numbers
        text = bytes(message) if isinstance(message, list) else (message or "").encode("utf-8", "replace")
        stream = "stderr" if fields.get("PRIORITY") == "3" else "stdout"
        if fields.get("CONTAINER_PARTIAL_MESSAGE") != "true":
            text += b"\n"
        if timestamps:
            text = rfc3339(int(fields["__REALTIME_TIMESTAMP"]) * 1000).encode() + b" " + text
        return stream, text
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _lines(argv: list[str], alive: Callable[[], bool] | None) -> Iterator[bytes]:
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        stdout = process.stdout.fileno()  # type: ignore[union-attr]
        poll = select.poll()
        poll.register(stdout, select.POLLIN)
        part = b""
        try:
            while True:
                live = alive is None or alive()  # asked first: what was written before the end still comes
                if not poll.poll(None if alive is None else _LOOK_MS):
                    if not live:
                        return
                    continue
                block = os.read(stdout, _BLOCK)
                if not block:
                    return
                lines = (part + block).split(b"\n")
                part = lines.pop()
                yield from lines
        finally:
            if process.poll() is None:
                process.terminate()
