# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's side of bridge networks: bridges that are made for the first container and go with the last, and switches.

All of it is changed under one lock (``Lock``, flock on a file), which dies with its holder.
"""

from __future__ import annotations

import _socket
import errno
import fcntl
import os
import struct

from ..errors import HostError, VitrineError
from ..linux import netlink as route
from ..linux.netlink_kinds import link_group
from . import addresses as ip
from . import firewalls, rules
from . import plan as plans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

SYSCTLS = "/proc/sys/net"
HINTS = {
    errno.EPERM: "the engine needs root (CAP_NET_ADMIN)",
    errno.EOPNOTSUPP: "load the kernel modules: modprobe -a bridge veth",
    errno.EROFS: "the engine must be able to write to /proc/sys/net",
    errno.EXFULL: "a bridge takes 1023 containers: stop some, or use another network for the next ones",
}
_DIGITS = "0123456789abcdef"


class Lock:
    """The lock for what containers share. With no path: none (the caller holds it)."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> None:
        if self._path is not None:
            try:
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(self._path), 0o700, exist_ok=True)
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *_exception: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


# -- making ----------------------------------------------------------------------------------------------------------


def ensure(netlink: route.Netlink, plan: dict[str, Any]) -> tuple[dict[str, tuple[int, int]], Any]:
    """Make sure that the plan's bridges, the host's switches and the packet filter are there.

    Returns (index and MTU of each bridge by name, the fallback driver of the packet filter or None). Costs two
    questions to the kernel for each bridge that is there. Raises HostError saying what the host lacks.
    """
    found = {}
    new = []
    for one in plans.bridged(plan):
        name = one["bridge"]
        try:
            bridge = _bridge(netlink, one)
            if bridge is None:
                new.append(name)
                _make_bridge(netlink, one)
                bridge = _bridge(netlink, one) or (0, 1500)
        except OSError as error:
            raise HostError(
                f"the bridge {name} could not be set up: {error.strerror}",
                hint=HINTS.get(error.errno or 0, ""),
                value=name,
            ) from None
        found[name] = bridge
    if not found:
        return found, None
    fallback = rules.driver(plan)
    for name in new:
        if not fallback:
            best_effort(firewalls.admit, {"bridge": name, "table": plan["table"]})
    return found, fallback


def best_effort(action: Callable[[dict[str, Any]], None], names: dict[str, Any]) -> None:
    """What other packet filters do is not ours to enforce: ``firewalls.blockers`` tells what is left to do."""
    try:
        action(names)
    except (OSError, VitrineError):
        pass


def _wanted(one: dict[str, Any]) -> list[tuple[str, int]]:
    """The host's addresses on an endpoint's bridge."""
    return [(one[f"gateway{suffix}"], one[f"prefix{suffix}"]) for suffix in ("", "6") if one[f"gateway{suffix}"]]


def _bridge(netlink: route.Netlink, one: dict[str, Any]) -> tuple[int, int] | None:
    """Index and MTU of the endpoint's bridge when it is up with the endpoint's gateways, else None."""
    found = route.link(netlink, one["bridge"])
    if found is None:
        return None
    index, _name, flags, _master, mtu = found
    if not flags & route.IFF_UP:
        return None
    there = {(address, length) for _index, address, length in route.addresses(netlink, route.AF_UNSPEC, index)}
    return (index, mtu) if there.issuperset(_wanted(one)) else None


def _make_bridge(netlink: route.Netlink, one: dict[str, Any]) -> None:
    name = one["bridge"]
    there = route.link(netlink, name)
    if there is not None:
        _check_replaceable(netlink, one, there)
    if one["subnet"]:
        write_switch("ipv4/ip_forward", "1", required=True)
    if one["subnet6"]:
        _forward6()
    first = ip.split(
        one["subnet"] or one["subnet6"]
    )  # its own address, which no container has, where there is no gateway
    mac = ip.mac_bytes(ip.mac_address(one["gateway"] or one["gateway6"] or ip.text(ip.base(first), first[0])))
    if there is None:
        netlink.run([route.bridge_create(name, mac, one["mtu"] or default_mtu(netlink), group(name))])
    index = _socket.if_nametoindex(name)
    # Published ports on 127.0.0.1 leave through the bridge with that source; chain "early" drops what comes in with
    # such a destination. Loose source checks, as packets of one flow take both NAT and plain paths.
    for switch, value in (("route_localnet", "1"), ("rp_filter", "2")):
        write_switch(f"ipv4/conf/{name}/{switch}", value, required=switch == "route_localnet" and bool(one["subnet"]))
    # No container may announce itself as the host's IPv6 router, nor, where there is no IPv6, reach the host by it.
    six = bool(one["gateway6"])
    for switch, value in (("accept_ra", "0"), ("accept_dad", "0"), ("disable_ipv6", "0" if six else "1")):
        write_switch(f"ipv6/conf/{name}/{switch}", value, required=six and switch == "disable_ipv6")
    mark = route.attribute(route.IFLA_GROUP, struct.pack("=I", group(name)))
    messages = [route.link_set(name, mark, up=True, index=index)]
    messages += [route.address_add(index, f"{gateway}/{prefix}") for gateway, prefix in _wanted(one)]
    for number, explanation in netlink.transact(messages):
        if number and number != errno.EEXIST:
            raise OSError(number, explanation or os.strerror(number))


def _check_replaceable(netlink: route.Netlink, one: dict[str, Any], there: tuple[int, str, int, int, int]) -> None:
    """The name is taken: by our own bridge, half made or with another address. Take that address away if unused.

    A link that does not bear our mark is the host's, whatever it is: an address, a filter's rules and its removal with
    the last container are not what its owner made it for.
    """
    index = there[0]
    if link_group(netlink, one["bridge"]) != group(one["bridge"]):
        raise HostError(
            f"there is a link called {one['bridge']} on this host, which is not ours",
            hint="remove it, or make the network anew with another bridge name",
            value=one["bridge"],
        )
    others = [
        (address, length)
        for _owner, address, length in route.addresses(netlink, route.AF_UNSPEC, index)
        if (address, length) not in _wanted(one) and not address.startswith("fe80:")
    ]
    if not others:
        return
    if any(master == index for _index, _name, _flags, master, _mtu in route.links(netlink)):
        address, length = others[0]
        raise HostError(
            f"the bridge {one['bridge']} is in use with the address {address}/{length}, "
            f"not {one['gateway'] or one['gateway6']}",
            hint="stop the containers on it first",
            value=one["bridge"],
        )
    netlink.run([route.address_delete(index, f"{address}/{length}") for address, length in others])


def default_mtu(netlink: route.Netlink) -> int:
    """The MTU of the link that the default route leaves by; 1500 without one."""
    outward = {index for _to, length, index, table, _kind in route.routes(netlink) if not length and table == 254}
    sizes = [mtu for index, _name, _flags, _master, mtu in route.links(netlink) if index in outward]
    return min(sizes) if sizes else 1500


def _forward6() -> None:
    """Let the host forward IPv6. A link that takes its routes from routers' announcements goes on to do so.

    The kernel reads accept_ra 1 as: unless this host is a router itself.
    """
    if _read_switch("ipv6/conf/all/forwarding") == b"1":
        return
    try:
        links = os.listdir(f"{SYSCTLS}/ipv6/conf")
    except OSError as error:
        raise OSError(error.errno, "this host has no IPv6") from None
    for name in links:
        announced = name not in ("all", "default") and _read_switch(f"ipv6/conf/{name}/accept_ra") == b"1"
        if announced and _read_switch(f"ipv6/conf/{name}/forwarding") == b"0":
            write_switch(f"ipv6/conf/{name}/accept_ra", "2")
    write_switch("ipv6/conf/all/forwarding", "1", required=True)


def _read_switch(name: str) -> bytes:
    try:
        fd = os.open(f"{SYSCTLS}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 64).strip()
    except OSError:
        return b""
    finally:
        os.close(fd)


def write_switch(name: str, value: str, *, required: bool = False) -> None:
    """Write a sysctl unless it says so already (which also works where /proc/sys is read-only)."""
    path = f"{SYSCTLS}/{name}"
    if _read_switch(name) == value.encode():
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        if required:
            raise OSError(error.errno, f"{path} cannot be set to {value}: {error.strerror}") from None


# -- taking apart ----------------------------------------------------------------------------------------------------


def group(bridge: str) -> int:
    """The number that a bridge and its ports have as their group, so that they can be deleted in one go."""
    value = 0
    for byte in os.fsencode(bridge):
        value = (value * 31 + byte) & 0x3FFFFFFF
    return value | 0x40000000


def is_host_interface(name: str) -> bool:
    """Whether a link is the host's end of a container's veth pair, by its name."""
    return len(name) in (14, 15) and name.startswith("vt") and all(digit in _DIGITS for digit in name[2:14])


def ports_of(netlink: route.Netlink, names: Collection[str]) -> dict[str, list[str]]:
    """Return the names of the links on each of these bridges that is there."""
    listed = route.links(netlink)
    there = {index: name for index, name, _flags, _master, _mtu in listed if name in names}
    # a name may be another link's: of a host that has one called so, or of a network's record that is damaged
    there = {index: name for index, name in there.items() if link_group(netlink, name) == group(name)}
    found: dict[str, list[str]] = {name: [] for name in there.values()}
    for _index, name, _flags, master, _mtu in listed:
        if master in there:
            found[there[master]].append(name)
    return found


def known(names: dict[str, Any]) -> set[str]:
    """Names of all bridges that may be there: a plan's or those of "bridge" and "bridges", and the packet filter's."""
    found = {one["bridge"] for one in plans.bridged(names)} if "endpoints" in names else set(names.get("bridges") or ())
    if names.get("bridge"):
        found.add(names["bridge"])
    try:
        found |= rules.bridges(names["table"])
    except OSError:
        pass  # without nf_tables the names that we were given have to do
    return found


def remove(netlink: route.Netlink, names: dict[str, Any], gone: dict[str, list[str]], *, all_of_it: bool) -> list[str]:
    """Remove bridges with their ports, and what the packet filter has of them; returns what was removed, for people.

    gone: the ports by bridge. all_of_it: no other bridge is left, so the packet filter goes too.
    """
    removed = []
    fallback = rules.fallback_in_use(names) if gone else None
    if fallback:
        all_of_it = fallback.bridges(names) <= set(gone)
    else:
        for bridge in gone:
            best_effort(firewalls.withdraw, {"bridge": bridge, "table": names["table"]})
    try:
        if fallback and all_of_it:
            fallback.remove(names)
            removed.append(f"table {names['table']}")
        elif fallback:
            for bridge in gone:
                fallback.remove_network(names, bridge)
        elif all_of_it:
            removed += [f"table {names['table']}"] if rules.remove(names["table"]) else []
        else:
            removed += rules.remove_networks(names["table"], gone)
    except OSError as error:
        if error.errno not in rules.NO_TABLES:
            raise HostError(f"the table {names['table']} could not be removed: {error.strerror}") from None
    for bridge, ports in gone.items():
        removed += [*ports, bridge]
        netlink.transact([route.group_delete(group(bridge))])
        if link_group(netlink, bridge) == group(bridge):
            netlink.transact([route.link_delete(name) for name in (*ports, bridge)])
    return removed
