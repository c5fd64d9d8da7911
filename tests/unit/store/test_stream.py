# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decompression: every format in pieces of every size, damaged ones, and ones that are made to fill memory or disk."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import subprocess
import tempfile
import tracemalloc
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine.errors import InvalidInput, UnsupportedContent
from vitrine.store.layers import stream

HAS_ZSTD = find_spec("zstandard") is not None or find_spec("compression") is not None
COMPRESS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "": bytes}


def plain(data: bytes, compression: str | None) -> bytes:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        return b"".join(stream.chunks(file.fileno(), compression))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(COMPRESS)), st.lists(st.binary(max_size=2000), min_size=1, max_size=5), st.booleans())
def test_members_one_after_another(kind: str, parts: list[bytes], told: bool) -> None:
    data = b"".join(map(COMPRESS[kind], parts))
    if kind == "" and stream.sniff(data):
        return
    assert plain(data, kind if told else None) == b"".join(parts)


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_cut_or_damaged(kind: str) -> None:
    data = COMPRESS[kind](os.urandom(300_000))
    for broken in (data[:-9], data[: len(data) // 2], data[:1000] + b"xxxx" + data[1004:], b"nothing of the kind"):
        with pytest.raises(InvalidInput, match=kind):
            plain(broken, kind)


def test_padding_behind_gzip() -> None:
    assert plain(gzip.compress(b"x") + bytes(1000), "gzip") == b"x"


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_memory_stays_small(kind: str) -> None:
    """200 MB of zeros from little: never more than a few pieces of a MiB at once."""
    data = COMPRESS[kind](bytes(200 << 20))
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        tracemalloc.start()
        try:
            assert sum(map(len, stream.chunks(file.fileno(), kind))) == 200 << 20
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
        finally:
            tracemalloc.stop()


def test_a_bomb_is_stopped(monkeypatch) -> None:
    monkeypatch.setattr(stream, "RATIO_MATTERS_FROM", 1 << 20)
    with pytest.raises(InvalidInput, match="inflates"):
        plain(gzip.compress(bytes(50 << 20)), "gzip")


def test_hashed_tells_digest_and_errors() -> None:
    from hashlib import sha256

    data = os.urandom(5_000_000)
    hashed = stream.Hashed(iter([data[:10], data[10:]]))
    assert b"".join(hashed) == data
    assert (hashed.digest, hashed.size) == ("sha256:" + sha256(data).hexdigest(), len(data))

    def broken():
        yield b"x"
        raise InvalidInput("broken")

    with pytest.raises(InvalidInput, match="broken"):
        list(stream.Hashed(broken()))


def test_hashed_ends_early() -> None:
    hashed = stream.Hashed(b"x" * 1000 for _ in range(1_000_000))
    next(iter(hashed))
    hashed.close()
    assert not hashed._thread.is_alive()


@pytest.mark.skipif(not shutil.which("zstd"), reason="needs the program zstd to make an archive")
def test_zstd_or_what_to_do() -> None:
    parts = [os.urandom(400_000), bytes(3 << 20)]
    packed = [subprocess.run(["zstd", "-q"], input=part, capture_output=True, check=True).stdout for part in parts]
    if HAS_ZSTD:
        assert plain(b"".join(packed), None) == b"".join(parts)
        with pytest.raises(InvalidInput, match="zstd"):
            plain(packed[0][:2000] + b"xxxxxxxx" + packed[0][2008:], "zstd")
    else:
        with pytest.raises(UnsupportedContent, match="python3-zstandard"):
            plain(packed[0], None)
