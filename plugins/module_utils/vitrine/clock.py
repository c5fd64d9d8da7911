# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times as the records and logs hold them: RFC 3339 in UTC with nanoseconds."""

from __future__ import annotations

from time import gmtime, time_ns

_cached = (-1, "")


def rfc3339(ns: int) -> str:
    """Return nanoseconds since 1970 as "2026-11-24T09:47:25.123456789Z" (always 30 characters)."""
    global _cached
    seconds, rest = divmod(ns, 1_000_000_000)
    if _cached[0] != seconds:
        t = gmtime(seconds)
        _cached = (seconds, f"{t[0]:04d}-{t[1]:02d}-{t[2]:02d}T{t[3]:02d}:{t[4]:02d}:{t[5]:02d}.")
    return f"{_cached[1]}{rest:09d}Z"


def now() -> str:
    """This moment, as rfc3339 writes it."""
    return rfc3339(time_ns())
