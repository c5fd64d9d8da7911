# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One member of a tar archive, and the words that readers and writers of archives share."""

from __future__ import annotations

import stat

from ...errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE, HARDLINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"

WHITEOUT = b".wh."
OPAQUE = b".wh..wh..opq"
# Names that aufs keeps for itself at the top of a branch; in a layer only OPAQUE has a meaning.
AUFS_PRIVATE = b".wh..wh."
PSEUDO_LINKS = b".wh..wh.plnk"

MAX_NAME = 4096  # PATH_MAX
MAX_DEPTH = 512  # directories one inside another; each costs an open descriptor

KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFIFO: FIFO,
}


class Entry:
    """A member: name and link as bytes; mode: permission bits; size of the content; mtime in ns; xattrs by name.

    kind: one of the type flags above. sparse: None, or (offset, length) of the stored parts of the content, whose
    other parts are holes.
    """

    __slots__ = ("name", "kind", "mode", "uid", "gid", "size", "mtime", "link", "major", "minor", "xattrs", "sparse")

    def __init__(
        self,
        name: bytes,
        kind: bytes = FILE,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        size: int = 0,
        mtime: int = 0,
        link: bytes = b"",
        major: int = 0,
        minor: int = 0,
        xattrs: dict[str, bytes] | None = None,
        sparse: list[tuple[int, int]] | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.size = size
        self.mtime = mtime
        self.link = link
        self.major = major
        self.minor = minor
        self.xattrs = xattrs
        self.sparse = sparse

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Entry(" + ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__) + ")"


def keeps_xattr(name: str) -> bool:
    """Tell whether an extended attribute belongs to an image: what a user or a package set, not what the host did.

    Never the overlay's own attributes: in a layer they would redirect, hide and merge (kernel, overlayfs.rst).
    """
    if name.startswith("user."):
        return not name.startswith("user.overlay.")
    return name in ("security.capability", "system.posix_acl_access", "system.posix_acl_default")


def clean_name(name: bytes) -> bytes:
    """Return a member's name relative to the root ("": the root). Raises InvalidInput for one that leaves it."""
    if len(name) > MAX_NAME:
        raise malformed(f"a name has {len(name)} bytes, more than the {MAX_NAME} that Linux allows", name[:64])
    if b"\0" in name:
        raise malformed("a name contains NUL", name)
    if name[:2] == b"./":
        name = name[2:]
    if name[-1:] == b"/":
        name = name[:-1]
    if name[:1] in (b"/", b".", b"") or b"//" in name or b"/." in name:
        parts = [part for part in name.split(b"/") if part not in (b"", b".")]
        if b".." in parts:
            raise malformed("a name leads out of the tree by '..'", name)
        name = b"/".join(parts)
    return name


def malformed(what: str, value: Any = None) -> InvalidInput:
    """Return the error for an archive that cannot be understood or must not be unpacked."""
    shown = f": {value!r}" if value is not None else ""
    return InvalidInput(
        f"the archive cannot be used: {what}{shown}",
        hint="it is damaged, not a tar archive, or made to do harm; get it from another source",
        value=value,
    )
