# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a damaged index anew from the redo log beside it. The damaged file is kept under another name.

Whoever still has the old one open notices at its next change: the log is written anew too, and is another file then.
"""

from __future__ import annotations

import _sqlite3 as sqlite
import os

from ..errors import StoreDamaged
from ..linux.fs import sync_directory
from . import redo
from .connection import connect
from .db import MIGRATIONS, make_tables
from .disk import writing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DAMAGED = ".damaged-"
EMPTY = "it is empty"


def begun(path: str) -> bool:
    """Whether there is, or was, an index at this path: its log, or something that only an index leads to."""
    root = os.path.dirname(path)
    try:
        if os.stat(os.path.join(root, redo.NAME)).st_size:
            return True
    except FileNotFoundError:
        pass
    for folder, known in (("layers", str.isdigit), ("containers", lambda name: len(name) == 64)):
        try:
            if any(map(known, os.listdir(os.path.join(root, folder)))):
                return True
        except FileNotFoundError:
            continue
    return False


def rebuild(path: str, *, thorough: bool = False) -> str:
    """Make the index anew if it needs that; returns what was done, in words, "" for nothing.

    thorough: read all of it to see whether it does. Raises StoreDamaged when the log is of no use either, DiskFull.
    """
    root = os.path.dirname(path)
    with writing(path), redo.Log(os.path.join(root, redo.NAME)) as log:  # whoever else saw it waits here
        content = log.content()
        reason = trouble(path, content, thorough=thorough)
        if not reason:
            return ""
        if content is None or not 0 < content.version <= len(MIGRATIONS):
            raise StoreDamaged(
                f"the store's index {path} cannot be used: {reason}; nor can its log {log.path}",
                hint=f"restore one of them from a backup, or move {root} away and pull again; what containers wrote "
                "is in the folders containers/ID/upper, what volumes hold in volumes/NAME/_data",
                value=path,
            )
        made, lost = _made(path, content)
        try:
            connection = connect(made)
            try:
                empty = reason == EMPTY and not content.tables and not content.done
                kept = _put_aside(path, worthless=empty)  # one whose making was killed
                place = log.renew(connection, len(MIGRATIONS), content.number + 1)
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('redo', ?)", (str(place),))
            finally:
                connection.close()  # which leaves all in the one file
            _sync(made)
            os.rename(made, path)
            sync_directory(root)
        finally:
            _remove(made)
    lost += content.damaged
    return (
        f"the store's index {path} could not be used ({reason}): it was made anew from {redo.NAME}"
        + (f", of which {lost} entries could not be read" if lost else "")
        + (f"; the old one is kept as {kept}" if kept else "")
    )


def trouble(path: str, content: redo.Content | None, *, thorough: bool = False) -> str:
    """Return why an index cannot be used, "" when it can."""
    if not os.path.exists(path):
        return "it is missing"
    connection = None
    try:
        connection = connect(path)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not version:
            return EMPTY
        row = connection.execute("SELECT value FROM meta WHERE key = 'redo'").fetchone()
        if content is not None and row and redo.Place.parse(row[0]).number < content.first:
            return "it is older than its log"
        if thorough:
            (text,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            return "" if text == "ok" else str(text).replace("\n", " ")
    except sqlite.DatabaseError as error:
        return str(error)
    finally:
        if connection is not None:
            connection.close()
    return ""


def replayed(path: str, content: redo.Content) -> tuple[Any, int]:
    """Return (connection, entries lost) of a new index at path (or ":memory:"), as the log says, of our version."""
    connection = connect(path)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    make_tables(connection, 0, content.version)
    lost = redo.load(connection, content, sqlite.Error)
    connection.execute("COMMIT")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN")
    lost += redo.again(connection, content, content.first, sqlite.Error)
    make_tables(connection, content.version, len(MIGRATIONS))
    connection.execute("COMMIT")
    return connection, lost


def _made(path: str, content: redo.Content) -> tuple[str, int]:
    made = f"{path}.new"
    _remove(made)
    connection, lost = replayed(made, content)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    return made, lost


def _remove(made: str) -> None:
    for end in ("", "-wal", "-shm", "-journal"):
        try:
            os.unlink(made + end)
        except FileNotFoundError:
            pass


def _put_aside(path: str, *, worthless: bool) -> str:
    """Give a damaged index and what belongs to it another name; returns that, "" when nothing is kept."""
    import time

    kept = path + DAMAGED + time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    while os.path.lexists(kept):
        kept += "x"
    found = ""
    for end in ("-wal", "-shm", "-journal", ""):  # a log of the old one must not be taken for one of the new
        try:
            if worthless or end == "-shm":
                os.unlink(path + end)
                continue
            os.rename(path + end, kept + end)
            found = kept
        except FileNotFoundError:
            continue
    return found


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
