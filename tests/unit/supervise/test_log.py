# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log: what is written is what is read, whatever the chunks, the lines' lengths, the rotation and the disk."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine import errors
from vitrine.errors import InvalidInput
from vitrine.supervise import journalctl, journald, logfile, logs

NOW = 1_700_000_000 * 10**9

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


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("entries", [logfile.json_entries, logfile.text_entries])
def test_following_crosses_rotations_and_ends_with_the_monitor(tmp_path, entries, compress):
    path = tmp_path / "log"
    ended = threading.Event()

    def write():
        log = logfile.LineLog(logfile.RotatingFile(str(path), 4000, 8, compress=compress), entries)
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


def test_who_follows_reads_the_rest_of_the_renamed_file_first(tmp_path):
    path = tmp_path / "log"
    log = logfile.LineLog(logfile.RotatingFile(str(path), 0, 4), logfile.json_entries)
    log.write("stdout", b"one\n", NOW)
    alive = [True]
    following = logs.read(str(path), follow=True, alive=lambda: alive[0])
    assert next(following) == ("stdout", b"one\n")
    log.write("stdout", b"two\n", NOW)
    os.rename(path, f"{path}.1")
    other = logfile.LineLog(logfile.RotatingFile(str(path)), logfile.json_entries)
    other.write("stdout", b"three\n", NOW)
    assert [next(following)[1] for _ in range(2)] == [b"two\n", b"three\n"]
    os.rename(f"{path}.1", f"{path}.2")
    os.rename(path, f"{path}.1")
    logfile.compress(f"{path}.1")  # what it still has open is compressed under its feet
    third = logfile.LineLog(logfile.RotatingFile(str(path)), logfile.json_entries)
    third.write("stdout", b"four\n", NOW)
    alive[0] = False
    assert [text for _stream, text in following] == [b"four\n"]


def test_an_entry_that_was_taken_back_is_not_read_in_half(tmp_path):
    """The monitor cuts off what a full disk took of an entry, and writes on from there when there is room."""
    path = tmp_path / "log"
    lines = [logfile.json_entries("stdout", b"%d\n" % number, "2026-11-24T09:47:25.000000000Z") for number in range(3)]
    path.write_bytes(lines[0] + lines[1][:30])
    alive = [True]
    following = logs.read(str(path), follow=True, alive=lambda: alive[0])
    assert next(following)[1] == b"0\n"

    def write():
        path.write_bytes(lines[0] + lines[2] + lines[1])
        alive[0] = False

    threading.Timer(0.2, write).start()
    assert [text for _stream, text in following] == [b"2\n", b"1\n"]


def test_renamed_files_are_compressed_and_read_again(tmp_path):
    path = tmp_path / "log"
    log = logfile.LineLog(logfile.RotatingFile(str(path), 3000, 4, compress=True), logfile.json_entries)
    for number in range(200):
        log.write("stdout", b"%d\n" % number, NOW + number)
    log.close(NOW, durable=False)
    log.settle()
    assert sorted(name for name in os.listdir(tmp_path)) == ["log", "log.1.gz", "log.2.gz", "log.3.gz"]
    kept = [int(text) for _stream, text in logs.read(str(path))]
    assert kept == list(range(kept[0], 200)) and len(kept) > 90
    assert [int(text) for _stream, text in logs.read(str(path), tail=60)] == kept[-60:]


def test_files_of_before_compression_leave_in_their_turn(tmp_path):
    path = tmp_path / "log"
    for compress, first in ((False, 0), (True, 100), (False, 200)):
        log = logfile.LineLog(logfile.RotatingFile(str(path), 3000, 3, compress=compress), logfile.json_entries)
        for number in range(first, first + 50):
            log.write("stdout", b"%d\n" % number, NOW)
        log.close(NOW, durable=False)
        log.settle()
        kept = [int(text) for _stream, text in logs.read(str(path))]
        assert kept == sorted(set(kept)) and kept[-1] == first + 49
    assert len([name for name in os.listdir(tmp_path) if name.startswith("log.")]) == 2


def test_a_folder_that_takes_no_renames_has_one_long_log_until_it_does(tmp_path, monkeypatch):
    path = tmp_path / "log"
    file = logfile.RotatingFile(str(path), 100, 2)
    rename = os.rename

    def refuse(*_names):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "rename", refuse)
    for _ in range(10):
        file.append(b"x" * 29 + b"\n")
    assert path.stat().st_size == 300 and file.dropped == 0
    monkeypatch.setattr(os, "rename", rename)
    for _ in range(10):
        file.append(b"x" * 29 + b"\n")
    assert path.stat().st_size <= 100 and (tmp_path / "log.1").exists()


def test_attributes_are_said_as_docker_says_them(tmp_path):
    line = logfile.json_format({"tag": 'a"b', "app": "web"})("stdout", b"hi\n", "T")
    assert line == b'{"log":"hi\\n","stream":"stdout","attrs":{"tag":"a\\"b","app":"web"},"time":"T"}\n'
    assert logs.parse(line) == ("stdout", "T", b"hi\n")


# -- systemd's journal ------------------------------------------------------------------------------------------------


@pytest.fixture
def journal(tmp_path):
    """The other side of the protocol: a socket; journal() returns an entry that came as (name, value)s."""
    path = str(tmp_path / "journal")

    def listen():
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(path)
        sock.settimeout(5)
        return sock

    def receive():
        data, fds, _flags, _address = socket.recv_fds(receive.sock, 1 << 20, 1)
        if fds:
            assert data == b""
            with open(fds[0], "rb") as file:
                file.seek(0)
                data = file.read()
        found = []
        while data:
            name, separator, rest = data.partition(b"\n")
            if b"=" in name:
                key, _equals, value = name.partition(b"=")
                data = rest
            else:
                size = int.from_bytes(rest[:8], "little")
                key, value, data = name, rest[8 : 8 + size], rest[8 + size + 1 :]
            found.append((key.decode(), value))
        return dict(found)

    receive.path = path
    receive.listen = listen
    receive.sock = listen()
    yield receive
    receive.sock.close()


def journal_log(journal, **options):
    fields = {"CONTAINER_NAME": "it", "LABEL": "two\nlines"}
    return logfile.make({"driver": "journald", "socket": journal.path, "fields": fields}, **options)


def test_the_journal_gets_one_entry_for_each_line(journal):
    log = journal_log(journal)
    log.write("stdout", b"one\ntw", NOW)
    assert journal() == {"CONTAINER_NAME": b"it", "LABEL": b"two\nlines", "PRIORITY": b"6", "MESSAGE": b"one"}
    assert log.pending
    log.write("stdout", b"o\n", NOW)
    assert journal()["MESSAGE"] == b"two"
    log.write("stderr", b"\xff\0 end", NOW)
    log.close(NOW, durable=False)
    entry = journal()
    assert (entry["MESSAGE"], entry["PRIORITY"], entry["CONTAINER_PARTIAL_MESSAGE"]) == (b"\xff\0 end", b"3", b"true")
    assert log.dropped == 0


def test_an_entry_that_is_too_large_for_a_datagram_goes_as_a_file(journal, monkeypatch):
    monkeypatch.setattr(logfile, "PIECE", 1 << 20)
    log = journal_log(journal)
    line = bytes(range(32, 127)) * 5000
    log.write("stdout", line + b"\n", NOW)
    assert journal()["MESSAGE"] == line
    assert log.dropped == 0


def test_without_a_journal_the_start_says_so_but_a_running_container_goes_on(journal):
    journal.sock.close()
    with pytest.raises(errors.StartFailed) as caught:
        journal_log(journal)
    assert journal.path in str(caught.value) and "log-driver" in caught.value.hint
    log = journal_log(journal, adopting=True)
    log.write("stdout", b"lost\n", NOW)
    assert log.dropped == 1


def test_a_journal_that_restarts_is_found_again(journal):
    log = journal_log(journal)
    journal.sock.close()
    os.unlink(journal.path)
    log.write("stdout", b"lost\n", NOW)
    assert log.dropped == 1
    journal.sock = journal.listen()
    log.write("stdout", b"found\n", NOW)
    assert journal()["MESSAGE"] == b"found"


def test_a_journal_that_hangs_blocks_nobody_for_long(journal, monkeypatch):
    monkeypatch.setattr(journald, "_WAIT_MS", 10)
    log = journal_log(journal)
    for number in range(3000):
        log.write("stdout", b"%d\n" % number, NOW)
    assert log.dropped > 0
    assert journal()["MESSAGE"] == b"0"


def test_what_journalctl_prints_is_read(tmp_path, monkeypatch):
    stand_in = tmp_path / "journalctl"
    stand_in.write_text(
        "#!/bin/sh\n"
        'echo "$@" > ' + str(tmp_path / "asked") + "\n"
        "cat << 'EOF'\n"
        '{"MESSAGE":"one","PRIORITY":"6","__REALTIME_TIMESTAMP":"1700000000000001"}\n'
        '{"MESSAGE":[255,0],"PRIORITY":"3","CONTAINER_PARTIAL_MESSAGE":"true","__REALTIME_TIMESTAMP":"1700000000000002"}\n'
        "-- no entry --\n"
        "EOF\n"
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    how = {"since": NOW, "tail": 5, "timestamps": True}
    assert list(journalctl.read("ab12", **how)) == [
        ("stdout", b"2023-11-14T22:13:20.000001000Z one\n"),
        ("stderr", b"2023-11-14T22:13:20.000002000Z \xff\0"),
    ]
    asked = (tmp_path / "asked").read_text().split()
    assert {"CONTAINER_ID_FULL=ab12", "--lines=5", "--since=@1700000000.000000"} <= set(asked)
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(errors.HostError):
        list(journalctl.read("ab12"))


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
