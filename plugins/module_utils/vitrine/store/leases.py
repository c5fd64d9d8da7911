# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses given to containers: a lease is a row, and taking some, of both families, is one transaction.

A container keeps its leases until it is removed or leaves the network. When a network has no address left, those of
containers that do not run are given away, unless they were asked for by number ("fixed").
"""

from __future__ import annotations

from ..errors import Conflict, HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from . import Store

    #: network, family (4 or 6), the address asked for or "", what chooses one: (used, the last one given) -> address
    Want = tuple[str, int, str, Callable[[set[str], str | None], str]]


class Leases:
    """The leases of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def acquire(
        self, container_id: str, wants: Iterable[Want], *, idle: Callable[[str], bool] = lambda _id: False
    ) -> dict[tuple[str, int], str]:
        """Return a container's addresses by (network, family); what it has not yet is leased.

        idle(container id): whether a container does not run, so that its lease may be given to others. Raises Conflict
        naming the holder of an address that was asked for, and what a choice raised; then nothing is leased.
        """
        wants = list(wants)
        held = self._of(container_id)
        if all(
            (network, family) in held and asked in ("", held[network, family]) for network, family, asked, _ in wants
        ):
            return {(network, family): held[network, family] for network, family, _asked, _choose in wants}
        db = self._store.db
        with db.transaction():
            held = self._of(container_id)
            for network, family, asked, choose in wants:
                if asked in ("", held.get((network, family))) and (network, family) in held:
                    continue
                if asked:
                    self._free(network, asked, container_id, idle)
                    db.run(
                        "DELETE FROM leases WHERE network = ? AND family = ? AND container_id = ?",
                        network,
                        family,
                        container_id,
                    )
                address = asked or self._choose(network, family, choose, idle)
                db.run(
                    "INSERT INTO leases (network, address, container_id, family, fixed) VALUES (?, ?, ?, ?, ?)",
                    network,
                    address,
                    container_id,
                    family,
                    int(bool(asked)),
                )
                if not asked:
                    db.run("INSERT OR REPLACE INTO lease_marks VALUES (?, ?, ?)", network, family, address)
                held[network, family] = address
        return {(network, family): held[network, family] for network, family, _asked, _choose in wants}

    def _of(self, container_id: str) -> dict[tuple[str, int], str]:
        rows = self._store.db.rows("SELECT network, family, address FROM leases WHERE container_id = ?", container_id)
        return {(network, family): address for network, family, address in rows}

    def _free(self, network: str, address: str, container_id: str, idle: Callable[[str], bool]) -> None:
        """See that an address that was asked for is nobody else's. Raises Conflict."""
        db = self._store.db
        row = db.row("SELECT container_id, fixed FROM leases WHERE network = ? AND address = ?", network, address)
        if row is None or row[0] == container_id:
            return
        holder, fixed = row
        if fixed or not idle(holder):
            named = db.row("SELECT name FROM containers WHERE id = ?", holder)
            raise Conflict(
                f"the address {address} on the network {network!r} is in use by container "
                f"{named[0] if named else holder[:12]!r}",
                hint="ask for another address, or remove that container",
                value=address,
            )
        db.run("DELETE FROM leases WHERE network = ? AND address = ?", network, address)

    def _choose(self, network: str, family: int, choose: Any, idle: Callable[[str], bool]) -> str:
        db = self._store.db
        row = db.row("SELECT address FROM lease_marks WHERE network = ? AND family = ?", network, family)
        last = str(row[0]) if row else None
        rows = db.rows(
            "SELECT address, container_id, fixed FROM leases WHERE network = ? AND family = ?", network, family
        )
        used = {str(address) for address, _holder, _fixed in rows}
        try:
            return str(choose(used, last))
        except HostError:
            spare = [str(address) for address, holder, fixed in rows if not fixed and idle(str(holder))]
            if not spare:
                raise
            for address in spare:
                db.run("DELETE FROM leases WHERE network = ? AND address = ?", network, address)
            return str(choose(used.difference(spare), last))

    def release(self, container_id: str, network: str | None = None) -> bool:
        """Take back all addresses of a container, or those on one network; returns False when it had none."""
        db = self._store.db
        if db.row("SELECT 1 FROM leases WHERE container_id = ?", container_id) is None:
            return False
        if network is not None:
            return db.run("DELETE FROM leases WHERE container_id = ? AND network = ?", container_id, network) > 0
        return db.run("DELETE FROM leases WHERE container_id = ?", container_id) > 0

    def all(self, network: str) -> dict[str, str]:
        """Return container id by address."""
        return dict(self._store.db.rows("SELECT address, container_id FROM leases WHERE network = ?", network))  # type: ignore[arg-type]
