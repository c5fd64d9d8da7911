# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From OCI resources and a layout to a cgroup plan: plain data that can be printed, stored and marshalled. Pure.

A plan is a dict of
  path      the container's group, "/<tag>/<id>"
  dirs      {version 1 controller: its group's directory}
  unified   the group's directory in the version 2 tree, or ""; mount: where that tree is mounted
  controllers  those of the version 2 tree
  enable    version 2 controllers that every group above must hand down: ((controller, option or ""), ...)
  writes    ((directory, ((file, value), ...), option, level), ...) in order
  program   device program for the version 2 group (bytes), or None
  devices   who confines devices: "v1", "bpf", or "none" (nobody: say so, and do not hand out CAP_MKNOD)
  systemd   None, or what to ask systemd for (see `systemd`)
  warnings  what was asked for and cannot be had, but does not keep a container from running
"""

from __future__ import annotations

from ...errors import HostError, InvalidInput
from .. import bpf_devices
from . import devices as device_rules
from . import systemd, v1, v2
from .layout import V1_CONTROLLERS, V2_CONTROLLERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .layout import Layout

# block of linux.resources, version 1 controller, version 2 controller, and the functions that turn it into writes
BLOCKS: tuple[tuple[str, str, str, Callable[..., Any], Callable[..., Any] | None], ...] = (
    ("cpu", "cpu", "cpu", v1.cpu, v2.cpu),
    ("cpu", "cpuset", "cpuset", v1.cpuset, v2.cpuset),
    ("memory", "memory", "memory", v1.memory, v2.memory),
    ("pids", "pids", "pids", v1.pids, v2.pids),
    ("blockIO", "blkio", "io", v1.block_io, v2.block_io),
    ("hugepageLimits", "hugetlb", "hugetlb", v1.huge_pages, v2.huge_pages),
    ("network", "net_cls", "", v1.network_class, None),
    ("network", "net_prio", "", v1.network_priorities, None),
)


def compile_plan(resources: dict[str, Any] | None, path: str, layout: Layout) -> dict[str, Any]:
    """Compile OCI linux.resources for the group at path ("/<tag>/<id>") on a host of this layout.

    Raises HostError when a limit needs a controller that this host has not mounted, InvalidInput for values that
    contradict one another. Without limits it succeeds on any host: plan["warnings"] says what is missing.
    """
    parts = path.split("/")
    if len(parts) != 3 or parts[0] or not parts[1] or not parts[2] or {parts[1], parts[2]} & {".", ".."}:
        raise InvalidInput(f"{path!r} is no path of a container's cgroup", hint='it must be "/<tag>/<id>"', value=path)
    resources = resources or {}
    owner = systemd.request(parts[1]) if layout.systemd and layout.unified else None
    unified = layout.unified + (owner["path"] + "/" + parts[2] if owner else path) if layout.unified else ""
    plan: dict[str, Any] = {
        "path": path,
        "dirs": {name: layout.v1[name] + path for name in V1_CONTROLLERS if name in layout.v1},
        "unified": unified,
        "mount": layout.unified,
        "controllers": layout.controllers,
        "enable": (),
        "writes": (),
        "program": None,
        "devices": "none",
        "systemd": owner,
        "warnings": [],
    }
    extra = [name for name, key in (("net_cls", "classID"), ("net_prio", "priorities")) if _network(resources, key)]
    plan["dirs"].update({name: layout.v1[name] + path for name in extra if name in layout.v1})
    wanted, writes = _limits(resources, plan, layout.controllers)
    _devices(plan, resources.get("devices"), writes)
    # systemd hands down no others: asking for them at each start would be in vain
    available = [name for name in layout.controllers if not owner or name in systemd.DELEGATED]
    plan["enable"] = tuple(
        (name, wanted.get(name, ""))
        for name in V2_CONTROLLERS
        if name in wanted or (layout.mode == "unified" and name in available)
    )
    plan["writes"] = tuple(writes)
    if layout.mode == "none":
        plan["warnings"].append("this host has no cgroups mounted: nothing limits or counts what the container uses")
    return plan


def update_writes(plan: dict[str, Any], resources: dict[str, Any]) -> tuple[tuple[Any, ...], list[str]]:
    """Return (writes, warnings) that bring an existing plan's groups to new resources (devices stay as they are)."""
    scratch = dict(plan, warnings=[])
    _, writes = _limits(resources, scratch, plan["controllers"])
    return tuple(writes), scratch["warnings"]


def _limits(
    resources: dict[str, Any], plan: dict[str, Any], v2_controllers: tuple[str, ...]
) -> tuple[dict[str, str], list[tuple[Any, ...]]]:
    """Return ({version 2 controller that a limit needs: option}, writes)."""
    wanted: dict[str, str] = {}
    writes: list[tuple[Any, ...]] = []
    for block_name, old, new, for_v1, for_v2 in BLOCKS:
        block = resources.get(block_name)
        if not block:
            continue
        if old in plan["dirs"]:
            writes += [(plan["dirs"][old], *write) for write in for_v1(block)]
        elif for_v2 is not None and new in v2_controllers and plan["unified"]:
            mine = for_v2(block)
            writes += [(plan["unified"], *write) for write in mine]
            _say_ignored(plan, block_name, new, block)
            if mine:
                wanted[new] = mine[0][1]
        else:
            for candidates, option, level in for_v1(block):
                _missing(plan, old, option, level, candidates)
    for file, value in (resources.get("unified") or {}).items():
        controller = file.split(".", 1)[0]
        if not plan["unified"] or "/" in file or (controller not in v2_controllers and controller != "cgroup"):
            raise _no_controller(controller, f"unified[{file!r}]")
        if controller != "cgroup":
            wanted.setdefault(controller, f"unified[{file!r}]")
        writes.append((plan["unified"], ((file, str(value)),), f"unified[{file!r}]", v1.REQUIRED))
    return wanted, writes


def _say_ignored(plan: dict[str, Any], block_name: str, controller: str, block: dict[str, Any]) -> None:
    """Version 2 dropped a few limits: memory's are advice and only worth a warning, real time was a promise."""
    if block_name == "memory":
        for option in v2.memory_ignored(block):
            plan["warnings"].append(
                f"{option} has no effect: this host's cgroups are version 2, which has no such limit"
            )
    elif controller == "cpu":
        for option in v2.cpu_ignored(block):
            raise HostError(
                f"{option} cannot be set: this host's cgroups are version 2, which has no such limit",
                hint=f"leave {option} out",
                value=option,
            )


def _missing(plan: dict[str, Any], controller: str, option: str, level: int, candidates: tuple[Any, ...]) -> None:
    if level == v1.REQUIRED:
        raise _no_controller(controller, option)
    if level == v1.WANTED and candidates[0][1] not in ("max", "-1"):
        plan["warnings"].append(f"{option} has no effect: this host has no cgroup controller {controller!r}")


def _no_controller(controller: str, option: str) -> HostError:
    advice = {
        "memory": "boot with cgroup_enable=memory swapaccount=1, or mount it",
        "cpuset": "mount it, or boot a kernel with CONFIG_CPUSETS",
        "hugetlb": "mount it, or boot a kernel with CONFIG_CGROUP_HUGETLB",
        "blkio": "mount it, or boot a kernel with CONFIG_BLK_CGROUP",
        "pids": "mount it, or boot a kernel with CONFIG_CGROUP_PIDS (4.3 or later)",
    }.get(controller, "mount it, or boot a kernel that has it")
    return HostError(
        f"{option} cannot be set: this host has no usable cgroup controller {controller!r}",
        hint=f"{advice}, or leave {option} out",
        value=controller,
    )


def _devices(plan: dict[str, Any], rules: list[dict[str, Any]] | None, writes: list[tuple[Any, ...]]) -> None:
    if "devices" in plan["dirs"]:
        writes[:0] = [(plan["dirs"]["devices"], *write) for write in v1.devices(rules)]
        plan["devices"] = "v1"
        return
    allowed, exceptions = device_rules.effective(rules)
    if plan["unified"]:
        plan["devices"] = "bpf"
        if not allowed or exceptions:
            plan["program"] = bpf_devices.compile_program(allowed, exceptions)
    elif not allowed:
        plan["warnings"].append(
            "this host has no cgroup that can confine devices: a process that may make device nodes reaches all devices"
        )


def _network(resources: dict[str, Any], key: str) -> bool:
    return bool((resources.get("network") or {}).get(key))
