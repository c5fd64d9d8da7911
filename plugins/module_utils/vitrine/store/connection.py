# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to the index, as all of ours are."""

from __future__ import annotations

import _sqlite3 as sqlite  # the C module itself: the package around it imports datetime, which no command needs
import os

from .disk import no_room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BUSY_SECONDS = 30.0


def connect(path: str) -> Any:
    """Return a connection. The log is synced at each commit; SQLite need not do so as well. Raises sqlite.Error.

    On a disk that is read-only or full SQLite cannot make the files that it wants beside an index, not even to read
    it. Without them the index has everything, and it is read as a file that nobody changes.
    """
    name, frozen = path, False
    if not os.path.exists(f"{path}-wal") and os.path.exists(path):
        frozen = not os.access(os.path.dirname(path), os.W_OK) or no_room(path)
    if frozen:
        escaped = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        name = f"file:{escaped}?immutable=1"
    connection = sqlite.connect(name, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=frozen)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    # SQLite's 1000 pages would be read by every command that opens the index alone, which is nearly every one
    connection.execute("PRAGMA wal_autocheckpoint = 100")
    return connection
