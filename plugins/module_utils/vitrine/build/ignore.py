# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``.dockerignore`` keeps out of a build's context.

Source: the Dockerfile reference (".dockerignore file") and Go's filepath.Match, whose patterns it uses: "*" and "?"
stop at "/", "[a-z]" and "[^a-z]" are classes, "\\" escapes; "**" is any number of path parts. The last pattern that
matches a path, or one of its parents, decides; "!" brings back.
"""

from __future__ import annotations

import re

from ..errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Ignore:
    """The patterns of one file. Paths are relative to the context, with "/" between parts and none at either end."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for pattern in patterns:
            exclude = not pattern.startswith("!")
            text = pattern if exclude else pattern[1:].strip()
            text = _clean(text)
            if text:
                self._rules.append((exclude, _compile(text, pattern)))
        self._brings_back = any(not exclude for exclude, _rule in self._rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def excludes(self, path: str) -> bool:
        """Whether the path is kept out."""
        parts = path.split("/")
        paths = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
        for exclude, rule in reversed(self._rules):
            if any(rule.fullmatch(candidate) for candidate in paths):
                return exclude
        return False

    def prunes(self, directory: str) -> bool:
        """Whether nothing below the directory can be wanted, so that it need not be read."""
        return not self._brings_back and self.excludes(directory)


def parse(text: str) -> Ignore:
    """Read the file's text. Raises InvalidInput for a pattern that is none, naming its line."""
    patterns = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        pattern = line.strip()
        if not pattern or line.startswith("#"):
            continue
        try:
            Ignore([pattern])
        except InvalidInput as error:
            raise InvalidInput(
                f".dockerignore, line {number}: {error.message}", hint=error.hint, value=pattern
            ) from None
        patterns.append(pattern)
    return Ignore(patterns)


def _clean(pattern: str) -> str:
    """Take out ".", ".." and doubled slashes, as Go's filepath.Clean; leading slashes mean the context itself."""
    parts: list[str] = []
    for part in pattern.strip().split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _compile(pattern: str, shown: str) -> re.Pattern[str]:
    parts = pattern.split("/")
    result = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            result += ".*" if last else "(?:.*/)?"
            continue
        result += _translate(part, shown) + ("" if last else "/")
    try:
        return re.compile(result, re.DOTALL)
    except re.error:
        raise _bad(shown) from None


def _bad(pattern: str) -> InvalidInput:
    return InvalidInput(
        f"{pattern!r} is no pattern", hint="close each '[', and write nothing after a last '\\'", value=pattern
    )


def _translate(part: str, shown: str) -> str:
    """One part of a Go pattern as a regular expression."""
    result = ""
    position = 0
    while position < len(part):
        character = part[position]
        position += 1
        if character == "*":
            stars = 1
            while part[position : position + 1] == "*":
                position += 1
                stars += 1
            result += "[^/]*" if stars == 1 else ".*"
        elif character == "?":
            result += "[^/]"
        elif character == "[":
            found, position = _character_class(part, position, shown)
            result += found
        elif character == "\\":
            if position == len(part):
                raise _bad(shown)
            result += re.escape(part[position])
            position += 1
        else:
            result += re.escape(character)
    return result


def _character_class(part: str, position: int, shown: str) -> tuple[str, int]:
    """The class that begins after "[", and the position after its "]"."""
    result = "["
    if part[position : position + 1] == "^":
        result += "^/"
        position += 1
    ranges = 0
    while True:
        if position >= len(part):
            raise _bad(shown)
        if part[position] == "]" and ranges:
            return result + "]", position + 1
        low, position = _class_character(part, position, shown)
        high = low
        if part[position : position + 1] == "-":
            high, position = _class_character(part, position + 1, shown)
        if low > high:
            raise _bad(shown)
        result += re.escape(low) if low == high else f"{re.escape(low)}-{re.escape(high)}"
        ranges += 1


def _class_character(part: str, position: int, shown: str) -> tuple[str, int]:
    if position >= len(part) or part[position] in "-]":
        raise _bad(shown)
    if part[position] == "\\":
        position += 1
        if position >= len(part):
            raise _bad(shown)
    return part[position], position + 1


def glob(pattern: str) -> re.Pattern[str]:
    """A source pattern of COPY: as above, but "**" is no more than "*". Raises InvalidInput."""
    try:
        return re.compile(
            "/".join(_translate(re.sub(r"\*+", "*", part), pattern) for part in pattern.split("/")), re.DOTALL
        )
    except re.error:
        raise _bad(pattern) from None
