# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""seccomp filters: the default program (from a cache, so that a start reads 4 KB), profiles of users, and loading.

A program is bytes: an array of struct sock_filter as seccomp(2) takes it. The compiler, docker's default profile and
the tables of system call numbers are imported only when something must be compiled.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from ..errors import StartFailed
from ..linux import features, prctl
from ..linux.syscall import machine as _machine
from ..linux.syscall import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

SET_MODE_FILTER = 1
FLAG_LOG, FLAG_SPEC_ALLOW = 2, 4
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_MOST = 4096  # BPF_MAXINSNS

# The capabilities that the default profile asks for: the others make no difference to its program.
DECISIVE = (
    "CAP_DAC_READ_SEARCH CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN "
    "CAP_SYS_BOOT CAP_SYS_NICE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_SYSLOG CAP_PERFMON CAP_BPF"
).split()
_SOURCES = ("seccomp_compiler.py", "seccomp_profile.py", "syscalls_table.py")


def compile_profile(profile: dict[str, Any], machine: str | None = None, caps: Iterable[str] = ()) -> bytes:
    """Compile a profile: docker's JSON format, or OCI linux.seccomp.

    machine: as uname -m names it (None: this one). caps: full names, which decide about docker's conditional groups.
    Raises InvalidInput for a profile that cannot be understood, or does not fit into one program.
    """
    from . import seccomp_compiler

    return seccomp_compiler.compile_profile(profile, machine or _machine(), frozenset(caps), kernel_version())


def default_program(caps: Iterable[str], machine: str | None = None, cache_dir: str | None = None) -> bytes:
    """Return docker's default profile, compiled for a container with these capabilities (full names).

    cache_dir: where compiled programs are kept; it must belong to root alone. It is made when missing, and one that
    cannot be written only costs the time to compile.
    """
    machine = machine or _machine()
    caps = frozenset(caps)
    path = None
    if cache_dir is not None:
        path = os.path.join(cache_dir, _cache_name(caps, machine))
        cached = _read_cached(path)
        if cached is not None:
            return cached
    from . import seccomp_profile

    program = compile_profile(seccomp_profile.default_profile(), machine, caps)
    if path is not None:
        _write_cached(path, program)
    return program


def kernel_version() -> tuple[int, int]:
    """Return (major, minor) of the running kernel; what profiles' minKernel is compared with."""
    numbers = []
    for part in os.uname().release.split(".")[:2]:
        digits = ""
        for char in part:
            if not char.isdigit():
                break
            digits += char
        numbers.append(int(digits or 0))
    return numbers[0], numbers[1] if len(numbers) > 1 else 0


def load(program: bytes, no_new_privs: bool, flags: int | None = None) -> None:
    """Put the calling thread, and all that it becomes or starts, under the program. Cannot be undone.

    no_new_privs: set it first; without it the caller needs CAP_SYS_ADMIN. flags: of seccomp(2); None means
    SPEC_ALLOW where the kernel knows it, as runc does. Imports nothing. Raises StartFailed with the errno.
    """
    if not program or len(program) % 8 or len(program) > 8 * _MOST:
        raise StartFailed("the seccomp program is not valid", stage="seccomp", errno=errno.EINVAL)
    instructions = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions)))
    try:
        if no_new_privs:
            prctl.set_no_new_privs()
        if not features.has("seccomp"):  # before Linux 3.17
            syscall("prctl", _PR_SET_SECCOMP, _MODE_FILTER, header, 0, 0)
            return
        try:
            syscall("seccomp", SET_MODE_FILTER, FLAG_SPEC_ALLOW if flags is None else flags, header)
        except OSError as error:
            if error.errno != errno.EINVAL or flags is not None:
                raise
            syscall("seccomp", SET_MODE_FILTER, 0, header)
    except OSError as error:
        raise StartFailed(
            f"the seccomp filter cannot be loaded: {os.strerror(error.errno or 0)}",
            stage="seccomp",
            errno=error.errno or 0,
            hint="the kernel needs CONFIG_SECCOMP_FILTER; seccomp=unconfined runs without a filter",
        ) from None


def _cache_name(caps: frozenset[str], machine: str) -> str:
    """Everything that the program depends on, the compiler's own files included."""
    bits = sum(1 << bit for bit, name in enumerate(DECISIVE) if name in caps)
    major, minor = kernel_version()
    stamp = []
    folder = os.path.dirname(__file__)
    for name in _SOURCES:
        try:
            found = os.stat(os.path.join(folder, name))
            stamp.append(f"{found.st_size:x}.{found.st_mtime_ns:x}")
        except OSError:
            stamp.append("0")
    return f"seccomp-{machine}-{bits:x}-{int((major, minor) >= (4, 8))}-{'-'.join(stamp)}"


_END = b"VITRINE\n"


def _read_cached(path: str) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        content = os.read(fd, 8 * _MOST + 16)
    finally:
        os.close(fd)
    if len(content) <= 8 or len(content) % 8 or not content.endswith(_END):
        return None
    return content[:-8]


def _write_cached(path: str, program: bytes) -> None:
    from ..linux import fs

    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        fs.write_atomic(path, program + _END, 0o600, durable=False)
    except OSError:
        pass
