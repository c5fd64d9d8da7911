# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other people's packet filters on the host, which may drop what containers send: docker's, ufw's, firewalld's.

In nf_tables an accept in one table does not save a packet from a drop in the next. So where a chain at the forward hook
drops what no rule of it accepts, two rules that let our bridge through are put first; what may pass our bridge is
judged in our own table. ufw leaves them there when it reloads. firewalld makes its table anew whenever it likes: it is
asked to trust the bridge, now and after it was reloaded. All of it is done when a bridge is made (and by
``links.restore``), and undone when it goes. It is best effort: ``blockers`` says what still stands in the way.
"""

from __future__ import annotations

import os

from ..linux.netlink import Netlink, attributes
from . import nftables as nft

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Chain = tuple[int, str, str]  # family, table, name
    Rule = tuple[bytes, str, list[tuple[str, dict[int, bytes]]]]  # handle, comment, expressions

FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}
FIREWALLD = "firewalld"
LEGACY = "legacy iptables filter FORWARD"
ZONE = "trusted"
_LEGACY_TABLES = "/proc/net/ip_tables_names"
_DEEPEST = 16  # as the kernel lets chains call each other
_GOTO = -4
# what a rule may do besides judging
_SILENT = ("counter", "log", "notrack", "objref")
_SILENT_TARGETS = (b"LOG", b"NFLOG", b"MARK", b"CONNMARK", b"TRACE")


def admit(names: dict[str, Any]) -> None:
    """Let the bridge's packets pass the forward chains that would drop them; what is done already stays."""
    bridge = names["bridge"]
    with nft.open_netfilter() as netlink:
        filters = _Filters(netlink, names["table"])
        messages = []
        for family, table, chain in filters.blocking(bridge):
            if table == FIREWALLD:
                continue
            for key in (nft.META_OIFNAME, nft.META_IIFNAME):
                rule = nft.interface(key, bridge) + nft.verdict(nft.ACCEPT)
                messages.append(nft.insert_rule(family, table, chain, _comment(names), rule))
        if messages:
            nft.commit(netlink, messages)
    if filters.firewalld:
        _trust("--change-interface", bridge)
    if _legacy_blocks(bridge):
        for flag in ("-o", "-i"):
            _legacy("-I", "FORWARD", "1", *_legacy_rule(flag, bridge))


def withdraw(names: dict[str, Any]) -> None:
    """Take back what admit did."""
    bridge = names["bridge"]
    with nft.open_netfilter() as netlink:
        filters = _Filters(netlink, names["table"])
        messages = [
            nft.delete_rule(family, table, chain, handle)
            for family, table, chain in filters.bases
            for handle, comment, _expressions in filters.rules((family, table, chain))
            if comment == _comment(names)
        ]
        if messages:
            nft.commit(netlink, messages)
    if filters.firewalld:
        _trust("--remove-interface", bridge)
    if _legacy_tables():
        for flag in ("-o", "-i"):
            _legacy("-D", "FORWARD", *_legacy_rule(flag, bridge))


def blockers(names: dict[str, Any]) -> list[str]:
    """Return the forward chains that drop what passes our bridge, as "ip filter FORWARD".

    A rule whose conditions cannot be judged without a packet counts as one that does not apply. Raises OSError where
    nf_tables cannot be asked.
    """
    with nft.open_netfilter() as netlink:
        chains = _Filters(netlink, names["table"]).blocking(names["bridge"])
    found = [f"{FAMILIES[family]} {table} {chain}" for family, table, chain in chains]
    if _legacy_blocks(names["bridge"]):
        found.append(LEGACY)
    return found


def remedy(blocker: str, bridge: str) -> str:
    """What an administrator types so that a blocker lets a bridge through."""
    words = blocker.split()
    if FIREWALLD in words:
        command = f"firewall-cmd --zone={ZONE} --change-interface={bridge}"
        return f"{command} && {command} --permanent"
    if blocker == LEGACY:
        return f"iptables-legacy -I FORWARD -i {bridge} -j ACCEPT; iptables-legacy -I FORWARD -o {bridge} -j ACCEPT"
    if words[-2:] == ["filter", "FORWARD"] and os.path.exists("/etc/ufw/ufw.conf"):
        return f"ufw route allow in on {bridge}; ufw route allow out on {bridge}"
    return f"nft insert rule {blocker} iifname {bridge} accept; nft insert rule {blocker} oifname {bridge} accept"


def _comment(names: dict[str, Any]) -> str:
    return f"{names['table']}: our bridge {names['bridge']}"


# -- reading nf_tables -----------------------------------------------------------------------------------------------


class _Filters:
    """The forward chains of all tables but our own, and what they do with a packet that begins a connection."""

    def __init__(self, netlink: Netlink, own: str) -> None:
        self._netlink = netlink
        self._rules: dict[Chain, list[Rule]] = {}
        self.bases: dict[Chain, int] = {}  # with their policies
        self.firewalld = False
        for payload in nft.dump(netlink, nft.GETCHAIN):
            values = dict(attributes(payload, 4))
            table, chain = _text(values.get(1, b"")), _text(values.get(3, b""))
            self.firewalld = self.firewalld or table == FIREWALLD
            hook = dict(attributes(values.get(4, b""))).get(1)
            if payload[0] in FAMILIES and table != own and hook is not None and _number(hook) == nft.FORWARD:
                self.bases[payload[0], table, chain] = _number(values.get(5, b"\0\0\0\1"))

    def blocking(self, bridge: str) -> list[Chain]:
        """The base chains that drop what comes from the bridge, or what is published and goes to it."""
        found = []
        for chain, policy in self.bases.items():
            outcomes = [self._outcome(chain, key, bridge, 0) for key in (nft.META_IIFNAME, nft.META_OIFNAME)]
            if nft.DROP in [policy if one is None else one for one in outcomes]:
                found.append(chain)
        return found

    def rules(self, chain: Chain) -> list[Rule]:
        """The rules of a chain."""
        if chain not in self._rules:
            self._rules[chain] = found = []
            for payload in nft.dump(self._netlink, nft.GETRULE, *chain):
                values = dict(attributes(payload, 4))
                listed = [dict(attributes(one)) for _kind, one in attributes(values.get(4, b""))]
                expressions = [(_text(one.get(1, b"")), dict(attributes(one.get(2, b"")))) for one in listed]
                found.append((values.get(3, b""), nft.comment_of(values.get(7, b"")), expressions))
        return self._rules[chain]

    def _outcome(self, chain: Chain, key: int, bridge: str, depth: int) -> int | None:
        """ACCEPT or DROP for a packet of which only the interface that key names is known; None: no rule judges."""
        if depth > _DEEPEST:
            return None
        for _handle, _own, expressions in self.rules(chain):
            code, target = _judge(expressions, key, bridge)
            if code in (nft.JUMP, _GOTO):
                verdict = self._outcome((*chain[:2], target), key, bridge, depth + 1)
                if verdict is not None or code == _GOTO:
                    return verdict
            elif code == nft.RETURN:
                return None
            elif code is not None:
                return code
        return None


def _text(value: bytes) -> str:
    return os.fsdecode(value.rstrip(b"\0"))


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big", signed=True)


def _judge(expressions: list[tuple[str, dict[int, bytes]]], key: int, bridge: str) -> tuple[int | None, str]:
    """The verdict of a rule, and the chain that it names. None: it has no verdict, or does not surely apply."""
    loaded: int | None = None
    published = False
    for name, values in expressions:
        if name in _SILENT or (name == "match" and _text(values.get(1, b"")) == "comment"):
            continue
        if name == "meta":
            loaded = _number(values.get(2, b""))
        elif name == "cmp" and loaded == key:
            data = dict(attributes(values.get(3, b""))).get(1, b"")
            equal = os.fsencode(bridge).ljust(16, b"\0")[: len(data)] == data
            if equal != (_number(values.get(2, b"")) == 0):
                return None, ""
            loaded = None
        elif name == "ct" and key == nft.META_OIFNAME and _number(values.get(2, b"")) == nft.CT_STATUS:
            published, loaded = True, None  # what comes in to the bridge is what was published
        elif published and name in ("bitwise", "cmp"):
            continue
        elif name == "immediate" and _number(values.get(1, b"")) == nft.VERDICT_REGISTER:
            verdict = dict(attributes(dict(attributes(values.get(2, b""))).get(2, b"")))
            return _number(verdict.get(1, b"")), _text(verdict.get(2, b""))
        elif name == "reject" or (name == "target" and _text(values.get(1, b"")) == "REJECT"):
            return nft.DROP, ""
        elif name != "target" or values.get(1, b"").rstrip(b"\0") not in _SILENT_TARGETS:
            return None, ""
    return None, ""


# -- asking others ---------------------------------------------------------------------------------------------------


def _trust(action: str, bridge: str) -> None:
    """Change firewalld's mind about a bridge. A reload forgets what is not permanent."""
    from ..linux import command

    if command.which("firewall-cmd"):
        for permanent in ([], ["--permanent"]):
            command.run(["firewall-cmd", *permanent, f"--zone={ZONE}", f"{action}={bridge}"], timeout=20)


def _legacy_tables() -> bool:
    """Whether the kernel's older filter is in use beside nf_tables, which shows nothing of it."""
    try:
        with open(_LEGACY_TABLES, "rb") as file:
            return b"filter" in file.read(4096).split()
    except OSError:
        return False


def _legacy_rule(flag: str, bridge: str) -> list[str]:
    return [flag, bridge, "-j", "ACCEPT"]


def _legacy(*words: str) -> str:
    from ..linux import command

    program = "iptables-legacy" if command.which("iptables-legacy") else "iptables"
    return command.run([program, "-w", "5", *words], timeout=20).stdout.decode("utf-8", "replace")


def _legacy_blocks(bridge: str) -> bool:
    if not _legacy_tables():
        return False
    lines = _legacy("-S", "FORWARD").splitlines()
    accepted = {f"-A FORWARD {flag} {bridge} -j ACCEPT" for flag in ("-i", "-o")}
    return "-P FORWARD DROP" in lines and not accepted <= set(lines)
