# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``--format`` as a text with docker's simple templates: {{.Names}}, {{.State.Status}}, {{json .Config}}.

What else Go's templates have (loops, conditions) is left to jq: every verb prints JSON.
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
_ESCAPES = {r"\t": "\t", r"\n": "\n"}


def fill(document: dict[str, Any], form: str) -> str:
    """The text with each template replaced by what the document has at its place. Raises InvalidInput."""
    return "".join(
        _value(document, piece[2:-2].strip(" -"), form) if piece.startswith("{{") else _plain(piece)
        for piece in _PIECES.split(form)
    )


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


def _value(document: dict[str, Any], inner: str, form: str) -> str:
    label = _LABEL.fullmatch(inner)
    if label:
        pairs = (word.partition("=") for word in str(document.get("Labels", "")).split(","))
        return next((text for name, _equals, text in pairs if name == label[1]), "")
    indexed = _INDEX.fullmatch(inner)
    if indexed:
        found = _at(document, indexed[1], form)
        return _shown(found.get(indexed[2]) if isinstance(found, dict) else None)
    match = _INNER.fullmatch(inner)
    if match is None:
        raise InvalidInput(
            f"invalid format {form!r}: {inner!r} is not understood",
            hint="write paths of keys, as in {{.State.Status}} or {{json .Config}}; for more, take json and jq",
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


def _at(document: dict[str, Any], path: str, form: str) -> Any:
    value: Any = document
    for key in filter(None, path.split(".")):
        if not isinstance(value, dict) or key not in value:
            raise InvalidInput(f"{form!r}: there is no key {key!r} here", hint="see the JSON", value=form)
        value = value[key]
    return value


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    if isinstance(value, bool):  # 0 is not false
        return "true" if value else "false"
    return "<no value>" if value is None else str(value)
