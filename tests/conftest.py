# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests share: the engine on the import path, engine roots of their own, and the count of kernel objects."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "plugins" / "module_utils"))

from vitrine.settings import Settings  # noqa: E402


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An engine root of the test's own: its kernel objects' names are derived from it."""
    config = tmp_path / "config.json"
    config.write_text("{}")
    return Settings.load(str(tmp_path / "root"), str(tmp_path / "run"), str(config))


def kernel_objects() -> dict[str, set[str]]:
    """Everything of ours that the kernel holds at this moment, by kind."""
    mounts = {line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines() if "vitrine" in line}
    links = {name for name in os.listdir("/sys/class/net") if name.startswith(("vitrine", "vt"))}
    cgroups = {
        os.path.join(folder, name)
        for folder, names, _files in os.walk("/sys/fs/cgroup")
        for name in names
        if name.startswith("vitrine")
    }
    processes = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(b"vitrine.supervise" in word or b"vitrine.runtime" in word for word in words):
            processes.add(pid)
    return {"mounts": mounts, "links": links, "cgroups": cgroups, "processes": processes}


@pytest.fixture
def leakcheck():
    """Fail the test when it leaves a mount, link, cgroup or process of ours behind."""
    before = kernel_objects()
    yield
    after = kernel_objects()
    leaks = {kind: sorted(after[kind] - before[kind]) for kind in after if after[kind] - before[kind]}
    if leaks:
        pytest.fail(f"left behind: {leaks}")
