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

# pylint: disable=unused-import

from __future__ import annotations

from .provision import sources

__all__ = ["sources"]

NEVER = False
if NEVER:
'''


def text() -> str:
    """What the file must be for the sources as they are."""
    lines = []
    for path in sorted((UTILS / "vitrine").rglob("*.py")):
        parts = path.relative_to(UTILS).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        lines.append(f"    import {PREFIX}.{name}  # noqa: F401")
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text())
