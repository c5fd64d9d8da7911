# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled filters, run in a small interpreter of classic BPF, against what profiles mean, said once more, slowly."""

from __future__ import annotations

import functools
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine.errors import InvalidInput
from vitrine.runtime import capabilities, seccomp, seccomp_compiler, seccomp_profile, syscalls_table

ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x50001, 0x50026
MACHINES = {
    "x86_64": ("X86_64", "X86", "X32"),
    "aarch64": ("AARCH64", "ARM"),
    "ppc64le": ("PPC64LE",),
    "s390x": ("S390X", "S390"),
    "riscv64": ("RISCV64",),
}
PAIRS = [(machine, arch) for machine, arches in MACHINES.items() for arch in arches]
DEFAULT = frozenset(capabilities.DEFAULT)
EVERY = frozenset(capabilities.NAMES)
X32 = 1 << 30


@functools.cache
def table(arch: str) -> dict[str, int]:
    return syscalls_table.numbers(seccomp_compiler.ARCHES[arch][0])


def number_of(arch: str, name: str) -> int:
    number = table(arch)[name]
    return number | X32 if arch == "X32" else number


def run(program: bytes, machine: str, arch: str, number: int, *args: int) -> int:
    """Interpret a filter as the kernel would; return what it returns."""
    order = ">" if machine == "s390x" else "<"
    data = struct.pack(order + "IIQ", number, seccomp_compiler.ARCHES[arch][1], 0)
    data += struct.pack(order + "6Q", *args, *[0] * (6 - len(args)))
    at = accumulator = steps = 0
    while True:
        code, yes, no, k = struct.unpack_from(order + "HBBI", program, at * 8)
        at += 1
        steps += 1
        if code == 0x06:
            return k
        if code == 0x20:
            (accumulator,) = struct.unpack_from(order + "I", data, k)
        elif code == 0x54:
            accumulator &= k
        elif code == 0x05:
            at += k
        else:
            at += yes if {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k}[code] else no


def holds(arg: dict[str, Any], values: tuple[int, ...]) -> bool:
    value, wanted = values[arg["index"]], arg.get("value", 0)
    return {
        "NE": value != wanted,
        "LT": value < wanted,
        "LE": value <= wanted,
        "EQ": value == wanted,
        "GE": value >= wanted,
        "GT": value > wanted,
        "MASKED_EQ": value & wanted == arg.get("valueTwo", 0),
    }[arg["op"][9:]]


def meaning(
    profile: dict[str, Any], machine: str, caps: frozenset[str], arch: str, name: str, values: tuple[int, ...]
) -> int:
    """What the profile says about a call, rule by rule (docker's conditions, runc's rules for arguments)."""
    go_name = seccomp_compiler.MACHINES[machine][0]
    default = seccomp_compiler.ACTIONS[profile["defaultAction"]] | (profile.get("defaultErrnoRet") or 0)
    found = []
    for rule in profile["syscalls"]:
        includes, excludes = rule.get("includes", {}), rule.get("excludes", {})
        if not set(includes.get("caps", ())) <= caps or set(excludes.get("caps", ())) & caps:
            continue
        if go_name not in includes.get("arches", [go_name]) or go_name in excludes.get("arches", ()):
            continue
        value = seccomp_compiler.ACTIONS[rule["action"]]
        if rule["action"] == "SCMP_ACT_ERRNO":
            value |= rule.get("errnoRet", 1)
        if name in rule["names"] and value != default:
            found.append((rule.get("args") or [], value))
    for args, value in found:
        if not args:
            return value
    for args, value in found:
        test = any if len({arg["index"] for arg in args}) < len(args) else all
        if test(holds(arg, values) for arg in args):
            return value
    return default


interesting = st.one_of(
    st.integers(0, 64),
    st.sampled_from([0x20000, 0x20008, 0x7E020000, 0x10000000, 1 << 32, (1 << 32) + 2, 0xFFFFFFFF, (1 << 64) - 1]),
    st.integers(0, (1 << 64) - 1),
)
arguments = st.tuples(*[interesting] * 6)
names = st.sampled_from(
    ["socket", "clone", "clone3", "personality", "mount", "read", "ptrace", "bpf", "keyctl", "reboot"]
)


@pytest.mark.parametrize("caps", [frozenset(), DEFAULT, EVERY], ids=["no", "default", "every"])
@pytest.mark.parametrize(("machine", "arch"), PAIRS)
def test_every_call_of_the_default_profile(machine: str, arch: str, caps: frozenset[str]) -> None:
    profile = seccomp_profile.default_profile()
    program = seccomp.default_program(caps, machine)
    newest = max(
        number_of(arch, name)
        for rule in profile["syscalls"]
        for name in rule["names"]
        if name in table(arch) and name not in ("breakpoint", "set_tls")
        if number_of(arch, name) & ~X32 < 0xF0000
    )
    for name in table(arch):
        number = number_of(arch, name)
        expected = meaning(profile, machine, caps, arch, name, (0,) * 6)
        if newest < number < newest + 1000 and expected == EPERM:
            expected = ENOSYS
        if arch == "ARM" and number >= 0xF0000 and expected == EPERM:
            expected = ENOSYS
        assert run(program, machine, arch, number) == expected, name


@settings(deadline=None)
@given(st.sampled_from(PAIRS), st.sampled_from([frozenset(), DEFAULT, EVERY]), names, arguments)
def test_arguments_of_the_default_profile(
    pair: tuple[str, str], caps: frozenset[str], name: str, values: tuple[int, ...]
) -> None:
    machine, arch = pair
    if name not in table(arch):
        return
    expected = meaning(seccomp_profile.default_profile(), machine, caps, arch, name, values)
    program = _programs.setdefault((machine, caps), seccomp.default_program(caps, machine))
    assert run(program, machine, arch, number_of(arch, name), *values) == expected


_programs: dict[tuple[str, frozenset[str]], bytes] = {}

tests = st.fixed_dictionaries(
    {
        "index": st.integers(0, 5),
        "op": st.sampled_from(sorted(seccomp_compiler.OPERATORS)),
        "value": interesting,
        "valueTwo": interesting,
    }
)
rules = st.fixed_dictionaries(
    {
        "names": st.lists(st.sampled_from(["read", "write", "openat", "socket", "clone", "mseal"]), min_size=1),
        "action": st.sampled_from(["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_LOG", "SCMP_ACT_KILL_PROCESS"]),
        "args": st.lists(tests, max_size=3),
    }
)


@settings(deadline=None, max_examples=100)
@given(st.lists(rules, max_size=8), st.sampled_from(PAIRS), st.data())
def test_any_profile_means_what_it_says(generated: list[dict[str, Any]], pair: tuple[str, str], data: Any) -> None:
    machine, arch = pair
    profile = {"defaultAction": "SCMP_ACT_TRAP", "syscalls": generated, "architectures": list(MACHINES[machine])}
    program = seccomp.compile_profile(profile, machine)
    for name in ("read", "socket", "clone"):
        values = data.draw(arguments)
        number = table(arch).get(name)
        if number is None:
            continue
        number = number_of(arch, name)
        known = [number_of(arch, each) for rule in generated for each in rule["names"] if each in table(arch)]
        expected = meaning(profile, machine, frozenset(), arch, name, values)
        if known and number > max(known):
            expected = ENOSYS
        assert run(program, machine, arch, number, *values) == expected


def test_far_jumps_are_bridged() -> None:
    every = list(syscalls_table.numbers("x86_64"))
    odd = every[::2]
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "op": "SCMP_CMP_EQ", "value": number}]}
            for number, name in enumerate(odd)
        ],
    }
    program = seccomp.compile_profile(profile, "x86_64")
    assert len(program) // 8 > 600
    for number, name in enumerate(odd):
        assert run(program, "x86_64", "X86_64", number_of("X86_64", name), 0, number) == ALLOW
        assert run(program, "x86_64", "X86_64", number_of("X86_64", name), 0, number + 1) == EPERM


def test_too_long_a_profile_is_refused() -> None:
    test = {"index": 0, "op": "SCMP_CMP_EQ"}
    rules = [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{**test, "value": value}]} for value in range(2000)
    ]
    with pytest.raises(InvalidInput, match="4096"):
        seccomp.compile_profile({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}, "x86_64")


def test_foreign_architectures_are_killed() -> None:
    program = seccomp.default_program(DEFAULT, "x86_64")
    assert run(program, "x86_64", "AARCH64", 0) == KILL
    narrow = seccomp.compile_profile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}, "x86_64")
    assert run(narrow, "x86_64", "X86_64", 0) == ALLOW
    assert run(narrow, "x86_64", "X86", 0) == KILL
    assert run(narrow, "x86_64", "X32", X32) == KILL


def test_new_calls_do_not_exist() -> None:
    program = seccomp.default_program(DEFAULT, "x86_64")
    assert run(program, "x86_64", "X86_64", 4000) == ENOSYS
    assert run(program, "x86_64", "X86", 0xFFFFFFFF) == ENOSYS
    assert run(program, "x86_64", "X32", X32 + 4000) == ENOSYS
    lax = seccomp.compile_profile(
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]}, "x86_64"
    )
    assert run(lax, "x86_64", "X86_64", 4000) == ALLOW


def test_what_the_default_profile_is_known_for() -> None:
    def outcome(name: str, *args: int, caps: frozenset[str] = DEFAULT) -> int:
        return run(seccomp.default_program(caps, "x86_64"), "x86_64", "X86_64", number_of("X86_64", name), *args)

    assert outcome("read") == outcome("execve") == outcome("chroot") == ALLOW
    assert outcome("keyctl") == outcome("io_uring_setup") == outcome("userfaultfd") == outcome("mount") == EPERM
    assert outcome("socket", 2) == outcome("socket", 16) == ALLOW
    assert outcome("socket", 38) == outcome("socket", 40) == EPERM
    assert outcome("clone", 0x11) == ALLOW
    assert outcome("clone", 0x10000000) == EPERM
    assert outcome("clone3") == ENOSYS
    admin = DEFAULT | {"CAP_SYS_ADMIN"}
    assert (
        outcome("clone3", caps=admin)
        == outcome("clone", 0x10000000, caps=admin)
        == outcome("mount", caps=admin)
        == ALLOW
    )


def test_min_kernel() -> None:
    profile = seccomp_profile.default_profile()
    number = number_of("X86_64", "ptrace")
    for kernel, expected in (((4, 7), EPERM), ((4, 8), ALLOW), ((5, 0), ALLOW)):
        program = seccomp_compiler.compile_profile(profile, "x86_64", frozenset(), kernel)
        assert run(program, "x86_64", "X86_64", number) == expected


def test_errno_is_clamped() -> None:
    rule = {"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000}
    program = seccomp.compile_profile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}, "x86_64")
    assert run(program, "x86_64", "X86_64", 0) == 0x50000 | 4095


@pytest.mark.parametrize(
    ("profile", "value"),
    [
        ({}, None),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "SCMP_ACT_NOTIFY"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": -1}, -1),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": ["read"]}, ["read"]),
        ({"defaultAction": "SCMP_ACT_ALLOW", "archMap": [1]}, [1]),
        (
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL", "includes": {"caps": "CAP_CHOWN"}}],
            },
            "CAP_CHOWN",
        ),
        ({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [1], "action": "SCMP_ACT_KILL"}]}, [1]),
        (
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL", "includes": {"minKernel": "new"}}],
            },
            "new",
        ),
    ],
)
def test_broken_profiles_are_refused_with_the_value(profile: dict[str, Any], value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        seccomp.compile_profile(profile, "x86_64")
    assert caught.value.value == value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["read", "SCMP_ACT_ALLOW", "SCMP_CMP_EQ", "4.8", ""]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from("names name action args index op value includes excludes caps arches minKernel".split()),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)
profiles = st.dictionaries(
    st.sampled_from("defaultAction defaultErrnoRet archMap architectures syscalls".split()), json_values
)


@settings(deadline=None, max_examples=300)
@given(profiles | json_values, st.lists(json_values, max_size=2))
def test_no_profile_is_answered_by_a_traceback(profile: Any, rules: list[Any]) -> None:
    if isinstance(profile, dict):
        profile.setdefault("defaultAction", "SCMP_ACT_ERRNO")
        profile.setdefault("syscalls", rules)
    try:
        program = seccomp.compile_profile(profile, "x86_64")
    except InvalidInput:
        return
    assert 0 <= run(program, "x86_64", "X86_64", 0) < 1 << 32  # it ends


@pytest.mark.parametrize(
    "arg",
    [
        {"index": 6, "op": "SCMP_CMP_EQ", "value": 0},
        {"index": 0, "op": "EQ", "value": 0},
        {"index": 0, "op": "SCMP_CMP_EQ", "value": 1 << 64},
        {"index": 0, "op": "SCMP_CMP_EQ", "value": "0"},
        {"op": "SCMP_CMP_EQ"},
    ],
)
def test_broken_arguments_are_refused(arg: dict[str, Any]) -> None:
    rule = {"names": ["read"], "action": "SCMP_ACT_KILL", "args": [arg]}
    with pytest.raises(InvalidInput, match="test of an argument"):
        seccomp.compile_profile({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}, "x86_64")


def test_other_machines_are_refused() -> None:
    with pytest.raises(InvalidInput, match="'vax'"):
        seccomp.default_program(DEFAULT, "vax")


def test_the_cache(tmp_path: Path) -> None:
    folder = str(tmp_path / "cache")
    program = seccomp.default_program(DEFAULT, "x86_64", folder)
    (name,) = os.listdir(folder)
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert program == seccomp.default_program(DEFAULT, "x86_64")
    # What decides nothing makes no second entry; what decides, or the machine, does.
    seccomp.default_program(DEFAULT | {"CAP_NET_ADMIN"}, "x86_64", folder)
    assert os.listdir(folder) == [name]
    seccomp.default_program(DEFAULT | {"CAP_SYS_ADMIN"}, "x86_64", folder)
    seccomp.default_program(DEFAULT, "aarch64", folder)
    assert len(os.listdir(folder)) == 3


@pytest.mark.parametrize("content", [b"", b"12345678", bytes(4096), b"x" * 4097])
def test_a_damaged_cache_is_ignored_and_repaired(tmp_path: Path, content: bytes) -> None:
    program = seccomp.default_program(DEFAULT, "x86_64", str(tmp_path))
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(content)
    assert seccomp.default_program(DEFAULT, "x86_64", str(tmp_path)) == program
    assert len(entry.read_bytes()) > len(program)


def test_the_cached_program_is_what_is_read(tmp_path: Path) -> None:
    program = seccomp.default_program(DEFAULT, "x86_64", str(tmp_path))
    (entry,) = tmp_path.iterdir()
    entry.write_bytes(program[8:] + entry.read_bytes()[-8:])
    assert seccomp.default_program(DEFAULT, "x86_64", str(tmp_path)) == program[8:]


def test_decisive_capabilities_are_those_of_the_profile() -> None:
    named = {
        name
        for rule in seccomp_profile.default_profile()["syscalls"]
        for side in ("includes", "excludes")
        for name in rule.get(side, {}).get("caps", ())
    }
    assert named == set(seccomp.DECISIVE)


def test_a_table_has_no_doubles() -> None:
    for arch in syscalls_table.ARCHES:
        numbers = syscalls_table.numbers(arch)
        assert len(set(numbers.values())) == len(numbers) > 300
    known = {
        "x86_64": (56, 317, 257),
        "x86": (120, 354, 295),
        "aarch64": (220, 277, 56),
        "ppc64le": (120, 358, 286),
        "s390x": (120, 348, 288),
        "riscv64": (220, 277, 56),
    }
    for arch, expected in known.items():
        numbers = syscalls_table.numbers(arch)
        assert tuple(numbers[name] for name in ("clone", "seccomp", "openat")) == expected
        assert numbers["clone3"] == 435


def test_no_name_of_the_default_profile_is_misspelt() -> None:
    known = set().union(*(syscalls_table.numbers(arch) for arch in syscalls_table.ARCHES))
    named = {name for rule in seccomp_profile.default_profile()["syscalls"] for name in rule["names"]}
    # Aliases of other names, and calls of architectures that are not in the table.
    assert named - known <= {"fstatat64", "sync_file_range2", "utimensat_time64", "epoll_ctl_old", "epoll_wait_old"}
