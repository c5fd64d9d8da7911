# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of a container as a whole: into its groups, counted, frozen, killed.

Groups that a plan names and that are not there count as empty: a host may lack a hierarchy that no limit needed.
"""

from __future__ import annotations

import os
import time

from ...errors import StartFailed
from .files import GONE, read, read_or_empty, tree, until, write
from .groups import directories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def enter(plan: dict[str, Any], *, unified: bool = True) -> None:
    """Move the calling process, which must have one thread, into the plan's groups. For a fresh child.

    unified: also into the version 2 group (not needed after CLONE_INTO_CGROUP or `place`; it costs a grace period).
    Moving oneself by `tasks` takes microseconds, whereas moving another process by `cgroup.procs` may wait ~10 ms
    for the kernel's read-copy-update machinery.
    """
    for directory in dict.fromkeys(plan["dirs"].values()):
        _write_pid(directory + "/tasks", "0")
    if unified and plan["unified"]:
        _write_pid(plan["unified"] + "/cgroup.procs", "0")


def place(plan: dict[str, Any], pid: int, *, beside: int) -> None:
    """Move another process into the version 2 group only, where there is one: its half of `enter`, done by a process
    that waits out the grace period (~10 ms) while the other one still starts.

    beside: the pid of the container's init, whose version 2 group is taken: when it has made groups of its own, the
    container's can hold no processes any more.
    """
    if plan["unified"]:
        _write_pid(_unified(plan, beside) + "/cgroup.procs", str(pid))


def attach(plan: dict[str, Any], pid: int, *, unified: bool = True) -> None:
    """Move another process, all its threads, into the plan's groups. Prefer `enter` in the process itself."""
    for directory in dict.fromkeys(plan["dirs"].values()):
        _write_pid(directory + "/cgroup.procs", str(pid))
    if unified and plan["unified"]:
        _write_pid(plan["unified"] + "/cgroup.procs", str(pid))


def _write_pid(path: str, pid: str) -> None:
    try:
        write(path, pid)
    except FileNotFoundError:
        pass  # create() has answered for every group that must be there
    except OSError as error:
        raise StartFailed(
            f"the process cannot be moved to {os.path.dirname(path)}: {os.strerror(error.errno or 0)}",
            stage="cgroup",
            errno=error.errno or 0,
            value=path,
        ) from None


def clone_fd(plan: dict[str, Any]) -> int:
    """Return an fd of the version 2 group for clone3's CLONE_INTO_CGROUP, or -1 where there is none. Caller closes.

    The descriptor is of the host's tree: no process that a container can look into may have it.
    """
    if not plan["unified"]:
        return -1
    try:
        return os.open(plan["unified"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1


def _unified(plan: dict[str, Any], beside: int) -> str:
    """Return the version 2 group that a process sits in, when it is one of the container's; else the container's."""
    for line in read_or_empty(f"/proc/{beside}/cgroup").splitlines() if beside else ():
        if line.startswith("0::") and (plan["mount"] + line[3:]).startswith(plan["unified"] + "/"):
            return plan["mount"] + line[3:]
    return plan["unified"]


def pids(plan: dict[str, Any]) -> list[int]:
    """Return the pids of all processes in the container's groups and those below, in order. Threads do not count."""
    found: set[int] = set()
    for top in _process_groups(plan):
        for directory in tree(top):
            found.update(int(line) for line in read_or_empty(directory + "/cgroup.procs").split())
    return sorted(found)


def _process_groups(plan: dict[str, Any]) -> list[str]:
    """Where to look for the container's processes: one tree is enough, because they sit in all of them."""
    if plan["unified"] and os.path.isdir(plan["unified"]):
        return [plan["unified"]]
    for name in ("freezer", "pids", "memory", "cpu"):
        directory = plan["dirs"].get(name)
        if directory and os.path.isdir(directory):
            return [directory]
    return [directory for directory in directories(plan) if os.path.isdir(directory)][:1]


def kill(plan: dict[str, Any], patience: float = 5.0) -> bool:
    """Kill every process of the container at once, and wait until none is left, at most patience seconds.

    One write to cgroup.kill (5.14); elsewhere: freeze, so that none escapes by forking, signal each, thaw. Returns
    whether the groups are empty. A zombie counts until its parent has waited for it: wait for your own child.
    """
    if plan["unified"]:
        try:
            write(plan["unified"] + "/cgroup.kill", "1")
        except OSError:
            _kill_each(plan)
    else:
        _kill_each(plan)
    return until(lambda: not pids(plan), patience)


def _kill_each(plan: dict[str, Any]) -> None:
    for _ in range(50):
        living = pids(plan)
        if not living:
            return
        frozen = freeze(plan, patience=0.2)
        try:
            for pid in pids(plan) or living:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
        finally:
            if frozen:
                thaw(plan)
        time.sleep(0.002)
        if all(_zombie(pid) for pid in pids(plan)):
            return


def _zombie(pid: int) -> bool:
    stat = read_or_empty(f"/proc/{pid}/stat")
    return not stat or stat.rpartition(")")[2].split()[0] in ("Z", "X")


def freeze(plan: dict[str, Any], patience: float = 10.0) -> bool:
    """Stop all processes of the container from running; return whether they are (within patience seconds).

    A container that ends meanwhile has none, and no group any more: that is no error.
    """
    try:
        return _freeze(plan, patience)
    except OSError as error:
        if error.errno not in GONE:
            raise
        return False


def _freeze(plan: dict[str, Any], patience: float) -> bool:
    if plan["unified"] and os.path.exists(plan["unified"] + "/cgroup.freeze"):
        write(plan["unified"] + "/cgroup.freeze", "1")
        return until(lambda: "frozen 1" in read(plan["unified"] + "/cgroup.events"), patience)
    directory = plan["dirs"].get("freezer")
    if not directory or not os.path.isdir(directory):
        return False

    def settled() -> bool:
        # A group that cannot freeze yet stays FREEZING; writing again makes the kernel try again.
        write(directory + "/freezer.state", "FROZEN")
        return read(directory + "/freezer.state").strip() == "FROZEN"

    return until(settled, patience)


def thaw(plan: dict[str, Any]) -> None:
    """Let a frozen container run on. Does nothing when it is not frozen."""
    for path, value in _freezers(plan, "0", "THAWED"):
        try:
            write(path, value)
        except OSError as error:
            if error.errno not in GONE:
                raise


def frozen(plan: dict[str, Any]) -> bool:
    """Tell whether the container was asked to freeze."""
    states = [read_or_empty(path).strip() for path, _ in _freezers(plan, "", "")]
    return any(state in ("1", "FROZEN", "FREEZING") for state in states)


def _freezers(plan: dict[str, Any], new: str, old: str) -> list[tuple[str, str]]:
    found = []
    if plan["unified"]:
        found.append((plan["unified"] + "/cgroup.freeze", new))
    if "freezer" in plan["dirs"]:
        found.append((plan["dirs"]["freezer"] + "/freezer.state", old))
    return found
