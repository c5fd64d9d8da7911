# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stores on the real file system, and what a tree looks like, for comparing two."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from vitrine.store import Store
from vitrine.store.layers.write import Writer

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
TIME = 1_600_000_000
PLAIN = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture(autouse=True)
def _root_only() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes devices, owners and mounts")


@pytest.fixture
def make_store(tmp_path: Path):
    stores: list[Store] = []

    def make(name: str = "store", driver: str | None = None) -> Store:
        stores.append(Store(str(tmp_path / name), driver=driver))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def store(make_store) -> Store:
    return make_store()


def look(root: str | Path) -> dict[bytes, tuple]:
    """Everything about every file below root: what must survive a round trip (times in whole seconds)."""
    result: dict[bytes, tuple] = {}
    first: dict[tuple[int, int], bytes] = {}
    top = os.fsencode(root)
    for folder, folders, files in os.walk(top):
        folders.sort()
        for name in sorted(folders + files):
            path = os.path.join(folder, name)
            status = os.lstat(path)
            shown = os.path.relpath(path, top)
            what: object = None
            if stat.S_ISREG(status.st_mode):
                what = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                what = os.readlink(path)
            elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                what = status.st_rdev
            xattrs = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
                if not key.startswith("trusted.overlay")
            }
            twin = None
            if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                twin = first.setdefault((status.st_dev, status.st_ino), shown)
            result[shown] = (
                oct(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns // 10**9, what, xattrs, twin
            )  # fmt: skip
    return result


def capability() -> bytes:
    """security.capability of cap_net_raw=ep (revision 2)."""
    return bytes.fromhex("0100000200200000000000000000000000000000")


def rich_tree(path: Path) -> Path:
    """A tree with everything that an image may hold."""
    path.mkdir()
    (path / "etc").mkdir()
    (path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (path / "bin").symlink_to("usr/bin")
    (path / "usr").mkdir()
    (path / "usr/bin").mkdir()
    tool = path / "usr/bin/tool"
    tool.write_bytes(b"#!/bin/sh\n" * 1000)
    os.chown(tool, 1000, 2_000_000_000)
    tool.chmod(0o4755)
    ping = path / "usr/bin/ping"
    ping.write_bytes(b"ping")
    os.setxattr(ping, "security.capability", capability())
    os.setxattr(ping, "user.note", b"\0binary\xff=\n")
    os.link(ping, path / "usr/bin/ping6")
    os.symlink("/nowhere/" + "x" * 150, path / "dangling")
    os.mkfifo(path / "fifo", 0o640)
    os.mknod(path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(path / "disk", stat.S_IFBLK | 0o660, os.makedev(8, 0))
    for name in (b"caf\xe9", b"caf\xe9" * 50, b"n" * 250, b"new\nline", b"..data", b"uni\xc3\xa9"):
        (path / os.fsdecode(name)).write_bytes(name)
    (path / os.fsdecode(b"/".join([b"deep" * 20] * 10))).mkdir(parents=True)
    with open(path / "sparse", "wb") as file:
        file.truncate(10_000_000)
        file.seek(5_000_000)
        file.write(b"middle")
    (path / "tmp").mkdir()
    (path / "tmp").chmod(0o1777)
    (path / "mail").mkdir()
    os.chown(path / "mail", 0, 8)
    (path / "mail").chmod(0o2775)
    (path / "mail/root").write_text("you have mail")
    os.chown(path / "mail/root", 0, 0)
    (path / "empty").mkdir()
    for folder, _folders, files in os.walk(path, topdown=False):
        for name in files:
            os.utime(os.path.join(folder, name), (TIME, TIME), follow_symlinks=False)
        os.utime(folder, (TIME, TIME))
    os.utime(path / "etc/passwd", (-100, -100))
    os.utime(path / "usr/bin/tool", (2**33, 2**33))
    os.utime(path / "dangling", (5, 5), follow_symlinks=False)
    os.utime(path / "usr", (77, 77))
    os.utime(path / "mail", (78, 78))
    return path


def archive_of(*items) -> bytes:
    """A plain archive of entries; (entry, content) for files with content."""
    parts: list[bytes] = []
    writer = Writer(lambda data: parts.append(bytes(data)))
    for item in items:
        entry, content = item if isinstance(item, tuple) else (item, b"")
        writer.add_bytes(entry, content)
    writer.close()
    return b"".join(parts)


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def unpack(store: Store, data: bytes, parent: str | None = None):
    """Put a plain archive into a store as a layer."""
    diff_id = digest_of(data)
    chain_id = diff_id if parent is None else digest_of(f"{parent} {diff_id}".encode())
    blob = store.blobs.put(data)
    return store.layers.unpack(store.blobs.path(blob), PLAIN, diff_id=diff_id, chain_id=chain_id, parent=parent)


def image_of(store: Store, *layers) -> str:
    """Record an image of layers."""
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    return store.images.add(json.dumps(config).encode())


def transfer(source: Store, target: Store, chain_id: str) -> None:
    """Pull a chain of layers from one store into another, through their blobs."""
    chain = []
    current: str | None = chain_id
    while current is not None:
        layer = source.layers.get(current)
        chain.append(layer)
        current = layer.parent
    with target.layers.unpacker() as unpacker:
        for layer in chain:  # the topmost first: any order must do
            digest, size, media_type = source.layers.ensure_blob(layer.chain_id)
            writer = target.blobs.writer(digest, size)
            writer.write(Path(source.blobs.path(digest)).read_bytes())
            writer.commit()
            unpacker.add(
                target.blobs.path(digest),
                media_type,
                diff_id=layer.diff_id,
                chain_id=layer.chain_id,
                parent=layer.parent,
            )
        unpacker.finish()
