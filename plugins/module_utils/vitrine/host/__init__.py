# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host: what the kernel, the system and Python must have for containers. Check, explain, prepare.

check() finds out, require() insists, prepare() loads modules and sets what may be set. Not on any hot path.
"""

from __future__ import annotations

from .check import Finding, check, require
from .prepare import prepare

__all__ = ("Finding", "check", "prepare", "require")
