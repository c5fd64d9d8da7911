# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that the kernel really loads, asked by the calls that they are about."""

from __future__ import annotations

import ctypes
import errno
import marshal
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Callable

import pytest

from vitrine.errors import StartFailed
from vitrine.linux import features
from vitrine.linux.syscall import libc
from vitrine.runtime import capabilities, seccomp, syscalls_table

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
MACHINE = os.uname().machine
NUMBERS = syscalls_table.numbers(MACHINE)
DEFAULT = frozenset(capabilities.DEFAULT)


def call(name: str, *args: int) -> str:
    """Make a system call; return the name of its errno, or "" for success."""
    result = libc.syscall(ctypes.c_long(NUMBERS[name]), *(ctypes.c_long(arg) for arg in args))
    return errno.errorcode[ctypes.get_errno()] if result == -1 else ""


def under(program: bytes, work: Callable[[], Any], no_new_privs: bool = True) -> Any:
    """Run work in a child under the program; return what it returns, or the number of the signal that killed it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            seccomp.load(program, no_new_privs)
            os.write(writer, marshal.dumps(work()))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()
    status = os.waitpid(pid, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else marshal.loads(data)


def visit() -> dict[str, str]:
    return {
        "getpid": call("getpid"),
        "keyctl": call("keyctl", 0, 0, 0),
        "mount": call("mount", 0, 0, 0, 0, 0),
        "AF_UNIX": call("socket", 1, 1, 0),
        "AF_ALG": call("socket", 38, 5, 0),
        "AF_VSOCK": call("socket", 40, 1, 0),
        "AF_INET with garbage above": call("socket", (1 << 32) + 2, 1, 0),
        "new user namespace": call("unshare", 0x10000000),
        "clone3": call("clone3", 0, 0),
        "personality": call("personality", 0xFFFFFFFF),
        "odd personality": call("personality", 0x0400000),
    }


@pytest.mark.parametrize("no_new_privs", [True, False])
def test_the_default_profile(no_new_privs: bool) -> None:
    assert under(seccomp.default_program(DEFAULT), visit, no_new_privs) == {
        "getpid": "",
        "keyctl": "EPERM",
        "mount": "EPERM",
        "AF_UNIX": "",
        "AF_ALG": "EPERM",
        "AF_VSOCK": "EPERM",
        "AF_INET with garbage above": "EPERM",
        "new user namespace": "EPERM",
        "clone3": "ENOSYS",
        "personality": "",
        "odd personality": "EPERM",
    }


def test_capabilities_open_calls() -> None:
    found = under(seccomp.default_program(capabilities.NAMES), visit)
    assert found["mount"] == "EFAULT"
    assert found["clone3"] == "EINVAL"
    assert found["keyctl"] == "EPERM"


def test_a_call_of_the_future_does_not_exist() -> None:
    future = max(number for number in NUMBERS.values() if number < 0xF0000) + 100

    def work() -> str:
        libc.syscall(ctypes.c_long(future))
        return errno.errorcode[ctypes.get_errno()]

    assert under(seccomp.default_program(DEFAULT), work) == "ENOSYS"


def test_programs_start_under_it() -> None:
    program = seccomp.default_program(DEFAULT)
    pid = os.fork()
    if pid == 0:
        seccomp.load(program, True)
        os.execv("/bin/sh", ["sh", "-c", "(exit 3) & wait $!; exit $?"])
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3


def test_a_profile_of_the_user_s() -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EXDEV},
            {"names": ["getpgid"], "action": "SCMP_ACT_KILL_PROCESS"},
        ],
    }
    program = seccomp.compile_profile(profile)
    assert under(program, lambda: call("getppid")) == "EXDEV"
    assert under(program, lambda: call("getpgid", 0)) == signal.SIGSYS


def test_the_way_of_old_kernels() -> None:
    def work() -> str:
        return call("keyctl", 0, 0, 0)

    features.set_without(["seccomp"])
    try:
        assert under(seccomp.default_program(DEFAULT), work) == "EPERM"
    finally:
        features.set_without([])


@pytest.mark.parametrize("program", [b"", b"1234567", bytes(8), bytes(8 * 5000)])
def test_what_is_no_program_is_refused(program: bytes) -> None:
    def work() -> str:
        try:
            seccomp.load(program, True)
        except StartFailed as error:
            return f"{error.stage} {errno.errorcode[error.errno]}"
        return "loaded"

    assert under(seccomp.default_program(DEFAULT), work) == "seccomp EINVAL"


def test_loading_imports_nothing() -> None:
    program = seccomp.default_program(DEFAULT)
    before = sorted(sys.modules)
    assert under(program, lambda: sorted(sys.modules)) == before


def test_a_cached_program_is_there_at_once(tmp_path: Path) -> None:
    program = seccomp.default_program(DEFAULT, cache_dir=str(tmp_path))
    best = 1.0
    for _ in range(20):
        begin = time.perf_counter()
        assert seccomp.default_program(DEFAULT, cache_dir=str(tmp_path)) == program
        best = min(best, time.perf_counter() - begin)
    print(f"cached default program: {best * 1e6:.0f} us")
