# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Netlink by hand: the few rtnetlink messages that starting a container needs, and the socket under nf_tables.

On the start path importing pyroute2 would cost more than everything else together, so the messages are packed here;
a test holds each against pyroute2's decoder. Sources: netlink(7), rtnetlink(7), linux/rtnetlink.h, linux/if_link.h.

A network namespace is configured by operations as data (``apply``): tuples that can be marshalled, printed and tested.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Message = tuple[int, int, bytes]  # type, flags without REQUEST and ACK, payload

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NETLINK_GET_STRICT_CHK = 12

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_REPLACE = 0x100
NLM_F_APPEND = 0x800
NLM_F_DUMP = 0x300
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200
NLMSG_ERROR = 2
NLMSG_DONE = 3

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

AF_UNSPEC, AF_INET, AF_BRIDGE, AF_INET6 = 0, 2, 7, 10
IFF_UP = 1
MANY = 100  # messages at once: all their acknowledgements must fit into the socket's receive buffer
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_PROTINFO = 1, 3, 4, 10, 12
IFLA_LINKINFO, IFLA_GROUP, IFLA_NET_NS_FD = 18, 27, 28
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
VETH_INFO_PEER = 1
IFLA_BRPORT_MODE = 4
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RTN_UNICAST = 254, 4, 0, 253, 1

_HEADER = struct.Struct("=LHHLL")
_ATTRIBUTE = struct.Struct("=HH")
_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=8BI")


# -- attributes ------------------------------------------------------------------------------------------------------


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute: length, type, value, padded to four bytes."""
    size = len(value)
    return _ATTRIBUTE.pack(size + 4, kind) + value + b"\0" * (-size % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Return one attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def attributes(data: bytes, offset: int = 0) -> list[tuple[int, bytes]]:
    """Take a run of attributes apart: (type without its flag bits, value), in order. A cut off rest is ignored."""
    found = []
    end = len(data)
    while offset + 4 <= end:
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < 4 or offset + size > end:
            break
        found.append((kind & NLA_TYPE_MASK, data[offset + 4 : offset + size]))
        offset += (size + 3) & ~3
    return found


def text(value: str) -> bytes:
    """Return a NUL terminated string value."""
    return os.fsencode(value) + b"\0"


# -- the socket ------------------------------------------------------------------------------------------------------


class Netlink:
    """A netlink socket. It stays in the network namespace that its thread was in when it was made."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        self._socket = _socket.socket(AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        try:
            self._socket.bind((0, 0))
            for option in (NETLINK_EXT_ACK, NETLINK_CAP_ACK):
                try:
                    self._socket.setsockopt(SOL_NETLINK, option, 1)
                except OSError:
                    pass  # before 4.12 and 4.3: errors come without a text, and with the whole request
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._socket.close()

    def close(self) -> None:
        self._socket.close()

    def transact(self, messages: Sequence[Message]) -> list[tuple[int, str]]:
        """Send all messages at once and wait for their acknowledgements.

        Returns for each message (errno or 0, the kernel's explanation or ""). rtnetlink carries out every message by
        itself: one that fails does not keep the next from being done.
        """
        answers: list[tuple[int, str]] = []
        for start in range(0, len(messages), MANY):
            answers += self._transact(messages[start : start + MANY])
        return answers

    def _transact(self, messages: Sequence[Message]) -> list[tuple[int, str]]:
        first = self._sequence + 1
        parts = []
        for kind, flags, body in messages:
            self._sequence += 1
            parts.append(_HEADER.pack(len(body) + 16, kind, flags | NLM_F_REQUEST | NLM_F_ACK, self._sequence, 0))
            parts.append(body + b"\0" * (-len(body) % 4))
        self._send(b"".join(parts))
        answers: list[tuple[int, str]] = [(0, "")] * len(messages)
        pending = set(range(first, self._sequence + 1))
        while pending:
            for kind, flags, sequence, payload in self._receive():
                if kind == NLMSG_ERROR and sequence in pending:
                    pending.discard(sequence)
                    answers[sequence - first] = _error(flags, payload)
        return answers

    def batch(self, messages: Sequence[Message], begin: Message, end: Message) -> list[tuple[int, int, str]]:
        """Send messages as one transaction between begin and end, which are not acknowledged themselves.

        Returns the failures: (index of the message, -1 for the transaction itself; errno; explanation). None: all
        was done; any: nothing was.
        """
        first = self._sequence + 1
        self._sequence += len(messages) + 2
        parts = []
        for number, (kind, flags, body) in enumerate((begin, *messages, end)):
            # One acknowledgement says that all was looked at; many would not fit the buffer. Failures are told unasked.
            wanted = flags | NLM_F_REQUEST | (NLM_F_ACK if number == len(messages) else 0)
            parts.append(_HEADER.pack(len(body) + 16, kind, wanted, first + number, 0))
            parts.append(body + b"\0" * (-len(body) % 4))
        self._send(b"".join(parts))
        failures = []
        waiting = bool(messages)
        while waiting:
            for kind, flags, sequence, payload in self._receive():
                if kind != NLMSG_ERROR or not first <= sequence <= self._sequence:
                    continue
                number, explanation = _error(flags, payload)
                if number:
                    failures.append((sequence - first - 1, number, explanation))
                if sequence in (first, self._sequence):
                    return failures  # the kernel refused the transaction as a whole: nothing else will come
                waiting = waiting and sequence != first + len(messages)
        return failures

    def strict(self, wanted: bool) -> None:
        """Have dumps say only what was asked for, where the kernel can (since 4.20)."""
        try:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, int(wanted))
        except OSError:
            pass

    def run(self, messages: Sequence[Message]) -> None:
        """Like transact, but raise OSError for the first failure."""
        for number, explanation in self.transact(messages):
            if number:
                raise OSError(number, explanation or os.strerror(number))

    def ask(self, message: Message) -> list[tuple[int, bytes]]:
        """Ask for one object: [(message type, payload)]. Raises OSError."""
        self._sequence += 1
        kind, flags, body = message
        header = _HEADER.pack(len(body) + 16, kind, flags | NLM_F_REQUEST | NLM_F_ACK, self._sequence, 0)
        self._send(header + body)
        objects: list[tuple[int, bytes]] = []
        while True:
            for answer, got, sequence, payload in self._receive():
                if sequence != self._sequence:
                    continue
                if answer == NLMSG_ERROR:
                    number, explanation = _error(got, payload)
                    if number:
                        raise OSError(number, explanation or os.strerror(number))
                    return objects
                objects.append((answer, payload))

    def dump(self, kind: int, body: bytes) -> list[tuple[int, bytes]]:
        """Ask for all objects of a kind: [(message type, payload)]. Raises OSError; retries interrupted dumps."""
        for _attempt in range(10):
            objects, interrupted = self._dump(kind, body)
            if not interrupted:
                break
        return objects

    def _dump(self, kind: int, body: bytes) -> tuple[list[tuple[int, bytes]], bool]:
        self._sequence += 1
        self._send(_HEADER.pack(len(body) + 16, kind, NLM_F_REQUEST | NLM_F_DUMP, self._sequence, 0) + body)
        objects: list[tuple[int, bytes]] = []
        interrupted = False
        while True:
            for answer, flags, sequence, payload in self._receive():
                if sequence != self._sequence:
                    continue
                interrupted = interrupted or bool(flags & 0x10)  # NLM_F_DUMP_INTR
                if answer in (NLMSG_DONE, NLMSG_ERROR):
                    number = -struct.unpack_from("=i", payload)[0] if len(payload) >= 4 else 0
                    if number == errno.EINTR:  # nf_tables says so when the ruleset changed under the dump
                        return objects, True
                    if number:
                        raise OSError(number, os.strerror(number))
                    return objects, interrupted
                objects.append((answer, payload))

    def _send(self, data: bytes) -> None:
        if len(data) > 100_000:
            # The whole must go out in one piece; root may go beyond the limit of ordinary users.
            self._socket.setsockopt(_socket.SOL_SOCKET, 32, len(data) * 2)  # SO_SNDBUFFORCE
        self._socket.send(data)

    def _receive(self) -> list[tuple[int, int, int, bytes]]:
        data = self._socket.recv(1 << 18)
        found = []
        offset = 0
        while offset + 16 <= len(data):
            size, kind, flags, sequence, _port = _HEADER.unpack_from(data, offset)
            if size < 16:
                break
            found.append((kind, flags, sequence, data[offset + 16 : offset + size]))
            offset += (size + 3) & ~3
        return found


AF_NETLINK = 16


def _error(flags: int, payload: bytes) -> tuple[int, str]:
    """Take an NLMSG_ERROR apart: (errno or 0, the kernel's explanation or "")."""
    number, size = struct.unpack_from("=iL", payload)
    explanation = ""
    if flags & NLM_F_ACK_TLVS:
        # The texts follow the request, of which only the header is repeated when CAPPED.
        start = 20 if flags & NLM_F_CAPPED or not number else 4 + ((size + 3) & ~3)
        for kind, value in attributes(payload, start):
            if kind == 1:  # NLMSGERR_ATTR_MSG
                explanation = value.rstrip(b"\0").decode("utf-8", "replace")
    return -number, explanation


# -- messages --------------------------------------------------------------------------------------------------------


def address_bytes(address: str) -> bytes:
    """Return the packed form of an IPv4 or IPv6 address. Raises OSError for anything else."""
    return _socket.inet_pton(AF_INET6 if ":" in address else AF_INET, address)


def split_prefix(cidr: str) -> tuple[str, int]:
    """Split "10.1.2.3/16" into address and prefix length; without a length it is the address' own (/32, /128)."""
    address, _slash, length = cidr.partition("/")
    return address, int(length) if length else (128 if ":" in address else 32)


def link_set(name: str, *extra: bytes, up: bool | None = None, index: int = 0) -> Message:
    """Change an existing link, found by its index or (0) its name."""
    change = 0 if up is None else IFF_UP
    body = _IFINFO.pack(AF_UNSPEC, 0, index, IFF_UP if up else 0, change)
    if not index:
        body += attribute(IFLA_IFNAME, text(name))
    return RTM_NEWLINK, 0, body + b"".join(extra)


def link_delete(name: str) -> Message:
    return RTM_DELLINK, 0, _IFINFO.pack(AF_UNSPEC, 0, 0, 0, 0) + attribute(IFLA_IFNAME, text(name))


def group_delete(group: int) -> Message:
    """Delete all links of a group at once: the kernel waits for its other processors once, not for each link."""
    return RTM_DELLINK, 0, _IFINFO.pack(AF_UNSPEC, 0, 0, 0, 0) + attribute(IFLA_GROUP, struct.pack("=I", group))


def bridge_create(name: str, mac: bytes, mtu: int, group: int) -> Message:
    """Create a bridge that is up. Its MAC is given, else it would change as ports come and go."""
    return (
        RTM_NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        _IFINFO.pack(AF_UNSPEC, 0, 0, IFF_UP, IFF_UP)
        + attribute(IFLA_IFNAME, text(name))
        + attribute(IFLA_ADDRESS, mac)
        + attribute(IFLA_MTU, struct.pack("=I", mtu))
        + attribute(IFLA_GROUP, struct.pack("=I", group))
        + nested(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, text("bridge"))),
    )


def veth_create(
    name: str, master: int, mtu: int, group: int, netns_fd: int, peer_name: str, peer_mac: bytes
) -> Message:
    """Create a veth pair: ``name`` here, up and a port of the bridge ``master``; its peer, down, in ``netns_fd``."""
    size = attribute(IFLA_MTU, struct.pack("=I", mtu))
    peer = (
        _IFINFO.pack(AF_UNSPEC, 0, 0, 0, 0)
        + attribute(IFLA_IFNAME, text(peer_name))
        + attribute(IFLA_ADDRESS, peer_mac)
        + size
        + attribute(IFLA_NET_NS_FD, struct.pack("=i", netns_fd))
    )
    return (
        RTM_NEWLINK,
        NLM_F_CREATE | NLM_F_EXCL,
        _IFINFO.pack(AF_UNSPEC, 0, 0, IFF_UP, IFF_UP)
        + attribute(IFLA_IFNAME, text(name))
        + size
        + attribute(IFLA_MASTER, struct.pack("=I", master))
        + attribute(IFLA_GROUP, struct.pack("=I", group))
        + nested(
            IFLA_LINKINFO,
            attribute(IFLA_INFO_KIND, text("veth")),
            nested(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer)),
        ),
    )


def bridge_port_hairpin(index: int) -> Message:
    """Let a bridge send frames back out of the port they came from (a container that calls its own published port)."""
    return (
        RTM_SETLINK,
        0,
        _IFINFO.pack(AF_BRIDGE, 0, index, 0, 0) + nested(IFLA_PROTINFO, attribute(IFLA_BRPORT_MODE, b"\1")),
    )


def address_add(index: int, cidr: str) -> Message:
    """Give a link an address with its network's prefix length, and IPv4's broadcast address."""
    address, length = split_prefix(cidr)
    packed = address_bytes(address)
    family = AF_INET if len(packed) == 4 else AF_INET6
    body = _IFADDR.pack(family, length, 0x02 if family == AF_INET6 else 0, RT_SCOPE_UNIVERSE, index)  # IFA_F_NODAD
    body += attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
    if family == AF_INET and length < 31:
        number = int.from_bytes(packed, "big") | ((1 << (32 - length)) - 1)
        body += attribute(IFA_BROADCAST, number.to_bytes(4, "big"))
    return RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body


def address_delete(index: int, cidr: str) -> Message:
    address, length = split_prefix(cidr)
    packed = address_bytes(address)
    family = AF_INET if len(packed) == 4 else AF_INET6
    return RTM_DELADDR, 0, _IFADDR.pack(family, length, 0, 0, index) + attribute(IFA_LOCAL, packed)


def route_add(index: int, destination: str, gateway: str | None = None) -> Message:
    """Route ``destination`` (a prefix, or "default") through a link, by a gateway or directly."""
    packed = address_bytes(gateway) if gateway else b""
    target, length = (b"", 0) if destination == "default" else (b"", split_prefix(destination)[1])
    if destination != "default":
        target = address_bytes(split_prefix(destination)[0])
    family = AF_INET6 if len(packed or target) == 16 else AF_INET
    scope = RT_SCOPE_UNIVERSE if gateway or family == AF_INET6 else RT_SCOPE_LINK
    body = _RTMSG.pack(family, length, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST, 0)
    if target:
        body += attribute(RTA_DST, target)
    if packed:
        body += attribute(RTA_GATEWAY, packed)
    return RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body + attribute(RTA_OIF, struct.pack("=I", index))


# -- operations as data ----------------------------------------------------------------------------------------------


def apply(operations: Iterable[Sequence[str]]) -> None:
    """Carry out operations in the calling thread's network namespace.

    ("link_up", ifname), ("link_down", ifname), ("addr_add", ifname, "10.1.2.3/16"),
    ("route_default", gateway, ifname), ("route_add", "10.2.0.0/16", gateway or "", ifname).
    What is there already is left as it is. Raises OSError naming the operation; ValueError for an unknown one.
    """
    operations = list(operations)
    if not operations:
        return
    with Netlink() as netlink:
        for operation in operations:
            try:
                netlink.run([_message(operation)])
            except OSError as error:
                if error.errno != errno.EEXIST:
                    raise OSError(error.errno, f"{' '.join(operation)}: {error.strerror}") from None


def _message(operation: Sequence[str]) -> Message:
    kind = operation[0]
    if kind == "link_up":
        return link_set(operation[1], up=True)
    if kind == "link_down":
        return link_set(operation[1], up=False)
    if kind == "addr_add":
        return address_add(_socket.if_nametoindex(operation[1]), operation[2])
    if kind == "route_default":
        return route_add(_socket.if_nametoindex(operation[2]), "default", operation[1])
    if kind == "route_add":
        return route_add(_socket.if_nametoindex(operation[3]), operation[1], operation[2] or None)
    raise ValueError(f"unknown network operation {kind!r}")


# -- what is there ---------------------------------------------------------------------------------------------------


def links(netlink: Netlink) -> list[tuple[int, str, int, int, int]]:
    """Return all links of the socket's namespace: (index, name, flags, index of the bridge or 0, MTU)."""
    objects = netlink.dump(RTM_GETLINK, _IFINFO.pack(AF_UNSPEC, 0, 0, 0, 0))
    return [_link(payload) for kind, payload in objects if kind == RTM_NEWLINK]


def link(netlink: Netlink, name: str) -> tuple[int, str, int, int, int] | None:
    """Return one link as ``links`` does, or None. Raises OSError."""
    body = _IFINFO.pack(AF_UNSPEC, 0, 0, 0, 0) + attribute(IFLA_IFNAME, text(name))
    try:
        answers = netlink.ask((RTM_GETLINK, 0, body))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    return _link(answers[0][1])


def _link(payload: bytes) -> tuple[int, str, int, int, int]:
    _family, _type, index, flags, _change = _IFINFO.unpack_from(payload)
    values = dict(attributes(payload, 16))
    name = os.fsdecode(values.get(IFLA_IFNAME, b"").rstrip(b"\0"))
    return index, name, flags, _number(values.get(IFLA_MASTER)), _number(values.get(IFLA_MTU))


def addresses(netlink: Netlink, family: int = AF_INET, index: int = 0) -> list[tuple[int, str, int]]:
    """Return all addresses of a family (AF_UNSPEC: of both): (link's index, address, prefix length).

    index: of the one link to ask for. Its addresses alone are looked at where the kernel can (since 4.20).
    """
    found = []
    if index:
        netlink.strict(True)
    for kind, payload in netlink.dump(RTM_GETADDR, _IFADDR.pack(family, 0, 0, 0, index)):
        got, length, _flags, _scope, owner = _IFADDR.unpack_from(payload)
        values = dict(attributes(payload, 8))
        packed = values.get(IFA_LOCAL) or values.get(IFA_ADDRESS)
        wanted = got == family or (family == AF_UNSPEC and got in (AF_INET, AF_INET6))
        if kind == RTM_NEWADDR and wanted and packed and index in (0, owner):
            found.append((owner, _socket.inet_ntop(got, packed), length))
    if index:
        netlink.strict(False)
    return found


def routes(netlink: Netlink, family: int = AF_INET) -> list[tuple[str, int, int, int, int]]:
    """Return all routes of a family: (destination, prefix length, link's index or 0, table, type)."""
    found = []
    empty = "0.0.0.0" if family == AF_INET else "::"
    for kind, payload in netlink.dump(RTM_GETROUTE, _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)):
        got, length, _source, _tos, table, _protocol, _scope, route_type, _flags = _RTMSG.unpack_from(payload)
        if kind != RTM_NEWROUTE or got != family:
            continue
        values = dict(attributes(payload, 12))
        destination = _socket.inet_ntop(family, values[RTA_DST]) if RTA_DST in values else empty
        found.append((destination, length, _number(values.get(RTA_OIF)), table, route_type))
    return found


def _number(value: bytes | None) -> int:
    return struct.unpack("=I", value)[0] if value is not None and len(value) == 4 else 0
