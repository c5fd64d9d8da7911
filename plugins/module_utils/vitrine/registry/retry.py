# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When to try again, and after how long. Pure."""

from __future__ import annotations

from ..record import Record

# 408 timeout, 429 too many, 500 .. 504 the server or a proxy before it is unwell. 501 will not get better.
TRANSIENT = frozenset((408, 429, 500, 502, 503, 504))


class Policy(Record):
    """attempts: in all. first: seconds before the second attempt, then doubled each time up to longest.

    patience: a server that asks for a longer wait than this many seconds is not waited for.
    """

    attempts: int = 5
    first: float = 0.5
    longest: float = 15.0
    patience: float = 60.0

    def delay(self, attempt: int, retry_after: float | None = None) -> float | None:
        """Return the seconds to wait after the attempt of that number (from 1), or None: give up."""
        if attempt >= self.attempts:
            return None
        wait = min(self.first * 2 ** (attempt - 1), self.longest)
        if retry_after is None:
            return wait
        return max(wait, retry_after) if retry_after <= self.patience else None


def parse_retry_after(text: str | None, now: float) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110 10.2.3: seconds or a date), None if there is none."""
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    if not text:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
