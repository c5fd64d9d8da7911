# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index and the blobs: names, transactions, interrupted downloads, several processes. Needs no privileges."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from vitrine.errors import (
    Conflict,
    ContainerNotFound,
    ContentMismatch,
    HostError,
    ImageInUse,
    ImageNotFound,
    InvalidInput,
    NameInUse,
    NotFound,
    StoreDamaged,
)
from vitrine.store import Store
from vitrine.store.db import MIGRATIONS

ONE, TWO = "1" * 64, "1" * 63 + "2"


@pytest.fixture
def store(tmp_path: Path):
    with Store(str(tmp_path / "store")) as store:
        yield store


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def image(store: Store, **extra: object) -> str:
    return store.images.add(json.dumps({"architecture": "amd64", "os": "linux", **extra}).encode())


def test_a_store_is_for_root_alone(store) -> None:
    assert os.stat(store.root).st_mode & 0o777 == 0o700
    assert os.stat(store.root + "/layers").st_mode & 0o777 == 0o700


def test_the_index_has_a_log_of_its_own(store) -> None:
    assert store.db.row("PRAGMA journal_mode") == ("wal",)
    assert store.db.row("PRAGMA synchronous") == (1,)  # normal: what makes a transaction last is the redo log
    assert store.db.row("PRAGMA user_version") == (len(MIGRATIONS),)


def test_a_newer_format_is_refused(store) -> None:
    store.db.run("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StoreDamaged, match="newer engine"):
        store.db  # noqa: B018


def test_a_broken_index_is_told(tmp_path) -> None:
    Store(str(tmp_path)).close()
    (tmp_path / "vitrine.db").write_bytes(b"rubbish" * 1000)
    with pytest.raises(StoreDamaged, match="vitrine.db"):
        Store(str(tmp_path)).containers.list()


def test_transactions_are_all_or_nothing_and_nest(store) -> None:
    with pytest.raises(ZeroDivisionError), store.db.transaction():
        store.networks.create("n", {"a": 1})
        with store.db.transaction():
            store.networks.create("m", {"a": 1})
        raise ZeroDivisionError
    assert store.networks.list() == {}


def test_several_processes_migrate_and_write(tmp_path) -> None:
    """Forked before anything is open, all make the same store and write to it."""
    pids = []
    for number in range(6):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                with Store(str(tmp_path / "s")) as child:
                    for index in range(20):
                        child.networks.create(f"{number}-{index}", {})
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 6
    with Store(str(tmp_path / "s")) as store:
        assert len(store.networks.list()) == 120


# -- blobs ------------------------------------------------------------------------------------------------------------


def test_blobs_are_verified(store) -> None:
    digest = store.blobs.put(b"hello")
    assert digest == digest_of(b"hello")
    assert (store.blobs.read(digest), store.blobs.size(digest), store.blobs.all()) == (b"hello", 5, [digest])
    Path(store.blobs.path(digest)).write_bytes(b"jello")
    with pytest.raises(StoreDamaged):
        store.blobs.read(digest)
    with pytest.raises(NotFound):
        store.blobs.read(digest_of(b"none"))


@pytest.mark.parametrize(
    "text", ["sha256:../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "0" * 32, "", "sha256:", None]
)
def test_what_is_no_digest_becomes_no_path(store, text) -> None:
    for method in (store.blobs.path, store.blobs.has, store.blobs.writer, store.blobs.remove):
        with pytest.raises(InvalidInput):
            method(text)


def test_a_download_is_carried_on(store) -> None:
    data = os.urandom(100_000)
    digest = digest_of(data)
    first = store.blobs.writer(digest, len(data))
    first.write(data[:30_000])
    first.keep()
    assert not store.blobs.has(digest)
    second = store.blobs.writer(digest, len(data))
    assert second.offset == 30_000
    second.write(data[30_000:])
    second.commit()
    assert Path(store.blobs.path(digest)).read_bytes() == data
    third = store.blobs.writer(digest, len(data))
    assert third.complete and third.offset == len(data)
    third.commit()
    assert os.listdir(store.blobs.root + "/partial") == []


def test_a_download_begins_anew(store) -> None:
    data = b"x" * 1000
    writer = store.blobs.writer(digest_of(data), 1000)
    writer.write(b"y" * 500)
    writer.keep()
    writer = store.blobs.writer(digest_of(data), 1000)
    writer.restart()
    assert writer.offset == 0
    writer.write(data)
    writer.commit()


def test_wrong_content_is_thrown_away(store) -> None:
    digest = digest_of(b"right")
    writer = store.blobs.writer(digest, 5)
    writer.write(b"wrong")
    with pytest.raises(ContentMismatch, match="other content"):
        writer.commit()
    assert store.blobs.writer(digest, 5).offset == 0


def test_too_much_and_too_little(store) -> None:
    digest = digest_of(b"12345")
    writer = store.blobs.writer(digest, 5)
    with pytest.raises(ContentMismatch, match="longer"):
        writer.write(b"123456")
    writer = store.blobs.writer(digest, 5)
    writer.write(b"123")
    with pytest.raises(ContentMismatch, match="3 of 5"):
        writer.commit()
    assert store.blobs.writer(digest, 5).offset == 3


def test_one_downloads_the_others_wait(store) -> None:
    data = os.urandom(50_000)
    digest = digest_of(data)
    written = []

    def fetch() -> None:
        with store.blobs.writer(digest, len(data)) as writer:
            for start in range(writer.offset, len(data), 1000):
                writer.write(data[start : start + 1000])
                written.append(1000)
            writer.commit()

    threads = [threading.Thread(target=fetch) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(written) == len(data)
    assert store.blobs.read(digest) == data


def test_sources(store) -> None:
    digest = store.blobs.put(b"x")
    for name in ("docker.io/library/a", "docker.io/library/a", "quay.io/b"):
        store.blobs.add_source(digest, name)
    assert store.blobs.sources(digest) == ["docker.io/library/a", "quay.io/b"]


# -- images -----------------------------------------------------------------------------------------------------------


def test_names_of_images(store) -> None:
    one, two = image(store, created="2020-01-01T00:00:00Z"), image(store, created="2021-01-01T00:00:00Z")
    assert one == digest_of(store.images.get(one).config)
    assert [found.id for found in store.images.list()] == [two, one]
    assert store.images.tag("docker.io/library/debian:bookworm", one)
    assert not store.images.tag("docker.io/library/debian:bookworm", one)
    for text in (
        "debian:bookworm",
        "docker.io/library/debian:bookworm",
        "library/debian:bookworm",
        one,
        one[7:],
        one[7:19],
    ):
        assert store.images.resolve(text).id == one, text
    assert store.images.tag("docker.io/library/debian:bookworm", two)
    assert (store.images.names(one), store.images.names(two)) == ([], ["docker.io/library/debian:bookworm"])
    assert store.images.untag("docker.io/library/debian:bookworm")
    assert not store.images.untag("docker.io/library/debian:bookworm")
    for text in ("debian:bookworm", "debian", "0" * 64, "sha256:" + "0" * 64):
        with pytest.raises(ImageNotFound):
            store.images.resolve(text)
    with pytest.raises(InvalidInput):
        store.images.resolve("UPPER/Case")
    with pytest.raises(ImageNotFound):
        store.images.tag("docker.io/library/x:latest", "sha256:" + "0" * 64)


def test_a_name_wins_over_the_beginning_of_an_id(store) -> None:
    one, two = image(store, a=1), image(store, a=2)
    store.images.tag(f"docker.io/library/{one[7:12]}:latest", two)
    assert store.images.resolve(one[7:12]).id == two
    assert store.images.resolve(one[7:20]).id == one


def test_manifest_digests(store) -> None:
    one = image(store)
    manifest = digest_of(b"manifest")
    store.images.tag("docker.io/library/x:1", one, manifest_digest=manifest)
    store.images.tag("localhost:5000/y:1", one)
    assert store.images.digests(one) == [f"docker.io/library/x@{manifest}"]
    assert store.images.resolve(f"x@{manifest}").id == one
    store.images.tag("docker.io/library/x:2", one)
    store.images.untag("docker.io/library/x:1")
    assert store.images.digests(one)
    store.images.untag("docker.io/library/x:2")
    assert store.images.digests(one) == []


def test_images_in_use(store) -> None:
    one = image(store)
    child = store.images.add(b'{"architecture": "amd64", "os": "linux", "x": 1}', parent=one)
    store.containers.create(ONE, "web", child, "{}")
    with pytest.raises(ImageInUse, match="dependent"):
        store.images.remove(one)
    with pytest.raises(ImageInUse, match="web"):
        store.images.remove(child)
    store.containers.delete(ONE)
    store.buildcache.put("key", child)
    assert store.buildcache.get("key") == child
    assert store.images.remove(child) == [child]
    assert store.buildcache.get("key") is None
    assert store.images.remove(one) == [one]
    assert store.blobs.all() == []
    with pytest.raises(ImageNotFound):
        store.images.remove(one)
    store.buildcache.put("key", one)  # removed meanwhile: not worth an error
    assert store.buildcache.get("key") is None


def test_layers_must_be_here(store) -> None:
    config = {"rootfs": {"type": "layers", "diff_ids": [digest_of(b"absent")]}}
    with pytest.raises(ImageNotFound, match="layer"):
        image(store, **config)
    assert store.images.list() == []


# -- containers, leases, volumes --------------------------------------------------------------------------------------


def test_containers(store) -> None:
    one = image(store)
    record = store.containers.create(ONE, "web", one, '{"a": 1}', created="2020-01-01T00:00:00Z", labels='{"k": "v"}')
    for text in (ONE, "web", "/web", ONE[:12]):
        assert store.containers.get(text) == record
    with pytest.raises(NameInUse, match=ONE[:12]):
        store.containers.create(TWO, "web", one, "{}")
    store.containers.create(TWO, "db", one, "{}")
    with pytest.raises(InvalidInput, match="several"):
        store.containers.get("11")
    with pytest.raises(NameInUse):
        store.containers.rename(TWO, "web")
    store.containers.update(ONE, desired="running", spec="{}")
    assert (store.containers.get(ONE).desired, store.containers.get(ONE).spec) == ("running", "{}")
    assert [record.name for record in store.containers.list()] == ["db", "web"]
    assert store.containers.delete(ONE) and not store.containers.delete(ONE)
    for text in ("web", ONE, "", "%", "_"):
        with pytest.raises(ContainerNotFound):
            store.containers.get(text)
    with pytest.raises(ImageNotFound):
        store.containers.create(ONE, "x", "sha256:" + "0" * 64, "{}")
    with pytest.raises(InvalidInput):
        store.containers.create("../../etc", "x", one, "{}")
    with pytest.raises(TypeError):
        store.containers.update(TWO, id="x")


def test_a_name_beats_the_beginning_of_an_id(store) -> None:
    one = image(store)
    store.containers.create(ONE, "a", one, "{}")
    store.containers.create(TWO, "1111", one, "{}")
    assert store.containers.get("1111").id == TWO


def first_free(used: set[str], _last: str | None) -> str:
    for number in range(2, 5):
        if f"10.0.0.{number}" not in used:
            return f"10.0.0.{number}"
    raise HostError("full")


def test_leases(store) -> None:
    def lease(owner: str, asked: str = "", idle=lambda _id: False) -> str:
        return store.leases.acquire(owner, [("net", 4, asked, first_free)], idle=idle)["net", 4]

    assert lease(ONE) == lease(ONE) == "10.0.0.2"
    assert lease(TWO) == "10.0.0.3"
    assert store.leases.all("net") == {"10.0.0.2": ONE, "10.0.0.3": TWO}
    with pytest.raises(Conflict, match=f"10.0.0.2 .* in use by container '{ONE[:12]}'"):
        lease(TWO, "10.0.0.2")
    assert lease(TWO) == "10.0.0.3"  # and it keeps what it had
    assert lease(TWO, "10.0.0.4") == lease(TWO, "10.0.0.4") == "10.0.0.4"
    assert lease("3" * 64) == "10.0.0.3"
    with pytest.raises(HostError):
        lease("4" * 64)
    assert lease("4" * 64, idle=lambda one: one in (ONE, TWO)) == "10.0.0.2"  # of one that does not run
    assert store.leases.all("net")["10.0.0.4"] == TWO  # but not what was asked for by number
    assert lease("5" * 64, "10.0.0.2", idle=lambda one: one == "4" * 64) == "10.0.0.2"
    assert store.leases.release(TWO, "other") is False
    assert store.leases.release(TWO) and not store.leases.release(TWO)


def test_leases_of_both_families_are_taken_together_or_not_at_all(store) -> None:
    def six(_used: set[str], last: str | None) -> str:
        return f"fd00::{int(last.rpartition(':')[2]) + 1 if last else 2}"

    both = [("net", 4, "", first_free), ("net", 6, "", six), ("other", 4, "", first_free)]
    assert store.leases.acquire(ONE, both) == {("net", 4): "10.0.0.2", ("net", 6): "fd00::2", ("other", 4): "10.0.0.2"}
    store.leases.release(ONE)
    assert store.leases.acquire(ONE, both)["net", 6] == "fd00::3"  # the next one, although the first is free again
    with pytest.raises(Conflict):
        store.leases.acquire(TWO, [("net", 6, "", six), ("net", 4, "10.0.0.2", first_free)])
    assert TWO not in store.leases.all("net").values()


def test_a_network_is_removed_with_its_leases_when_nobody_is_on_it(store) -> None:
    store.networks.create("net", {"subnets": []})
    store.leases.acquire(ONE, [("net", 4, "", first_free)])
    with pytest.raises(Conflict, match="active endpoints: db, web"):
        store.networks.remove("net", lambda: ["web", "db"])
    assert store.networks.remove("net") and not store.networks.remove("net")
    assert store.leases.all("net") == {}


def test_two_processes_never_get_one_address(store) -> None:
    """Each thread has a store of its own, as processes have."""
    got: list[str] = []

    def lease(number: int) -> None:
        with Store(store.root) as mine:
            for index in range(10):
                name = f"{number:032d}{index:032d}"
                leased = mine.leases.acquire(name, [("bridge", 4, "", lambda used, _last: str(len(used) + 2))])
                got.append(leased["bridge", 4])

    threads = [threading.Thread(target=lease, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == 40


def test_networks_keep_the_first(store) -> None:
    assert store.networks.get("n") is None
    assert store.networks.create("n", {"subnet": "a"}) == {"subnet": "a"}
    assert store.networks.create("n", {"subnet": "b"}) == {"subnet": "a"}
    store.networks.update("n", {"subnet": "c"})
    assert store.networks.list() == {"n": {"subnet": "c"}}


def test_volumes(store) -> None:
    assert store.volumes.create("data")
    assert not store.volumes.create("data")
    volume = store.volumes.get("data")
    assert os.path.isdir(volume.path) and store.volumes.list() == [volume]
    Path(volume.path, "file").write_text("x")
    with pytest.raises(Conflict, match="web"):
        store.volumes.remove("data", users=lambda _name: ["web"])
    assert store.volumes.remove("data") and not store.volumes.remove("data")
    assert not os.path.exists(volume.path)
    for name in ("../x", "", ".x", "a/b", "x" * 129, "a\n"):
        with pytest.raises(InvalidInput):
            store.volumes.create(name)
    with pytest.raises(NotFound):
        store.volumes.get("data")


def test_a_no_op_command_opens_little(store) -> None:
    """What every command does first must not import the layers' code, nor the sqlite3 package."""
    import subprocess
    import sys

    unwanted = (
        "sqlite3 ctypes json re threading subprocess dataclasses typing tempfile pickle datetime vitrine.store.layers"
    )
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from vitrine.store import Store\n"
        "s = Store(sys.argv[2]); s.recover(); s.containers.list(); s.images.list()\n"
        f"print(*[name for name in {unwanted!r}.split() if name in sys.modules])"
    )
    sources = str(Path(__file__).resolve().parents[3] / "plugins/module_utils")
    image(store)
    command = [sys.executable, "-I", "-S", "-c", code, sources, store.root]
    run = subprocess.run(command, capture_output=True, check=True)
    assert run.stdout.split() == []


def test_the_index_is_ordinary_sqlite(store) -> None:
    image(store)
    assert sqlite3.connect(store.root + "/vitrine.db").execute("SELECT count(*) FROM images").fetchone() == (1,)
