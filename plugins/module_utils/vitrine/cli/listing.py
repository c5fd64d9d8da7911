# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""logs, inspect, diff, port: all about one thing."""

from __future__ import annotations

import os
import sys

from ..engine import volumes
from ..errors import ContainerNotFound, ImageNotFound, InvalidInput, NotFound, VitrineError
from . import table
from .flags import Command, Options, option, switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..engine import Engine

_KINDS = ("container", "image", "network", "volume")

COMMANDS = {
    "logs": Command(
        "logs", "Show the logs of a container", "logs", "CONTAINER", 1, 1, complete="container",
        flags=(
            switch("follow", "f", help="Go on as long as the container runs"),
            option("since", value="TIME", help="Only what came after: a time, or a duration such as 10m"),
            option("until", value="TIME", help="Only what came before"),
            option("tail", "n", value="N", help="Only the last N lines"),
            switch("timestamps", "t", help="Put the time before each line"),
        ),
    ),
    "inspect": Command(
        "inspect", "Show everything known about containers or images, as JSON", "inspect", "NAME [NAME...]", 1, -1,
        (
            option("type", value="TYPE", choices=_KINDS, help=f"Look for this kind only: {', '.join(_KINDS)}"),
            option("format", "f", value="FORMAT", help="As json, or a text with keys such as {{.State.Status}}"),
            switch("size", "s", help="Show how much containers wrote, too: SizeRw and SizeRootFs"),
        ),
        complete="container",
    ),
    "diff": Command(
        "diff", "Show what a container changed in its file system", "diff", "CONTAINER", 1, 1, complete="container"
    ),
    "port": Command(
        "port", "List a container's published ports", "port", "CONTAINER [PORT[/PROTO]]", 1, 2, complete="container"
    ),
}  # fmt: skip


# -- one container's output -----------------------------------------------------------------------------------------


def logs(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine logs"""
    tail = None
    if options.tail not in (None, "all"):
        if not options.tail.isdigit():
            raise InvalidInput(f"--tail is {options.tail!r}", hint="write a number, or all", value=options.tail)
        tail = int(options.tail)
    lines = engine.containers.logs(
        operands[0],
        follow=options.follow,
        since=None if options.since is None else table.moment(options.since),
        until=None if options.until is None else table.moment(options.until),
        tail=tail,
        timestamps=options.timestamps,
    )
    for stream, data in lines:
        fd = 2 if stream == "stderr" else 1
        while data:
            data = data[os.write(fd, data) :]
    dropped = engine.containers.observe(engine.containers.record(operands[0]).id)["log_dropped"]
    if dropped:
        sys.stderr.write(f"vitrine: {dropped} entries are missing: there was no room for them when they were written\n")
    return 0


def diff(engine: Engine, _options: Options, operands: list[str]) -> int:
    """vitrine diff"""
    for kind, path in engine.containers.changes(operands[0]):
        sys.stdout.buffer.write(kind.encode() + b" " + path + b"\n")
    sys.stdout.buffer.flush()
    return 0


def port(engine: Engine, _options: Options, operands: list[str]) -> int:
    """vitrine port"""
    bindings = engine.containers.inspect(operands[0])["NetworkSettings"]["Ports"]
    if len(operands) > 1:
        from ..engine import parse

        (wanted,) = parse.exposed(operands[1])[:1]
        if not bindings.get(wanted):
            raise NotFound(
                f"no public port {wanted!r} published for {operands[0]}",
                hint=f"see 'vitrine port {operands[0]}'",
                value=wanted,
            )
        for host in bindings[wanted]:
            sys.stdout.write(f"{_place(host)}\n")
        return 0
    for key, hosts in bindings.items():
        for host in hosts or ():
            sys.stdout.write(f"{key} -> {_place(host)}\n")
    return 0


def _place(host: dict[str, str]) -> str:
    """A host's address and port, an IPv6 one in brackets."""
    address = host["HostIp"] or "0.0.0.0"
    return f"[{address}]:{host['HostPort']}" if ":" in address else f"{address}:{host['HostPort']}"


# -- inspect --------------------------------------------------------------------------------------------------------


def _document(engine: Engine, name: str, kind: str | None, *, sizes: bool) -> dict[str, Any]:
    if kind in (None, "container"):
        try:
            document = engine.containers.inspect(name)
        except ContainerNotFound:
            if kind:
                raise
        else:
            return {**document, **(_sizes(engine, document["Id"]) if sizes else {})}
    if kind in (None, "image"):
        try:
            return engine.images.inspect(name)
        except (ImageNotFound, InvalidInput):
            if kind:
                raise
    if kind == "network":
        return engine.networks.inspect(name)
    try:
        return volumes.document(engine.store.volumes.get(name))
    except NotFound:
        if kind:
            raise
        if engine.store.networks.get(name) is not None:
            return engine.networks.inspect(name)
        hint = "see 'vitrine ps -a', 'vitrine images' and 'vitrine volume ls'"
        raise NotFound(f"no such object: {name}", hint=hint, value=name) from None


def _sizes(engine: Engine, container_id: str) -> dict[str, int]:
    from ..engine import disk_use

    written, whole = disk_use.of_container(engine, engine.containers.record(container_id))
    return {"SizeRw": written, "SizeRootFs": whole}


def inspect(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine inspect"""
    documents = []
    missing: list[VitrineError] = []
    for name in operands:
        try:
            documents.append(_document(engine, name, options.type, sizes=options.size))
        except NotFound as error:
            missing.append(error)
    return table.print_documents(documents, missing, options.format)
