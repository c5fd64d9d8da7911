# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our filters against those that libseccomp makes of the same profile: the same answer to every call."""

from __future__ import annotations

import ctypes
import functools
import json
import os
import random
import struct
from typing import Any

import pytest

from vitrine.runtime import capabilities, seccomp, seccomp_compiler, seccomp_profile, syscalls_table

MACHINE = os.uname().machine
ARCHES = {"x86_64": ("X86_64", "X86", "X32"), "aarch64": ("AARCH64", "ARM")}.get(MACHINE, ())
TOKENS = {"X32": 0x4000003E}
OPERATORS = {name: number for number, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), 1)}
X32 = 1 << 30
DISTRIBUTION = "/usr/share/containers/seccomp.json"


class Comparison(ctypes.Structure):
    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


@functools.cache
def library() -> Any:
    try:
        found = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp.so.2 is not installed (Debian: libseccomp2)")
    found.seccomp_init.restype = ctypes.c_void_p
    return found


def peer(profile: dict[str, Any], caps: frozenset[str]) -> bytes:
    """Give libseccomp the profile's rules as runc does."""
    lib = library()
    context = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(action(profile["defaultAction"], profile))))
    for arch in ARCHES[1:]:
        token = TOKENS.get(arch, seccomp_compiler.ARCHES[arch][1])
        assert lib.seccomp_arch_add(context, ctypes.c_uint32(token)) == 0
    default = action(profile["defaultAction"], profile)
    for rule in profile["syscalls"]:
        value = action(rule["action"], {"defaultErrnoRet": rule.get("errnoRet", 1)})
        if not seccomp_compiler._applies(rule, MACHINE, caps, seccomp.kernel_version()) or value == default:
            continue
        args = rule.get("args") or []
        split = len({arg["index"] for arg in args}) < len(args)
        for name in rule["names"]:
            number = lib.seccomp_syscall_resolve_name(name.encode())
            if number == -1:
                continue
            for group in [[arg] for arg in args] if split else [args]:
                tests = (Comparison * len(group))(
                    *[
                        Comparison(arg["index"], OPERATORS[arg["op"][9:]], arg["value"], arg.get("valueTwo", 0))
                        for arg in group
                    ]
                )
                lib.seccomp_rule_add_array(context, ctypes.c_uint32(value), number, len(group), tests)
    fd = os.memfd_create("filter")
    assert lib.seccomp_export_bpf(context, fd) == 0
    lib.seccomp_release(context)
    program = os.pread(fd, 1 << 20, 0)
    os.close(fd)
    return program


def action(name: str, numbers: dict[str, Any]) -> int:
    value = seccomp_compiler.ACTIONS[name]
    return value | (numbers.get("defaultErrnoRet") or 1) if name == "SCMP_ACT_ERRNO" else value


def run(program: bytes, arch: str, number: int, args: tuple[int, ...]) -> int:
    data = struct.pack("=IIQ6Q", number, seccomp_compiler.ARCHES[arch][1], 0, *args)
    at = accumulator = 0
    while True:
        code, yes, no, k = struct.unpack_from("=HBBI", program, at * 8)
        at += 1
        if code == 0x06:
            return k
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif code == 0x54:
            accumulator &= k
        elif code == 0x05:
            at += k
        else:
            taken = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k, 0x45: accumulator & k != 0}
            at += yes if taken[code] else no


def compare(profile: dict[str, Any], caps: frozenset[str]) -> int:
    """Ask both filters about every call that both tables know; return how many questions that were."""
    lib = library()
    ours, theirs = seccomp.compile_profile(profile, None, caps), peer(profile, caps)
    chance = random.Random(1)
    special = [0, 1, 2, 8, 12, 16, 38, 40, 0x20000, 0x20008, 0x7E020000, 0x10000000, 0xFFFFFFFF, 1 << 32, (1 << 64) - 1]
    picky = {name for rule in profile["syscalls"] if rule.get("args") for name in rule["names"]}
    count = 0
    for arch in ARCHES:
        numbers = syscalls_table.numbers(seccomp_compiler.ARCHES[arch][0])
        # libseccomp looks at half of an argument where pointers have 32 bits.
        widest = 0xFFFFFFFF if arch in ("X86", "X32", "ARM") else (1 << 64) - 1
        newest = seccomp_compiler._newest(seccomp_compiler._names(profile), numbers)
        for name, number in numbers.items():
            if lib.seccomp_syscall_resolve_name(name.encode()) == -1 or (newest is not None and number > newest):
                continue  # too new for that library, or a call for which ours answers ENOSYS on purpose
            for _ in range(40 if name in picky else 1):
                args = tuple(chance.choice(special) & widest for _ in range(6))
                asked = number | X32 if arch == "X32" else number
                count += 1
                assert run(ours, arch, asked, args) == run(theirs, arch, asked, args), (arch, name, args)
    return count


@pytest.mark.skipif(not ARCHES, reason="compared on x86_64 and aarch64")
@pytest.mark.parametrize("caps", [(), capabilities.DEFAULT, capabilities.NAMES], ids=["none", "default", "all"])
def test_the_default_profile_means_the_same_to_libseccomp(caps: tuple[str, ...]) -> None:
    assert compare(seccomp_profile.default_profile(), frozenset(caps)) > 1000


@pytest.mark.skipif(not ARCHES, reason="compared on x86_64 and aarch64")
@pytest.mark.skipif(not os.path.exists(DISTRIBUTION), reason=f"{DISTRIBUTION} is not there (containers-common)")
@pytest.mark.parametrize("caps", [(), capabilities.DEFAULT, capabilities.NAMES], ids=["none", "default", "all"])
def test_a_profile_from_a_file_means_the_same_to_libseccomp(caps: tuple[str, ...]) -> None:
    with open(DISTRIBUTION, encoding="utf-8") as file:
        assert compare(json.load(file), frozenset(caps)) > 1000
