# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""IPv4 and IPv6 addresses, networks and MACs as numbers and texts. Pure; importing ``ipaddress`` costs more than this.

A network is a tuple (bits, number, prefix): bits is 32 or 128, number may have host bits, prefix is the length.
"""

from __future__ import annotations

import _socket

from ..errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    Network = tuple[int, int, int]


def bits(address: str) -> int:
    """Return how long addresses are that are written like this one: 32 or 128."""
    return 128 if ":" in address else 32


def number(address: str) -> int:
    """Return an address as a number. Raises InvalidInput."""
    try:
        family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
        return int.from_bytes(_socket.inet_pton(family, address), "big")
    except (OSError, ValueError, TypeError):
        raise InvalidInput(
            f"{address!r} is not an IPv4 or IPv6 address", hint="write it as 192.0.2.10 or fd00::10", value=address
        ) from None


def text(value: int, width: int = 32) -> str:
    """Return a number as an address of 32 or 128 bits, in its usual spelling."""
    family = _socket.AF_INET6 if width == 128 else _socket.AF_INET
    return _socket.inet_ntop(family, value.to_bytes(width // 8, "big"))


def normal(address: str) -> str:
    """Return an address in its usual spelling. Raises InvalidInput."""
    return text(number(address), bits(address))


def mask(prefix: int, width: int = 32) -> int:
    """Return a prefix length as a network mask."""
    ones = (1 << width) - 1
    return (ones << (width - prefix)) & ones


def split(subnet: str) -> Network:
    """Take "10.83.0.0/16" or "fd00::/64" apart. Raises InvalidInput."""
    address, _slash, length = subnet.partition("/")
    if not (length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= bits(address)):
        raise InvalidInput(f"{subnet!r} is not a network", hint="write it as 10.83.0.0/16 or fd00::/64", value=subnet)
    return bits(address), number(address), int(length)


def base(network: Network) -> int:
    """Return a network's first address."""
    width, value, prefix = network
    return value & mask(prefix, width)


def last(network: Network) -> int:
    """Return a network's last address: in IPv4 that of broadcasts."""
    width, value, prefix = network
    return value | (~mask(prefix, width) & ((1 << width) - 1))


def written(network: Network) -> str:
    """Return a network as text, without host bits."""
    return f"{text(base(network), network[0])}/{network[2]}"


def overlap(first: Network, second: Network) -> bool:
    """True when two networks have an address in common."""
    if first[0] != second[0]:
        return False
    common = mask(min(first[2], second[2]), first[0])
    return first[1] & common == second[1] & common


def contains(subnet: str, address: str) -> bool:
    """True when an address is one of a network's. Raises InvalidInput."""
    return overlap(split(subnet), (bits(address), number(address), bits(address)))


# -- MACs ------------------------------------------------------------------------------------------------------------


def mac_address(address: str) -> str:
    """Derive a locally administered MAC from an address: neighbours' caches stay right when it is given again."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in (number(address) & 0xFFFFFFFF).to_bytes(4, "big"))


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
