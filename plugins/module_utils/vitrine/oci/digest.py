# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests: what content is named by (OCI image-spec descriptor.md, "Digests")."""

from __future__ import annotations

from ..errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEX_LENGTHS = {"sha256": 64, "sha512": 128}
HEX_CHARACTERS = "0123456789abcdef"


def valid(text: object) -> bool:
    """Tell whether text is "sha256:" + 64 or "sha512:" + 128 lower-case hex digits.

    A digest becomes part of a path, so nothing else passes: no other algorithm, no upper case, no slash, no newline.
    """
    if not isinstance(text, str):
        return False
    algorithm, colon, hex_digits = text.partition(":")
    # strip() eats from both ends and stops at the first foreign character: what is left is empty, or tells of one.
    return bool(colon) and len(hex_digits) == HEX_LENGTHS.get(algorithm) and not hex_digits.strip(HEX_CHARACTERS)


def check(text: object) -> str:
    """Return text when it is a valid digest, else raise InvalidInput."""
    if not valid(text):
        raise InvalidInput(
            f"{text!r} is not a digest",
            hint='a digest is "sha256:" and 64 lower-case hex digits, or "sha512:" and 128',
            value=text,
        )
    return text  # type: ignore[return-value]


def of(data: bytes) -> str:
    """Return the sha256 digest of data."""
    from hashlib import sha256

    return "sha256:" + sha256(data).hexdigest()


def hasher(digest: str) -> Any:
    """Return a fresh hashlib object for the algorithm of a (valid) digest."""
    import hashlib

    return hashlib.new(check(digest).partition(":")[0])


def matches(data: bytes, digest: str) -> bool:
    """Tell whether data is what digest names."""
    state = hasher(digest)
    state.update(data)
    return bool(state.hexdigest() == digest.partition(":")[2])


def short(digest: str) -> str:
    """Return the first 12 hex digits: what people are shown."""
    return digest.partition(":")[2][:12]
