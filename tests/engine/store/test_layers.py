# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers on the real kernel: everything survives, for every driver, and other people's programs agree."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import stat
import struct
import subprocess
from pathlib import Path

import pytest
from helpers import GZIP, PLAIN, TIME, archive_of, digest_of, image_of, look, rich_tree, transfer, unpack

from vitrine.errors import Conflict, DiskFull, InvalidInput, NotFound, StoreDamaged
from vitrine.linux import features
from vitrine.store.layers import aufs
from vitrine.store.layers.entry import Entry

DRIVERS = ["overlay", "copy"]
SKELETON = {b"dev", b"proc", b"sys", b"etc/hosts", b"etc/hostname", b"etc/resolv.conf"}


def without_skeleton(tree: dict) -> dict:
    return {name: value for name, value in tree.items() if name not in SKELETON}


def seen(store, plan) -> dict:
    with store.layers.mounted(plan) as fd:
        return without_skeleton(look(f"/proc/self/fd/{fd}/."))


@pytest.mark.parametrize("driver", DRIVERS)
def test_everything_survives_a_round_trip(make_store, tmp_path, driver) -> None:
    tree = rich_tree(tmp_path / "tree")
    expected = look(tree)
    one, two = make_store("one", driver), make_store("two", driver)
    layer = one.layers.import_tree(str(tree))
    assert look(one.layers.path(layer.chain_id)) == expected
    transfer(one, two, layer.chain_id)
    assert look(two.layers.path(layer.chain_id)) == expected
    folder = tmp_path / "container"
    folder.mkdir()
    assert seen(two, two.layers.prepare_root(str(folder), layer.chain_id)) == expected
    assert one.verify() == [] and two.verify() == []


def test_drivers_agree_about_digests(make_store, tmp_path) -> None:
    """What a container changed has one digest, whichever driver looks."""
    tree = rich_tree(tmp_path / "tree")
    ids = []
    for driver in DRIVERS:
        store = make_store(driver, driver)
        base = store.layers.import_tree(str(tree))
        folder = tmp_path / f"c-{driver}"
        folder.mkdir()
        plan = store.layers.prepare_root(str(folder), base.chain_id)
        with store.layers.mounted(plan) as fd:
            change(fd)
        assert store.layers.changes(str(folder), base.chain_id) == [
            ("C", b"/etc"), ("A", b"/etc/new"), ("D", b"/etc/passwd"), ("D", b"/fifo"), ("C", b"/mail"),
            ("C", b"/usr"), ("C", b"/usr/bin"), ("C", b"/usr/bin/tool"),
        ]  # fmt: skip
        layer = store.layers.commit_upper(plan["upper"], parent=base.chain_id)
        ids.append((base.diff_id, layer.diff_id))
        assert seen(store, plan) == seen(
            store, store.layers.prepare_root(made(tmp_path / f"d-{driver}"), layer.chain_id)
        )
        assert store.verify() == []
    assert ids[0] == ids[1]


def made(path: Path) -> str:
    path.mkdir()
    return str(path)


def change(fd: int) -> None:
    """Change something of each kind; all times are fixed."""
    os.unlink("etc/passwd", dir_fd=fd)
    os.unlink("fifo", dir_fd=fd)
    new = os.open("etc/new", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=fd)
    os.write(new, b"new")
    os.utime(new, (1000, 1000))
    os.close(new)
    tool = os.open("usr/bin/tool", os.O_WRONLY, dir_fd=fd)
    os.write(tool, b"X")
    os.utime(tool, (2000, 2000))
    os.close(tool)
    os.chmod("mail", 0o700, dir_fd=fd)
    os.chown("mail/root", 0, 0, dir_fd=fd)
    for name in ("etc", "usr/bin", "usr", "mail", "."):
        os.utime(name, (3000, 3000), dir_fd=fd)
    os.utime("mail/root", (TIME, TIME), dir_fd=fd)  # as it was: no change


@pytest.mark.parametrize("driver", DRIVERS)
def test_nothing_changed_is_nothing_to_commit(make_store, tmp_path, driver) -> None:
    store = make_store("s", driver)
    base = store.layers.import_tree(str(rich_tree(tmp_path / "tree")))
    plan = store.layers.prepare_root(made(tmp_path / "c"), base.chain_id)
    with store.layers.mounted(plan) as fd:
        os.close(os.open("tmp/x", os.O_CREAT, dir_fd=fd))
        os.unlink("tmp/x", dir_fd=fd)  # changes tmp's time
        os.close(os.open("usr/bin/tool", os.O_RDWR, dir_fd=fd))  # overlay copies it up
    assert store.layers.changes(str(tmp_path / "c"), base.chain_id) == []
    assert store.layers.commit_upper(plan["upper"], parent=base.chain_id) is None


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_change_that_hides_behind_its_time_is_found(make_store, tmp_path, driver) -> None:
    """Same size, same time, other content."""
    store = make_store("s", driver)
    base = store.layers.import_tree(str(rich_tree(tmp_path / "tree")))
    plan = store.layers.prepare_root(made(tmp_path / "c"), base.chain_id)
    with store.layers.mounted(plan) as fd:
        before = os.stat("usr/bin/tool", dir_fd=fd).st_mtime_ns
        tool = os.open("usr/bin/tool", os.O_RDWR, dir_fd=fd)
        os.write(tool, b"Z")
        os.utime(tool, ns=(before, before))
        os.close(tool)
    assert store.layers.changes(str(tmp_path / "c"), base.chain_id) == [
        ("C", b"/usr"), ("C", b"/usr/bin"), ("C", b"/usr/bin/tool")
    ]  # fmt: skip


@pytest.mark.parametrize("driver", DRIVERS)
def test_whiteouts_and_opaque_directories_of_pulled_layers(make_store, tmp_path, driver) -> None:
    store = make_store("s", driver)
    base = unpack(
        store,
        archive_of(
            Entry(b"d", b"5", 0o755),
            Entry(b"d/one"),
            Entry(b"d/two"),
            Entry(b"gone"),
            Entry(b"o", b"5", 0o750),
            Entry(b"o/old"),
            Entry(b"kind", b"5", 0o755),
            Entry(b"kind/in"),
            Entry(b"both", b"5", 0o755),
            Entry(b"both/old"),
        ),
    )
    top = unpack(
        store,
        archive_of(
            Entry(b"d/.wh.one"),
            Entry(b".wh.gone"),
            Entry(b"o", b"5", 0o700),
            Entry(b"o/new"),
            Entry(b"o/.wh..wh..opq"),
            Entry(b".wh.kind"),
            Entry(b"kind"),
            Entry(b".wh.never"),
            Entry(b"both", b"5", 0o755),
            Entry(b"both/new"),
            Entry(b".wh.both"),
            Entry(b".wh..wh.aufs"),
            Entry(b".wh..wh.orph", b"5"),
        ),
        base.chain_id,
    )
    view = seen(store, store.layers.prepare_root(made(tmp_path / "c"), top.chain_id))
    assert sorted(view) == [b"both", b"both/new", b"d", b"d/two", b"etc", b"kind", b"o", b"o/new"]
    assert stat.S_ISREG(int(view[b"kind"][0], 8))
    assert view[b"o"][0] == oct(stat.S_IFDIR | 0o700)
    assert store.verify() == []


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_opaque_directory_survives_commit_and_pull(make_store, tmp_path, driver) -> None:
    one, two = make_store("one", driver), make_store("two", driver)
    base = one.layers.import_tree(str(rich_tree(tmp_path / "tree")))
    plan = one.layers.prepare_root(made(tmp_path / "c"), base.chain_id)
    with one.layers.mounted(plan) as fd:
        shutil.rmtree(f"/proc/self/fd/{fd}/usr")
        os.mkdir("usr", 0o711, dir_fd=fd)
        os.close(os.open("usr/only", os.O_CREAT, dir_fd=fd))
    changes = one.layers.changes(str(tmp_path / "c"), base.chain_id)
    assert changes == [("C", b"/usr"), ("D", b"/usr/bin"), ("A", b"/usr/only")]
    layer = one.layers.commit_upper(plan["upper"], parent=base.chain_id)
    transfer(one, two, layer.chain_id)
    view = seen(two, two.layers.prepare_root(made(tmp_path / "d"), layer.chain_id))
    assert [name for name in sorted(view) if name.startswith(b"usr")] == [b"usr", b"usr/only"]
    assert one.verify() == [] and two.verify() == []


def test_implied_directories_look_as_below(make_store, tmp_path) -> None:
    store = make_store()
    base = unpack(
        store,
        archive_of(
            Entry(b".", b"5", 0o751, 5, 6),
            Entry(b"a", b"5", 0o700, 7, 8, 0, 10**18),
            Entry(b"a/b", b"5", 0o2750, 9, 9, xattrs={"user.k": b"v"}),
        ),
    )
    data = archive_of(Entry(b"a/b/c/file"))
    top = unpack(store, data, base.chain_id)
    path = store.layers.path(top.chain_id)
    for name in ("", "a", "a/b"):
        mine, below = os.stat(f"{path}/{name}"), os.stat(f"{store.layers.path(base.chain_id)}/{name}")
        assert (mine.st_mode, mine.st_uid, mine.st_gid, mine.st_mtime_ns) == (
            below.st_mode, below.st_uid, below.st_gid, below.st_mtime_ns
        ), name  # fmt: skip
    assert os.getxattr(path + "/a/b", "user.k") == b"v"
    assert stat.S_IMODE(os.stat(path + "/a/b/c").st_mode) == 0o755


def test_roots_mode_is_kept_by_commit(make_store, tmp_path) -> None:
    one, two = make_store("one"), make_store("two")
    base = one.layers.import_tree(str(rich_tree(tmp_path / "tree")))
    plan = one.layers.prepare_root(made(tmp_path / "c"), base.chain_id)
    with one.layers.mounted(plan) as fd:
        os.chmod(f"/proc/self/fd/{fd}", 0o711)
    assert one.layers.changes(str(tmp_path / "c"), base.chain_id) == [("C", b"/")]
    layer = one.layers.commit_upper(plan["upper"], parent=base.chain_id)
    transfer(one, two, layer.chain_id)
    with two.layers.mounted(two.layers.prepare_root(made(tmp_path / "d"), layer.chain_id)) as fd:
        assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o711
    assert one.verify() == [] and two.verify() == []


def test_clamped_import_is_reproducible(make_store, tmp_path) -> None:
    ids = []
    for name in ("one", "two"):
        tree = tmp_path / name
        tree.mkdir()
        (tree / "file").write_text("same")
        os.utime(tree / "file", (1_500_000_000 + len(ids), 1_500_000_000))
        (tree / "folder").mkdir()
        ids.append(make_store("s" + name).layers.import_tree(str(tree), clamp_mtime=1_000_000_000).diff_id)
    assert ids[0] == ids[1]


def test_names_that_mean_deletions_are_refused(make_store, tmp_path) -> None:
    store = make_store()
    base = store.layers.import_tree(str(rich_tree(tmp_path / "tree")))
    plan = store.layers.prepare_root(made(tmp_path / "c"), base.chain_id)
    with store.layers.mounted(plan) as fd:
        os.close(os.open(".wh.usr", os.O_CREAT, dir_fd=fd))
    with pytest.raises(InvalidInput, match="wh.usr"):
        store.layers.commit_upper(plan["upper"], parent=base.chain_id)
    assert sorted(os.listdir(store.layers.root)) == ["1", "skeleton"]


def test_holes_stay_holes(make_store, tmp_path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    with open(tree / "big", "wb") as file:
        file.truncate(1 << 30)
    store = make_store()
    layer = store.layers.import_tree(str(tree))
    assert os.stat(store.layers.path(layer.chain_id) + "/big").st_blocks < 100
    data = subprocess.run(["tar", "-C", tree, "-cSf", "-", "big"], check=True, capture_output=True).stdout
    pulled = unpack(store, data)
    status = os.stat(store.layers.path(pulled.chain_id) + "/big")
    assert (status.st_size, status.st_blocks < 100) == (1 << 30, True)


def test_whiteouts_that_share_an_inode_are_no_hard_links(make_store, tmp_path) -> None:
    store = make_store()
    base = store.layers.import_tree(str(rich_tree(tmp_path / "tree")))
    plan = store.layers.prepare_root(made(tmp_path / "c"), base.chain_id)
    with store.layers.mounted(plan) as fd:
        for name in ("fifo", "null", "disk", "dangling"):
            os.unlink(name, dir_fd=fd)
    layer = store.layers.commit_upper(plan["upper"], parent=base.chain_id)
    parts: list[bytes] = []
    store.layers.write_archive(layer.chain_id, parts.append)
    listing = subprocess.run(["tar", "-tvf", "-"], input=b"".join(parts), capture_output=True, check=True).stdout
    assert listing.count(b".wh.") == 4 and b"link to" not in listing


# -- other people's programs -----------------------------------------------------------------------------------------


def layout(store, folder: Path, chain_id: str) -> None:
    """Write an OCI image layout with one image, named "x"."""
    chain, current = [], chain_id
    while current is not None:
        layer = store.layers.get(current)
        chain.insert(0, layer)
        current = layer.parent
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict:
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    layers = []
    for layer in chain:
        digest, _size, media_type = store.layers.ensure_blob(layer.chain_id)
        layers.append(put(Path(store.blobs.path(digest)).read_bytes(), media_type))
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in chain]},
    }).encode()  # fmt: skip
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(config, "application/vnd.oci.image.config.v1+json"),
        "layers": layers,
    }
    entry = put(json.dumps(manifest).encode(), manifest["mediaType"])
    entry["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


@pytest.mark.skipif(not shutil.which("umoci"), reason="needs umoci")
def test_umoci_unpacks_what_we_commit(make_store, tmp_path) -> None:
    store = make_store()
    base = store.layers.import_tree(str(rich_tree(tmp_path / "tree")))
    plan = store.layers.prepare_root(made(tmp_path / "c"), base.chain_id)
    with store.layers.mounted(plan) as fd:
        change(fd)
        shutil.rmtree(f"/proc/self/fd/{fd}/tmp")
        os.mkdir("tmp", 0o700, dir_fd=fd)
        os.utime("tmp", (1, 1), dir_fd=fd)
    layer = store.layers.commit_upper(plan["upper"], parent=base.chain_id)
    layout(store, tmp_path / "oci", layer.chain_id)
    subprocess.run(
        ["umoci", "unpack", "--image", f"{tmp_path}/oci:x", tmp_path / "bundle"], check=True, capture_output=True
    )
    ours, theirs = seen(store, plan), without_skeleton(look(tmp_path / "bundle/rootfs"))
    assert ours == theirs


@pytest.mark.skipif(not shutil.which("umoci"), reason="needs umoci")
def test_we_unpack_what_umoci_commits(make_store, tmp_path) -> None:
    store = make_store()
    base = store.layers.import_tree(str(rich_tree(tmp_path / "tree")))
    layout(store, tmp_path / "oci", base.chain_id)
    image = f"{tmp_path}/oci:x"
    subprocess.run(["umoci", "unpack", "--image", image, tmp_path / "bundle"], check=True, capture_output=True)
    rootfs = tmp_path / "bundle/rootfs"
    os.unlink(rootfs / "etc/passwd")
    (rootfs / "etc/added").write_bytes(b"x" * 100_000)
    os.setxattr(rootfs / "etc/added", "user.n", b"v")
    shutil.rmtree(rootfs / "usr")
    (rootfs / "usr").write_text("a file now")
    for name in ("etc/added", "etc", "usr"):
        os.utime(rootfs / name, (TIME, TIME))  # umoci rounds, we cut
    subprocess.run(["umoci", "repack", "--image", image, tmp_path / "bundle"], check=True, capture_output=True)
    index = json.loads((tmp_path / "oci/index.json").read_text())
    (entry,) = (one for one in index["manifests"] if one["annotations"]["org.opencontainers.image.ref.name"] == "x")
    blobs = tmp_path / "oci/blobs/sha256"
    manifest = json.loads((blobs / entry["digest"][7:]).read_text())
    diff_ids = json.loads((blobs / manifest["config"]["digest"][7:]).read_text())["rootfs"]["diff_ids"]
    two = make_store("two")
    chain = None
    for descriptor, diff_id in zip(manifest["layers"], diff_ids):
        parent, chain = chain, diff_id if chain is None else digest_of(f"{chain} {diff_id}".encode())
        two.layers.unpack(
            str(blobs / descriptor["digest"][7:]),
            descriptor["mediaType"],
            diff_id=diff_id,
            chain_id=chain,
            parent=parent,
        )
    assert seen(two, two.layers.prepare_root(made(tmp_path / "d"), chain)) == without_skeleton(look(rootfs))
    assert two.verify() == []


# -- damage ----------------------------------------------------------------------------------------------------------


def test_verify_finds_and_repairs(make_store, tmp_path) -> None:
    one, two = make_store("one"), make_store("two")
    base = one.layers.import_tree(str(rich_tree(tmp_path / "tree")))
    image_of(one, base)
    transfer(one, two, base.chain_id)
    image_of(two, base)
    Path(one.layers.path(base.chain_id), "etc/passwd").write_text("altered")
    assert "not what was stored" not in one.verify()[0] or base.chain_id in one.verify()[0]
    Path(two.layers.path(base.chain_id), "etc/passwd").write_text("altered")
    assert len(two.verify()) == 1
    assert "unpacked anew" in two.verify(repair=True)[0]
    assert two.verify() == []
    assert look(two.layers.path(base.chain_id)) == look(tmp_path / "tree")
    shutil.rmtree(two.layers.path(base.chain_id))
    assert "missing" in two.verify(repair=True)[0]
    assert two.verify() == []
    blob = two.blobs.path(two.layers.ensure_blob(base.chain_id)[0])
    Path(blob).write_bytes(b"rubbish")
    assert any("another digest" in line for line in two.verify(repair=True))
    assert two.verify() == []


def test_an_altered_layer_is_not_given_away(make_store, tmp_path) -> None:
    store = make_store()
    base = store.layers.import_tree(str(rich_tree(tmp_path / "tree")))
    Path(store.layers.path(base.chain_id), "etc/passwd").write_text("altered")
    with pytest.raises(StoreDamaged):
        store.layers.ensure_blob(base.chain_id)
    assert [name for name in os.listdir(store.blobs.root + "/sha256") if name.startswith(".")] == []


def test_gzip_of_a_local_layer_is_reproducible(make_store, tmp_path) -> None:
    tree = rich_tree(tmp_path / "tree")
    results = {
        make_store(name).layers.ensure_blob(make_store(name).layers.import_tree(str(tree)).chain_id) for name in "ab"
    }
    assert len(results) == 1
    ((digest, size, media_type),) = results
    store = make_store("a")
    data = Path(store.blobs.path(digest)).read_bytes()
    assert (len(data), digest_of(data), media_type) == (size, digest, GZIP)
    assert digest_of(gzip.decompress(data)) == store.db.row("SELECT diff_id FROM layers")[0]


def test_unknown_layers(store) -> None:
    with pytest.raises(NotFound):
        store.layers.prepare_root("/nowhere", "sha256:" + "0" * 64)


def test_the_driver_of_a_store_stays(make_store, tmp_path) -> None:
    first = make_store("s", "copy")
    first.layers.import_tree(str(rich_tree(tmp_path / "tree")))
    first.close()
    assert make_store("s").layers.driver_name == "copy"
    with pytest.raises(Conflict, match="copy"):
        make_store("s", "overlay").layers.driver  # noqa: B018


def test_scratch_has_only_the_skeleton(store, tmp_path) -> None:
    plan = store.layers.prepare_root(made(tmp_path / "c"), None)
    with store.layers.mounted(plan) as fd:
        assert sorted(os.listdir(fd)) == ["dev", "etc", "proc", "sys"]
        os.mkdir("new", dir_fd=fd)
    layer = store.layers.commit_upper(plan["upper"], parent=None)
    assert os.listdir(store.layers.path(layer.chain_id)) == ["new"]


# -- aufs, which no kernel of today has ------------------------------------------------------------------------------


def test_aufs_keeps_image_layers_as_they_are(make_store, tmp_path, monkeypatch) -> None:
    """An aufs store on this kernel: the layout of its branches, the calls it would make, and the same digests."""
    store = make_store("s", "aufs")
    data = archive_of(
        Entry(b"d", b"5", 0o755),
        Entry(b"d/.wh.one"),
        Entry(b"d/.wh..wh..opq"),
        Entry(b".wh.gone"),
        Entry(b".wh..wh.plnk", b"5"),
        (Entry(b".wh..wh.plnk/1.2"), b"linked"),
        Entry(b"x", b"1", link=b".wh..wh.plnk/1.2"),
    )
    base = unpack(store, archive_of(Entry(b"d", b"5", 0o755), Entry(b"d/one"), Entry(b"gone"), Entry(b"stays")))
    top = unpack(store, data, base.chain_id)
    path = store.layers.path(top.chain_id)
    assert sorted(os.listdir(path)) == [".wh.gone", "d", "x"]
    assert sorted(os.listdir(path + "/d")) == [".wh..wh..opq", ".wh.one"]
    assert Path(path, "x").read_bytes() == b"linked"
    plan = store.layers.prepare_root(made(tmp_path / "c"), top.chain_id)
    assert aufs.branches(plan) == [
        (str(tmp_path / "c/upper"), "rw"), (path, "ro+wh"), (store.layers.path(base.chain_id), "ro+wh"),
        (store.layers.root + "/skeleton", "ro+wh"),
    ]  # fmt: skip
    calls = []
    monkeypatch.setattr(aufs, "mount_apart", lambda make: make("/target"))
    monkeypatch.setattr(aufs.mount, "aufs", lambda branches, target, options: calls.append((branches, target, options)))
    store.layers.driver.mount(plan)
    assert calls == [(aufs.branches(plan), "/target", "udba=none")]
    # what a container would leave in its branch
    upper = Path(plan["upper"])
    (upper / ".wh.stays").touch()
    (upper / ".wh..wh.plnk").mkdir()
    (upper / ".wh..wh.orph").mkdir()
    (upper / ".wh..wh.aufs").touch()
    (upper / "d").mkdir()
    (upper / "d/new").write_text("n")
    assert store.layers.changes(str(tmp_path / "c"), top.chain_id) == [("C", b"/d"), ("A", b"/d/new"), ("D", b"/stays")]
    layer = store.layers.commit_upper(plan["upper"], parent=top.chain_id)
    other = make_store("overlay", "overlay")
    transfer(store, other, layer.chain_id)
    assert sorted(seen(other, other.layers.prepare_root(made(tmp_path / "d"), layer.chain_id))) == [
        b"d",
        b"d/new",
        b"etc",
        b"x",
    ]
    assert store.verify() == [] and other.verify() == []


def test_aufs_takes_127_branches(make_store) -> None:
    driver = make_store("s", "aufs").layers.driver
    with pytest.raises(OSError, match="127"):
        driver.plan([f"/l/{number}" for number in range(127)], "/u", None)


def test_aufs_is_not_chosen_here(make_store) -> None:
    store = make_store()
    reason = aufs.Aufs().usable(store.root)
    with open("/proc/filesystems", encoding="ascii") as file:
        assert (reason is None) == ("aufs" in file.read())
    assert store.layers.driver_name == "overlay"


# -- full disks ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def test_disk_full_while_unpacking(small_disk, make_store) -> None:
    store = make_store("disk/store", "overlay")
    ok = unpack(store, archive_of((Entry(b"small"), b"x" * 1000)))
    raw = archive_of((Entry(b"big"), b"\0" * (6 << 20)))
    data = gzip.compress(raw)
    with pytest.raises(DiskFull, match="removed") as caught:
        blob = store.blobs.put(data)
        store.layers.unpack(store.blobs.path(blob), GZIP, diff_id=digest_of(raw), chain_id=digest_of(raw), parent=None)
    assert store.root in caught.value.message
    assert sorted(os.listdir(store.layers.root)) == [os.path.basename(store.layers.path(ok.chain_id))]
    assert store.verify() == []


def test_disk_full_while_committing_and_pulling(small_disk, make_store, tmp_path) -> None:
    store = make_store("disk/store", "overlay")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "big").write_bytes(os.urandom(6 << 20))
    with pytest.raises(DiskFull):
        store.layers.import_tree(str(tree))
    assert os.listdir(store.layers.root) == []
    data = os.urandom(5 << 20)
    writer = store.blobs.writer(digest_of(data), len(data))
    with pytest.raises(DiskFull):
        for start in range(0, len(data), 1 << 16):
            writer.write(data[start : start + (1 << 16)])
    writer.discard()
    assert store.verify() == []


def test_default_acls_are_not_inherited(make_store, tmp_path) -> None:
    """A directory's default ACL comes after what is in it, when packing as when unpacking."""
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, permissions, 0xFFFFFFFF) for tag, permissions in ((1, 7), (4, 7), (0x10, 7), (0x20, 5))
    )
    tree = tmp_path / "tree"
    (tree / "shared").mkdir(parents=True)
    (tree / "shared/plain").write_text("x")
    (tree / "shared/folder").mkdir()
    os.setxattr(tree / "shared", "system.posix_acl_default", acl)
    one, two = make_store("one"), make_store("two")
    layer = one.layers.import_tree(str(tree))
    transfer(one, two, layer.chain_id)
    expected = look(tree)
    assert list(expected[b"shared"][5]) == ["system.posix_acl_default"] and expected[b"shared/folder"][5] == {}
    assert look(one.layers.path(layer.chain_id)) == expected
    assert look(two.layers.path(layer.chain_id)) == expected


def test_volumes_get_the_images_content(make_store, tmp_path) -> None:
    store = make_store()
    base = store.layers.import_tree(str(rich_tree(tmp_path / "tree")))
    plan = store.layers.prepare_root(made(tmp_path / "c"), base.chain_id)
    store.volumes.create("v")
    target = store.volumes.path("v")
    assert store.layers.copy_from_root(plan, "/mail", target)
    assert look(target) == look(tmp_path / "tree/mail")
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o2775
    assert not store.layers.copy_from_root(plan, "/etc/passwd", target)
    assert not store.layers.copy_from_root(plan, "/nowhere", target)
    (tmp_path / "tree2").mkdir()
    (tmp_path / "tree2/data").symlink_to("/etc")
    evil = store.layers.import_tree(str(tmp_path / "tree2"), parent=base.chain_id)
    plan = store.layers.prepare_root(made(tmp_path / "d"), evil.chain_id)
    store.volumes.create("w")
    store.layers.copy_from_root(plan, "/data", store.volumes.path("w"))
    assert sorted(os.listdir(store.volumes.path("w"))) == ["hostname", "hosts", "passwd", "resolv.conf"]


@pytest.mark.parametrize(
    "without", [("new_mount_api",), ("overlay_fd",), ("overlay_fd", "overlay_lowerdir_plus"), ("openat2",)]
)
def test_the_ways_of_older_kernels(make_store, tmp_path, without) -> None:
    features.set_without(without)
    try:
        store = make_store()
        base = store.layers.import_tree(str(rich_tree(tmp_path / "tree")))
        plan = store.layers.prepare_root(made(tmp_path / "c"), base.chain_id)
        with store.layers.mounted(plan) as fd:
            change(fd)
        top = store.layers.commit_upper(plan["upper"], parent=base.chain_id)
        assert top is not None and store.verify() == []
        link = archive_of(Entry(b"bin/new"), Entry(b"l", b"2", 0o777, link=b"/usr"), Entry(b"l/bin/x"))
        pulled = unpack(store, link, base.chain_id)
        assert os.path.exists(store.layers.path(pulled.chain_id) + "/usr/bin/x")
    finally:
        features.set_without(())


def test_three_hundred_layers(make_store, tmp_path) -> None:
    """More than an option page of mount(2) would hold with long names; aufs' limit is told."""
    store = make_store()
    chain = None
    with store.layers.unpacker() as unpacker:
        for number in range(300):
            data = archive_of(Entry(b"file%d" % number))
            parent, diff_id = chain, digest_of(data)
            chain = diff_id if parent is None else digest_of(f"{parent} {diff_id}".encode())
            blob = store.blobs.path(store.blobs.put(data))
            unpacker.add(blob, PLAIN, diff_id=diff_id, chain_id=chain, parent=parent)
        unpacker.finish()
    for without in ((), ("new_mount_api",)):
        features.set_without(without)
        try:
            assert len(seen(store, store.layers.prepare_root(made(tmp_path / f"c{len(without)}"), chain))) == 301
        finally:
            features.set_without(())


def test_a_pulled_layer_that_lost_its_blob_comes_again(make_store, tmp_path) -> None:
    store = make_store()
    foreign = subprocess.run(
        ["tar", "-C", rich_tree(tmp_path / "tree"), "-cf", "-", "usr", "etc"], check=True, capture_output=True
    ).stdout
    layer = unpack(store, foreign)
    image_of(store, layer)
    assert store.verify() == []
    os.unlink(store.blobs.path(layer.diff_id))
    assert ["missing" in line for line in store.verify(repair=True)] == [True]
    assert store.verify() == [] and not store.layers.has(layer.chain_id)
    with pytest.raises(StoreDamaged):
        store.layers.ensure_blob(layer.chain_id)
    unpack(store, foreign)
    assert store.layers.has(layer.chain_id) and store.layers.ensure_blob(layer.chain_id)[0] == layer.diff_id
    assert store.verify() == []


def test_disk_full_in_the_index(small_disk, make_store) -> None:
    store = make_store("disk/store", "overlay")
    image = image_of(store)
    with open(small_disk / "ballast", "wb", buffering=0) as file:
        with pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        with pytest.raises(DiskFull):
            for number in range(200):
                store.containers.create(f"{number:064x}", f"n{number}", image, "x" * 20_000)
        count = len(store.containers.list())
        file.truncate(0)
    store.containers.create("a" * 64, "last", image, "{}")
    assert len(store.containers.list()) == count + 1
    assert store.verify() == []
