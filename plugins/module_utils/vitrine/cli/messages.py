# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors as the command line shows them: what happened, and below it what to do."""

from __future__ import annotations

import sys

from ..errors import VitrineError


def complain(error: VitrineError) -> None:
    """Write an error to standard error, in one or two lines."""
    # what a registry, an image or a file name brought along must not move the cursor or begin another line
    lines = [f"vitrine: {_plain(error.message)}"] + ([f"  {_plain(error.hint)}"] if error.hint else [])
    sys.stderr.write("\n".join(lines) + "\n")


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
