# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every use case fails or is killed at its 1st, 2nd, ... call that changes something (tests/support/faults.py).

After each: the command told the truth, the next one finds the store whole and puts the rest right, the same command
then succeeds (or says that it was done), nothing is left over, and what was there before is there.
VITRINE_FAULTS=all takes every call, otherwise some of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.host import CHECKOUT, Host, Result
from support.traces import Traces, until
from vitrine.store import Store

from .cases import NAMES, Case
from .conftest import TABLE

ALL = os.environ.get("VITRINE_FAULTS") == "all"
POINTS = {"self:kill": 3, "self:EIO": 2, "self:ENOSPC+": 2, "self:ENOMEM": 1, "forked:kill": 2, "forked:EIO": 2}
DRIVER = CHECKOUT / "tests" / "support" / "faults.py"
ENGINE = CHECKOUT / "plugins" / "module_utils"
FORKING = ("load", "pull")  # and the others fork nothing that changes files


def run(host: Host, case: Case, fault: str, number: int) -> tuple[Result, list[str]]:
    """Run the use case's command with a fault; returns what came of it, and the calls that were counted."""
    report = host.root.parent / "report"
    where = ["--root", host.root, "--run-root", host.run_root, "--config", host.config]
    argv = ["/usr/bin/python3", "-I", "-S", "-X", "utf8", DRIVER, f"{fault}:{number}", report, ENGINE, *where]
    done = subprocess.run(
        [*map(str, argv), *map(str, case.words)],
        input=case.stdin, capture_output=True, text=True, errors="replace", timeout=120, env=host.env,
    )  # fmt: skip
    calls = report.read_text().splitlines() if report.exists() else []
    report.unlink(missing_ok=True)
    if fault.startswith("forked"):  # the child that has most of them: each counts for itself
        by_child: dict[str, list[str]] = {}
        for line in calls:
            pid, _space, call = line.partition(" ")
            by_child.setdefault(pid, []).append(call)
        calls = max(by_child.values(), key=len, default=[])
    return Result(done.returncode, done.stdout, done.stderr), calls


def undo(host: Host, case: Case) -> None:
    for words in case.undo:
        result = host.try_(*words)
        assert result.code == 0 or "no such" in result.err.lower() or "not found" in result.err, (words, result)


def prepare(host: Host, case: Case) -> None:
    for words in case.prepare:
        host(*words)


def points(count: int, wanted: int) -> list[int]:
    """Every k-th of 1..count, the first and the last; all of them if wanted."""
    if ALL or count <= wanted:
        return list(range(1, count + 1))
    step = -(-count // (wanted - 1)) if wanted > 1 else count
    return sorted({*range(count, 0, -step), *([1] if wanted > 1 else [])})


def whole(host: Host) -> None:
    """The next command passes, finds nothing lost, and leaves nothing that it could not put right."""
    result = host.try_("check")
    assert result.code == 0 and "the store is whole" in result.out, result
    assert "could not put right" not in result.out, result


def truthful(result: Result, fault: str) -> None:
    """A failure is told in words that are meant for users."""
    if result.code == -signal.SIGKILL:
        assert fault.endswith("kill"), result
        return
    for word in ("Traceback", "internal error"):
        assert word not in result.err, result
    if result.code != 0:
        assert result.err.startswith("vitrine: ") or "\nvitrine: " in result.err, result


@pytest.fixture(scope="module")
def witness(host: Host):
    """What was acknowledged before everything else."""
    host("create", "--name", "witness", "-v", "kept:/kept", "--network", "none", "busybox", "true")
    host("tag", "busybox", "witness:image")
    kept = Path(host.root, "volumes", "kept", "_data", "file")
    kept.write_text("kept\n")

    def look() -> None:
        with Store(str(host.root)) as store:
            record = store.containers.get("witness")
            assert os.path.isdir(f"{host.root}/containers/{record.id}/upper")
            assert store.images.resolve("witness:image").id == record.image_id
            assert store.volumes.get("kept") and kept.read_text() == "kept\n"

    yield look
    look()
    host("rm", "-f", "witness")


@pytest.mark.parametrize("fault", POINTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_use_case(host, use_cases, witness, name, fault):
    case = use_cases.get(name)
    if case is None:
        pytest.skip("needs docker-registry")
    if fault.startswith("forked") and name not in FORKING:
        return
    for words in (*case.undo, ("rm", "-f", "it")):  # what a test that failed before may have left
        host.try_(*words)
    prepare(host, case)
    result, calls = run(host, case, fault, 0)
    assert result.code == 0 and case.done(host), (result, calls)
    undo(host, case)
    chosen = points(len(calls), POINTS[fault])
    TABLE.setdefault(name, {})[fault] = f"{len(calls)} ({len(chosen)})"
    failures = []
    for number in chosen:
        try:
            one_point(host, case, fault, number, witness)
        except AssertionError as error:
            failures.append(f"{fault} at {number} of {len(calls)}: {calls[number - 1]}\n{error}")
            for words in case.undo:
                host.try_(*words)
    assert not failures, "\n\n".join(failures)
    whole(host)


def one_point(host: Host, case: Case, fault: str, number: int, witness: Callable[[], None]) -> None:
    """One fault, and all that must be so after it."""
    prepare(host, case)
    result, _calls = run(host, case, fault, number)
    truthful(result, fault)
    assert result.code != 0 or case.done(host), f"it said that it was done: {result}"
    whole(host)
    witness()
    again = host.try_(*case.words, stdin=case.stdin)
    if again.code == 0:
        assert case.done(host), f"{result}\nand again: {again}"
    else:  # it was done, or begun so far that it cannot begin again
        assert case.again and case.again in again.err, f"{result}\nand again: {again}"
    undo(host, case)
    assert os.listdir(host.root / "volumes") == ["kept"], result
    traces = Traces(host)
    until(lambda: not traces.inits(), 10, "a container goes on")
    traces.gone()
