# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A layer in the making: a directory that nobody else looks at, locked by its maker, and its way into the store.

``layers/.new-<random>`` holds ``tree``. Its maker holds a lock on it; without one it is left over, and anyone may
remove it. The way in: contents synced; then, in one transaction, a row for each layer, whose number becomes the name
of its directory. A crash before the commit leaves a numbered directory without a row: that is left over as well.
"""

from __future__ import annotations

import fcntl
import os

from ..disk import REMOVED, STAGING, make_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .. import Store


_FEW = 24  # entries that are synced one by one


class Staging:
    """One directory in the making; with-statement or close() removes what was not taken."""

    def __init__(self, folder: str) -> None:
        while True:
            self.path = f"{folder}/{STAGING}{os.urandom(8).hex()}"
            os.mkdir(self.path, 0o700)
            try:
                self.lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # removed as left over, before it was locked
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.stat(self.path).st_ino == os.fstat(self.lock).st_ino:
                    break
            except (BlockingIOError, FileNotFoundError):
                pass
            os.close(self.lock)
        self.tree = self.path + "/tree"
        try:
            os.mkdir(self.tree, 0o755)
            os.chmod(self.tree, 0o755)
        except BaseException:
            self.close()
            raise

    def open_tree(self) -> int:
        """Return the open tree."""
        return os.open("tree", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.lock)

    def close(self) -> None:
        """Remove the directory, unless what was in it has moved on: then only the rest."""
        if self.lock >= 0:
            from ...linux import fs

            fs.remove_tree(self.path)
            os.close(self.lock)
            self.lock = -1

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def sync_file_system(fd: int) -> None:
    """Make everything on the file system of fd durable: one call for thousands of files (syncfs(2))."""
    from ...linux.syscall import ctypes, libc

    call = getattr(libc, "syncfs", None)
    if call is None:
        os.sync()
    elif call(fd) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _sync_few(trees: list[str]) -> bool:
    """Make the files and directories of small trees durable, one by one; False, and nothing is promised, when they
    are many or hold anything else. What others have written to the disk meanwhile is not waited for then."""
    found: list[tuple[str, int]] = []
    for folder in (waiting := list(trees)):
        found.append((folder, os.O_DIRECTORY))
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    found.append((entry.path, 0))
                else:
                    return False
                if len(found) + len(waiting) > _FEW:
                    return False
    for path, kind in reversed(found):  # what is in a directory before the directory
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    return True


class Ready:
    """A layer whose tree is complete: what its row will say, and where it is now."""

    __slots__ = ("chain_id", "diff_id", "parent", "size", "blob", "blob_size", "media_type", "tree")

    def __init__(
        self,
        chain_id: str,
        diff_id: str,
        parent: str | None,
        size: int,
        tree: str,
        blob: str | None = None,
        blob_size: int | None = None,
        media_type: str | None = None,
    ) -> None:
        self.chain_id = chain_id
        self.diff_id = diff_id
        self.parent = parent
        self.size = size
        self.tree = tree
        self.blob = blob
        self.blob_size = blob_size
        self.media_type = media_type


_INSERT = (
    "INSERT INTO layers (chain_id, diff_id, parent, size, blob, blob_size, media_type) VALUES (?, ?, ?, ?, ?, ?, ?)"
)

_ADD_BLOB = "UPDATE layers SET blob = ?, blob_size = ?, media_type = ? WHERE chain_id = ? AND blob IS NULL"


def enter(store: Store, folder: str, layers: Iterable[Ready]) -> None:
    """Give layers (parents first) their places and rows. A layer that someone else was faster with is left alone.

    Raises OSError; then nothing was changed.
    """
    layers = list(layers)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    moved: list[tuple[str, str]] = []
    try:
        if not _sync_few([layer.tree for layer in layers]):
            sync_file_system(fd)
        db = store.db
        with db.transaction():
            try:
                for layer in layers:
                    if db.row("SELECT 1 FROM layers WHERE chain_id = ?", layer.chain_id):
                        if layer.blob is not None:
                            db.run(_ADD_BLOB, layer.blob, layer.blob_size, layer.media_type, layer.chain_id)
                        continue
                    number = db.insert(
                        _INSERT, layer.chain_id, layer.diff_id, layer.parent, layer.size,
                        layer.blob, layer.blob_size, layer.media_type,
                    )  # fmt: skip
                    final = f"{folder}/{number}"
                    if os.path.lexists(final):
                        discard(folder, str(number))  # left over by one who died here, just before committing
                    os.rename(layer.tree, final)
                    moved.append((layer.tree, final))
                os.fsync(fd)
            except BaseException:
                for tree, final in reversed(moved):
                    os.rename(final, tree)
                raise
    finally:
        os.close(fd)


def discard(folder: str, name: str) -> None:
    """Take a directory out of sight, then remove it: a crash between leaves something that is known to be rubbish."""
    rubbish = f"{folder}/{REMOVED}{os.urandom(8).hex()}"
    try:
        os.rename(f"{folder}/{name}", rubbish)
    except FileNotFoundError:
        return
    from ...linux import fs

    fs.remove_tree(rubbish)


def make_skeleton(folder: str) -> str:
    """Make (once) the layer below all others: what the runtime mounts upon, so that no container's layer gets it."""
    path = f"{folder}/skeleton"
    if not os.path.isdir(path):
        with Staging(folder) as staging:
            for name, mode in (("dev", 0o755), ("proc", 0o555), ("sys", 0o555), ("etc", 0o755)):
                make_directory(f"{staging.tree}/{name}", mode)
                os.chmod(f"{staging.tree}/{name}", mode)
            for name in ("hosts", "hostname", "resolv.conf"):
                with open(f"{staging.tree}/etc/{name}", "wb") as file:
                    os.fchmod(file.fileno(), 0o644)
            for name in ("etc/hosts", "etc/hostname", "etc/resolv.conf", "etc", "sys", "proc", "dev", ""):
                os.utime(f"{staging.tree}/{name}", (0, 0))
            try:
                os.rename(staging.tree, path)
            except OSError:
                if not os.path.isdir(path):
                    raise
    return path
