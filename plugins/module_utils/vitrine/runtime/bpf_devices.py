# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The device program of a version 2 group: eBPF of type CGROUP_DEVICE (Linux 4.15), assembled here.

The kernel calls it with struct bpf_cgroup_dev_ctx {u32 access_type; u32 major; u32 minor} whenever a process of the
group opens or makes a device node; 1 allows, 0 refuses. access_type is type | access << 16.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_TYPE = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}

# linux/bpf.h: opcodes and registers.
_LOAD, _AND, _SHIFT, _MOVE, _MOVE_REG, _EXIT = 0x61, 0x54, 0x74, 0xB7, 0xBC, 0x95
_JUMP_NE, _JUMP_NE_REG, _JUMP_EQ = 0x55, 0x5D, 0x15
_R0, _R1, _TYPE_REG, _ACCESS_REG, _MAJOR_REG, _MINOR_REG = range(6)

# linux/bpf.h: commands and constants of bpf(2).
_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_QUERY, _GET_FD_BY_ID = 5, 8, 9, 16, 13
_CGROUP_DEVICE, _ATTACH_DEVICE = 15, 6
_ALLOW_MULTI = 2
_ATTR_SIZE = 256  # kernels write fields beyond the ones that we know: the buffer is longer than any attr so far


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    if value >= 1 << 31:
        value -= 1 << 32  # imm is signed; 32-bit compares see the same bits
    return struct.pack("=BBhi", code, _registers(target, source), offset, value)


def _registers(target: int, source: int) -> int:
    """The two bit fields of struct bpf_insn lie the other way round on big-endian machines."""
    import sys

    return target | source << 4 if sys.byteorder == "little" else source | target << 4


def compile_program(allowed: bool, exceptions: Iterable[tuple[Any, ...]]) -> bytes:
    """Compile what `cgroups.devices.effective` returns into an array of struct bpf_insn.

    An exception to "denied" must cover all the access asked for; an exception to "allowed" matches any part of it.
    """
    code = [
        _instruction(_LOAD, _TYPE_REG, _R1, 0),
        _instruction(_AND, _TYPE_REG, value=0xFFFF),
        _instruction(_LOAD, _ACCESS_REG, _R1, 0),
        _instruction(_SHIFT, _ACCESS_REG, value=16),
        _instruction(_LOAD, _MAJOR_REG, _R1, 4),
        _instruction(_LOAD, _MINOR_REG, _R1, 8),
    ]
    for kind, major, minor, access in exceptions:
        code += _rule(not allowed, _TYPE[kind], major, minor, sum(_ACCESS[letter] for letter in access))
    code += [_instruction(_MOVE, _R0, value=int(allowed)), _instruction(_EXIT)]
    return b"".join(code)


def _rule(verdict: bool, kind: int, major: int | None, minor: int | None, access: int) -> list[bytes]:
    """One rule: every test that fails jumps behind the rule's last instruction."""
    tests: list[tuple[int, int, int, int]] = [(_JUMP_NE, _TYPE_REG, 0, kind)]
    if verdict and access != 7:
        tests += [
            (_MOVE_REG, _R1, _ACCESS_REG, 0),
            (_AND, _R1, 0, access),
            (_JUMP_NE_REG, _R1, _ACCESS_REG, 0),
        ]
    elif not verdict and access != 7:
        tests += [(_MOVE_REG, _R1, _ACCESS_REG, 0), (_AND, _R1, 0, access), (_JUMP_EQ, _R1, 0, 0)]
    if major is not None:
        tests.append((_JUMP_NE, _MAJOR_REG, 0, major))
    if minor is not None:
        tests.append((_JUMP_NE, _MINOR_REG, 0, minor))
    code = []
    for index, (opcode, target, source, value) in enumerate(tests):
        jumps = opcode in (_JUMP_NE, _JUMP_NE_REG, _JUMP_EQ)
        code.append(_instruction(opcode, target, source, len(tests) - index + 1 if jumps else 0, value))
    return [*code, _instruction(_MOVE, _R0, value=int(verdict)), _instruction(_EXIT)]


def attach(program: bytes, directory: str) -> None:
    """Load the program and attach it to the group at directory; it goes when the group goes.

    Programs of the groups above stay in force. Raises OSError as bpf(2) does (EPERM without CAP_BPF and CAP_NET_ADMIN
    or CAP_SYS_ADMIN, ENOSYS or EINVAL where the kernel has no such programs).
    """
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        loaded = _load(program)
        try:
            _bpf(_PROG_ATTACH, struct.pack("=IIII", group, loaded, _ATTACH_DEVICE, _ALLOW_MULTI))
        finally:
            os.close(loaded)
    finally:
        os.close(group)


def replace(program: bytes, directory: str) -> None:
    """Attach the program in place of those that `attach` put there before. No moment is unconfined: new before old."""
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        old = _attached(group)
        attach(program, directory)
        for number in old:
            fd = _bpf(_GET_FD_BY_ID, struct.pack("=II", number, 0))
            try:
                _bpf(_PROG_DETACH, struct.pack("=III", group, fd, _ATTACH_DEVICE))
            finally:
                os.close(fd)
    finally:
        os.close(group)


def attached(directory: str) -> tuple[int, ...]:
    """Return the kernel's ids of the device programs attached to this very group."""
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _attached(group)
    finally:
        os.close(group)


def _attached(group: int) -> tuple[int, ...]:
    ids = (ctypes.c_uint32 * 64)()
    head = struct.pack("=IIIIQI", group, _ATTACH_DEVICE, 0, 0, ctypes.addressof(ids), 64)
    buffer = ctypes.create_string_buffer(head, _ATTR_SIZE)
    _call(_PROG_QUERY, buffer)
    count = struct.unpack_from("=I", buffer.raw, 24)[0]
    return tuple(ids[:count])


def _load(program: bytes) -> int:
    instructions = ctypes.create_string_buffer(program, len(program))
    license_text = ctypes.create_string_buffer(b"GPL")
    head = struct.pack(
        "=IIQQ",
        _CGROUP_DEVICE,
        len(program) // 8,
        ctypes.addressof(instructions),
        ctypes.addressof(license_text),
    )
    for _ in range(5):  # EAGAIN: the verifier was interrupted by a signal
        try:
            return _bpf(_PROG_LOAD, head)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
    return _bpf(_PROG_LOAD, head)


def _bpf(command: int, head: bytes) -> int:
    return _call(command, ctypes.create_string_buffer(head, _ATTR_SIZE))


def _call(command: int, buffer: ctypes.Array[ctypes.c_char]) -> int:
    from ..linux.syscall import syscall

    return syscall("bpf", command, buffer, _ATTR_SIZE)
