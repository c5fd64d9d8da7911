# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``--format`` as a text with docker's simple templates: {{.Names}}, {{.State.Status}}, {{json .Config}}.

Also {{range .X}}, {{if .X}}, {{else}} and {{end}}, in which docker's own documentation writes a container's addresses.
What else Go's templates have (variables, comparisons) is left to jq: every verb prints JSON.
"""

from __future__ import annotations

import json
import re

from ..errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PIECES = re.compile(r"(\{\{.*?\}\})", re.DOTALL)
_PATH = r"\.([\w.-]*)"
_INNER = re.compile(rf"(?:(json|upper|lower|title|len|println)\s+)?{_PATH}")
_LABEL = re.compile(r'\.Label\s+"([^"]*)"')
_INDEX = re.compile(rf'index\s+{_PATH}\s+"([^"]*)"')
_BLOCK = re.compile(rf"(range|if)\s*{_PATH}")
_ADVICE = "write paths of keys, as in {{.State.Status}} or {{json .Config}}; for more, take json and jq"
_ESCAPES = {r"\t": "\t", r"\n": "\n"}


def fill(document: dict[str, Any], form: str) -> str:
    """The text with each template replaced by what the document has at its place. Raises InvalidInput."""
    pieces = _PIECES.split(form)
    for text in pieces[::2]:
        if "{{" in text:
            raise InvalidInput(f"invalid format {form!r}: '{{{{' without '}}}}'", hint=_ADVICE, value=form)
    return _section(document, pieces, 0, form, inside=False)[0]


def _section(document: Any, pieces: list[str], at: int, form: str, *, inside: bool) -> tuple[str, int, str]:
    """(text, place after it, "else", "end" or "") from this piece to the end of its block, or of all."""
    texts = []
    while at < len(pieces):
        piece = pieces[at]
        at += 1
        if at % 2:
            texts.append(_plain(piece))
            continue
        inner = piece[2:-2].strip(" -")
        block = _BLOCK.fullmatch(inner)
        if block:
            text, at = _filled(document, block, pieces, at, form)
            texts.append(text)
        elif inner in ("else", "end"):
            if not inside:
                raise InvalidInput(f"invalid format {form!r}: {inner!r} without 'range' or 'if'", value=form)
            return "".join(texts), at, inner
        else:
            texts.append(_value(document, inner, form))
    if inside:
        raise InvalidInput(f"invalid format {form!r}: 'range' or 'if' without 'end'", hint="add {{end}}", value=form)
    return "".join(texts), at, ""


def _filled(document: Any, block: re.Match[str], pieces: list[str], at: int, form: str) -> tuple[str, int]:
    """What a block gives, and the place after it. What is not chosen is skipped, whatever it names."""
    try:
        value = _at(document, block[2], form)
    except InvalidInput:
        if block[1] == "range":
            raise
        value = None  # "if" asks whether it is there
    inner = [document]
    if block[1] == "range":
        if value and not isinstance(value, (dict, list)):
            raise InvalidInput(f"{form!r}: {block[2]!r} is no list or object", hint="leave out 'range'", value=form)
        inner = list(value.values() if isinstance(value, dict) else value or ())
    chosen = "".join(_section(each, pieces, at, form, inside=True)[0] for each in inner if value)
    at, word = _skipped(pieces, at, form)
    if word == "else":
        other = "" if value else _section(document, pieces, at, form, inside=True)[0]
        at, _word = _skipped(pieces, at, form)
        return chosen or other, at
    return chosen, at


def _skipped(pieces: list[str], at: int, form: str) -> tuple[int, str]:
    """The place after the else or end that belongs to a block whose inside begins here."""
    depth = 0
    for place in range(at, len(pieces)):
        inner = pieces[place][2:-2].strip(" -") if place % 2 else ""
        if _BLOCK.fullmatch(inner):
            depth += 1
        elif inner == "end" and depth:
            depth -= 1
        elif inner in ("else", "end") and not depth:
            return place + 1, inner
    raise InvalidInput(f"invalid format {form!r}: 'range' or 'if' without 'end'", hint="add {{end}}", value=form)


def heads(form: str, columns: dict[str, str]) -> str:
    """The same text with the heads of columns instead of values. columns: key -> head."""
    return _PIECES.sub(lambda match: _head(match[0], columns), _plain(form))


def _head(piece: str, columns: dict[str, str]) -> str:
    label = _LABEL.fullmatch(piece[2:-2].strip(" -"))
    if label:
        return label[1].upper()
    match = _INNER.fullmatch(piece[2:-2].strip(" -"))
    key = match[2] if match else ""
    return columns.get(key, key.upper())


def _plain(text: str) -> str:
    for written, meant in _ESCAPES.items():
        text = text.replace(written, meant)
    return text


def _value(document: Any, inner: str, form: str) -> str:
    label = _LABEL.fullmatch(inner)
    if label:
        pairs = (word.partition("=") for word in str(_labels(document)).split(","))
        return next((text for name, _equals, text in pairs if name == label[1]), "")
    indexed = _INDEX.fullmatch(inner)
    if indexed:
        found = _at(document, indexed[1], form)
        return _shown(found.get(indexed[2]) if isinstance(found, dict) else None)
    match = _INNER.fullmatch(inner)
    if match is None:
        raise InvalidInput(
            f"invalid format {form!r}: {inner!r} is not understood",
            hint=_ADVICE,
            value=form,
        )
    value = _at(document, match[2], form)
    work = match[1]
    if work == "json":
        return json.dumps(value)
    if work == "len":
        return str(len(value)) if isinstance(value, (dict, list, str)) else "0"
    text = _shown(value)
    if work in ("upper", "lower", "title"):
        return str(getattr(text, work)())
    return text + "\n" if work == "println" else text


def _labels(document: Any) -> Any:
    return document.get("Labels", "") if isinstance(document, dict) else ""


def _at(document: Any, path: str, form: str) -> Any:
    value: Any = document
    for key in filter(None, path.split(".")):
        if not isinstance(value, dict) or key not in value:
            known = ", ".join(value) if isinstance(value, dict) else ""
            raise InvalidInput(
                f"{form!r}: there is no key {key!r} here",
                hint=f"there are {known}" if 0 < len(known) < 400 else "see the JSON",
                value=form,
            )
        value = value[key]
    return value


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    if isinstance(value, bool):  # 0 is not false
        return "true" if value else "false"
    return "<no value>" if value is None else str(value)
