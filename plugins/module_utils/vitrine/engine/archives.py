# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images in tar archives: written as an OCI image layout (image-spec 1.1) that also holds docker's manifest.json,
so that docker, podman, skopeo and umoci read it; read from either kind.
"""

from __future__ import annotations

import json
import os
import tarfile
import tempfile

from ..errors import ContentMismatch, InvalidInput, UnsupportedContent
from ..oci import digest as digests
from ..oci import document, media, platform
from ..oci import manifest as manifests
from ..oci import reference as references
from ..oci.config import ImageConfig
from ..oci.descriptor import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, BinaryIO

    from .core import Engine

_NAME = "io.containerd.image.name"
_REF = "org.opencontainers.image.ref.name"
_MAX_DOCUMENT = 4 << 20
_MAX_MEMBERS = 100_000
_MAX_DEPTH = 4
_CHUNK = 1 << 20


def image_manifest(engine: Engine, image: Any, image_format: str) -> tuple[bytes, str, manifests.Manifest]:
    """The manifest to give away with an image: (bytes, media type, the same parsed).

    The one that it came with, when the format fits (image_format "" always fits) and its blobs are here; else a new
    one, of docker's format unless that has no word for what a layer is compressed with. Raises UnsupportedContent
    when it should be of docker's format all the same.
    """
    store = engine.store
    if image.manifest is not None:
        own = manifests.parse(image.manifest, image.manifest_type)
        fits = isinstance(own, manifests.Manifest) and (
            not image_format or media.as_format(own.media_type, image_format) == own.media_type
        )
        if fits and all(store.blobs.has(layer.digest) for layer in own.layers):  # type: ignore[union-attr]
            return image.manifest, own.media_type, own  # type: ignore[return-value]
    layers = []
    for chain_id in image.layers:
        digest, size, media_type = store.layers.ensure_blob(chain_id)
        layers.append(Descriptor(media_type, digest, size))
    config = Descriptor(media.OCI_CONFIG, image.id, len(image.config))
    zstd = any(media.compression(layer.media_type) == "zstd" for layer in layers)
    if zstd and image_format == "docker":
        raise UnsupportedContent(
            "a layer of the image is compressed with zstd, which docker's format cannot say",
            hint="use the format oci",
            value=image_format,
        )
    made = manifests.make(config, layers, image_format or ("oci" if zstd else "docker"))
    return made.to_json(), made.media_type, made


# -- save


class _Writer:
    """A tar stream of plain files, the same bytes for the same content."""

    def __init__(self, file: BinaryIO) -> None:
        self._tar = tarfile.TarFile.open(fileobj=file, mode="w|", format=tarfile.USTAR_FORMAT)
        self._written: set[str] = set()

    def add(self, name: str, size: int, source: BinaryIO) -> None:
        if name in self._written:
            return
        self._written.add(name)
        member = tarfile.TarInfo(name)
        member.size = size
        member.mode = 0o444
        self._tar.addfile(member, source)

    def add_bytes(self, name: str, data: bytes) -> None:
        import io

        self.add(name, len(data), io.BytesIO(data))

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        if kind is None:
            self._tar.close()
        else:  # or the archive's end would be written when it is collected, and that it cannot be would be told
            self._tar.fileobj.closed = True  # type: ignore[attr-defined, union-attr, misc]


def _blob_name(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def save(engine: Engine, texts: list[str], file: BinaryIO, image_format: str) -> None:
    """Write images, named by reference or id, to a tar stream. Raises ImageNotFound before anything is written."""
    images = {}
    names: dict[str, list[str]] = {}
    for text in texts:
        image = engine.images.find(text)
        images[image.id] = image
        kept = names.setdefault(image.id, [])
        name = engine.images.name_in(text, image)
        if name and name not in kept:
            kept.append(name)
    with _Writer(file) as writer:
        _save(engine, images, names, writer, image_format)


def _save(
    engine: Engine, images: dict[str, Any], names: dict[str, list[str]], writer: _Writer, image_format: str
) -> None:
    index, listing = [], []
    for image in images.values():
        data, media_type, parsed = image_manifest(engine, image, image_format if image_format == "oci" else "")
        digest = digests.of(data)
        for layer in parsed.layers:
            with open(engine.store.blobs.path(layer.digest), "rb") as blob:
                writer.add(_blob_name(layer.digest), layer.size, blob)
        writer.add_bytes(_blob_name(image.id), image.config)
        writer.add_bytes(_blob_name(digest), data)
        entry: dict[str, Any] = {"mediaType": media_type, "digest": digest, "size": len(data)}
        tags = [references.parse(name) for name in names[image.id]]
        for tag in tags or [None]:  # type: ignore[list-item]
            annotated = {_NAME: tag.canonical, _REF: tag.tag or ""} if tag else {}
            index.append({**entry, "annotations": annotated} if annotated else entry)
        listing.append(
            {
                "Config": _blob_name(image.id),
                "RepoTags": [tag.familiar for tag in tags] or None,
                "Layers": [_blob_name(layer.digest) for layer in parsed.layers],
            }
        )
    writer.add_bytes("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    top = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": index}
    writer.add_bytes("index.json", json.dumps(top, separators=(",", ":")).encode())
    if image_format != "oci":
        writer.add_bytes("manifest.json", json.dumps(listing, separators=(",", ":")).encode())


# -- load


class _Archive:
    """A tar archive's plain files by name. Links are followed inside of the archive only, as tarfile does."""

    def __init__(self, file: BinaryIO) -> None:
        try:
            self._tar = tarfile.TarFile.open(fileobj=file, mode="r:*")
            self._members = {}
            for member in self._tar:
                self._members[os.path.normpath(member.name)] = member
                if len(self._members) > _MAX_MEMBERS:
                    raise InvalidInput("the archive has too many entries", hint="save the image again", value="")
        except (tarfile.TarError, EOFError, OSError) as error:
            why = str(error).partition("\n")[0].rstrip(":")
            raise InvalidInput(
                f"this is not an archive of images: {why}", hint="give one that 'save' made", value=""
            ) from None

    def has(self, name: str) -> bool:
        return os.path.normpath(name) in self._members

    def open(self, name: str) -> tuple[BinaryIO, int]:
        """The content and the size of a file. Raises ContentMismatch when it is not there."""
        member = self._members.get(os.path.normpath(name))
        if member is not None and member.issparse():  # a few bytes that would be written out as any number
            raise ContentMismatch(f"{name!r} in the archive is a sparse file", hint="save the image again", value=name)
        try:
            content = self._tar.extractfile(member) if member is not None else None
        except KeyError:
            content = None
        if content is None:
            raise ContentMismatch(f"the archive lacks {name!r}", hint="save the image again", value=name)
        size = content.seek(0, os.SEEK_END)
        content.seek(0)
        return content, size  # type: ignore[return-value]

    def read(self, name: str) -> bytes:
        content, size = self.open(name)
        if size > _MAX_DOCUMENT:
            raise ContentMismatch(
                f"{name!r} in the archive has {size} bytes, too many", hint="save it again", value=name
            )
        return content.read()

    def read_object(self, name: str) -> dict[str, Any]:
        """A file that holds a JSON object."""
        return document.load(self.read(name), f"{name!r} in the archive")

    def read_objects(self, name: str) -> tuple[dict[str, Any], ...]:
        """A file that holds a JSON list of objects."""
        try:
            entries = json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise ContentMismatch(f"{name!r} in the archive is not JSON: {error}", hint="save it again") from None
        return document.objects({"list": entries}, "list", f"{name!r} in the archive")


def load(engine: Engine, file: BinaryIO, progress: Callable[[dict[str, Any]], None] | None) -> list[str]:
    """Add an archive's images to the store; returns their names (familiar), or ids where they have none.

    Raises InvalidInput for what is no archive of images, ContentMismatch for a damaged one, DiskFull.
    """
    with tempfile.TemporaryFile(dir=engine.store.temporary_folder()) as spooled:
        if not file.seekable():
            for chunk in iter(lambda: file.read(_CHUNK), b""):
                spooled.write(chunk)
            spooled.seek(0)
            file = spooled  # type: ignore[assignment]
        archive = _Archive(file)
        if archive.has("oci-layout") and archive.has("index.json"):
            names = _load_layout(engine, archive, progress)
        elif archive.has("manifest.json"):
            names = _load_docker(engine, archive, progress)
        else:
            raise InvalidInput(
                "the archive has neither index.json nor manifest.json", hint="give one that 'save' made", value=""
            )
    if not names:
        raise InvalidInput("the archive lists no image", hint="give one that 'save' made", value="")
    return names


def _load_layout(engine: Engine, archive: _Archive, progress: Any) -> list[str]:
    what = "index.json of the archive"
    listed: dict[str, tuple[str, ...]] = {}
    if archive.has("manifest.json"):
        for entry in archive.read_objects("manifest.json"):
            name = os.path.basename(document.text(entry, "Config", "manifest.json"))
            listed["sha256:" + name] = document.texts(entry, "RepoTags", "manifest.json")
    result = []
    for raw in document.objects(archive.read_object("index.json"), "manifests", what):
        descriptor = Descriptor.from_json(raw, what)
        annotations = document.text_map(raw, "annotations", what)
        data, manifest = _manifest(archive, descriptor)
        config = archive.read(_blob_name(manifest.config.digest))
        if not digests.matches(config, manifest.config.digest):
            raise ContentMismatch(
                f"configuration {manifest.config.digest} in the archive is damaged", hint="save the image again"
            )
        image_id = _add(
            engine,
            config,
            [(_blob_name(layer.digest), layer.media_type, layer) for layer in manifest.layers],
            archive,
            progress,
            manifest=(data, manifest),
        )
        names = (annotations[_NAME],) if _NAME in annotations else listed.get(image_id, ())
        if not names and ":" in annotations.get(_REF, ""):
            names = (annotations[_REF],)
        result += _name(engine, image_id, names)
    return list(dict.fromkeys(result))


def _manifest(archive: _Archive, descriptor: Descriptor, depth: int = 0) -> tuple[bytes, manifests.Manifest]:
    data = archive.read(_blob_name(descriptor.digest))
    if not digests.matches(data, descriptor.digest):
        raise ContentMismatch(f"manifest {descriptor.digest} in the archive is damaged", hint="save the image again")
    parsed = manifests.parse(data, descriptor.media_type)
    if isinstance(parsed, manifests.Index):
        if depth > _MAX_DEPTH:
            raise ContentMismatch("the archive's indexes are nested too deeply", hint="save the image again")
        return _manifest(archive, parsed.choose(platform.host()), depth + 1)
    parsed.require_image()
    return data, parsed


def _load_docker(engine: Engine, archive: _Archive, progress: Any) -> list[str]:
    result = []
    what = "manifest.json of the archive"
    for entry in archive.read_objects("manifest.json"):
        layers = [(name, media.DOCKER_LAYER, None) for name in document.texts(entry, "Layers", what)]
        image_id = _add(engine, archive.read(document.text(entry, "Config", what)), layers, archive, progress)
        result += _name(engine, image_id, document.texts(entry, "RepoTags", what))
    return result


def _add(
    engine: Engine,
    config_bytes: bytes,
    layers: Sequence[tuple[str, str, Descriptor | None]],
    archive: _Archive,
    progress: Any,
    *,
    manifest: tuple[bytes, manifests.Manifest] | None = None,
) -> str:
    """Unpack an image's layers and record it; layers: (name in the archive, media type, descriptor if known)."""
    config = ImageConfig.from_json(config_bytes)
    if len(config.diff_ids) != len(layers):
        raise ContentMismatch(
            f"the archive's image has {len(layers)} layers, its configuration {len(config.diff_ids)}",
            hint="save the image again",
        )
    store = engine.store
    parent = None
    for (name, media_type, descriptor), diff_id, chain_id in zip(layers, config.diff_ids, config.chain_ids):
        if not store.layers.has(chain_id):
            if progress:
                progress({"id": digests.short(diff_id), "status": "Extracting"})
            content, size = archive.open(name)
            with tempfile.NamedTemporaryFile(dir=store.temporary_folder()) as spooled:
                writer = store.blobs.writer(descriptor.digest, descriptor.size) if descriptor else None
                if writer:
                    writer.restart()
                for chunk in iter(lambda: content.read(_CHUNK), b""):  # noqa: B023  (used up within the pass)
                    (writer or spooled).write(chunk)
                if writer:
                    writer.commit()
                spooled.flush()
                path = store.blobs.path(descriptor.digest) if descriptor else spooled.name
                kind = media_type if descriptor else _sniffed(path, media_type)
                store.layers.unpack(path, kind, diff_id=diff_id, chain_id=chain_id, parent=parent)
        if progress:
            progress({"id": digests.short(diff_id), "status": "Pull complete"})
        parent = chain_id
    data, parsed = manifest if manifest else (None, None)
    return store.images.add(
        config_bytes, config.diff_ids, manifest=data, manifest_type=parsed.media_type if parsed else None
    )


def _sniffed(path: str, plain: str) -> str:
    """docker's archives do not say how a layer is compressed; its first bytes do."""
    with open(path, "rb") as file:
        magic = file.read(4)
    if magic[:2] == b"\x1f\x8b":
        return media.DOCKER_LAYER_GZIP
    return media.OCI_LAYER_ZSTD if magic == b"\x28\xb5\x2f\xfd" else plain


def _name(engine: Engine, image_id: str, names: tuple[str, ...]) -> list[str]:
    parsed = [references.parse(name) for name in names]
    for reference in parsed:
        engine.store.images.tag(reference.canonical, image_id)
    return [reference.familiar for reference in parsed] or [image_id]
