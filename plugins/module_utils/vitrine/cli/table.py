# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables, times and sizes as docker prints them, and ``--format json`` for scripts."""

from __future__ import annotations

import calendar
import json
import sys
import time

from ..errors import InvalidInput
from .flags import Usage, option
from .messages import complain, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..errors import VitrineError

_CLOCK = "%Y-%m-%d %H:%M:%S"
FORMAT = option("format", value="FORMAT", help="As table, as json (a line each), or a text with keys such as {{.ID}}")


def checked(form: str | None) -> str | None:
    """What --format says: None for the verb's own way, "json", or a template. Raises Usage."""
    if form in (None, "json"):
        return form
    if "{{" not in form:
        raise Usage(f"--format cannot be {form!r}", hint="write json, or a text with keys such as {{.ID}}", value=form)
    return form


def print_rows(columns: Sequence[str], rows: list[dict[str, str]], form: str | None, *, keys: Sequence[str]) -> None:
    """Print rows as a table with these column heads, as JSON lines, or by a template ("table {{.ID}}": with heads)."""
    form = None if form == "table" else checked(form)
    if form == "json":
        for row in rows:
            sys.stdout.write(json.dumps(row) + "\n")
        return
    if form is None:
        lines = [list(columns), *([row[key] for key in keys] for row in rows)]
    else:
        from . import templates

        with_heads, form = form.startswith("table "), form[6:] if form.startswith("table ") else form
        texts = [templates.fill(row, form) for row in rows]
        if not with_heads:
            sys.stdout.write("".join(f"{text}\n" for text in texts))
            return
        lines = [text.split("\t") for text in (templates.heads(form, dict(zip(keys, columns))), *texts)]
    _print_table(lines)


def _print_table(lines: list[list[str]]) -> None:
    # commands and histories come from images: they must not move the cursor, nor look like another row
    lines = [[plain(cell) for cell in line] for line in lines]
    widths = [max(len(line[index]) for line in lines if index < len(line)) for index in range(max(map(len, lines)))]
    for line in lines:
        text = "   ".join(cell.ljust(width) for cell, width in zip(line, widths))
        sys.stdout.write(text.rstrip() + "\n")


def print_documents(documents: list[dict[str, Any]], missing: Sequence[VitrineError], form: str | None) -> int:
    """Print what inspect found, as --format says, and complain of what it did not find; returns the exit code."""
    if form == "":
        raise InvalidInput("the format is empty", hint="write json, or {{.Key}}", value="")
    if form in (None, "json"):
        sys.stdout.write(json.dumps(documents, indent=4 if form is None else None) + "\n")
    else:
        for document in documents:
            sys.stdout.write(fill(document, form or "") + "\n")
    for problem in missing:
        complain(problem)
    return int(bool(missing))


def fill(document: dict[str, Any], form: str) -> str:
    """A template filled in (templates.fill)."""
    from . import templates

    return templates.fill(document, form)


def seconds_of(stamp: str) -> float | None:
    """Seconds since the epoch of an RFC 3339 UTC time; None for none."""
    if not stamp or stamp.startswith("0001-"):
        return None
    try:
        return calendar.timegm(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None


def moment(text: str) -> int:
    """Nanoseconds since 1970 of what a user writes: RFC 3339 (without an offset it is this host's time), its day
    alone, seconds since 1970, or a duration before now ("10m")."""
    import re

    from ..engine import parse

    invalid = InvalidInput(
        f"invalid time {text!r}", hint="write 2026-01-31T10:00:00Z, seconds since 1970, or 10m", value=text
    )
    match = re.fullmatch(
        r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?)?(?:([Zz])|([+-])(\d\d):?(\d\d))?", text
    )
    if match:
        day, clock, fraction, utc, sign, hours, minutes = match.groups()
        try:
            parts = time.strptime(f"{day} {clock or '00:00'}"[:19] + ("" if clock and clock[5:] else ":00"), _CLOCK)
        except ValueError:
            raise invalid from None
        seconds = calendar.timegm(parts) if utc or sign else int(time.mktime(parts))
        if sign:
            seconds -= int(f"{sign}1") * (int(hours) * 3600 + int(minutes) * 60)
        return seconds * 10**9 + int((fraction or "0").ljust(9, "0"))
    match = re.fullmatch(r"(\d{1,12})(?:\.(\d{1,9}))?", text)
    if match:
        return int(match[1]) * 10**9 + int((match[2] or "0").ljust(9, "0"))
    try:
        return time.time_ns() - parse.duration(text)
    except InvalidInput:
        raise invalid from None


def span(seconds: float) -> str:
    """A length of time as docker writes it: "About a minute", "3 hours"."""
    seconds = max(0, int(seconds))
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    if seconds < 60:
        return f"{seconds} seconds"
    minutes = seconds // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = round(seconds / 3600)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    days = hours // 24
    if days < 14:
        return f"{days} days"
    if days < 60:
        return f"{days // 7} weeks"
    if days < 730:
        return f"{days // 30} months"
    return f"{days // 365} years"


def ago(stamp: str) -> str:
    """How long ago a time was: "3 hours ago"; "N/A" for none."""
    seconds = seconds_of(stamp)
    return "N/A" if seconds is None else f"{span(time.time() - seconds)} ago"
