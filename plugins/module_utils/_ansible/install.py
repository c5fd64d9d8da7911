# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put the engine's sources on a target: the half that runs there. Stdlib only, in one file.

The module way imports this file; the short way sends its text and executes it (see provision.py). A folder is named
by the digest of what it holds, belongs to root, is complete from the moment its name exists, and never changes.
"""

from __future__ import annotations

import io
import json
import os
import stat
import sys
import time
import zipfile

KEPT = 3  # folders of other digests that stay in any case
MIN_AGE = 86400  # seconds; nothing younger is cleaned up
NOT_ROOT = "containers need root on the target, and this is user {} (set become: true)"


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_folder(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def unpack(archive: bytes, folder: str) -> list[str]:
    """Write a zip's files below folder; returns their paths. Raises ValueError for a name that leads out of it."""
    written = []
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        for name in packed.namelist():
            parts = name.split("/")
            if name.startswith("/") or ".." in parts or "" in parts:
                raise ValueError(f"bad name in the engine's archive: {name!r}")
            path = os.path.join(folder, *parts)
            os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
            _write(path, packed.read(name))
            written.append(path)
    return written


def _compile(paths: list[str], folder: str, final: str) -> None:
    """Byte-compile; tracebacks name the final place. Unchecked: what never changes need not be looked at again."""
    import py_compile

    for path in paths:
        shown = final + path[len(folder) :]
        cached = py_compile.compile(
            path, dfile=shown, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
        fd = os.open(str(cached), os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def check_base(base: str) -> None:
    """Make the folder that holds all digests, or refuse one that others than root could have filled."""
    os.makedirs(base, 0o755, exist_ok=True)
    status = os.lstat(base)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != 0 or status.st_mode & 0o022:
        raise PermissionError(f"{base} must be a folder that only root can write: remove it or correct it")


def install(folder: str, engine: bytes, packages: bytes = b"") -> None:
    """Make folder, holding the packages of two zips: the engine, and what the target's Python lacks ("")."""
    import shutil
    import tempfile

    base = os.path.dirname(folder)
    os.umask(0o022)
    check_base(base)
    fresh = tempfile.mkdtemp(prefix=".new-", dir=base)
    try:
        os.chmod(fresh, 0o755)
        _compile(unpack(engine, fresh), fresh, folder)
        if packages:
            unpack(packages, os.path.join(fresh, "site-packages"))
        for place, _folders, _files in os.walk(fresh):
            _sync_folder(place)
        try:
            os.rename(fresh, folder)
        except OSError:
            if not os.path.isdir(folder):
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    _sync_folder(base)
    clean(base, folder)


def add_packages(folder: str, packages: bytes) -> None:
    """Give an engine that is there the Python packages that its host turned out to lack."""
    import shutil
    import tempfile

    place = os.path.join(folder, "site-packages")
    fresh = tempfile.mkdtemp(prefix=".new-", dir=os.path.dirname(folder))
    try:
        os.chmod(fresh, 0o755)
        unpack(packages, fresh)
        if not os.path.isdir(place):
            os.rename(fresh, place)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    _sync_folder(folder)


def _in_use(base: str) -> set[str]:
    """Folders that a running process names on its command line: monitors of running containers do."""
    used = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().decode("utf-8", "replace")
        except OSError:
            continue
        if base in words:
            used.update(rest.split("/")[0].split("\0")[0][:64] for rest in words.split(base + "/")[1:])
    return used


def clean(base: str, current: str) -> None:
    """Remove folders that nobody can need: not in use, not linked, old, and not among the newest."""
    import shutil

    keep = {os.path.basename(current)}
    entries = []
    for name in os.listdir(base):
        path = os.path.join(base, name)
        if os.path.islink(path):
            keep.add(os.path.basename(os.path.realpath(path)))
        elif os.path.isdir(path):
            entries.append((os.lstat(path).st_mtime, name, path))
    keep |= _in_use(base)
    entries.sort(reverse=True)
    spare = KEPT
    for changed, name, path in entries:
        if name in keep:
            continue
        if not name.startswith("."):
            spare -= 1
            if spare >= 0:
                continue
        if time.time() - changed > MIN_AGE:
            shutil.rmtree(path, ignore_errors=True)


def serve(folder: str) -> None:
    """Hand over to the engine in folder; the request is what is left on standard input."""
    sys.path[:0] = [folder]
    from vitrine.engine.desired.serve import main

    main()


def receive() -> None:
    """The short way's second command: header line, two zips and the request come on standard input.

    Header: {"folder": where, "engine": bytes, "packages": bytes, "keep": false in check mode}. Without keep the
    engine is gone again when the request is answered: check mode changes nothing.
    """
    import shutil
    import tempfile

    source = sys.stdin.buffer
    header = json.loads(source.readline())
    engine = source.read(header["engine"])
    packages = source.read(header["packages"])
    if header["keep"]:
        if not os.path.isdir(header["folder"]):
            install(header["folder"], engine, packages)
        elif packages:
            add_packages(header["folder"], packages)
        serve(header["folder"])
        return
    sys.dont_write_bytecode = True
    folder = tempfile.mkdtemp(prefix="vitrine-check-")
    try:
        unpack(engine, folder)
        if packages:
            unpack(packages, os.path.join(folder, "site-packages"))
        serve(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
