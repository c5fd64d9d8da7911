# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet filter on hosts without nf_tables: the same behaviour for IPv4 by iptables-save and -restore.

Four chains named after the table (raw, filter, and two in nat), each reached by one jump. A published port is one
rule whose comment is its container's id. Slow (programs are run), and only ever used where nf_tables cannot be.
"""

from __future__ import annotations

from ..errors import HostError
from ..linux import command
from .plan import WILDCARD, bridged, publishers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def available() -> bool:
    """True when the host has the programs."""
    return bool(command.which("iptables-restore") and command.which("iptables-save"))


def _save(table: str) -> list[str]:
    done = command.run(["iptables-save", "-t", table])
    return done.stdout.decode("utf-8", "replace").splitlines() if done.status == 0 else []


def _restore(sections: dict[str, list[str]]) -> None:
    lines = []
    for table, rules in sections.items():
        if rules:
            lines += [f"*{table}", *rules, "COMMIT"]
    if not lines:
        return
    done = command.run(
        ["iptables-restore", "--noflush", "-w", "5"], input="".join(f"{one}\n" for one in lines).encode()
    )
    if done.status:
        raise HostError(
            f"iptables-restore failed: {done.stderr.decode('utf-8', 'replace').strip()}",
            hint="load the kernel modules iptable_nat, iptable_filter, iptable_raw, xt_conntrack, xt_addrtype",
        )


def present(names: dict[str, Any]) -> bool:
    """True when there are chains of this table name."""
    return any(line.startswith(f":{names['table']}-PUB ") for line in _save("nat"))


def ensure(plan: dict[str, Any]) -> None:
    """Make the base rules, and those of the plan's bridges, unless they are there. Raises HostError."""
    for one in bridged(plan):
        if one["subnet"]:
            _ensure_bridge(plan["table"], one)


def _ensure_bridge(name: str, one: dict[str, Any]) -> None:
    current = _save("nat")
    mark = f"-A {name}-POST -s {one['subnet']} -o {one['bridge']} -m conntrack --ctstate DNAT -j MASQUERADE"
    if mark in current:
        return
    if not any(line.startswith(f":{name}-PUB ") for line in current):
        _restore(_base(name))
    _restore(_without(name, one["bridge"]))
    _restore(_bridge(name, one, mark))


def _base(name: str) -> dict[str, list[str]]:
    return {
        "raw": [f":{name}-RAW - [0:0]", f"-A PREROUTING -j {name}-RAW"],
        "filter": [f":{name}-FWD - [0:0]", f"-I FORWARD 1 -j {name}-FWD"],
        "nat": [
            f":{name}-PUB - [0:0]",
            f":{name}-POST - [0:0]",
            f"-A PREROUTING -m addrtype --dst-type LOCAL -j {name}-PUB",
            f"-A OUTPUT -m addrtype --dst-type LOCAL -j {name}-PUB",
            f"-A POSTROUTING -j {name}-POST",
        ],
    }


def _bridge(name: str, one: dict[str, Any], mark: str) -> dict[str, list[str]]:
    """The rules of one bridge. What may not leave goes before what may come in."""
    bridge, subnet = one["bridge"], one["subnet"]
    into, out_of = f"-A {name}-FWD -o {bridge}", f"-I {name}-FWD 1 -i {bridge}"
    if one["internal"]:
        forward = [f"{out_of} ! -o {bridge} -j DROP", f"{into} -i {bridge} -j ACCEPT", f"{into} -j DROP"]
    else:
        forward = [
            f"{into} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            *([f"{into} -i {bridge} -j ACCEPT"] if one["icc"] else []),
            f"{into} -m conntrack --ctstate DNAT -j ACCEPT",
            f"{into} -j DROP",
        ]
    leave = one["masquerade"] and not one["internal"]
    return {
        "raw": [
            f"-A {name}-RAW -d {subnet} ! -i {bridge} -j DROP",
            f"-A {name}-RAW -d 127.0.0.0/8 -i {bridge} -j DROP",
        ],
        "filter": forward,
        "nat": [
            *([f"-A {name}-POST -s {subnet} ! -o {bridge} -j MASQUERADE"] if leave else []),
            f"-A {name}-POST -s 127.0.0.0/8 -o {bridge} -j MASQUERADE",
            mark,
        ],
    }


def bridges(names: dict[str, Any]) -> set[str]:
    """Return the names of the bridges that there are rules for."""
    found = set()
    for line in _save("nat"):
        words = line.split()
        if words[:2] == ["-A", f"{names['table']}-POST"] and "127.0.0.0/8" in words:
            found.add(words[words.index("-o") + 1])
    return found


def remove_network(names: dict[str, Any], bridge: str) -> None:
    """Remove the rules of one bridge. Raises HostError."""
    _restore(_without(names["table"], bridge))


def _without(name: str, bridge: str) -> dict[str, list[str]]:
    sections = {}
    for table in ("raw", "filter", "nat"):
        lines = [line for line in _save(table) if line.startswith(f"-A {name}-") and bridge in line.split()]
        sections[table] = [f"-D{line[2:]}" for line in lines]
    return sections


def remove(names: dict[str, Any]) -> None:
    """Remove all chains of this table name and the jumps to them. Raises HostError."""
    sections = {}
    for table in ("raw", "filter", "nat"):
        lines = _save(table)
        own = [line[1:].split()[0] for line in lines if line.startswith(f":{names['table']}-")]
        jumps = [f"-D{line[2:]}" for line in lines if line.startswith("-A ") and _target(line) in own]
        sections[table] = jumps + [f"-F {chain}" for chain in own] + [f"-X {chain}" for chain in own]
    _restore(sections)


def _target(line: str) -> str:
    words = line.split()
    return words[words.index("-j") + 1] if "-j" in words else ""


def add_ports(plan: dict[str, Any]) -> None:
    """Publish the ports of a plan; a rule in the way is replaced. Raises HostError."""
    name = plan["table"]
    publisher = publishers(plan)[0]
    if publisher is None:
        return
    current = _published(name)
    lines = []
    for host_ip, host_port, container_port, protocol in plan["ports"]:
        if ":" in host_ip:
            continue
        key = ("" if host_ip == WILDCARD else host_ip, host_port, protocol)
        lines += [f"-D{line[2:]}" for line, found, _owner, _address in current if found == key]
        where = f"-d {key[0]}/32 " if key[0] else ""
        lines.append(
            f"-{'I' if key[0] else 'A'} {name}-PUB {where}-p {protocol} -m {protocol} --dport {host_port} -m comment "
            f"--comment {plan['container_id']} -j DNAT --to-destination {publisher['address']}:{container_port}"
        )
    _restore({"nat": lines})


def remove_ports(names: dict[str, Any], gone: Any) -> int:
    """Remove the rules for which gone(container_id, address) is true; returns how many. Raises HostError."""
    stale = [f"-D{line[2:]}" for line, _key, owner, address in _published(names["table"]) if gone(owner, address)]
    _restore({"nat": stale})
    return len(stale)


def _published(name: str) -> list[tuple[str, tuple[str, int, str], str, str]]:
    """Return the rules of published ports: (line, (host_ip, host_port, protocol), container_id, address)."""
    found = []
    for line in _save("nat"):
        words = line.split()
        if words[:2] != ["-A", f"{name}-PUB"]:
            continue
        values = dict(zip(words, words[1:]))
        key = (values.get("-d", "").partition("/")[0], int(values.get("--dport", "0")), values.get("-p", ""))
        address = values.get("--to-destination", "").partition(":")[0]
        found.append((line, key, values.get("--comment", "").strip('"'), address))
    return found
