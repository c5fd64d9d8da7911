# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet filter: one nf_tables table for IPv4 and one for IPv6, made once; a few map elements for each bridge, and
one for each published port. Every change is one transaction, and as large for the hundredth network as for the first.

A container without published ports changes nothing here. A port element's comment is its container's id: that is how
those of containers that are gone are found again.

    chain early        by destination: packets from elsewhere to a network's own addresses are dropped; so are those for
                       127.0.0.0/8 out of a bridge, whose route_localnet would let them in (CVE-2020-8558)
    chain prerouting, output -> publish    host address and port -> container's address and port; what is published on
                       127.0.0.0/8 by output only, as no link may bring packets for there
    chain forward      by incoming bridge: what may not leave (internal, isolate); by outgoing bridge: into a network
                       goes what is established, published, or comes from the network itself
    chain postrouting  by source: masquerade out of the network, and from a container back into it; from 127.0.0.1

Every base chain ends in accept, and every drop is reached by a bridge or network of ours: other tables' verdicts stay
theirs. A bridge's chains are called after it; of each one there is a marker, whose name tells what the others hold.
"""

from __future__ import annotations

import errno
import os
import struct

from ..errors import HostError
from ..linux import features
from . import addresses as ip
from . import nftables as nft
from .plan import PROTOCOLS, WILDCARD, WILDCARD6, bridged, publishers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from types import ModuleType
    from typing import Any

    from ..linux.netlink import Message, Netlink

LAYOUT = "layout_4"  # count up when the base ruleset changes: hosts then replace theirs, keeping the ports
EVERY, ONE = "ports", "ports_at"  # maps for ports on every address of the host, and on one
MAPS = (EVERY, ONE)
BRIDGES, INTO, OUT_OF, SUBNETS, SOURCES = "bridges", "into", "out_of", "subnets", "sources"
FAMILIES = (nft.IPV4, nft.IPV6)
NO_TABLES = (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EINVAL, errno.ENOENT)
_SUFFIX = {nft.IPV4: "", nft.IPV6: "6"}


def driver(plan: dict[str, Any]) -> ModuleType | None:
    """Make sure that the rules of the plan's bridges are there. Returns None, or the fallback driver in use.

    Raises HostError when the host can filter packets by neither nf_tables nor iptables.
    """
    reason = "it is switched off"
    if features.has("nf_tables"):
        try:
            ensure(plan)
            return None
        except OSError as error:
            if error.errno not in NO_TABLES:
                raise HostError(
                    f"the packet filter for {bridged(plan)[0]['bridge']} could not be made: {error.strerror}",
                    hint="the engine needs root (CAP_NET_ADMIN)" if error.errno == errno.EPERM else "",
                ) from None
            reason = str(error.strerror)
    from . import iptables

    if not iptables.available():
        raise HostError(
            f"this host cannot publish ports or masquerade: nf_tables: {reason}; iptables-restore is not installed",
            hint="load the modules nf_tables, nft_chain_nat, nft_masq, nft_ct, nft_fib_ipv4 and nft_fib_ipv6, "
            "or install iptables",
        )
    iptables.ensure(plan)
    return iptables


def usable(table: str, family: int = nft.IPV6) -> bool:
    """Whether this host's packet filter knows a family: a ruleset of it is made and taken away in one transaction."""
    trial = f"{table}_trial"
    if features.has("nf_tables"):
        try:
            with nft.open_netfilter() as netlink:
                nft.commit(netlink, base(trial, family) + nft.of_family([nft.delete_table(trial)], family))
            return True
        except OSError:
            if family == nft.IPV4 or usable(table, nft.IPV4):
                return False  # one family alone is no reason to do without nf_tables
    from . import iptables

    return iptables.usable(_SUFFIX[family])


def fallback_in_use(names: dict[str, Any]) -> ModuleType | None:
    """Return the fallback driver when it has rules for these names and nf_tables has none.

    It runs a program: ask only while a bridge is there.
    """
    if present(names):
        return None
    from . import iptables

    return iptables if iptables.available() and iptables.present(names) else None


def present(names: dict[str, Any]) -> bool:
    """True when there is a table of that name."""
    try:
        with nft.open_netfilter() as netlink:
            return bool(_tables(netlink, names["table"]))
    except OSError:
        return False


def _tables(netlink: Netlink, table: str) -> list[int]:
    """The families that have the table."""
    questions = [nft.of_family([nft.get_table(table)], family)[0] for family in FAMILIES]
    return [family for family, (error, _text) in zip(FAMILIES, netlink.transact(questions)) if not error]


# -- what should be there --------------------------------------------------------------------------------------------


def marker(one: dict[str, Any], family: int) -> str:
    """Name of the empty chain that tells which rules of an endpoint's bridge a table holds."""
    value = 0
    for (
        byte
    ) in f"{one['subnet' + _SUFFIX[family]]} {[one[key] for key in ('internal', 'icc', 'masquerade', 'isolate')]}":
        value = (value * 31 + ord(byte)) & 0xFFFFFFFF
    return f"is_{one['bridge']}_{value:08x}"


def ensure(plan: dict[str, Any]) -> None:
    """Make what is missing of the tables and of the plan's bridges, in one transaction. Raises OSError.

    Published ports of an older layout are kept.
    """
    table = plan["table"]
    wanted = [(family, one) for family in FAMILIES for one in bridged(plan) if one["subnet" + _SUFFIX[family]]]
    if not wanted:
        return
    families = [family for family in FAMILIES if any(family == other for other, _one in wanted)]
    questions = [(family, LAYOUT) for family in families]
    questions += [(family, marker(one, family)) for family, one in wanted]
    with nft.open_netfilter() as netlink:
        asked = [nft.of_family([nft.get_chain(table, name)], family)[0] for family, name in questions]
        there = {question for question, (error, _text) in zip(questions, netlink.transact(asked)) if not error}
        messages: list[Message] = []
        for family in families:
            if (family, LAYOUT) not in there:
                kept = [
                    (name, nft.element(key, data, owner)) for name, key, data, owner in _ports(netlink, table, family)
                ]
                messages += base(table, family) + nft.of_family(_by_map(nft.add_elements, table, kept), family)
        for family, one in wanted:
            if (family, LAYOUT) not in there:
                messages += network(table, one, family)
            elif (family, marker(one, family)) not in there:
                messages += _without(netlink, table, one["bridge"], family) + network(table, one, family)
        if messages:
            nft.commit(netlink, messages)


def base(table: str, family: int) -> list[Message]:
    """Return the messages that replace a table by the base ruleset, in one transaction without a gap."""
    first = 10 if family == nft.IPV6 else 0  # numbers of maps are unique in a transaction
    size, source, destination = (16, 8, 24) if family == nft.IPV6 else (4, 12, 16)
    address = nft.TYPE_IPV6 if family == nft.IPV6 else nft.TYPE_IPV4
    publish = nft.to_this_host() + nft.verdict(nft.JUMP, "publish")
    loopback = 127 << 24
    # What is published on 127.0.0.1 is for the host itself: a packet to there from a link is a neighbour's attempt.
    elsewhere = nft.payload(1, 16, 1) + nft.compare(b"\x7f", equal=False) if family == nft.IPV4 else b""
    # Nothing can be sent on that comes from ::1: left alone, it is refused at once, and who asked tries 127.0.0.1.
    aside = nft.payload(1, 24, 16) + nft.compare(b"\0" * 15 + b"\1", equal=False) if family == nft.IPV6 else b""
    after = nft.SLOT + size // 4
    messages = [
        nft.table(table),
        nft.delete_table(table),
        nft.table(table),
        nft.port_map(table, EVERY, first + 1, (nft.TYPE_PROTOCOL, nft.TYPE_SERVICE), (1, 2), family=family),
        nft.port_map(
            table, ONE, first + 2, (address, nft.TYPE_PROTOCOL, nft.TYPE_SERVICE), (size, 1, 2), family=family
        ),
        nft.name_set(table, BRIDGES, first + 3),
        nft.name_verdicts(table, INTO, first + 4),
        nft.name_verdicts(table, OUT_OF, first + 5),
        nft.subnet_verdicts(table, SUBNETS, first + 6, family=family),
        nft.subnet_verdicts(table, SOURCES, first + 7, family=family),
        nft.chain(table, LAYOUT),
        nft.chain(table, "publish"),
        nft.chain(table, "early", "filter", nft.PREROUTING, -300),
        nft.chain(table, "prerouting", "nat", nft.PREROUTING, -100),
        nft.chain(table, "output", "nat", nft.OUTPUT, -100),
        nft.chain(table, "forward", "filter", nft.FORWARD, 0),
        nft.chain(table, "postrouting", "nat", nft.POSTROUTING, 100),
        nft.rule(table, "early", nft.payload(1, destination, size), nft.by_verdict(SUBNETS, first + 6)),
        nft.rule(table, "prerouting", elsewhere + publish),
        nft.rule(table, "output", aside + publish),
        nft.rule(
            table,
            "publish",
            nft.payload(1, destination, size) + nft.meta(nft.META_L4PROTO, after) + nft.payload(2, 2, 2, after + 1),
            nft.lookup(ONE, first + 2) + nft.destination_nat(family),
        ),
        nft.rule(
            table,
            "publish",
            nft.meta(nft.META_L4PROTO) + nft.payload(2, 2, 2, nft.SLOT + 1),
            nft.lookup(EVERY, first + 1) + nft.destination_nat(family),
        ),
        nft.rule(table, "forward", nft.meta(nft.META_IIFNAME), nft.by_verdict(OUT_OF, first + 5)),
        nft.rule(table, "forward", nft.meta(nft.META_OIFNAME), nft.by_verdict(INTO, first + 4)),
        nft.rule(table, "postrouting", nft.payload(1, source, size), nft.by_verdict(SOURCES, first + 7)),
    ]
    if family == nft.IPV4:
        ours_in = nft.meta(nft.META_IIFNAME) + nft.in_set(BRIDGES, first + 3)
        ours_out = nft.meta(nft.META_OIFNAME) + nft.in_set(BRIDGES, first + 3)
        messages += [
            nft.rule(table, "early", ours_in, nft.in_network(16, loopback, 8), nft.verdict(nft.DROP)),
            nft.rule(table, "postrouting", nft.in_network(12, loopback, 8), ours_out, nft.masquerade()),
        ]
    return nft.of_family(messages, family)


def network(table: str, one: dict[str, Any], family: int) -> list[Message]:
    """Return the messages that add the rules of an endpoint's bridge to a table."""
    bridge = one["bridge"]
    inside, outside = nft.interface(nft.META_IIFNAME, bridge), nft.interface(nft.META_OIFNAME, bridge)
    accept, drop, back = nft.verdict(nft.ACCEPT), nft.verdict(nft.DROP), nft.verdict(nft.RETURN)
    published = nft.has_bits(nft.CT_STATUS, nft.STATUS_DNAT)
    from_ours = nft.meta(nft.META_IIFNAME) + nft.in_set(BRIDGES, 0)
    to_ours = nft.meta(nft.META_OIFNAME) + nft.in_set(BRIDGES, 0)
    rules: list[tuple[str, tuple[bytes, ...]]] = [
        ("guard", (inside, back)),
        ("guard", (nft.interface(nft.META_IIFNAME, "lo"), back)),  # the host speaking to its own address there
    ]
    if one["masquerade"] or one["internal"]:  # else answers come to a container's own address
        rules.append(("guard", (drop,)))
    if one["internal"]:
        rules += [("into", (inside, accept)), ("into", (drop,)), ("out_of", (outside, accept)), ("out_of", (drop,))]
    else:
        rules.append(("into", (nft.has_bits(nft.CT_STATE, nft.STATE_ESTABLISHED_RELATED), accept)))
        if one["icc"]:
            rules.append(("into", (inside, accept)))
        if one["isolate"]:
            rules += [("into", (inside, published, accept)), ("into", (from_ours, drop))]
            rules += [("out_of", (outside, back)), ("out_of", (to_ours, drop))]
        rules += [("into", (published, accept)), ("into", (drop,))]
        if one["masquerade"]:
            elsewhere = nft.interface(nft.META_OIFNAME, bridge, equal=False)
            rules.append(("leave", (elsewhere, nft.masquerade())))
    rules.append(("leave", (outside, published, nft.masquerade())))
    chains = list(dict.fromkeys(kind for kind, _steps in rules))
    key = os.fsencode(bridge).ljust(16, b"\0")
    first, end = _edges(one["subnet" + _SUFFIX[family]])
    subnet = one["subnet" + _SUFFIX[family]]
    messages = [nft.chain(table, marker(one, family)), *(nft.chain(table, f"{kind}_{bridge}") for kind in chains)]
    messages.append(nft.add_elements(table, BRIDGES, [nft.element(key)]))
    messages += [nft.rule(table, f"{kind}_{bridge}", *steps) for kind, steps in rules]
    for kind, name in (("into", INTO), ("out_of", OUT_OF)):
        if kind in chains:
            element = nft.verdict_element(key, nft.JUMP, f"{kind}_{bridge}")
            messages.append(nft.add_elements(table, name, [element]))
    for kind, name in (("guard", SUBNETS), ("leave", SOURCES)):
        element = nft.verdict_element(first, nft.JUMP, f"{kind}_{bridge}", subnet)
        messages.append(nft.add_elements(table, name, [element, nft.end_element(end)]))
    return nft.of_family(messages, family)


def _edges(subnet: str) -> tuple[bytes, bytes]:
    """A network's first address, and the first that is not in it any more."""
    parsed = ip.split(subnet)
    size = parsed[0] // 8
    return ip.base(parsed).to_bytes(size, "big"), (ip.last(parsed) + 1).to_bytes(size, "big")


def _without(netlink: Netlink, table: str, bridge: str, family: int) -> list[Message]:
    """Return the messages that take a bridge's rules out of a table."""
    key = os.fsencode(bridge).ljust(16, b"\0")
    messages = []
    for name in (BRIDGES, INTO, OUT_OF):
        if any(found == key for found, _data, _comment in _elements(netlink, table, name, family)):
            messages.append(nft.delete_elements(table, name, [nft.element(key)]))
    for name, kind in ((SUBNETS, "guard"), (SOURCES, "leave")):
        for _key, chain, subnet in _elements(netlink, table, name, family):
            if chain == os.fsencode(f"{kind}_{bridge}"):
                first, end = _edges(subnet)
                messages.append(nft.delete_elements(table, name, [nft.element(first), nft.end_element(end)]))
    markers, others = [], []
    for payload in nft.dump(netlink, nft.GETCHAIN, family):
        where, name = nft.chain_names(payload)
        if where == table and name in {f"{kind}_{bridge}" for kind in ("into", "guard", "leave", "out_of")}:
            others.append(nft.delete_chain(table, name))
        elif where == table and name.startswith(f"is_{bridge}_") and len(name) == len(bridge) + 12:
            markers.append(nft.delete_chain(table, name))
    return nft.of_family(messages + others + markers, family)


# -- taking away -----------------------------------------------------------------------------------------------------


def bridges(table: str) -> set[str]:
    """Return the names of all bridges that the tables know."""
    found = set()
    with nft.open_netfilter() as netlink:
        for family in _tables(netlink, table):
            for key, _data, _comment in _elements(netlink, table, BRIDGES, family):
                found.add(os.fsdecode(key.rstrip(b"\0")))
    return found


def remove_networks(table: str, gone: Collection[str]) -> list[str]:
    """Take the rules of bridges away, and with the last bridge the tables; returns what was removed, for people.

    One transaction. Raises OSError.
    """
    with nft.open_netfilter() as netlink:
        families = _tables(netlink, table)
        left = {
            os.fsdecode(key.rstrip(b"\0"))
            for family in families
            for key, _data, _comment in _elements(netlink, table, BRIDGES, family)
        }
        if left <= set(gone):
            messages = [nft.of_family([nft.delete_table(table)], family)[0] for family in families]
            removed = [f"table {table}"] if messages else []
        else:
            messages = [
                one
                for family in families
                for bridge in left & set(gone)
                for one in _without(netlink, table, bridge, family)
            ]
            removed = [f"rules of {bridge}" for bridge in sorted(left & set(gone))]
        if messages:
            nft.commit(netlink, messages)
    return removed


def remove(table: str) -> bool:
    """Remove the tables and all that is in them; False when there is none. Raises OSError."""
    with nft.open_netfilter() as netlink:
        families = _tables(netlink, table)
        if families:
            nft.commit(netlink, [nft.of_family([nft.delete_table(table)], family)[0] for family in families])
    return bool(families)


# -- published ports -------------------------------------------------------------------------------------------------


def _places(plan: dict[str, Any]) -> list[tuple[int, str, bytes, bytes]]:
    """Where a plan's mappings belong: (family, map, key, data). Each field of a key is padded to four bytes."""
    four, six = publishers(plan)
    found = []
    for host_ip, host_port, container_port, protocol in plan["ports"]:
        key = struct.pack(">B3xH2x", PROTOCOLS[protocol], host_port)
        for family, one, every in ((nft.IPV4, four, WILDCARD), (nft.IPV6, six, WILDCARD6)):
            if one is None or (host_ip and (":" in host_ip) != (family == nft.IPV6)):
                continue
            size = 16 if family == nft.IPV6 else 4
            data = ip.number(one["address" + _SUFFIX[family]]).to_bytes(size, "big") + struct.pack(
                ">H2x", container_port
            )
            if host_ip in ("", every):
                found.append((family, EVERY, key, data))
            else:
                found.append((family, ONE, ip.number(host_ip).to_bytes(size, "big") + key, data))
    return found


def add_ports(plan: dict[str, Any]) -> None:
    """Publish the ports of a plan. A stale element in the way is replaced: who holds the port is its owner.

    Raises OSError (ENOENT: the table is gone).
    """
    places = _places(plan)
    table, owner = plan["table"], plan["container_id"]
    added = []
    for family in FAMILIES:
        elements = [(name, nft.element(key, data, owner)) for where, name, key, data in places if where == family]
        added += nft.of_family(_by_map(nft.add_elements, table, elements), family)
    if not added:
        return
    with nft.open_netfilter() as netlink:
        try:
            nft.commit(netlink, added)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.EBUSY):
                raise
            mine = {(family, name, key) for family, name, key, _data in places}
            stale = []
            for family in FAMILIES:
                there = [(name, key) for name, key, *_rest in _ports(netlink, table, family)]
                elements = [(name, nft.element(key)) for name, key in there if (family, name, key) in mine]
                stale += nft.of_family(_by_map(nft.delete_elements, table, elements), family)
            nft.commit(netlink, stale + added)


def _by_map(make: Any, table: str, elements: list[tuple[str, bytes]]) -> list[Message]:
    """Return as few messages as can hold all elements, (map, element): an attribute ends at 64 KiB."""
    messages = []
    for name in MAPS:
        of_map = [element for where, element in elements if where == name]
        messages += [make(table, name, of_map[start : start + 400]) for start in range(0, len(of_map), 400)]
    return messages


def remove_ports(table: str, gone: Any) -> int:
    """Remove the elements for which gone(container_id, address) is true; returns how many. Raises OSError."""
    number, messages = 0, []
    with nft.open_netfilter() as netlink:
        for family in FAMILIES:
            stale = [
                (name, nft.element(key))
                for name, key, data, owner in _ports(netlink, table, family)
                if gone(owner, ip.text(int.from_bytes(data[:-4], "big"), len(data) * 8 - 32))
            ]
            number += len(stale)
            messages += nft.of_family(_by_map(nft.delete_elements, table, stale), family)
        if messages:
            nft.commit(netlink, messages)
    return number


def published(table: str) -> list[tuple[str, int, str, str, int, str]]:
    """Return what is published, sorted: (host_ip, host_port, protocol, address, container_port, container_id).

    host_ip is "" for every IPv4 address of the host, "::" for every IPv6 one.
    """
    names = {value: name for name, value in PROTOCOLS.items()}
    found = []
    with nft.open_netfilter() as netlink:
        for family in FAMILIES:
            for name, key, data, owner in _ports(netlink, table, family):
                every = WILDCARD6 if family == nft.IPV6 else ""
                width = len(data) * 8 - 32
                host_ip = ip.text(int.from_bytes(key[:-8], "big"), width) if name == ONE else every
                protocol, host_port = struct.unpack(">B3xH2x", key[-8:])
                (container_port,) = struct.unpack(">H2x", data[-4:])
                address = ip.text(int.from_bytes(data[:-4], "big"), width)
                found.append((host_ip, host_port, names.get(protocol, str(protocol)), address, container_port, owner))
    return sorted(found)


def _ports(netlink: Netlink, table: str, family: int) -> list[tuple[str, bytes, bytes, str]]:
    """The elements of all published ports: (map, key, data, container id)."""
    return [(name, *one) for name in MAPS for one in _elements(netlink, table, name, family)]


def _elements(netlink: Netlink, table: str, name: str, family: int) -> list[tuple[bytes, bytes, str]]:
    try:
        return nft.read_elements(netlink, table, name, family)
    except OSError as error:
        if error.errno not in NO_TABLES:
            raise
        return []
