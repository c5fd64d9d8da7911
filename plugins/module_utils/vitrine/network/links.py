# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wiring a container: its interfaces, addresses and routes, its published ports; and taking it apart.

All that is shared by containers is changed under one lock (flock on ``lock_path``), which dies with its holder.
What belongs to one container goes with it: its links with its network namespace; its port elements are taken
out by ``disconnect``, or, when nobody lived to call it, by the next ``sweep``.
"""

from __future__ import annotations

import _socket
import errno
import os

from ..errors import HostError, StartFailed, VitrineError
from ..linux import netlink as route
from ..linux.namespaces import inside
from . import addresses as ip
from . import bridges, firewalls, rules
from . import plan as plans
from .bridges import HINTS, Lock
from .flows import flush_udp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any


def setup_host(plan: dict[str, Any], lock_path: str | None) -> None:
    """Make sure that the plan's bridges, the host's switches and the packet filter are there.

    Raises HostError saying what the host lacks.
    """
    with Lock(lock_path), route.Netlink() as netlink:
        bridges.ensure(netlink, plan)


# -- one container ---------------------------------------------------------------------------------------------------


def connect(plan: dict[str, Any], netns_path: str, lock_path: str | None = None) -> None:
    """Wire a container: a link for each endpoint in its network namespace, addresses, routes, published ports.

    netns_path: "/proc/PID/ns/net". Makes good what of setup_host has gone meanwhile, and replaces what an earlier
    start of the same container left behind. On failure nothing stays. Raises StartFailed (stage "network"), HostError.
    """
    fd = -1
    try:
        fd = os.open(netns_path, os.O_RDONLY | os.O_CLOEXEC)
        with Lock(lock_path), route.Netlink() as netlink:
            found, fallback = bridges.ensure(netlink, plan)
            for one in plan["endpoints"]:
                make_link(netlink, one, found, fd)
            if plan["ports"]:
                (fallback or rules).add_ports(plan)
        flush_udp(plan)
        inside(fd, "net", lambda: configure(plan["endpoints"]))
    except (OSError, VitrineError) as error:
        _undo(plan, lock_path)
        if isinstance(error, VitrineError):
            raise
        raise failed(plan, error) from None
    finally:
        if fd >= 0:
            os.close(fd)


def failed(plan: dict[str, Any], error: OSError) -> StartFailed:
    """What to raise for a network that could not be wired."""
    return StartFailed(
        f"the network of container {plan['container_id'][:12]} could not be set up: {error.strerror}",
        stage="network",
        errno=error.errno or 0,
        hint=HINTS.get(error.errno or 0, ""),
    )


def make_link(netlink: route.Netlink, one: dict[str, Any], found: dict[str, tuple[int, int]], fd: int) -> None:
    """Make an endpoint's link, its inner end in the namespace ``fd``."""
    if one["driver"] != "bridge":
        from . import sublinks

        sublinks.make(netlink, one, fd)
        return
    index, mtu = found[one["bridge"]]
    name = one["host_if"]
    size, number = one["mtu"] or mtu, bridges.group(one["bridge"])
    pair = route.veth_create(name, index, size, number, fd, one["ifname"], ip.mac_bytes(one["mac"]))
    error, explanation = netlink.transact([pair])[0]
    if error == errno.EEXIST:
        # An earlier start's, whose network namespace the kernel has not taken down yet.
        netlink.transact([route.link_delete(name)])
        error, explanation = netlink.transact([pair])[0]
    if error:
        raise OSError(error, explanation or os.strerror(error))
    port = _socket.if_nametoindex(name)
    netlink.run([route.bridge_port_hairpin(port)])
    if not one["icc"]:
        from ..linux.netlink_kinds import bridge_port_isolate

        netlink.run([bridge_port_isolate(port)])


def configure(endpoints: list[dict[str, Any]]) -> None:
    """Runs in the container's network namespace."""
    operations = []
    for one in endpoints:
        name = one["ifname"]
        # Tell the neighbours at once when an address has a new owner. No IPv6 where the network has none; where it has,
        # addresses are given, not looked for or announced by whoever likes to.
        bridges.write_switch(f"ipv4/conf/{name}/arp_notify", "1")
        six = (("accept_ra", "0"), ("accept_dad", "0"), ("ndisc_notify", "1"))
        for switch, value in six if one["address6"] else (("disable_ipv6", "1"),):
            bridges.write_switch(f"ipv6/conf/{name}/{switch}", value)
        operations += plans.outside_ops(one)
    route.apply(operations)


def _undo(plan: dict[str, Any], lock_path: str | None) -> None:
    try:
        disconnect(plan, lock_path)
        with route.Netlink() as netlink:
            netlink.transact([route.link_delete(one["host_if"]) for one in plans.bridged(plan)])
    except (OSError, VitrineError):
        pass  # the error that led here is the one to tell; sweep finds the rest


def disconnect(plan: dict[str, Any], lock_path: str | None = None) -> None:
    """Take a container's published ports back; its links go with its network namespace. May be repeated.

    Only elements of this container are removed. Raises HostError.
    """
    if not plan["ports"]:
        return
    owner = plan["container_id"]
    addresses = {one[key] for one in plan["endpoints"] for key in ("address", "address6")}
    with Lock(lock_path):
        remove_ports(plan, lambda holder, target: holder == owner or (not holder and target in addresses))
    flush_udp(plan)


def remove_ports(names: dict[str, Any], gone: Callable[[str, str], bool]) -> None:
    """Take back the published ports for which gone(container id, address) is true. Raises HostError."""
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
    """Remove every bridge that no container needs, and with the last one the packet filter; True when any was.

    names: a network plan, or at least "bridge" and "table". live: called under the lock; the ids of all containers that
    run or are being set up, or true when there are any. A bridge with ports of others stays. The host's switches stay.
    """
    with Lock(lock_path), route.Netlink() as netlink:
        living = live()
        if living is True:
            return False
        alive = {one[:12] for one in living} if living else set()  # type: ignore[attr-defined]
        found = bridges.ports_of(netlink, bridges.known(names))
        idle = {
            bridge: ports
            for bridge, ports in found.items()
            if all(bridges.is_host_interface(port) and port[2:14] not in alive for port in ports)
        }
        if found and not idle:
            return False
        return bool(bridges.remove(netlink, names, idle, all_of_it=len(idle) == len(found)))


def sweep(names: dict[str, Any], live_ids: Collection[str], lock_path: str | None) -> list[str]:
    """Remove port elements and veth pairs of containers that are gone, and bridges that nobody is on any more.

    names: "table" and "bridges" (or "bridge"). live_ids: ids of all containers that run or are being set up.
    Returns what was removed, for people. Elements carry their container's id as comment; veth names begin with its
    first twelve digits.
    """
    removed: list[str] = []
    with Lock(lock_path), route.Netlink() as netlink:
        alive = {one[:12] for one in live_ids}
        found = bridges.ports_of(netlink, bridges.known(names))
        idle = {}
        stale = []
        for bridge, ports in found.items():
            dead = [port for port in ports if bridges.is_host_interface(port) and port[2:14] not in alive]
            if len(dead) == len(ports):
                idle[bridge] = ports
            else:
                stale += dead
        if idle or not found:
            removed += bridges.remove(netlink, names, idle, all_of_it=len(idle) == len(found))
        if len(idle) == len(found):
            return removed
        if stale:
            netlink.transact([route.link_delete(name) for name in stale])
            removed += stale

        def gone(owner: str, address: str) -> bool:
            if not owner or owner in live_ids:
                return False
            removed.append(f"published ports of {owner[:12]} ({address})")
            return True

        remove_ports(names, gone)
    return removed


def restore(running: Collection[dict[str, Any]], lock_path: str | None) -> None:
    """Make good what others took away (``nft flush ruleset``): base ruleset and ports of all running containers.

    running: the network plans, with the host ports that were really chosen.
    """
    with Lock(lock_path), route.Netlink() as netlink:
        admitted = set()
        for plan in running:
            found, fallback = bridges.ensure(netlink, plan)
            for bridge in found if not fallback else ():
                if bridge not in admitted:
                    admitted.add(bridge)
                    bridges.best_effort(firewalls.admit, {"bridge": bridge, "table": plan["table"]})
            if plan["ports"]:
                try:
                    (fallback or rules).add_ports(plan)
                except OSError as error:
                    raise HostError(f"ports could not be published again: {error.strerror}") from None
