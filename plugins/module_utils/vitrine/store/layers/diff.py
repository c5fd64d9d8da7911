# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container changed, in docker's three letters."""

from __future__ import annotations

from .entry import OPAQUE
from .union import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .walk import Item


def changes(items: Iterable[Item], lower: Place) -> list[tuple[str, bytes]]:
    """Return (kind, path) of each item against what the layers below show; kinds are "A", "C" and "D".

    An opaque directory that stands for one in lower layers is told as what of them is gone.
    """
    result: list[tuple[str, bytes]] = []
    with _Finder(lower) as finder:
        opaque: list[tuple[bytes, set[bytes]]] = []
        for item in items:
            name = item.entry.name
            if name == b".":
                result.append(("C", b"/"))
            elif item.hidden is not None:
                result.append(("D", b"/" + item.hidden))
            elif item.status is None and name.endswith(OPAQUE):
                folder = name[: -len(OPAQUE) - 1]
                opaque.append((folder, finder.names(folder)))
            else:
                folder, _slash, base = name.rpartition(b"/")
                for hidden, names in opaque:
                    if folder == hidden:
                        names.discard(base)
                result.append(("A" if finder.place(folder).find(base) is None else "C", b"/" + name))
        for folder, names in opaque:
            result += [("D", b"/" + folder + b"/" + name) for name in names]
    return sorted(result, key=lambda change: change[1])


class _Finder:
    """Keeps the directories of a union open that lead to the present one."""

    def __init__(self, root: Place) -> None:
        self._stack: list[tuple[bytes, Place]] = [(b"", root)]

    def place(self, folder: bytes) -> Place:
        while len(self._stack) > 1 and not (folder + b"/").startswith(self._stack[-1][0] + b"/"):
            self._stack.pop()[1].close()
        known = self._stack[-1][0]
        rest = folder[len(known) :].strip(b"/")
        for part in rest.split(b"/") if rest else ():
            known = known + b"/" + part if known else part
            self._stack.append((known, self._stack[-1][1].enter(part)))
        return self._stack[-1][1]

    def names(self, folder: bytes) -> set[bytes]:
        return self.place(folder).names()

    def __enter__(self) -> _Finder:
        return self

    def __exit__(self, *_error: object) -> None:
        while len(self._stack) > 1:
            self._stack.pop()[1].close()
