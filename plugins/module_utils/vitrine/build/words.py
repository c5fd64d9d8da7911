# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The small shell-like language of instruction arguments: quotes, escapes, ${variables}.

Source: the Dockerfile reference ("Environment replacement"). Three quoting rules: single quotes keep all; in double
quotes the escape character takes only itself, "$" and the quote; outside it takes whatever follows.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_NAME = _NAME_START | frozenset("0123456789")
_SPECIAL = frozenset("0123456789@*#$?-!")
_BLANK = " \t\n\r\v\f"


class BadWord(ValueError):
    """The text cannot be expanded; its message says why. Callers add the line number."""


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """Replace variables and remove quotes and escapes. Unset variables are empty. Raises BadWord."""
    return _Expansion(text, variables, escape).whole()


def expand_words(text: str, variables: Mapping[str, str], escape: str = "\\") -> list[str]:
    """The same, but split into words at blanks that are not quoted, also those that come out of variables."""
    expansion = _Expansion(text, variables, escape)
    expansion.whole()
    return expansion.words()


def replace_variables(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """Replace variables only, as in a here-document: quotes stay, the escape character takes "$" and itself."""
    expansion = _Expansion(text, variables, escape)
    result: list[str] = []
    while expansion.peek():
        if expansion.peek() == "$":
            result.append(expansion.variable())
            continue
        character = expansion.take()
        if character == escape and expansion.peek() and expansion.peek() in ("$", escape):
            character = expansion.take()
        result.append(character)
    return "".join(result)


def split(text: str, escape: str = "\\") -> list[str]:
    """Split at blanks outside of quotes; quotes and escapes stay in the words. An open quote runs to the end."""
    words = []
    current = ""
    quote = ""
    position = 0
    while position < len(text):
        character = text[position]
        if not quote and character in _BLANK:
            if current:
                words.append(current)
            current = ""
        elif character == escape and quote != "'" and position + 1 < len(text):
            current += text[position : position + 2]
            position += 1
        else:
            if character in "\"'" and quote in ("", character):
                quote = "" if quote else character
            current += character
        position += 1
    if current:
        words.append(current)
    return words


class _Expansion:
    """One pass over a text. Pieces remember whether they may be split into words."""

    def __init__(self, text: str, variables: Mapping[str, str], escape: str) -> None:
        self.text = text
        self.variables = variables
        self.escape = escape
        self.position = 0
        self.pieces: list[tuple[str, bool]] = []

    def whole(self) -> str:
        result = self.until("")
        return result

    def words(self) -> list[str]:
        found: list[str] = []
        current: str | None = None
        for piece, splittable in self.pieces:
            if not splittable:
                current = (current or "") + piece
                continue
            for character in piece:
                if character in _BLANK:
                    if current is not None:
                        found.append(current)
                    current = None
                else:
                    current = (current or "") + character
        return found if current is None else [*found, current]

    def take(self) -> str:
        character = self.text[self.position]
        self.position += 1
        return character

    def peek(self) -> str:
        return self.text[self.position] if self.position < len(self.text) else ""

    def until(self, stop: str) -> str:
        """Expand up to the character stop (taken, not returned), or to the end if stop is empty."""
        result: list[str] = []
        while self.position < len(self.text):
            character = self.peek()
            if stop and character == stop:
                self.position += 1
                return "".join(result)
            splittable = False
            if character == "'":
                piece = self.single_quoted()
            elif character == '"':
                piece = self.double_quoted()
            elif character == "$":
                piece = self.variable()
                splittable = True
            elif character == self.escape:
                self.position += 1
                if not self.peek():
                    break
                piece = self.take()
            else:
                piece = self.take()
                splittable = True
            result.append(piece)
            if not stop:
                self.pieces.append((piece, splittable))
        if stop:
            raise BadWord(f'"${{" without "}}" in {self.text!r}')
        return "".join(result)

    def single_quoted(self) -> str:
        self.position += 1
        end = self.text.find("'", self.position)
        if end < 0:
            raise BadWord(f"a single quote without its pair in {self.text!r}")
        result = self.text[self.position : end]
        self.position = end + 1
        return result

    def double_quoted(self) -> str:
        self.position += 1
        result: list[str] = []
        while True:
            character = self.peek()
            if not character:
                raise BadWord(f"a double quote without its pair in {self.text!r}")
            if character == '"':
                self.position += 1
                return "".join(result)
            if character == "$":
                result.append(self.variable())
                continue
            self.position += 1
            if character == self.escape and self.peek() and self.peek() in ('"', "$", self.escape):
                character = self.take()
            result.append(character)

    def variable(self) -> str:
        self.position += 1
        if self.peek() == "{":
            self.position += 1
            return self.braced()
        name = self.name()
        if not name:
            return "$"
        return self.variables.get(name, "")

    def name(self) -> str:
        first = self.peek()
        if first and first in _NAME_START:
            start = self.position
            while self.peek() and self.peek() in _NAME:
                self.position += 1
            return self.text[start : self.position]
        if first and first in _SPECIAL:
            return self.take()
        return ""

    def braced(self) -> str:
        name = self.name()
        if not name:
            raise BadWord(f'"${{" must be followed by a variable\'s name in {self.text!r}')
        if self.peek() == "}":
            self.position += 1
            return self.variables.get(name, "")
        operator = self.take() if self.peek() else ""
        colon = operator == ":"
        if colon:
            operator = self.take() if self.peek() else ""
        if operator not in ("-", "+", "?") or not operator:
            raise BadWord(f"${{{name}{':' if colon else ''}{operator}...}} is not understood in {self.text!r}")
        word = self.until("}")
        value = self.variables.get(name)
        there = value is not None and not (colon and value == "")
        if operator == "-":
            return value if there and value is not None else word
        if operator == "+":
            return word if there else ""
        if not there:
            raise BadWord(f"{name}: {word or 'not set'}")
        return value or ""
