# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container's network should be, as data: subnets, addresses, MACs, ports. IPv4.

A network plan is a dict that can be marshalled: "instance", "bridge", "table", "subnet" ("10.83.0.0/16"), "gateway",
"prefix" (int), "mtu" (0: the default route's), "container_id", "address", "mac", "host_if", "ifname",
"ports" ([[host_ip, host_port, container_port, protocol], ...]; host_ip "" is every address, host_port 0 any free one).
"""

from __future__ import annotations

import _socket

from ..errors import HostError, InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
WILDCARD = "0.0.0.0"

# Clear of what others take unasked: docker 172.17-31 and 192.168, podman 10.88 and 10.89, CRI-O 10.85, k3s 10.42 and
# 10.43, kubeadm 10.96/12, flannel and Calico 10.244 and 192.168.
DEFAULT_POOLS = tuple(f"10.{number}.0.0/16" for number in (83, 84, 86, 87, 90, 91, 92, 93, 94, 95, 53, 54, 56, 57))
SMALL_POOLS = tuple(f"{start}.{number}.0/24" for start in ("10.201", "172.31", "192.168") for number in range(200, 250))
# Other engine roots on the same host begin at a place of their own, so that two that start at once do not meet.
INSTANCE_POOLS = tuple(f"10.{64 + number // 16}.{number % 16 * 16}.0/20" for number in range(256))


# -- addresses -------------------------------------------------------------------------------------------------------


def number(address: str) -> int:
    """Return an IPv4 address as a number. Raises InvalidInput."""
    try:
        return int.from_bytes(_socket.inet_pton(_socket.AF_INET, address), "big")
    except (OSError, ValueError, TypeError):
        raise InvalidInput(
            f"{address!r} is not an IPv4 address", hint="write four numbers, as 192.0.2.10", value=address
        ) from None


def text(value: int) -> str:
    """Return a number as an IPv4 address."""
    return _socket.inet_ntop(_socket.AF_INET, value.to_bytes(4, "big"))


def mask(prefix: int) -> int:
    """Return a prefix length as a network mask."""
    return (0xFFFFFFFF << (32 - prefix)) & 0xFFFFFFFF


def split(subnet: str) -> tuple[int, int]:
    """Split "10.83.0.0/16" into (address, prefix length). Raises InvalidInput."""
    address, _slash, length = subnet.partition("/")
    if not (length.isascii() and length.isdigit() and len(length) <= 2 and int(length) <= 32):
        raise InvalidInput(f"{subnet!r} is not an IPv4 network", hint="write it as 10.83.0.0/16", value=subnet)
    return number(address), int(length)


def overlap(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """True when two networks (address, prefix length) have an address in common."""
    common = mask(min(first[1], second[1]))
    return first[0] & common == second[0] & common


def mac_address(address: str) -> str:
    """Derive a locally administered MAC from an IPv4 address: neighbours' caches stay right when it is given again."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in number(address).to_bytes(4, "big"))


def mac_bytes(mac: str) -> bytes:
    """Return a MAC as six bytes. Raises InvalidInput, also for a group address, which no interface can have."""
    parts = mac.replace("-", ":").split(":")
    try:
        if len(parts) != 6 or not all(1 <= len(part) <= 2 for part in parts):
            raise ValueError(mac)
        value = bytes(int(part, 16) for part in parts)
        if value[0] & 1 or not any(value):
            raise ValueError(mac)
    except ValueError:
        raise InvalidInput(
            f"{mac!r} is not the MAC address of an interface", hint="write it as 02:42:0a:53:00:02", value=mac
        ) from None
    return value


# -- choosing --------------------------------------------------------------------------------------------------------


def choose_subnet(instance: str, wanted: object = None, *, bridge: str = "") -> tuple[str, str]:
    """Choose the default network of an engine root: (subnet, gateway), clear of the host's addresses and routes.

    wanted: the configuration's "bridge_subnet" ("10.5.0.0/16", or "10.5.0.1/16" to name the gateway too), or None.
    bridge: the name of a link whose own addresses do not count. Raises InvalidInput, HostError.
    """
    from ..linux import netlink as route

    with route.Netlink() as netlink:
        own = {index for index, name, *_rest in route.links(netlink) if bridge and name == bridge}
        taken = [
            (number(address), length) for index, address, length in route.addresses(netlink) if index not in own
        ] + [
            (number(destination), length)
            for destination, length, index, table, _kind in route.routes(netlink)
            if length and index not in own and table != 255
        ]
    return pick_subnet(instance, taken, wanted)


def pick_subnet(instance: str, taken: Iterable[tuple[int, int]], wanted: object = None) -> tuple[str, str]:
    """The choice of choose_subnet; taken: (address, prefix length) of the host's networks."""
    taken = list(taken)
    if wanted is not None:
        return _wanted_subnet(wanted, taken)
    pools = DEFAULT_POOLS
    if instance:
        start = int(instance, 16) % len(INSTANCE_POOLS)
        pools = INSTANCE_POOLS[start:] + INSTANCE_POOLS[:start] + DEFAULT_POOLS
    for pool in pools + SMALL_POOLS:
        candidate = split(pool)
        if not any(overlap(candidate, network) for network in taken):
            return pool, text(candidate[0] + 1)
    raise HostError(
        "no subnet is free for the containers' bridge: this host has routes to all that were tried",
        hint='name one as "bridge_subnet" in /etc/vitrine/config.json',
    )


def _wanted_subnet(wanted: object, taken: list[tuple[int, int]]) -> tuple[str, str]:
    if not isinstance(wanted, str):
        raise InvalidInput(f"bridge_subnet is {wanted!r}", hint='write it as "10.83.0.0/16"', value=wanted)
    address, length = split(wanted)
    if not 8 <= length <= 29:
        raise InvalidInput(
            f"bridge_subnet {wanted!r} has a prefix length of {length}", hint="use one from 8 to 29", value=wanted
        )
    network = address & mask(length)
    gateway = address if address != network else network + 1
    if gateway == network | ~mask(length) & 0xFFFFFFFF:
        raise InvalidInput(f"bridge_subnet {wanted!r} names its broadcast address", hint="name another", value=wanted)
    for other in taken:
        if overlap((network, length), other):
            raise InvalidInput(
                f"bridge_subnet {wanted!r} overlaps {text(other[0])}/{other[1]}, which this host uses already",
                hint="choose another subnet, or remove that address or route",
                value=wanted,
            )
    return f"{text(network)}/{length}", text(gateway)


def pick_address(subnet: str, gateway: str, used: Iterable[str], last: str | None = None) -> str:
    """Choose a free address: the next after ``last``, or after the highest in use; from the start at the end.

    used: addresses that are taken. Raises HostError when there is none left.
    """
    network, length = split(subnet)
    taken = {number(address) for address in used}
    first, end = network + 1, network | ~mask(length) & 0xFFFFFFFF
    start = number(last) if last else max(taken, default=network)
    taken.add(number(gateway))
    if not first <= start < end:
        start = network
    for candidates in (range(start + 1, end), range(first, start + 1)):
        for candidate in candidates:
            if candidate not in taken:
                return text(candidate)
    raise HostError(
        f"the network {subnet} has no free address left: {len(taken)} are in use",
        hint="remove containers, or configure a larger bridge_subnet",
        value=subnet,
    )


# -- the plan --------------------------------------------------------------------------------------------------------


def make(
    *,
    settings_instance: str,
    bridge: str,
    table: str,
    subnet: str,
    gateway: str,
    container_id: str,
    address: str,
    mac: str | None = None,
    ports: Iterable[Any] = (),
    mtu: int = 0,
) -> dict[str, Any]:
    """Return the network plan of one container. Raises InvalidInput for what cannot be carried out."""
    network, length = split(subnet)
    if not overlap((network, length), (number(address), 32)):
        raise InvalidInput(f"the address {address} is not in {subnet}", hint="use one of the network's", value=address)
    mac = mac or mac_address(address)
    mac_bytes(mac)
    return {
        "instance": settings_instance,
        "bridge": bridge,
        "table": table,
        "subnet": subnet,
        "gateway": gateway,
        "prefix": length,
        "mtu": mtu,
        "container_id": container_id,
        "address": address,
        "mac": mac,
        "host_if": host_interface(container_id),
        "ifname": "eth0",
        "ports": check_ports(ports),
    }


def host_interface(container_id: str) -> str:
    """Name of the host's end of a container's veth pair."""
    return "vt" + container_id[:12]


def check_ports(ports: Iterable[Any]) -> list[list[Any]]:
    """Return the mappings as lists, host_ip in one spelling ("" for every address). Raises InvalidInput."""
    checked: list[list[Any]] = []
    seen = set()
    for host_ip, host_port, container_port, protocol in ports:
        if ":" in host_ip:
            raise InvalidInput(
                f"port {container_port}/{protocol} cannot be published on the IPv6 address {host_ip}",
                hint="the containers' bridge is IPv4: publish on an IPv4 address",
                value=host_ip,
            )
        host_ip = "" if host_ip in ("", WILDCARD) else text(number(host_ip))
        if protocol not in PROTOCOLS:
            raise InvalidInput(f"unknown protocol {protocol!r}", hint="use tcp, udp or sctp", value=protocol)
        if not 0 <= host_port <= 65535 or not 1 <= container_port <= 65535:
            value = f"{host_port}:{container_port}"
            raise InvalidInput(f"{value} is not a pair of ports", hint="ports are 1 to 65535", value=value)
        entry = [host_ip, host_port, container_port, protocol]
        key = (host_ip, host_port, protocol)
        if host_port and key in seen:
            if entry in checked:
                continue
            raise InvalidInput(
                f"the host port {host_ip or WILDCARD}:{host_port}/{protocol} is published twice",
                hint="publish it for one port of the container only",
                value=host_port,
            )
        seen.add(key)
        checked.append(entry)
    return checked


def loopback_ops() -> list[tuple[str, ...]]:
    """What the init does in a network namespace of its own without a network."""
    return [("link_up", "lo")]


def inside_ops(plan: dict[str, Any]) -> list[tuple[str, ...]]:
    """What the init does in its namespace on a bridge: the rest is done from outside, by ``links.connect``."""
    return loopback_ops()


def outside_ops(plan: dict[str, Any]) -> list[tuple[str, ...]]:
    """What ``links.connect`` does in the container's namespace once its interface is there."""
    return [
        ("link_up", "lo"),
        ("addr_add", plan["ifname"], f"{plan['address']}/{plan['prefix']}"),
        ("link_up", plan["ifname"]),
        ("route_default", plan["gateway"], plan["ifname"]),
    ]
