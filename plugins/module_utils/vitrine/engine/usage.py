# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What running containers use: their cgroups' accounts, and the traffic of their links."""

from __future__ import annotations

import os

from ..runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .core import Engine


def stats(engine: Engine, name: str) -> dict[str, Any]:
    """What a running container uses (runtime.cgroups.stats), and net_rx_bytes, net_tx_bytes of its links.

    Raises Conflict when it does not run.
    """
    record = engine.containers.record(name)
    observed = engine.containers.running(record)
    received, sent = (0, 0) if _on_host(observed["pid"]) else _traffic(observed["pid"])
    return {**cgroups.stats(engine.containers.cgroup(record.id)), "net_rx_bytes": received, "net_tx_bytes": sent}


def _on_host(pid: int) -> bool:
    """Whether a process is in our own network, whose traffic is not the container's."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino
    except OSError:
        return False


def _traffic(pid: int) -> tuple[int, int]:
    """(received, sent) bytes of all links but the loopback in a process's network (proc(5), /proc/pid/net/dev)."""
    received = sent = 0
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
            for line in file:
                name, colon, numbers = line.partition(":")
                if colon and name.strip() != "lo":
                    received += int(numbers.split()[0])
                    sent += int(numbers.split()[8])
    except OSError:
        pass  # it ended just now
    return received, sent
