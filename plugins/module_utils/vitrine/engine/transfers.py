# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images from and to registries: what comes over the wire meets what is on disk.

While one layer downloads, others are unpacked by worker processes; an image gets its name when all of it is durable.
"""

from __future__ import annotations

from ..oci import reference as references
from ..registry import Client
from .archives import image_manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..oci.config import ImageConfig
    from ..oci.descriptor import Descriptor
    from .core import Engine

    Progress = Callable[[dict[str, Any]], None]


def client(engine: Engine, credentials: tuple[str, str] | None = None) -> Client:
    """A registry client with this engine's configuration."""
    return Client(engine.settings.config, credentials=credentials)


def pull(
    engine: Engine,
    text: str,
    platform: str | None,
    progress: Progress | None,
    credentials: tuple[str, str] | None,
) -> str:
    """Fetch and unpack an image, give it its name, and return its id.

    Raises what registry.Client.pull raises, DiskFull, ContentMismatch (a layer is not what the configuration says).
    """
    store = engine.store
    reference = references.parse(text)
    unpacking = _Unpacking(engine, progress)
    with client(engine, credentials) as registry:
        try:
            pulled = registry.pull(
                reference,
                platform=platform,
                blobs=store.blobs,
                progress=progress,
                on_config=unpacking.begin,
                on_layer=unpacking.add,
                have_layer=store.layers.has,
            )
            unpacking.finish()
        finally:
            unpacking.close()
    image_id = store.images.add(pulled.config, manifest=pulled.manifest, manifest_type=pulled.manifest_type)
    name = reference.replace(digest=None) if reference.tag else reference
    store.images.tag(name.canonical, image_id, manifest_digest=pulled.repo_digest)
    return image_id


class _Unpacking:
    """Layers on their way from blobs to folders."""

    def __init__(self, engine: Engine, progress: Progress | None) -> None:
        self._engine = engine
        self._progress = progress
        self._config: Any = None
        self._unpacker: Any = None

    def begin(self, config: ImageConfig) -> None:
        """The image's configuration is here, and with it the names of the layers' contents."""
        self._config = config
        self._unpacker = self._engine.store.layers.unpacker(progress=self._progress)

    def add(self, index: int, descriptor: Descriptor) -> None:
        """A layer's blob is here."""
        self._unpacker.add(
            self._engine.store.blobs.path(descriptor.digest),
            descriptor.media_type,
            digest=descriptor.digest,
            diff_id=self._config.diff_ids[index],
            chain_id=self._config.chain_ids[index],
            parent=self._config.chain_ids[index - 1] if index else None,
        )

    def finish(self) -> None:
        """Wait until all layers are in the store."""
        if self._unpacker is not None:
            self._unpacker.finish()

    def close(self) -> None:
        """End what still works, after an error."""
        if self._unpacker is not None:
            self._unpacker.close()


def push(
    engine: Engine,
    text: str,
    image_format: str,
    progress: Progress | None,
    credentials: tuple[str, str] | None,
) -> dict[str, Any]:
    """Send an image to the registry that its name leads to; returns {"digest", "uploaded", "mounted", "changed"}."""
    reference = references.parse(text)
    image = engine.images.find(text)
    data, media_type, manifest = image_manifest(engine, image, image_format)
    if not engine.store.blobs.has(image.id):
        engine.store.blobs.put(image.config)
    with client(engine, credentials) as registry:
        result = registry.push(
            reference, data, media_type, (*manifest.layers, manifest.config), engine.store.blobs, progress=progress
        )
    engine.store.images.tag(reference.canonical, image.id, manifest_digest=result.digest)
    return {
        "digest": result.digest,
        "uploaded": result.uploaded,
        "mounted": result.mounted,
        "changed": result.changed,
    }
