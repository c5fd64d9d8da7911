# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index of the store: one SQLite database, its schema, its migrations, and transactions that exclude each other.

Every writer begins with BEGIN IMMEDIATE, so whoever holds a transaction is the only writer on this host; what it saw
stays true until it commits. The journal is a write-ahead log, synced at each commit: a reader never waits.
"""

from __future__ import annotations

import _sqlite3 as sqlite  # the C module itself: the package around it imports datetime, which no command needs
from _thread import RLock  # without what the module threading brings along

from ..errors import Conflict, DiskFull, StoreDamaged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

BUSY_SECONDS = 30.0

# Each entry brings a database from the version of its index to the next. Never edit one that was released: append.
MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE layers (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        chain_id TEXT NOT NULL UNIQUE,
        diff_id TEXT NOT NULL,
        parent TEXT REFERENCES layers (chain_id),
        size INTEGER NOT NULL,
        blob TEXT, blob_size INTEGER, media_type TEXT
    );
    CREATE INDEX layers_by_parent ON layers (parent);
    CREATE INDEX layers_by_diff ON layers (diff_id);
    CREATE TABLE images (
        id TEXT PRIMARY KEY,
        config BLOB NOT NULL,
        created TEXT NOT NULL,
        size INTEGER NOT NULL,
        parent TEXT NOT NULL DEFAULT '',
        manifest BLOB, manifest_type TEXT
    );
    CREATE TABLE image_layers (
        image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        chain_id TEXT NOT NULL REFERENCES layers (chain_id),
        PRIMARY KEY (image_id, position)
    ) WITHOUT ROWID;
    CREATE INDEX image_layers_by_chain ON image_layers (chain_id);
    CREATE TABLE names (
        reference TEXT PRIMARY KEY,
        image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE
    ) WITHOUT ROWID;
    CREATE INDEX names_by_image ON names (image_id);
    CREATE TABLE digests (
        reference TEXT PRIMARY KEY,
        image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE
    ) WITHOUT ROWID;
    CREATE INDEX digests_by_image ON digests (image_id);
    CREATE TABLE containers (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        image_id TEXT NOT NULL,
        chain_id TEXT REFERENCES layers (chain_id),
        created TEXT NOT NULL,
        spec TEXT NOT NULL,
        desired TEXT NOT NULL DEFAULT '',
        labels TEXT NOT NULL DEFAULT '{}'
    );
    CREATE INDEX containers_by_image ON containers (image_id);
    CREATE TABLE networks (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE leases (
        network TEXT NOT NULL, address TEXT NOT NULL, container_id TEXT NOT NULL,
        PRIMARY KEY (network, address), UNIQUE (network, container_id)
    );
    CREATE TABLE volumes (name TEXT PRIMARY KEY, created TEXT NOT NULL, labels TEXT NOT NULL DEFAULT '{}');
    CREATE TABLE build_cache (
        key TEXT PRIMARY KEY,
        image_id TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE
    );
    CREATE INDEX build_cache_by_image ON build_cache (image_id);
    CREATE TABLE blob_sources (
        digest TEXT NOT NULL, repository TEXT NOT NULL, PRIMARY KEY (digest, repository)
    ) WITHOUT ROWID;
    """,
)


class Database:
    """One connection, shared by the threads of a process. Never to be used on both sides of a fork."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = RLock()
        self._depth = 0
        with _translated(path):
            self._connection = sqlite.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.execute("PRAGMA synchronous = FULL")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version < len(MIGRATIONS):
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._migrate()
            elif version > len(MIGRATIONS):
                raise StoreDamaged(
                    f"{path} was written by a newer engine (format {version}, this engine knows {len(MIGRATIONS)})",
                    hint="use that engine, or another root",
                    value=path,
                )

    def _migrate(self) -> None:
        with self.transaction():
            (version,) = self.row("PRAGMA user_version") or (0,)
            for script in MIGRATIONS[version:]:
                for statement in filter(str.strip, script.split(";")):
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def transaction(self) -> Transaction:
        """``with db.transaction():`` all or nothing, and no other writer meanwhile; nested ones join the outer one."""
        return Transaction(self)

    def run(self, statement: str, *values: Any) -> int:
        """Execute a statement that changes something; returns the number of rows changed."""
        with self._lock, _translated(self.path):
            return int(self._connection.execute(statement, values).rowcount)

    def insert(self, statement: str, *values: Any) -> int:
        """Execute an INSERT; returns the new row's number."""
        with self._lock, _translated(self.path):
            return int(self._connection.execute(statement, values).lastrowid or 0)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self._lock, _translated(self.path):
            return self._connection.execute(query, values).fetchall()  # type: ignore[no-any-return]

    def row(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None."""
        with self._lock, _translated(self.path):
            return self._connection.execute(query, values).fetchone()  # type: ignore[no-any-return]

    def column(self, query: str, *values: Any) -> list[Any]:
        """Return the first column of a query."""
        return [row[0] for row in self.rows(query, *values)]

    def close(self) -> None:
        """Close the connection; a transaction that is not committed is undone."""
        with self._lock:
            self._connection.close()


class Transaction:
    """Made by Database.transaction; holds the connection's lock, so another thread's statements stay out of it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def __enter__(self) -> Transaction:
        db = self._db
        db._lock.acquire()
        try:
            if db._depth == 0:
                with _translated(db.path):
                    db._connection.execute("BEGIN IMMEDIATE")
            db._depth += 1
        except BaseException:
            db._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        db = self._db
        db._depth -= 1
        try:
            if db._depth == 0:
                self._end(commit=error is None)
        finally:
            db._lock.release()

    def _end(self, *, commit: bool) -> None:
        connection = self._db._connection
        if commit:
            try:
                with _translated(self._db.path):
                    connection.execute("COMMIT")
            except BaseException:
                self._end(commit=False)
                raise
        elif connection.in_transaction:  # SQLite itself rolls back after some errors, a full disk for one
            connection.execute("ROLLBACK")


class _translated:  # noqa: N801
    """SQLite's errors in our words."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, sqlite.DatabaseError) and not isinstance(error, sqlite.IntegrityError):
            raise _error(str(error), self.path) from error


def _error(text: str, path: str) -> Exception:
    lower = text.lower()
    if "is full" in lower:
        return DiskFull(
            f"no space left for the store's index {path}: nothing was changed",
            hint="make room there (see df -h), then run the same command again",
            value=path,
        )
    if "locked" in lower or "busy" in lower:
        return Conflict(
            f"the store's index {path} was held by another command for {BUSY_SECONDS:.0f} seconds",
            hint="wait for that command to end, then run this one again",
            value=path,
        )
    if "unable to open" in lower or "readonly" in lower or "i/o error" in lower:
        return StoreDamaged(
            f"the store's index {path} cannot be opened for writing: {text}",
            hint="see whether its disk is full, read-only or failing",
            value=path,
        )
    return StoreDamaged(
        f"the store's index {path} cannot be used: {text}",
        hint="if the disk is sound, restore the file from a backup, or move the engine's root away and pull again",
        value=path,
    )
