# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The package index of an rpm distribution, freed of when it was written and put where the image's own rpm looks.

Of the index only the times of installation differ from run to run. They stand in each package's header (rpm's
description of its format, "Header Structure": counts; index entries of tag, type, offset and count; values) and in one
table.
"""

from __future__ import annotations

import os
import struct

from ..linux import fs
from . import sweep

#: Where rpm keeps its index: by default, on new releases, and where a Debian host's dnf puts it.
PLACES = ("/usr/lib/sysimage/rpm", "/var/lib/rpm", "/root/.rpmdb")
_NAME = "rpmdb.sqlite"
_INSTALL_TIME, _INSTALL_ID = 1008, 1128
_INT32 = 4


def settle(root: str, epoch: int) -> None:
    """Move the index to its place and date all packages to epoch. Nothing happens if there is no (SQLite) index."""
    found = None
    for place in PLACES:
        folder = sweep.inside(root, place)
        if folder is not None and os.path.isfile(f"{folder}/{_NAME}") and not os.path.islink(folder):
            found = folder
            break
    if found is None:
        return
    wanted = _place(root)
    if found != wanted:
        fs.remove_tree(wanted)
        os.makedirs(os.path.dirname(wanted), 0o755, exist_ok=True)
        os.rename(found, wanted)
        os.chmod(wanted, 0o755)
    date(f"{wanted}/{_NAME}", epoch)
    for name in (".rpm.lock", f"{_NAME}-shm", f"{_NAME}-wal"):
        fs.remove_tree(f"{wanted}/{name}")


def _place(root: str) -> str:
    for place in PLACES[:2]:
        folder = sweep.inside(root, place)
        if folder is not None and fs.is_directory(folder):
            return folder
    return f"{root}/var/lib/rpm"


def date(path: str, epoch: int) -> None:
    """Set each package's times of installation, and write the file anew in one piece."""
    import sqlite3

    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        for number, header in connection.execute("SELECT hnum, blob FROM Packages").fetchall():
            connection.execute("UPDATE Packages SET blob = ? WHERE hnum = ?", (dated(header, epoch), number))
        key = connection.execute("SELECT key FROM Installtid LIMIT 1").fetchone()
        if key is not None:
            connection.execute("UPDATE Installtid SET key = ?", (struct.pack("=I", epoch),))
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("VACUUM")
    finally:
        connection.close()


def dated(header: bytes, epoch: int) -> bytes:
    """A package's header with its times of installation replaced; a header that is none stays as it is."""
    if len(header) < 8:
        return header
    count, size = struct.unpack_from(">II", header)
    values = 8 + 16 * count
    if len(header) < values + size:
        return header
    result = bytearray(header)
    for index in range(count):
        tag, kind, offset, number = struct.unpack_from(">iIiI", header, 8 + 16 * index)
        if tag in (_INSTALL_TIME, _INSTALL_ID) and kind == _INT32 and number and 0 <= offset <= size - 4:
            struct.pack_into(">I", result, values + offset, epoch)
    return bytes(result)
