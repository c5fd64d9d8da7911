# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""madvise(2): giving back memory that this process, and those forked from it, have mapped and do not need for now."""

from __future__ import annotations

from .syscall import syscall

MADV_DONTNEED = 4
_learned: list[tuple[int, int]] = []


def file_ranges(smaps: str = "/proc/self/smaps") -> list[tuple[int, int]]:
    """(address, length in bytes) of each mapping of program text or constants, of which a file has every page.

    Of proc_pid_smaps(5) those of files that are private, not writable, and have no page that was ever written to (as
    relocations are): MADV_DONTNEED loses nothing of them. Empty where the kernel does not tell.
    """
    found: list[tuple[int, int]] = []
    candidate: tuple[int, int] | None = None
    try:
        with open(smaps, "rb") as file:
            for line in file:
                words = line.split()
                if not words[0].endswith(b":"):
                    start, _, end = words[0].partition(b"-")
                    of_file = len(words) > 5 and words[4] != b"0" and words[5].startswith(b"/")
                    constant = words[1].startswith(b"r-") and words[1].endswith(b"p")
                    candidate = (int(start, 16), int(end, 16) - int(start, 16)) if of_file and constant else None
                elif candidate and words[0] == b"Anonymous:" and words[1] == b"0":
                    found.append(candidate)
    except (OSError, IndexError, ValueError):
        return []
    return found


def learn() -> None:
    """Find out what let_go() gives back, in processes forked from this one too."""
    _learned[:] = file_ranges()


def let_go() -> None:
    """Unmap the text that was learned; what is touched again comes back from the page cache. Never raises."""
    for address, length in _learned:
        try:
            syscall("madvise", address, length, MADV_DONTNEED)
        except OSError:
            pass  # the memory is locked, or is no more
