# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiles seccomp profiles to classic BPF. Pure: data in, bytes out.

Shape of a program: by the audit architecture to a section; in it a binary search over intervals of system call
numbers, neighbours with one outcome merged (long runs of allowed calls take one comparison); calls whose arguments
matter have a block each behind the search. See seccomp(2), Documentation/networking/filter.rst.
"""

from __future__ import annotations

import struct

from ..errors import InvalidInput
from . import syscalls_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    # A test of an argument: (index, operator, value, second value). An outcome: the value to return, or conditional
    # rules in order: ((tests, value to return), ..., and what else to return).
    Test = tuple[int, str, int, int]
    Outcome = Any

# machine: (Go's name, SCMP_ARCH name)
MACHINES = {
    "x86_64": ("amd64", "X86_64"),
    "aarch64": ("arm64", "AARCH64"),
    "ppc64le": ("ppc64le", "PPC64LE"),
    "s390x": ("s390x", "S390X"),
    "riscv64": ("riscv64", "RISCV64"),
}
# SCMP_ARCH name: (column of the table, AUDIT_ARCH value); x32 shares x86_64's, and says so by bit 30 of the number.
ARCHES = {
    "X86_64": ("x86_64", 0xC000003E),
    "X86": ("x86", 0x40000003),
    "X32": ("x32", 0xC000003E),
    "AARCH64": ("aarch64", 0xC00000B7),
    "ARM": ("arm", 0x40000028),
    "PPC64LE": ("ppc64le", 0xC0000015),
    "S390X": ("s390x", 0x80000016),
    "S390": ("s390", 0x00000016),
    "RISCV64": ("riscv64", 0xC00000F3),
}
X32_BIT = 0x40000000
ARM_PRIVATE = 0xF0000  # numbers of arm's own calls lie above all others and say nothing about a call's age
END = 1 << 32

ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
ALLOW, LOG, KILL_PROCESS = 0x7FFF0000, 0x7FFC0000, 0x80000000
ERRNO = 0x00050000
EPERM, ENOSYS, MAX_ERRNO = 1, 38, 4095
OPERATORS = frozenset("SCMP_CMP_" + name for name in ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"))

# linux/bpf_common.h
LD, JA, JEQ, JGT, JGE, AND, RET = 0x20, 0x05, 0x15, 0x25, 0x35, 0x54, 0x06
MOST = 4096


def compile_profile(profile: dict[str, Any], machine: str, caps: frozenset[str], kernel: tuple[int, int]) -> bytes:
    """Compile docker's format (archMap, includes, excludes) or OCI linux.seccomp (architectures).

    kernel: (major, minor) for minKernel. Unknown names of calls are ignored, as docker does: profiles name calls of
    other architectures and newer kernels. Raises InvalidInput, naming the value.
    """
    if machine not in MACHINES:
        raise InvalidInput(
            f"seccomp filters cannot be made for the machine {machine!r}",
            hint="use one of " + ", ".join(MACHINES) + ", or seccomp=unconfined",
            value=machine,
        )
    if not isinstance(profile, dict):
        raise InvalidInput("the seccomp profile is not a JSON object", value=profile)
    default = _action(profile.get("defaultAction"), profile.get("defaultErrnoRet"))
    rules = _rules(profile, machine, caps, kernel)
    sections: dict[int, list[tuple[int, int, Outcome]]] = {}
    named = _names(profile)
    for arch in _architectures(profile, machine):
        column, audit = ARCHES[arch]
        numbers = syscalls_table.numbers(column)
        intervals = _intervals(_outcomes(rules, numbers, default), _newest(named, numbers), default)
        if arch == "X32":
            native = [each for each in sections[audit] if each[0] < X32_BIT]
            shifted = [(low + X32_BIT, min(high + X32_BIT, END), outcome) for low, high, outcome in intervals]
            sections[audit] = native + [each for each in shifted if each[0] < END]
        elif arch == "X86_64":
            # Numbers with x32's bit are not calls of this architecture: as bad as a foreign one.
            cut = [(a, min(b, X32_BIT), c) for a, b, c in intervals if a < X32_BIT]
            sections[audit] = [*cut, (X32_BIT, END, KILL_PROCESS)]
        else:
            sections[audit] = intervals
    return _assemble(_program(sections, machine), machine)


# -- understanding profiles ------------------------------------------------------------------------------------------


def _list(parent: dict[str, Any], key: str, kind: type) -> list[Any]:
    """Return a list of values of one kind; absent and null are empty."""
    found = parent.get(key)
    found = [] if found is None else found
    if not isinstance(found, list) or not all(isinstance(one, kind) for one in found):
        what = "names" if kind is str else "objects"
        raise InvalidInput(f"{key!r} of a seccomp profile is not a list of {what}: {found!r}", value=found)
    return found


def _object(parent: dict[str, Any], key: str) -> dict[str, Any]:
    found = parent.get(key)
    found = {} if found is None else found
    if not isinstance(found, dict):
        raise InvalidInput(f"{key!r} of a seccomp profile is not an object: {found!r}", value=found)
    return found


def _action(name: Any, errno_value: Any) -> int:
    if not isinstance(name, str) or name not in ACTIONS:
        raise InvalidInput(
            f"{name!r} is not an action of a seccomp profile that this engine can carry out",
            hint="use one of " + ", ".join(ACTIONS),
            value=name,
        )
    value = ACTIONS[name]
    if name not in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        return value
    if errno_value is None:
        errno_value = EPERM
    if isinstance(errno_value, bool) or not isinstance(errno_value, int) or not 0 <= errno_value <= 0xFFFF:
        raise InvalidInput(f"{errno_value!r} is not an errnoRet of a seccomp profile", value=errno_value)
    return value | (min(errno_value, MAX_ERRNO) if name == "SCMP_ACT_ERRNO" else errno_value)


def _architectures(profile: dict[str, Any], machine: str) -> list[str]:
    """Return the SCMP_ARCH names, the native one first; what this table does not know cannot run here anyway."""
    native = MACHINES[machine][1]
    asked = [native]  # first: X32 is put into its section
    for entry in _list(profile, "archMap", dict):
        if entry.get("architecture") == "SCMP_ARCH_" + native:
            asked += [name.replace("SCMP_ARCH_", "") for name in _list(entry, "subArchitectures", str)]
    asked += [name.replace("SCMP_ARCH_", "") for name in _list(profile, "architectures", str)]
    return [name for name in dict.fromkeys(asked) if name in ARCHES]


def _names(profile: dict[str, Any]) -> set[str]:
    return {name for rule in _list(profile, "syscalls", dict) for name in _rule_names(rule)}


def _rule_names(rule: dict[str, Any]) -> list[str]:
    """The calls of a rule; profiles of before 2016 have one "name" in each."""
    return _list({"names": [rule["name"]]} if rule.get("name") else rule, "names", str)


def _rules(
    profile: dict[str, Any], machine: str, caps: frozenset[str], kernel: tuple[int, int]
) -> list[tuple[list[str], list[tuple[Test, ...]], int]]:
    """Return (names, alternatives: tests that must all hold, value to return) of each rule in force."""
    rules = []
    for rule in _list(profile, "syscalls", dict):
        if _applies(rule, machine, caps, kernel):
            value = _action(rule.get("action"), rule.get("errnoRet"))
            rules.append((_rule_names(rule), _alternatives(_list(rule, "args", dict)), value))
    return rules


def _applies(rule: dict[str, Any], machine: str, caps: frozenset[str], kernel: tuple[int, int]) -> bool:
    """docker's conditions: all of includes' capabilities, any of its machines; anything of excludes drops the rule."""
    includes, excludes = _object(rule, "includes"), _object(rule, "excludes")
    go_name = MACHINES[machine][0]
    machines = _list(includes, "arches", str)
    if not caps.issuperset(_list(includes, "caps", str)) or (machines and go_name not in machines):
        return False
    if includes.get("minKernel") and kernel < _version(includes["minKernel"]):
        return False
    if not caps.isdisjoint(_list(excludes, "caps", str)) or go_name in _list(excludes, "arches", str):
        return False
    return not (excludes.get("minKernel") and kernel >= _version(excludes["minKernel"]))


def _version(text: str) -> tuple[int, int]:
    parts = str(text).split(".")
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        raise InvalidInput(f"{text!r} is not a minKernel of a seccomp profile", hint='use "4.8"', value=text)
    return int(parts[0]), int(parts[1])


def _alternatives(args: list[dict[str, Any]]) -> list[tuple[Test, ...]]:
    """Return the tests as a list of alternatives: an index that occurs twice makes every test one (as runc does)."""
    tests: list[Test] = []
    for arg in args:
        index, operator = arg.get("index"), arg.get("op")
        numbers = (arg.get("value", 0), arg.get("valueTwo", 0) or 0)
        if (
            not isinstance(index, int)
            or not 0 <= index <= 5
            or not isinstance(operator, str)
            or operator not in OPERATORS
            or not all(isinstance(number, int) and 0 <= number < 1 << 64 for number in numbers)
        ):
            raise InvalidInput(
                f"{arg!r} is not a test of an argument in a seccomp profile",
                hint="index is 0 to 5, op one of " + ", ".join(sorted(OPERATORS)),
                value=arg,
            )
        tests.append((index, operator[9:], *numbers))
    if len({test[0] for test in tests}) < len(tests):
        return [(test,) for test in tests]
    return [tuple(tests)]


# -- outcomes and intervals ------------------------------------------------------------------------------------------


def _outcomes(
    rules: list[tuple[list[str], list[tuple[Test, ...]], int]], numbers: dict[str, int], default: int
) -> dict[int, Outcome]:
    """Return what happens for each number that does not get the default.

    A rule without tests decides, however many with tests name the same call; of two with the same claim the first does.
    """
    plain: dict[int, int] = {}
    conditional: dict[int, list[tuple[tuple[Test, ...], int]]] = {}
    for names, alternatives, value in rules:
        if value == default:
            continue  # adds nothing; libseccomp refuses such rules
        for name in names:
            number = numbers.get(name)
            if number is None:
                continue
            for tests in alternatives:
                if tests:
                    conditional.setdefault(number, []).append((tests, value))
                else:
                    plain.setdefault(number, value)
    outcomes: dict[int, Outcome] = {number: (tuple(cases), default) for number, cases in conditional.items()}
    outcomes.update(plain)
    return outcomes


def _newest(named: set[str], numbers: dict[str, int]) -> int | None:
    """Return the highest number that the profile's author knew."""
    known = [numbers[name] for name in named if name in numbers and numbers[name] < ARM_PRIVATE]
    return max(known) if known else None


def _intervals(outcomes: dict[int, Outcome], newest: int | None, default: int) -> list[tuple[int, int, Outcome]]:
    """Return (from, to, outcome) over all numbers, in order, without gaps, neighbours being different.

    Calls newer than the profile answer ENOSYS, so that programs fall back to older ones; unless it allows by default.
    """
    unknown = ERRNO | ENOSYS if newest is not None and default not in (ALLOW, LOG) else default
    intervals: list[tuple[int, int, Outcome]] = []

    def add(low: int, high: int, outcome: Outcome) -> None:
        if low >= high:
            return
        if intervals and intervals[-1][2] == outcome:
            intervals[-1] = (intervals[-1][0], high, outcome)
        else:
            intervals.append((low, high, outcome))

    def fill(low: int, high: int) -> None:
        border = END if newest is None else newest + 1
        add(low, min(high, border), default)
        add(max(low, border), high, unknown)

    at = 0
    for number in sorted(outcomes):
        fill(at, number)
        add(number, number + 1, outcomes[number])
        at = number + 1
    fill(at, END)
    return intervals


# -- code ------------------------------------------------------------------------------------------------------------
# An instruction is [code, k, label if true, label if false]; a label is a string; ("label", name) marks a place.


class _Code:
    """Instructions with symbolic labels."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self.count = 0

    def label(self) -> str:
        """Return a new label, not placed yet."""
        self.count += 1
        return f"L{self.count}"

    def place(self, label: str) -> None:
        """The label means the next instruction."""
        self.lines.append(label)

    def add(self, code: int, k: int, true: str | None = None, false: str | None = None) -> None:
        """Append an instruction; a label of None means the next one."""
        self.lines.append([code, k & 0xFFFFFFFF, true, false])


def _program(sections: dict[int, list[tuple[int, int, Outcome]]], machine: str) -> _Code:
    code = _Code()
    starts = {audit: code.label() for audit in sections}
    code.add(LD, 4)
    for audit, start in starts.items():
        code.add(JEQ, audit, start)
    code.add(RET, KILL_PROCESS)
    for audit, intervals in sections.items():
        code.place(starts[audit])
        code.add(LD, 0)
        _section(code, intervals, machine)
    return code


def _section(code: _Code, intervals: list[tuple[int, int, Outcome]], machine: str) -> None:
    returns: dict[int, str] = {}
    blocks: dict[Outcome, str] = {}

    def target(outcome: Outcome) -> str:
        table = returns if isinstance(outcome, int) else blocks
        if outcome not in table:
            table[outcome] = code.label()
        return table[outcome]

    def search(low: int, high: int, label: str | None) -> None:
        if label:
            code.place(label)
        middle = (low + high + 1) // 2
        left = target(intervals[low][2]) if middle - low == 1 else None
        right = target(intervals[high][2]) if middle == high else code.label()
        code.add(JGE, intervals[middle][0], right, left)
        if left is None:
            search(low, middle - 1, None)
        if middle != high:
            search(middle, high, right)

    if len(intervals) == 1:
        code.add(JA, 0, target(intervals[0][2]))
    else:
        search(0, len(intervals) - 1, None)
    for outcome, label in list(blocks.items()):
        code.place(label)
        _block(code, outcome, target, machine)
    for value, label in returns.items():
        code.place(label)
        code.add(RET, value)


def _block(code: _Code, outcome: Outcome, target: Any, machine: str) -> None:
    """The rules of one call whose arguments matter: each one's tests, and on to the next when one fails."""
    cases, otherwise = outcome
    for position, (tests, value) in enumerate(cases):
        last = position == len(cases) - 1
        after = target(otherwise) if last else code.label()
        for number, test in enumerate(tests):
            passed = target(value) if number == len(tests) - 1 else code.label()
            _test(code, test, passed, after, machine)
            if number < len(tests) - 1:
                code.place(passed)
        if not last:
            code.place(after)


def _test(code: _Code, test: Test, yes: str, no: str, machine: str) -> None:
    """Compare a 64-bit argument in two halves, the high one first (struct seccomp_data: args at 16)."""
    index, operator, value, second = test
    big = machine == "s390x"
    high_at, low_at = (16 + 8 * index, 20 + 8 * index) if big else (20 + 8 * index, 16 + 8 * index)
    high, low = value >> 32, value & 0xFFFFFFFF
    if operator in ("NE", "LT", "LE"):
        # These are the opposites of the other three.
        operator, yes, no = {"NE": "EQ", "LT": "GE", "LE": "GT"}[operator], no, yes
    code.add(LD, high_at)
    if operator == "MASKED_EQ":
        code.add(AND, high)
        code.add(JEQ, second >> 32, None, no)
        code.add(LD, low_at)
        code.add(AND, low)
        code.add(JEQ, second & 0xFFFFFFFF, yes, no)
    elif operator == "EQ":
        code.add(JEQ, high, None, no)
        code.add(LD, low_at)
        code.add(JEQ, low, yes, no)
    else:
        code.add(JGT, high, yes, None)
        code.add(JEQ, high, None, no)
        code.add(LD, low_at)
        code.add(JGE if operator == "GE" else JGT, low, yes, no)


def _assemble(code: _Code, machine: str) -> bytes:
    """Resolve labels. Conditional jumps reach 255 instructions: what is farther goes through a jump of its own."""
    lines = code.lines
    while True:
        places: dict[str, int] = {}
        at = 0
        for line in lines:
            if isinstance(line, str):
                places[line] = at
            else:
                at += 1
        if at > MOST:
            raise InvalidInput(
                f"the seccomp profile needs {at} instructions, the kernel takes {MOST}",
                hint="name fewer system calls with conditions",
                value=at,
            )
        lines, changed = _islands(code, lines, places)
        if not changed:
            break
    order = ">" if machine == "s390x" else "<"
    result = []
    at = 0
    for line in lines:
        if isinstance(line, str):
            continue
        opcode, k, yes, no = line
        at += 1
        if opcode == JA:
            result.append(struct.pack(order + "HBBI", opcode, 0, 0, places[yes] - at))
        else:
            jumps = [places[label] - at if label else 0 for label in (yes, no)]
            result.append(struct.pack(order + "HBBI", opcode, *jumps, k))
    return b"".join(result)


def _islands(code: _Code, lines: list[Any], places: dict[str, int]) -> tuple[list[Any], bool]:
    result: list[Any] = []
    changed = False
    at = 0
    for line in lines:
        if isinstance(line, str):
            result.append(line)
            continue
        at += 1
        opcode, k, yes, no = line
        if opcode in (JEQ, JGT, JGE) and any(label and places[label] - at > 255 for label in (yes, no)):
            changed = True
            near_yes, near_no = (code.label() if label else None for label in (yes, no))
            after = code.label()
            result.append([opcode, k, near_yes or after, near_no or after])
            for near, label in ((near_yes, yes), (near_no, no)):
                if near:
                    result += [near, [JA, 0, label, None]]
            result.append(after)
        else:
            result.append(line)
    return result, changed
