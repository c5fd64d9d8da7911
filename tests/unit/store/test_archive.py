# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tar reader and writer: round trips, other writers' formats, and what hostile archives contain."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine.errors import InvalidInput
from vitrine.store.layers import entry as entries
from vitrine.store.layers.entry import Entry, clean_name
from vitrine.store.layers.read import Reader
from vitrine.store.layers.write import Writer, header

NAME_BYTES = st.binary(min_size=1, max_size=60).map(lambda raw: raw.replace(b"\0", b"x").replace(b"/", b"y"))
PATHS = st.lists(NAME_BYTES.filter(lambda part: part not in (b".", b"..")), min_size=1, max_size=8).map(b"/".join)
KINDS = st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"5", b"6"])
XATTRS = st.dictionaries(
    st.sampled_from(["user.one", "user.two words", "security.capability", "user.\udcff"]), st.binary(max_size=80)
)


@st.composite
def members(draw: st.DrawFn) -> tuple[Entry, bytes]:
    kind = draw(KINDS)
    content = draw(st.binary(max_size=3000)) if kind == b"0" else b""
    entry = Entry(
        draw(PATHS),
        kind,
        draw(st.integers(0, 0o7777)),
        draw(st.integers(0, 2**32 - 2)),
        draw(st.integers(0, 2**32 - 2)),
        len(content),
        draw(st.integers(-(2**34), 2**36)) * 1_000_000_000,
        draw(PATHS) if kind in b"12" else b"",
        draw(st.integers(0, 4095)) if kind in b"34" else 0,
        draw(st.integers(0, 2**20)) if kind in b"34" else 0,
        draw(XATTRS) or None,
    )
    return entry, content


def written(items: list[tuple[Entry, bytes]]) -> bytes:
    parts: list[bytes] = []
    writer = Writer(lambda data: parts.append(bytes(data)))
    for entry, content in items:
        writer.add_bytes(entry, content)
    writer.close()
    return b"".join(parts)


def chunked(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def read(data: bytes, size: int = 1 << 20) -> list[tuple[Entry, bytes]]:
    reader = Reader(chunked(data, size))
    return [(entry, reader.content(entry, 1 << 24) if entry.kind == b"0" else b"") for entry in reader]


@settings(max_examples=200, deadline=None)
@given(st.lists(members(), max_size=6), st.integers(1, 1500))
def test_what_is_written_is_read(items: list[tuple[Entry, bytes]], chunk: int) -> None:
    expected = []
    for entry, content in items:
        name = entry.name + b"/" if entry.kind == b"5" else entry.name
        copy = Entry(*(getattr(entry, field) for field in Entry.__slots__))
        copy.name = name
        expected.append((copy, content))
    assert read(written(items), chunk) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(members(), max_size=4))
def test_python_reads_what_is_written(items: list[tuple[Entry, bytes]]) -> None:
    opened = tarfile.open(fileobj=io.BytesIO(written(items)), encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
    for (entry, content), member in zip(items, opened.getmembers()):
        assert os.fsencode(member.name) == entry.name.rstrip(b"/")
        assert (member.mode, member.uid, member.gid) == (entry.mode, entry.uid, entry.gid)
        assert member.mtime == entry.mtime // 1_000_000_000
        if entry.kind in b"12":
            assert os.fsencode(member.linkname) == entry.link
        if entry.kind == b"0":
            assert opened.extractfile(member).read() == content  # type: ignore[union-attr]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=4000))
def test_noise_is_refused_or_empty(data: bytes) -> None:
    try:
        read(data)
    except InvalidInput:
        pass


@settings(max_examples=300, deadline=None)
@given(st.lists(members(), min_size=1, max_size=3), st.data())
def test_damaged_archives_never_surprise(items: list[tuple[Entry, bytes]], data: st.DataObject) -> None:
    """Whatever bytes are changed or cut off: an archive, or InvalidInput."""
    raw = bytearray(written(items))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.integers(0, len(raw))) :]
    try:
        for entry, _content in read(bytes(raw)):
            clean_name(entry.name)
    except InvalidInput:
        pass


@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_reads_pythons_archives(style: int) -> None:
    buffer = io.BytesIO()
    long = "d" * 90 + "/" + "e" * 90 if style == tarfile.USTAR_FORMAT else "/".join(["f" * 200] * 3)
    with tarfile.open(fileobj=buffer, mode="w", format=style) as archive:
        member = tarfile.TarInfo(long)
        member.size, member.mtime, member.mode = 3, 1234567890, 0o4755
        archive.addfile(member, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, long if style != tarfile.USTAR_FORMAT else "short"
        archive.addfile(link)
    (first, content), (second, _) = read(buffer.getvalue())
    assert (first.name.decode(), content, first.mode, first.mtime) == (long, b"abc", 0o4755, 1234567890 * 10**9)
    assert second.link.decode() == link.linkname


def test_large_numbers_in_base_256() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        member = tarfile.TarInfo("x")
        member.uid, member.gid, member.mtime = 3_000_000_000, 2_100_000_000, -5
        archive.addfile(member)
    ((entry, _),) = read(buffer.getvalue())
    assert (entry.uid, entry.gid, entry.mtime) == (3_000_000_000, 2_100_000_000, -5_000_000_000)


@pytest.mark.parametrize(
    "options", [["--format=gnu"], *(["--format=pax", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0"))]
)
def test_sparse_files_of_gnu_tar(tmp_path, options: list[str]) -> None:
    """GNU tar manual, "Storing Sparse Files": all four formats, with more parts than fit into one header."""
    path = tmp_path / ("sparse-" + "n" * 120)
    with open(path, "wb") as file:
        for index in range(40):
            file.seek(index * 65536)
            file.write(bytes([index + 1]) * 4096)
        file.truncate(5_000_000)
    data = subprocess.run(
        ["tar", "-C", tmp_path, "-cSf", "-", *options, path.name], check=True, capture_output=True
    ).stdout
    reader = Reader(chunked(data, 10_000))
    (entry,) = [(one, reader.content(one, 1 << 24)) for one in reader]
    assert entry[0].sparse is not None and len(entry[0].sparse) >= 40
    assert entry[0].name.decode() == path.name
    assert hashlib.sha256(entry[1]).digest() == hashlib.sha256(path.read_bytes()).digest()
    assert len(data) < 400_000


def test_attributes_of_libarchive() -> None:
    records = b"".join(
        b"%d %b\n" % (len(body) + len(str(len(body) + 3)) + 2, body)
        for body in (b"LIBARCHIVE.xattr.user.a%20b=aGVsbG8", b"SCHILY.xattr.user.c=raw")
    )
    block = header(Entry(b"p", b"x", size=len(records)))
    data = block + records + bytes(-len(records) % 512) + header(Entry(b"file")) + bytes(1024)
    ((entry, _),) = read(data)
    assert entry.xattrs == {"user.a b": b"hello", "user.c": b"raw"}


# -- hostile ----------------------------------------------------------------------------------------------------------


def extended(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    body = b""
    for key, value in records:
        length = len(key) + len(value) + 3
        while len(str(length)) + len(key) + len(value) + 3 != length:
            length = len(str(length)) + len(key) + len(value) + 3
        body += b"%d %b=%b\n" % (length, key, value)
    return header(Entry(b"pax", kind, size=len(body))) + body + bytes(-len(body) % 512)


@pytest.mark.parametrize(
    "name", [b"../x", b"a/../../x", b"..", b"a/..", b"/../etc/passwd", b"./../x", b"a\0b", b"x" * 5000]
)
def test_names_that_leave_the_tree(name: bytes) -> None:
    with pytest.raises(InvalidInput):
        clean_name(name)


@pytest.mark.parametrize(
    ("name", "clean"),
    [(b"/abs", b"abs"), (b"./a//b/./c/", b"a/b/c"), (b"./", b""), (b".", b""), (b"a/", b"a"), (b".wh.x", b".wh.x"),
     (b"..data/x", b"..data/x"), (b"a/...", b"a/...")],
)  # fmt: skip
def test_names_are_cleaned(name: bytes, clean: bytes) -> None:
    assert clean_name(name) == clean


def summed(offset: int, field: bytes) -> bytes:
    """A header with one field replaced and the checksum made right."""
    block = bytearray(header(Entry(b"x")))
    block[offset : offset + len(field)] = field
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


HOSTILE = {
    "path of NUL": extended((b"path", b"a\0b")) + header(Entry(b"x")),
    "path that leaves": extended((b"path", b"../../x")) + header(Entry(b"x")),
    "negative size": summed(124, b"-0000000001\0"),
    "size of base 256 below zero": summed(124, b"\xff" * 12),
    "size of base 256 beyond all": summed(124, b"\x80" + b"\xff" * 11),
    "mode of letters": summed(100, b"rwxrwxr\0"),
    "size of letters": extended((b"size", b"12a")) + header(Entry(b"x")),
    "size negative": extended((b"size", b"-12")) + header(Entry(b"x")),
    "size enormous": extended((b"size", b"9" * 25)) + header(Entry(b"x")),
    "uid enormous": extended((b"uid", b"4294967295")) + header(Entry(b"x")),
    "time enormous": extended((b"mtime", b"9" * 18)) + header(Entry(b"x")),
    "record too long": header(Entry(b"p", b"x", size=6)) + b"99 a=b" + bytes(506) + header(Entry(b"x")),
    "record of length 0": header(Entry(b"p", b"x", size=6)) + b"0 a=b\n" + bytes(506) + header(Entry(b"x")),
    "extension too large": header(Entry(b"p", b"x", size=2 << 20)),
    "long name too large": header(Entry(b"p", b"L", size=2 << 20)),
    "unknown kind": header(Entry(b"x", b"Q")),
    "multi-volume": header(Entry(b"x", b"M")),
    "link without target": header(Entry(b"x", b"1")),
    "sparse beyond its size": extended((b"GNU.sparse.size", b"10"), (b"GNU.sparse.map", b"0,5,8,5"))
    + header(Entry(b"x", size=10))
    + bytes(512),
    "sparse backwards": extended((b"GNU.sparse.size", b"100"), (b"GNU.sparse.map", b"50,5,8,5"))
    + header(Entry(b"x", size=10))
    + bytes(512),
    "sparse longer than stored": extended((b"GNU.sparse.size", b"1000"), (b"GNU.sparse.map", b"0,900"))
    + header(Entry(b"x", size=10))
    + bytes(512),
    "sparse without size": extended((b"GNU.sparse.map", b"0,9")) + header(Entry(b"x", size=10)) + bytes(512),
    "sparse map of lies": extended(
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9")
    )
    + header(Entry(b"x", size=512))
    + b"99999999\n".ljust(512, b"\0"),
    "cut in content": header(Entry(b"x", size=100)) + b"abc",
    "cut in header": header(Entry(b"x"))[:100],
    "wrong checksum": header(Entry(b"x")).replace(b"x", b"y", 1),
    "nothing after an extension": extended((b"path", b"x")) + bytes(1024),
}


@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_hostile_archives_are_refused(case: str) -> None:
    data = HOSTILE[case] + (b"" if case.startswith("cut") else bytes(1024))
    with pytest.raises(InvalidInput) as caught:
        for entry, _content in read(data):
            clean_name(entry.name)
    assert caught.value.hint


def test_too_many_members() -> None:
    block = header(Entry(b"x"))
    with pytest.raises(InvalidInput, match="more than 1000"):
        for _entry in Reader((block for _ in range(5000)), max_entries=1000):
            pass


def test_global_records_apply_to_all_and_are_overridden() -> None:
    data = extended((b"uid", b"7"), kind=b"g") + header(Entry(b"a")) + extended((b"uid", b"8")) + header(Entry(b"b"))
    assert [entry.uid for entry, _ in read(data + bytes(1024))] == [7, 8]


def test_writing_is_deterministic_and_names_no_one() -> None:
    entry = Entry(
        b"d/" + b"n" * 150,
        b"0",
        0o600,
        1000,
        1000,
        0,
        1_700_000_000_123_456_789,
        xattrs={"user.b": b"2", "user.a": b"1"},
    )
    data = written([(entry, b"x")])
    assert data == written([(entry, b"x")])
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        (member,) = archive.getmembers()
    assert (member.uname, member.gname, member.mtime) == ("", "", 1_700_000_000)
    assert list(member.pax_headers) == ["path", "SCHILY.xattr.user.a", "SCHILY.xattr.user.b"]


@pytest.mark.parametrize("length", [99, 100, 101, 150, 155, 156, 200, 255, 256, 257, 300, 1000, 4000])
@pytest.mark.parametrize("kind", [b"0", b"5"])
def test_gnu_tar_lists_names_of_every_length(length: int, kind: bytes) -> None:
    name = b"/".join([b"p" * 60] * 70)[: length - 1] + b"z"
    name = name.replace(b"/z", b"yz")
    listing = subprocess.run(
        ["tar", "-tf", "-"], input=written([(Entry(name, kind), b"")]), capture_output=True, check=True
    )
    assert listing.stdout.rstrip(b"/\n") == name


def test_names_that_are_not_utf8() -> None:
    """Short ones stand as they are, long ones behind hdrcharset=BINARY."""
    short, long = b"caf\xe9", b"/".join([b"caf\xe9" * 20] * 4)
    data = written([(Entry(short), b"1"), (Entry(long), b"2")])
    assert [entry.name for entry, _ in read(data)] == [short, long]
    assert b"hdrcharset=BINARY" in data
    run = subprocess.run(["tar", "--quoting-style=literal", "-tf", "-"], input=data, capture_output=True, check=True)
    assert run.stdout.split(b"\n")[:2] == [short, long]


def test_kept_attributes() -> None:
    kept = ["user.x", "security.capability", "system.posix_acl_access"]
    dropped = [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "user.overlay.opaque",
        "security.selinux",
        "trusted.x",
    ]
    assert list(filter(entries.keeps_xattr, kept + dropped)) == kept
