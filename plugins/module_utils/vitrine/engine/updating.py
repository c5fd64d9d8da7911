# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changing a container that exists: its limits, its restart policy, its name."""

from __future__ import annotations

from ..errors import Conflict, InvalidInput
from ..runtime import cgroups
from ..runtime.cgroups import changes
from ..supervise import restart
from . import bundle, checks, events, parse
from .paths import Paths
from .spec import ContainerSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .core import Engine

LIMITS = (
    "memory", "memory_swap", "memory_reservation", "nano_cpus", "cpu_shares", "cpu_period", "cpu_quota", "cpuset_cpus",
    "cpuset_mems", "pids_limit", "blkio_weight", "oom_score_adj",
)  # fmt: skip
POLICY = ("restart_policy", "restart_retries")
_UNLIMITED = -1  # of memory


def update(engine: Engine, name: str, **values: Any) -> ContainerSpec:
    """Change limits and the restart policy of a container, running or not; returns its new spec.

    values: fields of ContainerSpec out of LIMITS and POLICY; None or 0 takes a limit away. The kernel and the record
    change both or not at all. Raises InvalidInput (values that contradict one another, or that the kernel refuses),
    HostError (no such controller), Conflict (a restart policy for a container that removes itself).
    """
    unknown = sorted(set(values) - {*LIMITS, *POLICY})
    if unknown:
        raise InvalidInput(
            f"{unknown[0]} of a container cannot be changed", hint="create it anew for that", value=unknown[0]
        )
    containers = engine.containers
    record = containers.record(name)
    with containers.locked(record.id):
        record = containers.record(record.id)
        old = ContainerSpec.from_json(record.spec)
        new = _wanted(old, values)
        if new == old:
            return new
        if new.auto_remove and new.restart_policy != "no":
            raise Conflict(
                f"the restart policy of container {record.name!r} cannot be changed: it is removed when it ends",
                hint="create it without --rm",
                value=new.restart_policy,
            )
        checks.check(new)
        change = _Change(engine, record.id, old, new)
        try:
            change.limits(containers.observe(record.id))
            with engine.store.db.transaction():
                engine.store.containers.update(record.id, spec=new.to_json())
                events.entered(engine, record, "update")
        except BaseException:
            change.undo()
            raise
        return new


def _wanted(old: ContainerSpec, values: dict[str, Any]) -> ContainerSpec:
    """The new spec. cpus and cpu_quota say the same in two ways: the one that is said now replaces the other."""
    values = dict(values)
    if values.get("nano_cpus"):
        values = {"cpu_period": None, "cpu_quota": None, **values}
    elif values.get("cpu_quota") or values.get("cpu_period"):
        values = {"nano_cpus": None, **values}
    if values.get("memory") == _UNLIMITED:
        values["memory"] = None
    if values.get("memory", old.memory) in (None, 0) and "memory" in values:
        values = {"memory_swap": None, **values}  # a sum of which one part is gone
    fields = {name: None if value == 0 and name in LIMITS[:9] else value for name, value in values.items()}
    return old.replace(**fields)


class _Change:
    """What one update does to the kernel and to the container's monitor, and how to take it back."""

    def __init__(self, engine: Engine, container_id: str, old: ContainerSpec, new: ContainerSpec) -> None:
        self._cgroup = engine.containers.cgroup(container_id)
        self._paths = Paths(engine, container_id)
        self._old, self._new = old, new
        self._written: list[tuple[str, str]] = []
        self._told: tuple[Any, ...] | None = None

    def limits(self, observed: dict[str, Any]) -> None:
        """Bring the container to the new limits if it runs; else see that it can have them."""
        nodes = bundle.device_nodes(self._new)
        resources = bundle.resources(self._new, nodes)
        compiled = cgroups.compile(resources, self._cgroup["path"], cgroups.detect())
        if observed["status"] in ("running", "paused"):
            before = bundle.resources(self._old, [])
            cgroups.update(self._cgroup, _difference(before, resources), self._written)
            if self._new.oom_score_adj != self._old.oom_score_adj:
                self._adjust(self._new.oom_score_adj or 0)
        if observed["monitored"]:
            saved = restart.saved(self._paths.run)
            if saved is not None:
                self._told = (saved["restart"], saved["cgroup"])
            self._tell(self._new, compiled if observed["status"] != "created" else None)

    def _tell(self, spec: ContainerSpec, cgroup: dict[str, Any] | None) -> None:
        """The monitor learns what its next restart shall be like."""
        same = self._new.oom_score_adj == self._old.oom_score_adj
        oom_score_adj = None if same else spec.oom_score_adj or 0
        restart.change(
            self._paths.run, spec.restart_policy, spec.restart_retries, cgroup=cgroup, oom_score_adj=oom_score_adj
        )

    def _adjust(self, value: int) -> None:
        for pid in cgroups.pids(self._cgroup):
            path = f"/proc/{pid}/oom_score_adj"
            try:
                with open(path, encoding="ascii") as file:
                    present = file.read().strip()
                with open(path, "w", encoding="ascii") as file:
                    file.write(str(value))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended just now
            except OSError as error:
                raise InvalidInput(
                    f"oom_score_adj cannot be set to {value}: {error.strerror}",
                    hint="lowering it needs CAP_SYS_RESOURCE",
                    value=value,
                ) from None
            self._written.append((path, present))

    def undo(self) -> None:
        """Bring all back that limits() changed. Raises nothing."""
        changes.restore(self._written)
        if self._told is not None:
            try:
                self._tell(self._old, self._told[1])
            except OSError:
                pass


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The blocks of linux.resources that bring a group from one to the other: only what differs, or goes."""
    blocks: dict[str, Any] = {}
    for block, unlimited in changes.UNLIMITED.items():
        old, new = before.get(block) or {}, after.get(block) or {}
        wanted = {key: value for key, value in new.items() if old.get(key) != value}
        wanted.update({key: value for key, value in unlimited.items() if old.get(key) and not new.get(key)})
        if block == "memory" and wanted.keys() & {"limit", "swap"}:  # each is written in the light of the other
            wanted.update({key: new.get(key) or _UNLIMITED for key in ("limit", "swap")})
        if block == "cpu" and wanted.keys() & {"quota", "period"}:
            wanted.update({key: new.get(key) or unlimited[key] for key in ("quota", "period")})
        blocks[block] = wanted
    return blocks


def rename(engine: Engine, name: str, new_name: str) -> None:
    """Give a container another name, which everybody sees at once. Raises NameInUse, InvalidInput."""
    from ..network import names

    new_name = parse.name(new_name)
    containers = engine.containers
    record = containers.record(name)
    if record.name == new_name:
        raise Conflict(f"container {record.name!r} has that name already", hint="choose another name", value=new_name)
    with containers.locked(record.id):
        with engine.store.db.transaction():
            engine.store.containers.rename(record.id, new_name)
            events.entered(engine, record, "rename", {"oldName": f"/{record.name}"}, name=new_name)
        running = containers.observe(record.id)["status"] in ("running", "paused")
        names.rename(engine.settings.run_root, record.id, new_name, running=running)
