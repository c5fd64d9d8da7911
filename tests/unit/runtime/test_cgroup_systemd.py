# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd is asked for: the very bytes and arguments, and a conversation with a stand-in for its socket."""

from __future__ import annotations

import os
import socket
import struct
import threading
from pathlib import Path

import pytest

from vitrine.runtime.cgroups import systemd

REQUEST = systemd.request("vitrine-abc123")
NAME, TEXT = "org.freedesktop.systemd1", "already there"


def string(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode() + b"\0"


def reply(serial: int, error: str = "") -> bytes:
    """An answer to a call: a job's path, or an error with a text."""
    fields = b"\x05\x01u\0" + struct.pack("<I", serial)
    if error:
        fields += b"\x04\x01s\0" + string(error)
        fields += bytes(-len(fields) % 8)
    body = string(TEXT) if error else string("/org/freedesktop/systemd1/job/1")
    fields += b"\x08\x01g\0\x01" + (b"s" if error else b"o") + b"\0"
    header = struct.pack("<cBBBII", b"l", 3 if error else 2, 0, 1, len(body), 99) + struct.pack("<I", len(fields))
    return header + fields + bytes(-(16 + len(fields)) % 8) + body


def test_the_scope_s_names() -> None:
    assert REQUEST == {
        "scope": "vitrine-abc123.scope",
        "slice": "vitrine.slice",
        "path": "/vitrine.slice/vitrine-abc123.scope",
    }


def test_busctl_gets_counted_arguments() -> None:
    argv = systemd.busctl_argv(REQUEST, 42)
    assert argv[:3] == ["busctl", "--system", "--quiet"]
    at = argv.index("ssa(sv)a(sa(sv))")
    assert argv[at + 1 : at + 3] == ["vitrine-abc123.scope", "fail"]
    assert int(argv[at + 3]) == len(systemd.properties(REQUEST, 42))
    assert argv[argv.index("Delegate") :][:3] == ["Delegate", "b", "true"]
    assert argv[-5:] == ["PIDs", "au", "1", "42", "0"]


def test_the_call_is_well_formed() -> None:
    data = systemd.start_message(REQUEST, 4242, 7)
    order, kind, _, version, body, serial, fields = struct.unpack_from("<cBBBIII", data)
    assert (order, kind, version, serial) == (b"l", 1, 1, 7)
    start = 16 + fields + -fields % 8
    assert len(data) == start + body
    assert data[start:].startswith(string("vitrine-abc123.scope") + bytes(3) + string("fail"))
    # The last property is PIDs, an array of one number, and then the empty list of auxiliary units.
    assert data.endswith(struct.pack("<II", 4, 4242) + struct.pack("<I", 0) + bytes(4))


def test_a_hello_is_as_the_bus_expects_it() -> None:
    data = systemd.message(1, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")
    assert len(data) % 8 == 0
    assert data.count(b"org.freedesktop.DBus\0") == 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [("", ""), (NAME + ".UnitExists", ""), (NAME + ".NoSuchUnit", NAME + ".NoSuchUnit: " + TEXT)],
)
@pytest.mark.parametrize("on_bus", [False, True])
def test_the_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_bus: bool, error: str, expected: str
) -> None:
    path = str(tmp_path / "socket")
    monkeypatch.setattr(systemd, "PRIVATE", "" if on_bus else path)
    heard: list[bytes] = []
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            heard.append(connection.recv(100))
            connection.sendall(b"OK 1234deadbeef\r\n")
            serial = 2 if on_bus else 1
            whole = len(b"BEGIN\r\n") + len(systemd.start_message(REQUEST, 5, serial))
            whole += len(systemd.message(1, *systemd._BUS_HELLO)) if on_bus else 0
            data = b""
            while len(data) < whole:
                data += connection.recv(4096)
            heard.append(data)
            answer = (reply(1) if on_bus else b"") + reply(serial, error)
            connection.sendall(answer[:30])
            connection.sendall(answer[30:])

    thread = threading.Thread(target=serve)
    thread.start()
    assert systemd._call(path, REQUEST, 5) == expected
    thread.join()
    server.close()
    assert heard[0] == b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n"
    assert heard[1].startswith(b"BEGIN\r\n")


@pytest.mark.parametrize("error", ["", "some.Error"])
def test_messages_are_parsed_only_when_whole(error: str) -> None:
    data = reply(7, error)
    assert [systemd._parse(data[:length]) for length in range(len(data))] == [None] * len(data)
    found = systemd._parse(data + b"more")
    assert found is not None
    length, kind, fields, text = found
    assert (length, kind, fields[5]) == (len(data), 3 if error else 2, 7)
    assert (fields.get(4), text) == ((error, TEXT) if error else (None, ""))


@pytest.mark.parametrize(
    ("kind", "value", "bytes_", "busctl"),
    [
        ("t", 2**64 - 1, b"\x01t\0" + bytes(5) + b"\xff" * 8, [str(2**64 - 1)]),
        ("b", True, b"\x01b\0\0" + struct.pack("<I", 1), ["true"]),
        ("as", ["ab", "c"], b"\x02as\0" + struct.pack("<I", 14) + string("ab") + b"\0" + string("c"), ["2", "ab", "c"]),
        ("au", [1, 2], b"\x02au\0" + struct.pack("<III", 8, 1, 2), ["2", "1", "2"]),
    ],
)
def test_values(monkeypatch, kind, value, bytes_, busctl) -> None:
    """As the D-Bus specification marshals them, each aligned to its own size."""
    writer = systemd._Writer()
    writer.variant(kind, value)
    assert bytes(writer.data) == bytes_
    monkeypatch.setattr(systemd, "properties", lambda _request, _pid: [("Name", kind, value)])
    assert systemd.busctl_argv(REQUEST, 1)[-2 - len(busctl) :] == [kind, *busctl, "0"]


def test_the_scope_is_unlimited_and_ends_after_the_boot_service() -> None:
    wanted = {name: value for name, _kind, value in systemd.properties(REQUEST, 1)}
    assert wanted["TasksMax"] == 2**64 - 1 and wanted["Before"] == ["vitrine-boot.service"] and wanted["Delegate"]


def test_no_unit_of_ours_names_the_scope() -> None:
    """systemd keeps what is named loaded, and makes no new scope of that name while it does."""
    from vitrine.engine.spec import ContainerSpec
    from vitrine.engine.units import unit

    templates = Path(__file__).resolve().parents[3] / "roles" / "engine" / "templates"
    assert ".scope" not in (templates / "vitrine-boot.service.j2").read_text()
    assert ".scope" not in unit("web", ContainerSpec(image="i"), program=["/bin/true"], folders=["/"])
