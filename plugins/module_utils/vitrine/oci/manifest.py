# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Image manifests and indexes, of docker's and of the OCI's format (OCI image-spec manifest.md, image-index.md).

The same bytes must never be readable as both (CVE-2021-41190): the type that was announced must be the one that the
body names, and a body with the fields of both kinds is refused.
"""

from __future__ import annotations

from ..errors import ContentMismatch, UnsupportedContent
from ..record import Record
from . import document, media
from .descriptor import Descriptor
from .platform import Platform, choose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MAX_BYTES = 4 << 20
MAX_LAYERS = 500
MAX_ENTRIES = 10_000
# What servers say that know nothing of manifests; then the body's own word counts.
_GENERIC_TYPES = frozenset(("", "application/json", "application/octet-stream", "text/plain", "text/html"))


class Manifest(Record):
    """One image: media_type; config and layers (bottom first) as descriptors; annotations as sorted pairs."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: tuple[tuple[str, str], ...] = ()
    artifact_type: str = ""

    @property
    def descriptors(self) -> tuple[Descriptor, ...]:
        """Everything that the manifest points at: the layers, then the configuration."""
        return (*self.layers, self.config)

    def require_image(self) -> None:
        """Raise UnsupportedContent unless this is a container image whose layers can be unpacked."""
        if self.config.media_type not in media.CONFIGS:
            kind = self.artifact_type or self.config.media_type
            raise UnsupportedContent(
                f"this is not a container image, but an artifact of type {kind}",
                hint="name an image",
                value=kind,
            )
        for layer in self.layers:
            if layer.media_type not in media.LAYERS:
                raise UnsupportedContent(
                    f"the layer {layer.digest} has the unknown type {layer.media_type!r}",
                    hint="gzip, zstd and uncompressed tar layers are understood",
                    value=layer.media_type,
                )

    def to_json(self) -> bytes:
        """Return the text of the manifest; its digest is the image's manifest digest."""
        body: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type:
            body["artifactType"] = self.artifact_type
        body["config"] = self.config.to_json()
        body["layers"] = [layer.to_json() for layer in self.layers]
        if self.annotations:
            body["annotations"] = dict(self.annotations)
        return document.dump(body)


class Index(Record):
    """Several images under one name, mostly one for each platform: media_type; manifests; annotations."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: tuple[tuple[str, str], ...] = ()

    def choose(self, platform: Platform) -> Descriptor:
        """Return the entry for a platform. Raises UnsupportedContent that lists what there is."""
        entries = [entry for entry in self.manifests if entry.media_type in media.MANIFESTS | media.INDEXES]
        position = choose([entry.platform for entry in entries], platform)
        if position is None:
            # Attestations stand in the index as images for "unknown/unknown": nobody wants to read of those.
            offered = dict.fromkeys(str(e.platform) for e in entries if e.platform and e.platform.os != "unknown")
            raise UnsupportedContent(
                f"there is no image for {platform}; there are: {', '.join(offered) or 'none'}",
                hint="choose one of these platforms",
                value=str(platform),
            )
        return entries[position]

    def to_json(self) -> bytes:
        """Return the text of the index."""
        body: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        body["manifests"] = [entry.to_json() for entry in self.manifests]
        if self.annotations:
            body["annotations"] = dict(self.annotations)
        return document.dump(body)


def parse(data: bytes, content_type: str | None = None) -> Manifest | Index:
    """Read a manifest or an index; content_type is what it was announced as, None if by nobody.

    Raises ContentMismatch for what contradicts itself, UnsupportedContent for formats that are not images of today.
    """
    if len(data) > MAX_BYTES:
        raise ContentMismatch(f"the manifest has {len(data)} bytes; the limit is {MAX_BYTES}", value=len(data))
    body = document.load(data, "the manifest")
    media_type = _media_type(body, media.bare(content_type))
    annotations = tuple(sorted(document.text_map(body, "annotations", "the manifest").items()))
    if media_type in media.INDEXES:
        _forbid(body, ("config", "layers", "fsLayers", "blobs"), "an index")
        entries = document.objects(body, "manifests", "the index")
        if "manifests" not in body or len(entries) > MAX_ENTRIES:
            raise document.wrong("the index", "manifests", body.get("manifests"), f"a list of at most {MAX_ENTRIES}")
        manifests = tuple(Descriptor.from_json(entry, "an entry of the index") for entry in entries)
        return Index(media_type, manifests, annotations)
    _forbid(body, ("manifests", "fsLayers"), "an image's manifest")
    layers = document.objects(body, "layers", "the manifest")
    if len(layers) > MAX_LAYERS:
        raise ContentMismatch(f"the manifest has {len(layers)} layers; the limit is {MAX_LAYERS}", value=len(layers))
    return Manifest(
        media_type,
        Descriptor.from_json(body.get("config"), "the manifest's config"),
        tuple(Descriptor.from_json(layer, "a layer of the manifest") for layer in layers),
        annotations,
        document.text(body, "artifactType", "the manifest"),
    )


def make(config: Descriptor, layers: Iterable[Descriptor], image_format: str = "oci") -> Manifest:
    """Return the manifest of a local image in "oci" or "docker" format; media types are put into that format."""

    def put(descriptor: Descriptor) -> Descriptor:
        return descriptor.replace(media_type=media.as_format(descriptor.media_type, image_format))

    return Manifest(media.as_format(media.DOCKER_MANIFEST, image_format), put(config), tuple(map(put, layers)))


def _media_type(body: dict[str, Any], announced: str) -> str:
    named = document.text(body, "mediaType", "the manifest")
    version = body.get("schemaVersion")
    if isinstance(version, bool):
        raise document.wrong("the manifest", "schemaVersion", version, "2")
    if announced in media.SCHEMA_1 or named in media.SCHEMA_1 or version == 1:
        raise UnsupportedContent(
            "the image is of docker's old format, schema 1", hint="push it again with a docker of 2017 or later"
        )
    if version != 2:
        raise document.wrong("the manifest", "schemaVersion", version, "2")
    if announced in _GENERIC_TYPES:
        announced = named or (media.OCI_INDEX if "manifests" in body else media.OCI_MANIFEST)
    if named and named != announced:
        raise ContentMismatch(
            f"the manifest was announced as {announced!r}, but says that it is {named!r}", value=named
        )
    if announced not in media.MANIFESTS | media.INDEXES:
        raise UnsupportedContent(
            f"the manifest is of the unknown type {announced!r}", hint="name a container image", value=announced
        )
    return announced


def _forbid(body: dict[str, Any], keys: tuple[str, ...], what: str) -> None:
    for key in keys:
        if key in body:
            raise ContentMismatch(f"the manifest is {what}, but has {key!r} too", value=key)
