# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clearing away: what killed processes left, and what nothing needs any more."""

from __future__ import annotations

import fcntl
import os
import time

from .disk import REMOVED, STAGING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import Store

PARTIAL_DAYS = 7

_NEEDED = """
    WITH RECURSIVE needed (chain_id) AS (
        SELECT chain_id FROM image_layers
        UNION SELECT chain_id FROM containers WHERE chain_id IS NOT NULL
        UNION SELECT layers.parent FROM layers JOIN needed ON layers.chain_id = needed.chain_id
            WHERE layers.parent IS NOT NULL
    ) SELECT id, chain_id FROM layers WHERE chain_id NOT IN (SELECT chain_id FROM needed) ORDER BY id DESC
"""


def recover(store: Store) -> None:
    """See Store.recover."""
    folder = os.path.join(store.root, "layers")
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in _names(os.path.join(store.root, "volumes")):
        if name.startswith(REMOVED):
            _remove(f"{store.root}/volumes/{name}")
    numbers = set()
    for name in names:
        if name.startswith(STAGING):
            _remove_unless_locked(f"{folder}/{name}")
        elif name.startswith(REMOVED):
            _remove(f"{folder}/{name}")
        elif name.isdigit():
            numbers.add(int(name))
    if numbers and not numbers.issubset(store.db.column("SELECT id FROM layers")):
        from .layers.staging import discard

        with store.db.transaction():  # excludes whoever is just giving a layer its row
            known = set(store.db.column("SELECT id FROM layers"))
            for name in os.listdir(folder):
                if name.isdigit() and int(name) not in known:
                    discard(folder, name)
    if (numbers or os.path.exists(os.path.join(store.root, "vitrine.db"))) and store.db.row(
        "SELECT 1 FROM meta WHERE key = 'garbage'"
    ):
        collect(store)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _remove(path: str) -> None:
    from ..linux.fs import remove_tree

    remove_tree(path)


def _remove_unless_locked(path: str) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(path)
    except BlockingIOError:
        pass
    finally:
        os.close(fd)


def collect(store: Store) -> list[str]:
    """See Store.collect."""
    from .layers.staging import discard

    lock = os.open(os.path.join(store.root, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    store.release()
    db = store.db
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            db.run("INSERT OR REPLACE INTO meta VALUES ('garbage', '1')")
            return []
        with db.transaction():
            gone = db.rows(_NEEDED)
            for number, _chain_id in gone:  # the newest first: no layer goes before those that stand on it
                db.run("DELETE FROM layers WHERE id = ?", number)
            db.run("INSERT OR REPLACE INTO meta VALUES ('garbage', '1')")  # until all of it is gone
            needed = _needed_blobs(store)
        for number, _chain_id in gone:
            discard(store.layers.root, str(number))
        for digest in set(store.blobs.all()) - needed:
            store.blobs.remove(digest)
            db.run("DELETE FROM blob_sources WHERE digest = ?", digest)
        _sweep_partial(store)
        db.run("DELETE FROM meta WHERE key = 'garbage'")
        return [chain_id for _number, chain_id in gone]
    finally:
        os.close(lock)


def _needed_blobs(store: Store) -> set[str]:
    from ..oci import digest as digests

    db = store.db
    needed = set(db.column("SELECT blob FROM layers WHERE blob IS NOT NULL"))
    needed.update(db.column("SELECT id FROM images"))
    needed.update(reference.partition("@")[2] for reference in db.column("SELECT reference FROM digests"))
    needed.update(digests.of(data) for data in db.column("SELECT manifest FROM images WHERE manifest IS NOT NULL"))
    return needed


def _sweep_partial(store: Store) -> None:
    """Downloads that nobody carried on for days, and half-made blobs (we have the lock, so their makers are dead)."""
    oldest = time.time() - PARTIAL_DAYS * 86400
    for folder, prefix, limit in (("partial", "", oldest), ("sha256", ".new-", float("inf"))):
        path = os.path.join(store.blobs.root, folder)
        try:
            names = os.listdir(path)
        except FileNotFoundError:
            continue
        for name in names:
            if name.startswith(prefix) and (prefix or name) and os.stat(f"{path}/{name}").st_mtime < limit:
                os.unlink(f"{path}/{name}")
