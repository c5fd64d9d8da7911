# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``inspect`` shows: docker's documents (Engine API 1.43, ContainerInspect and ImageInspect), from our records.

Pure functions. Users template on these shapes, so keys that docker always has are always here.
"""

from __future__ import annotations

from ..errors import InvalidInput
from . import endpoints, health
from .bundle import DEFAULT_SHM, arguments, environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .spec import ContainerSpec, Mount

ZERO_TIME = "0001-01-01T00:00:00Z"


def state(observed: dict[str, Any]) -> dict[str, Any]:
    """The "State" object. An exit code that nobody saw is null, never 0."""
    status = observed.get("status", "created")
    running = status in ("running", "paused", "stopping")
    shown = {
        "Status": "running" if status == "stopping" else status,
        "Running": running or status == "restarting",  # as docker's: it holds its name, its ports, its volumes
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": bool(observed.get("oom_killed")),
        "Dead": False,
        "Pid": observed.get("pid") or 0 if running else 0,
        "ExitCode": 0 if running or status == "created" else observed.get("exit_code"),
        "Error": observed.get("error") or "",
        "StartedAt": observed.get("started_at") or ZERO_TIME,
        "FinishedAt": (observed.get("finished_at") or ZERO_TIME) if not running else ZERO_TIME,
    }
    if observed.get("log_dropped"):
        shown["LogDropped"] = observed["log_dropped"]  # entries that a full disk did not take
    checked = health.document({"status": status, **observed})
    if checked is not None:
        shown["Health"] = checked
    return shown


def _bindings(ports: list[list[Any]]) -> dict[str, list[dict[str, str]]]:
    result: dict[str, list[dict[str, str]]] = {}
    for host_ip, host_port, container_port, protocol in ports:
        binding = {"HostIp": host_ip, "HostPort": str(host_port) if host_port else ""}
        result.setdefault(f"{container_port}/{protocol}", []).append(binding)
    return result


def exposed_ports(spec: ContainerSpec, image: dict[str, Any]) -> list[str]:
    """All exposed ports of a container: the image's, the spec's and the published ones."""
    ports = dict.fromkeys(image.get("ExposedPorts") or ())
    ports.update(dict.fromkeys(spec.exposed_ports))
    ports.update(dict.fromkeys(port.key for port in spec.published_ports))
    return sorted(ports)


def _mount_points(spec: ContainerSpec, volumes: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    points = []
    for mount in spec.mounts:
        name, source = volumes.get(mount.target, ("", mount.source))
        point: dict[str, Any] = {
            "Type": mount.type,
            "Source": source,
            "Destination": mount.target,
            "Mode": ",".join(mount.options),
            "RW": not mount.read_only,
            "Propagation": "rprivate" if mount.type == "bind" else "",
        }
        if mount.type == "volume":
            point.update(Name=name, Driver="local")
        points.append(point)
    return points


def _bind_text(mount: Mount) -> str:
    modes = [*mount.options, "ro" if mount.read_only else "rw"]
    return f"{mount.source}:{mount.target}:{','.join(modes)}"


def host_config(spec: ContainerSpec) -> dict[str, Any]:
    """The "HostConfig" object: what the user asked of the host."""
    return {
        "Binds": [_bind_text(mount) for mount in spec.mounts if mount.type == "bind" or mount.source] or None,
        "ContainerIDFile": "",
        "LogConfig": {"Type": spec.log_driver or "json-file", "Config": dict(spec.log_options)},
        "NetworkMode": spec.network_mode,
        "PortBindings": _bindings([list(port.as_dict().values()) for port in spec.published_ports]),
        "RestartPolicy": {"Name": spec.restart_policy, "MaximumRetryCount": spec.restart_retries},
        "AutoRemove": spec.auto_remove,
        "CapAdd": list(spec.capabilities) or None,
        "CapDrop": list(spec.cap_drop) or None,
        "Dns": list(spec.dns_servers),
        "DnsOptions": list(spec.dns_opts),
        "DnsSearch": list(spec.dns_search_domains),
        "ExtraHosts": [f"{host}:{address}" for host, address in spec.etc_hosts.items()] or None,
        "GroupAdd": list(spec.groups) or None,
        "IpcMode": spec.ipc_mode or "private",
        "OomScoreAdj": spec.oom_score_adj or 0,
        "PidMode": spec.pid_mode,
        "Privileged": spec.privileged,
        "PublishAllPorts": spec.publish_all_ports,
        "ReadonlyRootfs": spec.read_only,
        "SecurityOpt": list(spec.security_opts) or None,
        "Tmpfs": dict(spec.tmpfs),
        "UTSMode": spec.uts,
        "ShmSize": spec.shm_size or DEFAULT_SHM,
        "Sysctls": dict(spec.sysctls),
        "Runtime": "vitrine",
        "Init": spec.init,
        "Memory": spec.memory or 0,
        "MemorySwap": spec.memory_swap or (2 * spec.memory if spec.memory else 0),
        "MemoryReservation": spec.memory_reservation or 0,
        "MemorySwappiness": spec.memory_swappiness,
        "NanoCpus": spec.nano_cpus or 0,
        "CpuShares": spec.cpu_shares or 0,
        "CpuPeriod": spec.cpu_period or 0,
        "CpuQuota": spec.cpu_quota or 0,
        "CpusetCpus": spec.cpuset_cpus or "",
        "CpusetMems": spec.cpuset_mems or "",
        "PidsLimit": spec.pids_limit,
        "BlkioWeight": spec.blkio_weight or 0,
        "BlkioWeightDevice": _device_limits(spec.blkio_weight_device, "Weight"),
        "BlkioDeviceReadBps": _device_limits(spec.device_read_bps, "Rate"),
        "BlkioDeviceWriteBps": _device_limits(spec.device_write_bps, "Rate"),
        "BlkioDeviceReadIOps": _device_limits(spec.device_read_iops, "Rate"),
        "BlkioDeviceWriteIOps": _device_limits(spec.device_write_iops, "Rate"),
        "OomKillDisable": spec.oom_kill_disable,
        "Ulimits": [{"Name": name, "Soft": soft, "Hard": hard} for name, soft, hard in spec.ulimits],
        "Devices": [
            {"PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": access}
            for host, inside, access in spec.devices
        ],
    }


def _device_limits(limits: dict[str, int], what: str) -> list[dict[str, Any]]:
    return [{"Path": path, what: number} for path, number in limits.items()]


def _network_settings(spec: ContainerSpec, network: dict[str, Any], running: bool, ports: list[Any]) -> dict[str, Any]:
    """network: the container's network plan, or {} without one. Addresses are shown while they are in use."""
    plans_of = {one["network"]: one for one in network.get("endpoints") or ()}
    networks = {
        name: _endpoint(plans_of.get(name, {}), options, running) for name, options in endpoints.wanted(spec).items()
    }
    if spec.network_mode in endpoints.MODES:
        networks = {spec.network_mode: _endpoint({}, {}, running)}
    first = networks.get(endpoints.DEFAULT) or _endpoint({}, {}, False)  # as docker's: of the default bridge only
    keys = "Gateway IPAddress IPPrefixLen MacAddress IPv6Gateway GlobalIPv6Address GlobalIPv6PrefixLen".split()
    return {
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": dict(_bindings(ports)) if running else {},
        **{key: first[key] for key in keys},
        "Networks": networks,
    }


def _endpoint(one: dict[str, Any], options: dict[str, Any], running: bool) -> dict[str, Any]:
    """One entry of "Networks". one: the endpoint in the plan, {} for none; options: what the spec wants of it."""
    live = one if running else {}
    asked = {
        key: options[field]
        for key, field in (("IPv4Address", "ipv4_address"), ("IPv6Address", "ipv6_address"))
        if options.get(field)
    }
    names = list(options.get("aliases") or ())
    return {
        "IPAMConfig": asked or None,
        "Links": None,
        "Aliases": names or None,
        "DNSNames": None,
        "DriverOpts": options.get("driver_opts") or None,
        "GwPriority": int(options.get("gw_priority") or 0),
        "NetworkID": one.get("network_id", ""),
        "EndpointID": endpoints.endpoint_id(live) if live else "",
        "Gateway": live.get("gateway", "") if not live.get("internal") else "",
        "IPAddress": live.get("address", ""),
        "IPPrefixLen": live.get("prefix", 0),
        "MacAddress": live.get("mac", ""),
        "IPv6Gateway": live.get("gateway6", "") if not live.get("internal") else "",
        "GlobalIPv6Address": live.get("address6", ""),
        "GlobalIPv6PrefixLen": live.get("prefix6", 0),
    }


def _config(spec: ContainerSpec, image: dict[str, Any], hostname: str, exposed: list[str]) -> dict[str, Any]:
    """The "Config" object: the portable part, that a commit carries over."""
    labels = {**(image.get("Labels") or {}), **spec.labels}
    return {
        "Hostname": hostname,
        "Domainname": spec.domainname or "",
        "User": spec.user if spec.user is not None else image.get("User") or "",
        "AttachStdin": spec.interactive,
        "AttachStdout": True,
        "AttachStderr": True,
        "ExposedPorts": {port: {} for port in exposed},
        "Tty": spec.tty,
        "OpenStdin": spec.interactive,
        "StdinOnce": spec.interactive,
        "Env": environment(spec, image),
        "Cmd": list(spec.command) if spec.command is not None else image.get("Cmd"),
        "Healthcheck": health.effective(spec, image),
        "Image": spec.image,
        "Volumes": {mount.target: {} for mount in spec.mounts if mount.type == "volume"} or image.get("Volumes"),
        "WorkingDir": spec.working_dir or image.get("WorkingDir") or "",
        "Entrypoint": list(spec.entrypoint) if spec.entrypoint is not None else image.get("Entrypoint"),
        "OnBuild": image.get("OnBuild"),
        "Labels": labels,
        "StopSignal": spec.stop_signal or image.get("StopSignal") or "SIGTERM",
        "StopTimeout": spec.stop_timeout,
    }


def container(
    record: Any,
    spec: ContainerSpec,
    image: dict[str, Any],
    observed: dict[str, Any],
    *,
    hostname: str,
    volumes: dict[str, tuple[str, str]],
    network: dict[str, Any],
    paths: dict[str, str],
    driver: str,
) -> dict[str, Any]:
    """The ContainerInspect document.

    record: the store's container row. image: the image configuration's "config" object ({} when the image is gone).
    observed: supervise.state.observe's answer. volumes: target -> (name, host folder). paths: log, hosts, hostname,
    resolv_conf. driver: the layer driver's name.
    """
    try:
        words = arguments(spec, image)
    except InvalidInput:
        words = list(spec.command or ())
    shown = state(observed)
    exposed = exposed_ports(spec, image)
    up = shown["Running"] and not shown["Restarting"]
    network_settings = _network_settings(spec, network, up, observed.get("ports") or [])
    for port in exposed:
        if up:
            network_settings["Ports"].setdefault(port, None)
    return {
        "Id": record.id,
        "Created": record.created,
        "Path": words[0] if words else "",
        "Args": words[1:],
        "State": shown,
        "Image": record.image_id,
        "ResolvConfPath": paths.get("resolv_conf", ""),
        "HostnamePath": paths.get("hostname", ""),
        "HostsPath": paths.get("hosts", ""),
        "LogPath": paths.get("log", ""),
        "Name": f"/{record.name}",
        "RestartCount": observed.get("restart_count") or 0,
        "Driver": driver,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": host_config(spec),
        "GraphDriver": {"Name": driver, "Data": None},
        "Mounts": _mount_points(spec, volumes),
        "Config": _config(spec, image, hostname, exposed),
        "NetworkSettings": network_settings,
    }


def image(
    image_id: str, config: dict[str, Any], *, names: list[str], digests: list[str], size: int, parent: str
) -> dict[str, Any]:
    """The ImageInspect document. config: the OCI image configuration; names and digests in familiar form."""
    inner = config.get("config") or {}
    return {
        "Id": image_id,
        "RepoTags": names,
        "RepoDigests": digests,
        "Parent": parent,
        "Comment": (config.get("history") or [{}])[-1].get("comment", ""),
        "Created": config.get("created"),
        "DockerVersion": "",
        "Author": config.get("author") or "",
        "Config": {
            "User": "",
            "Env": None,
            "Cmd": None,
            "WorkingDir": "",
            "Entrypoint": None,
            "Labels": None,
            "ExposedPorts": None,
            "Volumes": None,
            **inner,
        },
        "Architecture": config.get("architecture", ""),
        "Variant": config.get("variant", ""),
        "Os": config.get("os", "linux"),
        "Size": size,
        "VirtualSize": size,
        "GraphDriver": {"Name": "", "Data": None},
        "RootFS": {"Type": "layers", "Layers": list((config.get("rootfs") or {}).get("diff_ids") or ())},
        "Metadata": {"LastTagTime": ZERO_TIME},
    }
