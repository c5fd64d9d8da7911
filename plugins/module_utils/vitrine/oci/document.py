# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading JSON that strangers wrote: every field is looked at before it is believed."""

from __future__ import annotations

from ..errors import ContentMismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_INT = (1 << 63) - 1


def load(data: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object that data is; what ("the manifest") names it in errors. Raises ContentMismatch.

    Doubled keys are refused: parsers differ in which one counts, and two readers must not see two images.
    """
    import json

    try:
        document = json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ContentMismatch(f"{what} is not valid JSON: {error}", hint="the image must be made anew") from None
    if not isinstance(document, dict):
        raise ContentMismatch(f"{what} must be a JSON object, not {kind(document)}", hint="the image must be made anew")
    return document


def dump(document: dict[str, Any]) -> bytes:
    """Return the compact JSON text of a document, keys in their order: equal documents give equal digests.

    Plain ASCII, so that half a surrogate pair, which JSON allows and UTF-8 does not, passes through.
    """
    from .. import lightjson as json

    return json.dumps(document, separators=(",", ":")).encode("ascii")


def kind(value: object) -> str:
    """Return the JSON name of a value's type."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def wrong(what: str, key: str, value: object, expected: str) -> ContentMismatch:
    """Return the error for a field that is not what the specification says."""
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return ContentMismatch(f"{what}: {key} must be {expected}, not {shown}", value=value)


def text(document: dict[str, Any], key: str, what: str) -> str:
    """Return an optional string ("" when absent or null)."""
    value = document.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong(what, key, value, "a string")
    return value


def number(document: dict[str, Any], key: str, what: str) -> int:
    """Return a required whole number, 0 .. 2**63-1."""
    value = document.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_INT:
        raise wrong(what, key, value, "a whole number, not negative")
    return value


def mapping(document: dict[str, Any], key: str, what: str) -> dict[str, Any]:
    """Return an optional object ({} when absent or null)."""
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong(what, key, value, "an object")
    return value


def texts(document: dict[str, Any], key: str, what: str) -> tuple[str, ...]:
    """Return an optional list of strings (() when absent or null)."""
    return tuple(_items(document, key, what, str, "a list of strings"))


def objects(document: dict[str, Any], key: str, what: str) -> tuple[dict[str, Any], ...]:
    """Return an optional list of objects (() when absent or null)."""
    return tuple(_items(document, key, what, dict, "a list of objects"))


def text_map(document: dict[str, Any], key: str, what: str) -> dict[str, str]:
    """Return an optional object whose values are strings ({} when absent or null; a null value is "")."""
    value = mapping(document, key, what)
    for name, item in value.items():
        if item is not None and not isinstance(item, str):
            raise wrong(what, f"{key}.{name}", item, "a string")
    return {name: item or "" for name, item in value.items()}


def _items(document: dict[str, Any], key: str, what: str, item_type: type, expected: str) -> list[Any]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, item_type) for item in value):
        raise wrong(what, key, value, expected)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _value in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} appears twice")
    return result
