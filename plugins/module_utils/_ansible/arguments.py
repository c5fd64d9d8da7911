# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's argument specifications, made of the engine's option table."""

from __future__ import annotations

from ansible_collections.vitrine.engine.plugins.module_utils.vitrine.engine.desired import options as tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _option(option: Any, on_target: bool) -> dict[str, Any]:
    # A path is expanded where it is meant: on the controller it stays a text, and the engine expands it.
    kind = option.type if on_target or option.type != "path" else "str"
    spec: dict[str, Any] = {"type": kind}
    if option.elements:
        spec["elements"] = option.elements
    if option.required:
        spec["required"] = True
    if option.default is not None:
        spec["default"] = option.default
    if option.choices:
        spec["choices"] = list(option.choices)
    if option.aliases:
        spec["aliases"] = list(option.aliases)
    if option.no_log is not None:
        spec["no_log"] = option.no_log
    if option.suboptions:
        spec["options"] = {item.name: _option(item, on_target) for item in option.suboptions}
    return spec


def specification(module: str, on_target: bool) -> dict[str, Any]:
    """The keyword arguments that AnsibleModule and ArgumentSpecValidator take alike.

    on_target: paths are expanded here. An action plugin, on the controller, leaves that to the engine.
    """
    options, rules = tables.MODULES[module]
    return {
        "argument_spec": {option.name: _option(option, on_target) for option in options},
        "required_if": [[option, value, list(names)] for option, value, names in rules.required_if],
        "required_by": {option: list(names) for option, names in rules.required_by.items()},
        "required_together": [list(names) for names in rules.required_together],
        "mutually_exclusive": [list(names) for names in rules.mutually_exclusive],
    }
