# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write plugins/module_utils/_ansible/bundle.py: the imports by which Ansible's bundler finds the engine's sources."""

from __future__ import annotations

from pathlib import Path

UTILS = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"
TARGET = UTILS / "_ansible" / "bundle.py"
PREFIX = "ansible_collections.vitrine.engine.plugins.module_utils"
HEAD = '''\
# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names all of the engine's files, so that Ansible sends them with a module; nothing here is executed.

Ansible finds a module's helpers by reading its imports, not by running them. Written by tests/tools/bundle.py; a test
fails when a file is missing.
"""

from __future__ import annotations

from .provision import sources

__all__ = ["sources"]

NEVER = False
if NEVER:
'''


def text() -> str:
    """What the file must be for the sources as they are."""
    packages: dict[str, list[str]] = {}
    for path in sorted((UTILS / "vitrine").rglob("*.py")):
        folder = path.parent.relative_to(UTILS).as_posix().replace("/", ".")
        packages.setdefault(folder, [])
        if path.name != "__init__.py":
            packages[folder].append(path.stem)
    lines = []
    for package in sorted(packages):
        names = packages[package]
        if not names:
            lines.append(f"    import {PREFIX}.{package}  # noqa: F401")
            continue
        lines.append(f"    from {PREFIX}.{package} import (  # noqa: F401")
        lines += [f"        {name}," for name in sorted(names)]
        lines.append("    )")
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text())
