# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flags of ``run`` and ``create``, and the ContainerSpec that they mean."""

from __future__ import annotations

import os

from ..engine import health as health_checks
from ..engine import parse
from ..engine.spec import DEVICE_LIMITS, ContainerSpec, Mount
from ..errors import InvalidInput
from .flags import Options, option, switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONTAINER_FLAGS = (
    option("add-host", value="NAME:IP", many=True, help="Add an entry to /etc/hosts"),
    option("blkio-weight", value="N", help="Block IO weight, 10 to 1000"),
    option("blkio-weight-device", value="DEV:N", many=True, help="Block IO weight on a device: /dev/x:500"),
    option("cap-add", value="CAP", many=True, help="Add a Linux capability"),
    option("cap-drop", value="CAP", many=True, help="Drop a Linux capability"),
    option("cpu-period", value="US", help="Period of the CPU quota in microseconds"),
    option("cpu-quota", value="US", help="CPU time per period in microseconds"),
    option("cpu-shares", "c", value="N", help="CPU shares (relative weight, 1024 is usual)"),
    option("cpus", value="N", help="Number of CPUs, such as 0.5"),
    option("cpuset-cpus", value="LIST", help="CPUs that may be used: 0-2,4"),
    option("cpuset-mems", value="LIST", help="Memory nodes that may be used: 0,1"),
    option("device", value="DEV", many=True, help="Add a host device: /dev/x[:/dev/y][:rwm]"),
    option("device-read-bps", value="DEV:SIZE", many=True, help="Limit of bytes read from a device in a second"),
    option("device-read-iops", value="DEV:N", many=True, help="Limit of reads from a device in a second"),
    option("device-write-bps", value="DEV:SIZE", many=True, help="Limit of bytes written to a device in a second"),
    option("device-write-iops", value="DEV:N", many=True, help="Limit of writes to a device in a second"),
    option("dns", value="IP", many=True, help="DNS server"),
    option("dns-option", value="OPT", many=True, help="DNS option"),
    option("dns-search", value="DOMAIN", many=True, help="DNS search domain"),
    option("domainname", value="NAME", help="NIS domain name"),
    option("entrypoint", value="CMD", help="Replace the image's entrypoint"),
    option("env", "e", value="NAME=VALUE", many=True, help="Set an environment variable"),
    option("env-file", value="FILE", many=True, help="Read environment variables from a file"),
    option("expose", value="PORT", many=True, help="Expose a port or a range of ports"),
    option("group-add", value="GROUP", many=True, help="Add a supplementary group"),
    option("health-cmd", value="COMMAND", help="Command that tells by its exit code whether the container is healthy"),
    option("health-interval", value="TIME", help="Time between two health checks, such as 30s"),
    option(
        "health-on-failure",
        value="ACTION",
        choices=health_checks.ACTIONS,
        help="What to do when it becomes unhealthy: none, kill, restart, stop",
    ),
    option("health-retries", value="N", help="Failures in a row that make it unhealthy"),
    option("health-start-interval", value="TIME", help="Time between two health checks in the start period"),
    option("health-start-period", value="TIME", help="Time to start in, during which failures do not count"),
    option("health-timeout", value="TIME", help="How long a health check may take"),
    option("hostname", "h", value="NAME", help="Host name inside"),
    switch("init", help="Run a small init that reaps processes and forwards signals"),
    switch("interactive", "i", help="Keep standard input open"),
    option("ipc", value="MODE", help="IPC namespace: host, private, container:NAME"),
    option("label", "l", value="KEY=VALUE", many=True, help="Set a label"),
    option("log-driver", value="DRIVER", help="Log driver: json-file, k8s-file, journald, none"),
    option("log-opt", value="KEY=VALUE", many=True, help="Log driver option: max-size, max-file"),
    option("mac-address", value="MAC", help="MAC address of the container's link"),
    option("memory", "m", value="SIZE", help="Memory limit"),
    option("memory-reservation", value="SIZE", help="Memory soft limit"),
    option("memory-swap", value="SIZE", help="Memory and swap limit; -1 is unlimited"),
    option("memory-swappiness", value="N", help="Swappiness, 0 to 100"),
    option("mount", value="SPEC", many=True, help="Mount: type=bind|volume|tmpfs,source=...,target=..."),
    option("name", value="NAME", help="Name of the container"),
    option(
        "network",
        value="NETWORK",
        many=True,
        help="Network: bridge, host, none, container:NAME, or a name; name=...,ip=...,alias=...",
    ),
    option("net", value="NETWORK", many=True, help="The same as --network"),
    option("network-alias", value="NAME", many=True, help="Another name for the container on its network"),
    option("net-alias", value="NAME", many=True, help="The same as --network-alias"),
    option("ip", value="IP", help="IPv4 address on its network"),
    option("ip6", value="IP", help="IPv6 address on its network"),
    switch("oom-kill-disable", help="Do not kill processes when memory runs out"),
    switch("no-healthcheck", help="Do without the image's health check"),
    option("oom-score-adj", value="N", help="Preference of the OOM killer, -1000 to 1000"),
    option("pid", value="MODE", help="PID namespace: host, container:NAME"),
    option("pids-limit", value="N", help="Limit of processes and threads; -1 is unlimited"),
    option("platform", value="OS/ARCH", help="Platform of the image"),
    switch("privileged", help="All capabilities and devices, no confinement"),
    option("publish", "p", value="PORTS", many=True, help="Publish a port: [IP:][HOST:]CONTAINER[/PROTO]"),
    switch("publish-all", "P", help="Publish all exposed ports on free host ports"),
    option("pull", value="WHEN", choices=("always", "missing", "never"), help="When to pull: always, missing, never"),
    switch("quiet", "q", help="No progress when pulling"),
    switch("read-only", help="Read-only root file system"),
    option("restart", value="POLICY", help="Restart policy: no, always, unless-stopped, on-failure[:N]"),
    switch("rm", help="Remove the container when it exits"),
    option("security-opt", value="OPT", many=True, help="Security option: seccomp=, no-new-privileges"),
    option("shm-size", value="SIZE", help="Size of /dev/shm"),
    option("stop-signal", value="SIGNAL", help="Signal that asks the container to stop"),
    option("stop-timeout", value="SECONDS", help="Seconds before it is killed"),
    option("sysctl", value="KEY=VALUE", many=True, help="Set a sysctl in the container"),
    option("tmpfs", value="PATH", many=True, help="Mount a tmpfs: /path[:options]"),
    switch("tty", "t", help="Give it a terminal"),
    option("ulimit", value="NAME=SOFT[:HARD]", many=True, help="Set a resource limit"),
    option("user", "u", value="USER[:GROUP]", help="User name or id"),
    option("uts", value="MODE", help="UTS namespace: host"),
    option("volume", "v", value="VOLUME", many=True, help="Mount: [HOST-PATH|VOLUME:]PATH[:ro]"),
    option("workdir", "w", value="DIR", help="Working directory inside"),
)


def _integer(text: str | None, flag: str) -> int | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"--{flag} is {text!r}", hint="write a whole number", value=text) from None


def _mounts(options: Options) -> tuple[Mount, ...]:
    mounts = [*map(parse.volume, options.volume), *map(parse.mount, options.mount)]
    for mount in mounts[len(options.volume) :]:
        # as docker's: only --volume makes what is not there
        if mount.type == "bind" and not os.path.exists(mount.source):
            raise InvalidInput(
                f"the bind source path {mount.source!r} does not exist", hint="make it, or use -v", value=mount.source
            )
    seen: set[str] = set()
    for mount in mounts:
        if mount.target in seen:
            raise InvalidInput(
                f"duplicate mount target {mount.target!r}", hint="mount one thing at each place", value=mount.target
            )
        seen.add(mount.target)
    return tuple(mounts)


def _networks(options: Options) -> dict[str, Any]:
    """network_mode and networks. --ip, --ip6 and --network-alias are meant for the first network."""
    wanted: dict[str, Any] = {}
    for name, given in map(parse.network, [*options.network, *options.net] or ["bridge"]):
        if name in wanted:
            raise InvalidInput(f"the network {name!r} is named twice", hint="leave one out", value=name)
        wanted[name] = given
    mode, first = next(iter(wanted.items()))
    extra = parse.network_options(
        {"alias": [*options.network_alias, *options.net_alias], "ip": options.ip, "ip6": options.ip6}
    )
    for key in sorted(set(first) & set(extra)):
        raise InvalidInput(f"{key} of the network {mode!r} is given twice", hint="leave one out", value=mode)
    first.update(extra)
    alone = [name for name in wanted if name in ("host", "none") or name.startswith("container:")]
    if alone and len(wanted) > 1:
        raise InvalidInput(
            f"the network mode {alone[0]!r} cannot be combined with other networks",
            hint="leave one out",
            value=alone[0],
        )
    if alone and first:
        raise InvalidInput(
            f"the network mode {alone[0]!r} takes no addresses and no aliases",
            hint="they are for user-defined networks: vitrine network create",
            value=alone[0],
        )
    return {"network_mode": mode, "networks": wanted if len(wanted) > 1 or first else {}}


def limits(options: Options) -> dict[str, Any]:
    """The limits that the flags mean, None for what is not said; a verb may lack some of the flags."""
    sizes = {key: getattr(options, key, None) for key in ("memory", "memory_reservation", "shm_size")}
    numbers = {
        "memory_swappiness": "memory-swappiness",
        "cpu_shares": "cpu-shares",
        "cpu_period": "cpu-period",
        "cpu_quota": "cpu-quota",
        "pids_limit": "pids-limit",
        "blkio_weight": "blkio-weight",
        "oom_score_adj": "oom-score-adj",
        "stop_timeout": "stop-timeout",
    }
    result: dict[str, Any] = {key: None if text is None else parse.size(text, key) for key, text in sizes.items()}
    result.update({key: _integer(getattr(options, key, None), flag) for key, flag in numbers.items()})
    if options.memory_swap is not None:
        result["memory_swap"] = parse.memory_swap(options.memory_swap)
    if options.cpus is not None:
        result["nano_cpus"] = parse.cpus(options.cpus)
    for key in ("cpuset_cpus", "cpuset_mems"):
        if getattr(options, key) is not None:
            result[key] = parse.cpuset(getattr(options, key))
    return result


def _device_limits(options: Options) -> dict[str, Any]:
    return {name: dict(parse.device_limit(text, name) for text in getattr(options, name)) for name in DEVICE_LIMITS}


def _health(options: Options) -> dict[str, Any]:
    """The fields that the flags of the health check mean."""
    times = {
        "Interval": options.health_interval,
        "Timeout": options.health_timeout,
        "StartPeriod": options.health_start_period,
        "StartInterval": options.health_start_interval,
    }
    check = health_checks.described(options.health_cmd, times, _integer(options.health_retries, "health-retries"))
    if options.no_healthcheck:
        if check or options.health_cmd is not None:
            raise InvalidInput(
                "--no-healthcheck conflicts with --health-* options", hint="leave one out", value="--no-healthcheck"
            )
        check = {"Test": ["NONE"]}
    return {"healthcheck": check or None, "health_on_failure": options.health_on_failure or ""}


def container_spec(options: Options, image: str, command: list[str]) -> ContainerSpec:
    """The spec that the flags, the image and the command mean. Raises InvalidInput."""
    environment = [word for path in options.env_file for word in parse.env_file(path)] + parse.env(options.env)
    policy, retries = parse.restart(options.restart or "no")
    if options.rm and policy != "no":
        raise InvalidInput(
            f"--rm and --restart={options.restart} contradict each other", hint="leave one out", value=options.restart
        )
    if options.stop_signal is not None:
        parse.signal(options.stop_signal)
    return ContainerSpec(
        image=image,
        name=None if options.name is None else parse.name(options.name),
        command=tuple(command) or None,
        entrypoint=None if options.entrypoint is None else (options.entrypoint,),
        env=tuple(environment),
        user=options.user,
        groups=tuple(options.group_add),
        working_dir=options.workdir,
        hostname=options.hostname,
        domainname=options.domainname,
        labels=dict(map(parse.label, options.label)),
        published_ports=tuple(port for text in options.publish for port in parse.port(text)),
        exposed_ports=tuple(port for text in options.expose for port in parse.exposed(text)),
        publish_all_ports=options.publish_all,
        mounts=_mounts(options),
        tmpfs=dict(map(parse.tmpfs, options.tmpfs)),
        **_networks(options),
        dns_servers=tuple(options.dns),
        dns_search_domains=tuple(options.dns_search),
        dns_opts=tuple(options.dns_option),
        etc_hosts=dict(map(parse.host_entry, options.add_host)),
        mac_address=options.mac_address,
        oom_kill_disable=options.oom_kill_disable,
        capabilities=tuple(options.cap_add),
        cap_drop=tuple(options.cap_drop),
        privileged=options.privileged,
        read_only=options.read_only,
        security_opts=tuple(options.security_opt),
        sysctls=parse.pairs(options.sysctl, "sysctl"),
        ulimits=tuple(map(parse.ulimit, options.ulimit)),
        devices=tuple(map(parse.device, options.device)),
        **_device_limits(options),
        init=options.init,
        tty=options.tty,
        interactive=options.interactive,
        restart_policy=policy,
        restart_retries=retries,
        stop_signal=options.stop_signal,
        auto_remove=options.rm,
        log_driver=options.log_driver,
        log_options=parse.pairs(options.log_opt, "log-opt"),
        pid_mode=options.pid or "",
        ipc_mode=options.ipc or "",
        uts=options.uts or "",
        **_health(options),
        **limits(options),
    )
