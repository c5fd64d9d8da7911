# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients and monitor say to each other: packets of a SEQPACKET socket, the first byte says which kind.

    client                          monitor
    HELLO version, flags  ------->
                          <-------  WELCOME version, tty     (from here on the client gets all output)
    STDIN bytes           ------->
    STDIN_END             ------->                            half-close: output goes on
    RESIZE rows, columns  ------->
    SIGNAL number         ------->                            to the container's first process
    DETACH                ------->                            leave; standard input stays open
    STOP                  ------->                            cancel a pending restart
    NAMED                 ------->                            answer names from now on, as its scope says
                          <-------  STDOUT bytes, STDERR bytes
                          <-------  EXIT status, code, oom    (after all output; then only the end of the stream,
                                                               which comes when everything is cleaned up)

The socket is run_dir/attach.sock, in a folder that only root can enter. A socketpair's end that is handed over at the
monitor's start is a client like any other.
"""

from __future__ import annotations

import _socket
import os
import struct

VERSION = 1  # of the packets: counted up when one changes its meaning, for monitors outlive the engine they came with
STATUS_FD = 4  # of a monitor: the pipe on which it says whether the container runs (report.py)
CLIENT_FD = 5  # of a monitor: the end of a socketpair, its first client
HANDED_FD, WAKE_FD = 6, 7  # of a monitor: what its worker leaves it (dozing.py)
LISTEN_FD, LIFE_FD, FOLDER_FD = 3, 4, 5  # of a nursery: its socket, a pipe (nursery.py), the folder of its socket
FORK = b"F"  # what a nursery is asked; with it come a monitor's descriptors: payload, status[, client]
BORN = "=iQ"  # what the new monitor answers: its pid and start time
SOCKET = "attach.sock"
SAVED_FORMAT = 1  # of what is in that file: a request of another format is made anew from the container's record
SAVED = "request"  # file of the run directory: what the monitor was asked, for the one that may have to replace it
CHUNK = 65536  # largest payload

STDIN, STDIN_END, RESIZE, SIGNAL, DETACH, STOP, HELLO, NAMED = range(8)
STDOUT, STDERR, EXIT, WELCOME = range(16, 20)
WANT_STDIN, WANT_OUTPUT, HOLD = 1, 2, 4

_EXIT_UNKNOWN = -1
BUFFER = 256 << 10  # of a socket


def hello(*, stdin: bool = False, output: bool = False, hold: bool = False) -> bytes:
    """First packet of a client. hold: the container waits when this client is slow, instead of dropping it."""
    flags = (WANT_STDIN if stdin else 0) | (WANT_OUTPUT if output else 0) | (HOLD if hold else 0)
    return bytes((HELLO, VERSION, flags))


def welcome(tty: bool) -> bytes:
    return bytes((WELCOME, VERSION, int(tty)))


def resize(rows: int, columns: int) -> bytes:
    return struct.pack("=BHH", RESIZE, min(max(rows, 0), 65535), min(max(columns, 0), 65535))


def parse_resize(packet: bytes) -> tuple[int, int] | None:
    """Return (rows, columns), or None for a packet of another size."""
    if len(packet) != 5:
        return None
    _kind, rows, columns = struct.unpack("=BHH", packet)
    return rows, columns


def exit_packet(code: int | None, oom: bool) -> bytes:
    return struct.pack("=BiB", EXIT, _EXIT_UNKNOWN if code is None else code, int(oom))


def parse_exit(packet: bytes) -> tuple[int | None, bool]:
    """Return (exit code or None when unknown, whether it ended for want of memory)."""
    if len(packet) < 6:
        return None, False  # another version's
    _kind, code, oom = struct.unpack("=BiB", packet[:6])
    return (None if code == _EXIT_UNKNOWN else code), bool(oom)


def pair() -> tuple[_socket.socket, _socket.socket]:
    """Return the two ends of a connection, to hand one over to a monitor at its start."""
    kind = _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
    ends = _socket.socketpair(_socket.AF_UNIX, kind)
    for end in ends:
        enlarge(end)
    return ends


def connect(run_dir: str) -> _socket.socket | None:
    """Return a connection to the container's monitor, or None when there is none."""
    sock = reach(run_dir, SOCKET)
    if sock is not None:
        enlarge(sock)
    return sock


def reach(folder_path: str, name: str, *, wait: bool = True) -> _socket.socket | None:
    """Return a connection to the socket of that name in a folder; None when nobody listens there.

    The address names a descriptor of the folder, because a path of more than 107 bytes does not fit into one.
    wait: whether this and later calls may block. Raises OSError when there is somebody, and no connection.
    """
    flags = _socket.SOCK_CLOEXEC | (0 if wait else _socket.SOCK_NONBLOCK)
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | flags)
    try:
        folder = os.open(folder_path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sock.connect(f"/proc/self/fd/{folder}/{name}")
        finally:
            os.close(folder)
        _pid, uid, _gid = struct.unpack("=iII", sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12))
        if uid not in (0, os.geteuid()):
            raise PermissionError(1, "somebody else listens there", name)  # who gets no request, and is not believed
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        sock.close()
        return None
    except BaseException:
        sock.close()
        raise
    return sock


def listen(run_dir: str) -> _socket.socket:
    """Return the monitor's listening, non-blocking socket."""
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
    try:
        path = os.path.join(run_dir, SOCKET)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        folder = os.open(run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            sock.bind(f"/proc/self/fd/{folder}/{SOCKET}")
        finally:
            os.close(folder)
        os.chmod(path, 0o600)
        sock.listen(16)
    except BaseException:
        sock.close()
        raise
    return sock


def enlarge(sock: _socket.socket) -> None:
    """Let several full packets wait in the kernel; it takes what it allows of this."""
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, BUFFER)
