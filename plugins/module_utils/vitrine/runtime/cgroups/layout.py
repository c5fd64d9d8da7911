# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which cgroup hierarchies this host has mounted, and where: one read of /proc/self/mountinfo.

Where a controller is mounted is asked of the kernel, never assumed: distributions differ in names ("cpu,cpuacct" or
"cpu" and "cpuacct"), and hosts mix version 1 controllers with a version 2 tree.
"""

from __future__ import annotations

import os

from ...record import Record

# What a container's group is made in when the hierarchy is mounted: limits, device rules, freezer, numbers.
V1_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb")
V1_EXTRA = ("net_cls", "net_prio")  # entered only when something of theirs is asked for
V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids")


class Layout(Record):
    """The hierarchies of this host.

    v1: controller -> mount point. unified: mount point of the version 2 tree, or "". controllers: those that the
    version 2 tree has at its root. systemd: whether systemd runs this host, and so owns the version 2 tree.
    """

    v1: dict[str, str]
    unified: str = ""
    controllers: tuple[str, ...] = ()
    systemd: bool = False

    @property
    def mode(self) -> str:
        """Return "unified", "hybrid" (version 1 controllers beside a version 2 tree), "legacy" or "none"."""
        limits = any(name in self.v1 for name in V1_CONTROLLERS)
        if self.unified:
            return "hybrid" if limits else "unified"
        return "legacy" if limits else "none"

    @property
    def version(self) -> str:
        """Return "2" where the version 2 tree carries the limits, else "1", as docker's info says it."""
        return "2" if self.mode == "unified" else "1"

    def has(self, controller: str) -> bool:
        """Tell whether limits of this controller ("memory", "io" or "blkio", ...) can be set here."""
        other = {"io": "blkio", "blkio": "io"}.get(controller, controller)
        return controller in self.v1 or other in self.v1 or controller in self.controllers or other in self.controllers


def detect() -> Layout:
    """Read this host's layout. Never fails: what cannot be read is not there."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            text = file.read()
    except OSError:
        text = b""
    v1, unified = parse_mountinfo(text)
    controllers: tuple[str, ...] = ()
    if unified:
        try:
            with open(unified + "/cgroup.controllers", encoding="ascii") as file:
                controllers = tuple(file.read().split())
        except OSError:
            pass
    return Layout(v1, unified, controllers, os.path.isdir("/run/systemd/system"))


def parse_mountinfo(text: bytes) -> tuple[dict[str, str], str]:
    """Return (controller -> mount point, mount point of the version 2 tree or "") from a mountinfo(5) text.

    Read-only mounts do not count; of several mounts of one hierarchy the first does, unless it is not writable.
    """
    v1: dict[str, str] = {}
    unified = ""
    for line in text.splitlines():
        before, _, after = line.partition(b" - ")
        kind = after.split(b" ", 1)[0]
        if not kind.startswith(b"cgroup"):
            continue
        fields, tail = before.split(b" "), after.split(b" ")
        if len(fields) < 6 or len(tail) < 3 or b"ro" in fields[5].split(b","):
            continue
        point = os.fsdecode(_unescape(fields[4]))
        if kind == b"cgroup2":
            unified = unified or point
        elif kind == b"cgroup":
            for option in tail[2].decode("ascii", "replace").split(","):
                if option in V1_CONTROLLERS or option in V1_EXTRA or option == "name=systemd":
                    v1.setdefault(option, point)
    return v1, unified


def _unescape(field: bytes) -> bytes:
    """Undo mountinfo's octal escapes of space, tab, newline and backslash."""
    if b"\\" not in field:
        return field
    for code, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(code, char)
    return field
