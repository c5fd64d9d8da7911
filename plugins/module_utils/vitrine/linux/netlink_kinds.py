# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""rtnetlink messages that only some networks need: macvlan and ipvlan links, isolated ports, routes taken back.

As in netlink.py, a test holds each against pyroute2's decoder. Sources: linux/if_link.h, linux/rtnetlink.h.
"""

from __future__ import annotations

import errno
import struct

from . import netlink as route
from .netlink import attribute, nested, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .netlink import Message

IFLA_LINK = 5
IFLA_BRPORT_ISOLATED = 33
IFLA_MACVLAN_MODE, IFLA_IPVLAN_MODE, IFLA_IPVLAN_FLAGS = 1, 1, 2
MODES = {
    "macvlan": {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8},
    "ipvlan": {"l2": 0, "l3": 1, "l3s": 2},
}


def sublink_create(kind: str, mode: str, parent: int, netns_fd: int, name: str, mac: bytes, mtu: int = 0) -> Message:
    """Create a macvlan or ipvlan link, down, in another network namespace. parent: a link's index in this one.

    An ipvlan has its parent's MAC; mtu 0 is the parent's.
    """
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(route.IFLA_IFNAME, text(name))
    body += attribute(IFLA_LINK, struct.pack("=I", parent))
    body += attribute(route.IFLA_NET_NS_FD, struct.pack("=i", netns_fd))
    if mtu:
        body += attribute(route.IFLA_MTU, struct.pack("=I", mtu))
    number = MODES[kind][mode]
    if kind == "macvlan":
        body += attribute(route.IFLA_ADDRESS, mac)
        data = attribute(IFLA_MACVLAN_MODE, struct.pack("=I", number))
    else:
        data = attribute(IFLA_IPVLAN_MODE, struct.pack("=H", number))
    info = nested(route.IFLA_LINKINFO, attribute(route.IFLA_INFO_KIND, text(kind)), nested(route.IFLA_INFO_DATA, data))
    return route.RTM_NEWLINK, route.NLM_F_CREATE | route.NLM_F_EXCL, body + info


def bridge_port_isolate(index: int) -> Message:
    """Let a bridge send nothing from this port to other isolated ones, only to the host (since Linux 4.18)."""
    return (
        route.RTM_SETLINK,
        0,
        struct.pack("=BxHiII", route.AF_BRIDGE, 0, index, 0, 0)
        + nested(route.IFLA_PROTINFO, attribute(IFLA_BRPORT_ISOLATED, b"\1")),
    )


def route_delete(index: int, destination: str, gateway: str | None = None) -> Message:
    """Take back what ``netlink.route_add`` made."""
    _kind, _flags, body = route.route_add(index, destination, gateway)
    return route.RTM_DELROUTE, 0, body


def link_group(netlink: route.Netlink, name: str) -> int:
    """Return the group of a link; -1 when there is none of that name. Raises OSError."""
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(route.IFLA_IFNAME, text(name))
    try:
        answers = netlink.ask((route.RTM_GETLINK, 0, body))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return -1
        raise
    return int(struct.unpack("=I", dict(route.attributes(answers[0][1], 16)).get(route.IFLA_GROUP, bytes(4)))[0])
