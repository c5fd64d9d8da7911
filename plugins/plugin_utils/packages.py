# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's own pure-Python packages, for targets whose Python lacks them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os

# What a package needs besides itself. Compiled parts are left behind: each of these works without.
NEEDS = {"requests": ("requests", "urllib3", "idna", "certifi", "charset_normalizer"), "pyroute2": ("pyroute2",)}
_SUFFIXES = (".py", ".pem")


def _fits(name: str, python: tuple[int, ...]) -> bool:
    """Whether the installed distribution says that it runs on that version of Python."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        required = importlib.metadata.metadata(name).get("Requires-Python")
        return not required or SpecifierSet(required).contains(".".join(map(str, python)))
    except (importlib.metadata.PackageNotFoundError, InvalidSpecifier):
        return False


def _files(name: str) -> dict[str, bytes]:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return {}
    root = next(iter(spec.submodule_search_locations))
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = [item for item in folders if item not in ("__pycache__", "tests")]
        for item in names:
            if item.endswith(_SUFFIXES):
                path = os.path.join(folder, item)
                with open(path, "rb") as file:
                    found["/".join((name, os.path.relpath(path, root).replace(os.sep, "/")))] = file.read()
    return found


def collect(lacking: list[str], python: tuple[int, ...]) -> dict[str, bytes]:
    """The files of all that is lacking and can be given; a package that cannot be given whole is not given at all.

    lacking: keys of NEEDS. python: the target's version. Nothing here is an error: the engine says what it misses
    when it needs it.
    """
    result: dict[str, bytes] = {}
    for package in lacking:
        parts = {name: _files(name) for name in NEEDS.get(package, ())}
        if parts and all(parts.values()) and all(_fits(name, python) for name in parts):
            for files in parts.values():
                result.update(files)
    return result
