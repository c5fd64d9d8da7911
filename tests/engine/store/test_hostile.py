# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile archives unpacked for real: nothing outside of the layer is touched, nothing follows a link of theirs."""

from __future__ import annotations

import gzip
import os
import stat
import tempfile
from pathlib import Path

import pytest
from helpers import GZIP, PLAIN, archive_of, digest_of, look, unpack

from vitrine.errors import ContentMismatch, InvalidInput, NotFound, UnsupportedContent, VitrineError
from vitrine.store import Store
from vitrine.store.layers import parallel
from vitrine.store.layers.entry import Entry

F, H, L, D = b"0", b"1", b"2", b"5"


@pytest.fixture
def outside(tmp_path):
    """A directory of the host that archives try to reach; it must stay as it is."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "shadow").write_text("secret")
    (path / "shadow").chmod(0o600)
    (path / "sub").mkdir()
    before, times = look(path), os.stat(path).st_mtime_ns
    yield path
    assert look(path) == before
    assert os.stat(path).st_mtime_ns == times


def link(name: bytes, target: object) -> Entry:
    return Entry(name, L, 0o777, link=os.fsencode(target))  # type: ignore[arg-type]


def attempt(store, *items) -> dict:
    """Unpack; returns the layer's look, or {} when the archive was refused."""
    try:
        layer = unpack(store, archive_of(*items))
    except InvalidInput as error:
        assert error.hint
        return {}
    return look(store.layers.path(layer.chain_id))


def test_link_then_write(store, outside) -> None:
    """The link means something inside of the layer: what is written through it lands there."""
    tree = attempt(store, link(b"out", outside), (Entry(b"out/shadow"), b"overwritten"))
    inside = os.fsencode(str(outside)).lstrip(b"/") + b"/shadow"
    assert inside in tree


def test_relative_links_that_climb(store, outside) -> None:
    climb = "../" * 40 + str(outside).lstrip("/")
    attempt(store, link(b"out", climb), (Entry(b"out/shadow"), b"overwritten"), Entry(b"out/new", D))


def test_chain_of_links(store, outside) -> None:
    links = [link(b"l0", outside)] + [link(b"l%d" % number, b"l%d" % (number - 1)) for number in range(1, 300)]
    assert attempt(store, *links, (Entry(b"l299/shadow"), b"overwritten")) == {}
    attempt(store, *links, (Entry(b"l20/shadow"), b"overwritten"))


def test_link_circle(store) -> None:
    assert attempt(store, link(b"a", b"b"), link(b"b", b"a"), (Entry(b"a/x"), b"x")) == {}


def test_file_over_link(store, outside) -> None:
    """A later entry of the same name replaces the link, and is not written through it."""
    tree = attempt(store, link(b"out", outside / "shadow"), (Entry(b"out"), b"mine"))
    assert stat.S_ISREG(int(tree[b"out"][0], 8))


def test_directory_over_link_then_attributes(store, outside) -> None:
    tree = attempt(store, link(b"out", outside), Entry(b"out", D, 0o777, 5, 5, 0, 1), Entry(b"out/x", D, 0o777))
    assert stat.S_ISDIR(int(tree[b"out"][0], 8))


def test_link_over_directory_with_late_attributes(store, outside) -> None:
    """Times and setgid bits of directories are set at the end: not on what took their place meanwhile."""
    before = os.stat(outside / "sub")
    attempt(
        store,
        Entry(b"a", D, 0o2777, 0, 0, 0, 1),
        Entry(b"a/sub", D, 0o2777, 0, 0, 0, 1),
        link(b"a", outside),
        Entry(b"z"),
    )
    after = os.stat(outside / "sub")
    assert (before.st_mode, before.st_mtime_ns) == (after.st_mode, after.st_mtime_ns)


@pytest.mark.parametrize("through", [False, True])
def test_hard_links_do_not_reach_out(store, outside, through) -> None:
    target = os.fsencode(str(outside / "shadow"))
    items = [link(b"out", outside)] if through else []
    name = b"out/shadow" if through else target
    assert attempt(store, *items, Entry(b"stolen", H, link=name)) == {}
    assert attempt(store, *items, Entry(b"stolen", H, link=b"../" * 40 + target.lstrip(b"/"))) == {}


def test_hard_link_to_a_link_is_the_link(store, outside) -> None:
    tree = attempt(store, link(b"l", outside / "shadow"), Entry(b"h", H, link=b"l"), (Entry(b"h2", H, link=b"h"), b""))
    assert all(stat.S_ISLNK(int(tree[name][0], 8)) for name in (b"l", b"h", b"h2"))


def test_hard_link_then_write_makes_a_new_file(store) -> None:
    tree = attempt(store, (Entry(b"a"), b"one"), Entry(b"b", H, link=b"a"), (Entry(b"b"), b"two"))
    assert tree[b"a"][4] != tree[b"b"][4]


def test_whiteouts_do_not_reach_out(store, outside) -> None:
    attempt(store, link(b"out", outside), Entry(b"out/.wh.shadow"), Entry(b"out/.wh..wh..opq"))
    for name in (b".wh.", b".wh..", b".wh...", b"a/.wh..."):
        assert attempt(store, Entry(name)) == {}


def test_devices_that_overlay_takes_for_whiteouts(store) -> None:
    assert attempt(store, Entry(b"null", b"3", 0o666)) == {}


def test_overlay_attributes_are_not_taken(store) -> None:
    xattrs = {"trusted.overlay.redirect": b"/etc", "trusted.overlay.opaque": b"y", "user.overlay.metacopy": b""}
    layer = unpack(store, archive_of(Entry(b"d", D, 0o755, xattrs=xattrs), Entry(b"f", xattrs=xattrs)))
    path = store.layers.path(layer.chain_id)
    assert os.listxattr(path + "/d") == os.listxattr(path + "/f") == []


def test_duplicates_the_later_wins(store) -> None:
    tree = attempt(
        store,
        (Entry(b"x", mode=0o600), b"one"), (Entry(b"x", mode=0o640), b"two"),
        Entry(b"d", D, 0o700), Entry(b"d/in"), Entry(b"d", D, 0o750), Entry(b"e", D), Entry(b"e/in"), Entry(b"e"),
    )  # fmt: skip
    assert tree[b"x"][0] == oct(stat.S_IFREG | 0o640)
    assert tree[b"d"][0] == oct(stat.S_IFDIR | 0o750) and b"d/in" in tree
    assert stat.S_ISREG(int(tree[b"e"][0], 8)) and b"e/in" not in tree


@pytest.mark.parametrize(
    "items",
    [
        (Entry(b"../x"),),
        (Entry(b"f"), Entry(b"f/x")),
        (Entry(b"n" * 256),),
        (Entry(b"/".join([b"d"] * 600)),),
        (Entry(b"missing", H, link=b"nowhere"),),
        (Entry(b"missing", H, link=b"no/where"),),
        (Entry(b"."),),
    ],
)
def test_refused(store, items) -> None:
    assert attempt(store, *items) == {}
    assert os.listdir(store.layers.root) == []


def test_wrong_diff_id(store) -> None:
    data = archive_of(Entry(b"x"))
    blob = store.blobs.path(store.blobs.put(data))
    wrong = digest_of(b"other")
    with pytest.raises(ContentMismatch):
        store.layers.unpack(blob, PLAIN, diff_id=wrong, chain_id=wrong, parent=None)
    assert os.listdir(store.layers.root) == []


@pytest.mark.parametrize("cut", [10, 100, -1])
def test_truncated_gzip(store, cut) -> None:
    raw = archive_of((Entry(b"x"), os.urandom(5000)))
    blob = store.blobs.path(store.blobs.put(gzip.compress(raw)[:cut]))
    with pytest.raises(InvalidInput):
        store.layers.unpack(blob, GZIP, diff_id=digest_of(raw), chain_id=digest_of(raw), parent=None)


def test_hundreds_of_gzip_members(store) -> None:
    raw = archive_of((Entry(b"x"), os.urandom(50_000)))
    data = b"".join(gzip.compress(raw[start : start + 200]) for start in range(0, len(raw), 200))
    blob = store.blobs.path(store.blobs.put(data + gzip.compress(b"") * 200))
    store.layers.unpack(blob, GZIP, diff_id=digest_of(raw), chain_id=digest_of(raw), parent=None)


def test_unknown_media_type_and_zstd(store) -> None:
    with pytest.raises(UnsupportedContent):
        store.layers.unpack("/dev/null", "text/plain", diff_id="sha256:0", chain_id="sha256:0", parent=None)
    blob = store.blobs.path(store.blobs.put(b"\x28\xb5\x2f\xfd rubbish"))
    kind = "application/vnd.oci.image.layer.v1.tar+zstd"
    with pytest.raises((UnsupportedContent, InvalidInput), match="zstd"):
        store.layers.unpack(blob, kind, diff_id=digest_of(b""), chain_id=digest_of(b""), parent=None)


def test_a_bomb_ends_before_the_disk_does(store, monkeypatch) -> None:
    """The ratio stops it (the limits are lowered here, before the workers fork)."""
    from vitrine.store.layers import stream

    monkeypatch.setattr(stream, "RATIO_MATTERS_FROM", 1 << 20)
    raw = archive_of((Entry(b"zeros"), bytes(50 << 20)))
    blob = store.blobs.path(store.blobs.put(gzip.compress(raw)))
    with pytest.raises(InvalidInput, match="inflates"):
        store.layers.unpack(blob, GZIP, diff_id=digest_of(raw), chain_id=digest_of(raw), parent=None)
    assert os.listdir(store.layers.root) == []


def test_too_many_entries(store, monkeypatch) -> None:
    from vitrine.store.layers import read

    monkeypatch.setattr(read.Reader.__init__, "__defaults__", (100,))
    assert attempt(store, *(Entry(b"f%d" % number) for number in range(101))) == {}


def test_a_disk_that_is_nearly_full_is_left_alone(store, monkeypatch) -> None:
    monkeypatch.setattr(parallel, "RESERVE", 1 << 60)
    monkeypatch.setattr(parallel, "CHECK_EVERY", 1 << 20)
    raw = archive_of((Entry(b"x"), bytes(4 << 20)))
    blob = store.blobs.path(store.blobs.put(raw))
    with pytest.raises(VitrineError, match="no space"):
        store.layers.unpack(blob, PLAIN, diff_id=digest_of(raw), chain_id=digest_of(raw), parent=None)


# -- cp ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    """An open directory that stands for a container's root."""
    path = tmp_path / "rootfs"
    path.mkdir()
    (path / "opt").mkdir()
    (path / "run").mkdir()
    (path / "var").mkdir()
    (path / "var/run").symlink_to("/run")
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    yield path, fd
    os.close(fd)


def test_copy_in_and_out(store, root, tmp_path) -> None:
    path, fd = root
    data = archive_of(Entry(b"d", D, 0o2750, 5, 6, 0, 10**18), (Entry(b"d/f", F, 0o4711, 7, 8, 0, 10**18), b"content"))
    umask = os.umask(0o077)
    try:
        store.layers.copy_in(fd, "/opt", [data])
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(umask)
    parts: list[bytes] = []
    store.layers.copy_out(fd, "/opt/d", parts.append)
    assert b"".join(parts) == data
    store.layers.copy_in(fd, "/opt", [data], owner=(0, 0))
    assert (path / "opt/d/f").stat().st_uid == 0


def test_copy_through_the_roots_own_links(store, root) -> None:
    path, fd = root
    store.layers.copy_in(fd, "/var/run", [archive_of((Entry(b"pid"), b"1"))])
    assert (path / "run/pid").read_text() == "1"
    parts: list[bytes] = []
    store.layers.copy_out(fd, "/var/run/pid", parts.append)
    assert b"".join(parts)[:3] == b"pid"
    parts.clear()
    store.layers.copy_out(fd, "/var/run", parts.append)
    assert b"".join(parts)[156:157] == L
    parts.clear()
    store.layers.copy_out(fd, "/var/run/", parts.append, name=b"")
    assert b"".join(parts)[:3] == b"pid"


def test_copy_does_not_leave_the_root(store, root, outside) -> None:
    path, fd = root
    (path / "evil").symlink_to(outside)
    (path / "opt/evil").symlink_to("../" * 30 + str(outside).lstrip("/"))
    for target in ("/evil", "/opt/evil", "/../../.." + str(outside)):
        with pytest.raises(NotFound):
            store.layers.copy_in(fd, target, [archive_of((Entry(b"shadow"), b"x"))])
        with pytest.raises(NotFound):
            store.layers.copy_out(fd, target + "/shadow", lambda data: None)
    store.layers.copy_in(fd, "/opt", [archive_of((Entry(b"evil/shadow"), b"x"))])
    assert Path(str(path) + str(outside), "shadow").read_text() == "x"
    (path / "evil2").symlink_to(outside / "shadow")
    store.layers.copy_in(fd, "/", [archive_of((Entry(b"evil2"), b"x"))])
    assert not (path / "evil2").is_symlink()


def test_copy_never_replaces_a_directory_by_a_file(store, root) -> None:
    _path, fd = root
    with pytest.raises(VitrineError, match="is a directory"):
        store.layers.copy_in(fd, "/", [archive_of((Entry(b"opt"), b"x"))])
    with pytest.raises(NotFound):
        store.layers.copy_in(fd, "/none", [archive_of((Entry(b"opt"), b"x"))])


def test_copy_while_the_container_flips_its_directories(store, root, outside) -> None:
    """A directory on the way becomes a link to the outside and back, all the time."""
    path, fd = root
    (path / "opt/d").mkdir()
    (path / "opt/l").symlink_to(outside)
    data = archive_of((Entry(b"d/shadow"), b"stolen"), Entry(b"d/sub", D, 0o777), (Entry(b"d/sub/x"), b"x"))
    flipper = os.fork()
    if flipper == 0:
        while os.getppid() != 1:
            for one, other in (("d", "t"), ("l", "d"), ("d", "l"), ("t", "d")):
                try:
                    os.rename(path / "opt" / one, path / "opt" / other)
                except OSError:
                    pass
        os._exit(0)
    try:
        for _ in range(300):
            try:
                store.layers.copy_in(fd, "/opt", [data])
                store.layers.copy_out(fd, "/opt/d/shadow", lambda piece: _not_secret(piece))
            except (VitrineError, OSError):
                pass
    finally:
        os.kill(flipper, 9)
        os.waitpid(flipper, 0)


def _not_secret(piece: bytes) -> None:
    assert b"secret" not in piece


def test_users_of_the_host_cannot_run_what_is_setuid_in_a_layer() -> None:
    """In a place that all may enter, the store's own directories alone keep them out."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        with Store(folder + "/store") as store:
            layer = unpack(store, archive_of((Entry(b"su", mode=0o4755), b"#!/bin/sh\n")))
            path = store.layers.path(layer.chain_id) + "/su"
            assert os.stat(path).st_mode & 0o7777 == 0o4755
            assert run_as_nobody(path) == 13  # EACCES
            os.chmod(store.root, 0o755)
            os.chmod(store.layers.root, 0o755)
            assert run_as_nobody(path) == 0


def run_as_nobody(path: str) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            os.setuid(65534)
            os.execv(path, ["su"])
        except OSError as error:
            os._exit(error.errno or 0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
