# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module's documentation says what the option table says; every module has all its files."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from vitrine.engine.desired.options import CONTAINER, MODULES
from vitrine.engine.spec import ContainerSpec
from vitrine.version import VERSION

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[3]


def strings(path: Path) -> dict[str, str]:
    """The texts that a file assigns to names, in classes too."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            found[node.targets[0].id] = node.value.value
    return found


def documentation(module: str) -> dict:
    document = yaml.safe_load(strings(ROOT / "plugins" / "modules" / f"{module}.py")["DOCUMENTATION"])
    options = document.setdefault("options", {})
    for fragment in document["extends_documentation_fragment"]:
        path = ROOT / "plugins" / "doc_fragments" / f"{fragment.rpartition('.')[2]}.py"
        options.update(yaml.safe_load(strings(path)["DOCUMENTATION"])["options"] or {})
    return document


def described(options: dict) -> dict:
    """The documentation's options without their prose."""
    result = {}
    for name, option in options.items():
        assert option["description"], name
        kept = {key: value for key, value in option.items() if key not in ("description", "suboptions")}
        if "suboptions" in option:
            kept["suboptions"] = described(option["suboptions"])
        result[name] = kept
    return result


def tabled(options) -> dict:
    result = {}
    for option in options:
        entry = {"type": option.type}
        if option.elements:
            entry["elements"] = option.elements
        if option.required:
            entry["required"] = True
        if option.default is not None:
            entry["default"] = option.default
        if option.choices:
            entry["choices"] = list(option.choices)
        if option.aliases:
            entry["aliases"] = list(option.aliases)
        if option.suboptions:
            entry["suboptions"] = tabled(option.suboptions)
        result[option.name] = entry
    return result


@pytest.mark.parametrize("module", sorted(MODULES))
def test_documentation_is_the_table(module):
    document = documentation(module)
    assert document["module"] == module
    assert described(document["options"]) == tabled(MODULES[module][0])
    assert {"check_mode", "diff_mode", "idempotent", "action_group", "platform"} <= set(document["attributes"])


@pytest.mark.parametrize("module", sorted(MODULES))
def test_examples_use_options_that_exist(module):
    names = {name for option in MODULES[module][0] for name in (option.name, *option.aliases)}
    texts = strings(ROOT / "plugins" / "modules" / f"{module}.py")
    for task in yaml.safe_load(texts["EXAMPLES"]):
        for key, value in task.items():
            if key == f"vitrine.engine.{module}":
                assert set(value or {}) <= names
    for name, value in yaml.safe_load(texts["RETURN"]).items():
        assert {"description", "returned", "type"} <= set(value), name


def test_every_module_has_its_files_and_is_in_the_action_group():
    group = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["engine"]
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    actions = {path.stem for path in (ROOT / "plugins" / "action").glob("*.py")}
    assert modules == actions == set(group) == set(MODULES)


def test_every_option_of_the_state_has_a_field():
    for option in CONTAINER:
        if option.compare:
            assert hasattr(ContainerSpec, option.target_field) or option.target_field in ContainerSpec._fields


def test_the_collection_has_the_engines_version():
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"] == VERSION
