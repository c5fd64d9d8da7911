# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line with one thing that goes wrong: the n-th call that changes anything fails, or kills the process.

    python3 -I -S faults.py WHERE:WHAT:N REPORT ENGINE-FOLDER WORD...

WHERE is "self" (this process) or "forked" (its forked children, each counts for itself). WHAT is "kill", an errno's
name (that call fails, the next one works again) or the name and "+" (that call and all that follow fail). N is 0 to
count only. REPORT is a file that gets one line for each call that was counted (of forked ones: pid and call); a process
that was killed writes none.

Counted is what goes through ``os``, files opened for writing, the engine's own system calls, SQLite's statements and
sockets of the kernel and of other processes of this host. ENOSPC happens only to what needs room, ENOMEM only to what
the kernel needs memory for.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
import sys

_KILL = os.kill
_EXIT = os._exit
_FOLDERS = "open mkdir rename replace link symlink mknod"
_FILES = "write writev pwrite sendfile copy_file_range fsync fdatasync ftruncate truncate setxattr posix_fallocate"
_REST = "unlink remove rmdir chmod fchmod chown fchown lchown utime removexattr"
_PROCESSES = "fork posix_spawn memfd_create pipe2"
OS = {
    name: kinds
    for names, kinds in (
        (_FOLDERS, {"ENOSPC", "EIO"}),
        (_FILES, {"ENOSPC", "EIO"}),
        (_REST, {"EIO"}),
        (_PROCESSES, {"ENOMEM"}),
    )
    for name in names.split()
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
SYSCALLS = (
    "open_tree move_mount fsopen fsconfig fsmount mount_setattr clone3 clone unshare setns mount umount2 renameat2"
    " memfd_create copy_file_range bpf pidfd_send_signal"
).split()


class Faults:
    """Counts, and lets happen what was asked for."""

    def __init__(self, spec: str, report: str) -> None:
        where, what, number = spec.split(":")
        self.where = where
        self.code = what.rstrip("+")
        self.for_ever = what.endswith("+")
        self.number = int(number)
        self.report = report
        self.calls: list[str] = []
        self.on = where == "self"
        self.counting = False

    def in_child(self) -> None:
        self.on = self.where == "forked"
        self.calls = []

    def ready(self) -> None:
        """From here on it counts: the engine's modules are there."""
        self.counting = True

    def come(self, name: str, kinds: set[str], detail: object = "") -> None:
        """One call. Raises OSError when it is the one."""
        if not (self.on and self.counting) or (self.code != "kill" and self.code not in kinds):
            return
        self.calls.append(f"{name} {detail if isinstance(detail, (str, bytes, int)) else ''}")
        if self.where == "forked" and not self.number:  # the process may be killed when its work is done
            self._write([f"{os.getpid()} {self.calls[-1]}"])
        here = len(self.calls)
        if here == self.number or (self.for_ever and here > self.number > 0):
            if self.code == "kill":
                _KILL(os.getpid(), signal.SIGKILL)
            code = getattr(errno, self.code)
            raise OSError(code, os.strerror(code), detail if isinstance(detail, (str, bytes)) else None)

    def exit(self, code: int) -> None:
        """What os._exit is while this runs."""
        self.on = False
        if self.where == "self":
            self._write(self.calls)
        _EXIT(code)

    def _write(self, lines: list[str]) -> None:
        fd = real["open"](self.report, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        real["write"](fd, "".join(line.replace("\n", " ") + "\n" for line in lines).encode())
        os.close(fd)


real = {name: getattr(os, name) for name in OS}


def wrap_os(faults: Faults) -> None:
    for name, kinds in OS.items():

        def wrapped(*args, _name=name, _kinds=kinds, _call=real[name], **keywords):  # type: ignore[no-untyped-def]
            reads = _name == "open" and not (args[1] if len(args) > 1 else keywords["flags"]) & WRITING
            if not reads and not (_name in ("write", "writev") and args[0] in (1, 2)):
                faults.come(_name, _kinds, args[0] if args else "")
            return _call(*args, **keywords)

        setattr(os, name, wrapped)

    class Raw(io.FileIO):
        def write(self, data):  # type: ignore[no-untyped-def]
            faults.come("write", OS["write"], self.name)
            return super().write(data)

    usual = builtins.open

    def opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):  # type: ignore[no-untyped-def]
        if not set(mode) & set("wax+"):
            return usual(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if not isinstance(file, int):
            faults.come("open", OS["open"], file)
        raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw, size)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline)

    builtins.open = opened  # type: ignore[assignment]
    os._exit = faults.exit  # type: ignore[assignment]
    os.register_at_fork(after_in_child=faults.in_child)


def wrap_syscalls(faults: Faults) -> None:
    from vitrine.linux import syscall as module

    for name, real_call in (("syscall", module.syscall), ("syscall_held", module.syscall_held)):

        def wrapped(call, *args, _real=real_call):  # type: ignore[no-untyped-def]
            probing = sys._getframe(1).f_code.co_filename.endswith("features.py")
            if call in SYSCALLS and not probing:
                faults.come(call, {"ENOMEM", "EIO"} if call == "copy_file_range" else {"ENOMEM"})
            return _real(call, *args)

        setattr(module, name, wrapped)


def wrap_sqlite(faults: Faults) -> None:
    import _sqlite3 as sqlite

    connect = sqlite.connect
    texts = {"ENOSPC": "database or disk is full", "EIO": "disk I/O error", "ENOMEM": "out of memory"}

    class Connection(sqlite.Connection):
        def execute(self, statement, *values):  # type: ignore[no-untyped-def]
            word = statement.split(None, 1)[0].upper()
            if word not in ("SELECT", "WITH", "PRAGMA", "ROLLBACK"):
                try:
                    faults.come(
                        "sqlite", {"EIO"} if word == "BEGIN" else {"ENOSPC", "EIO"}, " ".join(statement.split())
                    )
                except OSError:
                    raise sqlite.OperationalError(texts[faults.code]) from None
            return super().execute(statement, *values)

    sqlite.connect = lambda *args, **keywords: connect(*args, **{**keywords, "factory": Connection})


def wrap_sockets(faults: Faults) -> None:
    import _socket

    class Socket(_socket.socket):
        __slots__ = ()

        def _come(self, name: str) -> None:
            if self.family in (_socket.AF_UNIX, _socket.AF_NETLINK):
                faults.come(f"{name} {'netlink' if self.family == _socket.AF_NETLINK else 'unix'}", {"ENOMEM"})

        def send(self, *args):  # type: ignore[no-untyped-def]
            self._come("send")
            return super().send(*args)

        def sendto(self, *args):  # type: ignore[no-untyped-def]
            self._come("sendto")
            return super().sendto(*args)

        def sendmsg(self, *args):  # type: ignore[no-untyped-def]
            self._come("sendmsg")
            return super().sendmsg(*args)

    _socket.socket = Socket  # type: ignore[misc]


def main() -> None:
    spec, report, engine, *words = sys.argv[1:]
    sys.path.insert(0, engine)
    faults = Faults(spec, report)
    wrap_os(faults)
    wrap_sockets(faults)
    wrap_sqlite(faults)
    wrap_syscalls(faults)
    from vitrine.cli import main as cli

    faults.ready()
    cli(words)


if __name__ == "__main__":
    main()
