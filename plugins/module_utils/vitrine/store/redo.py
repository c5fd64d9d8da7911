# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The redo log: what the index holds, as text beside it, from which it can be made anew.

One line each: eight hex digits of CRC-32, a space, a JSON array. The first says what the index held at some time, the
following ones what each transaction did since:
    ["vitrine", 1, version of the schema, number of the last transaction in here, {table: highest rowid ever}]
    ["rows", table, [column...], [[value...]...]]
    ["did", number of the transaction, [[statement, [value...], new rowid or 0]...]]
Bytes are {"base64": text}. A transaction's line is on the disk before SQLite commits it: the line is the commit. So
the index itself needs no sync of its own, and one that fell behind (a power cut, a write-ahead log that somebody
deleted) is brought up by the lines that it lacks. The row "redo" of the table meta says which line it had last.
"""

from __future__ import annotations

import fcntl
import os
from binascii import a2b_base64, b2a_base64, crc32

from .. import lightjson as json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

FORMAT = 1
NAME = "vitrine.redo"
_ROWS = 200  # in one line


class Place:
    """Where the index stands in the log: number of the last transaction, size and inode of the log with it."""

    __slots__ = ("number", "size", "inode", "base")

    def __init__(self, number: int, size: int, inode: int, base: int) -> None:
        self.number = number
        self.size = size
        self.inode = inode
        self.base = base  # the size of what the log began with

    @classmethod
    def parse(cls, text: str) -> Place:
        """Return what the row says; a place that no log has when it says nothing that can be understood."""
        try:
            return cls(*map(int, text.split()))
        except (TypeError, ValueError):
            return cls(-1, -1, -1, 0)

    def __str__(self) -> str:
        return f"{self.number} {self.size} {self.inode} {self.base}"

    @property
    def limit(self) -> int:
        """The size at which the log is written anew: most of what it says is no longer so then."""
        return 8 * self.base + (1 << 20)

    def is_end_of(self, path: str) -> bool:
        """Whether the log ends there. Raises no error: a log that is not there does not."""
        try:
            status = os.stat(path)
        except OSError:
            return False
        return (status.st_size, status.st_ino) == (self.size, self.inode)


class Content:
    """What a log says. damaged: how many of its lines cannot be read; end: where its readable part ends."""

    def __init__(self) -> None:
        self.version = -1
        self.first = -1
        self.sequences: dict[str, int] = {}
        self.tables: list[tuple[str, list[str], list[list[Any]]]] = []
        self.done: list[tuple[int, list[Any]]] = []
        self.damaged = 0
        self.end = 0
        self.base = 0

    @property
    def number(self) -> int:
        """The number of the last transaction that it knows."""
        return self.done[-1][0] if self.done else self.first


def line(entry: list[Any]) -> bytes:
    """Return an entry as it is written."""
    text = json.dumps(entry, separators=(",", ":"), default=_bytes).encode("ascii")
    return b"%08x %s\n" % (crc32(text), text)


def _bytes(value: Any) -> Any:
    return {"base64": b2a_base64(bytes(value), newline=False).decode("ascii")}


def _values(values: Iterable[Any]) -> list[Any]:
    return [a2b_base64(value["base64"]) if isinstance(value, dict) else value for value in values]


def read(data: bytes) -> Content | None:
    """Return what a log says; None when its beginning cannot be read. What is torn off at its end was never done."""
    content = Content()
    place = damaged = 0
    for text in data.splitlines(keepends=True):
        place += len(text)
        entry = _entry(text)
        if entry is None:
            damaged += 1
            continue
        if content.first < 0 and entry[0] != "vitrine":
            return None
        if entry[0] == "vitrine":
            content.version, content.first, content.sequences = entry[2], entry[3], entry[4]
        elif entry[0] == "rows":
            content.tables.append((entry[1], entry[2], [_values(row) for row in entry[3]]))
        else:
            content.done.append((entry[1], [(what, _values(values), rowid) for what, values, rowid in entry[2]]))
        if entry[0] != "did":
            content.base = place
        content.end, content.damaged = place, damaged
    return content if content.first >= 0 else None


def _entry(text: bytes) -> list[Any] | None:
    try:
        entry = json.loads(text[9:])
        good = text.endswith(b"\n") and int(text[:8], 16) == crc32(text[9:-1]) and isinstance(entry, list)
    except ValueError:
        return None
    return entry if good else None


class Log:
    """The open log, locked: for whoever changes the index, or makes it anew. Raises OSError."""

    def __init__(self, path: str) -> None:
        self.path = path
        while True:
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            try:
                if os.stat(path).st_ino == os.fstat(self.fd).st_ino:
                    return
            except FileNotFoundError:
                pass
            os.close(self.fd)  # written anew meanwhile

    def content(self) -> Content | None:
        """What it says; None when that cannot be known."""
        size = os.fstat(self.fd).st_size
        data = bytearray()
        while len(data) < size and (part := os.pread(self.fd, size - len(data), len(data))):
            data += part
        return read(bytes(data))

    def place(self, content: Content) -> Place:
        """Return where an index stands that has all that the log says."""
        return Place(content.number, content.end, os.fstat(self.fd).st_ino, content.base)

    def append(self, at: Place, entry: bytes) -> Place:
        """Write an entry behind a place, on the disk when this returns. Raises OSError; then nothing was written."""
        view, offset = memoryview(entry), at.size
        try:
            while view:
                done = os.pwrite(self.fd, view, offset)
                view, offset = view[done:], offset + done
            os.fdatasync(self.fd)
        except BaseException:
            self.cut(at.size)
            raise
        return Place(at.number + 1, offset, at.inode, at.base)

    def cut(self, size: int) -> None:
        """Take back what stands behind: the transaction did not come to be."""
        try:
            os.ftruncate(self.fd, size)
            os.fdatasync(self.fd)
        except OSError:
            pass  # the disk fails; whoever comes next reads the line, and the transaction is done after all

    def renew(self, connection: Any, version: int, number: int) -> Place:
        """Write the log anew, of all that the index holds now; the new one is locked as well. Raises OSError."""
        from ..linux.fs import sync_directory  # with ctypes, which not every command needs

        temporary = f"{self.path}.new"
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            with open(fd, "wb", buffering=1 << 16, closefd=False) as file:
                for entry in _everything(connection, version, number):
                    file.write(line(entry))
                file.flush()
                os.fsync(fd)
            os.rename(temporary, self.path)
            sync_directory(os.path.dirname(self.path))
        except BaseException:
            os.close(fd)
            try:
                os.unlink(temporary)
            except FileNotFoundError:
                pass
            raise
        os.close(self.fd)
        self.fd = fd
        status = os.fstat(fd)
        return Place(number, status.st_size, status.st_ino, status.st_size)

    def close(self) -> None:
        """Let others."""
        os.close(self.fd)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _everything(connection: Any, version: int, number: int) -> Iterable[list[Any]]:
    sequences = {}
    tables = tables_of(connection)
    if any("AUTOINCREMENT" in sql.upper() for _name, sql in tables):
        sequences = dict(connection.execute("SELECT name, seq FROM sqlite_sequence"))
    yield ["vitrine", FORMAT, version, number, sequences]
    for name, _sql in tables:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
        where = " WHERE key != 'redo'" if name == "meta" else ""
        rows = connection.execute(f"SELECT {', '.join(columns)} FROM {name}{where}")
        while chunk := rows.fetchmany(_ROWS):
            yield ["rows", name, columns, chunk]


def tables_of(connection: Any) -> list[tuple[str, str]]:
    """Return (name, how it was made) of each table."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
    return connection.execute(query).fetchall()  # type: ignore[no-any-return]


def dump(connection: Any) -> dict[str, list[Any]]:
    """Return all rows by table, but the log's own; what two indexes are compared by."""
    found: dict[str, list[Any]] = {}
    for entry in _everything(connection, 0, 0):
        if entry[0] == "rows":
            found.setdefault(entry[1], []).extend(map(tuple, entry[3]))
    return {name: sorted(rows, key=repr) for name, rows in found.items()}


def load(connection: Any, content: Content, error: type[Exception]) -> int:
    """Fill an index that has the schema but no rows; returns how many entries could not be taken."""
    lost = 0
    for name, columns, rows in content.tables:
        marks = ", ".join("?" * len(columns))
        for row in rows:
            try:
                connection.execute(f"INSERT OR REPLACE INTO {name} ({', '.join(columns)}) VALUES ({marks})", row)
            except error:
                lost += 1
    for name, highest in content.sequences.items():
        _next_rowid(connection, name, highest)
    return lost


def again(connection: Any, content: Content, after: int, error: type[Exception]) -> int:
    """Do again what the log says was done after a transaction; returns how many statements could not be done."""
    lost = 0
    for number, statements in content.done:
        for statement, values, rowid in statements if number > after else ():
            try:
                if rowid:
                    words = statement.split()
                    _next_rowid(connection, words[words.index("INTO") + 1], rowid - 1)
                connection.execute(statement, values)
            except error:
                lost += 1
    return lost


def _next_rowid(connection: Any, table: str, highest: int) -> None:
    """Let a table of automatic numbers go on behind a number."""
    if not connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (highest, table)).rowcount:
        connection.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, highest))
