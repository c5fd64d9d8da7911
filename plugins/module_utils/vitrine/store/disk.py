# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every write to the store needs: a full disk told as such, and names made durable."""

from __future__ import annotations

import errno
import os

from ..errors import DiskFull

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

FULL = (errno.ENOSPC, errno.EDQUOT)
# Names in layers/: what is being made (by whoever holds its lock), and what is being removed (in volumes/ too).
STAGING = ".new-"
REMOVED = ".del-"
_LEAST = 1 << 16  # bytes: 32 KiB of shared memory, and a page of the log


class writing:  # noqa: N801  (reads as a verb in a with statement)
    """``with writing(path, "what was undone"):`` turns "no space left" of any kind into DiskFull, which names path."""

    def __init__(self, path: str | bytes, undone: str = "nothing was changed") -> None:
        self.path = os.fsdecode(path)
        self.undone = undone

    def __enter__(self) -> writing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and error.errno in FULL:
            raise full(self.path, self.undone, error) from None


def full(path: str, undone: str, error: OSError) -> DiskFull:
    """Return the DiskFull for an OSError: a quota and a lack of inodes look alike to the writer, so both are named."""
    what = "the disk quota is used up" if error.errno == errno.EDQUOT else "no space (or no inodes) left on the disk"
    return DiskFull(
        f"{what} while writing below {path}: {undone}",
        hint="make room there (see df -h and df -i), then run the same command again",
        value=path,
    )


def no_room(path: str) -> bool:
    """Whether the disk of a file has not even room for what SQLite puts beside an index to read it. Never raises."""
    try:
        status = os.statvfs(os.path.dirname(path))
    except OSError:
        return False
    blocks = status.f_blocks > 0 and status.f_bfree * status.f_frsize < _LEAST
    return blocks or (status.f_files > 0 and status.f_ffree < 2)


def make_directory(path: str, mode: int = 0o700) -> None:
    """Make a directory of the store's own; one that exists is as good."""
    try:
        os.mkdir(path, mode)
        os.chmod(path, mode)  # whatever the caller's umask is
    except FileExistsError:
        pass
