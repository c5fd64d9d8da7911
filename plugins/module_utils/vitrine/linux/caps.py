# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capabilities of the calling process, as bit masks (capabilities(7))."""

from __future__ import annotations

import errno
import struct

from .prctl import PR_CAP_AMBIENT, PR_CAPBSET_DROP, PR_CAPBSET_READ, prctl
from .syscall import ctypes, syscall

NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE"
    " NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT"
    " SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP"
    " MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()
NUMBERS = {"CAP_" + name: number for number, name in enumerate(NAMES)}
CAP_SETPCAP = NUMBERS["CAP_SETPCAP"]
CAP_SYS_ADMIN = NUMBERS["CAP_SYS_ADMIN"]
_VERSION_3 = 0x20080522
_AMBIENT_RAISE = 2
_AMBIENT_CLEAR_ALL = 4


def get() -> tuple[int, int, int]:
    """(effective, permitted, inheritable) of this process."""
    data = ctypes.create_string_buffer(24)
    syscall("capget", struct.pack("=Ii", _VERSION_3, 0), data)
    low_e, low_p, low_i, high_e, high_p, high_i = struct.unpack("=6I", data.raw)
    return low_e | high_e << 32, low_p | high_p << 32, low_i | high_i << 32


def bounding_of(pid: int) -> int:
    """The bounding set of a process. Raises OSError when there is none (proc_pid_status(5))."""
    with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
        return int(file.read(16384).partition(b"\nCapBnd:")[2].split(b"\n", 1)[0], 16)


def set_masks(effective: int, permitted: int, inheritable: int = 0) -> None:
    """Raises OSError(EPERM) for a bit that is not permitted now."""
    words = []
    for shift in (0, 32):
        words += [value >> shift & 0xFFFFFFFF for value in (effective, permitted, inheritable)]
    syscall("capset", struct.pack("=Ii", _VERSION_3, 0), struct.pack("=6I", *words))


def last() -> int:
    """Number of the highest capability that this kernel knows."""
    low, high = 0, 64
    while low < high - 1:
        middle = (low + high) // 2
        try:
            prctl(PR_CAPBSET_READ, middle)
            low = middle
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            high = middle
    return low


def limit_bounding(keep: int) -> None:
    """Drop every capability from the bounding set whose bit is not in keep; needs CAP_SETPCAP."""
    for number in range(last() + 1):
        if not keep >> number & 1 and prctl(PR_CAPBSET_READ, number):
            prctl(PR_CAPBSET_DROP, number)


def set_ambient(bits: int) -> None:
    """Make exactly these ambient; each must be permitted and inheritable. Kernels before 4.3 have no ambient set."""
    try:
        prctl(PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    except OSError as error:
        if error.errno == errno.EINVAL and not bits:
            return
        raise
    for number in range(bits.bit_length()):
        if bits >> number & 1:
            prctl(PR_CAP_AMBIENT, _AMBIENT_RAISE, number)
