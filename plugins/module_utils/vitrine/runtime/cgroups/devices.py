# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Device rules: from the OCI list (later rules override earlier ones) to a default and its exceptions. Pure.

That form is what the version 1 controller holds, and what the eBPF program of version 2 is compiled from.
"""

from __future__ import annotations

from ...errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# What every container may use (runc's list): making any node, and using null, zero, full, random, urandom, tty, ptmx,
# the terminals of its own devpts.
BASIC = (
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", 1, 3, "rwm"),
    ("c", 1, 5, "rwm"),
    ("c", 1, 7, "rwm"),
    ("c", 1, 8, "rwm"),
    ("c", 1, 9, "rwm"),
    ("c", 5, 0, "rwm"),
    ("c", 5, 2, "rwm"),
    ("c", 136, None, "rwm"),
)


def effective(rules: Iterable[dict[str, Any]] | None) -> tuple[bool, tuple[tuple[Any, ...], ...]]:
    """Reduce OCI linux.resources.devices to (allowed by default, exceptions to that).

    An exception is (type "b" or "c", major or None, minor or None, access: a subset of "rwm" in this order). None or
    an empty list denies all; unless all is allowed, the BASIC devices are added at the end.
    Raises InvalidInput for a malformed rule, and for one that takes away a part of an earlier, wider one: the kernel's
    controller cannot hold that.
    """
    allowed = False
    exceptions: dict[tuple[Any, ...], str] = {}
    for rule in rules or ():
        kind, major, minor, access = _parse(rule)
        if kind == "a" and major is None and minor is None and access == "rwm":
            allowed, exceptions = bool(rule.get("allow")), {}
            continue
        for each in ("b", "c") if kind == "a" else (kind,):
            _apply(exceptions, bool(rule.get("allow")) == allowed, (each, major, minor), access)
    if not allowed:
        for kind, major, minor, access in BASIC:
            _apply(exceptions, False, (kind, major, minor), access)
    return allowed, tuple((*key, access) for key, access in exceptions.items())


def v1_lines(allowed: bool, exceptions: Iterable[tuple[Any, ...]]) -> list[tuple[str, str]]:
    """Return the (file, line) pairs that put a version 1 group into this state."""
    lines = [("devices.allow" if allowed else "devices.deny", "a")]
    file = "devices.deny" if allowed else "devices.allow"
    for kind, major, minor, access in exceptions:
        lines.append((file, f"{kind} {_number(major)}:{_number(minor)} {access}"))
    return lines


def _parse(rule: dict[str, Any]) -> tuple[str, int | None, int | None, str]:
    kind = rule.get("type") or "a"
    kind = "c" if kind == "u" else kind
    access = rule.get("access")
    access = "rwm" if access is None or access == "" else access
    if kind not in ("a", "b", "c") or not isinstance(access, str) or not set(access) <= set("rwm"):
        raise InvalidInput(
            f"the device rule {rule!r} is not valid",
            hint='type is "a", "b" or "c", and access a combination of r, w and m',
            value=rule,
        )
    numbers = []
    for name in ("major", "minor"):
        number = rule.get(name)
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number >= 1 << 32):
            raise InvalidInput(
                f"the device rule {rule!r} has no valid {name} number", hint="use a number, or -1 for all", value=rule
            )
        numbers.append(None if number is None or number < 0 else number)
    return kind, numbers[0], numbers[1], "".join(letter for letter in "rwm" if letter in access)


def _apply(exceptions: dict[tuple[Any, ...], str], back: bool, key: tuple[Any, ...], access: str) -> None:
    """Add an exception, or (back: the rule says what the default says) take away those that it covers."""
    if not back:
        both = exceptions.get(key, "") + access
        exceptions[key] = "".join(letter for letter in "rwm" if letter in both)
        return
    for other in list(exceptions):
        if not set(exceptions[other]) & set(access):
            continue
        if _covers(key, other):
            rest = "".join(letter for letter in exceptions[other] if letter not in access)
            if rest:
                exceptions[other] = rest
            else:
                del exceptions[other]
        elif _covers(other, key):
            raise InvalidInput(
                f"the device rule for {key[0]} {_number(key[1])}:{_number(key[2])} takes away a part of the earlier "
                f"one for {other[0]} {_number(other[1])}:{_number(other[2])}",
                hint="name the devices that should be allowed, one by one",
                value=key,
            )


def _covers(wide: tuple[Any, ...], narrow: tuple[Any, ...]) -> bool:
    return wide[0] == narrow[0] and all(a is None or a == b for a, b in zip(wide[1:], narrow[1:]))


def _number(number: int | None) -> str:
    return "*" if number is None else str(number)
