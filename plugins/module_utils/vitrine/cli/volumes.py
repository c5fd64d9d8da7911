# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""volume create, volume inspect, volume ls, volume rm."""

from __future__ import annotations

import sys

from ..engine import parse, volumes
from ..engine.spec import anonymous
from ..errors import InvalidInput, NotFound
from . import table
from .flags import Command, Options, option, switch
from .lifecycle import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..engine import Engine

_FILTERS = ("dangling", "driver", "label", "name")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}

COMMANDS = {
    "volume create": Command(
        "volume create", "Make a volume", "create", "[VOLUME]", 0, 1,
        (
            option("driver", "d", value="NAME", choices=("local",), help="Driver: local, the only one"),
            option("label", value="KEY[=VALUE]", many=True, help="Set a label"),
        ),
    ),
    "volume inspect": Command(
        "volume inspect", "Show everything known about volumes, as JSON", "inspect", "VOLUME [VOLUME...]", 1, -1,
        (option("format", "f", value="FORMAT", help="As json, or a text with keys such as {{.Mountpoint}}"),),
        complete="volume",
    ),
    "volume ls": Command(
        "volume ls", "List volumes", "ls",
        flags=(
            option("filter", "f", value="KEY=VALUE", many=True, help=f"Filter: {', '.join(_FILTERS)}"),
            switch("quiet", "q", help="Only print names"),
            table.FORMAT,
        ),
    ),
    "volume rm": Command(
        "volume rm", "Remove volumes", "remove", "VOLUME [VOLUME...]", 1, -1,
        (switch("force", "f", help="One that is not there is no error"),), complete="volume",
    ),
}  # fmt: skip


def create(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine volume create"""
    if operands == [""]:
        raise InvalidInput("the volume's name is empty", hint="name it, or leave the name out", value="")
    name, _made = volumes.create(engine, operands[0] if operands else "", dict(map(parse.label, options.label)))
    sys.stdout.write(f"{name}\n")
    return 0


def inspect(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine volume inspect"""
    form = table.checked(options.format)
    documents, missing = [], []
    for name in operands:
        try:
            documents.append(volumes.document(engine.store.volumes.get(name)))
        except NotFound as error:
            missing.append(error)
    return table.print_documents(documents, missing, form)


def _passes(row: dict[str, Any], used: bool, filters: list[tuple[str, str]]) -> bool:
    labels = row["Labels"] or {}
    seen: dict[str, list[bool]] = {}
    for key, value in filters:
        label, equals, text = value.partition("=")
        outcome = {
            "dangling": used != _TRUTH.get(value, False),
            "driver": value == "local",
            "label": label in labels and (not equals or labels[label] == text),
            "name": value in row["Name"],
        }
        seen.setdefault(key, []).append(outcome[key])
    return all(all(found) if key == "label" else any(found) for key, found in seen.items())


def ls(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine volume ls"""
    filters = parse.filters(options.filter, _FILTERS, {"dangling": _TRUTH})
    taken = volumes.users(engine)
    rows = [volumes.document(volume) for volume in engine.store.volumes.list()]
    rows = [row for row in rows if _passes(row, row["Name"] in taken, filters)]
    if options.quiet:
        sys.stdout.write("".join(f"{row['Name']}\n" for row in rows))
        return 0
    shown = [
        {
            "Driver": "local",
            "Name": row["Name"],
            "Scope": "local",
            "Mountpoint": row["Mountpoint"],
            "CreatedAt": row["CreatedAt"],
            "Anonymous": str(anonymous(row["Name"])).lower(),
            "Labels": ",".join(f"{key}={value}" for key, value in (row["Labels"] or {}).items()),
        }
        for row in rows
    ]
    table.print_rows(("DRIVER", "VOLUME NAME"), shown, options.format, keys=("Driver", "Name"))
    return 0


def remove(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine volume rm"""
    return each(operands, lambda name: volumes.remove(engine, name, force=options.force))
