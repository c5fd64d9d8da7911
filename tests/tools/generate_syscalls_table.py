# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write vitrine/runtime/syscalls_table.py: the numbers of all system calls on each architecture.

The numbers come from libseccomp (through its C interface; Debian: libseccomp2), the kernel's own headers for x86 when
they are newer (linux-libc-dev), and, for calls that are newer than both, from the rule that since Linux 5.1 a new call
has one number everywhere. Run it after a new libseccomp or kernel: python3 tests/tools/generate_syscalls_table.py
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

TARGET = Path(__file__).resolve().parents[2] / "plugins/module_utils/vitrine/runtime/syscalls_table.py"
# Column: (libseccomp's token SCMP_ARCH_*, offset of its numbers). Tokens are AUDIT_ARCH values but for x32.
ARCHES = {
    "x86_64": 0xC000003E,
    "x86": 0x40000003,
    "x32": 0x4000003E,
    "aarch64": 0xC00000B7,
    "arm": 0x40000028,
    "ppc64le": 0xC0000015,
    "s390x": 0x80000016,
    "s390": 0x00000016,
    "riscv64": 0xC00000F3,
}
X32_BIT = 0x40000000
ARM_PRIVATE = range(0xF0000, 0xF0010)
# include/uapi/asm-generic/unistd.h, scripts/syscall.tbl: one number on every architecture.
NEWER = {
    "set_mempolicy_home_node": 450,
    "cachestat": 451,
    "fchmodat2": 452,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "statmount": 457,
    "listmount": 458,
    "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460,
    "lsm_list_modules": 461,
    "mseal": 462,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
    "open_tree_attr": 467,
    "file_getattr": 468,
    "file_setattr": 469,
}
# Calls of one architecture that libseccomp may be too old for.
SINGLE = {("x86_64", "uretprobe"): 335, ("riscv64", "riscv_hwprobe"): 258, ("riscv64", "riscv_flush_icache"): 259}
# What the kernel gives to the 64-bit programs of x86 alone.
NOWHERE = {("x32", "map_shadow_stack")}
HEADER = '''# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of system calls. Written by tests/tools/generate_syscalls_table.py: do not edit.

Entries are separated by blanks: "name:number" where all of ARCHES agree, else "name:n,n,..." in their order; an empty
place means that the architecture has no such call. Numbers of x32 are without its bit 30.
"""

from __future__ import annotations

ARCHES = (%s)

_TABLE = """\\
%s
"""


def numbers(arch: str) -> dict[str, int]:
    """Return {name: number} of one of ARCHES."""
    column = ARCHES.index(arch)
    table = {}
    for entry in _TABLE.split():
        name, _, text = entry.partition(":")
        if "," in text:
            text = text.split(",")[column]
        if text:
            table[name] = int(text)
    return table
'''


def from_libseccomp() -> dict[str, dict[str, int]]:
    """Return {arch: {name: number}} for all that libseccomp knows."""
    library = ctypes.CDLL("libseccomp.so.2")
    name_of = library.seccomp_syscall_resolve_num_arch
    name_of.restype = ctypes.c_void_p
    name_of.argtypes = (ctypes.c_uint32, ctypes.c_int)
    tables: dict[str, dict[str, int]] = {arch: {} for arch in ARCHES}
    for arch, token in ARCHES.items():
        base = X32_BIT if arch == "x32" else 0
        for number in [*range(700), *(ARM_PRIVATE if arch == "arm" else ())]:
            address = name_of(token, base + number)
            if address:
                tables[arch][ctypes.string_at(address).decode()] = number
    return tables


def from_headers(arch: str, file: str) -> dict[str, int]:
    """Return {name: number} from a kernel header, or nothing where it is not installed."""
    path = Path("/usr/include/x86_64-linux-gnu/asm") / file
    if not path.exists():
        return {}
    found = re.findall(r"^#define __NR_(\w+)\s+(?:\(__X32_SYSCALL_BIT \+ )?(\d+)\)?$", path.read_text(), re.M)
    return {name: int(number) for name, number in found}


def main() -> None:
    """Collect, cross-check, write."""
    tables = from_libseccomp()
    for arch, file in (("x86_64", "unistd_64.h"), ("x86", "unistd_32.h"), ("x32", "unistd_x32.h")):
        for name, number in from_headers(arch, file).items():
            known = tables[arch].setdefault(name, number)
            if known != number:
                raise SystemExit(f"{name} on {arch}: libseccomp says {known}, the header {number}")
    for name, number in NEWER.items():
        for arch in ARCHES:
            if (arch, name) not in NOWHERE:
                tables[arch].setdefault(name, number)
    for (arch, name), number in SINGLE.items():
        tables[arch].setdefault(name, number)
    entries = []
    for name in sorted(set().union(*tables.values())):
        row = [tables[arch].get(name) for arch in ARCHES]
        texts = ["" if number is None else str(number) for number in row]
        entries.append(f"{name}:{texts[0] if len(set(texts)) == 1 else ','.join(texts)}")
    lines = [""]
    for entry in entries:
        if len(lines[-1]) + len(entry) > 118:
            lines.append("")
        lines[-1] = f"{lines[-1]} {entry}".strip()
    arches = ", ".join(f'"{arch}"' for arch in ARCHES)
    TARGET.write_text(HEADER % (arches, "\n".join(lines)))
    print(f"{len(entries)} system calls, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
