# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wiring a container: the bridge and the host's switches, the veth pair, the published ports; and taking it apart.

All that is shared by containers is changed under one lock (flock on ``lock_path``), which dies with its holder.
What belongs to one container goes with it: its veth pair with its network namespace; its port elements are taken
out by ``disconnect``, or, when nobody lived to call it, by the next ``sweep``.
"""

from __future__ import annotations

import _socket
import _thread
import errno
import fcntl
import os
import struct

from ..errors import HostError, StartFailed, VitrineError
from ..linux import netlink as route
from ..linux.namespaces import FLAGS, setns
from . import firewalls, rules
from . import plan as plans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

SYSCTLS = "/proc/sys/net"


class _Lock:
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


# -- the host --------------------------------------------------------------------------------------------------------


def setup_host(plan: dict[str, Any], lock_path: str | None) -> None:
    """Make sure that the plan's bridge, its gateway address, the host's switches and the packet filter are there.

    Costs two questions to the kernel when they are. Raises HostError saying what the host lacks.
    """
    with _Lock(lock_path), route.Netlink() as netlink:
        _ensure_host(netlink, plan)


def _ensure_host(netlink: route.Netlink, plan: dict[str, Any]) -> tuple[tuple[int, int], Any]:
    """The work of setup_host: ((the bridge's index, its MTU), the fallback driver of the packet filter or None)."""
    try:
        bridge = _bridge(netlink, plan)
        new = bridge is None
        if bridge is None:
            _make_bridge(netlink, plan)
            bridge = _bridge(netlink, plan) or (0, 1500)
    except OSError as error:
        raise HostError(
            f"the bridge {plan['bridge']} could not be set up: {error.strerror}",
            hint=_HINTS.get(error.errno or 0, ""),
            value=plan["bridge"],
        ) from None
    fallback = rules.driver(plan)
    if new and not fallback:
        _best_effort(firewalls.admit, plan)
    return bridge, fallback


def _best_effort(action: Callable[[dict[str, Any]], None], names: dict[str, Any]) -> None:
    """What other packet filters do is not ours to enforce: ``firewalls.blockers`` tells what is left to do."""
    try:
        action(names)
    except (OSError, VitrineError):
        pass


_HINTS = {
    errno.EPERM: "the engine needs root (CAP_NET_ADMIN)",
    errno.EOPNOTSUPP: "load the kernel modules: modprobe -a bridge veth",
    errno.EROFS: "the engine must be able to write to /proc/sys/net",
}


def _bridge(netlink: route.Netlink, plan: dict[str, Any]) -> tuple[int, int] | None:
    """Index and MTU of the plan's bridge when it is up with the plan's gateway, else None."""
    found = route.link(netlink, plan["bridge"])
    if found is None:
        return None
    index, _name, flags, _master, mtu = found
    wanted = (index, plan["gateway"], plan["prefix"])
    if not flags & route.IFF_UP or wanted not in route.addresses(netlink):
        return None
    return index, mtu


def _make_bridge(netlink: route.Netlink, plan: dict[str, Any]) -> None:
    name = plan["bridge"]
    there = route.link(netlink, name)
    if there is not None:
        _check_replaceable(netlink, plan, there)
    _write_switch("ipv4/ip_forward", "1", required=True)
    mac = plans.mac_bytes(plans.mac_address(plan["gateway"]))
    if there is None:
        netlink.run([route.bridge_create(name, mac, plan["mtu"] or default_mtu(netlink), _group(name))])
    index = _socket.if_nametoindex(name)
    # Published ports on 127.0.0.1 leave through the bridge with that source; chain "early" drops what comes in with
    # such a destination. Loose source checks, as packets of one flow take both NAT and plain paths.
    for switch, value in (("route_localnet", "1"), ("rp_filter", "2")):
        _write_switch(f"ipv4/conf/{name}/{switch}", value, required=switch == "route_localnet")
    # No container may announce itself as the host's IPv6 router, nor reach the host by a link-local address.
    for switch, value in (("accept_ra", "0"), ("disable_ipv6", "1")):
        _write_switch(f"ipv6/conf/{name}/{switch}", value)
    messages = [route.link_set(name, up=True, index=index)]
    messages.append(route.address_add(index, f"{plan['gateway']}/{plan['prefix']}"))
    for number, explanation in netlink.transact(messages):
        if number and number != errno.EEXIST:
            raise OSError(number, explanation or os.strerror(number))


def _check_replaceable(netlink: route.Netlink, plan: dict[str, Any], there: tuple[int, str, int, int, int]) -> None:
    """The name is taken: by our own bridge, half made or with another address. Take that address away if unused."""
    index = there[0]
    others = [
        (address, length)
        for owner, address, length in route.addresses(netlink)
        if owner == index and (address, length) != (plan["gateway"], plan["prefix"])
    ]
    if not others:
        return
    if any(master == index for _index, _name, _flags, master, _mtu in route.links(netlink)):
        address, length = others[0]
        raise HostError(
            f"the bridge {plan['bridge']} is in use with the address {address}/{length}, not {plan['gateway']}",
            hint="stop the containers on it first",
            value=plan["bridge"],
        )
    netlink.run([route.address_delete(index, f"{address}/{length}") for address, length in others])


def default_mtu(netlink: route.Netlink) -> int:
    """The MTU of the link that the default route leaves by; 1500 without one."""
    outward = {index for _to, length, index, table, _kind in route.routes(netlink) if not length and table == 254}
    sizes = [mtu for index, _name, _flags, _master, mtu in route.links(netlink) if index in outward]
    return min(sizes) if sizes else 1500


def _write_switch(name: str, value: str, *, required: bool = False) -> None:
    """Write a sysctl unless it says so already (which also works where /proc/sys is read-only)."""
    path = f"{SYSCTLS}/{name}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            current = os.read(fd, 64)
        finally:
            os.close(fd)
        if current.strip() == value.encode():
            return
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        if required:
            raise OSError(error.errno, f"{path} cannot be set to {value}: {error.strerror}") from None


# -- one container ---------------------------------------------------------------------------------------------------


def connect(plan: dict[str, Any], netns_path: str, lock_path: str | None = None) -> None:
    """Wire a container: its veth pair from the bridge into its network namespace, address, route, published ports.

    netns_path: "/proc/PID/ns/net". Makes good what of setup_host has gone meanwhile, and replaces what an earlier
    start of the same container left behind. On failure nothing stays. Raises StartFailed (stage "network"), HostError.
    """
    fd = -1
    try:
        fd = os.open(netns_path, os.O_RDONLY | os.O_CLOEXEC)
        with _Lock(lock_path), route.Netlink() as netlink:
            bridge, fallback = _ensure_host(netlink, plan)
            _make_pair(netlink, plan, bridge, fd)
            if plan["ports"]:
                (fallback or rules).add_ports(plan)
        flush_udp(plan)
        _inside(fd, lambda: _configure(plan))
    except (OSError, VitrineError) as error:
        _undo(plan, lock_path)
        if isinstance(error, VitrineError):
            raise
        raise StartFailed(
            f"the network of container {plan['container_id'][:12]} could not be set up: {error.strerror}",
            stage="network",
            errno=error.errno or 0,
            hint=_HINTS.get(error.errno or 0, ""),
        ) from None
    finally:
        if fd >= 0:
            os.close(fd)


def _make_pair(netlink: route.Netlink, plan: dict[str, Any], bridge: tuple[int, int], fd: int) -> None:
    index, mtu = bridge
    name = plan["host_if"]
    size, group, mac = plan["mtu"] or mtu, _group(plan["bridge"]), plans.mac_bytes(plan["mac"])
    pair = route.veth_create(name, index, size, group, fd, plan["ifname"], mac)
    number, explanation = netlink.transact([pair])[0]
    if number == errno.EEXIST:
        # An earlier start's, whose network namespace the kernel has not taken down yet.
        netlink.transact([route.link_delete(name)])
        number, explanation = netlink.transact([pair])[0]
    if number:
        raise OSError(number, explanation or os.strerror(number))
    netlink.run([route.bridge_port_hairpin(_socket.if_nametoindex(name))])


def _configure(plan: dict[str, Any]) -> None:
    """Runs in the container's network namespace."""
    name = plan["ifname"]
    # Tell the neighbours at once when an address has a new owner; no IPv6 where the network has none.
    _write_switch(f"ipv4/conf/{name}/arp_notify", "1")
    _write_switch(f"ipv6/conf/{name}/disable_ipv6", "1")
    route.apply(plans.outside_ops(plan))


def _inside(fd: int, action: Callable[[], None]) -> None:
    """Run action with the calling thread in another network namespace."""
    own = os.open(f"/proc/self/task/{_thread.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(fd, FLAGS["net"])
        try:
            action()
        finally:
            setns(own, FLAGS["net"])
    finally:
        os.close(own)


def _undo(plan: dict[str, Any], lock_path: str | None) -> None:
    try:
        disconnect(plan, lock_path)
        with route.Netlink() as netlink:
            netlink.transact([route.link_delete(plan["host_if"])])
    except (OSError, VitrineError):
        pass  # the error that led here is the one to tell; sweep finds the rest


def disconnect(plan: dict[str, Any], lock_path: str | None = None) -> None:
    """Take a container's published ports back; its veth pair goes with its network namespace. May be repeated.

    Only elements of this container at its address are removed. Raises HostError.
    """
    if not plan["ports"]:
        return
    owner, address = plan["container_id"], plan["address"]
    with _Lock(lock_path):
        _remove_ports(plan, lambda holder, target: target == address and holder in (owner, ""))
    flush_udp(plan)


def _remove_ports(names: dict[str, Any], gone: Callable[[str, str], bool]) -> None:
    fallback = rules.fallback_in_use(names)
    try:
        if fallback:
            fallback.remove_ports(names, gone)
        else:
            rules.remove_ports(names["table"], gone)
    except OSError as error:
        if error.errno not in rules.NO_TABLES:
            raise HostError(f"published ports could not be taken back: {error.strerror}") from None


# -- all containers --------------------------------------------------------------------------------------------------


def teardown_if_idle(names: dict[str, Any], live: Callable[[], object], lock_path: str | None) -> bool:
    """Remove the bridge and the packet filter when no container needs them; True when they were removed.

    names: a network plan, or at least "bridge" and "table". live: called under the lock; true when any container is
    on the bridge or is being set up. A bridge with ports of others stays. The host's ip_forward stays as it is.
    """
    with _Lock(lock_path), route.Netlink() as netlink:
        if live():
            return False
        ports = _bridge_ports(netlink, names)
        if ports is not None and any(not _is_host_interface(name) for name in ports):
            return False
        return bool(_teardown(netlink, names, ports))


def _bridge_ports(netlink: route.Netlink, names: dict[str, Any]) -> list[str] | None:
    """Names of the links on the bridge; None when there is no bridge."""
    bridge = route.link(netlink, names["bridge"])
    if bridge is None:
        return None
    return [name for _index, name, _flags, master, _mtu in route.links(netlink) if master == bridge[0]]


def _teardown(netlink: route.Netlink, names: dict[str, Any], ports: list[str] | None) -> list[str]:
    """Remove the packet filter, the bridge's ports and the bridge (ports None: there is none); returns their names."""
    removed = []
    fallback = rules.fallback_in_use(names) if ports is not None else None
    if ports is not None and not fallback:
        _best_effort(firewalls.withdraw, names)
    try:
        if fallback:
            fallback.remove(names)
        if fallback or rules.remove(names["table"]):
            removed.append(f"table {names['table']}")
    except OSError as error:
        raise HostError(f"the table {names['table']} could not be removed: {error.strerror}") from None
    if ports is not None:
        removed += [*ports, names["bridge"]]
        netlink.transact([route.group_delete(_group(names["bridge"]))])
        if _bridge_ports(netlink, names) is not None:
            netlink.transact([route.link_delete(name) for name in (*ports, names["bridge"])])
    return removed


def _group(bridge: str) -> int:
    """The number that a bridge and its ports have as their group, so that they can be deleted in one go."""
    value = 0
    for byte in os.fsencode(bridge):
        value = (value * 31 + byte) & 0x3FFFFFFF
    return value | 0x40000000


def _is_host_interface(name: str) -> bool:
    return len(name) == 14 and name.startswith("vt") and all(digit in "0123456789abcdef" for digit in name[2:])


def sweep(names: dict[str, Any], live_ids: Collection[str], lock_path: str | None) -> list[str]:
    """Remove port elements and veth pairs of containers that are gone; with none alive the bridge and table too.

    live_ids: ids of all containers that run or are being set up. Returns what was removed, for people.
    Elements carry their container's id as comment; veth names begin with its first twelve digits.
    """
    removed: list[str] = []
    with _Lock(lock_path), route.Netlink() as netlink:
        known = {plans.host_interface(one) for one in live_ids}
        ports = _bridge_ports(netlink, names)
        stale = [name for name in ports or () if _is_host_interface(name) and name not in known]
        if not live_ids and len(stale) == len(ports or ()):
            return _teardown(netlink, names, ports)
        if ports is None:
            return removed
        if stale:
            netlink.transact([route.link_delete(name) for name in stale])
            removed += stale

        def gone(owner: str, address: str) -> bool:
            if not owner or owner in live_ids:
                return False
            removed.append(f"published ports of {owner[:12]} ({address})")
            return True

        _remove_ports(names, gone)
    return removed


def restore(running: Collection[dict[str, Any]], lock_path: str | None) -> None:
    """Make good what others took away (``nft flush ruleset``): base ruleset and ports of all running containers.

    running: the network plans of one bridge, with the host ports that were really chosen.
    """
    with _Lock(lock_path), route.Netlink() as netlink:
        for number, plan in enumerate(running):
            _bridge_and_mtu, fallback = _ensure_host(netlink, plan)
            if not number and not fallback:
                _best_effort(firewalls.admit, plan)
            if plan["ports"]:
                try:
                    (fallback or rules).add_ports(plan)
                except OSError as error:
                    raise HostError(f"ports could not be published again: {error.strerror}") from None


# -- flows that the kernel remembers ---------------------------------------------------------------------------------

_CONNTRACK = 1 << 8
_GET, _DELETE = 1, 2


def flush_udp(plan: dict[str, Any]) -> None:
    """Forget flows to the plan's published UDP ports: else a client that goes on sending stays bound to what was.

    Does nothing where the kernel has no ctnetlink.
    """
    published = {port for _ip, port, _inside_port, protocol in plan["ports"] if protocol == "udp"}
    if not published:
        return
    head = struct.pack(">BBH", _socket.AF_INET, 0, 0)
    udp = route.attribute(1, b"\x11")
    try:
        with route.Netlink(route.NETLINK_NETFILTER) as netlink:
            stale = []
            for _kind, payload in netlink.dump(_CONNTRACK | _GET, head):
                if udp not in payload:
                    continue  # looking before taking apart: there may be a million flows
                original = dict(route.attributes(payload, 4)).get(1, b"")
                ports = dict(route.attributes(dict(route.attributes(original)).get(2, b"")))
                number = struct.unpack(">H", ports.get(3, b"\0\0"))[0]
                if number in published:
                    stale.append((_CONNTRACK | _DELETE, 0, head + route.nested(1, original)))
            if stale:
                netlink.transact(stale)
    except OSError:
        pass
