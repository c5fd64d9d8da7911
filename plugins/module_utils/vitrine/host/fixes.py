# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do about what a host lacks, in the words of the distributions that are supported."""

from __future__ import annotations


def packages(debian: str, centos: str, *, epel: bool = False) -> str:
    """Install packages; epel: CentOS has them in its extra repository only."""
    extra = "dnf install -y epel-release && " if epel else ""
    return f"Debian, Ubuntu: apt-get install -y {debian}; CentOS: {extra}dnf install -y {centos}"


def module(*names: str) -> str:
    """Load a kernel module, and where a kernel without it comes from."""
    return (
        f"modprobe {' '.join(names)}; if there is no such module: "
        "Ubuntu: apt-get install -y linux-modules-extra-$(uname -r); Debian: apt-get install -y linux-image-$(dpkg "
        "--print-architecture); CentOS: dnf install -y kernel-modules-extra; then boot the newest kernel"
    )


KERNEL = (
    "boot a newer kernel: Debian: apt-get install -y linux-image-$(dpkg --print-architecture); "
    "Ubuntu: apt-get install -y linux-image-generic; CentOS: dnf update -y kernel; then reboot"
)
CONFIG = "boot the distribution's own kernel: this one was built without it"
ROOT = "run as root: with sudo, or become: true in a playbook"
CAPABILITIES = (
    "the engine runs inside a container that lacks them: give it these capabilities (privileged), or run on the host"
)
PYTHON = packages("python3", "python3.11")
CGROUPS = "vitrine check --prepare mounts them; or boot with systemd; in a container: mount /sys/fs/cgroup writable"


def controller(name: str) -> str:
    """Where a cgroup controller went."""
    if name == "memory":
        return "boot with cgroup_enable=memory swapaccount=1 (in /etc/default/grub, then update-grub or grub2-mkconfig)"
    return f"remove cgroup_disable={name} from the kernel's command line, or " + CONFIG
