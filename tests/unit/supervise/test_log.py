# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log: what is written is what is read, whatever the chunks, the lines' lengths, the rotation and the disk."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine.errors import InvalidInput
from vitrine.supervise import logfile, logs

PIECES = st.lists(
    st.tuples(
        st.sampled_from(["stdout", "stderr"]),
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from([b"\n", b"\\n", b"\xff\xfe\n", b'"\n', "häß\u2028\n".encode(), b"x" * 20000, b"\0\x1b[0m"]),
        ),
    ),
    max_size=30,
)


def text_of(path, stream, **options):
    return b"".join(text for name, text in logs.read(str(path), **options) if name == stream)


def readable(data: bytes) -> bytes:
    return data.decode("utf-8", "replace").encode()


@given(PIECES)
@settings(deadline=None)
def test_what_is_written_in_any_pieces_is_read_again(tmp_path_factory, pieces):
    path = tmp_path_factory.mktemp("log") / "log"
    log = logfile.LineLog(logfile.RotatingFile(str(path)), logfile.json_entries)
    for stream, data in pieces:
        log.write(stream, data, time.time_ns())
    assert log.pending == any(
        b"".join(d for s, d in pieces if s == name)[-1:] not in (b"", b"\n") for name in ("stdout", "stderr")
    )
    log.close(time.time_ns(), durable=False)
    for line in path.read_bytes().splitlines():
        entry = json.loads(line)
        assert set(entry) == {"log", "stream", "time"}
        assert len(entry["log"].encode("utf-8", "replace")) <= 3 * logfile.PIECE + 1
    for name in ("stdout", "stderr"):
        wanted = b"".join(data for stream, data in pieces if stream == name)
        lines = [readable(line) for line in wanted.split(b"\n")]
        # A long invalid line may be cut within bytes that one decoder would have taken together.
        if all(len(line) <= logfile.PIECE for line in wanted.split(b"\n")):
            assert text_of(path, name) == b"\n".join(lines)
        else:
            assert text_of(path, name).replace(b"\xef\xbf\xbd", b"") == b"\n".join(lines).replace(b"\xef\xbf\xbd", b"")


@pytest.mark.parametrize("entries", [logfile.json_entries, logfile.text_entries])
def test_a_long_line_is_cut_at_characters_and_joined_again(tmp_path, entries):
    path = tmp_path / "log"
    log = logfile.LineLog(logfile.RotatingFile(str(path)), entries)
    line = ("ä€😀" * 9000).encode() + b"\nshort\n"
    for start in range(0, len(line), 65536):
        log.write("stdout", line[start : start + 65536], time.time_ns())
    log.close(time.time_ns(), durable=False)
    parts = [text for _stream, text in logs.read(str(path))]
    assert b"".join(parts) == line
    assert len(parts) > 2 and all(len(part) <= logfile.PIECE + 1 for part in parts)
    assert all("\ufffd" not in part.decode() for part in parts)


def test_exactly_sixteen_kib_are_one_entry(tmp_path):
    path = tmp_path / "log"
    log = logfile.LineLog(logfile.RotatingFile(str(path)), logfile.json_entries)
    log.write("stdout", b"x" * logfile.PIECE + b"\n" + b"y" * (logfile.PIECE + 1) + b"\n", time.time_ns())
    assert [len(text) for _stream, text in logs.read(str(path))] == [logfile.PIECE + 1, logfile.PIECE, 2]


def test_docker_reads_the_same_line():
    line = logfile.json_entries("stderr", b'a "b" \\ \x01\n', "2026-11-24T09:00:00.000000001Z")
    assert line == b'{"log":"a \\"b\\" \\\\ \\u0001\\n","stream":"stderr","time":"2026-11-24T09:00:00.000000001Z"}\n'


def test_the_kubelets_format():
    assert logfile.text_entries("stdout", b"one\ntwo", "T") == b"T stdout F one\nT stdout P two\n"


# -- rotation ---------------------------------------------------------------------------------------------------------


def test_rotation_keeps_the_newest_and_no_file_outgrows_its_limit(tmp_path):
    path = tmp_path / "log"
    log = logfile.LineLog(logfile.RotatingFile(str(path), 10_000, 3), logfile.json_entries)
    for block in range(20):
        log.write("stdout", b"".join(b"line %d\n" % (block * 20 + n) for n in range(20)), time.time_ns())
    names = sorted(os.listdir(tmp_path))
    assert names == ["log", "log.1", "log.2"]
    assert all(os.stat(tmp_path / name).st_size <= 10_000 for name in names)
    lines = text_of(path, "stdout").splitlines()
    assert lines == [b"line %d" % n for n in range(400 - len(lines), 400)]
    assert len(lines) > 200


def test_one_file_starts_anew(tmp_path):
    path = tmp_path / "log"
    file = logfile.RotatingFile(str(path), 100, 1)
    for number in range(50):
        file.append(b"entry %d\n" % number)
    assert os.listdir(tmp_path) == ["log"]
    assert path.read_bytes().endswith(b"entry 49\n")
    assert os.stat(path).st_size <= 100


def test_an_entry_larger_than_the_limit_is_kept_whole(tmp_path):
    file = logfile.RotatingFile(str(tmp_path / "log"), 10, 2)
    file.append(b"a\n" + b"b" * 50 + b"\n" + b"c\n")
    assert (tmp_path / "log.1").read_bytes() == b"b" * 50 + b"\n"
    assert (tmp_path / "log").read_bytes() == b"c\n"


def test_a_torn_last_line_spoils_no_other(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(logfile.json_entries("stdout", b"one\n", "T") + b'{"log":"tw')
    file = logfile.RotatingFile(str(path))
    file.append(logfile.json_entries("stdout", b"three\n", "T"))
    assert text_of(path, "stdout") == b"one\nthree\n"


def test_a_write_that_fails_half_way_leaves_no_torn_entry(tmp_path, monkeypatch):
    path = tmp_path / "log"
    file = logfile.RotatingFile(str(path))
    file.append(b"first\n")
    write = os.write

    def full(fd, data):
        if len(data) == 12:
            return write(fd, data[:6])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(logfile.os, "write", full)
    file.append(b"sec\nthi\nfou\n")
    monkeypatch.undo()
    assert file.dropped == 2
    file.append(b"fifth\n")
    assert path.read_bytes() == b"first\nsec\nfifth\n"


# -- reading ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def filled(tmp_path):
    path = tmp_path / "log"
    log = logfile.LineLog(logfile.RotatingFile(str(path), 2000, 4), logfile.json_entries)
    for number in range(60):
        log.write("stdout" if number % 2 else "stderr", b"%d\n" % number, number * 10**9)
    return path


@pytest.mark.parametrize("tail", [0, 1, 2, 19, 20, 21, 40, 59, 60, 1000])
def test_tail_across_files(filled, tail):
    everything = [text for _stream, text in logs.read(str(filled))]
    assert len(everything) == 60
    assert [text for _stream, text in logs.read(str(filled), tail=tail)] == everything[60 - min(tail, 60) :]


def test_since_and_until(filled):
    texts = [text for _stream, text in logs.read(str(filled), since=10 * 10**9, until=12 * 10**9)]
    assert texts == [b"10\n", b"11\n", b"12\n"]


def test_timestamps(filled):
    assert next(logs.read(str(filled), timestamps=True, tail=1)) == (
        "stdout",
        b"1970-01-01T00:00:59.000000000Z 59\n",
    )


def test_a_missing_log_is_empty(tmp_path):
    assert list(logs.read(str(tmp_path / "none"))) == []


def test_following_crosses_rotations_and_ends_with_the_monitor(tmp_path):
    path = tmp_path / "log"
    ended = threading.Event()

    def write():
        log = logfile.LineLog(logfile.RotatingFile(str(path), 4000, 8), logfile.json_entries)
        for number in range(300):
            log.write("stdout", b"%d\n" % number, time.time_ns())
            if number % 10 == 0:
                time.sleep(0.005)
        ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    got = text_of(path, "stdout", follow=True, alive=lambda: not ended.is_set())
    thread.join()
    assert got.split() == [b"%d" % number for number in range(300)]


NOW = 1_700_000_000 * 10**9


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1700000000", NOW),
        ("1700000000.5", NOW + 500_000_000),
        ("10m", NOW - 600 * 10**9),
        ("1h30m", NOW - 5400 * 10**9),
        ("1.5s", NOW - 1_500_000_000),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14T22:13:20.000000001Z", NOW + 1),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("2023-11-14T22:13", NOW - 20 * 10**9),
        ("2023-11-14", 1_699_920_000 * 10**9),
    ],
)
def test_times_that_users_write(text, ns):
    assert logs.parse_time(text, NOW) == ns


@pytest.mark.parametrize("text", ["", "yesterday", "2023-13-01", "-5", "10 m", "2023-11-14T25:00:00Z", "٣"])
def test_times_that_are_none(text):
    with pytest.raises(InvalidInput) as caught:
        logs.parse_time(text, NOW)
    assert repr(text) in str(caught.value)
