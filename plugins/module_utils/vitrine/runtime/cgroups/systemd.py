# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks systemd for one delegated scope per engine root."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def request(tag: str) -> dict[str, str]:
    """Return what to ask for: the scope's name, its slice, and its path in the version 2 tree."""
    return {"scope": f"{tag}.scope", "slice": "vitrine.slice", "path": f"/vitrine.slice/{tag}.scope"}


def ensure_scope(request: dict[str, Any], directory: str) -> None:
    """Make sure that the scope is there."""
