# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting containers on networks and taking them off, running or not.

For one that runs: addresses are leased, the kernel is changed, then the record in one transaction. A command that is
killed on the way leaves the record as it was, and the same command again finds and completes what it left.
"""

from __future__ import annotations

import os

from .. import lightjson as json
from ..errors import Conflict, HostError, VitrineError
from ..linux import process
from ..linux.fs import write_atomic
from ..network import names
from ..network import plan as plans
from . import endpoints
from .paths import Paths
from .spec import ContainerSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .core import Engine

_LONGEST_HOSTS = 1 << 20  # bytes; the container can write to the file, whose first lines were ours


def connect(engine: Engine, network: str, container: str, options: dict[str, Any]) -> None:
    """Put a container on a network. options: as ContainerSpec.networks has them.

    Raises Conflict, InvalidInput, NotFound.
    """
    record = engine.containers.record(container)
    with engine.containers.locked(record.id):
        record = engine.containers.record(record.id)
        spec = ContainerSpec.from_json(record.spec)
        wanted = endpoints.wanted(spec)
        target = _target(engine, network, spec)
        if target["name"] in wanted:
            raise Conflict(
                f"endpoint with name {record.name} already exists in network {target['name']}",
                hint="the container is on that network already",
                value=container,
            )
        endpoints.check_options(target, options)
        mode = spec.network_mode if wanted else target["name"]
        changed = spec.replace(network_mode=mode, networks={**wanted, target["name"]: options})
        observed = engine.containers.observe(record.id)
        runs = observed["status"] in ("running", "paused")
        try:
            if runs:
                _take_back(engine, record, spec, target, observed)  # what a command wired that was killed then
                _wire(engine, record, changed, target, options, observed)
            elif options.get("ipv4_address") or options.get("ipv6_address"):
                endpoints.reserve(engine, record.id, [(target, options)])
            _record(engine, record, changed, target, "connect")
        except BaseException:
            if runs:
                _try_to_take_back(engine, record, spec, target, observed)
            engine.store.leases.release(record.id, target["name"])
            raise


def disconnect(engine: Engine, network: str, container: str) -> None:
    """Take a container off a network. Raises Conflict, NotFound."""
    record = engine.containers.record(container)
    with engine.containers.locked(record.id):
        record = engine.containers.record(record.id)
        spec = ContainerSpec.from_json(record.spec)
        wanted = endpoints.wanted(spec)
        target = _target(engine, network, spec)
        name = target["name"]
        if name not in wanted:
            raise Conflict(
                f"container {record.name} is not connected to network {name}",
                hint=f"it is on {', '.join(wanted) or 'none'}",
                value=container,
            )
        del wanted[name]
        mode = next(iter(wanted), "none")
        changed = spec.replace(network_mode=mode, networks=wanted if len(wanted) > 1 or any(wanted.values()) else {})
        observed = engine.containers.observe(record.id)
        if observed["status"] in ("running", "paused"):
            _unwire(engine, record, changed, target, observed)
        _record(engine, record, changed, target, "disconnect")


def _target(engine: Engine, network: str, spec: ContainerSpec) -> dict[str, Any]:
    """The network's record, when a container of this spec can be on it. Raises Conflict, NotFound."""
    if spec.network_mode.startswith("container:"):
        raise Conflict(
            "a container that shares the network namespace of another cannot be connected to networks of its own",
            hint=f"do that with {spec.network_mode.partition(':')[2]}",
            value=spec.network_mode,
        )
    if "host" in (network, spec.network_mode):
        raise Conflict(
            "container cannot be disconnected from host network or connected to host network",
            hint="create it anew with another --network",
            value="host",
        )
    if network == "none":
        raise Conflict("container cannot be connected to the network none", hint="disconnect it from all", value="none")
    return endpoints.network(engine, network)


def _wire(
    engine: Engine, record: Any, spec: ContainerSpec, target: dict[str, Any], options: dict[str, Any], observed: Any
) -> None:
    """Connect a running container, and what is written of it beside the index."""
    from ..network import changes

    before = _plan(engine, record, observed)
    leased = endpoints.lease(engine, record.id, [(target, options)])
    numbers = {one["ifname"] for one in before["endpoints"]}
    number = next(number for number in range(len(numbers) + 1) if f"eth{number}" not in numbers)
    one = endpoints.endpoint(target, options, leased, record.id, number)
    after = _settled(before, [*(dict(other) for other in before["endpoints"]), one], spec)
    netns = _namespace(observed)
    try:
        changes.attach(before, after, netns, f"{engine.settings.run_root}/network.lock")
    finally:
        os.close(netns)
    _tell(engine, record, spec, before, after)


def _unwire(engine: Engine, record: Any, spec: ContainerSpec, target: dict[str, Any], observed: Any) -> None:
    """Disconnect a running container, and what is written of it beside the index."""
    from ..network import changes, links

    before = _plan(engine, record, observed)
    rest = [dict(one) for one in before["endpoints"] if one["network"] != target["name"]]
    after = _settled(before, rest, spec)
    lock_path = f"{engine.settings.run_root}/network.lock"
    netns = _namespace(observed)
    try:
        changes.detach(before, after, netns, lock_path)
    except OSError as error:
        raise HostError(
            f"container {record.name!r} could not be disconnected from {target['name']}: {error.strerror}",
            hint="stop the container: its links go with it",
            value=record.name,
        ) from None
    finally:
        os.close(netns)
    _tell(engine, record, spec, before, after)
    gone = {**before, "endpoints": [one for one in before["endpoints"] if one["network"] == target["name"]]}
    links.teardown_if_idle(gone, lambda: engine.system.run_folders(), lock_path)


def _take_back(
    engine: Engine, record: Any, spec: ContainerSpec, target: dict[str, Any], observed: dict[str, Any]
) -> None:
    """Unwire a container from a network that its record does not put it on. spec: the recorded one."""
    if any(one["network"] == target["name"] for one in _plan(engine, record, observed)["endpoints"]):
        _unwire(engine, record, spec, target, observed)


def _try_to_take_back(
    engine: Engine, record: Any, spec: ContainerSpec, target: dict[str, Any], observed: dict[str, Any]
) -> None:
    try:
        _take_back(engine, record, spec, target, observed)
    except (VitrineError, OSError):
        pass  # the next connect does it first


def _plan(engine: Engine, record: Any, observed: dict[str, Any]) -> dict[str, Any]:
    """The network plan of a running container as it is wired, with the host ports that it holds."""
    paths = Paths(engine, record.id)
    plan = paths.read_json(paths.network)
    if not plan:  # it was on no network, or was taken off its last one
        from .paths import hostname_of

        plan = plans.make(
            settings_instance=engine.settings.instance,
            table=engine.settings.table,
            container_id=record.id,
            endpoints=[],
            name=record.name,
            hostname=hostname_of(ContainerSpec.from_json(record.spec), record.id),
        )
    return dict(plan, ports=observed.get("ports") or [])


def _settled(before: dict[str, Any], wanted: list[dict[str, Any]], spec: ContainerSpec) -> dict[str, Any]:
    plans.settle(
        wanted, {name: int(options.get("gw_priority") or 0) for name, options in endpoints.wanted(spec).items()}
    )
    return {**before, "endpoints": wanted}


def _namespace(observed: dict[str, Any]) -> int:
    """A descriptor of a container's network namespace: opened first, then seen to be that container's."""
    try:
        netns = os.open(f"/proc/{observed['pid']}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        netns = -1
    if netns < 0 or not process.alive(observed["pid"], observed["start_time"]):
        if netns >= 0:
            os.close(netns)
        raise Conflict("the container ended just now", hint="run the same command again", value=observed["pid"])
    return netns


def _tell(engine: Engine, record: Any, spec: ContainerSpec, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Write what others read: the plan that a restart goes by, the names, the container's own addresses."""
    paths = Paths(engine, record.id)
    write_atomic(paths.network, json.dumps(after).encode(), durable=False)
    _tell_names(engine, paths, spec, after)
    own = [
        [one[key] for one in plan["endpoints"] for key in ("address", "address6") if one[key]]
        for plan in (before, after)
    ]
    try:
        with open(paths.file("hosts"), "r+", encoding="utf-8", errors="surrogateescape") as file:
            text = file.read(_LONGEST_HOSTS)
            if len(text) == _LONGEST_HOSTS:
                return  # it has made something else of it
            lines = text.splitlines()
            labels = {line.partition("\t")[0]: line.partition("\t")[2] for line in lines}
            known = next((labels[address] for address in own[0] if address in labels), after["hostname"])
            gone = set(own[0]) - set(own[1])
            kept = [line for line in lines if line.split("\t")[0] not in gone]
            kept += [f"{address}\t{known}" for address in own[1] if address not in labels]
            file.seek(0)
            file.write("".join(f"{line}\n" for line in kept))
            file.truncate()
    except FileNotFoundError:
        pass


def _tell_names(engine: Engine, paths: Paths, spec: ContainerSpec, after: dict[str, Any]) -> None:
    """Let the container and the others find each other by name, or no longer."""
    known = names.read_scope(paths.run)
    scope = endpoints.scope(engine, spec, after)
    if scope is None and known is None:
        return
    if scope is None:  # its resolver stays, as its resolv.conf does, and passes questions on
        internal = bool(after["endpoints"]) and all(one["internal"] for one in after["endpoints"])
        scope = {**known, "networks": [], "internal": internal}  # type: ignore[dict-item]
    names.write_scope(paths.run, scope)
    names.publish(engine.settings.run_root, scope)
    if known is None:
        from ..supervise import stop
        from . import starting

        stop.ask_for_names(paths.run)
        _hosts, resolv = starting.own_files(engine, spec, scope["hostname"], after)
        starting.write_in_place(paths.file("resolv.conf"), resolv)


def _record(engine: Engine, record: Any, spec: ContainerSpec, target: dict[str, Any], action: str) -> None:
    store = engine.store
    with store.db.transaction():
        store.containers.update(record.id, spec=spec.to_json())
        if action == "disconnect":
            store.leases.release(record.id, target["name"])
        attributes = {"container": record.id, "name": target["name"], "type": target["driver"]}
        store.events.add("network", action, target["id"], attributes)
