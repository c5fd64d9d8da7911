# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every prerequisite of the engine, found out one by one."""

from __future__ import annotations

import os
import sys

from ..errors import HostError
from ..linux import caps, features
from ..record import Record
from ..runtime import cgroups
from . import fixes, probes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

OLDEST = (3, 8)
OLDEST_PYTHON = (3, 9)
MACHINES = ("x86_64", "aarch64", "ppc64le", "s390x", "riscv64")
DISK_LEAST, DISK_WANTED = 64 << 20, 2 << 30
NEEDED_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL MKNOD NET_ADMIN NET_BIND_SERVICE NET_RAW SETFCAP SETGID "
    "SETPCAP SETUID SYS_ADMIN SYS_CHROOT SYS_PTRACE"
).split()
CONTROLLERS = (
    ("memory", "memory limits and the count of what is used"),
    ("cpu", "CPU shares and quotas"),
    ("cpuset", "binding to CPUs and memory nodes"),
    ("pids", "limits of the number of processes"),
    ("io", "limits of block devices"),
    ("hugetlb", "limits of huge pages"),
)
NEWER_CALLS = (
    ("clone3", "5.3", "starting straight in a cgroup"),
    ("openat2", "5.6", "resolving paths inside a container in one call"),
    ("new_mount_api", "5.2", "mounting without paths, with the kernel's own error texts"),
    ("mount_setattr", "5.12", "changing mounts at once"),
    ("close_range", "5.11", "closing what is open in one call"),
    ("pidfd", "5.3", "naming processes without a race"),
    ("memfd", "3.17", "sealed memory files"),
    ("copy_file_range", "4.5", "copying inside the kernel"),
)


class Finding(Record):
    """One prerequisite. required: without it no container runs; detail: what was found; fix: what to do, or ""."""

    name: str
    ok: bool
    required: bool
    detail: str
    fix: str = ""


def check(root: str = "/var/lib/vitrine", *, release: str | None = None) -> list[Finding]:
    """Find out all prerequisites. Changes nothing, needs no privilege to run (but then says what root would find).

    root: the engine's folder, whose file system is looked at. release: the kernel's, for tests ("3.2.0").
    """
    findings = [*_system(release), *_privileges()]
    is_root = os.geteuid() == 0
    tried = probes.run(root) if is_root else {}
    findings += _kernel(tried)
    findings += cgroup_findings(cgroups.detect())
    findings += _file_systems(tried)
    findings += _network(tried)
    findings += [_disk(root), *_python_packages(), *_programs(), *_newer_calls()]
    return findings


def require(findings: Iterable[Finding]) -> None:
    """Raise HostError that names everything required that is missing, and how to get it."""
    missing = [finding for finding in findings if finding.required and not finding.ok]
    if not missing:
        return
    raise HostError(
        "this host cannot run containers: " + "; ".join(f"{one.name}: {one.detail}" for one in missing),
        hint="; ".join(dict.fromkeys(f"{one.name}: {one.fix}" for one in missing if one.fix)),
        value=[one.name for one in missing],
    )


# -- the system ------------------------------------------------------------------------------------------------------


def _system(release: str | None) -> list[Finding]:
    release = release or os.uname().release
    numbers = []
    for part in release.split(".")[:2]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        numbers.append(int(digits or 0))
    new_enough = tuple(numbers) >= OLDEST
    machine = os.uname().machine
    known = machine in MACHINES and sys.maxsize > 1 << 32
    python = ".".join(map(str, sys.version_info[:3]))
    return [
        Finding("kernel", new_enough, True, f"Linux {release}, 3.8 or later is needed", fixes.KERNEL),
        Finding(
            "machine",
            known,
            True,
            f"{machine}, {64 if sys.maxsize > 1 << 32 else 32}-bit Python",
            "use a 64-bit system on one of " + ", ".join(MACHINES),
        ),
        Finding(
            "python",
            sys.version_info[:2] >= OLDEST_PYTHON,
            True,
            f"{python} at {sys.executable or '?'}, 3.9 or later is needed",
            fixes.PYTHON,
        ),
    ]


def _privileges() -> list[Finding]:
    uid = os.geteuid()
    effective = caps.get()[0]
    lacking = [name for name in NEEDED_CAPABILITIES if not effective >> caps.NUMBERS["CAP_" + name] & 1]
    return [
        Finding("root", uid == 0, True, f"effective user id {uid}", fixes.ROOT),
        Finding(
            "capabilities",
            not lacking,
            True,
            "lacking " + ", ".join(lacking) if lacking else "all that are needed",
            fixes.CAPABILITIES if uid == 0 else fixes.ROOT,
        ),
    ]


# -- the kernel ------------------------------------------------------------------------------------------------------


def _kernel(tried: dict[str, str]) -> list[Finding]:
    findings = []
    for kind, title, required in (
        ("mnt", "mount", True),
        ("pid", "process", True),
        ("net", "network", True),
        ("ipc", "IPC", True),
        ("uts", "host name", True),
        ("cgroup", "cgroup", False),
        ("user", "user", False),
    ):
        there = os.path.exists("/proc/self/ns/" + kind)
        detail = f"{title} namespaces: " + ("yes" if there else "the kernel has none")
        if there and required and tried.get("namespaces"):
            there, detail = False, f"{title} namespaces: cannot be made here: {tried['namespaces']}"
        findings.append(Finding(f"namespace {kind}", there, required, detail, "" if there else fixes.CONFIG))
    problem = probes.seccomp()
    findings.append(Finding("seccomp", not problem, True, problem or "filters can be loaded", fixes.CONFIG))
    return findings


def cgroup_findings(layout: cgroups.Layout) -> list[Finding]:
    """What a host of this layout can limit."""
    there = layout.mode != "none"
    texts = {
        "unified": "version 2",
        "hybrid": "version 1 controllers beside a version 2 tree",
        "legacy": "version 1",
        "none": "none are mounted writable: containers run without limits",
    }
    owner = ", owned by systemd" if layout.systemd else ""
    findings = [Finding("cgroups", there, False, texts[layout.mode] + (owner if there else ""), fixes.CGROUPS)]
    for name, use in CONTROLLERS:
        has = layout.has(name)
        text = use if has else f"absent: no {use}"
        findings.append(Finding(f"cgroup {name}", has, False, text, fixes.controller(name)))
    confined = "devices" in layout.v1 or bool(layout.unified)
    how = "version 1 controller" if "devices" in layout.v1 else "device programs (eBPF)"
    findings.append(
        Finding(
            "cgroup devices",
            confined,
            False,
            how if confined else "absent: containers are not given CAP_MKNOD",
            fixes.CGROUPS,
        )
    )
    freezer = "freezer" in layout.v1 or bool(layout.unified)
    text = "can pause" if freezer else "absent: containers cannot be paused"
    findings.append(Finding("cgroup freezer", freezer, False, text, fixes.CGROUPS))
    return findings


def _file_systems(tried: dict[str, str]) -> list[Finding]:
    known = _known_file_systems()
    findings = []
    for name, required in (("proc", True), ("sysfs", True), ("tmpfs", True), ("devpts", True), ("mqueue", False)):
        findings.append(
            Finding(name, name in known, required, "known" if name in known else "unknown to the kernel", fixes.CONFIG)
        )
    problem = tried.get("overlay", "" if "overlay" in known else "unknown to the kernel")
    findings.append(
        Finding(
            "overlay",
            not problem,
            False,
            f"does not work: {problem}" if problem else "works",
            fixes.module("overlay") + "; the folder must lie on ext4, xfs (ftype=1) or btrfs",
        )
    )
    aufs = "aufs" in known
    findings.append(Finding("aufs", aufs, False, "known" if aufs else "unknown to the kernel (only old ones have it)"))
    copies = "not needed" if not problem or aufs else "every container gets a full copy of its image: slow and large"
    findings.append(Finding("copy", True, False, copies))
    return findings


def _known_file_systems() -> set[str]:
    """Return the names in /proc/filesystems; modules that are not loaded yet do not show."""
    try:
        with open("/proc/filesystems", encoding="ascii") as file:
            return {line.split()[-1] for line in file if line.split()}
    except OSError:
        return set()


def _network(tried: dict[str, str]) -> list[Finding]:
    from ..linux import command

    findings = []
    for name in ("bridge", "veth"):
        problem = tried.get(name, "only root can try")
        text = f"cannot be made: {problem}" if problem else "can be made"
        findings.append(Finding(name, not problem, True, text, fixes.module(name)))
    problem = tried.get("nf_tables", "only root can try")
    fallback = bool(command.which("iptables-restore"))
    text = "can be used" if not problem else f"cannot be used: {problem}"
    if problem and fallback:
        text += "; iptables is used instead"
    names = ("nf_tables", "nft_chain_nat", "nft_masq", "nft_ct", "nft_fib_ipv4")
    findings.append(
        Finding(
            "nf_tables",
            not problem,
            not fallback,
            text,
            fixes.module(*names) + "; or " + fixes.packages("iptables", "iptables-nft"),
        )
    )
    try:
        with open("/proc/sys/net/ipv4/ip_forward", encoding="ascii") as file:
            forward = file.read().strip() == "1"
    except OSError:
        forward = False
    detail = "on" if forward else "off: it is switched on with the first network of containers"
    findings.append(Finding("ip_forward", forward, False, detail, "sysctl -w net.ipv4.ip_forward=1"))
    return findings


def _newer_calls() -> list[Finding]:
    """What the engine does without on older kernels, more slowly."""
    findings = []
    for name, since, use in NEWER_CALLS:
        there = features.has(name)
        text = use if there else f"absent (Linux {since} has it): no {use}; older ways are used instead"
        findings.append(Finding(name, there, False, text))
    return findings


# -- disk, Python, programs ------------------------------------------------------------------------------------------


def _disk(root: str) -> Finding:
    folder = root
    while not os.path.isdir(folder) and folder != "/":
        folder = os.path.dirname(folder)
    try:
        status = os.statvfs(folder)
    except OSError as error:
        return Finding("disk", False, True, f"{folder}: {error.strerror}", f"make {root} readable")
    free = status.f_bavail * status.f_frsize
    inodes = status.f_favail if status.f_files else 1 << 20  # btrfs has no fixed number
    detail = f"{free >> 20} MiB and {inodes} inodes free at {folder}"
    enough = free >= DISK_WANTED and inodes >= 10000
    required = free < DISK_LEAST or inodes < 100
    return Finding("disk", enough, required, detail, "vitrine system prune, or a larger file system for " + root)


def _python_packages() -> list[Finding]:
    from importlib.util import find_spec

    findings = []
    for name, required, use, fix in (
        ("ctypes", True, "system calls", fixes.packages("python3", "python3-libs")),
        ("sqlite3", True, "the engine's database", fixes.packages("python3", "python3-libs")),
        ("ssl", False, "registries over TLS", fixes.packages("python3", "python3-libs")),
        ("requests", False, "pull, push, search", fixes.packages("python3-requests", "python3-requests")),
        ("pyroute2", False, "inspecting networks", fixes.packages("python3-pyroute2", "python3-pyroute2", epel=True)),
        ("zstandard", False, "layers in zstd", fixes.packages("python3-zstandard", "python3-zstandard", epel=True)),
    ):
        try:
            there = find_spec(name) is not None
        except (ImportError, ValueError):
            there = False
        text = use if there else f"not importable by {sys.executable}: no {use}"
        findings.append(Finding(f"python {name}", there, required, text, fix))
    return findings


def _programs() -> list[Finding]:
    from ..linux import command

    findings = []
    for name, use, fix in (
        ("modprobe", "loading kernel modules", fixes.packages("kmod", "kmod")),
        ("mmdebstrap", "images of Debian and Ubuntu from nothing", "Debian, Ubuntu: apt-get install -y mmdebstrap"),
        ("debootstrap", "the same, more slowly", fixes.packages("debootstrap", "debootstrap", epel=True)),
    ):
        path = command.which(name)
        findings.append(Finding(name, bool(path), False, path or f"absent: no {use}", fix))
    return findings
