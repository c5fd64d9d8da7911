# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet filter of one bridge: one nf_tables table, made once; one map element for each published port.

A container without published ports changes nothing here. An element's comment is its container's id: that is how
those of containers that are gone are found again.

    chain early        packets from elsewhere to a container's own address are dropped; so are those for 127.0.0.0/8
                       that come out of our bridge, whose route_localnet would let them in (CVE-2020-8558)
    chain prerouting, output -> publish    host address and port -> container's address and port
    chain forward      into the bridge goes what is established, published, or comes from the bridge itself
    chain postrouting  masquerade: out of the subnet; from 127.0.0.1; from a container back into the bridge

Every base chain ends in accept, and every drop matches our own bridge: other tables' verdicts stay theirs.
"""

from __future__ import annotations

import errno
import struct

from ..errors import HostError
from ..linux import features
from . import nftables as nft
from .plan import PROTOCOLS, WILDCARD, mask, number, split, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from ..linux.netlink import Message, Netlink

LAYOUT = 1  # count up when the base ruleset changes: hosts then replace theirs, keeping the elements
EVERY, ONE = "ports", "ports_at"  # maps for ports on every address of the host, and on one
MAPS = (EVERY, ONE)
NO_TABLES = (errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EINVAL, errno.ENOENT)


def driver(plan: dict[str, Any]) -> ModuleType | None:
    """Make sure that the base ruleset of the plan's bridge is there. Returns None, or the fallback driver in use.

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
                    f"the packet filter for {plan['bridge']} could not be made: {error.strerror}",
                    hint="the engine needs root (CAP_NET_ADMIN)" if error.errno == errno.EPERM else "",
                ) from None
            reason = str(error.strerror)
    from . import iptables

    if not iptables.available():
        raise HostError(
            f"this host cannot publish ports or masquerade: nf_tables: {reason}; iptables-restore is not installed",
            hint="load the modules nf_tables, nft_chain_nat, nft_masq, nft_ct and nft_fib_ipv4, or install iptables",
        )
    iptables.ensure(plan)
    return iptables


def fallback_in_use(names: dict[str, Any]) -> ModuleType | None:
    """Return the fallback driver when it has rules for these names and nf_tables has none.

    It runs a program: ask only while the bridge is there.
    """
    if present(names):
        return None
    from . import iptables

    return iptables if iptables.available() and iptables.present(names) else None


def present(names: dict[str, Any]) -> bool:
    """True when there is a table of that name."""
    try:
        with nft.open_netfilter() as netlink:
            return nft.exists(netlink, nft.get_table(names["table"]))
    except OSError:
        return False


# -- the base ruleset ------------------------------------------------------------------------------------------------


def marker(plan: dict[str, Any]) -> str:
    """Name of the empty chain that tells which ruleset a table holds."""
    return f"layout_{LAYOUT}_{plan['subnet'].replace('/', '_')}"


def ensure(plan: dict[str, Any]) -> None:
    """Make the table unless it is there as it should be; elements of an older one are kept. Raises OSError."""
    with nft.open_netfilter() as netlink:
        if nft.exists(netlink, nft.get_chain(plan["table"], marker(plan))):
            return
        kept = []
        for name in MAPS:
            try:
                kept += [(name, *found) for found in nft.read_elements(netlink, plan["table"], name)]
            except OSError:
                pass  # no such table yet
        elements = [(name, nft.element(key, data, comment)) for name, key, data, comment in kept]
        nft.commit(netlink, base(plan) + _by_map(nft.add_elements, plan["table"], elements))


def base(plan: dict[str, Any]) -> list[Message]:
    """Return the messages that replace a table by the base ruleset, in one transaction without a gap."""
    table, bridge = plan["table"], plan["bridge"]
    address, prefix = split(plan["subnet"])
    network = address & mask(prefix)
    into = nft.interface(nft.META_OIFNAME, bridge)
    out_of = nft.interface(nft.META_IIFNAME, bridge)
    elsewhere_in = nft.interface(nft.META_IIFNAME, bridge, equal=False)
    elsewhere_out = nft.interface(nft.META_OIFNAME, bridge, equal=False)
    from_subnet = nft.in_network(12, network, prefix)
    published = nft.has_bits(nft.CT_STATUS, nft.STATUS_DNAT)
    accept, drop = nft.verdict(nft.ACCEPT), nft.verdict(nft.DROP)
    publish = nft.to_this_host() + nft.verdict(nft.JUMP, "publish")
    port = nft.payload(2, 2, 2, nft.SLOT + 1)
    port_at = nft.payload(2, 2, 2, nft.SLOT + 2)
    return [
        nft.table(table),
        nft.delete_table(table),
        nft.table(table),
        nft.port_map(table, EVERY, 1, (nft.TYPE_PROTOCOL, nft.TYPE_SERVICE), (1, 2)),
        nft.port_map(table, ONE, 2, (nft.TYPE_IPV4, nft.TYPE_PROTOCOL, nft.TYPE_SERVICE), (4, 1, 2)),
        nft.chain(table, marker(plan)),
        nft.chain(table, "publish"),
        nft.chain(table, "early", "filter", nft.PREROUTING, -300),
        nft.chain(table, "prerouting", "nat", nft.PREROUTING, -100),
        nft.chain(table, "output", "nat", nft.OUTPUT, -100),
        nft.chain(table, "forward", "filter", nft.FORWARD, 0),
        nft.chain(table, "postrouting", "nat", nft.POSTROUTING, 100),
        nft.rule(table, "early", elsewhere_in, nft.in_network(16, network, prefix), drop),
        nft.rule(table, "early", out_of, nft.in_network(16, 127 << 24, 8), drop),
        nft.rule(table, "prerouting", publish),
        nft.rule(table, "output", publish),
        nft.rule(
            table,
            "publish",
            nft.payload(1, 16, 4) + nft.meta(nft.META_L4PROTO, nft.SLOT + 1) + port_at,
            nft.lookup(ONE, 2) + nft.destination_nat(),
        ),
        nft.rule(
            table,
            "publish",
            nft.meta(nft.META_L4PROTO) + port,
            nft.lookup(EVERY, 1) + nft.destination_nat(),
        ),
        nft.rule(table, "forward", into, nft.has_bits(nft.CT_STATE, nft.STATE_ESTABLISHED_RELATED), accept),
        nft.rule(table, "forward", into, out_of, accept),
        nft.rule(table, "forward", into, published, accept),
        nft.rule(table, "forward", into, drop),
        nft.rule(table, "postrouting", from_subnet, elsewhere_out, nft.masquerade()),
        nft.rule(table, "postrouting", nft.in_network(12, 127 << 24, 8), into, nft.masquerade()),
        nft.rule(table, "postrouting", from_subnet, into, published, nft.masquerade()),
    ]


def remove(table: str) -> bool:
    """Remove a table and all that is in it; False when there is none. Raises OSError."""
    try:
        with nft.open_netfilter() as netlink:
            nft.commit(netlink, [nft.delete_table(table)])
    except OSError as error:
        if error.errno not in NO_TABLES:
            raise
        return False
    return True


# -- published ports -------------------------------------------------------------------------------------------------


def _place(mapping: list[Any], address: str) -> tuple[str, bytes, bytes]:
    """Where a mapping belongs: (map, key, data). Each field of a key is padded to four bytes."""
    host_ip, host_port, container_port, protocol = mapping
    key = struct.pack(">B3xH2x", PROTOCOLS[protocol], host_port)
    data = struct.pack(">IH2x", number(address), container_port)
    if host_ip in ("", WILDCARD):
        return EVERY, key, data
    return ONE, struct.pack(">I", number(host_ip)) + key, data


def add_ports(plan: dict[str, Any]) -> None:
    """Publish the ports of a plan. A stale element in the way is replaced: who holds the port is its owner.

    Raises OSError (ENOENT: the table is gone).
    """
    places = [_place(mapping, plan["address"]) for mapping in plan["ports"]]
    table, owner = plan["table"], plan["container_id"]
    elements = [(name, nft.element(key, data, owner)) for name, key, data in places]
    added = _by_map(nft.add_elements, table, elements)
    with nft.open_netfilter() as netlink:
        try:
            nft.commit(netlink, added)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.EBUSY):
                raise
            mine = {(name, key) for name, key, _data in places}
            stale = [(name, nft.element(key)) for name, key, *_rest in _dump(netlink, table) if (name, key) in mine]
            nft.commit(netlink, _by_map(nft.delete_elements, table, stale) + added)


def _by_map(make: Any, table: str, elements: list[tuple[str, bytes]]) -> list[Message]:
    """Return as few messages as can hold all elements, (map, element): an attribute ends at 64 KiB."""
    messages = []
    for name in MAPS:
        of_map = [element for where, element in elements if where == name]
        messages += [make(table, name, of_map[start : start + 400]) for start in range(0, len(of_map), 400)]
    return messages


def remove_ports(table: str, gone: Any) -> int:
    """Remove the elements for which gone(container_id, address) is true; returns how many. Raises OSError."""
    with nft.open_netfilter() as netlink:
        stale = [
            (name, nft.element(key))
            for name, key, data, owner in _dump(netlink, table)
            if gone(owner, text(int.from_bytes(data[:4], "big")))
        ]
        if stale:
            nft.commit(netlink, _by_map(nft.delete_elements, table, stale))
        return len(stale)


def published(table: str) -> list[tuple[str, int, str, str, int, str]]:
    """Return what is published, sorted: (host_ip or "", host_port, protocol, address, container_port, container_id)."""
    names = {value: name for name, value in PROTOCOLS.items()}
    found = []
    with nft.open_netfilter() as netlink:
        for name, key, data, owner in _dump(netlink, table):
            host_ip = text(int.from_bytes(key[:4], "big")) if name == ONE else ""
            protocol, host_port = struct.unpack(">B3xH2x", key[-8:])
            address, container_port = struct.unpack(">IH2x", data)
            entry = (host_ip, host_port, names.get(protocol, str(protocol)), text(address), container_port, owner)
            found.append(entry)
    return sorted(found)


def _dump(netlink: Netlink, table: str) -> list[tuple[str, bytes, bytes, str]]:
    found = []
    for name in MAPS:
        try:
            found += [(name, *one) for one in nft.read_elements(netlink, table, name)]
        except OSError as error:
            if error.errno not in NO_TABLES:
                raise
    return found
