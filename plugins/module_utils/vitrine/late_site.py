# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Site packages, when something needs them. The engine runs under ``python -I -S``: reading the site's folders and
.pth files at every start costs more than the rest of a task that changes nothing.

Beside the package may lie ``site-packages``: what the controller brought along for a Python that lacks it. What the
host itself has comes first.
"""

from __future__ import annotations

import os
import sys


class LateSite:
    """A meta path finder that comes last: the first import that nothing satisfies makes the site's folders known."""

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> object:
        """The finder protocol (importlib.abc.MetaPathFinder). Submodules are none of ours: path is set for them."""
        if path is not None:
            return None
        sys.meta_path.remove(cls)  # type: ignore[arg-type]
        import site
        from importlib.machinery import PathFinder

        site.main()
        brought = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "site-packages")
        if os.path.isdir(brought):
            sys.path.append(brought)
        return PathFinder.find_spec(name)


def install() -> None:
    """Call once, early, in a process that was started with -S."""
    finders: list[object] = sys.meta_path  # type: ignore[assignment]
    if sys.flags.no_site and LateSite not in finders:
        finders.append(LateSite)
