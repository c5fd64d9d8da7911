# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors as the command line shows them: what happened, and below it what to do."""

from __future__ import annotations

import sys

from ..errors import CommandNotExecutable, CommandNotFound, VitrineError

# for errors that come from inside a container, where nobody knows what to advise
_HINTS: dict[type[VitrineError], str] = {
    CommandNotFound: "check its spelling, and whether the image has it",
    CommandNotExecutable: "name a program that its user may execute (chmod +x), for this machine",
}


def complain(error: VitrineError) -> None:
    """Write an error to standard error, in one or two lines."""
    # what a registry, an image or a file name brought along must not move the cursor or begin another line
    hint = error.hint or _HINTS.get(type(error), "")
    lines = [f"vitrine: {plain(error.message)}"] + ([f"  {plain(hint)}"] if hint else [])
    sys.stderr.write("\n".join(lines) + "\n")


def plain(text: str) -> str:
    """The text with everything that is not printable escaped, as in a Python string."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
