# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log beside the index: it says all that the index says, and an index of any damage comes out of it again."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from vitrine.errors import Conflict, DiskFull, StoreDamaged
from vitrine.store import Store, redo
from vitrine.store.db import MIGRATIONS

IDS = ["a" * 64, "b" * 64, "c" * 64]


@pytest.fixture
def root(tmp_path):
    """A store of one image, some containers, a network, a volume; a layer's row was there and went."""
    with Store(str(tmp_path / "root")) as store:
        image = store.images.add(json.dumps({"architecture": "amd64", "os": "linux"}).encode(), manifest=b"\xff\0{}")
        store.images.tag("docker.io/library/it:latest", image)
        for name in IDS:
            store.containers.create(name, name[:4], image, "{}", created=f"2026-01-01T00:00:00Z{name[0]}")
            os.mkdir(f"{store.root}/containers/{name}")
        store.containers.delete(IDS[1])
        store.networks.create("n", {"subnet": "10.0.0.0/24"})
        store.volumes.create("v", labels='{"ä": "\\u0000"}')
        store.db.insert("INSERT INTO layers (chain_id, diff_id, size) VALUES ('x', 'y', 1)")
        store.db.run("DELETE FROM layers")
    return str(tmp_path / "root")


def told(root: str) -> tuple[dict, list[str]]:
    """All that the store's index holds, and what was said about it."""
    notes: list[str] = []
    with Store(root, tell=notes.append) as store:
        return redo.dump(store.db._connection), notes


def log(root: str) -> Path:
    return Path(root, redo.NAME)


def number(root: str) -> int:
    with Store(root) as store:
        return store.db._where().number


def rubbish(path: str) -> None:
    Path(path).write_bytes(b"rubbish" * 5000)


def header(path: str) -> None:
    with open(path, "r+b") as file:
        file.write(b"\xff" * 100)


def half(path: str) -> None:
    os.truncate(path, os.stat(path).st_size // 2 // 4096 * 4096)


DAMAGES = {
    "missing": os.unlink,
    "of no size": lambda path: os.truncate(path, 0),
    "cut off in its header": lambda path: os.truncate(path, 50),
    "cut in half": half,
    "other content": rubbish,
    "header overwritten": header,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_made_anew(root, damage) -> None:
    before, notes = told(root)
    assert notes == []
    DAMAGES[damage](f"{root}/vitrine.db")
    after, notes = told(root)
    assert after == before
    (note,) = notes
    assert "made anew from vitrine.redo" in note and "entries" not in note, note
    kept = [name for name in os.listdir(root) if ".damaged-" in name and not name.endswith("-wal")]
    assert len(kept) == (damage != "missing") and all(name in note for name in kept)
    assert told(root) == (before, [])
    with Store(root) as store:
        assert store.verify() == []
        assert (
            store.db.insert("INSERT INTO layers (chain_id, diff_id, size) VALUES ('z', 'y', 1)") == 2
        )  # never again 1


def test_a_page_that_was_zeroed_is_told_and_repaired(root) -> None:
    before, _ = told(root)
    path = f"{root}/vitrine.db"
    connection = sqlite3.connect(path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'containers'").fetchone()
    connection.close()
    with open(path, "r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))
    with Store(root) as store, pytest.raises(StoreDamaged, match="damaged") as caught:
        for look in (store.containers.list, store.networks.list, store.images.list):
            look()
    assert "check --repair" in caught.value.hint
    with Store(root) as store:
        (note,) = store.mend()
        assert "made anew" in note
        assert store.mend() == []
        assert redo.dump(store.db._connection) == before
        assert store.verify() == []


def test_an_index_that_fell_behind_is_brought_up(root) -> None:
    shutil.copy(f"{root}/vitrine.db", f"{root}/old")
    with Store(root) as store:
        store.containers.rename(IDS[0], "renamed")
        store.db.insert("INSERT INTO layers (chain_id, diff_id, size) VALUES ('z', 'y', 1)")
        store.db.run("DELETE FROM layers")
    before, _ = told(root)
    os.replace(f"{root}/old", f"{root}/vitrine.db")  # as after a power cut, or when somebody deletes the journal
    assert told(root) == (before, [])
    with Store(root) as store:
        assert store.verify() == []


def test_one_from_before_the_logs_beginning_is_made_anew(root) -> None:
    shutil.copy(f"{root}/vitrine.db", f"{root}/old")
    with Store(root) as store:
        store.containers.rename(IDS[0], "renamed")
        store.db.renew_log()
        store.containers.rename(IDS[2], "too")
    before, _ = told(root)
    os.replace(f"{root}/old", f"{root}/vitrine.db")
    after, notes = told(root)
    assert after == before and "older than its log" in notes[0]


def test_a_transaction_whose_line_is_written_is_done(root) -> None:
    """Killed between the line and SQLite's commit."""
    shutil.copy(f"{root}/vitrine.db", f"{root}/old")
    with Store(root) as store:
        store.networks.create("late", {})
    os.replace(f"{root}/old", f"{root}/vitrine.db")
    with Store(root) as store:
        assert store.networks.get("late") == {}


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_line_was_never_done(root, cut) -> None:
    shutil.copy(f"{root}/vitrine.db", f"{root}/old")
    with Store(root) as store:
        store.networks.create("late", {"a": "b" * 50})
    os.replace(f"{root}/old", f"{root}/vitrine.db")
    os.truncate(log(root), log(root).stat().st_size - cut)
    with Store(root) as store:
        assert store.networks.get("late") is None
        store.networks.create("later", {})
        assert store.verify() == []
    os.unlink(f"{root}/vitrine.db")
    with Store(root) as store:
        assert set(store.networks.list()) == {"n", "later"}


@pytest.mark.parametrize(
    "damage", [os.unlink, rubbish, lambda path: os.truncate(path, 0), lambda path: os.truncate(path, 300)]
)
def test_a_damaged_log_is_written_anew_by_the_index(root, damage) -> None:
    before, _ = told(root)
    damage(log(root))
    assert told(root) == (before, [])
    os.unlink(f"{root}/vitrine.db")
    after, notes = told(root)
    assert after == before and len(notes) == 1


def test_a_damaged_line_in_the_middle_is_found(root) -> None:
    before, _ = told(root)
    lines = log(root).read_bytes().splitlines(keepends=True)
    middle = next(index for index, line in enumerate(lines) if IDS[2].encode() in line)
    lines[middle] = lines[middle].replace(b"cccc", b"dddd")
    with open(log(root), "r+b") as file:
        file.writelines(lines)
    with Store(root) as store:
        (fault,) = store.verify()
        assert "vitrine.redo" in fault and "is damaged" in fault
        assert "written anew" in store.verify(repair=True)[0]
        assert store.verify() == []
    # and without the repair nearly all of it comes out of it
    with open(log(root), "r+b") as file:
        file.seek(-20, os.SEEK_END)
        file.write(b"x")
    os.unlink(f"{root}/vitrine.db")
    after, _notes = told(root)
    assert set(after) >= set(before) - {"volumes"}


def test_without_both_nothing_is_touched(root) -> None:
    os.unlink(log(root))
    for damage in (header, os.unlink):
        damage(f"{root}/vitrine.db")
        for _ in range(2):
            with pytest.raises(StoreDamaged, match="nor can its log") as caught:
                told(root)
            assert "containers/ID/upper" in caught.value.hint
    assert sorted(os.listdir(f"{root}/containers")) == [IDS[0], IDS[1], IDS[2]]


def test_a_store_whose_making_was_killed_is_just_made(tmp_path) -> None:
    root = str(tmp_path / "new")
    with Store(root) as store:
        store.db  # noqa: B018
    os.truncate(f"{root}/vitrine.db", 0)
    _tables, notes = told(root)
    assert [name for name in os.listdir(root) if ".damaged-" in name] == [] and "kept" not in notes[0]


def test_one_who_has_the_old_index_open_is_told(root) -> None:
    with Store(root) as old:
        old.containers.list()
        os.unlink(f"{root}/vitrine.db")
        told(root)
        with pytest.raises((Conflict, StoreDamaged)) as caught, old.db.transaction():
            old.containers.rename(IDS[0], "lost")
        assert "anew" in str(caught.value)
    with Store(root) as store:
        assert store.containers.get(IDS[0]).name == "aaaa"


def test_the_log_is_written_anew_when_it_is_long(root) -> None:
    with Store(root) as store:
        store.networks.create("large", {"a": "b" * 100_000})
        for index in range(25):
            store.networks.update("large", {"a": str(index) * 50_000})
        assert log(root).stat().st_size < 2 << 20
        before = redo.dump(store.db._connection)
        assert store.verify() == []
    os.unlink(f"{root}/vitrine.db")
    assert told(root)[0] == before


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_does_not_take_the_line(root, monkeypatch, call, code) -> None:
    before, _ = told(root)
    with Store(root) as store:
        store.networks.list()

        def fails(*_arguments: object) -> int:
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails)
            with pytest.raises(DiskFull if code == errno.ENOSPC else StoreDamaged):
                store.networks.create("late", {})
        assert redo.dump(store.db._connection) == before
        store.networks.create("late", {})
        assert store.verify() == []
    os.unlink(f"{root}/vitrine.db")
    with Store(root) as store:
        assert store.networks.get("late") == {}


def test_an_index_of_an_older_engine_gets_its_log(root) -> None:
    before, _ = told(root)
    with Store(root) as store:
        store.db._connection.execute("DELETE FROM meta WHERE key = 'redo'")
    os.unlink(log(root))
    assert told(root) == (before, [])
    os.unlink(f"{root}/vitrine.db")
    assert told(root)[0] == before


def test_a_newer_engines_log_is_not_guessed_at(root) -> None:
    content = redo.read(log(root).read_bytes())
    assert content is not None and content.version == len(MIGRATIONS)
    lines = log(root).read_bytes().splitlines(keepends=True)
    lines[0] = redo.line(["vitrine", redo.FORMAT, len(MIGRATIONS) + 1, content.first, content.sequences])
    log(root).write_bytes(b"".join(lines))
    os.unlink(f"{root}/vitrine.db")
    with pytest.raises(StoreDamaged):
        told(root)
