# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which capabilities a container gets: names, docker's default set, and the bit masks that capset(2) takes.

Pure functions but for `available` and `last_known`, which ask the kernel. Sets of capabilities are tuples of full
names ("CAP_CHOWN") in the order of their bits.
"""

from __future__ import annotations

from ..errors import InvalidInput
from ..linux.caps import NUMBERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BITS = NUMBERS
NAMES = tuple(BITS)

DEFAULT = tuple(
    name
    for name in NAMES
    if name[4:]
    in (
        "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT "
        "KILL AUDIT_WRITE"
    ).split()
)
SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


def normalise(name: str) -> str:
    """Return the full name of a capability: upper case, with CAP_; "ALL" stays.

    Raises InvalidInput for a name that is not in linux/capability.h.
    """
    full = name.strip().upper()
    if full in ("ALL", "CAP_ALL"):
        return "ALL"
    if not full.startswith("CAP_"):
        full = "CAP_" + full
    if full not in BITS:
        raise InvalidInput(
            f"{name!r} is not a capability",
            hint="use a name of capabilities(7), such as NET_ADMIN or CAP_NET_ADMIN, or ALL",
            value=name,
        )
    return full


def available() -> int:
    """Return the mask of what this process may hand on: its own bounding set (proc(5), CapBnd)."""
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"CapBnd:"):
                return int(line.split()[1], 16)
    return (1 << (last_known() + 1)) - 1


def last_known() -> int:
    """Return the number of the kernel's last capability (/proc/sys/kernel/cap_last_cap, Linux 3.2)."""
    try:
        with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
            return int(file.read())
    except (OSError, ValueError):
        return BITS["CAP_BLOCK_SUSPEND"]


def resolve(
    add: Iterable[str] = (), drop: Iterable[str] = (), privileged: bool = False, *, within: int | None = None
) -> tuple[str, ...]:
    """Return the names that a container with these options gets, as docker resolves --cap-add and --cap-drop.

    Adding ALL gives all but the dropped ones, dropping ALL only the added ones; what is both added and dropped is
    dropped, unless only ALL was dropped. privileged gives all. within: mask of what can be given (None: ask the
    kernel); what is beyond it is left out of "all", but an explicitly added name stays (masks() clears its bit).
    Raises InvalidInput for an unknown name.
    """
    added = {normalise(name) for name in add}
    dropped = {normalise(name) for name in drop}
    if privileged or "ALL" in added:
        if within is None:
            within = available()
        every = {name for name, bit in BITS.items() if within >> bit & 1}
    if privileged:
        chosen = every
    elif "ALL" in added:
        chosen = (every | (added - {"ALL"})) - dropped
    elif "ALL" in dropped:
        chosen = added - (dropped - {"ALL"})
    else:
        chosen = (set(DEFAULT) | added) - dropped
    return tuple(name for name in NAMES if name in chosen)


def mask(names: Iterable[str]) -> int:
    """Return the bit mask of full names; unknown ones are ignored, as the OCI runtime specification wants."""
    result = 0
    for name in names:
        bit = BITS.get(name)
        if bit is not None:
            result |= 1 << bit
    return result


def names(bits: int) -> tuple[str, ...]:
    """Return the names of a mask's bits, in order."""
    return tuple(name for name, bit in BITS.items() if bits >> bit & 1)


def masks(capabilities: Mapping[str, Iterable[str]] | None, within: int | None = None) -> dict[str, int]:
    """Return one mask for each of SETS, from the OCI process.capabilities object.

    within: mask of what can be given (None: ask the kernel). Everything beyond it is cleared, because capset(2) would
    refuse the whole set. The sets are made consistent: permitted is within bounding, effective, inheritable and
    ambient within permitted, ambient within inheritable.
    """
    if within is None:
        within = available()
    given = capabilities or {}
    result = {name: mask(given.get(name) or ()) & within for name in SETS}
    result["permitted"] &= result["bounding"]
    result["effective"] &= result["permitted"]
    result["inheritable"] &= result["bounding"]
    result["ambient"] &= result["permitted"] & result["inheritable"]
    return result
