# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolver's sockets at 127.0.0.11:53 inside a container's network namespace.

They are bound to ports of the kernel's choice, and four rules change port 53 into these and back: a container that
runs a name server of its own (0.0.0.0:53) finds the port free. The rules change ports only, before and behind what
connection tracking sees, so that it is neither needed nor confused. Without nf_tables the sockets are on port 53.
"""

from __future__ import annotations

import _socket
import struct

from ..linux import features
from ..linux.namespaces import inside
from . import nftables as nft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..linux.netlink import Message

ADDRESS, PORT = "127.0.0.11", 53
TABLE = "vitrine_names"
_BACKLOG = 16
_PROTOCOLS = (17, 6)


def open_sockets(netns: int) -> tuple[_socket.socket, _socket.socket]:
    """Return the UDP socket and the listening TCP socket, both non-blocking. netns: descriptor of the namespace.

    Raises OSError: EADDRINUSE where the rules cannot be and the container has the port itself.
    """
    made: list[tuple[_socket.socket, _socket.socket]] = []
    inside(netns, "net", lambda: made.append(_open()))
    return made[0]


def _open() -> tuple[_socket.socket, _socket.socket]:
    if features.has("nf_tables"):
        pair = _bind(0)
        try:
            with nft.open_netfilter() as netlink:
                nft.commit(netlink, rules(pair[0].getsockname()[1], pair[1].getsockname()[1]))
            return pair
        except OSError:
            for one in pair:
                one.close()
    return _bind(PORT)


def _bind(port: int) -> tuple[_socket.socket, _socket.socket]:
    flags = _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
    udp = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | flags)
    tcp = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | flags)
    try:
        tcp.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        udp.bind((ADDRESS, port))
        tcp.bind((ADDRESS, port))
        tcp.listen(_BACKLOG)
    except OSError:
        udp.close()
        tcp.close()
        raise
    return udp, tcp


def rules(udp_port: int, tcp_port: int) -> list[Message]:
    """The messages that lead port 53 of the address to these ports; they replace an earlier monitor's."""
    address = int.from_bytes(_socket.inet_aton(ADDRESS), "big")
    messages = [
        nft.table(TABLE),
        nft.delete_table(TABLE),
        nft.table(TABLE),
        nft.chain(TABLE, "asked", "filter", nft.OUTPUT, -300),
        nft.chain(TABLE, "answered", "filter", nft.OUTPUT, 300),
    ]
    for protocol, port in zip(_PROTOCOLS, (udp_port, tcp_port)):
        own = nft.meta(nft.META_L4PROTO) + nft.compare(bytes((protocol,)))
        for chain, offset, field, old, new in (("asked", 16, 2, PORT, port), ("answered", 12, 0, port, PORT)):
            matched = nft.payload(2, field, 2) + nft.compare(struct.pack(">H", old))
            changed = nft.set_port(field, new, checksum=6 if protocol == 17 else 16)
            messages.append(nft.rule(TABLE, chain, nft.in_network(offset, address, 32), own, matched, changed))
    return messages
