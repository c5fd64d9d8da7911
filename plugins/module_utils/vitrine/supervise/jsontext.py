# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON text without the json module, whose import costs more than the monitor's whole work for one container.

``_json`` is the C half of the standard library's own encoder; it imports nothing. Where it is missing, a table does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

_ESCAPES = {i: f"\\u{i:04x}" for i in range(32)}
_ESCAPES.update({34: '\\"', 92: "\\\\", 10: "\\n", 13: "\\r", 9: "\\t", 12: "\\f", 8: "\\b"})


def _quote(text: str) -> str:
    return '"' + text.translate(_ESCAPES) + '"'


def _quote_ascii(text: str) -> str:
    out = []
    for character in _quote(text):
        code = ord(character)
        if code < 128:
            out.append(character)
        elif code < 0x10000:
            out.append(f"\\u{code:04x}")
        else:
            code -= 0x10000
            out.append(f"\\u{0xD800 | code >> 10:04x}\\u{0xDC00 | code & 0x3FF:04x}")
    return "".join(out)


quote: Callable[[str], str]
quote_ascii: Callable[[str], str]
try:
    from _json import encode_basestring as quote  # type: ignore[attr-defined]
    from _json import encode_basestring_ascii as quote_ascii
except ImportError:
    quote, quote_ascii = _quote, _quote_ascii


def encode(value: object) -> str:
    """Return dicts, lists, texts, ints, bools and None as JSON. Raises TypeError for anything else, keys included."""
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return quote_ascii(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join([f"{quote_ascii(key)}:{encode(item)}" for key, item in value.items()]) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([encode(item) for item in value]) + "]"
    raise TypeError(f"{type(value).__name__} has no JSON form here")
