# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What 127.0.0.11 answers: DNS messages in, DNS messages out, no I/O (RFC 1035, 2308, 3596, 6891).

``parse`` takes a query apart, ``Scope.answer`` knows containers by name, and says of all else whether it may be asked
elsewhere; ``valid`` and ``relay`` judge and pass on what came back from there. Whatever the bytes are, nothing raises.
"""

from __future__ import annotations

import _socket
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

# Docker says 600. A container that was made anew has another address, and who asks here pays nothing for asking again.
TTL = 5
MAX_UDP = 4096  # what we send at most in a datagram, and tell who asks with EDNS
MAX_TCP = 65535
PLAIN_UDP = 512  # what a client takes that says nothing of it

OK, FORMAT_ERROR, SERVER_FAILURE, NO_NAME, NOT_IMPLEMENTED, REFUSED = range(6)
BAD_VERSION = 16
A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
INTERNET = 1

_RESPONSE, _TRUNCATED, _RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x8000, 0x0200, 0x0100, 0x0080
_CHECKING_DISABLED = 0x0010
_DNSSEC_OK = 0x8000
_MOST_EXTRA = 8  # records behind the question of a query: EDNS, a signature


class Query:
    """A question as it came. name: its labels in small letters, joined by dots. limit: how long a UDP answer may be."""

    __slots__ = ("dnssec", "edns", "end", "flags", "identity", "kind", "limit", "name", "packet", "version", "which")

    def __init__(self, packet: bytes, identity: int, flags: int) -> None:
        self.packet = packet
        self.identity = identity
        self.flags = flags
        self.name = b""
        self.kind = self.which = 0
        self.end = 12
        self.edns = False
        self.version = 0
        self.dnssec = False
        self.limit = PLAIN_UDP


# -- taking apart ----------------------------------------------------------------------------------------------------


class Malformed(ValueError):
    """The bytes are no DNS message. Never leaves this module."""


def parse(packet: bytes) -> tuple[Query | None, bytes | None]:
    """Return (the query, None), or (None, what to answer at once); (None, None): it deserves no answer."""
    if len(packet) < 12:
        return None, None
    identity, flags, questions, answers, authorities, extra = struct.unpack_from(">6H", packet)
    if flags & _RESPONSE:
        return None, None  # else two resolvers could talk to each other for ever
    query = Query(packet, identity, flags)
    if flags >> 11 & 0xF:
        return None, _header_only(query, NOT_IMPLEMENTED)
    if questions != 1 or answers or authorities or extra > _MOST_EXTRA:
        return None, _header_only(query, FORMAT_ERROR)
    try:
        query.name, offset = _question_name(packet, 12)
        query.kind, query.which = _unpack(">HH", packet, offset)
        query.end = offset + 4
        _read_extra(query, extra)
    except Malformed:
        return None, _header_only(query, FORMAT_ERROR)
    if query.version:
        return None, reply(query, BAD_VERSION)
    return query, None


def _unpack(layout: str, packet: bytes, offset: int) -> tuple[Any, ...]:
    try:
        return struct.unpack_from(layout, packet, offset)
    except struct.error:
        raise Malformed from None


def _question_name(packet: bytes, offset: int) -> tuple[bytes, int]:
    """The name at offset, which must be written out, and where it ends. A dot inside a label becomes two bytes."""
    labels = []
    start = offset
    while True:
        (size,) = _unpack("B", packet, offset)
        offset += 1
        if not size:
            break
        if size > 63 or offset + size > len(packet) or offset + size - start > 254:
            raise Malformed
        labels.append(packet[offset : offset + size].lower().replace(b".", b"\\."))
        offset += size
    return b".".join(labels), offset


def _skip_name(packet: bytes, offset: int) -> int:
    """Where a name that may be compressed ends. What a pointer leads to is the reader's business."""
    while True:
        (size,) = _unpack("B", packet, offset)
        if size >= 0xC0:
            (target,) = _unpack(">H", packet, offset)
            if target & 0x3FFF >= offset:
                raise Malformed
            return offset + 2
        if size > 63:
            raise Malformed
        offset += 1 + size
        if not size:
            return offset


def _record(packet: bytes, offset: int) -> tuple[int, int, int, int]:
    """The record at offset: (type, class, TTL, where the next one begins)."""
    offset = _skip_name(packet, offset)
    kind, which, ttl, size = _unpack(">HHIH", packet, offset)
    end = offset + 10 + size
    if end > len(packet):
        raise Malformed
    return kind, which, ttl, end


def _read_extra(query: Query, count: int) -> None:
    packet, offset = query.packet, query.end
    for _number in range(count):
        kind, which, ttl, end = _record(packet, offset)
        if kind == OPT:
            if query.edns or packet[offset]:
                raise Malformed  # there is one at most, and its name is the root's
            query.edns = True
            query.limit = min(max(which, PLAIN_UDP), MAX_UDP)
            query.version = ttl >> 16 & 0xFF
            query.dnssec = bool(ttl & _DNSSEC_OK)
        offset = end
    if offset != len(packet):
        raise Malformed


# -- putting together ------------------------------------------------------------------------------------------------


def _header_only(query: Query, code: int) -> bytes:
    flags = _RESPONSE | query.flags & 0x7800 | query.flags & _RECURSION_DESIRED | code
    return struct.pack(">6H", query.identity, flags, 0, 0, 0, 0)


def reply(query: Query, code: int, answers: Sequence[tuple[int, bytes]] = (), limit: int | None = None) -> bytes:
    """Return an answer. answers: (type, data) of records of the name that was asked for.

    limit: its greatest length, else what the client takes by UDP; records that find no place are left out, and the
    answer says so (TC), whereupon clients ask again by TCP.
    """
    room = (query.limit if limit is None else limit) - query.end - (11 if query.edns else 0)
    records = []
    truncated = 0
    for kind, data in answers:
        record = struct.pack(">HHHIH", 0xC00C, kind, INTERNET, TTL, len(data)) + data
        room -= len(record)
        if room < 0:
            truncated = _TRUNCATED
            break
        records.append(record)
    kept = query.flags & (_RECURSION_DESIRED | _CHECKING_DISABLED)
    flags = _RESPONSE | _RECURSION_AVAILABLE | kept | truncated | code & 0xF
    head = struct.pack(">6H", query.identity, flags, 1, len(records), 0, int(query.edns))
    extra = b""
    if query.edns:
        extra = struct.pack(">BHHIH", 0, OPT, MAX_UDP, code >> 4 << 24 | (_DNSSEC_OK if query.dnssec else 0), 0)
    return b"".join((head, query.packet[12 : query.end], *records, extra))


# -- names -----------------------------------------------------------------------------------------------------------


class Zone:
    """The names on one network. entries: as in the files of network/names.py, in any order."""

    def __init__(self, name: str, entries: Iterable[dict[str, Any]]) -> None:
        self.suffix = b"." + os.fsencode(name).lower()
        self.names: dict[bytes, list[bytes]] = {}
        self.reverse: dict[bytes, bytes] = {}
        for entry in entries:
            try:
                self._add(entry)
            except (LookupError, TypeError, ValueError, AttributeError):
                continue  # what is wrong with one container's names must not keep the others from theirs

    def _add(self, entry: dict[str, Any]) -> None:
        packed = [address for address in map(packed_address, entry["addresses"]) if address]
        own = os.fsencode(entry["name"])
        for address in packed:
            self.reverse[address] = own + self.suffix
        for word in (entry["name"], entry["id"][:12], entry["hostname"], *entry["aliases"]):
            if word:
                held = self.names.setdefault(os.fsencode(word).lower().rstrip(b"."), [])
                held += [address for address in packed if address not in held]

    def find(self, name: bytes) -> list[bytes] | None:
        """The addresses of a name, with or without the network's name behind it; None: it is no name here."""
        found = self.names.get(name)
        if found is None and name.endswith(self.suffix):
            found = self.names.get(name[: -len(self.suffix)])
        return found


def packed_address(text: str) -> bytes:
    """An address as 4 or 16 bytes; none for what is no address."""
    try:
        return _socket.inet_pton(_socket.AF_INET6 if ":" in text else _socket.AF_INET, text)
    except (OSError, ValueError):
        return b""


def reverse_address(name: bytes) -> bytes:
    """The address that a name below in-addr.arpa or ip6.arpa stands for; none for any other name."""
    labels = name.split(b".")
    try:
        if labels[-2:] == [b"in-addr", b"arpa"] and len(labels) == 6:
            return packed_address(b".".join(labels[3::-1]).decode("ascii"))
        if labels[-2:] == [b"ip6", b"arpa"] and len(labels) == 34 and all(len(label) == 1 for label in labels[:32]):
            return bytes.fromhex(b"".join(labels[31::-1]).decode("ascii"))
    except ValueError:
        pass
    return b""


def _random(below: int) -> int:
    return int.from_bytes(os.urandom(4), "big") % below


class Scope:
    """What one container may know. zones: of its networks, the first counts most. internal: nothing else is asked.

    others: returns the zones of networks that the container is not on; asked only for what would leave the host.
    """

    def __init__(
        self,
        zones: Sequence[Zone],
        others: Callable[[], Iterable[Zone]] = tuple,
        *,
        internal: bool = False,
        pick: Callable[[int], int] = _random,
    ) -> None:
        self._zones = zones
        self._others = others
        self._internal = internal
        self._pick = pick

    def answer(self, query: Query, limit: int | None = None) -> bytes | None:
        """Return the answer to a query; None: ask elsewhere. limit: as for reply()."""
        if query.which in (INTERNET, ANY):
            records = self._reverse(query.name) if query.kind == PTR else None
            if records is None:
                records = self._forward(query)
            if records is not None:
                return reply(query, OK, records, limit)
        if self._internal:
            # As docker: the client should not take it for the truth about a name that we did not ask for.
            return reply(query, SERVER_FAILURE, (), limit)
        if self._foreign(query.name):
            return reply(query, NO_NAME, (), limit)
        return None

    def _forward(self, query: Query) -> list[tuple[int, bytes]] | None:
        """Records of a container's name; none of them where it has nothing of that type; None: no container's."""
        known = False
        for zone in self._zones:
            found = zone.find(query.name)
            if found is None:
                continue
            known = True
            records = [
                (kind, address)
                for kind, size in ((A, 4), (AAAA, 16))
                if query.kind in (kind, ANY)
                for address in found
                if len(address) == size
            ]
            if records:
                self._shuffle(records)
                return records
        return [] if known else None

    def _shuffle(self, records: list[tuple[int, bytes]]) -> None:
        """Whoever takes the first gets a different one each time."""
        for last in range(len(records) - 1, 0, -1):
            other = self._pick(last + 1)
            records[last], records[other] = records[other], records[last]

    def _reverse(self, name: bytes) -> list[tuple[int, bytes]] | None:
        address = reverse_address(name)
        for zone in self._zones:
            if address in zone.reverse:
                labels = zone.reverse[address].split(b".")
                if all(0 < len(label) < 64 for label in labels):
                    return [(PTR, b"".join(bytes((len(label),)) + label for label in labels) + b"\0")]
        return None

    def _foreign(self, name: bytes) -> bool:
        """True for what only another network's containers know: nobody outside need hear of it.

        A name with dots may be one of the world's as well as an alias: only NAME.NETWORK is ours for sure.
        """
        address = reverse_address(name)
        for zone in self._others():
            if address and address in zone.reverse:
                return True
            if b"." not in name and name in zone.names:
                return True
            if name.endswith(zone.suffix) and name[: -len(zone.suffix)] in zone.names:
                return True
        return False


# -- what others answered --------------------------------------------------------------------------------------------


def renamed(query: Query, identity: int) -> bytes:
    """The query with another id, as it goes to an upstream server."""
    return struct.pack(">H", identity) + query.packet[2:]


def valid(query: Query, identity: int, response: bytes) -> bool:
    """True for a whole answer to that question under that id. It need not be the one that the client hoped for."""
    if len(response) < query.end:
        return False
    found, flags, questions, *counts = struct.unpack_from(">6H", response)
    if found != identity or not flags & _RESPONSE or flags >> 11 & 0xF or questions != 1:
        return False
    try:
        name, offset = _question_name(response, 12)
        if (name, *_unpack(">HH", response, offset)) != (query.name, query.kind, query.which):
            return False
        offset += 4
        if offset != query.end:
            return False  # other labels, which look the same joined by dots
        if flags & _TRUNCATED:
            return True  # may end anywhere
        for _number in range(sum(counts)):
            _kind, _which, _ttl, offset = _record(response, offset)
    except Malformed:
        return False
    return True


def code_of(response: bytes) -> int:
    """The lower four bits of the answer's code."""
    return response[3] & 0xF


def relay(query: Query, response: bytes, limit: int | None = None) -> bytes:
    """Return a valid response as the client may have it: with its own id and spelling, and no longer than limit."""
    limit = query.limit if limit is None else limit
    end = query.end
    head = struct.pack(">H", query.identity) + response[2:12] + query.packet[12:end]
    _id, flags, _questions, answers, authorities, extra = struct.unpack_from(">6H", response)
    if len(response) <= limit and not flags & _TRUNCATED:
        return head + response[end:]
    kept, opt = _what_fits(response, (end, limit), answers, answers + authorities + extra)
    counts = struct.pack(">5H", flags | _TRUNCATED, 1, kept[0], 0, int(bool(opt)))
    return head[:2] + counts + head[12:] + response[end : kept[1]] + opt


def _what_fits(response: bytes, room: tuple[int, int], answers: int, records: int) -> tuple[tuple[int, int], bytes]:
    """How many answers fit and where they end, and the EDNS record. room: (where records begin, the limit).

    A client that cannot ask again by TCP (musl before 1.2.4) makes do with the answers that are there.
    """
    offset, limit = room
    ends = []
    opt = b""
    for number in range(records):
        try:
            kind, _which, _ttl, end = _record(response, offset)
        except Malformed:
            break  # cut off by who sent it
        if number < answers:
            ends.append(end)
        elif kind == OPT:
            opt = response[offset:end]
        offset = end
    if len(opt) > limit // 2:
        opt = b""
    fitting = [end for end in ends if end + len(opt) <= limit]
    return (len(fitting), fitting[-1] if fitting else room[0]), opt
