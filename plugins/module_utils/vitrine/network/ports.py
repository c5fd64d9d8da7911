# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holding published host ports: bound, so that nobody else takes them, and never listening.

Packets for a published port never reach a socket of the host: they are sent on before. Without a holder a program of
the host could bind the port and wonder, and the conflict of two containers would show to neither.
"""

from __future__ import annotations

import _socket
import errno
import os

from ..errors import HostError, InvalidInput, PortInUse
from .plan import PROTOCOLS, WILDCARD, WILDCARD6, publishers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KINDS = {"tcp": _socket.SOCK_STREAM, "udp": _socket.SOCK_DGRAM, "sctp": _socket.SOCK_STREAM}


def hold_ports(plan: dict[str, Any]) -> tuple[list[int], list[list[Any]]]:
    """Bind all published host ports of a plan: (file descriptors to keep open, the mappings as they came out).

    In the returned mappings host_port 0 has become the chosen port, and host_ip "" is 0.0.0.0 and ::, for each family
    that the container has; put them into the plan before it is connected. Raises PortInUse naming the port; then none
    is held.
    """
    fds: list[int] = []
    held: list[list[Any]] = []
    four, six = publishers(plan)
    try:
        for host_ip, host_port, container_port, protocol in plan["ports"]:
            places = [host_ip] if host_ip else [WILDCARD] * (four is not None) + [WILDCARD6] * (six is not None)
            for place, fd, number in _hold_everywhere(places, host_port, protocol):
                fds.append(fd)
                held.append([place, number, container_port, protocol])
    except BaseException:
        release(fds)
        raise
    return [fd for fd in fds if fd >= 0], held


def _hold_everywhere(places: list[str], host_port: int, protocol: str) -> list[tuple[str, int, int]]:
    """Bind one port on all places: [(place, descriptor, port)]. A free one (0) is the same on all of them."""
    for _attempt in range(20):
        found: list[tuple[str, int, int]] = []
        try:
            for place in places:
                wanted = found[0][2] if found else host_port
                found.append((place, *_hold(place, wanted, protocol)))
            return found
        except PortInUse:
            release([fd for _place, fd, _number in found])
            if host_port:
                raise
        except BaseException:
            release([fd for _place, fd, _number in found])
            raise
    raise HostError(f"no {protocol} port is free on {' and '.join(places)}", value=protocol)


def release(fds: list[int]) -> None:
    """Let go of held ports."""
    for fd in fds:
        if fd >= 0:
            os.close(fd)


def _hold(host_ip: str, host_port: int, protocol: str) -> tuple[int, int]:
    try:
        family = _socket.AF_INET6 if ":" in host_ip else _socket.AF_INET
        socket = _socket.socket(family, _KINDS[protocol] | _socket.SOCK_CLOEXEC, PROTOCOLS[protocol])
        if family == _socket.AF_INET6:
            socket.setsockopt(41, 26, 1)  # IPPROTO_IPV6, IPV6_V6ONLY: IPv4 has a socket of its own
    except OSError as error:
        if protocol == "sctp" and host_port:
            return -1, host_port  # the host has no SCTP of its own, so nothing can take the port
        raise HostError(f"no {protocol} socket: {error.strerror}", value=protocol) from None
    try:
        try:
            socket.bind((host_ip, host_port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or protocol != "tcp":
                raise
            _bind_over_remains(socket, host_ip, host_port)
        number = socket.getsockname()[1]
        return socket.detach(), number
    except OSError as error:
        raise _explain(error, host_ip, host_port, protocol) from None
    finally:
        socket.close()


def _bind_over_remains(socket: Any, host_ip: str, host_port: int) -> None:
    """Bind a port on which only closed connections linger (TIME_WAIT), of a server that ran there before.

    SO_REUSEADDR alone would also let two holders share a port. To begin to listen makes the kernel look for
    any other owner; shutdown leaves the listening state again and keeps the port.
    """
    socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    socket.bind((host_ip, host_port))
    socket.listen(0)
    socket.shutdown(_socket.SHUT_RD)
    socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 0)


def _explain(error: OSError, host_ip: str, host_port: int, protocol: str) -> Exception:
    place = f"[{host_ip}]:{host_port}/{protocol}" if ":" in host_ip else f"{host_ip}:{host_port}/{protocol}"
    if error.errno == errno.EADDRINUSE:
        kind = "-u" if protocol == "udp" else "-t"
        return PortInUse(
            f"the host port {place} cannot be published: it is in use",
            hint=f"publish another port, or stop what holds it (ss {kind}anp 'sport = :{host_port}' shows it)",
            value=place,
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return InvalidInput(
            f"the port {place} cannot be published: this host has no address {host_ip}",
            hint="use an address of the host (ip addr shows them), or none for all",
            value=host_ip,
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return HostError(f"the host port {place} may not be bound: {error.strerror}", hint="the engine needs root")
    return HostError(f"the host port {place} could not be bound: {error.strerror}", value=place)
