# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepare the engines, measure in turns, print a table and JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "module_utils"))

from support.base_image import base_image  # noqa: E402
from support.registry import Registry  # noqa: E402
from vitrine.store import Store  # noqa: E402

from . import many  # noqa: E402
from .cases import CASES, Case, make_large_image  # noqa: E402
from .engines import Docker, EngineUnderTest, Podman, Vitrine, version  # noqa: E402
from .tasks import Tasks  # noqa: E402

Results = dict[str, dict[str, list[float]]]


def say(text: str) -> None:
    sys.stderr.write(f"== {text}\n")
    sys.stderr.flush()


def measure_case(case: Case, engines: list[EngineUnderTest], rounds: int) -> dict[str, list[float]]:
    """Rounds in turns, so that what else the machine does falls on all engines alike."""
    seconds: dict[str, list[float]] = {engine.name: [] for engine in engines}
    for engine in engines:
        case.prepare(engine)
    try:
        for _round in range(rounds):
            for engine in engines:
                seconds[engine.name].append(case.measure(engine))
    finally:
        for engine in engines:
            case.finish(engine)
    return seconds


def measure_tasks(tasks: Tasks, rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in tasks.tasks}
    for name in tasks.tasks:
        tasks.prepare(name)
    try:
        for _round in range(rounds):
            for name in tasks.tasks:
                seconds[name].append(tasks.measure(name))
    finally:
        tasks.finish()
    return seconds


def table(results: Results, units: dict[str, str], goals: dict[str, dict[str, float]]) -> str:
    """Medians of each engine, and this engine's ratio to each other one, with what was aimed at."""
    lines = []
    for name, values in results.items():
        medians = {engine: statistics.median(seconds) for engine, seconds in values.items() if seconds}
        unit = units.get(name, "s")
        cells = [f"{engine} {median:.3f} {unit}" for engine, median in medians.items()]
        lines.append(f"{name}: " + ", ".join(cells))
        for engine, goal in {**dict.fromkeys(medians, 0.0), **goals.get(name, {})}.items():
            if engine != "vitrine" and medians.get(engine) and "vitrine" in medians:
                ratio = medians["vitrine"] / medians[engine]
                aim = f" (aim: {goal:g})" if goal else ""
                lines.append(f"    {ratio:.2f} x {engine}{aim}")
    return "\n".join(lines)


def task_table(results: dict[str, list[float]]) -> str:
    medians = {name: statistics.median(seconds) for name, seconds in results.items()}
    aims = {"vitrine.engine.container, short way": " (aim: 0.3)", "vitrine.engine.container, module way": " (aim: 1.3)"}
    lines = ["one Ansible task with nothing to change:"]
    for name, median in medians.items():
        lines.append(f"    {name}: {median:.3f} s, {median / medians['ping']:.2f} x ping{aims.get(name, '')}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds for each case (7)")
    parser.add_argument("--only", default="", help="only the cases whose names contain this")
    parser.add_argument("--own", action="store_true", help="measure this engine only")
    parser.add_argument("--no-tasks", action="store_true", help="leave the Ansible tasks out")
    parser.add_argument("--json", metavar="FILE", help="write all measurements there")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vitrine-bench-"))
    vitrine = Vitrine(folder)
    engines: list[EngineUnderTest] = [vitrine]
    engines += [Docker(folder)] if shutil.which("dockerd") and not options.own else []
    engines += [Podman(folder)] if shutil.which("podman") and not options.own else []
    (folder / "registry").mkdir()
    registry = Registry(folder / "registry")
    base, large = f"{registry.host}/base:1", f"{registry.host}/large:1"
    results: Results = {}
    units: dict[str, str] = {}
    goals: dict[str, dict[str, float]] = {}
    tasks: dict[str, list[float]] = {}
    started: list[EngineUnderTest] = []
    try:
        for engine in engines:
            say(f"starting {engine.name}")
            engine.start()
            started.append(engine)
        say("making the images")
        with Store(str(vitrine.folder / "root")) as store:
            base_image(store)
        vitrine("tag", "debian:bookworm", base)
        vitrine("push", "-q", base)
        make_large_image(vitrine, base, large, folder)
        for engine in engines[1:]:
            engine.pull(base)
            engine.pull(large)
        for kind in (*CASES, *many.CASES):
            case = kind(base, large, folder)
            if options.only not in case.name:
                continue
            say(case.name)
            units[case.name], goals[case.name] = case.unit, case.goals
            asked = [engine for engine in engines if case.only in ("", engine.name)]
            results[case.name] = measure_case(case, asked, options.rounds if case.unit == "s" else 1)
        if not options.no_tasks:
            say("Ansible tasks")
            by_name = {engine.name: engine for engine in engines}
            root = str(vitrine.folder / "tasks")
            with Store(root) as store:
                base_image(store)
            for engine in engines[1:]:
                engine("tag", base, "debian:bookworm")
            loop = Tasks(folder / "plays", "debian:bookworm", vitrine, by_name.get("docker"), by_name.get("podman"))  # type: ignore[arg-type]
            tasks = measure_tasks(loop, max(1, options.rounds // 3))
        print(table(results, units, goals))
        if tasks:
            print(task_table(tasks))
        if options.json:
            facts = {
                "kernel": platform.release(),
                "cpus": os.cpu_count(),
                "versions": {e.name: version(e) for e in engines},
            }
            Path(options.json).write_text(json.dumps({"facts": facts, "cases": results, "tasks": tasks}, indent=1))
    finally:
        for engine in reversed(started):
            try:
                engine.stop()
            except RuntimeError as error:
                say(str(error))
        registry.close()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
