# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Saying that a firewall of the host drops what containers send or what they publish, and what lets it through."""

from __future__ import annotations

import os

from ..errors import VitrineError
from ..network import firewalls
from ..network.plan import publishers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ..host.check import Finding
    from .core import Engine


_LINKS = "/proc/sys/net/ipv4/conf"


def _obstacles(engine: Engine, bridges: Iterable[str]) -> list[tuple[str, str]]:
    """The chains that drop what passes our bridges, as pairs (chain, bridge). Empty where nobody can be asked."""
    found = []
    for bridge in sorted(set(bridges)):
        try:
            names = {"bridge": bridge, "table": engine.settings.table}
            found += [(chain, bridge) for chain in firewalls.blockers(names)]
        except (OSError, VitrineError):
            continue
    return found


def warn(engine: Engine, plan: dict[str, Any]) -> None:
    """After a start with published ports: tell of what keeps others from reaching them."""
    for chain, bridge in _obstacles(engine, [one["bridge"] for one in publishers(plan) if one]):
        remedy = firewalls.remedy(chain, bridge)
        engine.warn(
            f"the firewall chain {chain!r} drops what is published by the bridge {bridge}; to let it in: {remedy}"
        )


def there(engine: Engine) -> list[str]:
    """The engine's bridges that are on this host now."""
    listed = [str(one.get("bridge") or "") for one in engine.store.networks.list().values()]
    # of this network namespace, whoever mounted /sys
    return [name for name in {engine.settings.bridge, *listed} if name and os.path.exists(f"{_LINKS}/{name}")]


def findings(engine: Engine) -> list[Finding]:
    """For ``vitrine check``: one finding for all bridges that are there, or one for each obstacle."""
    from ..host.check import Finding

    if os.geteuid() != 0:
        return []
    bridges = there(engine)
    obstacles = _obstacles(engine, bridges)
    if not obstacles:
        detail = f"the host's firewall lets {len(bridges)} bridge(s) through" if bridges else "no bridge is there now"
        return [Finding("firewall", True, False, detail)]
    return [
        Finding(
            "firewall", False, False, f"{chain} drops what passes the bridge {bridge}", firewalls.remedy(chain, bridge)
        )
        for chain, bridge in obstacles
    ]


def told(engine: Engine) -> list[str]:
    """For ``vitrine info``: the obstacles in words."""
    return [
        f"{chain} drops what passes the bridge {bridge}: {firewalls.remedy(chain, bridge)}"
        for chain, bridge in _obstacles(engine, there(engine))
    ]
