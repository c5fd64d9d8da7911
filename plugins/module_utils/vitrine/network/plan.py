# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container's network should be, as data that can be marshalled and kept as JSON.

A network plan is a dict:
    instance, table, container_id    whose it is; the nf_tables tables (families ip and ip6) are called ``table``
    name, hostname                   of the container, for those that ask for it by name
    ports       [[host_ip, host_port, container_port, protocol], ...]; host_ip "" is every address of both families,
                "0.0.0.0" and "::" every one of a family; host_port 0 any free one. Empty when no endpoint publishes.
    endpoints   [endpoint, ...], in the order of their interfaces

and an endpoint, one interface in the container, is a dict:
    network, network_id    name, and 64 hex digits
    driver      "bridge", "macvlan", "ipvlan"; mode: of the latter two ("bridge", "l2", ...). Those without a parent
                are bridges that the host has no address on
    bridge      the bridge's name; of macvlan and ipvlan the parent's
    ifname      "eth0"; host_if: the host's end of the veth pair; mac; mtu (0: the bridge's or parent's)
    address, prefix, gateway, subnet           IPv4; "" and 0 where it has none
    address6, prefix6, gateway6, subnet6       the same of IPv6; fd00:: addresses unless somebody chose others
    internal    nothing goes out of the network or comes in; the gateway is the host's own address in it, no route
    default_route, default_route6              whether the container's default route leaves here: at most one of each
    aliases     names beside the container's own; named: whether names are resolved in this network
    icc, masquerade, isolate                   the network's options
"""

from __future__ import annotations

from ..errors import InvalidInput
from . import addresses as ip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
WILDCARD, WILDCARD6 = "0.0.0.0", "::"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_MODES = {"macvlan": "bridge", "ipvlan": "l2"}
# what a network's option is called, the endpoint's key, and its default
_SWITCHES = (
    ("com.docker.network.bridge.enable_icc", "icc", True),
    ("com.docker.network.bridge.enable_ip_masquerade", "masquerade", True),
    ("isolate", "isolate", False),
)


# -- endpoints -------------------------------------------------------------------------------------------------------


def endpoint(
    network: dict[str, Any],
    container_id: str,
    *,
    address: str = "",
    address6: str = "",
    mac: str | None = None,
    aliases: Iterable[str] = (),
    number: int = 0,
    ifname: str = "",
) -> dict[str, Any]:
    """Return a container's endpoint on a network. network: the record in the store. number: of the interface.

    Whether it has the default route is ``settle``'s to say. Raises InvalidInput for what cannot be carried out.
    """
    options = network.get("options") or {}
    # one without a parent is a wire between containers that nobody else is on: a bridge without the host does that
    alone = network["driver"] != "bridge" and not parent_of(network)
    mac = mac or ip.mac_address(address or address6 or "0.0.0.0")
    ip.mac_bytes(mac)
    made: dict[str, Any] = {
        "network": network["name"],
        "network_id": network["id"],
        "driver": "bridge" if alone else network["driver"],
        "bridge": network["bridge"],
        "mode": options.get(f"{network['driver']}_mode") or _MODES.get(network["driver"], ""),
        "ifname": ifname or f"eth{number}",
        "host_if": host_interface(container_id, number),
        "mac": mac,
        "mtu": int(options.get("com.docker.network.driver.mtu") or options.get("mtu") or 0),
        "internal": bool(network["internal"]),
        "default_route": False,
        "default_route6": False,
        "aliases": list(aliases),
        "named": network["name"] != "bridge",
    }
    for option, key, default in _SWITCHES:
        made[key] = enabled(options.get(option), default)
    for suffix, given in (("", address), ("6", address6)):
        made.update({f"address{suffix}": "", f"prefix{suffix}": 0, f"gateway{suffix}": "", f"subnet{suffix}": ""})
        if given:
            pool = pool_of(network, given)
            made[f"address{suffix}"] = ip.normal(given)
            made[f"prefix{suffix}"] = ip.split(pool["subnet"])[2]
            made[f"gateway{suffix}"] = "" if alone else pool["gateway"]
            made[f"subnet{suffix}"] = pool["subnet"]
    return made


def parent_of(network: dict[str, Any]) -> str:
    """Return the link of the host that a macvlan or ipvlan network is on; "" for one that has a bridge of ours."""
    if network.get("driver", "bridge") == "bridge":
        return ""
    return str((network.get("options") or {}).get("parent") or "")


def pool_of(network: dict[str, Any], address: str) -> dict[str, str]:
    """Return the entry of a network's "subnets" that an address belongs to. Raises InvalidInput."""
    for pool in network["subnets"]:
        if ip.contains(pool["subnet"], address):
            return pool  # type: ignore[no-any-return]
    subnets = ", ".join(pool["subnet"] for pool in network["subnets"])
    raise InvalidInput(
        f"the address {address} is not in {subnets or 'the network'}", hint="use one of the network's", value=address
    )


def enabled(value: object, default: bool) -> bool:
    """Return what an option's text says. Raises InvalidInput."""
    if value is None or value == "":
        return default
    word = str(value).lower()
    if word in ("1", "t", "true", "yes"):
        return True
    if word in ("0", "f", "false", "no"):
        return False
    raise InvalidInput(f"{value!r} is neither true nor false", hint="write true or false", value=value)


def host_interface(container_id: str, number: int = 0) -> str:
    """Name of the host's end of a container's veth pair. number: of the interface."""
    return "vt" + container_id[:12] + (_DIGITS[number % 36] if number else "")


def settle(endpoints: list[dict[str, Any]], priorities: dict[str, int] | None = None) -> None:
    """Say which endpoints have the default routes: docker's rule.

    Of those that have a gateway and are not internal: the highest priority, then the first network by name.
    """
    order = sorted(endpoints, key=lambda one: (-(priorities or {}).get(one["network"], 0), one["network"]))
    for suffix in ("", "6"):
        found = False
        for one in order:
            through = one[f"gateway{suffix}"] or one["mode"].startswith("l3")  # ipvlan's need no neighbour to go by
            outward = bool(through and one[f"address{suffix}"]) and not one["internal"]
            one[f"default_route{suffix}"] = outward and not found
            found = found or outward


# -- the plan --------------------------------------------------------------------------------------------------------


def make(
    *,
    settings_instance: str,
    table: str,
    container_id: str,
    endpoints: list[dict[str, Any]],
    ports: Iterable[Any] = (),
    name: str = "",
    hostname: str = "",
) -> dict[str, Any]:
    """Return the network plan of one container. Raises InvalidInput for ports that cannot be published."""
    made = {
        "instance": settings_instance,
        "table": table,
        "container_id": container_id,
        "name": name,
        "hostname": hostname,
        "ports": check_ports(ports),
        "endpoints": endpoints,
    }
    published_by = publishers(made)
    if not any(published_by):
        made["ports"] = []
    for host_ip, _host_port, container_port, protocol in made["ports"]:
        one = published_by[":" in host_ip]
        if host_ip and one is None:
            family = "IPv6" if ":" in host_ip else "IPv4"
            raise InvalidInput(
                f"port {container_port}/{protocol} cannot be published on {host_ip}: "
                f"the container has no {family} address",
                hint="publish on an address of the other family, or on none; or give its network such a subnet",
                value=host_ip,
            )
    return made


def bridged(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The endpoints on bridges."""
    return [one for one in plan["endpoints"] if one["driver"] == "bridge"]


def publishers(plan: dict[str, Any]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The endpoints by which ports are published, of IPv4 and of IPv6: bridges that the default routes leave by."""
    four = six = None
    for one in bridged(plan):
        if one["default_route"]:
            four = one
        if one["default_route6"]:
            six = one
    return four, six


def primary(plan: dict[str, Any]) -> dict[str, Any] | None:
    """The endpoint whose address stands for the container: the one with a default route, else the first."""
    for one in plan["endpoints"]:
        if one["default_route"]:
            return one  # type: ignore[no-any-return]
    return plan["endpoints"][0] if plan["endpoints"] else None


def check_ports(ports: Iterable[Any]) -> list[list[Any]]:
    """Return the mappings as lists, host_ip in one spelling ("" for every address). Raises InvalidInput."""
    checked: list[list[Any]] = []
    seen: set[tuple[str, int, str]] = set()
    for host_ip, host_port, container_port, protocol in ports:
        host_ip = host_ip[1:-1] if host_ip.startswith("[") and host_ip.endswith("]") else host_ip
        host_ip = ip.normal(host_ip) if host_ip else ""
        if host_ip == "::1":
            raise InvalidInput(
                f"port {container_port}/{protocol} cannot be published on ::1: "
                "Linux sends nothing from there to another link",
                hint="publish on 127.0.0.1, which works for localhost, or on an address of the host",
                value=host_ip,
            )
        if protocol not in PROTOCOLS:
            raise InvalidInput(f"unknown protocol {protocol!r}", hint="use tcp, udp or sctp", value=protocol)
        if not 0 <= host_port <= 65535 or not 1 <= container_port <= 65535:
            value = f"{host_port}:{container_port}"
            raise InvalidInput(f"{value} is not a pair of ports", hint="ports are 1 to 65535", value=value)
        entry = [host_ip, host_port, container_port, protocol]
        places = (WILDCARD, WILDCARD6) if not host_ip else (host_ip,)
        if host_port and any((place, host_port, protocol) in seen for place in places):
            if entry in checked:
                continue
            raise InvalidInput(
                f"the host port {host_ip or WILDCARD}:{host_port}/{protocol} is published twice",
                hint="publish it for one port of the container only",
                value=host_port,
            )
        seen.update((place, host_port, protocol) for place in places)
        checked.append(entry)
    return checked


def loopback_ops() -> list[tuple[str, ...]]:
    """What the init does in a network namespace of its own without a network."""
    return [("link_up", "lo")]


def inside_ops(plan: dict[str, Any]) -> list[tuple[str, ...]]:
    """What the init does in its namespace on a network: the rest is done from outside, by ``links.connect``."""
    return loopback_ops()


def outside_ops(one: dict[str, Any]) -> list[tuple[str, ...]]:
    """What ``links`` does in the container's namespace once the endpoint's interface is there."""
    name = one["ifname"]
    operations: list[tuple[str, ...]] = [("link_up", "lo")]
    for suffix in ("", "6"):
        if one[f"address{suffix}"]:
            operations.append(("addr_add", name, f"{one[f'address{suffix}']}/{one[f'prefix{suffix}']}"))
    operations.append(("link_up", name))
    return operations + default_ops(one)


def default_ops(one: dict[str, Any]) -> list[tuple[str, ...]]:
    """The default routes that leave by an endpoint."""
    return [
        ("route_default", one[f"gateway{suffix}"], one["ifname"])
        if one[f"gateway{suffix}"]
        else ("route_add", everywhere, "", one["ifname"])
        for suffix, everywhere in (("", "0.0.0.0/0"), ("6", "::/0"))
        if one[f"default_route{suffix}"]
    ]
