# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out cgroup plans: makes groups, writes limits, removes the groups."""

from __future__ import annotations

import errno
import os
import time

from ...errors import HostError, InvalidInput, StartFailed
from .. import bpf_devices
from .files import GONE, REFUSED, read, read_or_empty, remove_tree, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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

            systemd.enter_scope(plan["systemd"], os.path.dirname(plan["unified"]))
        for directory in directories(plan):
            try:
                _make(directory)
            except OSError as error:
                if directory in needed or error.errno not in REFUSED:
                    raise _failed(f"the cgroup {directory} cannot be made", error) from None
                warnings.append(f"no cgroup at {directory}: {os.strerror(error.errno or 0)}")
        if "cpuset" in plan["dirs"]:
            _fill_cpuset(plan["dirs"]["cpuset"])
        if "memory" in plan["dirs"]:
            _account_subtree(os.path.dirname(plan["dirs"]["memory"]))
        if plan["enable"]:
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
                remove_tree(directory)
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
                if not read(group + "/" + name).strip():
                    write(group + "/" + name, read(above + "/" + name).strip())
            except OSError as error:
                if error.errno not in GONE:
                    raise
        above = group


def _account_subtree(group: str) -> None:
    """Kernels before 5.11 count a group's children with it only where that was switched on above them."""
    try:
        if read(group + "/memory.use_hierarchy").strip() == "0":
            write(group + "/memory.use_hierarchy", "1")
    except OSError:
        pass


def _enable(plan: dict[str, Any], warnings: list[str]) -> None:
    """Let every group above hand its controllers down (cgroup-v2, "Enabling and Disabling"), from the top.

    Where systemd owns the tree, it has done so down to our scope.
    """
    above = os.path.dirname(plan["unified"])
    failed: dict[str, tuple[str, int]] = {}
    for group in (above,) if plan["systemd"] else (plan["mount"], above):
        have = read_or_empty(group + "/cgroup.subtree_control").split()
        lacking = [controller for controller, _ in plan["enable"] if controller not in have]
        if not lacking:
            continue
        try:
            write(group + "/cgroup.subtree_control", " ".join("+" + controller for controller in lacking))
        except OSError:
            for controller in lacking:
                try:
                    write(group + "/cgroup.subtree_control", "+" + controller)
                except OSError as error:
                    failed.setdefault(controller, (group, error.errno or 0))
    for controller, option in plan["enable"]:
        if controller not in failed:
            continue
        group, code = failed[controller]
        what = f"the cgroup controller {controller!r} cannot be enabled in {group}: {os.strerror(code)}"
        if not option:
            warnings.append(what)
            continue
        hint = f"leave {option} out"
        if code == errno.EBUSY:
            hint = "processes sit in that group itself: move them to a group below it, or " + hint
        raise HostError(f"{option} cannot be set: {what}", hint=hint, value=controller)


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
            return write(directory + "/" + file, value)
        except FileNotFoundError:
            continue
    file, value = candidates[-1]
    return write(directory + "/" + file, value)


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
    if error.errno in REFUSED:
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
                remove_tree(directory)
            except OSError as error:
                if error.errno == errno.EBUSY and time.monotonic() < end:
                    time.sleep(pause)
                    pause = min(pause * 2, 0.1)
                    continue
                if error.errno not in (*GONE, *REFUSED):
                    left.append(directory)
            break
        if not plan["systemd"] or directory != plan["unified"]:
            try:
                os.rmdir(os.path.dirname(directory))
            except OSError:
                pass
    return not left
