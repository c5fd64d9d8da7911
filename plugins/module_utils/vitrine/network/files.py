# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The texts of a container's /etc/resolv.conf and /etc/hosts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# As docker: when the host has only a resolver of its own on a loopback address, which no container can reach.
PUBLIC_SERVERS = ("8.8.8.8", "8.8.4.4")


def resolv_conf(
    host_text: str,
    dns: Iterable[str] = (),
    search: Iterable[str] = (),
    options: Iterable[str] = (),
    *,
    keep_loopback: bool = False,
    ipv6: bool = False,
    ndots: str = "",
) -> str:
    """Return a resolver configuration (resolv.conf(5)): the host's, each part replaced by what was asked for.

    The host's nameservers on loopback and link-local addresses are left out, and without ipv6 those on IPv6 ones, as no
    container reaches them, unless keep_loopback (the host's own network). search ["."] means: no search list.
    ndots: that option's value where nobody gave one.
    """
    servers: list[str] = []
    searches: list[str] = []
    settings: list[str] = []
    for line in host_text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            searches = words[1:]  # the last one counts
        elif words[0] == "options":
            settings += words[1:]
    asked = [str(server) for server in dns]
    if asked:
        servers = asked
    elif not keep_loopback:
        servers = [one for one in servers if _reachable(one, ipv6)]
        servers = servers or list(PUBLIC_SERVERS)
    searches = list(search) or searches
    settings = list(options) or settings
    if ndots and not any(option.startswith("ndots:") for option in settings):
        settings = [*settings, f"ndots:{ndots}"]
    lines = [f"nameserver {server}" for server in servers]
    if searches and searches != ["."]:
        lines.insert(0, "search " + " ".join(searches))
    if settings:
        lines.append("options " + " ".join(settings))
    return "".join(line + "\n" for line in lines)


def _reachable(server: str, ipv6: bool) -> bool:
    if ":" in server:
        return ipv6 and server != "::1" and not server.lower().startswith("fe80:")
    return not server.startswith("127.")


def hosts(hostname: str, addresses: Iterable[str], extra: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> str:
    """Return an /etc/hosts: loopback, then extra (name -> address), then the container's own name.

    hostname: the full name; its first label becomes an alias. addresses: the container's, none without a network.
    """
    pairs = extra.items() if hasattr(extra, "items") else extra
    lines = [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::\tip6-localnet",
        "ff00::\tip6-mcastprefix",
        "ff02::1\tip6-allnodes",
        "ff02::2\tip6-allrouters",
    ]
    lines += [f"{where}\t{name}" for name, where in pairs]
    if hostname:
        short = hostname.partition(".")[0]
        names = hostname if short == hostname else f"{hostname} {short}"
        lines += [f"{address}\t{names}" for address in list(addresses) or ["127.0.0.1"]]
    return "".join(line + "\n" for line in lines)
