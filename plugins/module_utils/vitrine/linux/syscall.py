# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw system calls by number: the C library of an older distribution has no functions for the newer ones.

Every call is made on a function pointer of our own, so no two users fight about one ``argtypes``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

# The same number on every architecture: all calls since Linux 5.1 (Documentation: asm-generic/unistd.h).
_COMMON = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_open": 434,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
}
_NAMES = (
    "clone unshare setns pivot_root mount umount2 execveat seccomp bpf capget capset prctl memfd_create keyctl"
    " renameat2 copy_file_range sethostname setdomainname prlimit64 fstatfs name_to_handle_at madvise"
)
_NUMBERS = {
    "x86_64": "56 272 308 155 165 166 322 317 321 125 126 157 319 250 316 326 170 171 302 138 303 28",
    "aarch64": "220 97 268 41 40 39 281 277 280 90 91 167 279 219 276 285 161 162 261 44 264 233",
    "riscv64": "220 97 268 41 40 39 281 277 280 90 91 167 279 219 276 285 161 162 261 44 264 233",
    "ppc64le": "120 282 350 203 21 52 362 358 361 183 184 171 360 271 357 379 74 121 325 100 345 205",
    "s390x": "120 303 339 217 21 52 354 348 351 184 185 172 350 280 347 375 74 121 334 100 335 219",
}

libc = ctypes.CDLL(None, use_errno=True)
# The interpreter's lock stays held during calls through this one: what clone needs, and nothing that can block.
held = ctypes.PyDLL(None, use_errno=True)


def machine() -> str:
    """The architecture that system calls of *this process* belong to, as ``uname -m`` names it."""
    name = os.uname().machine
    if struct.calcsize("P") != 8:
        raise OSError(errno.ENOSYS, f"a 32-bit Python on {name} is not supported")
    return {"arm64": "aarch64", "ppc64": "ppc64le"}.get(name, name)


def _table() -> dict[str, int]:
    numbers = _NUMBERS.get(machine())
    table = dict(_COMMON)
    if numbers:
        table.update(zip(_NAMES.split(), map(int, numbers.split())))
    return table


NUMBERS = _table()
_call = libc["syscall"]
_call.restype = ctypes.c_long
_call_held = held["syscall"]
_call_held.restype = ctypes.c_long


def _argument(value: object) -> object:
    # A bare int would be passed as a C int and cut to 32 bits; bytes, buffers and None go as pointers.
    return ctypes.c_long(value) if isinstance(value, int) else value


def syscall(name: str, *args: object) -> int:
    """Make the system call, again when a signal interrupted it; return its result.

    args: int, bytes (a NUL-terminated string or struct, read only), a ctypes buffer, or None for NULL.
    Raises OSError with the kernel's errno; ENOSYS also for a call that this architecture's table lacks.
    """
    number = NUMBERS.get(name)
    if number is None:
        raise OSError(errno.ENOSYS, f"{name}: {os.strerror(errno.ENOSYS)}")
    converted = [_argument(value) for value in args]
    while True:
        result = _call(ctypes.c_long(number), *converted)
        if result != -1:
            return result
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, f"{name}: {os.strerror(code)}")


def syscall_held(name: str, *args: object) -> int:
    """Like syscall(), but the interpreter's lock stays held and nothing is repeated."""
    result = _call_held(ctypes.c_long(NUMBERS[name]), *[_argument(value) for value in args])
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result
