# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The use cases, one file per noun: the only thing that the command line and the modules call.

``Engine(settings)`` gives ``images``, ``containers``, ``builds`` and ``system``. Nothing below this room knows of it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .core import Engine

__all__ = ["Engine"]


def __getattr__(name: str) -> object:
    # Loaded when asked for: Ansible's controller reads engine.desired.options and may be no Linux machine.
    if name == "Engine":
        from .core import Engine

        return Engine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
