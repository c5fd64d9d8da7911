# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where archives go: to standard output, or to a file that is there when all of it is written."""

from __future__ import annotations

import os
import sys

from ..errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO


def written(output: str | None, write: Callable[[BinaryIO], object]) -> None:
    """Let write fill standard output (None or "-") or a file. Raises InvalidInput for a terminal, or without folder."""
    if output in (None, "-"):
        if os.isatty(1):
            raise InvalidInput(
                "an archive cannot be written to a terminal", hint="use --output FILE, or redirect", value=""
            )
        write(sys.stdout.buffer)
        return
    temporary = f"{output}.{os.getpid()}.tmp"
    try:
        # an archive may hold what only its owner should see
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            write(file)
        os.rename(temporary, output)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if not isinstance(error, IsADirectoryError) and os.path.isdir(os.path.dirname(output) or "."):
            raise  # it is something else that was not found
        why = "it is a folder" if isinstance(error, IsADirectoryError) else "its folder does not exist"
        raise InvalidInput(f"cannot write {output!r}: {why}", hint="name a file", value=output) from None
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)
