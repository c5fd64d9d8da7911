# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a starting process and the one that waits for it say to each other, over one socket that execve closes.

        monitor                                          init
           |  clone (new namespaces)                      |
           |--------------------------------------------->|  enters its cgroups, joins namespaces,
           |  wires the host's side of the network        |  mounts, opens the terminal, pivots
           |                                              |
           |<------------------- READY -------------------|  nothing of the host is in reach any more
           |------------------- PROCEED ----------------->|  the network is wired
           |                                              |  addresses, sysctls, limits, user
           |<------------- CONSOLE + descriptor ----------|  only with a terminal
           |<-------------------- EXEC -------------------|  the next step is execve
           |<--------------- end of file -----------------|  execve worked

        client                                      exec helper                       process
           |  spawn (sealed interpreter)                 |                               |
           |-------------------------------------------->|  opens namespaces, reads users |
           |----------------- PROCEED ------------------>|  is in its version 2 group     |
           |                                             |  joins, clones -------------->|  (the client's child)
           |<----------------- STARTED pid --------------|  ends                         |
           |<------------- CONSOLE, EXEC, end of file -----------------------------------|

Instead of anything, init may send ERROR (class, stage, errno, text, hint) and end. End of file before EXEC means that
it was killed. When the monitor ends, init reads end of file instead of PROCEED and ends too.
"""

from __future__ import annotations

import _socket
import errno
import marshal
import os
import struct

from .. import errors

READY = b"R"
PROCEED = b"P"
CONSOLE = b"C"
EXEC = b"X"
STARTED = b"S"
ERROR = b"E"
_SIZE = 65536
_CLOEXEC = getattr(_socket, "SOCK_CLOEXEC", 0o2000000)
_CMSG_CLOEXEC = getattr(_socket, "MSG_CMSG_CLOEXEC", 0x40000000)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def pair() -> tuple[Any, Any]:
    """Two ends of a connection that keeps the borders of messages; both are closed by execve."""
    return _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _CLOEXEC)


def adopt(fd: int) -> Any:
    """The socket object of an inherited descriptor."""
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)


def send_fd(sock: Any, kind: bytes, fd: int) -> None:
    """Send a message with one descriptor."""
    sock.sendmsg([kind], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("=i", fd))])


def receive(sock: Any) -> tuple[bytes, bytes, int]:
    """(kind, rest of the message, descriptor or -1); kind is empty at end of file."""
    while True:
        try:
            data, ancillary, _flags, _address = sock.recvmsg(_SIZE, 64, _CMSG_CLOEXEC)
            break
        except (InterruptedError, ConnectionResetError):
            # The second is said once when the other side ended without reading all that was sent to it; what it had
            # sent itself is still to come.
            continue
    fd = -1
    for _level, _type, content in ancillary:
        fds = struct.unpack(f"={len(content) // 4}i", content[: len(content) // 4 * 4])
        for extra in fds[1:]:
            os.close(extra)
        fd = fds[0] if fds else fd
    return data[:1], data[1:], fd


def send_error(sock: Any, step: str, detail: str, error: BaseException) -> None:
    """Tell what failed; the other side raises it. step: the stage, detail: what it was about."""
    if isinstance(error, errors.VitrineError):
        stage, code = getattr(error, "stage", "") or step, getattr(error, "errno", 0)
        kind, text, hint = error.kind, error.message, error.hint
    elif isinstance(error, OSError):
        kind, stage, code, hint = "StartFailed", step, error.errno or 0, ""
        reason = error.strerror or str(error)
        text = f"{step}: {detail}: {reason}" if detail else f"{step}: {reason}"
        if error.filename and os.fsdecode(error.filename) not in text:
            text += f" ({os.fsdecode(error.filename)})"
    else:
        kind, stage, code, hint = "StartFailed", step, 0, ""
        text = f"{step}: {detail}: {type(error).__name__}: {error}"
    message = ERROR + marshal.dumps((kind, stage, code, text[:4000], hint[:1000]))
    try:
        sock.send(message)
    except OSError:
        pass  # nobody waits any more


def raise_error(data: bytes) -> None:
    """Raise what the other side told; it may be a hostile process by now, so nothing of it is trusted."""
    try:
        kind, stage, code, text, hint = marshal.loads(data)
        cls = getattr(errors, kind)
        if not issubclass(cls, errors.VitrineError):
            raise TypeError(kind)
    except (ValueError, EOFError, TypeError, AttributeError):
        raise errors.StartFailed("the start failed and said something that cannot be read", stage="init") from None
    if issubclass(cls, errors.StartFailed):
        raise cls(text, stage=stage, errno=code, hint=hint)
    raise cls(text, hint=hint)


def died() -> errors.StartFailed:
    """The error for end of file before EXEC."""
    return errors.StartFailed(
        "the container's first process was killed before it could start its command",
        stage="init", errno=errno.ESRCH, hint="look for an out-of-memory kill: the memory limit may be too low",
    )  # fmt: skip
