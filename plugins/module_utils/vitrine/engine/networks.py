# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""User-defined networks: create, inspect, remove, and who is on them. Putting containers on and off: attaching.py.

A network is a row. What the kernel has of it, a bridge and its part of the packet filter, is there while a container
that runs is on it (network/bridges.py).
"""

from __future__ import annotations

import os

from .. import clock
from ..errors import Conflict, InvalidInput, NotFound
from ..network import addresses as ip
from ..network import plan as plans
from . import endpoints
from .paths import Paths
from .spec import ContainerSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .core import Engine

DRIVERS = ("bridge", "macvlan", "ipvlan")
PREDEFINED = ("bridge", "default", "host", "none")
MODES = {"macvlan": ("bridge", "private", "vepa", "passthru"), "ipvlan": ("l2", "l3", "l3s")}
# option -> what its value must be; docker's names, and podman's short ones
_BRIDGE_NAME = "com.docker.network.bridge.name"
_OPTIONS = {
    "bridge": {
        _BRIDGE_NAME: "link",
        "com.docker.network.bridge.enable_icc": "bool",
        "com.docker.network.bridge.enable_ip_masquerade": "bool",
        "com.docker.network.bridge.host_binding_ipv4": "address",
        "com.docker.network.driver.mtu": "mtu",
        "mtu": "mtu",
        "isolate": "bool",
    },
    "macvlan": {"parent": "link", "macvlan_mode": "mode", "com.docker.network.driver.mtu": "mtu", "mtu": "mtu"},
    "ipvlan": {"parent": "link", "ipvlan_mode": "mode", "com.docker.network.driver.mtu": "mtu", "mtu": "mtu"},
}
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class Networks:
    """The networks of one engine root."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    # -- what is ------------------------------------------------------------------------------------------------

    def get(self, name: str) -> dict[str, Any]:
        """A network's record, by name, id or the beginning of one. Raises NotFound."""
        if name in endpoints.MODES:
            return _predefined(name)
        return endpoints.network(self.engine, name)

    def all(self) -> list[dict[str, Any]]:
        """The records of all networks by name, the predefined ones included."""
        endpoints.default_network(self.engine)
        found = list(self.engine.store.networks.list().values())
        return sorted([*found, *map(_predefined, endpoints.MODES)], key=lambda one: str(one["name"]))

    def members(self, name: str) -> list[tuple[Any, ContainerSpec]]:
        """(row, spec) of each container that is on a network, running or not."""
        found = []
        for record in self.engine.store.containers.list():
            spec = ContainerSpec.from_json(record.spec)
            if name in endpoints.wanted(spec) or spec.network_mode == name:
                found.append((record, spec))
        return found

    def live_endpoints(self, name: str) -> list[tuple[Any, dict[str, Any]]]:
        """(row, endpoint) of each running container on a network."""
        found = []
        for record, _spec in self.members(name):
            if self.engine.containers.observe(record.id)["status"] not in ("running", "paused", "restarting"):
                continue
            paths = Paths(self.engine, record.id)
            for one in paths.read_json(paths.network).get("endpoints") or ():
                if one["network"] == name:
                    found.append((record, one))
        return found

    def inspect(self, name: str, *, kernel: bool = False) -> dict[str, Any]:
        """docker's NetworkInspect document. Raises NotFound.

        kernel: add what there is of a bridge now as "Kernel" (network/inspect.py). Raises DependencyMissing.
        """
        record = self.get(name)
        containers: dict[str, Any] = {}
        for row, one in self.live_endpoints(record["name"]):
            containers[row.id] = {
                "Name": row.name,
                "EndpointID": endpoints.endpoint_id(one),
                "MacAddress": one["mac"],
                "IPv4Address": f"{one['address']}/{one['prefix']}" if one["address"] else "",
                "IPv6Address": f"{one['address6']}/{one['prefix6']}" if one["address6"] else "",
            }
        found = document(record, containers)
        if kernel and record["bridge"] and not plans.parent_of(record):
            from ..network import inspect

            found["Kernel"] = inspect.observe({"bridge": record["bridge"], "table": self.engine.settings.table})
        return found

    # -- create -------------------------------------------------------------------------------------------------

    def create(
        self,
        name: str,
        *,
        driver: str = "bridge",
        subnets: Iterable[str] = (),
        gateways: Iterable[str] = (),
        ip_ranges: Iterable[str] = (),
        aux_addresses: dict[str, str] | None = None,
        internal: bool = False,
        ipv6: bool | None = None,
        ipv4: bool = True,
        options: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
        attachable: bool = False,
    ) -> str:
        """Record a network; returns its id. Nothing of it is in the kernel before a container is on it.

        ipv6: None is where the host has it. Subnets that are not given are chosen. Raises Conflict, InvalidInput,
        HostError.
        """
        _check_name(name)
        options = dict(options or {})
        _check_options(driver, options)
        identity = os.urandom(32).hex()
        db = self.engine.store.db
        with db.transaction():  # nobody else chooses a subnet meanwhile
            if self.engine.store.networks.get(name) is not None:
                raise Conflict(f"network with name {name} already exists", hint="choose another name", value=name)
            pools = self._subnets(name, driver, list(subnets), list(gateways), list(ip_ranges), ipv6, ipv4, options)
            bridge = self._link(driver, identity, internal, options)
            record: dict[str, Any] = {
                "id": identity,
                "name": name,
                "driver": driver,
                "created": clock.now(),
                "internal": internal or (driver != "bridge" and not options.get("parent")),
                "enable_ipv6": any(":" in pool["subnet"] for pool in pools),
                "subnets": pools,
                "aux_addresses": aux_addresses or {},
                "bridge": bridge,
                "options": options,
                "labels": dict(labels or {}),
                "attachable": attachable,
            }
            for address in record["aux_addresses"].values():
                plans.pool_of(record, address)
            self.engine.store.networks.create(name, record)
            self.engine.store.events.add("network", "create", identity, {"name": name, "type": driver})
        return identity

    def _subnets(
        self,
        name: str,
        driver: str,
        subnets: list[str],
        gateways: list[str],
        ranges: list[str],
        ipv6: bool | None,
        ipv4: bool,
        options: dict[str, str],
    ) -> list[dict[str, str]]:
        """The network's subnets, each with its gateway and range: those given, and chosen ones for a family without."""
        from ..network import pools as choosing

        if ipv6 and not endpoints.host_has_ipv6():
            raise InvalidInput("this host has no IPv6", hint="leave out --ipv6", value="ipv6")
        taken = choosing.taken_by_host()
        ours = [
            (str(pool["subnet"]), str(one["name"]))
            for one in self.engine.store.networks.list().values()
            for pool in one.get("subnets") or ()
        ]
        taken += [ip.split(subnet) for subnet, _name in ours]
        found: list[dict[str, str]] = []
        for subnet in subnets:
            written = _checked(subnet, ours + [(one["subnet"], name) for one in found])
            if driver == "bridge":  # a macvlan's is its parent's, and so the host's
                _refuse_hosts(ip.split(written), taken)
            found.append({"subnet": written, "gateway": "", "ip_range": ""})
        taken += [ip.split(one["subnet"]) for one in found]
        families = {":" in one["subnet"] for one in found}
        if ipv6 is False and True in families:
            raise InvalidInput("an IPv6 subnet was given, and IPv6 is switched off", hint="leave one out", value="ipv6")
        if ipv4 and False not in families:
            chosen = choosing.pick_user_subnet(self.engine.settings.instance, taken)
            found.insert(0, {"subnet": chosen, "gateway": "", "ip_range": ""})
        wanted = ipv6 if ipv6 is not None else driver == "bridge" and endpoints.host_has_ipv6()
        if wanted and True not in families:
            found.append(endpoints.local6(taken))
        if not found:
            raise InvalidInput("a network needs a subnet: IPv4 and IPv6 are both switched off", hint="leave one on")
        _assign(found, gateways, "gateway")
        _assign(found, ranges, "ip_range")
        if not (driver == "ipvlan" and options.get("ipvlan_mode", "l2") != "l2"):
            for one in found:
                one["gateway"] = one["gateway"] or _first(one)
        return found

    def _link(self, driver: str, identity: str, internal: bool, options: dict[str, str]) -> str:
        """Name of the network's bridge, or of its parent; a macvlan that is internal may go without one."""
        if driver == "bridge" or not options.get("parent"):
            name = options.get(_BRIDGE_NAME)
            if name is None:
                return f"vnet{identity[:10]}"
            used = [str(one["name"]) for one in self.engine.store.networks.list().values() if one.get("bridge") == name]
            if used or os.path.exists(f"/proc/sys/net/ipv4/conf/{name}"):
                holder = f"the network {used[0]!r}" if used else "a link of this host"
                raise Conflict(f"the bridge name {name!r} is that of {holder}", hint="choose another", value=name)
            return name
        return options["parent"]

    # -- remove -------------------------------------------------------------------------------------------------

    def remove(self, name: str) -> str:
        """Remove a network; returns its name. Raises Conflict while running containers are on it."""
        record = self.get(name)
        own = str(record["name"])
        if own in PREDEFINED:
            raise Conflict(
                f"{own} is a pre-defined network and cannot be removed", hint="leave it: it costs nothing", value=own
            )
        store = self.engine.store
        with store.db.transaction():
            removed = store.networks.remove(own, lambda: self._users(own))
            if removed:
                store.events.add("network", "destroy", record["id"], {"name": own, "type": record["driver"]})
        if not removed:
            raise NotFound(f"network {own} not found", hint="vitrine network ls lists them", value=own)
        from ..network import links, names

        settings = self.engine.settings
        names.forget_network(settings.run_root, record["id"])
        if not plans.parent_of(record) and os.path.exists(f"/proc/sys/net/ipv4/conf/{record['bridge']}"):
            left = {"bridge": record["bridge"], "table": settings.table}  # by a monitor that was killed
            links.teardown_if_idle(left, self.engine.system.run_folders, f"{settings.run_root}/network.lock")
        return own

    def _users(self, name: str) -> list[str]:
        """Names of the containers that are on a network and run, or are being started."""
        found: list[str] = []
        for row, _spec in self.members(name):
            observed = self.engine.containers.observe(row.id)
            if observed["monitored"] or observed["status"] not in ("created", "exited"):
                found.append(row.name)
        return found

    def prune(self, keep: Any = None) -> list[str]:
        """Remove all networks that no container is on; returns their names. keep(record): which to leave."""
        removed = []
        for record in list(self.engine.store.networks.list().values()):
            if record["name"] in PREDEFINED or (keep is not None and keep(record)) or self.members(record["name"]):
                continue
            try:
                removed.append(self.remove(record["name"]))
            except (Conflict, NotFound):
                continue  # somebody was faster
        return removed

    def reload(self) -> list[str]:
        """Make good what others took of the packet filter; returns the ids of the running containers."""
        from ..network import links

        found = []
        for record in self.engine.store.containers.list():
            observed = self.engine.containers.observe(record.id)
            paths = Paths(self.engine, record.id)
            plan = paths.read_json(paths.network)
            if observed["status"] in ("running", "paused") and plan:
                found.append(dict(plan, ports=observed.get("ports") or []))
        links.restore(found, f"{self.engine.settings.run_root}/network.lock")
        return [str(plan["container_id"]) for plan in found]


# -- pure parts ------------------------------------------------------------------------------------------------------


def _predefined(name: str) -> dict[str, Any]:
    from hashlib import sha256

    driver = "null" if name == "none" else name
    return {
        "id": sha256(name.encode()).hexdigest(),
        "name": name,
        "driver": driver,
        "created": "",
        "internal": False,
        "enable_ipv6": False,
        "subnets": [],
        "bridge": "",
        "options": {},
        "labels": {},
    }


def _check_name(name: str) -> None:
    if not name or not _NAME.issuperset(name) or not name[0].isalnum():
        raise InvalidInput(
            f"invalid network name {name!r}",
            hint="use letters, digits, '_', '.' and '-', a letter or digit first",
            value=name,
        )
    if name in PREDEFINED:
        raise Conflict(
            f"operation is not permitted on the predefined network {name}", hint="choose another name", value=name
        )


def _check_options(driver: str, options: dict[str, str]) -> None:
    """Raise InvalidInput for an option that the driver has not, or a value that it cannot have."""
    if driver not in DRIVERS:
        raise InvalidInput(f"unknown network driver {driver!r}", hint=f"use {', '.join(DRIVERS)}", value=driver)
    for option, value in options.items():
        kind = _OPTIONS[driver].get(option)
        if kind is None:
            known = ", ".join(sorted(_OPTIONS[driver]))
            raise InvalidInput(f"the driver {driver} has no option {option!r}", hint=f"use {known}", value=option)
        if kind == "bool":
            plans.enabled(value, True)
        elif kind == "address":
            ip.number(value)
        elif kind == "mtu" and not (value.isascii() and value.isdigit() and 68 <= int(value) <= 65535):
            raise InvalidInput(f"{option} is {value!r}", hint="write a number from 68 to 65535", value=value)
        elif kind == "mode" and value not in MODES[driver]:
            raise InvalidInput(f"{option} is {value!r}", hint=f"use {', '.join(MODES[driver])}", value=value)
        elif kind == "link" and (
            not 1 <= len(value) <= 15 or not _NAME.issuperset(value) or value in (".", "..") or value[0] == "-"
        ):
            raise InvalidInput(
                f"{option} is {value!r}, which is no link's name",
                hint="use up to 15 letters, digits, '_', '.', '-'",
                value=value,
            )


def _checked(subnet: str, others: list[tuple[str, str]]) -> str:
    """A subnet without host bits, when there is room in it and no other network has it. others: (subnet, network)."""
    parsed = ip.split(subnet)
    if not 1 <= parsed[2] <= (29 if parsed[0] == 32 else 126):
        raise InvalidInput(
            f"the subnet {subnet} has no room for containers or is all there is",
            hint="use a prefix length from 1 to 29, of IPv6 to 126",
            value=subnet,
        )
    if any(ip.overlap(parsed, ip.split(group)) for group in ("224.0.0.0/4", "ff00::/8")):
        raise InvalidInput(
            f"the subnet {ip.written(parsed)} has addresses of groups (multicast), which no container can have",
            hint="use a private one, such as 10.5.0.0/24 or fd00:5::/64",
            value=subnet,
        )
    for other, holder in others:
        if ip.overlap(parsed, ip.split(other)):
            raise InvalidInput(
                f"invalid pool request: the subnet {ip.written(parsed)} overlaps {other} of the network {holder!r}",
                hint="choose another one",
                value=subnet,
            )
    return ip.written(parsed)


def _refuse_hosts(wanted: ip.Network, taken: list[ip.Network]) -> None:
    for other in taken:
        if ip.overlap(wanted, other):
            raise InvalidInput(
                f"the subnet {ip.written(wanted)} overlaps {ip.text(other[1], other[0])}/{other[2]}, which this host "
                "uses already",
                hint="choose another subnet, or remove that address or route",
                value=ip.written(wanted),
            )


def _assign(pools: list[dict[str, str]], values: list[str], key: str) -> None:
    """Give each gateway or range to the subnet that it is in. Raises InvalidInput."""
    for value in values:
        parsed = ip.split(value) if "/" in value else (ip.bits(value), ip.number(value), ip.bits(value))
        for pool in pools:
            outer = ip.split(pool["subnet"])
            if ip.overlap(outer, parsed) and parsed[2] >= outer[2]:
                if pool[key]:
                    raise InvalidInput(
                        f"the subnet {pool['subnet']} has two of {value}'s kind", hint="leave one out", value=value
                    )
                pool[key] = ip.written(parsed) if key == "ip_range" else ip.text(parsed[1], parsed[0])
                if key == "gateway" and parsed[1] in (ip.base(outer), ip.last(outer) if outer[0] == 32 else -1):
                    raise InvalidInput(
                        f"the gateway {value} is no host's address in {pool['subnet']}", hint="use another", value=value
                    )
                break
        else:
            subnets = ", ".join(pool["subnet"] for pool in pools)
            raise InvalidInput(
                f"no subnet of the network contains {value}: it has {subnets}", hint="use one of these", value=value
            )


def _first(pool: dict[str, str]) -> str:
    parsed = ip.split(pool["subnet"])
    return ip.text(ip.base(parsed) + 1, parsed[0])


def document(record: dict[str, Any], containers: dict[str, Any]) -> dict[str, Any]:
    """docker's NetworkInspect document (Engine API 1.43)."""
    config = []
    for pool in record["subnets"]:
        entry = {"Subnet": pool["subnet"]}
        for key, field in (("IPRange", "ip_range"), ("Gateway", "gateway")):
            if pool.get(field):
                entry[key] = pool[field]
        config.append(entry)
    auxiliary = {key: value for key, value in (record.get("aux_addresses") or {}).items()}
    if auxiliary and config:
        config[0]["AuxiliaryAddresses"] = auxiliary  # type: ignore[assignment]
    return {
        "Name": record["name"],
        "Id": record["id"],
        "Created": record["created"],
        "Scope": "local",
        "Driver": record["driver"],
        "EnableIPv4": record["driver"] in DRIVERS and any(":" not in pool["subnet"] for pool in record["subnets"]),
        "EnableIPv6": record["enable_ipv6"],
        "IPAM": {"Driver": "default", "Options": {}, "Config": config},
        "Internal": record["internal"],
        "Attachable": bool(record.get("attachable")),
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": containers,
        "Options": dict(record["options"]),
        "Labels": dict(record["labels"]),
    }
