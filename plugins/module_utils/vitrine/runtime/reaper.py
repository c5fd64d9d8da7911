# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The small first process of ``--init``: starts the command as its child, hands signals on, and reaps orphans.

It is this interpreter, already confined like the command (user, capabilities, filter), and it imports nothing.
"""

from __future__ import annotations

import _signal
import ctypes
import os

from ..linux import prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FAULTS = ("SIGSEGV", "SIGILL", "SIGBUS", "SIGFPE", "SIGTRAP", "SIGSYS", "SIGABRT")
_TERMINAL = ("SIGTTIN", "SIGTTOU")
_KEEP = {getattr(_signal, name) for name in (*_FAULTS, *_TERMINAL)} | {_signal.SIGKILL, _signal.SIGSTOP}
WAITED_FOR = {number for number in _signal.valid_signals() if number not in _KEEP}


def disguise(argv: list[bytes]) -> None:
    """Show the command instead of the interpreter's own arguments in ps. Before the root is left."""
    with open("/proc/self/stat", "rb", buffering=0) as file:
        fields = file.read(4096).rpartition(b") ")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start, arg_end (proc_pid_stat(5))
    if 0 < start < end:
        text = b"\0".join([b"vitrine-init", b"--", *argv])[: end - start - 1]
        ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)


def supervise(tty: bool, sock: Any) -> int:
    """Fork. In the child, return -1: it goes on to execve. In the parent, serve it and return its exit status."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, WAITED_FOR)
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        if tty:
            _signal.signal(_signal.SIGTTOU, _signal.SIG_IGN)  # a background group may not take the terminal otherwise
            os.tcsetpgrp(0, os.getpgrp())
            _signal.signal(_signal.SIGTTOU, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        return -1
    sock.close()  # its end of file is the child's to give
    prctl.set_name("vitrine-init")
    prctl.set_child_subreaper()  # in a pid namespace of others, orphans would go to their first process
    status = 0
    while True:
        number = _signal.sigwait(WAITED_FOR)
        if number != _signal.SIGCHLD:
            try:
                os.kill(child, number)
            except ProcessLookupError:
                pass
            continue
        ended = False
        while True:
            try:
                pid, result = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == child:
                ended, status = True, result
        if ended:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
