# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Doing about a host what may be done from here: kernel modules, forwarding, and cgroups that nobody has mounted."""

from __future__ import annotations

import os

from ..errors import VitrineError
from ..linux import command, fs, mount
from ..runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

MODULES = ("overlay", "bridge", "veth", "nf_tables", "nft_chain_nat", "nft_masq", "nft_ct", "nft_fib_ipv4")
# Not br_netfilter: the engine's rules need no bridged packets, and with it the host's own rules would see them.
SYSCTLS = {"net.ipv4.ip_forward": "1"}
MODULES_FILE, SYSCTLS_FILE = "etc/modules-load.d/vitrine.conf", "etc/sysctl.d/90-vitrine.conf"
CGROUP_ROOT = "sys/fs/cgroup"


def prepare(*, persist: bool = False, root: str = "/") -> list[str]:
    """Do what is missing; return what was changed, in words. Does nothing that is done already.

    persist: also for the next boots, in /etc/modules-load.d and /etc/sysctl.d. root: another root folder, for tests.
    A module or sysctl that this host refuses is left alone: check() says what is still missing.
    """
    changed = _load_modules(root) + _set_sysctls(root)
    layout = cgroups.detect()
    if root == "/" and layout.mode == "none" and not layout.systemd:
        changed += mount_cgroups(root)
    if persist:
        lines = "".join(f"{name}\n" for name in MODULES if _has_module(root, name))
        changed += _write(os.path.join(root, MODULES_FILE), lines)
        lines = "".join(f"{name} = {value}\n" for name, value in SYSCTLS.items())
        changed += _write(os.path.join(root, SYSCTLS_FILE), lines)
    return changed


def _has_module(root: str, name: str) -> bool:
    """Tell whether the kernel has the module loaded (a built-in part needs no loading and may show nowhere)."""
    return os.path.isdir(os.path.join(root, "sys/module", name))


def _load_modules(root: str) -> list[str]:
    if root != "/" or not command.which("modprobe"):
        return []
    changed = []
    for name in MODULES:
        if _has_module(root, name):
            continue
        try:
            done = command.run(["modprobe", "-q", name], timeout=30)
        except VitrineError:
            continue
        if done.status == 0 and _has_module(root, name):
            changed.append(f"loaded the kernel module {name}")
    return changed


def _set_sysctls(root: str) -> list[str]:
    changed = []
    for name, value in SYSCTLS.items():
        path = os.path.join(root, "proc/sys", name.replace(".", "/"))
        try:
            with open(path, encoding="ascii") as file:
                if file.read().strip() == value:
                    continue
            with open(path, "w", encoding="ascii") as file:
                file.write(value)
        except OSError:
            continue
        changed.append(f"set {name} = {value}")
    return changed


def mount_cgroups(root: str, do: Callable[..., None] = mount.mount) -> list[str]:
    """Mount cgroups on a host where nobody has: the version 2 tree, on kernels before 4.5 each version 1 controller.

    do: what mounts (source, target, type, flags, data), for tests.
    """
    top = os.path.join(root, CGROUP_ROOT)
    with open(os.path.join(root, "proc/filesystems"), encoding="ascii") as file:
        known = {line.split()[-1] for line in file if line.split()}
    if not os.path.isdir(top):
        return []
    if "cgroup2" in known:
        do("cgroup2", top, "cgroup2", 2 | 4 | 8, None)  # MS_NOSUID, MS_NODEV, MS_NOEXEC
        return [f"mounted the cgroup tree at {top}"]
    if "cgroup" not in known:
        return []
    do("cgroup", top, "tmpfs", 2 | 4 | 8, "mode=755")
    changed = []
    with open(os.path.join(root, "proc/cgroups"), encoding="ascii") as file:
        rows = [line.split() for line in file if not line.startswith("#")]
    for name, _, _, enabled in rows:
        if enabled == "1":
            os.makedirs(os.path.join(top, name), exist_ok=True)
            do("cgroup", os.path.join(top, name), "cgroup", 2 | 4 | 8, name)
            changed.append(f"mounted the cgroup controller {name}")
    return changed


def _write(path: str, text: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return []
    except OSError:
        pass
    os.makedirs(os.path.dirname(path), exist_ok=True)
    fs.write_atomic(path, text.encode(), 0o644)
    return [f"wrote {path}"]
