# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tar archives, for every room that reads or writes one: read.Reader, write.Writer, entry.Entry."""

from __future__ import annotations

from .entry import Entry
from .read import Reader
from .stream import chunks
from .write import Writer

__all__ = ["Entry", "Reader", "Writer", "chunks"]
