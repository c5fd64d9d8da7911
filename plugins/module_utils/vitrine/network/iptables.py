# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet filter on hosts without nf_tables: what ``rules`` does, by iptables-save and -restore, for both families.

Programs are run, so this is slow, and only ever used where nf_tables cannot be. A change is one call of -restore for
each family, whose every table the kernel replaces at once. Of a network table named T and a bridge named B:

    raw     PREROUTING -> T-RAW -> B-G     packets from elsewhere to a network's own addresses, and to 127.0.0.0/8
    filter  FORWARD -> T-FWD -> T-OUT -> B-O    what may not leave (internal, isolate; T-TO: into any bridge of ours)
                             -> T-IN  -> B-I    what comes in (T-FROM: out of any bridge of ours)
                             -> T-PASS          the rest of what bridges send; a comment tells what the chains of B hold
    nat     PREROUTING, OUTPUT -> T-PUB         a rule for each published port, whose comment is its container's id
            POSTROUTING -> T-POST -> B-L        masquerade
"""

from __future__ import annotations

from ..errors import HostError
from ..linux import command
from .plan import WILDCARD, WILDCARD6, bridged, publishers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Sections = dict[str, list[str]]  # by table

TABLES = ("raw", "filter", "nat")
LAYOUT = "3"  # count up when the base changes
_NO_LOOPBACK = "! -d 127.0.0.0/8 "  # no link may bring what is for there
BASE = {
    "raw": ("RAW",),
    "filter": ("FWD", "OUT", "IN", "PASS", "TO", "FROM"),
    "nat": ("PUB", "POST"),
}
BRIDGE = {"raw": ("G",), "filter": ("O", "I"), "nat": ("L",)}


class _Family:
    """The programs of one address family. suffix: of an endpoint's keys; bits: of an address."""

    def __init__(self, suffix: str, program: str, bits: int, wildcard: str) -> None:
        self.suffix, self.program, self.bits, self.wildcard = suffix, program, bits, wildcard

    def available(self) -> bool:
        return bool(command.which(f"{self.program}-restore") and command.which(f"{self.program}-save"))

    def save(self) -> Sections:
        """The rules that are there; none of a family that the kernel does not have."""
        sections: Sections = {table: [] for table in TABLES}
        if not self.available():
            return sections
        done = command.run([f"{self.program}-save"])
        table = ""
        for line in done.stdout.decode("utf-8", "replace").splitlines():
            if line.startswith("*"):
                table = line[1:].strip()
            elif table in sections and line[:1] in ":-":
                sections[table].append(line)
        return sections

    def restore(self, sections: Sections) -> None:
        """Carry changes out. Raises HostError."""
        lines: list[str] = []
        for table, rules in sections.items():
            if rules:
                lines += [f"*{table}", *rules, "COMMIT"]
        if not lines:
            return
        text = "".join(f"{line}\n" for line in lines).encode()
        done = command.run([f"{self.program}-restore", "--noflush", "-w", "5"], input=text)
        if done.status:
            modules = " ".join(f"{self.program[:-1]}_{table}" for table in TABLES)
            raise HostError(
                f"{self.program}-restore failed: {done.stderr.decode('utf-8', 'replace').strip()}",
                hint=f"load the kernel modules: modprobe -a {modules} xt_conntrack xt_addrtype xt_comment",
            )


FAMILIES = (_Family("", "iptables", 32, WILDCARD), _Family("6", "ip6tables", 128, WILDCARD6))


def available(suffix: str = "") -> bool:
    """True when the host has the programs. suffix "6": those of IPv6."""
    return FAMILIES[bool(suffix)].available()


def usable(suffix: str = "") -> bool:
    """True when the kernel knows a family's address translation, too."""
    family = FAMILIES[bool(suffix)]
    return family.available() and command.run([f"{family.program}-save", "-t", "nat"]).status == 0


def present(names: dict[str, Any]) -> bool:
    """True when there are chains of this table name."""
    return any(_has_base(family.save(), names["table"]) for family in FAMILIES)


def _has_base(there: Sections, name: str) -> bool:
    return any(line.startswith(f":{name}-PUB ") for line in there["nat"])


# -- bridges ---------------------------------------------------------------------------------------------------------


def ensure(plan: dict[str, Any]) -> None:
    """Make the base rules, and those of the plan's bridges, unless they are there. Raises HostError."""
    name = plan["table"]
    for family in FAMILIES:
        wanted = [one for one in bridged(plan) if one["subnet" + family.suffix]]
        if not wanted:
            continue
        there = family.save()
        changes = _base(name, there, "" if family.bits == 32 else "! -d ::1/128 ")
        for one in wanted:
            made = _bridge(name, one, family)
            if not all(_stands(line, there[table], name) for table, lines in made.items() for line in lines):
                _add(changes, _without(there, name, one["bridge"]))
                _add(changes, made)
        family.restore(changes)


def _stands(line: str, there: list[str], name: str) -> bool:
    """Whether a rule in one of the table's own chains is there; what is in a bridge's chains its marker tells."""
    return not line.startswith(f"-A {name}-") or line in there


def marker(one: dict[str, Any], suffix: str) -> str:
    """What tells which rules are in the chains of an endpoint's bridge: a comment."""
    value = 0
    switches = [one[key] for key in ("internal", "icc", "masquerade", "isolate")]
    for letter in f"{LAYOUT} {one['subnet' + suffix]} {switches}":
        value = (value * 31 + ord(letter)) & 0xFFFFFFFF
    return f"is{value:08x}"


def _add(sections: Sections, more: Sections) -> None:
    for table, lines in more.items():
        sections[table] += lines


def _base(name: str, there: Sections, aside: str) -> Sections:
    """The chains of a table and what leads to them, as far as they are missing.

    aside: which of the host's own packets are left alone: from ::1 nothing can be sent to others.
    """
    wanted = {
        "raw": [("-A PREROUTING", f"{name}-RAW")],
        "filter": [(f"-A {name}-FWD", f"{name}-{kind}") for kind in ("OUT", "IN", "PASS")]
        + [("-I FORWARD 1", f"{name}-FWD")],
        "nat": [
            (f"-A PREROUTING {'' if aside else _NO_LOOPBACK}-m addrtype --dst-type LOCAL", f"{name}-PUB"),
            (f"-A OUTPUT {aside}-m addrtype --dst-type LOCAL", f"{name}-PUB"),
            ("-A POSTROUTING", f"{name}-POST"),
        ],
    }
    made: Sections = {}
    for table, kinds in BASE.items():
        jumps = {(line.split()[1], _target(line)) for line in there[table] if line.startswith("-A ")}
        chains = {line[1:].split()[0] for line in there[table] if line.startswith(":")}
        made[table] = [f":{name}-{kind} - [0:0]" for kind in kinds if f"{name}-{kind}" not in chains]
        made[table] += [
            f"{rule} -j {target}" for rule, target in wanted[table] if (rule.split()[1], target) not in jumps
        ]
    for line in there["nat"] if not aside else ():  # as layout 2 had it
        if line.startswith("-A PREROUTING ") and _target(line) == f"{name}-PUB" and _NO_LOOPBACK not in line:
            rule, target = wanted["nat"][0]
            made["nat"] += [f"-D{line[2:]}", f"{rule} -j {target}"]
    return made


def _bridge(name: str, one: dict[str, Any], family: _Family) -> Sections:
    """The rules of one bridge; they mean the same as those of ``rules.network``."""
    bridge, subnet = one["bridge"], one["subnet" + family.suffix]
    dnat = "-m conntrack --ctstate DNAT"
    into: list[str] = []
    out_of: list[str] = []
    leave: list[str] = []
    if one["internal"]:
        into += [f"-i {bridge} -j ACCEPT"]
        out_of += [f"-o {bridge} -j ACCEPT", "-j DROP"]
    else:
        into += ["-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"]
        if one["icc"]:
            into += [f"-i {bridge} -j ACCEPT"]
        if one["isolate"]:
            into += [f"-i {bridge} {dnat} -j ACCEPT", f"-j {name}-FROM"]
            out_of += [f"-o {bridge} -j RETURN", f"-j {name}-TO"]
        into += [f"{dnat} -j ACCEPT"]
        if one["masquerade"]:
            leave += [f"! -o {bridge} -j MASQUERADE"]
    into += ["-j DROP"]
    leave += [f"-o {bridge} {dnat} -j MASQUERADE"]
    guard = [f"-i {bridge} -j RETURN", "-i lo -j RETURN"]
    if one["masquerade"] or one["internal"]:  # else answers come to a container's own address
        guard += ["-j DROP"]
    chains = {"G": guard, "O": out_of, "I": into, "L": leave}
    made = {
        table: [f":{bridge}-{kind} - [0:0]" for kind in kinds]
        + [f"-A {bridge}-{kind} {rule}" for kind in kinds for rule in chains[kind]]
        for table, kinds in BRIDGE.items()
    }
    made["raw"] += [f"-A {name}-RAW -d {subnet} -j {bridge}-G"]
    made["filter"] += [
        f"-A {name}-OUT -i {bridge} -j {bridge}-O",
        f"-A {name}-IN -o {bridge} -j {bridge}-I",
        f"-A {name}-PASS -i {bridge} -m comment --comment {marker(one, family.suffix)} -j ACCEPT",
        f"-A {name}-TO -o {bridge} -j DROP",
        f"-A {name}-FROM -i {bridge} -j DROP",
    ]
    made["nat"] += [f"-A {name}-POST -s {subnet} -j {bridge}-L"]
    if family.bits == 32:
        made["raw"] += [f"-A {name}-RAW -d 127.0.0.0/8 -i {bridge} -j DROP"]
        made["nat"] += [f"-A {name}-POST -s 127.0.0.0/8 -o {bridge} -j MASQUERADE"]
    return made


def _without(there: Sections, name: str, bridge: str) -> Sections:
    """What takes the rules of a bridge away."""
    made: Sections = {}
    for table, kinds in BRIDGE.items():
        chains = [
            f"{bridge}-{kind}" for kind in kinds if any(one.startswith(f":{bridge}-{kind} ") for one in there[table])
        ]
        made[table] = [
            f"-D{line[2:]}"
            for line in there[table]
            if line.startswith(f"-A {name}-") and {bridge, *chains} & set(line.split()[2:])
        ]
        made[table] += [f"{flag} {chain}" for flag in ("-F", "-X") for chain in chains]
    return made


def bridges(names: dict[str, Any]) -> set[str]:
    """Return the names of the bridges that there are rules for."""
    found = set()
    for family in FAMILIES:
        for line in family.save()["filter"]:
            words = line.split()
            if words[:3] == ["-A", f"{names['table']}-PASS", "-i"]:
                found.add(words[3])
    return found


def remove_network(names: dict[str, Any], bridge: str) -> None:
    """Remove the rules of one bridge. Raises HostError."""
    for family in FAMILIES:
        family.restore(_without(family.save(), names["table"], bridge))


def remove(names: dict[str, Any]) -> None:
    """Remove all that there is of a table, with its bridges. Raises HostError."""
    name = names["table"]
    listed = bridges(names)
    for family in FAMILIES:
        there = family.save()
        changes: Sections = {}
        for table, lines in there.items():
            own = [f"{name}-{kind}" for kind in BASE[table]]
            own += [f"{bridge}-{kind}" for bridge in listed for kind in BRIDGE[table]]
            own = [chain for chain in own if any(line.startswith(f":{chain} ") for line in lines)]
            jumps = [f"-D{line[2:]}" for line in lines if line.startswith("-A ") and _target(line) in own]
            changes[table] = jumps + [f"{flag} {chain}" for flag in ("-F", "-X") for chain in own]
        family.restore(changes)


def _target(line: str) -> str:
    words = line.split()
    return words[words.index("-j") + 1] if "-j" in words else ""


# -- published ports -------------------------------------------------------------------------------------------------


def add_ports(plan: dict[str, Any]) -> None:
    """Publish the ports of a plan; a rule in the way is replaced. Raises HostError."""
    name = plan["table"]
    for family, publisher in zip(FAMILIES, publishers(plan)):
        if publisher is None:
            continue
        address = publisher["address" + family.suffix]
        target = f"[{address}]" if family.bits == 128 else address
        current = _published(family.save(), name)
        lines = []
        for host_ip, host_port, container_port, protocol in plan["ports"]:
            if host_ip and (":" in host_ip) != (family.bits == 128):
                continue
            key = ("" if host_ip == family.wildcard else host_ip, host_port, protocol)
            lines += [f"-D{line[2:]}" for line, found, _owner, _address in current if found == key]
            where = f"-d {key[0]}/{family.bits} " if key[0] else ""
            lines.append(
                f"-{'I' if key[0] else 'A'} {name}-PUB {where}-p {protocol} -m {protocol} --dport {host_port} "
                f"-m comment --comment {plan['container_id']} -j DNAT --to-destination {target}:{container_port}"
            )
        family.restore({"nat": lines})


def remove_ports(names: dict[str, Any], gone: Any) -> int:
    """Remove the rules for which gone(container_id, address) is true; returns how many. Raises HostError."""
    number = 0
    for family in FAMILIES:
        published = _published(family.save(), names["table"])
        stale = [f"-D{line[2:]}" for line, _key, owner, address in published if gone(owner, address)]
        family.restore({"nat": stale})
        number += len(stale)
    return number


def _published(there: Sections, name: str) -> list[tuple[str, tuple[str, int, str], str, str]]:
    """Return the rules of published ports: (line, (host_ip, host_port, protocol), container_id, address)."""
    found = []
    for line in there["nat"]:
        words = line.split()
        if words[:2] != ["-A", f"{name}-PUB"]:
            continue
        values = dict(zip(words, words[1:]))
        key = (values.get("-d", "").partition("/")[0], int(values.get("--dport", "0")), values.get("-p", ""))
        address = values.get("--to-destination", "").rpartition(":")[0].strip("[]")
        found.append((line, key, values.get("--comment", "").strip('"'), address))
    return found
