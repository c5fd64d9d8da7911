# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""container prune, image prune, volume prune, system prune, system df: what takes room, and making some."""

from __future__ import annotations

import sys

from ..engine import disk_use, pruning
from . import table
from .flags import Command, Flag, Options, option, switch
from .progress import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine import Engine

_FORCE = switch("force", "f", help="Do not ask")


def _filter(keys: str) -> Flag:
    return option("filter", value="KEY=VALUE", many=True, help=f"Only those that match: {keys}")


_AGED, _LABELLED = _filter("until=TIME, label=KEY[=VALUE], label!=..."), _filter("label=KEY[=VALUE], label!=...")

COMMANDS = {
    "container prune": Command(
        "container prune", "Remove all containers that do not run", "containers", flags=(_FORCE, _AGED)
    ),
    "image prune": Command(
        "image prune", "Remove images that nothing needs", "images",
        flags=(switch("all", "a", help="Those with names too, if no container needs them"), _FORCE, _AGED),
    ),
    "volume prune": Command(
        "volume prune", "Remove volumes that no container uses", "volumes",
        flags=(switch("all", "a", help="Those with names of their own too"), _FORCE, _LABELLED),
    ),
    "system prune": Command(
        "system prune", "Remove all that nothing needs", "system",
        flags=(
            switch("all", "a", help="Images with names too, if no container needs them"),
            switch("volumes", help="Anonymous volumes too"),
            _FORCE, _AGED,
        ),
    ),
    "system df": Command("system df", "Show what takes room on the disk", "df", flags=(table.FORMAT,)),
}  # fmt: skip


def _agreed(options: Options, what: str) -> bool:
    """Ask, unless told not to. Without a terminal, nobody answers: as docker, no answer is a no."""
    if options.force:
        return True
    sys.stdout.write(f"WARNING! This will remove {what}.\nAre you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _told(title: str, gone: list[str]) -> None:
    if gone:
        sys.stdout.write("\n".join([f"Deleted {title}:", *gone]) + "\n\n")


def _reclaimed(freed: int) -> int:
    sys.stdout.write(f"Total reclaimed space: {size(freed)}\n")
    return 0


def containers(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine container prune"""
    choice = pruning.Choice(options.filter, table.moment)
    if not _agreed(options, "all containers that do not run"):
        return 0
    gone, freed = pruning.containers(engine, choice)
    _told("Containers", gone)
    return _reclaimed(freed)


def images(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine image prune"""
    choice = pruning.Choice(options.filter, table.moment)
    if not _agreed(options, "all images that no container needs" if options.all else "all images without a name"):
        return 0
    gone, freed = pruning.images(engine, choice, everything=options.all)
    _told("Images", gone)
    return _reclaimed(freed)


def volumes(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine volume prune"""
    choice = pruning.Choice(options.filter, table.moment, until=False)
    what = "all volumes" if options.all else "all anonymous volumes"
    if not _agreed(options, f"{what} that no container uses"):
        return 0
    gone, freed = pruning.unused_volumes(engine, choice, everything=options.all)
    _told("Volumes", gone)
    return _reclaimed(freed)


def system(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine system prune"""
    choice = pruning.Choice(options.filter, table.moment)
    what = ["all containers that do not run", "all networks that no container is on"]
    what += ["all anonymous volumes that no container uses"] if options.volumes else []
    what += ["all images that no container needs" if options.all else "all images without a name"]
    if not _agreed(options, ", ".join(what)):
        return 0
    gone, freed = pruning.containers(engine, choice)
    _told("Containers", gone)
    _told("Networks", engine.networks.prune(lambda record: not choice.takes(record["created"], record["labels"])))
    if options.volumes:
        labels = [word for word in options.filter if not word.startswith("until=")]
        removed, more = pruning.unused_volumes(engine, pruning.Choice(labels, table.moment, until=False))
        _told("Volumes", removed)
        freed += more
    removed, more = pruning.images(engine, choice, everything=options.all)
    _told("Images", removed)
    return _reclaimed(freed + more)


def df(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine system df"""
    rows = []
    for row in disk_use.summary(engine):
        share = f" ({100 * row['Reclaimable'] // row['Size']}%)" if row["Size"] else ""
        rows.append(
            {
                "Type": row["Type"],
                "TotalCount": str(row["TotalCount"]),
                "Active": str(row["Active"]),
                "Size": size(row["Size"]),
                "Reclaimable": size(row["Reclaimable"]) + share,
            }
        )
    columns = ("TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE")
    table.print_rows(columns, rows, options.format, keys=("Type", "TotalCount", "Active", "Size", "Reclaimable"))
    return 0
