# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other people's packet filters on the host, which may drop what containers send: docker's, ufw's, firewalld's.

In nf_tables an accept in one table does not save a packet from a drop in the next. So where the forward hook drops by
default, two rules that let our bridge through are put first; what may pass our bridge is judged in our own table.
firewalld is asked instead, as it makes its table anew whenever it likes. All of it is done when the bridge is made
(and by ``links.restore``), and undone when it goes. It is best effort: ``blockers`` says what still stands in the way.
"""

from __future__ import annotations

import os

from ..linux.netlink import Netlink, attributes
from . import nftables as nft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FAMILIES = {1: "inet", 2: "ip"}
FIREWALLD = "firewalld"


def admit(names: dict[str, Any]) -> None:
    """Let the bridge's packets pass the forward chains that drop by default; what is done already stays."""
    bridge = names["bridge"]
    with nft.open_netfilter() as netlink:
        messages = []
        chains = _forward_chains(netlink, names["table"])
        for family, table, chain, policy in chains:
            if policy != nft.DROP or table == FIREWALLD or _own_rules(netlink, family, table, chain, names["table"]):
                continue
            for key in (nft.META_OIFNAME, nft.META_IIFNAME):
                rule = nft.interface(key, bridge) + nft.verdict(nft.ACCEPT)
                messages.append(nft.insert_rule(family, table, chain, _comment(names["table"]), rule))
        if messages:
            nft.commit(netlink, messages)
    if any(table == FIREWALLD for _family, table, _chain, _policy in chains):
        _firewalld("--add-interface", bridge)


def withdraw(names: dict[str, Any]) -> None:
    """Take back what admit did."""
    with nft.open_netfilter() as netlink:
        chains = _forward_chains(netlink, names["table"])
        messages = [
            nft.delete_rule(family, table, chain, handle)
            for family, table, chain, _policy in chains
            for handle in _own_rules(netlink, family, table, chain, names["table"])
        ]
        if messages:
            nft.commit(netlink, messages)
    if any(table == FIREWALLD for _family, table, _chain, _policy in chains):
        _firewalld("--remove-interface", names["bridge"])


def blockers(names: dict[str, Any]) -> list[str]:
    """Return the chains that drop forwarded packets by default and do not let our bridge through ("ip filter FORWARD").

    Raises OSError where nf_tables cannot be asked.
    """
    with nft.open_netfilter() as netlink:
        return [
            f"{FAMILIES[family]} {table} {chain}"
            for family, table, chain, policy in _forward_chains(netlink, names["table"])
            if policy == nft.DROP and not _own_rules(netlink, family, table, chain, names["table"])
        ]


def _comment(table: str) -> str:
    return f"{table}: our bridge"


def _forward_chains(netlink: Netlink, own: str) -> list[tuple[int, str, str, int]]:
    """The base chains at the forward hook, but for our own table's: (family, table, chain, policy)."""
    found = []
    for payload in nft.dump(netlink, nft.GETCHAIN):
        family = payload[0]
        values = dict(attributes(payload, 4))
        hook = dict(attributes(values.get(4, b""))).get(1)
        if family not in FAMILIES or hook is None or int.from_bytes(hook, "big") != nft.FORWARD:
            continue
        table = os.fsdecode(values.get(1, b"").rstrip(b"\0"))
        if table != own:
            chain = os.fsdecode(values.get(3, b"").rstrip(b"\0"))
            found.append((family, table, chain, int.from_bytes(values.get(5, b"\0\0\0\1"), "big")))
    return found


def _own_rules(netlink: Netlink, family: int, table: str, chain: str, own: str) -> list[bytes]:
    """Handles of the rules in a chain that admit made."""
    found = []
    for payload in nft.dump(netlink, nft.GETRULE, family, table, chain):
        values = dict(attributes(payload, 4))
        if nft.comment_of(values.get(7, b"")) == _comment(own):
            found.append(values.get(3, b""))
    return found


def _firewalld(action: str, bridge: str) -> None:
    """Change to which zone the bridge belongs: what comes from containers may go out."""
    from ..linux import command

    if command.which("firewall-cmd"):
        command.run(["firewall-cmd", "--zone=trusted", f"{action}={bridge}"], timeout=20)
