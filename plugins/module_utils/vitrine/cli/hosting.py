# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""boot, shutdown, generate: what a host's own start and stop call, and the units that do it for one container."""

from __future__ import annotations

import os
import sys

from ..errors import InvalidInput
from .flags import Command, Options, option, switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine import Engine

COMMANDS = {
    "boot": Command("boot", "Start what its restart policy wants started after a reboot", "boot"),
    "shutdown": Command(
        "shutdown", "Stop all containers before the host goes down; what should run comes back with 'vitrine boot'",
        "shutdown",
        flags=(option("time", "t", value="SECONDS", help="After how long to kill what has not stopped"),),
    ),
    "generate": Command(
        "generate", "Write a systemd unit for a container", "generate", "systemd CONTAINER", 2, 2, complete="container",
        flags=(
            switch("files", "f", help="Write it to a file in this folder rather than to the output"),
            switch("name", "n", help="Call the container by its name in it, not by its id"),
            switch("new", help="Make a new container at each start, and remove it at each stop"),
            option("restart-policy", value="POLICY", help="As systemd has it: no, on-failure, always, ..."),
            option("time", "t", value="SECONDS", help="Seconds to wait before killing the container at a stop"),
        ),
    ),
}  # fmt: skip


def seconds(text: str | None) -> int | None:
    """A --time of at least 0; None when it is not given."""
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise InvalidInput(f"--time is {text!r}", hint="write whole seconds, at least 0", value=text)
    return int(text)


def boot(engine: Engine, _options: Options, _operands: list[str]) -> int:
    """vitrine boot"""
    from ..engine import booting

    return _told(engine.system.boot(), booting.STARTED)


def shutdown(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine shutdown"""
    from ..engine import booting

    return _told(engine.system.shutdown(seconds(options.time)), booting.STOPPED)


def _told(outcomes: list[tuple[str, str]], good: str) -> int:
    failed = False
    for name, outcome in outcomes:
        sys.stdout.write(f"{name}: {outcome}\n")
        failed = failed or outcome != good
    return int(failed)


def generate(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine generate systemd"""
    kind, name = operands
    if kind != "systemd":
        raise InvalidInput(f"cannot generate {kind!r}", hint="write: vitrine generate systemd CONTAINER", value=kind)
    from ..engine import units

    file, text = units.of_container(
        engine,
        name,
        by_name=options.name or options.new,
        new=options.new,
        restart=options.restart_policy or "on-failure",
        stop_seconds=seconds(options.time),
    )
    if not options.files:
        sys.stdout.write(f"# {file}\n{text}")
        return 0
    path = os.path.abspath(file)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    sys.stdout.write(path + "\n")
    return 0


def tell_ready() -> None:
    """Tell systemd, where it started this command and wants to know, that the container runs (sd_notify(3))."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if not address:
        return
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notice:
        try:
            notice.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            pass  # nobody listens: systemd says itself what it misses
