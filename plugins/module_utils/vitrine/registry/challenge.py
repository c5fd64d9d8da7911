# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WWW-Authenticate headers (RFC 9110 11.6.1): what a registry wants to see. Pure."""

from __future__ import annotations

from ..record import Record

_TOKEN_CHARACTERS = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Challenge(Record):
    """scheme: lower case ("bearer", "basic"). parameters: names in lower case -> values."""

    scheme: str
    parameters: dict[str, str]


def parse(header: str | None) -> list[Challenge]:
    """Read a header, or several joined by commas. What cannot be understood ends the list: it is never guessed.

    The grammar is ambiguous at commas: a word after one begins a new challenge unless "=" follows it.
    """
    text = header or ""
    found: list[Challenge] = []
    position = 0
    while True:
        position = _skip(text, position, " \t,")
        word, position = _word(text, position)
        if not word:
            return found
        after = _skip(text, position, " \t")
        if after < len(text) and text[after] == "=":
            if not found:
                return found
            value, position = _value(text, _skip(text, after + 1, " \t"))
            if value is None:
                return found
            found[-1].parameters.setdefault(word.lower(), value)
        else:
            found.append(Challenge(word.lower(), {}))


def _skip(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position


def _word(text: str, position: int) -> tuple[str, int]:
    start = position
    while position < len(text) and text[position] in _TOKEN_CHARACTERS:
        position += 1
    return text[start:position], position


def _value(text: str, position: int) -> tuple[str | None, int]:
    if text[position : position + 1] != '"':
        word, position = _word(text, position)
        return word or None, position
    result: list[str] = []
    position += 1
    while position < len(text):
        character = text[position]
        if character == '"':
            return "".join(result), position + 1
        if character == "\\":
            position += 1
            character = text[position : position + 1]
        result.append(character)
        position += 1
    return None, position
