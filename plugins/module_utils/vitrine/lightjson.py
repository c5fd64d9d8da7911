# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The standard library's JSON without its Python half, which imports ``re`` and ``enum``: 7 ms of a command's 40.

``loads``, ``load`` and ``dumps`` give what those of ``json`` give. They call the same C code (``_json``); where an
interpreter has none, ``json`` itself does the work.
"""

from __future__ import annotations

try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner  # type: ignore[attr-defined]
except ImportError:
    make_scanner = None  # type: ignore[assignment,misc]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Callable

_SPACE = " \t\n\r"
_CONSTANTS = {"-Infinity": float("-inf"), "Infinity": float("inf"), "NaN": float("nan")}


class _Rules:
    """What make_scanner reads: json.JSONDecoder's attributes."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = _CONSTANTS.__getitem__


def loads(data: str | bytes | bytearray) -> Any:
    """Return the value of a JSON text; bytes are UTF-8. Raises ValueError, RecursionError."""
    if make_scanner is None:
        import json

        return json.loads(data)
    text = data if isinstance(data, str) else str(data, "utf-8", "surrogatepass")
    begin = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = make_scanner(_Rules)(text, begin)  # type: ignore[arg-type]
    except StopIteration as stop:
        raise ValueError(f"there is no JSON value at character {stop.value}") from None
    except SystemError:  # the C code looks for json's own error, and has none where json is not loaded
        import json

        return json.loads(text)  # which says what is wrong
    if text[end:].strip(_SPACE):
        raise ValueError(f"there is more after the JSON value, at character {end}")
    return value


def load(file: IO[str]) -> Any:
    """Return the value of the JSON text that a file holds."""
    return loads(file.read())


def dumps(
    value: object,
    *,
    separators: tuple[str, str] = (", ", ": "),
    sort_keys: bool = False,
    default: Callable[[Any], Any] | None = None,
) -> str:
    """Return the JSON text of a value, in ASCII. Raises TypeError for what has none, unless default knows it."""
    if make_scanner is None:
        import json

        return json.dumps(value, separators=separators, sort_keys=sort_keys, default=default)
    comma, colon = separators
    encoder = make_encoder(
        {}, default or _refuse, encode_basestring_ascii, None, colon, comma, sort_keys, False, True
    )  # fmt: skip
    return "".join(encoder(value, 0))


def _refuse(value: object) -> Any:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
