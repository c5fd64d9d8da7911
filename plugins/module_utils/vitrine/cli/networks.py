# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""network create, ls, inspect, rm, connect, disconnect, prune, reload."""

from __future__ import annotations

import sys

from ..engine import parse
from ..errors import InvalidInput, NotFound
from . import table
from .flags import Command, Options, option, switch
from .lifecycle import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..engine import Engine

_FILTERS = ("dangling", "driver", "id", "label", "name", "scope", "type")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}

COMMANDS = {
    "network create": Command(
        "network create", "Make a network", "create", "NETWORK", 1, 1,
        (
            option("driver", "d", value="NAME", help="Driver: bridge, macvlan, ipvlan"),
            option("subnet", value="CIDR", many=True, help="Subnet, IPv4 or IPv6, such as 10.5.0.0/24"),
            option("gateway", value="IP", many=True, help="Gateway in a subnet; its first address, if none is given"),
            option("ip-range", value="CIDR", many=True, help="Part of a subnet that addresses are chosen from"),
            option("aux-address", value="NAME=IP", many=True, help="Address that no container gets"),
            switch("internal", help="Nothing goes out of the network, or comes in"),
            option("ipv6", value="BOOL", help="IPv6: true, false; where the host has it, if not given"),
            option("ipv4", value="BOOL", help="IPv4: true, false"),
            option("opt", "o", value="KEY=VALUE", many=True, help="Option of the driver: parent=eth0, mtu=1400"),
            option("label", value="KEY[=VALUE]", many=True, help="Set a label"),
            switch("attachable", help="Nothing more than said by 'network inspect': every network is"),
        ),
    ),
    "network ls": Command(
        "network ls", "List networks", "ls",
        flags=(
            option("filter", "f", value="KEY=VALUE", many=True, help=f"Filter: {', '.join(_FILTERS)}"),
            switch("no-trunc", help="Do not cut ids"),
            switch("quiet", "q", help="Only print ids"),
            table.FORMAT,
        ),
    ),
    "network inspect": Command(
        "network inspect", "Show everything known about networks, as JSON", "inspect", "NETWORK [NETWORK...]", 1, -1,
        (
            option("format", "f", value="FORMAT", help="As json, or a text with keys such as {{.IPAM}}"),
            switch("verbose", "v", help="What the kernel has of it too, under the key Kernel (needs pyroute2)"),
        ),
    ),
    "network rm": Command(
        "network rm", "Remove networks", "remove", "NETWORK [NETWORK...]", 1, -1,
        (switch("force", "f", help="One that is not there is no error"),),
    ),
    "network connect": Command(
        "network connect", "Put a container on a network", "connect", "NETWORK CONTAINER", 2, 2,
        (
            option("alias", value="NAME", many=True, help="Another name for the container on this network"),
            option("driver-opt", value="KEY=VALUE", many=True, help="Option of the endpoint, kept for 'inspect'"),
            option("gw-priority", value="N", help="The highest of all its networks has the default route"),
            option("ip", value="IP", help="IPv4 address"),
            option("ip6", value="IP", help="IPv6 address"),
        ),
    ),
    "network disconnect": Command(
        "network disconnect", "Take a container off a network", "disconnect", "NETWORK CONTAINER", 2, 2,
        (switch("force", "f", help="No different: it is never asked for the container's consent"),),
    ),
    "network prune": Command(
        "network prune", "Remove networks that no container is on", "prune",
        flags=(
            switch("force", "f", help="Do not ask"),
            option("filter", value="KEY=VALUE", many=True, help="Filter: until=TIME, label=KEY[=VALUE], label!=..."),
        ),
    ),
    "network reload": Command(
        "network reload", "Make good what others took of the packet filter, for all running containers", "reload"
    ),
}  # fmt: skip


def _truth(text: str | None, flag: str) -> bool | None:
    if text is None:
        return None
    if text not in _TRUTH:
        raise InvalidInput(f"--{flag} is {text!r}", hint="write true or false", value=text)
    return _TRUTH[text]


def create(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine network create"""
    identity = engine.networks.create(
        operands[0],
        driver=options.driver or "bridge",
        subnets=[word for text in options.subnet for word in text.split(",")],
        gateways=[word for text in options.gateway for word in text.split(",")],
        ip_ranges=[word for text in options.ip_range for word in text.split(",")],
        aux_addresses=parse.pairs(options.aux_address, "aux-address"),
        internal=options.internal,
        ipv6=_truth(options.ipv6, "ipv6"),
        ipv4=_truth(options.ipv4, "ipv4") is not False,
        options=parse.pairs(options.opt, "opt"),
        labels=dict(map(parse.label, options.label)),
        attachable=options.attachable,
    )
    sys.stdout.write(f"{identity}\n")
    return 0


def _shown(record: dict[str, Any], filters: list[tuple[str, str]], used: set[str]) -> bool:
    """Whether a network passes filters; several of one key are alternatives, but for labels."""
    wanted: dict[str, list[bool]] = {}
    for key, value in filters:
        name = str(record["name"])
        if key == "label":
            label, equals, text = value.partition("=")
            found = label in record["labels"] and (not equals or record["labels"][label] == text)
            wanted.setdefault(f"label {value}", []).append(found)
            continue
        custom = name not in ("bridge", "host", "none")
        passes = {
            "driver": record["driver"] == value,
            "id": str(record["id"]).startswith(value),
            "name": value in name,
            "scope": value == "local",
            "type": custom == (value == "custom"),
            "dangling": (custom and name not in used) == _TRUTH.get(value, True),
        }
        wanted.setdefault(key, []).append(passes[key])
    return all(any(found) for found in wanted.values())


def ls(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine network ls"""
    filters = parse.filters(options.filter, _FILTERS)
    used: set[str] = set()
    if any(key == "dangling" for key, _value in filters):
        used = {one["name"] for one in engine.networks.all() if engine.networks.members(one["name"])}
    rows = []
    for record in engine.networks.all():
        if not _shown(record, filters, used):
            continue
        identity = record["id"] if options.no_trunc else record["id"][:12]
        if options.quiet:
            sys.stdout.write(f"{identity}\n")
            continue
        rows.append(
            {
                "ID": identity,
                "Name": record["name"],
                "Driver": record["driver"],
                "Scope": "local",
                "IPv6": str(record["enable_ipv6"]).lower(),
                "Internal": str(record["internal"]).lower(),
                "CreatedAt": record["created"],
                "Labels": ",".join(f"{key}={value}" for key, value in record["labels"].items()),
            }
        )
    if not options.quiet:
        columns = ("NETWORK ID", "NAME", "DRIVER", "SCOPE")
        table.print_rows(columns, rows, options.format, keys=("ID", "Name", "Driver", "Scope"))
    return 0


def inspect(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine network inspect"""
    documents = []
    missing = []
    for name in operands:
        try:
            documents.append(engine.networks.inspect(name, kernel=options.verbose))
        except NotFound as error:
            missing.append(error)
    return table.print_documents(documents, missing, options.format)


def remove(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine network rm"""

    def one(name: str) -> object:
        try:
            engine.networks.remove(name)
        except NotFound:
            if not options.force:
                raise
            return ""
        return None

    return each(operands, one)


def connect(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine network connect"""
    from ..engine import attaching

    wanted = parse.network_options(
        {
            "alias": options.alias,
            "ip": options.ip,
            "ip6": options.ip6,
            "gw-priority": options.gw_priority,
            "driver-opt": options.driver_opt,
        }
    )
    attaching.connect(engine, operands[0], operands[1], wanted)
    return 0


def disconnect(engine: Engine, _options: Options, operands: list[str]) -> int:
    """vitrine network disconnect"""
    from ..engine import attaching

    attaching.disconnect(engine, operands[0], operands[1])
    return 0


def prune(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine network prune"""
    conditions = parse.filters(options.filter, ("until", "label", "label!"))
    if not options.force:
        sys.stdout.write(
            "WARNING! This will remove all networks that no container is on.\nAre you sure you want to continue? [y/N] "
        )
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return 0

    def kept(record: dict[str, Any]) -> bool:
        for key, value in conditions:
            if key == "until":
                created = table.seconds_of(record["created"])
                if created is None or created * 1e9 > table.moment(value):
                    return True
                continue
            label, equals, text = value.partition("=")
            found = label in record["labels"] and (not equals or record["labels"][label] == text)
            if found == (key == "label!"):
                return True
        return False

    removed = engine.networks.prune(kept)
    if removed:
        sys.stdout.write("Deleted Networks:\n" + "".join(f"{name}\n" for name in removed) + "\n")
    return 0


def reload(engine: Engine, _options: Options, _operands: list[str]) -> int:
    """vitrine network reload"""
    for identity in engine.networks.reload():
        sys.stdout.write(f"{identity}\n")
    return 0
