# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flags of ``vitrine run`` that a ContainerSpec means: the reverse of cli/container_flags.py. Pure."""

from __future__ import annotations

from ..errors import InvalidInput
from .spec import DEVICE_LIMITS, ContainerSpec, Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_TEXTS = {
    "name": "name", "user": "user", "working_dir": "workdir", "hostname": "hostname", "domainname": "domainname",
    "mac_address": "mac-address", "memory": "memory", "shm_size": "shm-size",
    "memory_swap": "memory-swap", "memory_reservation": "memory-reservation", "memory_swappiness": "memory-swappiness",
    "cpu_shares": "cpu-shares", "cpu_period": "cpu-period", "cpu_quota": "cpu-quota", "cpuset_cpus": "cpuset-cpus",
    "cpuset_mems": "cpuset-mems", "pids_limit": "pids-limit", "blkio_weight": "blkio-weight", "pid_mode": "pid",
    "ipc_mode": "ipc", "uts": "uts", "oom_score_adj": "oom-score-adj", "stop_signal": "stop-signal",
    "stop_timeout": "stop-timeout", "log_driver": "log-driver", "health_on_failure": "health-on-failure",
}  # fmt: skip
_LISTS = {
    "env": "env", "groups": "group-add", "exposed_ports": "expose", "dns_servers": "dns", "cap_drop": "cap-drop",
    "dns_search_domains": "dns-search", "dns_opts": "dns-option", "capabilities": "cap-add",
    "security_opts": "security-opt",
}  # fmt: skip
_SWITCHES = {
    "publish_all_ports": "publish-all", "oom_kill_disable": "oom-kill-disable", "privileged": "privileged",
    "read_only": "read-only", "init": "init", "tty": "tty", "interactive": "interactive", "auto_remove": "rm",
}  # fmt: skip
_HEALTH = {
    "Interval": "health-interval", "Timeout": "health-timeout", "StartPeriod": "health-start-period",
    "StartInterval": "health-start-interval", "Retries": "health-retries",
}  # fmt: skip


def words_of(spec: ContainerSpec) -> list[str]:
    """The words after ``vitrine run`` that make this container: flags, image, command.

    Raises InvalidInput when something was asked for that no flag says.
    """
    words = []
    command = list(spec.command or ())
    for name, value in spec.as_dict().items():
        if name in ("image", "command", "restart_retries", "network_mode", "networks") or value == getattr(
            ContainerSpec, name
        ):
            continue
        if name == "entrypoint":
            # the flag takes one word: the others stand before the command's, which is where they end up
            words.append(f"--entrypoint={value[0] if value else ''}")
            command[:0] = value[1:]
        elif name in _TEXTS:
            words.append(f"--{_TEXTS[name]}={value}")
        elif name in _LISTS:
            words += [f"--{_LISTS[name]}={item}" for item in value]
        elif name in _SWITCHES:
            words.append(f"--{_SWITCHES[name]}")
        elif name in _OTHERS:
            words += _OTHERS[name](value, spec)
        else:
            raise _no_flag(name, value)
    return [*words, *_networks(spec), spec.image, *command]


def _no_flag(name: str, value: object) -> InvalidInput:
    return InvalidInput(
        f"{name} is {value!r}, which no flag of 'vitrine run' says", hint="make the unit without --new", value=name
    )


def _mount(mount: Mount) -> str:
    if mount.type == "tmpfs":
        parts = ["type=tmpfs", f"target={mount.target}"]
        for option in mount.options:
            key, _equals, value = option.partition("=")
            if key not in ("size", "mode"):
                raise _no_flag("mounts", mount.as_dict())
            parts.append(f"tmpfs-{key}={value}")
        return f"--mount={','.join(parts)}"
    options = ["ro"] * mount.read_only + list(mount.options)
    anonymous = mount.anonymous or not mount.source
    source = "" if anonymous else f"{mount.source}:"
    if anonymous and options:
        raise _no_flag("mounts", mount.as_dict())
    return f"--volume={source}{mount.target}{':' + ','.join(options) if options else ''}"


def _health(check: dict[str, Any], _spec: ContainerSpec) -> list[str]:
    test = list(check.get("Test") or ())
    if test == ["NONE"]:
        return ["--no-healthcheck"]
    if test and (test[0] != "CMD-SHELL" or len(test) != 2):
        raise _no_flag("healthcheck", check)
    words = [f"--health-cmd={test[1]}"] if test else []
    for key, value in check.items():
        if key in _HEALTH:
            words.append(f"--{_HEALTH[key]}={value if key == 'Retries' else f'{value}ns'}")
        elif key != "Test":
            raise _no_flag("healthcheck", check)
    return words


_ENDPOINT = {"ipv4_address": "ip", "ipv6_address": "ip6", "mac_address": "mac-address", "gw_priority": "gw-priority"}


def _networks(spec: ContainerSpec) -> list[str]:
    """Each network with what is wanted of it; the one that the mode names comes first."""
    modes = [] if spec.network_mode == ContainerSpec.network_mode and not spec.networks else [spec.network_mode]
    words = []
    for name in dict.fromkeys([*modes, *spec.networks]):
        fields = []
        for key, value in (spec.networks.get(name) or {}).items():
            if key == "aliases":
                fields += [f"alias={alias}" for alias in value]
            elif key == "driver_opts":
                fields += [f"driver-opt={option}={text}" for option, text in value.items()]
            elif key in _ENDPOINT:
                fields.append(f"{_ENDPOINT[key]}={value}")
            else:
                raise _no_flag("networks", spec.networks)
        words.append(f"--network={','.join([f'name={name}', *fields]) if fields else name}")
    return words


def _cpus(number: int, _spec: ContainerSpec) -> list[str]:
    return [f"--cpus={number // 10**9}.{number % 10**9:09d}"]


def _restart(policy: str, spec: ContainerSpec) -> list[str]:
    return [f"--restart={policy}{f':{spec.restart_retries}' if spec.restart_retries else ''}"]


def _pairs(flag: str) -> Callable[[dict[str, str], ContainerSpec], list[str]]:
    return lambda values, _spec: [f"--{flag}={key}={value}" for key, value in values.items()]


def _published(ports: tuple[Any, ...], _spec: ContainerSpec) -> list[str]:
    words = []
    for port in ports:
        host = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip
        before = f"{host}:" if host else ""
        if host or port.host_port:
            before += f"{port.host_port or ''}:"
        words.append(f"--publish={before}{port.container_port}/{port.protocol}")
    return words


def _device_limit(name: str) -> Callable[[Any, ContainerSpec], list[str]]:
    flag = name.replace("_", "-")
    return lambda values, _spec: [f"--{flag}={path}:{number}" for path, number in values.items()]


_OTHERS: dict[str, Callable[[Any, ContainerSpec], list[str]]] = {
    "labels": _pairs("label"),
    "sysctls": _pairs("sysctl"),
    "log_options": _pairs("log-opt"),
    "etc_hosts": lambda values, _spec: [f"--add-host={key}:{value}" for key, value in values.items()],
    "tmpfs": lambda values, _spec: [f"--tmpfs={key}{':' + value if value else ''}" for key, value in values.items()],
    "published_ports": _published,
    "mounts": lambda mounts, _spec: [_mount(mount) for mount in mounts],
    "nano_cpus": _cpus,
    "ulimits": lambda values, _spec: [f"--ulimit={name}={soft}:{hard}" for name, soft, hard in values],
    **{name: _device_limit(name) for name in DEVICE_LIMITS},
    "devices": lambda values, _spec: [f"--device={':'.join(value)}" for value in values],
    "restart_policy": _restart,
    "healthcheck": _health,
}
