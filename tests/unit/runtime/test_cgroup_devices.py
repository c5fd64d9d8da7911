# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Device rules: reduced to a state, and that state as an eBPF program, run here in a small interpreter."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.errors import InvalidInput
from vitrine.runtime import bpf_devices
from vitrine.runtime.cgroups import devices

DENY, ALLOW = {"allow": False, "access": "rwm"}, {"allow": True, "access": "rwm"}
TYPES, ACCESS = {"b": 1, "c": 2}, {"m": 1, "r": 2, "w": 4}


def run(program: bytes, kind: str, major: int, minor: int, access: str) -> bool:
    """Interpret a device program as the kernel would (the few instructions that it may consist of)."""
    context = {0: TYPES[kind] | sum(ACCESS[letter] for letter in access) << 16, 4: major, 8: minor}
    registers = [0] * 11
    at = 0
    for _ in range(len(program) // 8):
        code, pair, offset, value = struct.unpack_from("=BBhi", program, at * 8)
        target, source = pair & 15, pair >> 4
        at += 1
        if code == 0x61:
            registers[target] = context[offset]
        elif code == 0x54:
            registers[target] &= value & 0xFFFFFFFF
        elif code == 0x74:
            registers[target] = (registers[target] & 0xFFFFFFFF) >> value
        elif code == 0xB7:
            registers[target] = value
        elif code == 0xBC:
            registers[target] = registers[source] & 0xFFFFFFFF
        elif code == 0x95:
            return bool(registers[0])
        else:
            taken = {
                0x55: registers[target] != value,
                0x5D: registers[target] != registers[source],
                0x15: registers[target] == value,
            }[code]
            at += offset if taken else 0
    raise AssertionError("the program does not end")


def allowed(rules: list[dict[str, Any]] | None, kind: str, major: int, minor: int, access: str) -> bool:
    return run(bpf_devices.compile_program(*devices.effective(rules)), kind, major, minor, access)


def test_by_default_only_harmless_devices() -> None:
    for rules in (None, [], [DENY]):
        assert allowed(rules, "c", 1, 3, "rw")
        assert allowed(rules, "c", 136, 7, "rw")
        assert allowed(rules, "b", 8, 0, "m")
        assert not allowed(rules, "b", 8, 0, "r")
        assert not allowed(rules, "c", 1, 1, "r")
        assert not allowed(rules, "c", 10, 200, "rw")


def test_a_device_that_was_asked_for() -> None:
    rules = [DENY, {"allow": True, "type": "b", "major": 8, "minor": 0, "access": "r"}]
    assert allowed(rules, "b", 8, 0, "r")
    assert not allowed(rules, "b", 8, 0, "rw")
    assert not allowed(rules, "b", 8, 1, "r")
    assert not allowed(rules, "c", 8, 0, "r")


def test_all_but_one() -> None:
    rules = [ALLOW, {"allow": False, "type": "c", "major": 1, "minor": 1, "access": "w"}]
    assert allowed(rules, "b", 8, 0, "rwm")
    assert allowed(rules, "c", 1, 1, "r")
    assert not allowed(rules, "c", 1, 1, "rw")


def test_rules_take_back_what_earlier_ones_gave() -> None:
    one = {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}
    rules = [DENY, one, {**one, "allow": False, "access": "w"}]
    assert allowed(rules, "c", 10, 229, "r")
    assert not allowed(rules, "c", 10, 229, "w")
    assert not allowed([DENY, one, {"allow": False, "type": "c", "major": 10}], "c", 10, 229, "r")


def test_type_a_with_numbers_means_both_kinds() -> None:
    rules = [DENY, {"allow": True, "type": "a", "major": 9, "minor": -1, "access": "r"}]
    assert allowed(rules, "b", 9, 5, "r")
    assert allowed(rules, "c", 9, 5, "r")


def test_lines_of_version_1() -> None:
    state = devices.effective([DENY, {"allow": True, "type": "b", "major": 8, "access": "r"}])
    lines = devices.v1_lines(*state)
    assert lines[:2] == [("devices.deny", "a"), ("devices.allow", "b 8:* r")]
    assert ("devices.allow", "c 1:3 rwm") in lines
    assert devices.v1_lines(*devices.effective([ALLOW])) == [("devices.allow", "a")]


@pytest.mark.parametrize(
    "rule",
    [
        {"allow": True, "type": "p"},
        {"allow": True, "access": "x"},
        {"allow": True, "type": "c", "major": "1"},
        {"allow": True, "type": "c", "major": True},
        {"allow": True, "type": "c", "minor": 1 << 40},
    ],
)
def test_malformed_rules_are_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        devices.effective([rule])


def test_a_hole_in_a_wider_rule_is_refused() -> None:
    with pytest.raises(InvalidInput, match="takes away a part"):
        devices.effective([DENY, {"allow": True, "type": "c"}, {"allow": False, "type": "c", "major": 1, "minor": 3}])


numbers = st.one_of(st.none(), st.integers(0, 3))
access = st.sets(st.sampled_from("rwm"), min_size=1).map("".join)
exceptions = st.lists(st.tuples(st.sampled_from("bc"), numbers, numbers, access), max_size=8)


@given(st.booleans(), exceptions, st.sampled_from("bc"), st.integers(0, 3), st.integers(0, 3), access)
def test_programs_mean_what_the_state_says(
    default: bool, rules: list[tuple[Any, ...]], kind: str, major: int, minor: int, wish: str
) -> None:
    hits = [
        set(letters)
        for rule_kind, rule_major, rule_minor, letters in rules
        if rule_kind == kind and rule_major in (None, major) and rule_minor in (None, minor)
    ]
    exempt = any(letters & set(wish) if default else letters >= set(wish) for letters in hits)
    program = bpf_devices.compile_program(default, rules)
    assert run(program, kind, major, minor, wish) == (default != bool(exempt))
