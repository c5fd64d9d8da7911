# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules that hold the house up, read off the sources: who imports whom, and how large a room may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "plugins" / "module_utils" / "vitrine"
SOURCES = sorted(ENGINE.rglob("*.py"))

# each room, and the rooms that it may import; those at the top level (errors, record, settings ...) are free to all
FLOORS: dict[str, set[str]] = {
    "linux": set(),
    "oci": set(),
    "store": {"linux", "oci"},
    "registry": {"linux", "oci"},
    "runtime": {"linux", "oci"},
    "network": {"linux", "oci"},
    "host": {"linux", "oci", "runtime"},
    "supervise": {"linux", "oci", "runtime", "network"},
    "build": {"linux", "oci", "store", "runtime", "network"},
    "engine": {"linux", "oci", "store", "registry", "runtime", "network", "host", "supervise", "build"},
    "cli": {"engine", "oci", "host"},
}
# What the controller and the init or monitor must never wait for, or a container's files could be taken for.
START_PATH_ROOMS = ("linux", "runtime", "network", "supervise")


def imported_modules(path: Path) -> set[str]:
    """The full names of all that a source imports, wherever the import stands."""
    package = ("vitrine", *path.relative_to(ENGINE).parent.parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *(node.module or "").split("."))).strip(".")
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


def room_of(path: Path) -> str:
    parts = path.relative_to(ENGINE).parts
    return parts[0] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_floors_import_downwards_only(path):
    room = room_of(path)
    if not room:
        return  # the top level: __main__ calls the command line, the rest are leaves
    allowed = FLOORS[room] | {room}
    for name in imported_modules(path):
        parts = name.split(".")
        if parts[0] != "vitrine":
            assert parts[0] not in ("ansible", "ansible_collections"), f"{path} imports {name}"
        elif len(parts) > 1 and (ENGINE / parts[1]).is_dir():
            assert parts[1] in allowed, f"{room} must not import {parts[1]} ({path.name} imports {name})"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_rooms_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 500, f"{path} is two rooms"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno - node.lineno < 60, f"{path}:{node.lineno} {node.name} is too long"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_every_source_says_its_licence_and_its_purpose(path):
    text = path.read_text()
    assert "SPDX-License-Identifier: GPL-3.0-or-later" in text.splitlines()[2]
    assert "GNU General Public License v3.0" in text.splitlines()[1]
    assert ast.get_docstring(ast.parse(text)), f"{path} does not say what it is for"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ENGINE)))
def test_nothing_unpacks_blindly_or_prints(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert node.attr != "extractall", f"{path}:{node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "exec", "eval"), f"{path}:{node.lineno}"
        assert not isinstance(node, ast.Assert), f"{path}:{node.lineno}: python -O would drop the check"


def modules_after(statement: str) -> set[str]:
    program = (
        f"import sys; sys.path.insert(0, {str(ENGINE.parent)!r}); before = set(sys.modules); {statement}; "
        "sys.stdout.write(' '.join(set(sys.modules) - before))"
    )
    return set(
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
        ).stdout.split()
    )


HEAVY = {
    "argparse", "asyncio", "dataclasses", "inspect", "json", "logging", "pathlib", "pyroute2", "re", "requests",
    "shutil", "socket", "ssl", "subprocess", "tempfile", "typing", "urllib",
}  # fmt: skip


@pytest.mark.parametrize("module", ["supervise.monitor", "runtime.start", "runtime.exec"])
def test_what_runs_beside_a_container_imports_nothing_heavy(module):
    loaded = modules_after(f"import vitrine.{module}")
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    "module", ["cli.running", "cli.lifecycle", "cli.ps", "cli.listing", "engine.containers", "engine.desired.serve"]
)
def test_commands_import_no_library_that_they_may_not_need(module):
    loaded = modules_after(f"import vitrine.{module}")
    heavy = HEAVY - {"json", "re"}
    assert not loaded & heavy


def test_version_is_the_same_everywhere():
    from vitrine.version import VERSION

    assert f"\nversion: {VERSION}\n" in (ROOT / "galaxy.yml").read_text()
