# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill -9 at any instant, several processes at once: the store stays whole and the same command then succeeds."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import PLAIN, archive_of, digest_of, image_of, look, rich_tree, transfer, unpack

from vitrine.store import Store
from vitrine.store.layers.entry import Entry
from vitrine.store.layers.staging import Staging

SOURCES = str(Path(__file__).resolve().parents[3] / "plugins/module_utils")


def run(code: str, *arguments: str) -> subprocess.Popen:
    """A process of its own that runs code with the engine and this room's helpers at hand."""
    prefix = f"import sys; sys.path[:0] = [{SOURCES!r}, {str(Path(__file__).parent)!r}]\n"
    return subprocess.Popen([sys.executable, "-c", prefix + code, *arguments])


UNPACK = """
from helpers import Store, transfer
one, two = Store(sys.argv[1]), Store(sys.argv[2])
two.recover()
transfer(one, two, sys.argv[3])
"""
COMMIT = """
from helpers import Store
store = Store(sys.argv[1])
store.recover()
store.layers.commit_upper(sys.argv[2], parent=sys.argv[3])
"""


@pytest.fixture
def big(make_store, tmp_path):
    """A store with an image of two layers that takes a moment to unpack, and a container that changed much."""
    store = make_store("one")
    tree = rich_tree(tmp_path / "tree")
    for number in range(40):
        folder = tree / f"many{number}"
        folder.mkdir()
        for index in range(40):
            (folder / f"file{index}").write_bytes(os.urandom(2000))
    base = store.layers.import_tree(str(tree))
    (tmp_path / "c").mkdir()
    plan = store.layers.prepare_root(str(tmp_path / "c"), base.chain_id)
    with store.layers.mounted(plan) as fd:
        for number in range(40):
            os.rename(f"many{number}/file0", f"many{number}/moved", src_dir_fd=fd, dst_dir_fd=fd)
            for index in range(1, 40):
                os.chmod(f"many{number}/file{index}", 0o600, dir_fd=fd)
    top = store.layers.commit_upper(plan["upper"], parent=base.chain_id)
    store.layers.ensure_blob(base.chain_id)
    store.layers.ensure_blob(top.chain_id)
    return store, base, top, plan


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def workers_of(root: str) -> list[str]:
    """Processes that have something below root open: unpacking ones."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fds = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if int(pid) != os.getpid() and any(name.startswith(root + "/layers/.new") for name in fds):
            found.append(pid)
    return found


def settled(root: str) -> None:
    """Wait until the workers of a killed process have noticed."""
    deadline = time.monotonic() + 20
    while workers_of(root):
        assert time.monotonic() < deadline, "a worker goes on although its caller is dead"
        time.sleep(0.02)


def clean(store: Store) -> None:
    """What must be so after the next command: whole, and nothing left."""
    store.recover()
    assert store.verify() == []
    rows = {str(number) for number in store.db.column("SELECT id FROM layers")}
    assert set(os.listdir(store.layers.root)) - {"skeleton"} == rows


def told(path: str) -> dict:
    """A layer's look; the times of whiteouts are of no interest."""
    return {name: (None if what[4] == 0 else what) for name, what in look(path).items()}


def test_killed_while_unpacking(big, tmp_path) -> None:
    one, _base, top, _plan = big
    began = time.monotonic()
    whole = run(UNPACK, one.root, str(tmp_path / "measure"), top.chain_id)
    assert whole.wait() == 0
    usual = time.monotonic() - began
    chance = random.Random(1)
    root = str(tmp_path / "two")
    killed = 0
    for _ in range(12):
        process = run(UNPACK, one.root, root, top.chain_id)
        time.sleep(chance.uniform(0.02, usual))
        if process.poll() is None:
            process.kill()
            killed += 1
        process.wait()
        settled(root)
        with Store(root) as two:
            clean(two)
            if two.layers.has(top.chain_id):  # it was done: once more from the beginning
                two.collect()
                assert not two.layers.has(top.chain_id)
    assert killed > 1
    assert run(UNPACK, one.root, root, top.chain_id).wait() == 0
    with Store(root) as two:
        clean(two)
        assert told(two.layers.path(top.chain_id)) == told(one.layers.path(top.chain_id))


def test_killed_while_committing(big, make_store) -> None:
    store, base, top, plan = big
    began = time.monotonic()
    assert run(COMMIT, store.root, plan["upper"], base.chain_id).wait() == 0
    usual = time.monotonic() - began
    image_of(store, base)
    store.close()
    chance = random.Random(2)
    for _ in range(12):
        process = run(COMMIT, store.root, plan["upper"], base.chain_id)
        time.sleep(chance.uniform(0.02, usual))
        process.kill()
        process.wait()
        with Store(store.root) as again:
            clean(again)
            again.collect()
            assert not again.layers.has(top.chain_id)
    assert run(COMMIT, store.root, plan["upper"], base.chain_id).wait() == 0
    with Store(store.root) as again:
        assert again.layers.get(top.chain_id).diff_id == top.diff_id
        clean(again)


def test_killed_between_naming_and_committing(big, tmp_path, monkeypatch) -> None:
    """The one instant that chance will not find: the directory has its number, the index has no row."""
    store, base, top, plan = big
    image_of(store, base)
    store.collect()
    store.close()
    pid = os.fork()
    if pid == 0:
        child = Store(store.root)
        monkeypatch.setattr(
            type(child.db.transaction()), "_end", lambda *_a, **_k: os.kill(os.getpid(), signal.SIGKILL)
        )
        child.layers.commit_upper(plan["upper"], parent=base.chain_id)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    with Store(store.root) as again:
        assert set(os.listdir(again.layers.root)) != {"skeleton", "1"}
        clean(again)
        assert not again.layers.has(top.chain_id)
        assert again.layers.commit_upper(plan["upper"], parent=base.chain_id) == top


def test_a_dead_makers_number_is_taken_over(big) -> None:
    """The same without recover(): the next one to be given that number clears it away itself."""
    store, base, top, plan = big
    image_of(store, base)
    store.collect()
    number = store.db.row("SELECT seq FROM sqlite_sequence WHERE name = 'layers'")[0] + 1
    os.makedirs(f"{store.layers.root}/{number}/rubbish")
    assert store.layers.commit_upper(plan["upper"], parent=base.chain_id) == top
    clean(store)


def test_two_processes_unpack_the_same(big, tmp_path) -> None:
    one, _base, top, _plan = big
    root = str(tmp_path / "two")
    processes = [run(UNPACK, one.root, root, top.chain_id) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    with Store(root) as two:
        clean(two)
        assert two.db.row("SELECT count(*) FROM layers") == (2,)


def test_a_killed_worker_is_told(store) -> None:
    data = archive_of((Entry(b"x"), bytes(30 << 20)))
    path = store.blobs.path(store.blobs.put(data))
    with store.layers.unpacker(1) as unpacker:
        (pid,) = unpacker._workers.values()
        os.kill(pid, signal.SIGSTOP)
        unpacker.add(path, PLAIN, diff_id=digest_of(data), chain_id=digest_of(data), parent=None)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(Exception, match="was killed"):
            unpacker.finish()
    clean(store)


def test_leaving_without_finishing_undoes_all(store) -> None:
    before = children()
    data = archive_of((Entry(b"x"), bytes(1 << 20)))
    path = store.blobs.path(store.blobs.put(data))
    with store.layers.unpacker() as unpacker:
        unpacker.add(path, PLAIN, diff_id=digest_of(data), chain_id=digest_of(data), parent=None)
    assert children() == before
    assert os.listdir(store.layers.root) == []
    assert not store.layers.has(digest_of(data))


def test_one_bad_layer_spoils_all(store) -> None:
    good, bad = archive_of(Entry(b"x")), archive_of(Entry(b"../x"))
    chain = digest_of(f"{digest_of(good)} {digest_of(bad)}".encode())
    with pytest.raises(Exception, match="leads out"):
        store.layers.unpack_many([
            {"blob": store.blobs.path(store.blobs.put(good)), "media_type": PLAIN, "diff_id": digest_of(good),
             "chain_id": digest_of(good), "parent": None},
            {"blob": store.blobs.path(store.blobs.put(bad)), "media_type": PLAIN, "diff_id": digest_of(bad),
             "chain_id": chain, "parent": digest_of(good)},
        ])  # fmt: skip
    assert os.listdir(store.layers.root) == []
    assert store.db.rows("SELECT * FROM layers") == []


def test_recover_leaves_the_living_alone(store) -> None:
    with Staging(store.layers.root) as staging:
        with Store(store.root) as other:
            other.recover()
        assert os.path.isdir(staging.tree)
        os.mkdir(store.layers.root + "/.new-dead")
        os.mkdir(store.layers.root + "/.del-dead")
        store.recover()
        assert os.listdir(store.layers.root) == [os.path.basename(staging.path)]


def test_nothing_is_collected_under_the_hands_of_others(store, make_store) -> None:
    """A layer that was just unpacked belongs to no image yet."""
    layer = unpack(store, archive_of(Entry(b"x")))
    other = make_store("store")
    assert other.collect() == []
    assert store.layers.has(layer.chain_id)
    image_of(store, layer)
    store.release()
    other.recover()
    assert store.layers.has(layer.chain_id)
    other.images.remove(other.images.list()[0].id, collect=False)
    store.release()
    assert other.collect() == [layer.chain_id]
    assert other.blobs.all() == [] and os.listdir(other.layers.root) == []


def test_containers_keep_their_layers(store) -> None:
    base = unpack(store, archive_of(Entry(b"x")))
    top = unpack(store, archive_of(Entry(b"y")), base.chain_id)
    image = image_of(store, base, top)
    store.containers.create("a" * 64, "name", image, "{}")
    assert store.images.remove(image, force=True) == [image]
    assert store.layers.has(base.chain_id) and store.layers.has(top.chain_id)
    store.containers.delete("a" * 64)
    assert store.collect() == [top.chain_id, base.chain_id]


def test_transfer_needs_no_more_than_blobs(big, make_store) -> None:
    one, _base, top, _plan = big
    two = make_store("two")
    transfer(one, two, top.chain_id)
    assert two.verify() == []
