# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client's side of attaching: joins this process's standard streams (or its terminal) to a container's.

Not on the start path.
"""

from __future__ import annotations

import _signal as signal  # the C module: the one around it imports enum, which takes longer than an attach
import os
import select
import struct

from ..errors import Conflict, InvalidInput, VitrineError
from . import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

DETACH_KEYS = "ctrl-p,ctrl-q"
_TURN = 16  # packets
_PROXIED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_LEAVING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


class MonitorLost(VitrineError):
    """The container's exit code cannot be had: its monitor ended before it said one."""

    exit_code = 125


def connect(run_dir: str, *, stdin: bool, output: bool = True, hold: bool = False) -> int:
    """Return a connected descriptor that gets the container's output from now on. Raises Conflict without a monitor."""
    sock = wire.connect(run_dir)
    if sock is None:
        raise Conflict("the container is not running", hint="start it first", value=run_dir)
    try:
        sock.send(wire.hello(stdin=stdin, output=output, hold=hold))
        answer = sock.recv(wire.CHUNK)
    except OSError:
        answer = b""
    if not answer or answer[0] != wire.WELCOME:
        sock.close()
        raise Conflict("the container ended just now", hint="start it again", value=run_dir)
    if answer[1] != wire.VERSION:
        sock.close()
        raise Conflict(
            "the container was started by another version of the engine: "
            f"its monitor speaks version {answer[1]} of the protocol, this engine version {wire.VERSION}",
            hint="attach with that engine, or restart the container; logs, exec and stop work with both",
            value=answer[1],
        )
    return sock.detach()


def packets(fd: int) -> Iterator[tuple[int, bytes]]:
    """Yield (kind, whole packet) of a connection until the monitor has ended; for programs that want no terminal."""
    os.set_blocking(fd, True)
    while True:
        try:
            packet = os.read(fd, wire.CHUNK + 16)
        except ConnectionResetError:
            continue
        if not packet:
            return
        yield packet[0], packet


def parse_keys(text: str) -> bytes:
    """Return the bytes of a key sequence such as "ctrl-p,ctrl-q" or "ctrl-a,d"; "" is none. Raises InvalidInput."""
    keys = bytearray()
    for key in text.split(",") if text else ():
        name = key[5:] if key.startswith("ctrl-") else ""
        if len(key) == 1 and key.isascii() and key.isprintable():
            keys.append(ord(key))
        elif len(name) == 1 and ("a" <= name <= "z" or name in "@[\\]^_"):
            keys.append(ord(name.upper()) & 0x1F)
        else:
            raise InvalidInput(
                f"{key!r} in the detach keys {text!r} is no key",
                hint="join single characters and ctrl-X by commas; X is a letter or one of @ [ \\ ] ^ _",
                value=text,
            )
    return bytes(keys)


class KeyFilter:
    """Finds the detach keys in what is typed, even when they arrive one by one; passes everything else on."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._held = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return (bytes to send, whether the whole sequence was typed). What was typed after it is dropped."""
        if not self._keys:
            return data, False
        text = self._keys[: self._held] + data
        at = text.find(self._keys)
        if at >= 0:
            self._held = 0
            return text[:at], True
        held = next(n for n in range(min(len(self._keys) - 1, len(text)), -1, -1) if text.endswith(self._keys[:n]))
        self._held = held
        return text[: len(text) - held], False


def attach_terminal(
    fd: int,
    *,
    tty: bool,
    stdin: bool,
    detach_keys: str = DETACH_KEYS,
    sig_proxy: bool = True,
    stdin_fd: int = 0,
    stdout_fd: int = 1,
    stderr_fd: int = 2,
) -> int | None:
    """Serve a connection until the container ends; return its exit code, or None when the user detached.

    fd: from connect() or launch(); it is not closed: its end of stream, after this returned a code, tells that the
    container is cleaned up. tty: the container has a terminal: ours, if it is one, becomes raw while this runs and is
    restored whatever happens. sig_proxy: without a terminal, pass SIGINT, SIGTERM and the like to the container.
    Raises MonitorLost, and BrokenPipeError when nobody reads our output any more.
    """
    pump = _Pump(fd, tty, stdin, parse_keys(detach_keys), stdin_fd, stdout_fd, stderr_fd)
    wanted = (signal.SIGWINCH, signal.SIGCONT, *_LEAVING) if tty else _PROXIED if sig_proxy else ()
    signals = Signals(wanted)  # before the terminal is raw: from here on we end in order
    saved = make_raw(stdin_fd) if tty and stdin and os.isatty(stdin_fd) else None
    try:
        if tty:
            pump.send_window()
        number = pump.run(signals, proxy=sig_proxy and not tty, again_raw=saved is not None)
    finally:
        os.set_blocking(fd, True)
        signals.restore()
        if saved is not None:
            restore(stdin_fd, saved)
    if number:
        os.kill(os.getpid(), number)  # we were told to end: as we would have, but with the terminal in order
    return pump.code


class _Pump:
    """The loop between our descriptors and the monitor's packets."""

    def __init__(
        self, fd: int, tty: bool, stdin: bool, keys: bytes, stdin_fd: int, stdout_fd: int, stderr_fd: int
    ) -> None:
        self.code: int | None = None
        self._fd = fd
        self._tty = tty
        self._stdin = stdin_fd if stdin else -1
        self._stdin_fd = stdin_fd
        self._outputs = {wire.STDOUT: stdout_fd, wire.STDERR: stderr_fd}
        self._filter = KeyFilter(keys if tty else b"")
        self._unsent: list[bytes] = []
        self._detached = False
        self._ended = False

    def run(self, signals: Signals, *, proxy: bool, again_raw: bool) -> int:
        """Return 0 at the end, or the number of a signal that tells this process to end."""
        os.set_blocking(self._fd, False)
        while not self._ended:
            for fd, events in self._wait(signals.fd):
                if fd == signals.fd:
                    for number in signals.take():
                        if number == signal.SIGWINCH:
                            self.send_window()
                        elif number == signal.SIGCONT:
                            if again_raw:
                                make_raw(self._stdin_fd)
                            self.send_window()
                        elif proxy:
                            self._send(bytes((wire.SIGNAL, number)))
                        else:
                            return number
                elif fd == self._fd:
                    self._flush()
                    if events & ~select.POLLOUT:
                        self._receive()
                elif fd == self._stdin:
                    self._read_stdin()
            if self._detached and not self._unsent:
                return 0
        return 0

    def send_window(self) -> None:
        size = window_size(self._outputs[wire.STDOUT]) or window_size(self._stdin_fd)
        if size is not None:
            self._send(wire.resize(*size))

    def _wait(self, signal_fd: int) -> list[tuple[int, int]]:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        if signal_fd >= 0:
            poll.register(signal_fd, select.POLLIN)
        if self._stdin >= 0 and not self._unsent:
            poll.register(self._stdin, select.POLLIN)
        return poll.poll()

    def _receive(self) -> None:
        for _ in range(_TURN):  # then signals and what is typed get their turn, however much the container writes
            try:
                packet = os.read(self._fd, wire.CHUNK + 16)
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # it did not read all that we sent; what it said before is still to be had
            if not packet:
                raise MonitorLost(
                    "the connection to the container's monitor broke", hint="look with ps whether it still runs"
                )
            kind = packet[0]
            if kind in self._outputs:
                write_all(self._outputs[kind], memoryview(packet)[1:])
            elif kind == wire.EXIT:
                self.code, _oom = wire.parse_exit(packet)
                self._ended = True
                if self.code is None:
                    raise MonitorLost("the container ended, but nobody saw its exit code")
                return

    def _read_stdin(self) -> None:
        try:
            data = os.read(self._stdin, wire.CHUNK)
        except BlockingIOError:
            return
        except OSError:  # closed, or a terminal that is gone
            data = b""
        if not data:
            self._stdin = -1
            self._send(bytes((wire.STDIN_END,)))
            return
        data, self._detached = self._filter.feed(data)
        if data:
            self._send(bytes((wire.STDIN,)) + data)
        if self._detached:
            self._stdin = -1
            self._send(bytes((wire.DETACH,)))

    def _send(self, packet: bytes) -> None:
        self._unsent.append(packet)
        self._flush()

    def _flush(self) -> None:
        try:
            while self._unsent:
                os.write(self._fd, self._unsent[0])
                del self._unsent[0]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            self._unsent.clear()  # what the monitor still said comes with the next read


class Signals:
    """Collects signals on a descriptor while it lives; those that are ignored (nohup) stay ignored."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self.fd = -1
        self._old: dict[int, Any] = {}
        if not numbers:
            return
        self.fd, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._old_wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        except ValueError:  # not the main thread: signals are somebody else's business
            os.close(self._writer)
            os.close(self.fd)
            self.fd = -1
            return
        for number in numbers:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._old[number] = signal.signal(number, lambda _number, _frame: None)

    def take(self) -> bytes:
        try:
            return os.read(self.fd, 256)
        except BlockingIOError:
            return b""

    def restore(self) -> None:
        if self.fd < 0:
            return
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        os.close(self._writer)
        os.close(self.fd)
        self.fd = -1


def window_size(fd: int) -> tuple[int, int] | None:
    """Return (rows, columns) of a terminal; None when it is none or does not know."""
    import fcntl
    import termios

    try:
        rows, columns, _x, _y = struct.unpack("HHHH", fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        return None
    return (rows, columns) if rows and columns else None


def make_raw(fd: int) -> list[Any] | None:
    import termios
    import tty

    try:
        saved = termios.tcgetattr(fd)
        tty.setraw(fd, termios.TCSADRAIN)
    except termios.error:
        return None
    return saved


def restore(fd: int, saved: list[Any]) -> None:
    import termios

    try:
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)
    except termios.error:
        pass  # the terminal is gone


def write_all(fd: int, data: memoryview) -> None:
    """Write all, also to a descriptor that somebody made non-blocking (ssh does)."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
