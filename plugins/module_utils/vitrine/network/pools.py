# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choosing subnets that nobody on the host uses, and free addresses in them."""

from __future__ import annotations

import os

from ..errors import HostError, InvalidInput
from . import addresses as ip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .addresses import Network

# Clear of what others take unasked: docker 172.17-31 and 192.168, podman 10.88 and 10.89, CRI-O 10.85, k3s 10.42 and
# 10.43, kubeadm 10.96/12, flannel and Calico 10.244 and 192.168.
DEFAULT_POOLS = tuple(f"10.{number}.0.0/16" for number in (83, 84, 86, 87, 90, 91, 92, 93, 94, 95, 53, 54, 56, 57))
SMALL_POOLS = tuple(f"{start}.{number}.0/24" for start in ("10.201", "172.31", "192.168") for number in range(200, 250))
# Other engine roots on the same host begin at a place of their own, so that two that start at once do not meet.
INSTANCE_POOLS = tuple(f"10.{64 + number // 16}.{number % 16 * 16}.0/20" for number in range(256))
USER_NETWORKS = 2048  # of 256 addresses each, from 10.210.0.0 on
LOCAL_TABLE = 255


def taken_by_host(bridge: str = "") -> list[Network]:
    """Return the networks that this host has addresses in or routes to. bridge: a link that does not count."""
    from ..linux import netlink as route

    found = []
    with route.Netlink() as netlink:
        own = {index for index, name, *_rest in route.links(netlink) if bridge and name == bridge}
        for family, width in ((route.AF_INET, 32), (route.AF_INET6, 128)):
            try:
                found += [
                    (width, ip.number(address), length)
                    for index, address, length in route.addresses(netlink, family)
                    if index not in own
                ]
                found += [
                    (width, ip.number(destination), length)
                    for destination, length, index, table, _kind in route.routes(netlink, family)
                    if length and index not in own and table != LOCAL_TABLE
                ]
            except OSError:
                if family == route.AF_INET:
                    raise  # without IPv6 there is nothing to be in the way
    return found


def choose_subnet(instance: str, wanted: object = None, *, bridge: str = "") -> tuple[str, str]:
    """Choose the default network of an engine root: (subnet, gateway), clear of the host's addresses and routes.

    wanted: the configuration's "bridge_subnet" ("10.5.0.0/16", or "10.5.0.1/16" to name the gateway too), or None.
    bridge: the name of a link whose own addresses do not count. Raises InvalidInput, HostError.
    """
    return pick_subnet(instance, taken_by_host(bridge), wanted)


def pick_subnet(instance: str, taken: Iterable[Network], wanted: object = None) -> tuple[str, str]:
    """The choice of choose_subnet; taken: the host's networks."""
    taken = list(taken)
    if wanted is not None:
        return _wanted_subnet(wanted, taken)
    pools = DEFAULT_POOLS
    if instance:
        start = int(instance, 16) % len(INSTANCE_POOLS)
        pools = INSTANCE_POOLS[start:] + INSTANCE_POOLS[:start] + DEFAULT_POOLS
    found = _first_free(pools + SMALL_POOLS, taken)
    if found is None:
        raise HostError(
            "no subnet is free for the containers' bridge: this host has routes to all that were tried",
            hint='name one as "bridge_subnet" in /etc/vitrine/config.json',
        )
    return found, ip.text(ip.split(found)[1] + 1)


def pick_user_subnet(instance: str, taken: Iterable[Network]) -> str:
    """Choose an IPv4 subnet for a network that a user defines. Raises HostError."""
    start = int(instance or "0", 16) % USER_NETWORKS
    numbers = (number % USER_NETWORKS for number in range(start, start + USER_NETWORKS))
    pools: Iterator[str] = (f"10.{210 + number // 256}.{number % 256}.0/24" for number in numbers)
    taken = list(taken)
    found = _first_free(pools, taken) or _first_free(SMALL_POOLS, taken)
    if found is None:
        raise HostError(
            "no subnet is free for another network: this host has routes to all that were tried",
            hint="name one that nobody uses: --subnet 10.5.0.0/24",
        )
    return found


def _first_free(pools: Iterable[str], taken: list[Network]) -> str | None:
    for pool in pools:
        candidate = ip.split(pool)
        if not any(ip.overlap(candidate, network) for network in taken):
            return pool
    return None


def pick_local6(taken: Iterable[Network]) -> str:
    """Choose an IPv6 network of our own (RFC 4193: fd00::/8, the rest of the prefix random)."""
    taken = list(taken)
    while True:
        candidate = 128, int.from_bytes(b"\xfd" + os.urandom(7) + bytes(8), "big"), 64
        if not any(ip.overlap(candidate, network) for network in taken):
            return ip.written(candidate)


def _wanted_subnet(wanted: object, taken: list[Network]) -> tuple[str, str]:
    if not isinstance(wanted, str):
        raise InvalidInput(f"bridge_subnet is {wanted!r}", hint='write it as "10.83.0.0/16"', value=wanted)
    network = ip.split(wanted)
    width, address, length = network
    if width != 32:
        raise InvalidInput(f"bridge_subnet {wanted!r} is not an IPv4 network", hint="write it as 10.83.0.0/16")
    if not 8 <= length <= 29:
        raise InvalidInput(
            f"bridge_subnet {wanted!r} has a prefix length of {length}", hint="use one from 8 to 29", value=wanted
        )
    gateway = address if address != ip.base(network) else address + 1
    if gateway == ip.last(network):
        raise InvalidInput(f"bridge_subnet {wanted!r} names its broadcast address", hint="name another", value=wanted)
    for other in taken:
        if ip.overlap(network, other):
            raise InvalidInput(
                f"bridge_subnet {wanted!r} overlaps {ip.text(other[1])}/{other[2]}, which this host uses already",
                hint="choose another subnet, or remove that address or route",
                value=wanted,
            )
    return ip.written(network), ip.text(gateway)


# -- addresses -------------------------------------------------------------------------------------------------------


def pick_address(
    subnet: str, gateway: str, used: Iterable[str], last: str | None = None, *, within: str | None = None
) -> str:
    """Choose a free address: the next after ``last``, or after the highest in use; from the start at the end.

    used: addresses that are taken. within: a part of the subnet to choose from. Raises HostError when none is left.
    """
    network = ip.split(subnet)
    width = network[0]
    taken = {ip.number(address) for address in used}
    lowest, highest = ip.base(network) + 1, ip.last(network) - (width == 32)
    if within:
        part = ip.split(within)
        lowest, highest = max(lowest, ip.base(part)), min(highest, ip.last(part))
    start = ip.number(last) if last else max((one for one in taken if lowest <= one <= highest), default=lowest - 1)
    if gateway:
        taken.add(ip.number(gateway))
    if not lowest <= start <= highest:
        start = lowest - 1
    for candidates in (range(start + 1, highest + 1), range(lowest, start + 1)):
        for candidate in candidates:
            if candidate not in taken:
                return ip.text(candidate, width)
    raise HostError(
        f"the network {within or subnet} has no free address left: {len(taken)} are in use",
        hint="remove containers that are not needed, or make a network with a larger subnet",
        value=subnet,
    )
