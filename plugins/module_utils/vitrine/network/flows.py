# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows that the kernel remembers (ctnetlink, linux/netfilter/nfnetlink_conntrack.h).

A flow is translated once, by its first packet. A UDP client that goes on sending from one port stays with what was
there then: with nobody, from before the container started, or with a container that is gone.
"""

from __future__ import annotations

import _socket
import struct

from ..linux import netlink as route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

_CONNTRACK = 1 << 8
_GET, _DELETE = 1, 2
# attributes: of a flow, of one direction of it, of its protocol, of a filter
_ORIGINAL, _REPLY, _FILTER = 1, 2, 25
_ADDRESSES, _PROTOCOL = 1, 2
_NUMBER, _TARGET_PORT = 1, 3
_UDP = 17
# which parts of the given direction a dump's flows must have (nf_internals.h): since Linux 5.8, ignored before
_BY_NUMBER, _BY_TARGET_PORT = 1 << 3, 1 << 5
_FEW = 8
# source and destination among the addresses of a direction
_ENDS = {_socket.AF_INET: (1, 2), _socket.AF_INET6: (3, 4)}


def flush_udp(plan: dict[str, Any]) -> None:
    """Forget flows to the plan's published UDP ports on this host, and those that its container answered there.

    Others' flows to such a port elsewhere, as of a name server, stay. Does nothing where the kernel has no ctnetlink.
    """
    published = {port for _ip, port, _inside_port, protocol in plan["ports"] if protocol == "udp"}
    if not published:
        return
    own = {one[key] for one in plan["endpoints"] for key in ("address", "address6")}
    try:
        with route.Netlink() as netlink:
            own.update(address for _index, address, _length in route.addresses(netlink, route.AF_UNSPEC))
        with route.Netlink(route.NETLINK_NETFILTER) as netlink:
            stale = []
            for family in _ENDS:
                for original, reply in _flows(netlink, family, published):
                    if _port(original) in published and _concerns(family, original, reply, own):
                        head = struct.pack(">BBH", family, 0, 0)
                        stale.append((_CONNTRACK | _DELETE, 0, head + route.nested(_ORIGINAL, original)))
            if stale:
                netlink.transact(stale)
    except OSError:
        pass


def _flows(netlink: route.Netlink, family: int, ports: Collection[int]) -> list[tuple[bytes, bytes]]:
    """The two directions of all UDP flows of a family, or at least of those to these ports."""
    found = []
    wanted: list[int | None] = [None] if len(ports) > _FEW else list(ports)
    for port in wanted:
        filtered = True
        for _kind, payload in netlink.dump(_CONNTRACK | _GET, struct.pack(">BBH", family, 0, 0) + _question(port)):
            parts = dict(route.attributes(payload, 4))
            original = parts.get(_ORIGINAL, b"")
            if _protocol(original).get(_NUMBER) != bytes((_UDP,)):
                filtered = False
                continue
            filtered = filtered and port in (None, _port(original))
            found.append((original, parts.get(_REPLY, b"")))
        if not filtered:
            break  # a kernel that does not choose has told of all
    return found


def _question(port: int | None) -> bytes:
    """The attributes by which the kernel chooses flows: UDP, to a port."""
    protocol = route.attribute(_NUMBER, bytes((_UDP,)))
    flags = _BY_NUMBER
    if port is not None:
        protocol += route.attribute(_TARGET_PORT, struct.pack(">H", port))
        flags |= _BY_TARGET_PORT
    direction = route.nested(_ORIGINAL, route.nested(_PROTOCOL, protocol))
    return direction + route.nested(_FILTER, route.attribute(1, struct.pack("=I", flags)))


def _protocol(direction: bytes) -> dict[int, bytes]:
    return dict(route.attributes(dict(route.attributes(direction)).get(_PROTOCOL, b"")))


def _port(direction: bytes) -> int:
    return int.from_bytes(_protocol(direction).get(_TARGET_PORT, b""), "big")


def _concerns(family: int, original: bytes, reply: bytes, own: Collection[str]) -> bool:
    """Whether a flow is to an address of this host, or was answered by one of the container's."""
    source, target = _ENDS[family]
    for direction, end in ((original, target), (reply, source)):
        packed = dict(route.attributes(dict(route.attributes(direction)).get(_ADDRESSES, b""))).get(end, b"")
        if len(packed) in (4, 16) and _socket.inet_ntop(family, packed) in own:
            return True
        if family == _socket.AF_INET and packed[:1] == b"\x7f":
            return True
    return False
