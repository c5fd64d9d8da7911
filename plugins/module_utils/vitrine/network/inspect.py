# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading back what is there of a bridge network, for people: by pyroute2, so never on the way of starting anything."""

from __future__ import annotations

from ..errors import DependencyMissing, HostError
from . import firewalls, rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def observe(names: dict[str, Any]) -> dict[str, Any]:
    """Return the state of the network with these names ("bridge" and "table").

    {"bridge", "present", "up", "mac", "mtu", "addresses": ["10.83.0.1/16"], "interfaces": [the containers' host ends],
    "published": [{"host_ip", "host_port", "protocol", "address", "container_port", "container_id"}],
    "blocked_by": [chains of others that drop forwarded packets by default]}. Without a bridge all are empty.
    Raises DependencyMissing without pyroute2, HostError when the kernel does not answer.
    """
    state: dict[str, Any] = {"bridge": names["bridge"], "present": False, "up": False, "mac": "", "mtu": 0}
    state.update(addresses=[], interfaces=[], published=[], blocked_by=[])
    route = _iproute()
    try:
        with route() as ip:
            for index in ip.link_lookup(ifname=names["bridge"]):
                _read_bridge(ip, index, state)
    except OSError as error:
        raise HostError(f"the bridge {names['bridge']} cannot be read: {error.strerror}") from None
    keys = ("host_ip", "host_port", "protocol", "address", "container_port", "container_id")
    try:
        state["published"] = [dict(zip(keys, entry)) for entry in rules.published(names["table"])]
        state["blocked_by"] = firewalls.blockers(names) if state["present"] else []
    except OSError as error:
        if error.errno not in rules.NO_TABLES:
            raise HostError(f"the table {names['table']} cannot be read: {error.strerror}") from None
    return state


def _iproute() -> Any:
    try:
        from pyroute2 import IPRoute
    except ImportError:
        raise DependencyMissing(
            "inspecting a network needs the Python package pyroute2, which is not importable on this host",
            hint="install python3-pyroute2 (Debian, Ubuntu; EPEL on CentOS), or: python3 -m pip install pyroute2",
            value="pyroute2",
        ) from None
    return IPRoute


def _read_bridge(ip: Any, index: int, state: dict[str, Any]) -> None:
    for link in ip.get_links():
        if link["index"] == index:
            state.update(
                present=True,
                up=bool(link["flags"] & 1),
                mac=link.get_attr("IFLA_ADDRESS") or "",
                mtu=link.get_attr("IFLA_MTU") or 0,
            )
        elif link.get_attr("IFLA_MASTER") == index:
            state["interfaces"].append(link.get_attr("IFLA_IFNAME"))
    state["interfaces"].sort()
    for address in ip.get_addr(index=index):
        state["addresses"].append(f"{address.get_attr('IFA_ADDRESS')}/{address['prefixlen']}")
