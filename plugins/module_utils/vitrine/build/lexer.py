# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the text of a Dockerfile to its logical lines: directives, comments, continuations, here-documents.

Source: the Dockerfile reference ("Format", "Parser directives", "Here-documents").
"""

from __future__ import annotations

import re

from ..errors import DockerfileError
from ..record import Record

MAX_BYTES = 4 << 20

_DIRECTIVE = re.compile(r"#[ \t]*([A-Za-z][A-Za-z0-9]*)[ \t]*=[ \t]*(.+?)[ \t]*")
_HEREDOC = re.compile(r"""<<(-?)(["']?)([A-Za-z_][A-Za-z0-9_.-]*)\2(?=\s|$|[;|&>)])""")
_HEREDOC_INSTRUCTIONS = frozenset(("RUN", "COPY", "ADD"))


class Heredoc(Record):
    """A here-document. expand: its name was not quoted, so variables in its content are replaced."""

    name: str
    content: str
    expand: bool = True
    strip_tabs: bool = False


class Line(Record):
    """One instruction as written. number: its first line, counted from 1. text: without comments and continuations."""

    number: int
    text: str
    heredocs: tuple[Heredoc, ...] = ()


class Source(Record):
    """The logical lines of a Dockerfile; escape is the character that escapes and continues lines."""

    lines: tuple[Line, ...]
    escape: str = "\\"
    syntax: str = ""


def read(data: bytes | str) -> Source:
    """Split a Dockerfile into its instructions.

    Raises DockerfileError for what is no text, a bad directive, or a here-document without end.
    """
    text = _decode(data) if isinstance(data, bytes) else data
    physical = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    directives, start = _directives(physical)
    escape = directives.get("escape", "\\")
    lines = []
    index = start
    while index < len(physical):
        first = physical[index].strip()
        if not first or first.startswith("#"):
            index += 1
            continue
        number = index + 1
        joined, index = _join(physical, index, escape)
        heredocs: tuple[Heredoc, ...] = ()
        if joined.split(None, 1)[:1] and joined.split(None, 1)[0].upper() in _HEREDOC_INSTRUCTIONS:
            heredocs, index = _heredocs(joined, physical, index, number)
        if joined.strip():
            lines.append(Line(number, joined.strip(), heredocs))
    return Source(tuple(lines), escape, directives.get("syntax", ""))


def _decode(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise DockerfileError(f"the Dockerfile has {len(data)} bytes; the limit is {MAX_BYTES}", line=1)
    if b"\0" in data:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        raise DockerfileError(f"line {line} has a NUL byte: this is no Dockerfile", line=line, hint="name a text file")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DockerfileError(f"line {line} is not UTF-8", line=line, hint="save the Dockerfile as UTF-8") from None


def _directives(physical: list[str]) -> tuple[dict[str, str], int]:
    """The directives at the very top: they end with the first line that is none."""
    found: dict[str, str] = {}
    for index, line in enumerate(physical):
        match = _DIRECTIVE.fullmatch(line.strip())
        name = match.group(1).lower() if match else ""
        if match is None or name not in ("escape", "syntax", "check"):
            return found, index
        if name in found:
            raise DockerfileError(f"the directive {name!r} is given twice", line=index + 1, hint="give it once")
        value = match.group(2)
        if name == "escape" and value not in ("\\", "`"):
            raise DockerfileError(
                f"the escape character cannot be {value!r}", line=index + 1, hint="use \\ or `", value=value
            )
        found[name] = value
    return found, len(physical)


def _continued(line: str, escape: str) -> str | None:
    """The line without its continuation mark; None if it has none. A doubled mark is an escaped one."""
    bare = line.rstrip(" \t")
    if bare.endswith(escape) and not bare.endswith(escape * 2):
        return bare[:-1]
    return None


def _join(physical: list[str], index: int, escape: str) -> tuple[str, int]:
    """One logical line and the index after it. Comment and empty lines inside a continuation vanish."""
    parts = []
    line = physical[index].lstrip()
    index += 1
    while True:
        part = _continued(line, escape)
        if part is None:
            parts.append(line)
            return "".join(parts), index
        parts.append(part)
        while index < len(physical) and (not physical[index].strip() or physical[index].lstrip().startswith("#")):
            index += 1
        if index == len(physical):
            return "".join(parts), index
        line = physical[index]
        index += 1


def _heredocs(joined: str, physical: list[str], index: int, number: int) -> tuple[tuple[Heredoc, ...], int]:
    found = []
    for strip_tabs, quote, name in heredoc_words(joined):
        content = []
        while True:
            if index == len(physical):
                raise DockerfileError(
                    f"the here-document {name!r} has no end",
                    line=number,
                    hint=f"end it with a line that holds {name} only",
                    value=name,
                )
            line = physical[index]
            index += 1
            bare = line.lstrip("\t") if strip_tabs else line
            if bare == name:
                break
            content.append(bare + "\n")
        found.append(Heredoc(name, "".join(content), not quote, bool(strip_tabs)))
    return tuple(found), index


def heredoc_words(text: str) -> list[tuple[str, str, str]]:
    """(tab mark, quote, name) of each here-document that a line opens outside of quotes."""
    found = []
    quote = ""
    position = 0
    while position < len(text):
        character = text[position]
        if quote:
            if character == quote:
                quote = ""
        elif character in "\"'":
            quote = character
        elif character == "\\":
            position += 1
        elif character == "<":
            match = _HEREDOC.match(text, position)
            if match:
                found.append((match.group(1), match.group(2), match.group(3)))
                position = match.end()
                continue
            while text[position + 1 : position + 2] == "<":  # "<<<" opens none
                position += 1
        position += 1
    return found
