# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of the build cache. Each step's key contains that of the step before it, so a key stands for a whole prefix.

What goes in: the base image's id, each instruction with its variables replaced, the build arguments that a RUN can
see, and the digest of what is copied. What does not: times, names of the context's files as such, comments.
"""

from __future__ import annotations

from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: To be raised when a step with the same key would make something else than before.
_EDITION = "1"


def root(image_id: str) -> str:
    """The key of a stage that has only its FROM yet; "" for scratch."""
    return _key(("from", _EDITION, image_id))


def step(before: str, name: str, parts: Iterable[str]) -> str:
    """The key after one instruction, 64 hex digits."""
    return _key((before, name, *parts))


def final(key: str) -> str:
    """The key of the image that ends with that step: it may have metadata after the last layer."""
    return _key(("image", key))


def _key(parts: Iterable[str]) -> str:
    # Lengths in front: no two lists of texts run together to the same bytes.
    encoded = (part.encode("utf-8", "surrogateescape") for part in parts)
    return sha256(b"".join(b"%d:%s" % (len(part), part) for part in encoded)).hexdigest()
