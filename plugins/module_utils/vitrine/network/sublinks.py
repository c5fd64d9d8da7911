# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""macvlan and ipvlan: a container's own link on one of the host's, made in its namespace straight away."""

from __future__ import annotations

import errno
import os

from ..errors import HostError
from ..linux import netlink as route
from ..linux import netlink_kinds as kinds
from . import addresses as ip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def make(netlink: route.Netlink, one: dict[str, Any], fd: int) -> None:
    """Make an endpoint's link in the network namespace ``fd``. Raises HostError saying what is wrong."""
    driver, name = one["driver"], one["bridge"]
    parent = route.link(netlink, name)
    if parent is None:
        raise HostError(
            f"the network {one['network']!r} has the parent {name}, and this host has no such link",
            hint="ip link shows the links; make it, or make the network anew with another parent",
            value=name,
        )
    if not parent[2] & route.IFF_UP:
        raise HostError(
            f"the parent {name} of the network {one['network']!r} is down",
            hint=f"ip link set {name} up",
            value=name,
        )
    mac = ip.mac_bytes(one["mac"])
    message = kinds.sublink_create(driver, one["mode"], parent[0], fd, one["ifname"], mac, one["mtu"])
    number, explanation = netlink.transact([message])[0]
    if not number:
        return
    said = explanation or os.strerror(number)
    hint = ""
    if number == errno.EOPNOTSUPP:
        hint = f"load the kernel module: modprobe {driver}"
    elif number == errno.EBUSY:
        hint = f"{name} is used by a bridge, a bond, or links of another kind: macvlan and ipvlan exclude each other"
    elif number == errno.EINVAL:
        hint = f"{name} takes no {driver} link with the mode {one['mode']} and an MTU of {one['mtu'] or 'its own'}"
    raise HostError(f"no {driver} link could be made on {name}: {said}", hint=hint, value=name)
