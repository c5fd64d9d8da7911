# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a user wants (ContainerSpec) and what the image says, to what the runtime runs: an OCI runtime spec.

Pure, but that the device nodes and the seccomp profile that a user names are looked at. Defaults are docker's
(moby's oci/defaults and daemon/oci_linux); the document is the OCI runtime specification 1.2, config-linux.
"""

from __future__ import annotations

import os
import stat

from .. import lightjson as json
from ..errors import InvalidInput
from ..runtime import capabilities
from . import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .spec import ContainerSpec, Mount

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHM = 64 << 20
MINIMUM_MEMORY = 6 << 20
CPU_PERIOD = 100_000  # microseconds, the kernel's default

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
# What every container may do with device nodes (cgroup-v1 devices.txt): make any, use the harmless ones.
DEVICE_RULES = (
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2))
    ),
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
)


# The role "engine" installs it; what is loaded, securityfs tells (apparmor(7)).
APPARMOR_PROFILE = "vitrine-default"
APPARMOR_ENABLED = "/sys/module/apparmor/parameters/enabled"
APPARMOR_LOADED = "/sys/kernel/security/apparmor/profiles"


def _said(path: str) -> bytes:
    """What a file of the kernel's says; b"" where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


class Security:
    """The meaning of ``--security-opt`` texts.

    seccomp: "default", "unconfined", or the path of a profile in docker's JSON format.
    no_new_privileges: bool. system_paths: bool, False when nothing shall be masked.
    apparmor: the name of a profile, "unconfined", or "" for the host's default.
    """

    def __init__(self, options: tuple[str, ...], privileged: bool) -> None:
        self.seccomp = "unconfined" if privileged else "default"
        self.no_new_privileges = False
        self.apparmor = "unconfined" if privileged else ""
        self.system_paths = not privileged
        for option in options:
            key, separator, value = option.partition("=")
            if not separator:
                key, _colon, value = option.partition(":")
            if key == "seccomp" and value:
                self.seccomp = value
            elif key == "no-new-privileges" and value in ("", "true", "false"):
                self.no_new_privileges = value != "false"
            elif option == "systempaths=unconfined":
                self.system_paths = False
            elif key == "apparmor" and value:
                self.apparmor = value
            elif key == "label":
                continue  # no such module in charge, or the host's default: nothing of ours to set
            else:
                raise InvalidInput(
                    f"invalid security option {option!r}",
                    hint="use seccomp=unconfined|FILE, no-new-privileges, systempaths=unconfined, apparmor=, label=",
                    value=option,
                )

    def apparmor_profile(self) -> str:
        """The profile that its processes change to; "" for none, as everywhere where there is no AppArmor.

        Ours is used while the kernel has it. One that was asked for must be there; else the start fails.
        """
        if self.apparmor == "unconfined" or not _said(APPARMOR_ENABLED).startswith(b"Y"):
            return ""
        ours = f"{APPARMOR_PROFILE} (".encode() in _said(APPARMOR_LOADED)
        return self.apparmor or (APPARMOR_PROFILE if ours else "")

    def seccomp_profile(self) -> dict[str, Any] | None:
        """The profile that a user's file holds; None for the built-in choices. Raises InvalidInput."""
        if self.seccomp in ("default", "unconfined"):
            return None
        path = self.seccomp
        try:
            with open(path, encoding="utf-8") as file:
                profile = json.load(file)
            if not isinstance(profile, dict):
                raise ValueError("it is not a JSON object")
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"cannot read the seccomp profile {path!r}: {getattr(error, 'strerror', None) or error}",
                hint="name a file in docker's JSON format, or seccomp=unconfined",
                value=path,
            ) from None
        return profile


def arguments(spec: ContainerSpec, image: dict[str, Any]) -> list[str]:
    """The container's argv: docker's rule of entrypoint and command.

    image: the image configuration's "config" object. Raises InvalidInput when nothing is left to run.
    """
    entrypoint = image.get("Entrypoint") or []
    command = list(spec.command) if spec.command is not None else None
    if spec.entrypoint is not None:
        entrypoint = [word for word in spec.entrypoint if word] if spec.entrypoint != ("",) else []
        command = command or []
    elif not command:
        command = image.get("Cmd") or []
    words = [*entrypoint, *command]
    if not words:
        raise InvalidInput(
            f"no command to run: the image {spec.image!r} names none", hint="give a command", value=spec.image
        )
    return words


def environment(spec: ContainerSpec, image: dict[str, Any], hostname: str = "") -> list[str]:
    """The container's environment; later settings of a name win, and each name comes once.

    Without a hostname: only what was configured, as inspect shows it.
    """
    settings = [DEFAULT_PATH]
    if hostname:
        settings.append(f"HOSTNAME={hostname}")
        settings += ["TERM=xterm"] if spec.tty else []
    merged: dict[str, str] = {}
    for word in (*settings, *(image.get("Env") or ()), *spec.env):
        merged[word.partition("=")[0]] = word
    return list(merged.values())


def _limits(spec: ContainerSpec) -> tuple[int | None, int | None]:
    """(memory, memory + swap) in bytes, checked against each other; docker gives as much swap as memory."""
    memory, swap = spec.memory, spec.memory_swap
    if memory is not None and 0 < memory < MINIMUM_MEMORY:
        raise InvalidInput(f"a memory limit of {memory} bytes is too low", hint="6 MiB is the least", value=memory)
    if swap is not None and swap > 0:
        if not memory:
            raise InvalidInput(f"memory_swap={swap} needs a memory limit too", hint="set memory as well", value=swap)
        if swap < memory:
            raise InvalidInput(
                f"memory_swap={swap} is below memory={memory}",
                hint="memory_swap is the sum of memory and swap",
                value=swap,
            )
    if memory and spec.memory_reservation and spec.memory_reservation > memory:
        raise InvalidInput(
            f"memory_reservation={spec.memory_reservation} is above memory={memory}",
            hint="lower the reservation",
            value=spec.memory_reservation,
        )
    if memory and not swap:
        swap = memory * 2
    return memory or None, swap or None


def resources(spec: ContainerSpec, devices: list[dict[str, Any]]) -> dict[str, Any]:
    """The OCI "linux.resources" object. Raises InvalidInput for limits that contradict each other."""
    memory, swap = _limits(spec)
    quota, period = spec.cpu_quota, spec.cpu_period
    if spec.nano_cpus:
        if quota or period:
            raise InvalidInput(
                "cpus cannot be combined with cpu_period or cpu_quota", hint="use one of them", value=spec.nano_cpus
            )
        present = os.cpu_count() or 1
        if spec.nano_cpus > present * 10**9:
            raise InvalidInput(
                f"{spec.nano_cpus / 1e9:g} CPUs are more than this host's {present}",
                hint=f"write a number up to {present}",
                value=spec.nano_cpus,
            )
        quota, period = spec.nano_cpus * CPU_PERIOD // 10**9, CPU_PERIOD
    groups: dict[str, dict[str, Any]] = {
        "memory": {
            "limit": memory,
            "swap": swap,
            "reservation": spec.memory_reservation,
            "swappiness": spec.memory_swappiness,
            "disableOOMKiller": spec.oom_kill_disable or None,
        },
        "cpu": {
            "shares": spec.cpu_shares,
            "quota": quota,
            "period": period,
            "cpus": spec.cpuset_cpus,
            "mems": spec.cpuset_mems,
        },
        "pids": {"limit": spec.pids_limit},
        "blockIO": {"weight": spec.blkio_weight, **_device_limits(spec)},
    }
    result: dict[str, Any] = {}
    for group, values in groups.items():
        given = {key: value for key, value in values.items() if value is not None}
        if given:
            result[group] = given
    if spec.privileged:
        result["devices"] = [{"allow": True, "access": "rwm"}]
    else:
        rules = [
            {
                "allow": True,
                "type": node["type"],
                "major": node["major"],
                "minor": node["minor"],
                "access": node["access"],
            }
            for node in devices
        ]
        result["devices"] = [*DEVICE_RULES, *rules]
    return result


_DEVICE_LIMITS = {
    "blkio_weight_device": ("weightDevice", "weight"),
    "device_read_bps": ("throttleReadBpsDevice", "rate"),
    "device_write_bps": ("throttleWriteBpsDevice", "rate"),
    "device_read_iops": ("throttleReadIOPSDevice", "rate"),
    "device_write_iops": ("throttleWriteIOPSDevice", "rate"),
}


def _device_limits(spec: ContainerSpec) -> dict[str, list[dict[str, int]] | None]:
    limits: dict[str, list[dict[str, int]] | None] = {}
    for field, (name, key) in _DEVICE_LIMITS.items():
        found = []
        for path, number in getattr(spec, field).items():
            node = _device_node(path, path)
            if node is None or node["type"] != "b":
                raise InvalidInput(
                    f"{path!r} in {field} is no block device of this host", hint="see lsblk for their names", value=path
                )
            found.append({"major": node["major"], "minor": node["minor"], key: number})
        limits[name] = found or None
    return limits


def device_nodes(spec: ContainerSpec) -> list[dict[str, Any]]:
    """The device nodes that a user named, as OCI "linux.devices" entries with the key "access" added.

    A folder stands for all nodes below it. Raises InvalidInput for what is no device on this host.
    """
    wanted = list(spec.devices)
    if spec.privileged:
        wanted += [(path, path, "rwm") for path in _host_devices()]
    nodes = []
    for host, container, access in wanted:
        paths = [(host, container)]
        if os.path.isdir(host):
            paths = [
                (os.path.join(folder, name), os.path.join(container, os.path.relpath(os.path.join(folder, name), host)))
                for folder, _names, names in os.walk(host)
                for name in sorted(names)
            ]
        for source, target in paths:
            node = _device_node(source, target)
            if node:
                nodes.append({**node, "access": access})
            elif source == host:
                raise InvalidInput(
                    f"{host!r} is not a device on this host", hint="name a character or block device", value=host
                )
    return nodes


def _device_node(source: str, target: str) -> dict[str, Any] | None:
    try:
        status = os.stat(source)
    except OSError:
        return None
    kinds = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}
    kind = kinds.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return None
    return {
        "path": target,
        "type": kind,
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }


def _host_devices() -> list[str]:
    """The host's own device nodes, for a privileged container; those that /dev always has are left to the runtime."""
    own = {"null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts", "shm", "mqueue", "fd"}
    found = []
    for folder, names, files in os.walk("/dev"):
        if folder == "/dev":
            names[:] = [name for name in names if name not in own]
            files = [name for name in files if name not in own]
        found += [
            os.path.join(folder, name) for name in sorted(files) if not os.path.islink(os.path.join(folder, name))
        ]
    return [path for path in found if _device_node(path, path)]


def _shared_memory(spec: ContainerSpec, joined: dict[str, str]) -> dict[str, Any]:
    """/dev/shm goes with the IPC namespace: whoever shares that shares this."""
    source = "/dev/shm" if spec.ipc_mode == "host" else ""
    if "ipc" in joined:
        source = joined["ipc"].replace("/ns/ipc", "/root/dev/shm")
    if source:
        return {"destination": "/dev/shm", "type": "bind", "source": source, "options": ["rbind", "rprivate", "rw"]}
    size = DEFAULT_SHM if spec.shm_size is None else spec.shm_size
    options = ["nosuid", "noexec", "nodev", "mode=1777", f"size={size}"]
    return {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": options}


def _system_mounts(spec: ContainerSpec, joined: dict[str, str]) -> list[dict[str, Any]]:
    access = "rw" if spec.privileged else "ro"
    common = ["nosuid", "noexec", "nodev"]
    return [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": common},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*common, access]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*common, access]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": common},
        _shared_memory(spec, joined),
    ]  # fmt: skip


def _user_mount(mount: Mount, volumes: dict[str, str]) -> dict[str, Any]:
    if mount.type == "tmpfs":
        options = [*mount.options, "ro"] if mount.read_only else list(mount.options)
        options = ["nosuid", "nodev", "noexec", *options]
        return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}
    source = mount.source if mount.type == "bind" else volumes[mount.target]
    propagation = [word for word in mount.options if word.endswith(("private", "shared", "slave"))] or ["rprivate"]
    options = ["rbind", *propagation, "ro" if mount.read_only else "rw"]
    return {"destination": mount.target, "type": "bind", "source": source, "options": options}


def _namespaces(spec: ContainerSpec, joined: dict[str, str]) -> list[dict[str, str]]:
    """Namespaces to make or, where joined names a path, to enter; "host" modes are left out."""
    modes = {"network": spec.network_mode, "pid": spec.pid_mode, "ipc": spec.ipc_mode, "uts": spec.uts}
    result = [{"type": "mount"}, {"type": "cgroup"}]
    for kind, mode in modes.items():
        if mode != "host":
            result.append({"type": kind, "path": joined[kind]} if kind in joined else {"type": kind})
    return result


def _mounts(
    spec: ContainerSpec, volumes: dict[str, str], files: dict[str, str], joined: dict[str, str]
) -> list[dict[str, Any]]:
    """All mounts in the order in which they are made: the system's, then the user's from the root downwards."""
    system = _system_mounts(spec, joined)
    wanted = [_user_mount(mount, volumes) for mount in spec.mounts]
    for path, options in spec.tmpfs.items():
        words = ["nosuid", "nodev", "noexec", *filter(None, options.split(","))]
        wanted.append({"destination": path, "type": "tmpfs", "source": "tmpfs", "options": words})
    taken = {item["destination"] for item in wanted}
    for target, source in files.items():
        if target not in taken:
            options_of_file = ["rbind", "rprivate", "rw"]
            wanted.append({"destination": target, "type": "bind", "source": source, "options": options_of_file})
    wanted.sort(key=lambda item: item["destination"].count("/"))
    return [item for item in system if item["destination"] not in taken] + wanted


def _process(
    spec: ContainerSpec,
    image: dict[str, Any],
    hostname: str,
    ulimits: tuple[tuple[str, int, int], ...],
    security: Security,
) -> dict[str, Any]:
    """The OCI "process" object."""
    names = list(capabilities.resolve(spec.capabilities, spec.cap_drop, spec.privileged))
    limits = {name: (soft, hard) for name, soft, hard in (*ulimits, *spec.ulimits)}
    process: dict[str, Any] = {
        "terminal": spec.tty,
        "user": {"username": spec.user if spec.user is not None else image.get("User") or ""},
        "args": arguments(spec, image),
        "env": environment(spec, image, hostname),
        "cwd": spec.working_dir or image.get("WorkingDir") or "/",
        "capabilities": {"bounding": names, "effective": names, "permitted": names},
        "rlimits": [
            {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard} for name, (soft, hard) in limits.items()
        ],
        "noNewPrivileges": security.no_new_privileges,
        "apparmorProfile": security.apparmor_profile(),
    }
    if spec.oom_score_adj is not None:
        process["oomScoreAdj"] = spec.oom_score_adj
    return process


def _linux(
    spec: ContainerSpec, security: Security, nodes: list[dict[str, Any]], cgroup_path: str, joined: dict[str, str]
) -> dict[str, Any]:
    """The OCI "linux" object."""
    own_network = spec.network_mode != "host" and "network" not in joined
    sysctls = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
    linux: dict[str, Any] = {
        "cgroupsPath": cgroup_path,
        "resources": resources(spec, nodes),
        "namespaces": _namespaces(spec, joined),
        "devices": [{key: value for key, value in node.items() if key != "access"} for node in nodes],
        "sysctl": {**(sysctls if own_network else {}), **spec.sysctls},
        "maskedPaths": list(MASKED_PATHS) if security.system_paths else [],
        "readonlyPaths": list(READONLY_PATHS) if security.system_paths else [],
    }
    profile = security.seccomp_profile()
    if profile is not None:
        linux["seccomp"] = profile
    return linux


def runtime_spec(
    spec: ContainerSpec,
    image: dict[str, Any],
    *,
    hostname: str,
    root: str,
    cgroup_path: str,
    volumes: dict[str, str],
    files: dict[str, str],
    joined: dict[str, str],
    ulimits: tuple[tuple[str, int, int], ...] = (),
) -> dict[str, Any]:
    """Return the OCI runtime spec.

    image: the image configuration's "config" object. root: JSON text of the annotation "io.vitrine.root".
    volumes: target -> host folder, for every volume mount. files: target -> host file (hosts, resolv.conf ...).
    joined: namespace type -> path of a namespace to enter. ulimits: the host's defaults, which the spec's override.
    """
    security = Security(spec.security_opts, spec.privileged)
    annotations = {"io.vitrine.root": root}
    if security.seccomp in ("default", "unconfined"):
        annotations["io.vitrine.seccomp"] = security.seccomp
    if spec.groups:
        annotations["io.vitrine.groups"] = ",".join(spec.groups)
    if spec.init:
        annotations["io.vitrine.init"] = "true"
    result = {
        "ociVersion": "1.2.0",
        "process": _process(spec, image, hostname, ulimits, security),
        "root": {"path": "rootfs", "readonly": spec.read_only},
        "mounts": _mounts(spec, volumes, files, joined),
        "linux": _linux(spec, security, device_nodes(spec), cgroup_path, joined),
        "annotations": annotations,
    }
    if spec.uts != "host":
        result["hostname"] = hostname
        if spec.domainname:
            result["domainname"] = spec.domainname
    return result


def stop_signal(spec: ContainerSpec, image: dict[str, Any]) -> int:
    """The signal that asks the container to end."""
    return parse.signal(spec.stop_signal or image.get("StopSignal") or "TERM")
