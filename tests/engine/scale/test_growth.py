# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command does must not grow with the containers beside it: counted in system calls, on any machine the same."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from support.host import Host

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]

BESIDE = 40
# For each container beside: does its monitor live (open, fcntl, close), is there a commit or an owner left (access).
LOOKING = 5


def calls(host: Host, *words: str) -> dict[str, int]:
    """How many system calls a command and all its processes make, by name."""
    log = host.root.parent / "calls"
    argv = ["strace", "-f", "-qq", "-c", "-U", "name,calls", "-o", str(log), *host.base, *words]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env=host.env, timeout=120)
    assert done.returncode == 0, done
    rows = [line.split() for line in log.read_text().splitlines()]
    found = {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit() and row[0] != "total"}
    # waiting for one another, and what SQLite has to read of its journal, differ from run to run
    for waiting in (
        "poll",
        "ppoll",
        "futex",
        "restart_syscall",
        "wait4",
        "clock_nanosleep",
        "read",
        "rt_sigaction",
        "pread64",
    ):
        found.pop(waiting, None)
    return found


def growth(before: dict[str, int], after: dict[str, int]) -> tuple[float, dict[str, tuple[int, int]]]:
    """Calls more for each container beside; and which."""
    total = sum(after.values()) - sum(before.values())
    rising = {name: (before.get(name, 0), count) for name, count in after.items() if count > before.get(name, 0) + 10}
    return total / BESIDE, rising


def test_calls_beside_other_containers(new_host) -> None:
    host = new_host()
    host("run", "-d", "--name", "first", "busybox", "sleep", "1000")
    host("create", "--name", "made", "busybox", "true")
    host("create", "--name", "other", "busybox", "true")
    run = ["run", "--rm", "busybox", "true"]
    calls(host, *run)  # what is only made once is made now
    alone = {
        "run": calls(host, *run), "exec": calls(host, "exec", "first", "true"),
        "inspect": calls(host, "inspect", "first"), "rm": calls(host, "rm", "made"), "ps": calls(host, "ps"),
    }  # fmt: skip
    for number in range(BESIDE):
        host("run", "-d", "--name", f"n{number}", "busybox", "sleep", "1000")
    crowded = {
        "run": calls(host, *run), "exec": calls(host, "exec", "first", "true"),
        "inspect": calls(host, "inspect", "first"), "rm": calls(host, "rm", "other"), "ps": calls(host, "ps"),
    }  # fmt: skip
    for verb, before in alone.items():
        more, rising = growth(before, crowded[verb])
        limit = LOOKING + 1
        if verb == "ps":
            limit += 15  # it reads each one's record, and looks whether its process lives
        assert more <= limit, (verb, more, rising)
