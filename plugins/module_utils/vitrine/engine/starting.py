# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything between a container's record and its monitor: addresses, files, volumes, bundle, and the request.

``prepare`` is the client's half of a start (DESIGN, section 2, step 1); the monitor carries the request out.
"""

from __future__ import annotations

import os

from .. import lightjson as json
from ..errors import Conflict
from ..linux.fs import write_atomic
from ..network import files as network_files
from ..network import plan as network_plan
from ..network.names import write_scope
from ..runtime import cgroups
from ..runtime.plan import compile_spec
from . import bundle, health, logdrivers, parse
from .containers import DEFAULT_STOP_TIMEOUT
from .endpoints import RESOLVER, plan_of, scope
from .paths import Paths, hostname_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .core import Engine
    from .spec import ContainerSpec


def joined_container(engine: Engine, mode: str) -> tuple[Paths, dict[str, Any]]:
    """The running container that "container:NAME" names. Raises Conflict when it does not run."""
    record = engine.store.containers.get(mode.partition(":")[2])
    observed = engine.containers.observe(record.id)
    if observed["status"] != "running":
        raise Conflict(
            f"cannot join the namespaces of container {record.name!r}: it is {observed['status']}",
            hint=f"start {record.name!r} first",
            value=mode,
        )
    return Paths(engine, record.id), observed


def _joined_namespaces(engine: Engine, spec: ContainerSpec) -> tuple[dict[str, str], Paths | None, dict[int, int]]:
    """Paths of the namespaces to enter, whose network files to share, and the start times of the owners by pid."""
    joined = {}
    owners = {}
    shared = None
    for kind, name, mode in (
        ("network", "net", spec.network_mode),
        ("pid", "pid", spec.pid_mode),
        ("ipc", "ipc", spec.ipc_mode),
    ):
        if mode.startswith("container:"):
            paths, observed = joined_container(engine, mode)
            joined[kind] = f"/proc/{observed['pid']}/ns/{name}"
            owners[observed["pid"]] = observed["start_time"]
            if kind == "network":
                shared = paths
    return joined, shared, owners


def _host_resolv_conf() -> str:
    """The host's resolver configuration; systemd-resolved's stub is of no use in another network namespace."""
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        if "127.0.0.53" not in text:
            return text
    return ""


def write_in_place(path: str, text: str) -> None:
    """Keep the inode: a running container has it bind-mounted."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)  # whatever the caller's umask is, every user of the container reads it
        file.write(text)


def _network_files(
    engine: Engine, spec: ContainerSpec, paths: Paths, hostname: str, plan: dict[str, Any] | None, shared: Paths | None
) -> dict[str, str]:
    """Write hosts, hostname and resolv.conf, and return target -> file."""
    owner = shared or paths
    if shared is None:
        if spec.network_mode == "host":
            with open("/etc/hosts", encoding="utf-8", errors="replace") as file:
                hosts = file.read()
            resolv = network_files.resolv_conf(
                _host_resolv_conf(), spec.dns_servers, spec.dns_search_domains, spec.dns_opts, keep_loopback=True
            )
        else:
            hosts, resolv = own_files(engine, spec, hostname, plan)
        write_in_place(paths.file("hosts"), hosts)
        write_in_place(paths.file("resolv.conf"), resolv)
    write_in_place(paths.file("hostname"), hostname + "\n")
    return {
        "/etc/hosts": owner.file("hosts"),
        "/etc/resolv.conf": owner.file("resolv.conf"),
        "/etc/hostname": paths.file("hostname"),
    }


def own_files(engine: Engine, spec: ContainerSpec, hostname: str, plan: dict[str, Any] | None) -> tuple[str, str]:
    """The texts of hosts and resolv.conf of a container with a network namespace of its own."""
    endpoints = plan["endpoints"] if plan else []
    outward = network_plan.primary(plan) if plan else None
    gateway = (outward["gateway"] or outward["gateway6"]) if outward else "127.0.0.1"
    extra = {name: gateway if address == "host-gateway" else address for name, address in spec.etc_hosts.items()}
    full = f"{hostname}.{spec.domainname}" if spec.domainname else hostname
    own = [one[key] for one in endpoints for key in ("address", "address6") if one[key]]
    servers = list(spec.dns_servers or engine.settings.texts("dns"))
    if not any(one["named"] for one in endpoints):
        ipv6 = any(one["address6"] and not one["internal"] for one in endpoints)
        resolv = network_files.resolv_conf(
            _host_resolv_conf(), servers, spec.dns_search_domains, spec.dns_opts, ipv6=ipv6
        )
    else:
        resolv = network_files.resolv_conf(
            _host_resolv_conf(), [RESOLVER], spec.dns_search_domains, spec.dns_opts, ndots="0"
        )
    return network_files.hosts(full, own, extra), resolv


def _cleanup_command(engine: Engine, container_id: str) -> list[str]:
    """The command line that removes a container that ended while nobody was attached (--rm)."""
    import sys

    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    program = (
        f"import sys; sys.path.insert(0, {os.path.dirname(package)!r}); "
        f"from {os.path.basename(package)}.cli import main; main(sys.argv[1:])"
    )
    settings = engine.settings
    where = ["--root", settings.root, "--run-root", settings.run_root]
    where += ["--config", settings.config_path] if settings.config_path else []
    return [sys.executable, "-I", "-S", "-c", program, *where, "rm", "--force", "--volumes", container_id]


def prepare(engine: Engine, record: Any, spec: ContainerSpec, image: dict[str, Any]) -> dict[str, Any]:
    """Return the monitor's request (supervise.launch) for one start of a container.

    record: the store's row. image: the image configuration's "config" object.
    """
    paths = Paths(engine, record.id)
    for folder in (engine.settings.run_root, paths.run):  # makedirs closes only the last one that it makes
        os.makedirs(folder, 0o700, exist_ok=True)
    joined, shared, owners = _joined_namespaces(engine, spec)
    hostname = hostname_of(spec, record.id)
    network = plan_of(engine, spec, record.id, record.name, hostname)
    names = scope(engine, spec, network)
    write_scope(paths.run, names)
    files = _network_files(engine, spec, paths, hostname, network, shared)
    volumes = {mount.target: engine.store.volumes.path(mount.source) for mount in spec.mounts if mount.type == "volume"}
    root = engine.store.layers.prepare_root(paths.folder, record.chain_id)
    config = bundle.runtime_spec(
        spec,
        image,
        hostname=hostname,
        root=json.dumps(root),
        cgroup_path=paths.cgroup,
        volumes=volumes,
        files=files,
        joined=joined,
        ulimits=tuple(map(parse.ulimit, engine.settings.texts("default_ulimits"))),
    )
    write_atomic(paths.config, json.dumps(config, separators=(",", ":")).encode(), durable=False)
    cgroup = cgroups.compile(config["linux"]["resources"], paths.cgroup, cgroups.detect())
    plan = compile_spec(
        config,
        container_id=record.id,
        cgroup=cgroup,
        network_ops=_inside_ops(spec, network, joined),
        seccomp_cache=f"{engine.settings.run_root}/cache",
    )
    plan["owners"] = owners  # a restart comes when those may be dead, and their numbers others'
    write_atomic(paths.network, json.dumps(network or {}).encode(), durable=False)
    grace = DEFAULT_STOP_TIMEOUT if spec.stop_timeout is None else spec.stop_timeout
    return {
        "id": record.id,
        "run_dir": paths.run,
        "state_path": paths.state,
        "plan": plan,
        "cgroup": cgroup,
        "network": network,
        "names": names,
        "lock_path": f"{engine.settings.run_root}/network.lock",
        "log": logdrivers.request(engine, spec, record, paths),
        "restart": {"policy": spec.restart_policy, "max_retries": spec.restart_retries},
        "health": health.request(spec, image),
        "stop": (bundle.stop_signal(spec, image), grace),
        "tty": spec.tty,
        "open_stdin": spec.interactive,
        "stdin_once": spec.interactive,
        "auto_remove": spec.auto_remove,
        "cleanup_argv": _cleanup_command(engine, record.id) if spec.auto_remove else [],
    }


def _inside_ops(spec: ContainerSpec, network: dict[str, Any] | None, joined: dict[str, str]) -> list[Any]:
    """What the init does in its own network namespace; nothing in one that belongs to others."""
    if spec.network_mode == "host" or "network" in joined:
        return []
    return network_plan.inside_ops(network) if network else network_plan.loopback_ops()
