# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests share: the engine on the import path, engine roots of their own, and the count of kernel objects."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "plugins" / "module_utils"))
sys.path.insert(0, str(ROOT / "tests"))

from vitrine.settings import Settings  # noqa: E402

# Whoever starts the tests in the background of a shell hands them an ignored SIGINT; here it is tested what it does.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long one example takes says more about what else the machine does than about the code.
hypothesis.settings.register_profile("vitrine", deadline=None)
hypothesis.settings.load_profile("vitrine")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An engine root of the test's own: its kernel objects' names are derived from it."""
    config = tmp_path / "config.json"
    config.write_text("{}")
    return Settings.load(str(tmp_path / "root"), str(tmp_path / "run"), str(config))


def kernel_objects() -> dict[str, set[str]]:
    """Everything of ours that the kernel holds at this moment, by kind."""
    mounts = {line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines() if "vitrine" in line}
    links = {name for _index, name in socket.if_nameindex() if name.startswith(("vitrine", "vnet", "vt"))}
    cgroups = {
        os.path.join(folder, name)
        for folder, names, _files in os.walk("/sys/fs/cgroup")
        for name in names
        if name.startswith("vitrine")
    }
    processes = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path("/proc", pid, "comm").read_text().startswith("vitrine-"):
                os.readlink(f"/proc/{pid}/exe")  # a zombie has none: it only waits to be collected by this process
                processes.add(pid)
        except OSError:
            continue
    listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True) if shutil.which("nft") else None
    tables = {line for line in listed.stdout.splitlines() if "vitrine" in line} if listed else set()
    return {"mounts": mounts, "links": links, "cgroups": cgroups, "processes": processes, "tables": tables}


@pytest.fixture
def leakcheck():
    """Fail the test when it leaves a mount, link, cgroup, table or process of ours behind.

    The last steps of a monitor run after its client has gone on, so they get a moment.
    """
    before = kernel_objects()
    yield
    deadline = time.monotonic() + 5
    while True:
        after = kernel_objects()
        leaks = {kind: sorted(after[kind] - before[kind]) for kind in after if after[kind] - before[kind]}
        if not leaks:
            return
        if time.monotonic() > deadline:
            pytest.fail(f"left behind: {leaks}")
        time.sleep(0.05)


# -- skips: where everything is installed, a test that does not run is a test that is missing

ALLOWED_SKIPS = (
    "no Python 3.9 on this machine",
    "this kernel has no aufs",
    "this kernel has no ipvlan",
    "not installed where it would begin to filter",
)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With VITRINE_NO_SKIPS set (scripts/test sets it) a skip for any other reason fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("VITRINE_NO_SKIPS") or reporter is None:
        return
    reasons = [report.longrepr[2] for report in reporter.stats.get("skipped", ()) if isinstance(report.longrepr, tuple)]
    refused = [reason for reason in reasons if not any(allowed in reason for allowed in ALLOWED_SKIPS)]
    if refused:
        reporter.write_line(f"skipped for reasons that are not allowed here: {sorted(set(refused))}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
