# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that comes up and goes down: which containers start, which stop, and what comes before what.

Going down stops containers without saying that they should be: what ran then comes back by its policy.
"""

from __future__ import annotations

import time

from ..errors import VitrineError
from ..supervise import restart
from .paths import Paths
from .spec import ContainerSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any

    from .core import Engine

STARTED, STOPPED = "started", "stopped"


def levels(ids: Iterable[str], needs: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Sort so that each comes in a later level than all that it needs, and else in the order given. Pure.

    What is needed and not among ids does not count. Those that need one another come last, together.
    """
    left = list(dict.fromkeys(ids))
    result = []
    while left:
        waiting = set(left)
        ready = [one for one in left if not waiting.intersection(needs.get(one, ())) - {one}] or left
        result.append(ready)
        left = [one for one in left if one not in set(ready)]
    return result


def needed(engine: Engine, spec: ContainerSpec) -> set[str]:
    """The ids of the containers whose namespaces this one joins; those that are not there are left out."""
    found = set()
    for mode in (spec.network_mode, spec.pid_mode, spec.ipc_mode):
        kind, _, name = mode.partition(":")
        if kind == "container":
            try:
                found.add(engine.store.containers.get(name).id)
            except VitrineError:
                pass  # its start says so
    return found


def boot(engine: Engine) -> list[tuple[str, str]]:
    """Start every container that its restart policy wants started; return (name, STARTED or what kept it).

    What runs already is left out. One that does not start keeps no other from it but those that need it.
    """
    engine.system.reconcile()
    wanted: dict[str, Any] = {}
    needs = {}
    result = []
    for record in engine.store.containers.list():
        spec = ContainerSpec.from_json(record.spec)
        try:
            observed = engine.containers.observe(record.id)
            if spec.auto_remove and observed["status"] == "exited":
                engine.containers.remove(record.id, volumes=True)
            elif record.desired and _starts(record, spec, observed):
                wanted[record.id] = record
                needs[record.id] = needed(engine, spec)
        except (VitrineError, OSError) as error:
            result.append((record.name, str(error)))
    for level in levels(wanted, needs):
        for container_id in level:
            try:
                if engine.containers.start(container_id) is not None:
                    result.append((wanted[container_id].name, STARTED))
            except (VitrineError, OSError) as error:
                result.append((wanted[container_id].name, str(error)))
    return result


def _starts(record: Any, spec: ContainerSpec, observed: dict[str, Any]) -> bool:
    return restart.at_boot(
        spec.restart_policy,
        spec.restart_retries,
        exit_code=observed["exit_code"],
        restarts=observed["restart_count"],
        wanted=record.desired == "running",
    )


def shutdown(engine: Engine, most: int | None = None) -> list[tuple[str, str]]:
    """Stop all containers, each with its own signal and time; return (name, STOPPED or what kept it).

    Those that join others' namespaces stop before them; the rest at the same time. What should run is not changed, so
    that boot() brings it back. most: seconds after which those that are left are killed, with one second for each that
    was not asked to stop before; None: as long as they ask for.
    """
    end = None if most is None else time.monotonic() + most
    rows = {record.id: (record, spec) for record, spec, _observed in engine.containers.all()}
    needs = {container_id: needed(engine, spec) for container_id, (_record, spec) in rows.items()}
    result: list[tuple[str, str]] = []
    for level in reversed(levels(rows, needs)):
        left = None if end is None or most is None else max(min(1.0, most), end - time.monotonic())
        result += _stop_together(engine, [rows[container_id] for container_id in level], left)
    return result


def _stop_together(engine: Engine, rows: list[tuple[Any, ContainerSpec]], most: float | None) -> list[tuple[str, str]]:
    """No lock is taken: who holds one would keep the host from going down, and each step may be taken twice."""
    import threading

    from ..supervise.stop import stop
    from . import bundle
    from .containers import DEFAULT_STOP_TIMEOUT

    outcomes: dict[str, str] = {}

    def work(name: str, paths: Paths, signum: int, timeout: float | None) -> None:
        try:
            stop(paths.state, paths.run, engine.containers.cgroup(paths.id), signum, timeout)
            outcomes[name] = STOPPED
        except (VitrineError, OSError) as error:
            outcomes[name] = str(error)

    threads = []
    for record, spec in rows:
        timeout: float | None = DEFAULT_STOP_TIMEOUT if spec.stop_timeout is None else spec.stop_timeout
        if timeout is not None and timeout < 0:
            timeout = None
        if most is not None:
            timeout = most if timeout is None else min(timeout, most)
        signum = bundle.stop_signal(spec, engine.containers.image_config(record.image_id))
        arguments = (record.name, Paths(engine, record.id), signum, timeout)
        threads.append(threading.Thread(target=work, args=arguments, name=record.name))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [(record.name, outcomes.get(record.name, "not stopped")) for record, _spec in rows]
