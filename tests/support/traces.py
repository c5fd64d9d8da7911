# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one engine root has in the kernel at this moment. Others' tests run beside: only its own names count."""

from __future__ import annotations

import glob
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vitrine.settings import Settings

from .host import Host


def until(condition: Callable[[], Any], seconds: float = 10.0, what: str = "it did not come true") -> Any:
    """Wait for a true value of condition() and return it."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, what() if callable(what) else what
        time.sleep(0.002)


def comm(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "comm").read_text().strip()
    except OSError:
        return ""


def ended(pid: int) -> bool:
    """Whether a process is no more, waited for or not."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def children(pid: int) -> list[int]:
    """The children that a living process's main thread made."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Traces:
    """The kernel objects and half-made files of one host (tests/support/host.py)."""

    def __init__(self, host: Host) -> None:
        self.folder = str(host.root.parent)
        self.root = host.root
        self.run_root = host.run_root
        self.settings = Settings.load(str(host.root), str(host.run_root), str(host.config))
        self._ids: set[str] = set()

    def ids(self) -> set[str]:
        """The ids of all containers that were ever seen on disk."""
        for folder in (self.root / "containers", self.run_root):
            if folder.is_dir():
                self._ids.update(name for name in os.listdir(folder) if len(name) == 64)
        return self._ids

    def cgroups(self) -> list[str]:
        tag = self.settings.tag
        return [path for depth in ("", "*/") for path in glob.glob(f"/sys/fs/cgroup/{depth}{tag}")]

    def inits(self) -> list[int]:
        """The pids of all processes in containers."""
        found: set[int] = set()
        for top in self.cgroups():
            for path in glob.glob(f"{top}/**/cgroup.procs", recursive=True):
                try:
                    found.update(map(int, Path(path).read_text().split()))
                except OSError:
                    continue
        return sorted(found)

    def processes(self) -> list[str]:
        """Living processes that belong to this root: by command line, by cgroup, or by what they have open.

        Those that have ended, and whose new parent has not waited for them yet, are nobody's to remove.
        """
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if int(pid) == os.getpid():
                continue
            try:
                words = Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                groups = Path("/proc", pid, "cgroup").read_text()
                opened = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            except OSError:
                continue
            here = any(self.folder in text for text in (words, *opened)) or f"/{self.settings.tag}/" in groups
            if here and not ended(int(pid)):
                found.append(f"{pid} {comm(int(pid))} {words}")
        return found

    def monitors(self) -> list[int]:
        """The pids of the living monitors that have opened anything of this root."""
        found = []
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            if comm(pid) != "vitrine-monitor":
                continue
            try:
                opened = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            except OSError:
                continue
            if any(self.folder in path for path in opened):
                found.append(pid)
        return found

    def half_made(self) -> list[str]:
        """Folders of containers and layers that no row leads to (by their names), and run folders."""
        found = glob.glob(f"{self.root}/layers/.*") + glob.glob(f"{self.root}/containers/.*")
        return found + [name for name in glob.glob(f"{self.run_root}/*") if len(os.path.basename(name)) == 64]

    def found(self) -> dict[str, list[str]]:
        """Everything, by kind; no kind that there is nothing of."""
        veths = {f"vt{name[:12]}" for name in self.ids()} | {self.settings.bridge}
        listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout.splitlines()
        all_of_it = {
            "mounts": [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if self.folder in line],
            "links": sorted(veths & set(os.listdir("/sys/class/net"))),
            "cgroups": self.cgroups(),
            "tables": [line for line in listed if line.split()[-1] == self.settings.table],
            "processes": self.processes(),
            "half made": self.half_made(),
        }
        return {kind: things for kind, things in all_of_it.items() if things}

    def gone(self, seconds: float = 5.0) -> None:
        """Wait until there is nothing; a monitor's last steps come after its client has gone on."""
        until(lambda: not self.found(), seconds, lambda: f"left behind: {self.found()}")
