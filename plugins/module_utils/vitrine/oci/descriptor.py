# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Descriptors: what points at content by type, digest and size (OCI image-spec descriptor.md)."""

from __future__ import annotations

from ..record import Record
from . import digest as digests
from . import document
from .platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Descriptor(Record):
    """media_type; digest; size in bytes; annotations as sorted pairs; platform, of an index's entries.

    The "urls" of foreign layers and the inlined "data" are not kept: content comes from the registry that was named.
    """

    media_type: str
    digest: str
    size: int
    annotations: tuple[tuple[str, str], ...] = ()
    platform: Platform | None = None
    artifact_type: str = ""

    @classmethod
    def from_json(cls, value: object, what: str) -> Descriptor:
        """Read a descriptor object; what names it in errors. Raises ContentMismatch."""
        if not isinstance(value, dict):
            raise document.wrong(what, "descriptor", value, "an object")
        digest: Any = value.get("digest")
        if not digests.valid(digest):
            raise document.wrong(what, "digest", digest, '"sha256:" and 64 lower-case hex digits')
        media_type = document.text(value, "mediaType", what)
        if not media_type:
            raise document.wrong(what, "mediaType", value.get("mediaType"), "a media type")
        platform = document.mapping(value, "platform", what)
        return cls(
            media_type,
            digest,
            document.number(value, "size", what),
            tuple(sorted(document.text_map(value, "annotations", what).items())),
            Platform.from_json(platform, what) if platform else None,
            document.text(value, "artifactType", what),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the object as it stands in a manifest or an index."""
        result: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.artifact_type:
            result["artifactType"] = self.artifact_type
        if self.annotations:
            result["annotations"] = dict(self.annotations)
        if self.platform:
            result["platform"] = self.platform.to_json()
        return result
