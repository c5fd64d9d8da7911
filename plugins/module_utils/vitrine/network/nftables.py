# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nf_tables messages: tables, chains, rules, maps and their elements as bytes, sent as one atomic batch.

pyroute2 cannot write maps with concatenated keys, nor send a transaction. Sources: linux/netfilter/nf_tables.h,
libnftnl's and nft's documented wire formats; a test has nft(8) print and load again what is written here.
All integers in attributes are big endian; values of meta and ct registers are in the host's order.
"""

from __future__ import annotations

import errno
import os
import struct

from ..linux.netlink import (
    NETLINK_NETFILTER,
    NLM_F_APPEND,
    NLM_F_CREATE,
    Netlink,
    attribute,
    attributes,
    nested,
    text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..linux.netlink import Message

SUBSYSTEM = 10 << 8
BEGIN, END = 0x10, 0x11
NEWTABLE, GETTABLE, DELTABLE, NEWCHAIN, GETCHAIN = 0, 1, 2, 3, 4
DELCHAIN, NEWRULE, GETRULE, DELRULE, NEWSET, NEWSETELEM, GETSETELEM, DELSETELEM = 5, 6, 7, 8, 9, 12, 13, 14
IPV4, IPV6 = 2, 10

PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)
DROP, ACCEPT, JUMP, RETURN = 0, 1, -3, -5
# 16 byte registers, and their first 4 byte registers: REGISTER is the start of the same space as SLOT + 0.
VERDICT_REGISTER, REGISTER, SLOT = 0, 1, 8
SET_INTERVAL, SET_MAP = 0x4, 0x8
INTERVAL_END = 1
# Data types as nft numbers them, six bits each in a concatenation: for `nft list`, the kernel does not read them.
TYPE_IPV4, TYPE_IPV6, TYPE_PROTOCOL, TYPE_SERVICE, TYPE_IFNAME = 7, 8, 12, 13, 41
DATA_VERDICT = 0xFFFFFF00

META_OIFNAME, META_IIFNAME, META_L4PROTO = 7, 6, 16
CT_STATE, CT_STATUS = 0, 2
STATE_ESTABLISHED_RELATED = 2 | 4
STATUS_DNAT = 1 << 5


def _be32(value: int) -> bytes:
    return struct.pack(">i" if value < 0 else ">I", value)


def _message(kind: int, flags: int, *body: bytes, family: int = IPV4) -> Message:
    return SUBSYSTEM | kind, flags, struct.pack(">BBH", family, 0, 0) + b"".join(body)


def of_family(messages: Sequence[Message], family: int) -> list[Message]:
    """Return the same messages for another family's table: IPV4 is what they are made for."""
    return [(kind, flags, bytes((family,)) + body[1:]) for kind, flags, body in messages]


# -- objects ---------------------------------------------------------------------------------------------------------


def table(name: str) -> Message:
    return _message(NEWTABLE, NLM_F_CREATE, attribute(1, text(name)))


def delete_table(name: str) -> Message:
    return _message(DELTABLE, 0, attribute(1, text(name)))


def get_table(name: str) -> Message:
    return _message(GETTABLE, 0, attribute(1, text(name)))


def chain(table_name: str, name: str, kind: str = "", hook: int = 0, priority: int = 0) -> Message:
    """A chain; with a kind ("filter", "nat") a base chain at a hook, whose policy is accept."""
    body = [attribute(1, text(table_name)), attribute(3, text(name))]
    if kind:
        body.append(nested(4, attribute(1, _be32(hook)), attribute(2, struct.pack(">i", priority))))
        body.append(attribute(5, _be32(ACCEPT)))
        body.append(attribute(7, text(kind)))
    return _message(NEWCHAIN, NLM_F_CREATE, *body)


def get_chain(table_name: str, name: str) -> Message:
    return _message(GETCHAIN, 0, attribute(1, text(table_name)), attribute(3, text(name)))


def delete_chain(table_name: str, name: str) -> Message:
    """Delete a chain with its rules; nothing may lead to it any more."""
    return _message(DELCHAIN, 0, attribute(1, text(table_name)), attribute(3, text(name)))


def rule(table_name: str, chain_name: str, *expressions: bytes) -> Message:
    return _message(
        NEWRULE,
        NLM_F_CREATE | NLM_F_APPEND,
        attribute(1, text(table_name)),
        attribute(2, text(chain_name)),
        nested(4, *expressions),
    )


def insert_rule(family: int, table_name: str, chain_name: str, comment: str, *expressions: bytes) -> Message:
    """A rule before all others of a chain, in a table that may be of another family."""
    body = [attribute(1, text(table_name)), attribute(2, text(chain_name)), nested(4, *expressions)]
    return _message(NEWRULE, NLM_F_CREATE, *body, _userdata(7, comment), family=family)


def delete_rule(family: int, table_name: str, chain_name: str, handle: bytes) -> Message:
    body = [attribute(1, text(table_name)), attribute(2, text(chain_name)), attribute(3, handle)]
    return _message(DELRULE, 0, *body, family=family)


def port_map(
    table_name: str, name: str, identity: int, key_types: Sequence[int], key_sizes: Sequence[int], *, family: int = IPV4
) -> Message:
    """A map from a concatenated key to address . port. identity: any number, unique in the batch."""
    key_type = 0
    for one in key_types:
        key_type = key_type << 6 | one
    address, size = (TYPE_IPV6, 16) if family == IPV6 else (TYPE_IPV4, 4)
    return _set(
        table_name,
        name,
        identity,
        SET_MAP,
        (key_type, sum((size + 3) & ~3 for size in key_sizes)),
        (address << 6 | TYPE_SERVICE, size + 4),
    )


def name_set(table_name: str, name: str, identity: int) -> Message:
    """A set of names of interfaces."""
    return _set(table_name, name, identity, 0, (TYPE_IFNAME, 16))


def name_verdicts(table_name: str, name: str, identity: int) -> Message:
    """A map from names of interfaces to verdicts."""
    return _set(table_name, name, identity, SET_MAP, (TYPE_IFNAME, 16), (DATA_VERDICT, 0))


def subnet_verdicts(table_name: str, name: str, identity: int, *, family: int = IPV4) -> Message:
    """A map from networks to verdicts."""
    key = (TYPE_IPV6, 16) if family == IPV6 else (TYPE_IPV4, 4)
    return _set(table_name, name, identity, SET_MAP | SET_INTERVAL, key, (DATA_VERDICT, 0))


def _set(
    table_name: str, name: str, identity: int, flags: int, key: tuple[int, int], data: tuple[int, int] | None = None
) -> Message:
    body = [
        attribute(1, text(table_name)),
        attribute(2, text(name)),
        attribute(3, _be32(flags)),
        attribute(4, _be32(key[0])),
        attribute(5, _be32(key[1])),
    ]
    if data:
        body += [attribute(6, _be32(data[0])), attribute(7, _be32(data[1]))]
    body.append(attribute(10, _be32(identity)))
    if key[0] == TYPE_IFNAME:
        # what nft keeps for itself: that the key is in the host's byte order, else it prints names backwards
        body.append(attribute(13, b"\0\4" + struct.pack("=I", 1)))
    return _message(NEWSET, NLM_F_CREATE, *body)


def element(key: bytes, data: bytes = b"", comment: str = "") -> bytes:
    """One element of a set or map; comment: whose it is, as nft prints it."""
    return _element(key, nested(2, attribute(1, data)) if data else b"", comment)


def verdict_element(key: bytes, code: int, chain_name: str, comment: str = "") -> bytes:
    """One element of a map to verdicts."""
    return _element(key, nested(2, nested(2, attribute(1, _be32(code)), attribute(2, text(chain_name)))), comment)


def end_element(key: bytes) -> bytes:
    """The end of a network in a map of such: the first address that does not belong to it."""
    return nested(1, nested(1, attribute(1, key)), attribute(3, _be32(INTERVAL_END)))


def _element(key: bytes, data: bytes, comment: str) -> bytes:
    parts = [nested(1, attribute(1, key)), data]
    if comment:
        parts.append(_userdata(6, comment))
    return nested(1, *parts)


def _userdata(kind: int, comment: str) -> bytes:
    """An attribute with what nft keeps for itself, a run of type, length, value; type 0 is a comment."""
    value = text(comment)
    return attribute(kind, bytes((0, len(value))) + value)


def add_elements(table_name: str, set_name: str, elements: Sequence[bytes]) -> Message:
    return _message(NEWSETELEM, NLM_F_CREATE, *_elements(table_name, set_name, elements))


def delete_elements(table_name: str, set_name: str, elements: Sequence[bytes]) -> Message:
    return _message(DELSETELEM, 0, *_elements(table_name, set_name, elements))


def _elements(table_name: str, set_name: str, elements: Sequence[bytes]) -> list[bytes]:
    return [attribute(1, text(table_name)), attribute(2, text(set_name)), nested(3, *elements)]


def read_elements(
    netlink: Netlink, table_name: str, set_name: str, family: int = IPV4
) -> list[tuple[bytes, bytes, str]]:
    """Return the elements of a set or map: (key, data, comment). Data of a verdict is the name of its chain.

    Raises OSError (ENOENT: no such table or map).
    """
    found = []
    names = attribute(1, text(table_name)), attribute(2, text(set_name))
    _kind, _flags, body = _message(GETSETELEM, 0, *names, family=family)
    for _answer, payload in netlink.dump(SUBSYSTEM | GETSETELEM, body):
        listed = dict(attributes(payload, 4)).get(3, b"")
        for _one, value in attributes(listed):
            parts = dict(attributes(value))
            key = dict(attributes(parts.get(1, b""))).get(1, b"")
            values = dict(attributes(parts.get(2, b"")))
            data = values.get(1) or dict(attributes(values.get(2, b""))).get(2, b"").rstrip(b"\0")
            found.append((key, data, comment_of(parts.get(6, b""))))
    return found


def comment_of(userdata: bytes) -> str:
    """Return the comment in a userdata attribute, or ""."""
    while len(userdata) >= 2:
        kind, size = userdata[0], userdata[1]
        if kind == 0:
            return os.fsdecode(userdata[2 : 2 + size].rstrip(b"\0"))
        userdata = userdata[2 + size :]
    return ""


def dump(netlink: Netlink, kind: int, family: int = 0, table_name: str = "", chain_name: str = "") -> list[bytes]:
    """Return all chains (kind GETCHAIN), or the rules (GETRULE) of a chain; family 0 is every one. Raises OSError."""
    body = []
    if table_name:
        body = [attribute(1, text(table_name)), attribute(2, text(chain_name))]
    number, _flags, question = _message(kind, 0, *body, family=family)
    return [payload for _answer, payload in netlink.dump(number, question)]


def chain_names(payload: bytes) -> tuple[str, str]:
    """Return (table, chain) of what a dump of chains gave."""
    values = dict(attributes(payload, 4))
    return tuple(os.fsdecode(values.get(kind, b"").rstrip(b"\0")) for kind in (1, 3))  # type: ignore[return-value]


# -- expressions -----------------------------------------------------------------------------------------------------


def _expression(name: str, *body: bytes) -> bytes:
    return nested(1, attribute(1, text(name)), nested(2, *body))


def _data(value: bytes) -> bytes:
    return attribute(1, value)


def meta(key: int, register: int = REGISTER) -> bytes:
    return _expression("meta", attribute(1, _be32(register)), attribute(2, _be32(key)))


def payload(base: int, offset: int, size: int, register: int = REGISTER) -> bytes:
    """Load bytes of a packet. base: 1 the network header, 2 the transport header."""
    return _expression(
        "payload",
        attribute(1, _be32(register)),
        attribute(2, _be32(base)),
        attribute(3, _be32(offset)),
        attribute(4, _be32(size)),
    )


def compare(value: bytes, *, equal: bool = True) -> bytes:
    return _expression(
        "cmp", attribute(1, _be32(REGISTER)), attribute(2, _be32(0 if equal else 1)), nested(3, _data(value))
    )


def masked(mask: bytes) -> bytes:
    return _expression(
        "bitwise",
        attribute(1, _be32(REGISTER)),
        attribute(2, _be32(REGISTER)),
        attribute(3, _be32(len(mask))),
        nested(4, _data(mask)),
        nested(5, _data(bytes(len(mask)))),
    )


def interface(key: int, name: str, *, equal: bool = True) -> bytes:
    """Match the name of the incoming or outgoing interface."""
    return meta(key) + compare(os.fsencode(name).ljust(16, b"\0"), equal=equal)


def in_set(set_name: str, identity: int, *, inverted: bool = False) -> bytes:
    """Match when the register's value is in a set."""
    return _expression(
        "lookup",
        attribute(1, text(set_name)),
        attribute(2, _be32(REGISTER)),
        attribute(4, _be32(identity)),
        attribute(5, _be32(int(inverted))),
    )


def by_verdict(set_name: str, identity: int) -> bytes:
    """Do what a map has for the register's value; go on with the next rule when it has nothing."""
    return _expression(
        "lookup",
        attribute(1, text(set_name)),
        attribute(2, _be32(REGISTER)),
        attribute(3, _be32(VERDICT_REGISTER)),
        attribute(4, _be32(identity)),
    )


def in_network(offset: int, network: int, prefix: int) -> bytes:
    """Match an IPv4 address of the packet (offset 12: source, 16: destination) against a network."""
    value = network.to_bytes(4, "big")
    size = prefix // 8
    if prefix % 8 == 0 and size:
        return payload(1, offset, size) + compare(value[:size])  # as nft writes it, and cheaper
    bits = (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF
    return payload(1, offset, 4) + masked(bits.to_bytes(4, "big")) + compare(value)


def has_bits(key: int, bits: int) -> bytes:
    """Match conntrack's state or status when one of the bits is set."""
    return (
        _expression("ct", attribute(1, _be32(REGISTER)), attribute(2, _be32(key)))
        + masked(struct.pack("=I", bits))
        + compare(bytes(4), equal=False)
    )


def to_this_host() -> bytes:
    """Match a destination that is an address of this host (fib daddr type local)."""
    fib = _expression("fib", attribute(1, _be32(REGISTER)), attribute(2, _be32(3)), attribute(3, _be32(2)))
    return fib + compare(struct.pack("=I", 2))


def verdict(code: int, chain_name: str = "") -> bytes:
    inner = [attribute(1, _be32(code))]
    if chain_name:
        inner.append(attribute(2, text(chain_name)))
    return _expression("immediate", attribute(1, _be32(VERDICT_REGISTER)), nested(2, nested(2, *inner)))


def set_port(offset: int, port: int, *, checksum: int) -> bytes:
    """Write a port into the transport header. offset: 0 source, 2 destination; checksum: where the header has it."""
    return _expression(
        "immediate", attribute(1, _be32(REGISTER)), nested(2, _data(struct.pack(">H", port)))
    ) + _expression(
        "payload",
        attribute(5, _be32(REGISTER)),
        attribute(2, _be32(2)),
        attribute(3, _be32(offset)),
        attribute(4, _be32(2)),
        attribute(6, _be32(1)),
        attribute(7, _be32(checksum)),
        attribute(8, _be32(0)),
    )


def lookup(set_name: str, identity: int) -> bytes:
    """Find the registers' value in a map; its data takes their place. Ends the rule when there is none."""
    return _expression(
        "lookup",
        attribute(1, text(set_name)),
        attribute(2, _be32(REGISTER)),
        attribute(3, _be32(REGISTER)),
        attribute(4, _be32(identity)),
    )


def destination_nat(family: int = IPV4) -> bytes:
    """Send the packet to the address . port that a lookup left in the registers."""
    return _expression(
        "nat",
        attribute(1, _be32(1)),
        attribute(2, _be32(family)),
        attribute(3, _be32(REGISTER)),
        attribute(5, _be32(SLOT + (4 if family == IPV6 else 1))),
    )


def masquerade() -> bytes:
    return _expression("masq")


# -- sending ---------------------------------------------------------------------------------------------------------


def commit(netlink: Netlink, messages: Sequence[Message]) -> None:
    """Carry out all messages or none. Raises OSError for the first that the kernel refused."""
    head = struct.pack(">BBH", 0, 0, 10)
    for _attempt in range(5):
        failures = netlink.batch(messages, (BEGIN, 0, head), (END, 0, head))
        if not any(number in (errno.EAGAIN, errno.EINTR) for _index, number, _text in failures):
            break
    if failures:
        _index, number, explanation = failures[0]
        raise OSError(number, explanation or os.strerror(number))


def open_netfilter() -> Netlink:
    return Netlink(NETLINK_NETFILTER)


def exists(netlink: Netlink, question: Message) -> bool:
    """True when the object that a GET message asks for is there."""
    return not netlink.transact([question])[0][0]
