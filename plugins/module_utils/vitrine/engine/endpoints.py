# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which networks a container is on, and its addresses there: from spec and store to a plan (network/plan.py)."""

from __future__ import annotations

import os

from .. import clock
from ..errors import HostError, InvalidInput, NotFound
from ..linux import features
from ..network import addresses as ip
from ..network import plan as plans
from .paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .core import Engine
    from .spec import ContainerSpec

DEFAULT = "bridge"
MODES = ("host", "none")  # that are no networks
RESOLVER = "127.0.0.11"


def wanted(spec: ContainerSpec) -> dict[str, dict[str, Any]]:
    """What a spec wants of each network, by the network's name, the first one first; {} for host, none and others'."""
    mode = DEFAULT if spec.network_mode == "default" else spec.network_mode
    if mode in MODES or mode.startswith("container:"):
        return {}
    return {mode: spec.networks.get(mode, {}), **spec.networks}


def host_has_ipv6() -> bool:
    """Whether this host speaks IPv6, and its packet filter too."""
    from ..network import iptables

    try:
        with open("/proc/sys/net/ipv6/conf/all/disable_ipv6", encoding="ascii") as file:
            return file.read(1) == "0" and (features.has("nf_tables") or iptables.available("6"))
    except OSError:
        return False


def default_network(engine: Engine) -> dict[str, Any]:
    """The record of the default bridge network; its subnets are chosen once, and kept while the host allows it."""
    networks = engine.store.networks
    found = networks.get(DEFAULT)
    if found is None or "subnets" not in found:
        from ..network import pools, rules

        taken = pools.taken_by_host()
        if found is None:
            config = engine.settings.config.get("bridge_subnet")
            subnet, gateway = pools.pick_subnet(engine.settings.instance, taken, config)
        else:  # as engines wrote it that knew no other network
            subnet, gateway = found["subnet"], found["gateway"]
        subnets = [{"subnet": subnet, "gateway": gateway, "ip_range": ""}]
        six = host_has_ipv6() and rules.usable(engine.settings.table)
        if six:
            subnets.append(local6(taken))
        record = {
            "id": os.urandom(32).hex(),
            "name": DEFAULT,
            "driver": "bridge",
            "created": clock.now(),
            "internal": False,
            "enable_ipv6": six,
            "subnets": subnets,
            "bridge": engine.settings.bridge,
            "options": {},
            "labels": {},
        }
        if found is None:
            return networks.create(DEFAULT, record)
        networks.update(DEFAULT, record)
        found = record
    return found


def local6(taken: Any) -> dict[str, str]:
    """A subnet entry of IPv6 addresses that are our own."""
    from ..network import pools

    subnet = pools.pick_local6(taken)
    return {"subnet": subnet, "gateway": ip.text(ip.base(ip.split(subnet)) + 1, 128), "ip_range": ""}


def network(engine: Engine, name: str) -> dict[str, Any]:
    """The record of a network, by name, id or the beginning of one. Raises NotFound."""
    if name in (DEFAULT, "default"):
        return default_network(engine)
    found = engine.store.networks.get(name)
    if found is not None:
        return found
    listed = engine.store.networks.list()
    matches = [one for one in listed.values() if len(name) > 3 and str(one.get("id", "")).startswith(name)]
    if len(matches) == 1:
        return matches[0]
    raise NotFound(
        f"network {name} not found",
        hint=f"vitrine network ls lists them; make it: vitrine network create {name}",
        value=name,
    )


def check(engine: Engine, spec: ContainerSpec) -> ContainerSpec:
    """Return the spec with its networks' own names. Raises NotFound, InvalidInput."""
    plans.check_ports(
        [port.host_ip, port.host_port, port.container_port, port.protocol] for port in spec.published_ports
    )
    names = wanted(spec)
    if not names:
        if spec.networks:
            raise InvalidInput(
                f"the network mode {spec.network_mode!r} cannot be combined with other networks",
                hint="leave one out",
                value=spec.network_mode,
            )
        return spec
    if list(names) == [DEFAULT] and not names[DEFAULT]:
        return spec
    resolved = {}
    for name, options in names.items():
        record = network(engine, name)
        check_options(record, options)
        resolved[record["name"]] = options
    mode = next(iter(resolved))
    return spec.replace(network_mode=mode, networks=resolved if len(resolved) > 1 or resolved[mode] else {})


def check_options(record: dict[str, Any], options: dict[str, Any]) -> None:
    """Raise InvalidInput for what a network cannot give a container."""
    for key in ("ipv4_address", "ipv6_address"):
        address = options.get(key)
        if not address:
            continue
        if (key == "ipv6_address") != (ip.bits(address) == 128):
            raise InvalidInput(f"{address!r} is not of the family of {key}", hint="use the other option", value=address)
        if record["name"] == DEFAULT:
            raise InvalidInput(
                f"the address {address} cannot be asked for on the default network",
                hint="user specified IP address is supported on user defined networks only: vitrine network create",
                value=address,
            )
        pool = plans.pool_of(record, address)
        parsed = ip.split(pool["subnet"])
        if ip.number(address) == ip.base(parsed) or (parsed[0] == 32 and ip.number(address) == ip.last(parsed)):
            raise InvalidInput(f"{address} is no host's address in {pool['subnet']}", hint="use another", value=address)
        if pool["gateway"] and ip.normal(address) == pool["gateway"]:
            raise InvalidInput(
                f"the address {address} is the gateway of the network {record['name']!r}",
                hint="use another",
                value=address,
            )
    if options.get("mac_address"):
        ip.mac_bytes(options["mac_address"])
    if options.get("aliases") and record["name"] == DEFAULT:
        raise InvalidInput(
            "network-scoped aliases are only supported for user-defined networks",
            hint="make one: vitrine network create",
            value=options["aliases"],
        )


def reserve_all(engine: Engine, container_id: str, spec: ContainerSpec) -> None:
    """reserve() for a container that was just made."""
    wishes = [(name, options) for name, options in wanted(spec).items() if options]
    reserve(engine, container_id, [(network(engine, name), options) for name, options in wishes])


def lease(engine: Engine, container_id: str, asked: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[Any, str]:
    """A container's addresses by (network, family), leased in one transaction. asked: records with their options."""
    wants = []
    six = host_has_ipv6()
    for record, options in asked:
        for family, key in ((4, "ipv4_address"), (6, "ipv6_address")):
            mine = [pool for pool in record["subnets"] if (":" in pool["subnet"]) == (family == 6)]
            if not mine or (family == 6 and not six):
                continue

            def choose(used: set[str], last: str | None, record: Any = record, mine: Any = mine) -> str:
                return _free_address(record, mine, used, last)

            address = options.get(key) or ""
            wants.append((record["name"], family, ip.normal(address) if address else "", choose))
    leased = engine.store.leases.acquire(container_id, wants, idle=lambda one: _idle(engine, one))
    for record, _options in asked:
        if record["name"] != DEFAULT:
            network(engine, record["name"])  # it may have been removed meanwhile
    return leased


def reserve(engine: Engine, container_id: str, asked: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Lease the addresses that were asked for by number, for a container that is still to be started."""
    fixed = [one for one in asked if one[1].get("ipv4_address") or one[1].get("ipv6_address")]
    if fixed:
        lease(engine, container_id, fixed)


def _idle(engine: Engine, container_id: str) -> bool:
    """Whether a container neither runs nor is being started: its lock is held from before its leases are taken."""
    from ..linux.fs import lock

    paths = Paths(engine, container_id)
    try:
        os.close(lock(paths.lock, blocking=False))
    except BlockingIOError:
        return False
    except OSError:
        return True  # its folder is gone
    return engine.containers.observe(container_id)["status"] in ("created", "exited")


def _free_address(record: dict[str, Any], subnets: list[dict[str, str]], used: set[str], last: str | None) -> str:
    """A free address of the first of these subnets that has one. Raises HostError."""
    from ..network import pools

    reserved = used | set((record.get("aux_addresses") or {}).values())
    full = None
    for pool in subnets:
        here = last if last and ip.contains(pool["subnet"], last) else None
        try:
            return pools.pick_address(pool["subnet"], pool["gateway"], reserved, here, within=pool["ip_range"] or None)
        except HostError as error:
            full = error
    raise full or HostError(f"the network {record['name']!r} has no subnet")


def endpoint(
    record: dict[str, Any], options: dict[str, Any], leased: dict[Any, str], container_id: str, number: int
) -> dict[str, Any]:
    """A container's endpoint on a network, with the addresses that lease() gave."""
    return plans.endpoint(
        record,
        container_id,
        address=leased.get((record["name"], 4), ""),
        address6=leased.get((record["name"], 6), ""),
        mac=options.get("mac_address"),
        aliases=options.get("aliases") or (),
        number=number,
    )


def plan_of(engine: Engine, spec: ContainerSpec, container_id: str, name: str, hostname: str) -> dict[str, Any] | None:
    """The network plan of a container; its leases are taken here. None where it has no network of its own kind."""
    asked = [(network(engine, one), options) for one, options in wanted(spec).items()]
    if not asked:
        return None
    if spec.mac_address and not asked[0][1].get("mac_address"):
        asked[0] = (asked[0][0], {**asked[0][1], "mac_address": spec.mac_address})
    leased = lease(engine, container_id, asked)
    endpoints = [endpoint(*one, leased, container_id, number) for number, one in enumerate(asked)]
    plans.settle(endpoints, {record["name"]: int(options.get("gw_priority") or 0) for record, options in asked})
    return plans.make(
        settings_instance=engine.settings.instance,
        table=engine.settings.table,
        container_id=container_id,
        endpoints=endpoints,
        ports=ports_of(spec, {record["name"]: record for record, _options in asked}, endpoints),
        name=name,
        hostname=hostname,
    )


def ports_of(spec: ContainerSpec, records: dict[str, Any], endpoints: list[dict[str, Any]]) -> list[list[Any]]:
    """What a container publishes; without a host address of its own on that of the network it publishes by."""
    binding = ""
    for one in endpoints:
        if one["default_route"]:
            binding = records[one["network"]]["options"].get("com.docker.network.bridge.host_binding_ipv4") or ""
    return _asked_ports(spec, binding)


def _asked_ports(spec: ContainerSpec, binding: str) -> list[list[Any]]:
    return [
        [port.host_ip or binding, port.host_port, port.container_port, port.protocol] for port in spec.published_ports
    ]


def scope(engine: Engine, spec: ContainerSpec, plan: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the resolver of a container has to know (network/names.py); None where no network of it has names."""
    named = [one for one in (plan or {"endpoints": []})["endpoints"] if one["named"]]
    if not plan or not named:
        return None
    return {
        "id": plan["container_id"],
        "name": plan["name"],
        "hostname": plan["hostname"],
        "internal": all(one["internal"] for one in plan["endpoints"]),
        "upstreams": list(spec.dns_servers or engine.settings.texts("dns")),
        "networks": [
            {
                "id": one["network_id"],
                "name": one["network"],
                "aliases": one["aliases"],
                "addresses": [one[key] for key in ("address", "address6") if one[key]],
            }
            for one in named
        ],
    }


def endpoint_id(one: dict[str, Any]) -> str:
    """A name of 64 hex digits for one container on one network, as docker's endpoints have: made of the two ids."""
    from hashlib import sha256

    return sha256(f"{one['network_id']} {one['host_if']}".encode()).hexdigest()
