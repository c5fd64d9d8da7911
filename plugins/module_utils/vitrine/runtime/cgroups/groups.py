# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out cgroup plans: makes groups, writes limits, moves processes in, freezes, kills, removes.

Groups that a plan names and that are not there count as empty: a host may lack a hierarchy that no limit needed.
"""

from __future__ import annotations

import errno
import os
import time

from ...errors import HostError, InvalidInput, StartFailed
from .. import bpf_devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_GONE = (errno.ENOENT, errno.ENODEV)
_REFUSED = (errno.EPERM, errno.EACCES, errno.EROFS)


def directories(plan: dict[str, Any]) -> list[str]:
    """Return each of the plan's directories once ("cpu,cpuacct" is one directory for two controllers)."""
    found = dict.fromkeys(plan["dirs"].values())
    if plan["unified"]:
        found[plan["unified"]] = None
    return list(found)


def create(plan: dict[str, Any]) -> list[str]:
    """Make the plan's groups and write its limits. Return warnings (texts) about what could not be had but may lack.

    Raises HostError naming option and controller when a limit cannot be set, StartFailed when the group is in use.
    Whatever was made is removed again before an error leaves.
    """
    warnings = list(plan["warnings"])
    needed = {directory for directory, _, _, level in plan["writes"] if level == 2}
    try:
        if plan["systemd"]:
            from . import systemd

            systemd.ensure_scope(plan["systemd"], os.path.dirname(plan["unified"]))
        for directory in directories(plan):
            try:
                _make(directory)
            except OSError as error:
                if directory in needed or error.errno not in _REFUSED:
                    raise _failed(f"the cgroup {directory} cannot be made", error) from None
                warnings.append(f"no cgroup at {directory}: {os.strerror(error.errno or 0)}")
        if "cpuset" in plan["dirs"]:
            _fill_cpuset(plan["dirs"]["cpuset"])
        if "memory" in plan["dirs"]:
            _account_subtree(os.path.dirname(plan["dirs"]["memory"]))
        _enable(plan, warnings)
        warnings += write_all(plan["writes"])
        if plan["program"] is not None:
            _confine_devices(plan, warnings)
    except BaseException:
        remove(plan, patience=0.0)
        raise
    return warnings


def _make(directory: str) -> None:
    """Make a fresh group; an empty one left by a crash is replaced, because its limits and counts are old."""
    parent = os.path.dirname(directory)
    for _ in range(10):
        try:
            os.mkdir(directory, 0o755)
            return
        except FileNotFoundError:
            # The parent goes with its last container; another one may be leaving at this very moment.
            try:
                os.mkdir(parent, 0o755)
            except FileExistsError:
                pass
        except FileExistsError:
            try:
                _remove_tree(directory)
            except OSError as error:
                if error.errno == errno.EBUSY:
                    raise StartFailed(
                        f"the cgroup {directory} already holds processes",
                        stage="cgroup",
                        errno=errno.EBUSY,
                        hint="another engine or a left-over process uses it: see its cgroup.procs",
                        value=directory,
                    ) from None
                if error.errno != errno.ENOENT:
                    raise
    os.mkdir(directory, 0o755)


def _fill_cpuset(directory: str) -> None:
    """Copy cpus and mems from the group above where they are empty: no process can enter before (cpuset(7))."""
    above = os.path.dirname(os.path.dirname(directory))
    for group in (os.path.dirname(directory), directory):
        for name in ("cpuset.cpus", "cpuset.mems"):
            try:
                if not _read(group + "/" + name).strip():
                    _write(group + "/" + name, _read(above + "/" + name).strip())
            except OSError as error:
                if error.errno not in _GONE:
                    raise
        above = group


def _account_subtree(group: str) -> None:
    """Kernels before 5.11 count a group's children with it only where that was switched on above them."""
    try:
        if _read(group + "/memory.use_hierarchy").strip() == "0":
            _write(group + "/memory.use_hierarchy", "1")
    except OSError:
        pass


def _enable(plan: dict[str, Any], warnings: list[str]) -> None:
    """Let every group above hand its controllers down (cgroup-v2, "Enabling and Disabling"), from the top."""
    if not plan["enable"]:
        return
    group = plan["mount"]
    names = os.path.dirname(plan["unified"])[len(group) :].strip("/").split("/")
    failed: dict[str, tuple[str, OSError]] = {}
    for name in ["", *names]:
        group = group + "/" + name if name else group
        have = set(_read_or_empty(group + "/cgroup.subtree_control").split())
        lacking = [controller for controller, _ in plan["enable"] if controller not in have]
        if not lacking:
            continue
        try:
            _write(group + "/cgroup.subtree_control", " ".join("+" + controller for controller in lacking))
        except OSError:
            for controller in lacking:
                try:
                    _write(group + "/cgroup.subtree_control", "+" + controller)
                except OSError as error:
                    failed.setdefault(controller, (group, error))
    for controller, option in plan["enable"]:
        if controller not in failed:
            continue
        group, error = failed[controller]
        if option:
            hint = f"leave {option} out"
            if error.errno == errno.EBUSY:
                hint = "processes sit in that group itself: move them to a group below it, or " + hint
            raise HostError(
                f"{option} cannot be set: the cgroup controller {controller!r} cannot be enabled in {group}: "
                f"{os.strerror(error.errno or 0)}",
                hint=hint,
                value=controller,
            )
        warnings.append(
            f"the cgroup controller {controller!r} cannot be enabled in {group}: {os.strerror(error.errno or 0)}"
        )


def write_all(writes: tuple[tuple[Any, ...], ...]) -> list[str]:
    """Carry out a plan's writes; return warnings.

    What the kernel finds contradictory is tried once more at the end: raising memory and its swap, or quota and
    period, is possible in one order only, and which one depends on the present values.
    """
    warnings: list[str] = []
    again: list[tuple[Any, ...]] = []
    for last in (False, True):
        for directory, candidates, option, level in again if last else writes:
            try:
                _write_first(directory, candidates)
            except OSError as error:
                if error.errno == errno.EINVAL and not last:
                    again.append((directory, candidates, option, level))
                elif level == 2:
                    raise _refused(directory, candidates, option, error) from None
                elif level == 1 and candidates[0][1] not in ("max", "-1"):
                    warnings.append(f"{option} has no effect: {candidates[0][0]}: {os.strerror(error.errno or 0)}")
    return warnings


def _write_first(directory: str, candidates: tuple[tuple[str, str], ...]) -> None:
    for file, value in candidates[:-1]:
        try:
            return _write(directory + "/" + file, value)
        except FileNotFoundError:
            continue
    file, value = candidates[-1]
    return _write(directory + "/" + file, value)


def _refused(directory: str, candidates: tuple[tuple[str, str], ...], option: str, error: OSError) -> Exception:
    file, value = candidates[-1]
    what = f"{option} cannot be set: the kernel answered {os.strerror(error.errno or 0)!r} to {value!r} in {file}"
    if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
        names = " or ".join(name for name, _ in candidates)
        return HostError(f"{option} cannot be set: this kernel has no {names}", hint=f"leave {option} out", value=value)
    if error.errno == errno.EBUSY:
        return InvalidInput(what, hint="more than that is in use: stop something in the container first", value=value)
    if error.errno in (errno.EINVAL, errno.ERANGE, errno.ENODEV, errno.EDOM):
        return InvalidInput(what, hint="use a value that this host and the other limits allow", value=value)
    return _failed(what, error)


def _failed(what: str, error: OSError) -> HostError:
    hint = ""
    if error.errno in _REFUSED:
        hint = "the engine must be root, with /sys/fs/cgroup writable"
    return HostError(f"{what}: {os.strerror(error.errno or 0)}", hint=hint, value=error.filename)


def _confine_devices(plan: dict[str, Any], warnings: list[str]) -> None:
    try:
        bpf_devices.attach(plan["program"], plan["unified"])
    except OSError as error:
        warnings.append(
            f"devices are not confined: the kernel does not take a device program: {os.strerror(error.errno or 0)}"
        )
        plan["devices"] = "none"


# -- processes -------------------------------------------------------------------------------------------------------


def enter(plan: dict[str, Any], *, unified: bool = True) -> None:
    """Move the calling process, which must have one thread, into the plan's groups. For a fresh child.

    unified: also into the version 2 group (not needed after CLONE_INTO_CGROUP, where it costs a grace period).
    Moving oneself by `tasks` takes microseconds, whereas moving another process by `cgroup.procs` may wait ~10 ms
    for the kernel's read-copy-update machinery.
    """
    for directory in dict.fromkeys(plan["dirs"].values()):
        _write_pid(directory + "/tasks", "0")
    if unified and plan["unified"]:
        _write_pid(plan["unified"] + "/cgroup.procs", "0")


def attach(plan: dict[str, Any], pid: int, *, unified: bool = True) -> None:
    """Move another process, all its threads, into the plan's groups. Prefer `enter` in the process itself."""
    for directory in dict.fromkeys(plan["dirs"].values()):
        _write_pid(directory + "/cgroup.procs", str(pid))
    if unified and plan["unified"]:
        _write_pid(plan["unified"] + "/cgroup.procs", str(pid))


def _write_pid(path: str, pid: str) -> None:
    try:
        _write(path, pid)
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
    """Return an fd of the version 2 group for clone3's CLONE_INTO_CGROUP, or -1 where there is none. Caller closes."""
    if not plan["unified"]:
        return -1
    try:
        return os.open(plan["unified"], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1


def pids(plan: dict[str, Any]) -> list[int]:
    """Return the pids of all processes in the container's groups and those below, in order. Threads do not count."""
    found: set[int] = set()
    for top in _process_groups(plan):
        for directory in _tree(top):
            found.update(int(line) for line in _read_or_empty(directory + "/cgroup.procs").split())
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
            _write(plan["unified"] + "/cgroup.kill", "1")
        except OSError:
            _kill_each(plan)
    else:
        _kill_each(plan)
    return _until(lambda: not pids(plan), patience)


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
    stat = _read_or_empty(f"/proc/{pid}/stat")
    return not stat or stat.rpartition(")")[2].split()[0] in ("Z", "X")


def freeze(plan: dict[str, Any], patience: float = 10.0) -> bool:
    """Stop all processes of the container from running; return whether they are (within patience seconds)."""
    if plan["unified"] and os.path.exists(plan["unified"] + "/cgroup.freeze"):
        _write(plan["unified"] + "/cgroup.freeze", "1")
        return _until(lambda: "frozen 1" in _read_or_empty(plan["unified"] + "/cgroup.events"), patience)
    directory = plan["dirs"].get("freezer")
    if not directory or not os.path.isdir(directory):
        return False

    def frozen() -> bool:
        # A group that cannot freeze yet stays FREEZING; writing again makes the kernel try again.
        _write(directory + "/freezer.state", "FROZEN")
        return _read(directory + "/freezer.state").strip() == "FROZEN"

    return _until(frozen, patience)


def thaw(plan: dict[str, Any]) -> None:
    """Let a frozen container run on. Does nothing when it is not frozen."""
    for path, value in _freezers(plan, "0", "THAWED"):
        try:
            _write(path, value)
        except OSError as error:
            if error.errno not in _GONE:
                raise


def frozen(plan: dict[str, Any]) -> bool:
    """Tell whether the container was asked to freeze."""
    states = [_read_or_empty(path).strip() for path, _ in _freezers(plan, "", "")]
    return any(state in ("1", "FROZEN", "FREEZING") for state in states)


def _freezers(plan: dict[str, Any], new: str, old: str) -> list[tuple[str, str]]:
    found = []
    if plan["unified"]:
        found.append((plan["unified"] + "/cgroup.freeze", new))
    if "freezer" in plan["dirs"]:
        found.append((plan["dirs"]["freezer"] + "/freezer.state", old))
    return found


# -- removal ---------------------------------------------------------------------------------------------------------


def remove(plan: dict[str, Any], patience: float = 2.0) -> bool:
    """Remove the plan's groups and those below; return whether all are gone. Groups that are not there are fine.

    The kernel lets go of a dead process's group a moment after its exit, so EBUSY is tried again for patience seconds.
    The engine's own group above goes with the last container.
    """
    end = time.monotonic() + patience
    left = []
    for directory in directories(plan):
        pause = 0.001
        while True:
            try:
                _remove_tree(directory)
            except OSError as error:
                if error.errno == errno.EBUSY and time.monotonic() < end:
                    time.sleep(pause)
                    pause = min(pause * 2, 0.1)
                    continue
                if error.errno not in (*_GONE, *_REFUSED):
                    left.append(directory)
            break
        if not plan["systemd"] or directory != plan["unified"]:
            try:
                os.rmdir(os.path.dirname(directory))
            except OSError:
                pass
    return not left


def _remove_tree(top: str) -> None:
    for directory in reversed(_tree(top)):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            pass


def _tree(top: str) -> list[str]:
    """Return top and all groups below it, each before its children."""
    found = [top]
    for directory in found:
        try:
            with os.scandir(directory) as entries:
                found += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            pass
    return found


# -- files -----------------------------------------------------------------------------------------------------------


def _until(condition: Any, patience: float) -> bool:
    end = time.monotonic() + patience
    pause = 0.0005
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
    return True


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while True:
            chunk = os.read(fd, 65536)
            if not chunk:
                return b"".join(chunks).decode("utf-8", "replace")
            chunks.append(chunk)
    finally:
        os.close(fd)


def _read_or_empty(path: str) -> str:
    try:
        return _read(path)
    except OSError:
        return ""
