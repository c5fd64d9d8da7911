# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting a running container on another network, or taking it off one, from outside its namespace.

Default routes and published ports move as ``plan.settle`` says. What fails is undone.
"""

from __future__ import annotations

import _socket
import errno
import os

from ..errors import VitrineError
from ..linux import netlink as route
from ..linux.namespaces import inside
from ..linux.netlink_kinds import route_delete
from . import bridges, links, rules
from . import plan as plans
from .bridges import Lock
from .flows import flush_udp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def attach(before: dict[str, Any], after: dict[str, Any], netns: int, lock_path: str | None) -> None:
    """Make the endpoint that ``after`` has and ``before`` has not. netns: descriptor of the container's namespace.

    Raises StartFailed (stage "network"), HostError; then all is as it was.
    """
    (one,) = _missing(after, before)
    try:
        with Lock(lock_path), route.Netlink() as netlink:
            found, _fallback = bridges.ensure(netlink, {**after, "endpoints": [one], "ports": []})
            _remove_inner(netns, one)  # what a command that was killed left
            links.make_link(netlink, one, found, netns)
        inside(netns, "net", lambda: links.configure([{**one, "default_route": False, "default_route6": False}]))
        _move(before, after, netns, lock_path)
    except (OSError, VitrineError) as error:
        try:
            detach(after, before, netns, lock_path)
        except (OSError, VitrineError):
            pass  # the error that led here is the one to tell
        if isinstance(error, VitrineError):
            raise
        raise links.failed(after, error) from None


def detach(before: dict[str, Any], after: dict[str, Any], netns: int, lock_path: str | None) -> None:
    """Take the endpoint away that ``before`` has and ``after`` has not; its bridge stays for teardown_if_idle.

    One that is gone already is none to complain of. Raises OSError, HostError.
    """
    for one in _missing(before, after):
        _remove_inner(netns, one)
    _move(before, after, netns, lock_path)


def _missing(where: dict[str, Any], other: dict[str, Any]) -> list[dict[str, Any]]:
    """The endpoints that one plan has and another has not."""
    there = {one["network"] for one in other["endpoints"]}
    return [one for one in where["endpoints"] if one["network"] not in there]


def _remove_inner(netns: int, one: dict[str, Any]) -> None:
    """Delete a container's interface. A veth pair goes as a whole, and by the host's end: the other one's name is the
    container's to change."""
    if one["driver"] == "bridge":
        with route.Netlink() as netlink:
            netlink.transact([route.link_delete(one["host_if"])])  # ENODEV: it is gone already

    def delete() -> None:
        with route.Netlink() as netlink:
            number, explanation = netlink.transact([route.link_delete(one["ifname"])])[0]
        if number not in (0, errno.ENODEV):
            raise OSError(number, explanation or os.strerror(number))

    inside(netns, "net", delete)


def _move(before: dict[str, Any], after: dict[str, Any], netns: int, lock_path: str | None) -> None:
    """Let default routes and published ports be as ``after`` has them."""
    inside(netns, "net", lambda: _reroute(before["endpoints"], after["endpoints"]))
    addresses = [
        [one and one[f"address{suffix}"] for suffix, one in zip(("", "6"), plans.publishers(plan))]
        for plan in (before, after)
    ]
    if addresses[0] == addresses[1] or not (before["ports"] or after["ports"]):
        return
    owner = after["container_id"]
    with Lock(lock_path):
        fallback = rules.fallback_in_use(after)
        if fallback or not after["ports"]:
            links.remove_ports(after, lambda holder, _address: holder == owner)
        if after["ports"]:
            (fallback or rules).add_ports(after)
        if not fallback:
            links.remove_ports(after, lambda holder, address: holder == owner and address not in addresses[1])
    flush_udp({**after, "ports": before["ports"] or after["ports"]})


def _reroute(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> None:
    """Runs in the container's network namespace."""
    there = {one["ifname"] for one in after}
    old = [operation for one in before for operation in plans.default_ops(one)]
    new = [operation for one in after for operation in plans.default_ops(one)]
    with route.Netlink() as netlink:
        for operation in old:
            if operation not in new and operation[-1] in there:
                target, gateway = ("default", operation[1]) if operation[0] == "route_default" else (operation[1], None)
                netlink.transact([route_delete(_socket.if_nametoindex(operation[-1]), target, gateway)])
    route.apply([one for one in new if one not in old])
