# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where systemd runs the host it owns the version 2 tree: asks it for one delegated scope per engine root.

The scope is a group below vitrine.slice that systemd leaves to us (Delegate=yes; "Control Group APIs and Delegation"):
  vitrine.slice/<tag>.scope/monitors   the monitors of all containers
  vitrine.slice/<tag>.scope/<id>       one container each, made and removed by us
It is asked for when the first container starts after a boot, lives as long as a monitor does, and ends by itself. So
starting a container asks systemd nothing, a daemon-reload resets no limit, and a monitor outlives its ssh session.

Transport: one D-Bus call on systemd's private socket, else on the system bus, else by busctl(1).
"""

from __future__ import annotations

import os
import struct
import time

from ...errors import HostError
from ...linux import process
from .files import read_or_empty, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PRIVATE, BUS = "/run/systemd/private", "/run/dbus/system_bus_socket"
MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
MONITORS = "monitors"
DELEGATED = ("cpuset", "cpu", "io", "memory", "pids")  # the controllers that systemd hands down; it knows no others
BOOT_SERVICE = "vitrine-boot.service"
NO_LIMIT = 2**64 - 1  # systemd's "infinity"


def request(tag: str) -> dict[str, str]:
    """Return what to ask for: the scope's name, its slice, and its path in the version 2 tree."""
    return {"scope": f"{tag}.scope", "slice": "vitrine.slice", "path": f"/vitrine.slice/{tag}.scope"}


def enter_scope(request: dict[str, str], directory: str, patience: float = 30.0) -> None:
    """Move the calling process (a monitor) to the scope's "monitors" group, asking systemd for the scope if needed.

    directory: the scope's directory. Raises HostError when systemd refuses or does not answer in patience seconds.
    """
    end = time.monotonic() + patience
    refusals = 0
    while True:
        try:
            _settle(directory)
            return
        except OSError as error:
            # The scope may end, with its last monitor, at any moment: then it is asked for again.
            problem = os.strerror(error.errno or 0)
        refusal = ask(request, os.getpid()) if time.monotonic() < end else problem
        if refusal:
            refusals += 1
            if refusals == 3 or time.monotonic() >= end:
                raise HostError(
                    f"systemd did not make the scope {request['scope']}: {refusal}",
                    hint=f"see: systemctl status {request['scope']}; journalctl -b -u {request['scope']}; "
                    "when it is dead and stays loaded, a unit names it in After= or the like, which it must not",
                    value=request["scope"],
                )
            time.sleep(0.1)
            continue
        for _ in range(100):  # systemd answers before it has moved us
            if request["scope"] in read_or_empty("/proc/self/cgroup"):
                break
            time.sleep(0.01)


def bring(directory: str, pid: int, started: int) -> None:
    """Move another process, which is no monitor but lives with them, to the group for monitors. Raises nothing."""
    try:
        if process.alive(pid, started):
            write(f"{directory}/{MONITORS}/cgroup.procs", str(pid))
    except OSError:
        pass  # it has ended, or stays where it is


def _settle(directory: str) -> None:
    """Enter the group for monitors: a group that hands controllers down may hold no processes itself."""
    leaf = directory + "/" + MONITORS
    try:
        os.mkdir(leaf, 0o755)
    except FileExistsError:
        pass
    write(leaf + "/cgroup.procs", "0")
    for pid in read_or_empty(directory + "/cgroup.procs").split():
        try:
            write(leaf + "/cgroup.procs", pid)
        except ProcessLookupError:
            pass


def ask(request: dict[str, str], pid: int) -> str:
    """Ask for the scope, with pid in it. Return "" or what went wrong; that it exists already is fine."""
    problem = ""
    for path in (PRIVATE, BUS):
        if os.path.exists(path):
            try:
                return _call(path, request, pid)
            except OSError as error:
                problem = f"{path}: {error.strerror or error}"
    from ...linux import command

    if not command.which("busctl"):
        return problem or "neither its socket nor busctl is there"
    done = command.run(busctl_argv(request, pid), timeout=25)
    text = done.stderr.decode("utf-8", "replace").strip()
    return "" if done.status == 0 or "already" in text or "UnitExists" in text else text


def properties(request: dict[str, str], pid: int) -> list[tuple[str, str, Any]]:
    """Return (name, D-Bus type, value) of the scope's properties (org.freedesktop.systemd1)."""
    return [
        ("Description", "s", "Containers of Vitrine"),
        ("Slice", "s", request["slice"]),
        ("Delegate", "b", True),
        ("DefaultDependencies", "b", False),
        # When the host goes down that service stops the containers, before systemd would. It must be said here: a unit
        # that names the scope would keep it loaded when it has ended, and then systemd makes no new one.
        ("Before", "as", [BOOT_SERVICE]),
        ("CollectMode", "s", "inactive-or-failed"),
        ("CPUAccounting", "b", True),
        ("MemoryAccounting", "b", True),
        ("IOAccounting", "b", True),
        ("TasksAccounting", "b", True),
        ("TasksMax", "t", NO_LIMIT),  # else all containers together get what systemd allows one service
        ("PIDs", "au", [pid]),
    ]


def busctl_argv(request: dict[str, str], pid: int) -> list[str]:
    """Return the command that makes the same call."""
    argv = ["busctl", "--system", "--quiet", "call", *MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))"]
    items = properties(request, pid)
    argv += [request["scope"], "fail", str(len(items))]
    for name, kind, value in items:
        argv += [name, kind]
        if kind in ("as", "au"):
            argv += [str(len(value)), *map(str, value)]
        elif kind == "b":
            argv.append("true" if value else "false")
        else:
            argv.append(str(value))
    return [*argv, "0"]


# -- D-Bus (the D-Bus specification, "Message Protocol" and "Authentication Protocol") -----------------------------


class _Writer:
    """Marshals values, little-endian, each aligned to its own size from the message's beginning."""

    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, size: int) -> None:
        self.data += bytes(-len(self.data) % size)

    def number(self, value: int) -> None:
        self.align(4)
        self.data += struct.pack("<I", value)

    def string(self, value: str) -> None:
        raw = value.encode()
        self.number(len(raw))
        self.data += raw + b"\0"

    def strings(self, values: list[str]) -> None:
        for value in values:
            self.string(value)

    def signature(self, value: str) -> None:
        self.data += bytes((len(value),)) + value.encode() + b"\0"

    def variant(self, kind: str, value: Any) -> None:
        self.signature(kind)
        if kind in ("s", "o"):
            self.string(value)
        elif kind == "g":
            self.signature(value)
        elif kind == "b":
            self.number(int(value))
        elif kind == "as":
            self.array(4, lambda: self.strings(value))
        elif kind == "t":
            self.align(8)
            self.data += struct.pack("<Q", value)
        else:  # "au"
            self.number(4 * len(value))
            for each in value:
                self.number(each)

    def array(self, alignment: int, write_items: Any) -> None:
        """Its length, without the padding before the first item, comes before the items."""
        self.number(0)
        at = len(self.data)
        self.align(alignment)
        start = len(self.data)
        write_items()
        struct.pack_into("<I", self.data, at - 4, len(self.data) - start)


def message(
    serial: int, destination: str, path: str, interface: str, member: str, signature: str = "", body: bytes = b""
) -> bytes:
    """Return a method call."""
    writer = _Writer()
    writer.data += struct.pack("<cBBBII", b"l", 1, 0, 1, len(body), serial)
    fields = [(1, "o", path), (2, "s", interface), (3, "s", member), (6, "s", destination)]
    if signature:
        fields.append((8, "g", signature))

    def write_fields() -> None:
        for code, kind, value in fields:
            writer.align(8)
            writer.data.append(code)
            writer.variant(kind, value)

    writer.array(8, write_fields)
    writer.align(8)
    return bytes(writer.data) + body


def start_message(request: dict[str, str], pid: int, serial: int) -> bytes:
    """Return the call of StartTransientUnit(name, mode, properties, auxiliary units)."""
    writer = _Writer()
    writer.string(request["scope"])
    writer.string("fail")

    def write_properties() -> None:
        for name, kind, value in properties(request, pid):
            writer.align(8)
            writer.string(name)
            writer.variant(kind, value)

    writer.array(8, write_properties)
    writer.array(8, lambda: None)
    return message(serial, *MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", bytes(writer.data))


def _call(path: str, request: dict[str, str], pid: int) -> str:
    """Connect, authenticate as our uid, call, and return "" or the error's name and text. Raises OSError."""
    import _socket

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(25)
        connection.connect(path)
        connection.send(b"\0AUTH EXTERNAL " + str(os.getuid()).encode().hex().encode() + b"\r\n")
        answer = connection.recv(4096)
        if not answer.startswith(b"OK"):
            raise OSError(0, f"authentication was refused: {answer!r}")
        connection.send(b"BEGIN\r\n")
        serial = 1
        if path != PRIVATE:  # the bus wants to be greeted; systemd's own socket does not
            connection.send(message(serial, *_BUS_HELLO))
            serial += 1
        connection.send(start_message(request, pid, serial))
        return _reply(connection, serial)
    finally:
        connection.close()


_BUS_HELLO = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "Hello")


def _reply(connection: Any, serial: int) -> str:
    buffer = b""
    while True:
        while True:
            found = _parse(buffer)
            if found is not None:
                break
            chunk = connection.recv(65536)
            if not chunk:
                raise OSError(0, "the connection was closed")
            buffer += chunk
        length, kind, fields, text = found
        buffer = buffer[length:]
        if fields.get(5) != serial:
            continue  # a signal, or the answer to the greeting
        if kind == 2 or fields.get(4) == "org.freedesktop.systemd1.UnitExists":
            return ""
        return f"{fields.get(4)}: {text}"


def _parse(buffer: bytes) -> tuple[int, int, dict[int, Any], str] | None:
    """Return (length, type, header fields, first string of the body) of a message, or None until it is whole."""
    if len(buffer) < 16:
        return None
    order = "<" if buffer[:1] == b"l" else ">"
    body, _, header = struct.unpack_from(order + "III", buffer, 4)
    start = 16 + header + -header % 8
    if len(buffer) < start + body:
        return None
    fields: dict[int, Any] = {}
    at = 16
    while at < 16 + header:
        at += -at % 8
        code, size = buffer[at], buffer[at + 1]
        kind = buffer[at + 2 : at + 2 + size]
        at += 3 + size
        if kind == b"g":
            length, at = buffer[at], at + 1
            fields[code] = buffer[at : at + length].decode()
            at += length + 1
            continue
        at += -at % 4
        (number,) = struct.unpack_from(order + "I", buffer, at)
        at += 4
        if kind == b"u":
            fields[code] = number
        else:
            fields[code] = buffer[at : at + number].decode("utf-8", "replace")
            at += number + 1
    text = ""
    if fields.get(8, "").startswith("s"):
        (number,) = struct.unpack_from(order + "I", buffer, start)
        text = buffer[start + 4 : start + 4 + number].decode("utf-8", "replace")
    return start + body, buffer[1], fields, text
