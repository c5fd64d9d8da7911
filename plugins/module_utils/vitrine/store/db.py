# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index of the store: one SQLite database, its schema, its migrations, and transactions that exclude each other.

Every writer begins with BEGIN IMMEDIATE, so whoever holds a transaction is the only writer on this host; what it saw
stays true until it commits. SQLite's journal is a write-ahead log: a reader never waits. What makes a transaction
last is the log beside it (redo.py), synced at each commit; from it an index that is damaged is made anew (rebuild.py).
"""

from __future__ import annotations

import _sqlite3 as sqlite  # the C module itself: the package around it imports datetime, which no command needs
import os
from _thread import RLock  # without what the module threading brings along

from ..errors import Conflict, DiskFull, StoreDamaged
from . import redo
from .connection import BUSY_SECONDS, connect
from .disk import FULL, no_room

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

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
    """
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        time_ns INTEGER NOT NULL,
        kind TEXT NOT NULL,
        action TEXT NOT NULL,
        id TEXT NOT NULL,
        attributes TEXT NOT NULL DEFAULT '{}'
    );
    CREATE INDEX events_by_id ON events (id);
    """,
    """
    ALTER TABLE leases RENAME TO leases_of_one_family;
    CREATE TABLE leases (
        network TEXT NOT NULL, address TEXT NOT NULL, container_id TEXT NOT NULL,
        family INTEGER NOT NULL, fixed INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (network, address), UNIQUE (network, container_id, family)
    );
    INSERT INTO leases SELECT network, address, container_id, 4, 0 FROM leases_of_one_family;
    DROP TABLE leases_of_one_family;
    CREATE INDEX leases_by_container ON leases (container_id);
    CREATE TABLE lease_marks (
        network TEXT NOT NULL, family INTEGER NOT NULL, address TEXT NOT NULL, PRIMARY KEY (network, family)
    ) WITHOUT ROWID;
    """,
)


class Database:
    """One connection, shared by the threads of a process. Never to be used on both sides of a fork.

    tell: called with one line about an index that was found damaged and made anew.
    """

    def __init__(self, path: str, tell: Callable[[str], object] | None = None) -> None:
        self.path = path
        self.log = os.path.join(os.path.dirname(path), redo.NAME)
        self._lock = RLock()
        self._depth = 0
        self._changes: list[Any] = []
        self._inode = 0
        self._full = False  # no room to write a long log anew
        self._place = redo.Place(-1, -1, -1, 0)
        try:
            self._open()
        except _Unusable as found:
            from .rebuild import rebuild

            note = rebuild(path)
            if note and tell is not None:
                tell(note)
            try:
                self._open()
            except _Unusable:
                raise _error(str(found), path) from None

    def _open(self) -> None:
        """Connect, and bring the index to the present version and up to its log. Raises _Unusable."""
        new = not os.path.exists(self.path)
        if new and _begun(self.path):
            raise _Unusable("it is missing")
        try:
            with _translated(self.path):
                self._connection = connect(self.path)
                (version,) = self._connection.execute("PRAGMA user_version").fetchone()
                self._inode = os.stat(self.path).st_ino
                if version > len(MIGRATIONS):
                    raise StoreDamaged(
                        f"{self.path} was written by a newer engine (format {version}, this engine knows "
                        f"{len(MIGRATIONS)})",
                        hint="use that engine, or another root",
                        value=self.path,
                    )
                if version == 0 and not new and _begun(self.path):
                    raise _Unusable("it is empty")
                if version < len(MIGRATIONS):
                    self._use_wal()
                    self._migrate()
                elif not self._where().is_end_of(self.log):
                    self.catch_up()
        except StoreDamaged as error:
            if isinstance(error.__cause__, sqlite.DatabaseError) and is_damage(str(error.__cause__)):
                raise _Unusable(str(error.__cause__)) from None
            raise

    def _use_wal(self) -> None:
        """Change the journal's mode: SQLite refuses that while another process does the same, and does not wait."""
        import time

        end = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
            time.sleep(0.005)

    def _migrate(self) -> None:
        with _translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                (version,) = self._connection.execute("PRAGMA user_version").fetchone()
                if version < len(MIGRATIONS):
                    number = self._caught_up() if version else 0
                    make_tables(self._connection, version, len(MIGRATIONS))
                    with redo.Log(self.log) as log:
                        self._stand_at(log.renew(self._connection, len(MIGRATIONS), number + 1))
                        self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    # -- the log beside -----------------------------------------------------------------------------------------------

    def _where(self) -> redo.Place:
        row = self._connection.execute("SELECT value FROM meta WHERE key = 'redo'").fetchone()
        return redo.Place.parse(row[0] if row else "")

    def _stand_at(self, place: redo.Place) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('redo', ?)", (str(place),))

    def catch_up(self) -> None:
        """Do what the log says and the index lacks, or write the log anew when it lacks something."""
        with self._lock, _translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._caught_up()
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _caught_up(self) -> int:
        """In a transaction: see catch_up; returns the number of the last transaction. Raises _Unusable."""
        place = self._where()
        with redo.Log(self.log) as log:
            if not self._is_current():
                raise self._anew()
            in_step = place.is_end_of(self.log)
            if in_step and place.size <= place.limit:
                return place.number
            content = log.content()
            if content is not None and place.number >= 0 and content.number >= place.number:
                if place.number < content.first:
                    raise _Unusable("it is older than its log")
                if content.number > place.number or place.size <= place.limit:
                    redo.again(self._connection, content, place.number, sqlite.Error)
                    log.cut(content.end)
                    self._stand_at(log.place(content))
                    return content.number
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            number = max(place.number, 0)
            try:
                self._stand_at(log.renew(self._connection, version, number))
            except OSError:
                if not in_step:
                    raise
                self._full = True
            return number

    def _is_current(self) -> bool:
        """Whether this connection's file is still the index, rather than one that was damaged and put aside."""
        try:
            return os.stat(self.path).st_ino == self._inode
        except FileNotFoundError:
            return False

    def _anew(self) -> Conflict:
        return Conflict(
            f"the store's index {self.path} was made anew by another command meanwhile",
            hint="run this one again",
            value=self.path,
        )

    def _begin(self) -> None:
        """Begin a transaction on an index that is in step with its log."""
        for _ in range(10):
            self._connection.execute("BEGIN IMMEDIATE")
            self._place = self._where()
            if self._place.is_end_of(self.log) and (self._full or self._place.size <= self._place.limit):
                return
            self._connection.execute("ROLLBACK")
            try:
                self.catch_up()
            except _Unusable:
                raise self._anew() from None
        raise StoreDamaged(f"{self.log} changes all the time", hint="see what else writes there", value=self.log)

    def _commit(self) -> None:
        """Write what the transaction did to the log; with that it is done, and SQLite is told so."""
        changes, self._changes = self._changes, []
        if not changes:
            self._connection.execute("COMMIT")
            return
        entry = redo.line(["did", self._place.number + 1, changes])
        with redo.Log(self.log) as log:
            if not self._place.is_end_of(self.log):
                raise self._anew()
            after = log.append(self._place, entry)
            try:
                self._stand_at(after)
                self._connection.execute("COMMIT")
            except BaseException:
                log.cut(self._place.size)
                raise

    # -- for everybody ------------------------------------------------------------------------------------------------

    def transaction(self) -> Transaction:
        """``with db.transaction():`` all or nothing, and no other writer meanwhile; nested ones join the outer one."""
        return Transaction(self)

    def run(self, statement: str, *values: Any) -> int:
        """Execute a statement that changes something; returns the number of rows changed."""
        with self.transaction(), _translated(self.path):
            count = int(self._connection.execute(statement, values).rowcount)
            if count > 0:
                self._changes.append((statement, values, 0))
            return count

    def insert(self, statement: str, *values: Any) -> int:
        """Execute an INSERT; returns the new row's number."""
        with self.transaction(), _translated(self.path):
            number = int(self._connection.execute(statement, values).lastrowid or 0)
            self._changes.append((statement, values, number))
            return number

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

    def compare(self) -> tuple[dict[str, Any], redo.Content | None]:
        """Return what is in the index and what the log says, both at the same moment."""
        with self.transaction(), redo.Log(self.log) as log, _translated(self.path):
            return redo.dump(self._connection), log.content()

    def renew_log(self) -> None:
        """Write the log anew."""
        with self.transaction(), redo.Log(self.log) as log, _translated(self.path):
            self._place = log.renew(self._connection, len(MIGRATIONS), self._place.number)
            self._stand_at(self._place)

    def close(self) -> None:
        """Close the connection; a transaction that is not committed is undone."""
        with self._lock:
            self._connection.close()


class _Unusable(Exception):
    """The index cannot be used, for a reason that making it anew takes away."""


def _begun(path: str) -> bool:
    from .rebuild import begun

    return begun(path)


def make_tables(connection: Any, version: int, wanted: int) -> None:
    """Bring an index from one version to another, in the caller's transaction."""
    for script in MIGRATIONS[version:wanted]:
        for statement in filter(str.strip, script.split(";")):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {wanted}")


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
                    db._begin()
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
                    self._db._commit()
            except BaseException:
                self._end(commit=False)
                raise
            return
        self._db._changes = []
        if connection.in_transaction:  # SQLite itself rolls back after some errors, a full disk for one
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
        if isinstance(error, OSError):  # of the log
            raise _error("is full" if error.errno in FULL else f"i/o error: {error}", self.path) from error


def is_damage(text: str) -> bool:
    """Whether an error of SQLite says that the file's content is at fault, rather than its disk or its user."""
    return any(word in text.lower() for word in ("malformed", "not a database", "no such table", "unsupported file"))


def _error(text: str, path: str) -> Exception:
    lower = text.lower()
    unwritable = any(word in lower for word in ("unable to open", "readonly", "i/o error"))
    if "is full" in lower or (unwritable and no_room(path)):
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
    if unwritable:
        return StoreDamaged(
            f"the store's index {path} cannot be written: {text}",
            hint="see whether its disk is full, read-only or failing",
            value=path,
        )
    if not is_damage(text):
        return StoreDamaged(
            f"the store's index {path} does not take a statement: {text}",
            hint="run the command with --debug before the verb for where it happened, and report it",
            value=path,
        )
    return StoreDamaged(
        f"the store's index {path} is damaged: {text}",
        hint=f"run vitrine check --repair: it makes the index anew from {redo.NAME} beside it",
        value=path,
    )
