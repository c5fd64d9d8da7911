# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an OCI runtime spec (config.json, version 1.2) to a plan: plain values that marshal takes. Pure.

A plan says everything that init does, so it can be printed (describe), compared by tests, kept and sent to the sealed
interpreter that executes it. Its keys:
  id, without (forced rungs), cgroup (see cgroups.plans), network_ops (see linux.netlink.apply)
  new: CLONE_NEW* of the namespaces to make   join: ((kind, path), ...)   own_cgroup_namespace, confine_devices: 0 or 1
  owners: {pid: start time} of the processes that the paths in join name (added by who knows them; may be absent)
  mounts: operations (see plan_mounts)   hostname, domainname   sysctls: ((path below /proc/sys, value), ...)
  process: argv, env (bytes), cwd, user ("user[:group]"), groups, umask, rlimits ((number, soft, hard), ...),
    caps (masks), no_new_privs, seccomp (bytes or None), tty, console_size, oom_score_adj, init, apparmor (name)
"""

from __future__ import annotations

import os

from ..errors import InvalidInput
from ..linux import features, namespaces
from . import capabilities, seccomp
from .plan_mounts import compile_mounts, describe_mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ANNOTATION_SECCOMP = "io.vitrine.seccomp"
ANNOTATION_GROUPS = "io.vitrine.groups"
ANNOTATION_INIT = "io.vitrine.init"
INFINITY = 2**64 - 1
_LIMITS = (
    "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME"
).split()  # in the order of their numbers (asm-generic/resource.h)
_IPC_SYSCTLS = {
    "kernel/" + name for name in "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced msg_next_id".split()
}


def compile_spec(
    spec: dict[str, Any],
    *,
    container_id: str,
    cgroup: dict[str, Any] | None = None,
    network_ops: list | None = None,
    seccomp_cache: str | None = None,
    bundle: str = "/",
) -> dict[str, Any]:
    """Compile the plan of one container.

    cgroup: its cgroup plan; network_ops: what init does in its network namespace once that is wired; seccomp_cache:
    directory for compiled filters; bundle: what a relative root.path is relative to. Raises InvalidInput.
    """
    if not spec.get("process"):
        raise InvalidInput("the spec has no process to run", value=container_id)
    _refuse_unsupported(spec)
    new, join, kinds = _namespaces(spec)
    return {
        "id": container_id,
        "without": sorted(features.without()),
        "cgroup": cgroup,
        "network_ops": list(network_ops or ()),
        "new": new,
        "join": join,
        "own_cgroup_namespace": int("cgroup" in kinds and "cgroup" not in dict(join)),
        "confine_devices": int(not _all_devices(spec)),
        "mounts": compile_mounts(spec, bundle),
        "hostname": spec.get("hostname") or "",
        "domainname": spec.get("domainname") or "",
        "sysctls": _sysctls((spec.get("linux") or {}).get("sysctl") or {}, kinds),
        "process": compile_process(spec["process"], spec, seccomp_cache=seccomp_cache),
    }


def _refuse_unsupported(spec: dict[str, Any]) -> None:
    """What would change the container if it were obeyed is not passed over in silence."""
    process, linux = spec["process"], spec.get("linux") or {}
    for where, item, keys in (
        ("", spec, ("hooks", "vm", "solaris", "windows", "zos")),
        ("process.", process, ("selinuxLabel", "ioPriority", "scheduler", "execCPUAffinity")),
        ("linux.", linux, ("uidMappings", "gidMappings", "timeOffsets", "personality", "intelRdt", "mountLabel",
                           "netDevices", "memoryPolicy")),
    ):  # fmt: skip
        for key in keys:
            if item.get(key):
                raise InvalidInput(
                    f"{where}{key} is not supported", hint="leave it out of the runtime spec", value=item[key]
                )


def _namespaces(spec: dict[str, Any]) -> tuple[int, list[tuple[str, str]], set[str]]:
    """(flags for clone, namespaces to join, all kinds that are not the host's). The cgroup one is made later."""
    new, join, kinds = 0, [], set()
    for item in (spec.get("linux") or {}).get("namespaces") or ():
        kind = namespaces.FROM_OCI.get(item.get("type"))
        if kind is None:
            raise InvalidInput(f"the namespace type {item.get('type')!r} is not supported", value=item.get("type"))
        if kind in kinds:
            raise InvalidInput(f"the namespace {item['type']!r} is named twice", value=item["type"])
        kinds.add(kind)
        if item.get("path"):
            join.append((kind, item["path"]))
        elif kind != "cgroup":
            new |= namespaces.FLAGS[kind]
    if not new & namespaces.FLAGS["mnt"]:
        raise InvalidInput("a container needs a mount namespace of its own", hint='add {"type": "mount"}')
    return new, join, kinds


def _all_devices(spec: dict[str, Any]) -> bool:
    """True when the container may use every device of the host."""
    rules = ((spec.get("linux") or {}).get("resources") or {}).get("devices") or ()
    return any(rule.get("allow") and rule.get("type") in (None, "a") and "major" not in rule for rule in rules[-1:])


def _sysctls(values: dict[str, Any], kinds: set[str]) -> list[tuple[str, str]]:
    """Only those that a namespace of the container's holds: the rest would change the host."""
    result = []
    for key, value in values.items():
        slash, dot = key.find("/"), key.find(".")
        path = key if 0 <= slash < dot or dot < 0 else key.replace(".", "\0").replace("/", ".").replace("\0", "/")
        path = path.strip("/")
        own = (
            (path.startswith("net/") and "net" in kinds)
            or ((path in _IPC_SYSCTLS or path.startswith("fs/mqueue/")) and "ipc" in kinds)
            or (path in ("kernel/hostname", "kernel/domainname") and "uts" in kinds)
        )
        if not own or ".." in path.split("/"):
            raise InvalidInput(
                f"the sysctl {key!r} is the host's, not the container's",
                hint="set it on the host, or give the container the namespace that holds it",
                value=key,
            )
        result.append((path, str(value)))
    return result


def rlimit(item: dict[str, Any]) -> tuple[int, int, int]:
    """(number, soft, hard) of an OCI rlimit; -1 and 2**64-1 mean no limit."""
    name = str(item.get("type") or "").upper()
    name = name[7:] if name.startswith("RLIMIT_") else name
    if name not in _LIMITS:
        raise InvalidInput(f"unknown limit {item.get('type')!r}", hint=", ".join(_LIMITS).lower(), value=name)
    soft, hard = (INFINITY if int(item[key]) < 0 else int(item[key]) for key in ("soft", "hard"))
    if soft > hard:
        raise InvalidInput(f"the soft limit of {name.lower()} is above the hard one", value=soft)
    return _LIMITS.index(name), soft, hard


def _user(user: dict[str, Any], annotations: dict[str, str]) -> tuple[str, list[str]]:
    groups = [str(gid) for gid in user.get("additionalGids") or ()]
    groups += [name for name in annotations.get(ANNOTATION_GROUPS, "").split(",") if name]
    if "username" in user:
        return user["username"], groups
    return f"{user.get('uid') or 0}:{user.get('gid') or 0}", groups


def compile_process(
    process: dict[str, Any], spec: dict[str, Any] | None = None, *, seccomp_cache: str | None = None
) -> dict[str, Any]:
    """Compile an OCI process; spec: the container's, whose annotations and linux.seccomp apply."""
    spec = spec or {}
    annotations = spec.get("annotations") or {}
    arguments = process.get("args") or []
    if not arguments:
        raise InvalidInput("there is no command to run", hint="name one")
    for word in (*arguments, *(process.get("env") or ()), process.get("cwd") or "/"):
        if "\0" in word:
            raise InvalidInput(f"{word!r} holds a NUL byte", value=word)
    user = process.get("user") or {}
    username, groups = _user(user, annotations)
    caps = process.get("capabilities") or {}
    cwd = process.get("cwd") or "/"
    if not cwd.startswith("/"):
        raise InvalidInput(f"the working directory {cwd!r} is not absolute", hint="begin it with /", value=cwd)
    size = process.get("consoleSize") or {}
    return {
        "argv": [os.fsencode(word) for word in arguments],
        "env": [os.fsencode(word) for word in process.get("env") or ()],
        "cwd": os.fsencode(cwd),
        "user": username,
        "groups": groups,
        "umask": user.get("umask", 0o022),
        "rlimits": [rlimit(item) for item in process.get("rlimits") or ()],
        "caps": capabilities.masks(caps),
        "no_new_privs": int(bool(process.get("noNewPrivileges"))),
        "seccomp": _filter(spec, annotations, caps, seccomp_cache),
        "tty": int(bool(process.get("terminal"))),
        "console_size": (size["height"], size["width"]) if size else None,
        "oom_score_adj": process.get("oomScoreAdj"),
        "init": int(annotations.get(ANNOTATION_INIT) == "true"),
        "apparmor": process.get("apparmorProfile") or "",
    }


def _filter(
    spec: dict[str, Any], annotations: dict[str, str], caps: dict[str, list[str]], cache: str | None
) -> bytes | None:
    profile = (spec.get("linux") or {}).get("seccomp")
    names = frozenset(caps.get("bounding") or ())
    if profile:
        return seccomp.compile_profile(profile, None, names)
    if annotations.get(ANNOTATION_SECCOMP) == "default":
        return seccomp.default_program(names, None, cache)
    return None


def describe(plan: dict[str, Any]) -> list[str]:
    """What the plan will do, one line for each step, in order."""
    process = plan["process"]
    made = [kind for kind, flag in namespaces.FLAGS.items() if plan["new"] & flag]
    if plan["own_cgroup_namespace"]:
        made.append("cgroup")
    lines = ["new namespaces: " + ", ".join(made)]
    lines += [f"join the {kind} namespace of {path}" for kind, path in plan["join"]]
    if plan["cgroup"]:
        lines.append(f"cgroup {plan['cgroup']['path']}")
    lines += [describe_mount(operation) for operation in plan["mounts"]]
    lines += ["network " + " ".join(map(str, operation)) for operation in plan["network_ops"]]
    lines += [f"sysctl {path} = {value}" for path, value in plan["sysctls"]]
    if plan["hostname"]:
        lines.append(f"hostname {plan['hostname']}")
    lines += describe_process(process)
    return lines


def describe_process(process: dict[str, Any]) -> list[str]:
    """The lines of describe() that concern the process itself."""
    lines = [f"limit {_LIMITS[number].lower()} {soft}:{hard}" for number, soft, hard in process["rlimits"]]
    lines.append(f"user {process['user'] or '0'}" + "".join(f" +{name}" for name in process["groups"]))
    lines.append("capabilities " + (" ".join(capabilities.names(process["caps"]["effective"])) or "none"))
    if process["no_new_privs"]:
        lines.append("no new privileges")
    if process["seccomp"]:
        lines.append(f"seccomp filter of {len(process['seccomp']) // 8} instructions")
    lines.append(f"directory {os.fsdecode(process['cwd'])}")
    lines.append("exec " + " ".join(map(repr, map(os.fsdecode, process["argv"]))))
    return lines
