# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images: what there is, their names, where they come from and go to."""

from __future__ import annotations

from .. import lightjson as json
from ..errors import Conflict, ImageInUse, ImageNotFound, InvalidInput
from ..oci import digest as digests
from ..oci import platform as platforms
from ..oci import reference as references
from . import inspect
from .containers import ALIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, BinaryIO

    from .core import Engine

    Progress = Callable[[dict[str, Any]], None]

PULL_POLICIES = ("always", "missing", "never")


class Images:
    """The images of one engine root."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    # -- what is ----------------------------------------------------------------------------------------------------

    def find(self, text: str) -> Any:
        """The store's image of a reference, an id or the beginning of one. Raises ImageNotFound."""
        return self.engine.store.images.resolve(text)

    def name_in(self, text: str, image: Any) -> str:
        """The canonical name by which text found an image; "" when that was its id or a digest."""
        canonical = _canonical(text)
        return canonical if canonical in self.engine.store.images.names(image.id) else ""

    def exists(self, text: str) -> bool:
        """Whether find would find it."""
        try:
            self.find(text)
        except ImageNotFound:
            return False
        return True

    def ensure(
        self, text: str, *, pull: str = "missing", platform: str | None = None, progress: Progress | None = None
    ) -> Any:
        """The image of that name, pulled when the policy says so and the name is no id. Raises ImageNotFound."""
        if pull not in PULL_POLICIES:
            raise InvalidInput(f"invalid pull policy {pull!r}", hint="use always, missing or never", value=pull)
        try:
            found = self.find(text)
        except ImageNotFound:
            found = None
        if platform and found is not None and not _runs_on(found, platforms.parse(platform)):
            found = None
        if found is not None and (pull != "always" or not (self.name_in(text, found) or "@" in text)):
            return found
        if pull == "never":
            reference = references.parse(text)
            raise ImageNotFound(
                f"Cannot find image with name {reference.familiar}, and pull=never",
                hint="pull or build it first, or let pull be missing",
                value=text,
            )
        if found is None and progress:
            progress({"status": f"Unable to find image '{references.parse(text).familiar}' locally"})
        self.pull(text, platform=platform, progress=progress)
        return self.find(text)

    def inspect(self, text: str) -> dict[str, Any]:
        """docker's inspect document of an image."""
        return self._document(self.find(text))

    def _document(self, image: Any) -> dict[str, Any]:
        store = self.engine.store
        return inspect.image(
            image.id,
            json.loads(image.config),
            names=[references.parse(name).familiar for name in store.images.names(image.id)],
            digests=[references.parse(name).familiar for name in store.images.digests(image.id)],
            size=image.size,
            parent=image.parent or "",
        )

    def all(self, *, everything: bool = False) -> list[dict[str, Any]]:
        """The inspect documents of all images, newest first; nameless ones that others were made from on request."""
        images = self.engine.store.images.list()
        parents = set() if everything else {image.parent for image in images}
        documents = [self._document(image) for image in images]
        documents = [each for each in documents if each["RepoTags"] or each["Id"] not in parents]
        return sorted(documents, key=lambda document: document["Created"] or "", reverse=True)

    def history(self, text: str) -> list[dict[str, Any]]:
        """The image's history, newest first: {"Created", "CreatedBy", "Size", "Comment", "Id"}."""
        image = self.find(text)
        config = json.loads(image.config)
        sizes = [self.engine.store.layers.get(chain_id).size for chain_id in image.layers]
        rows = []
        for entry in config.get("history") or []:
            size = 0 if entry.get("empty_layer") or not sizes else sizes.pop(0)
            rows.append(
                {
                    "Id": "<missing>",
                    "Created": entry.get("created", ""),
                    "CreatedBy": entry.get("created_by", ""),
                    "Size": size,
                    "Comment": entry.get("comment", ""),
                }
            )
        rows.reverse()
        if rows:
            rows[0]["Id"] = image.id
        return rows

    # -- names ------------------------------------------------------------------------------------------------------

    def tag(self, source: str, target: str) -> bool:
        """Give the image another name; returns False if it had that name already."""
        image = self.find(source)
        reference = references.parse(target)
        if reference.digest:
            raise InvalidInput(f"cannot tag as {target!r}", hint="a digest cannot be given, only a tag", value=target)
        if reference.canonical in self.engine.store.images.names(image.id):
            return False
        with self.engine.store.db.transaction():
            self.engine.store.images.tag(reference.canonical, image.id)
            self._happened("tag", image.id, reference.familiar)
        return True

    def _happened(self, action: str, image_id: str, name: str = "") -> None:
        """Enter an event of an image; name: as people write it."""
        self.engine.store.events.add("image", action, image_id, {"name": name or image_id})

    def remove(self, text: str, *, force: bool = False) -> dict[str, list[str]]:
        """Take a name away, or with its last name the image itself. Raises ImageInUse, ImageNotFound.

        Returns {"untagged": [names], "deleted": [image and layer ids]}. force: by id with several names, and despite
        stopped containers.
        """
        store = self.engine.store
        with store.db.transaction():  # what was looked at stays so until it is done
            untagged, deleted = self._remove(text, force)
        if deleted:
            deleted += store.collect()
        return {"untagged": [references.parse(name).familiar for name in untagged], "deleted": deleted}

    def _remove(self, text: str, force: bool) -> tuple[list[str], list[str]]:
        """(names taken away, images removed), in a transaction of the caller's."""
        store = self.engine.store
        image = self.find(text)
        names = store.images.names(image.id)
        canonical = "" if text.startswith("sha256:") else _canonical(text)
        by_name = canonical in names
        if by_name:
            if len(names) > 1:
                store.images.untag(canonical)
                self._happened("untag", image.id, references.parse(canonical).familiar)
                return [canonical], []
        elif len(names) > 1 and not force:
            raise Conflict(
                f"image {digests.short(image.id)} has several names: "
                + ", ".join(references.parse(name).familiar for name in names),
                hint="remove the names one by one, or use force",
                value=text,
            )
        users = store.containers.of_image(image.id)
        living = [record for record in users if self.engine.containers.observe(record.id)["status"] in ALIVE]
        if living or (users and not force):
            first = (living or users)[0]
            raise ImageInUse(
                f"image {text!r} is needed by container {first.name!r}",
                hint="remove the container first" + ("" if living else ", or use force"),
                value=text,
            )
        for name in names:
            self._happened("untag", image.id, references.parse(name).familiar)
        if by_name and store.images.children(image.id):  # what other images came from loses its name only
            store.images.untag(canonical)
            return names, []
        self._happened("delete", image.id)
        return names, store.images.remove(image.id, force=force, collect=False)

    # -- to and from elsewhere ----------------------------------------------------------------------------------------

    def pull(
        self,
        text: str,
        *,
        platform: str | None = None,
        progress: Progress | None = None,
        credentials: tuple[str, str] | None = None,
    ) -> dict[str, Any]:
        """Get an image from its registry; returns its inspect document."""  # fmt: skip
        from .transfers import pull

        image_id = pull(self.engine, text, platform, progress, credentials)
        self._happened("pull", image_id, references.parse(text).familiar)
        return self.inspect(image_id)

    def push(
        self,
        text: str,
        *,
        progress: Progress | None = None,
        credentials: tuple[str, str] | None = None,
        image_format: str = "",
    ) -> dict[str, Any]:
        """Put an image into the registry that its name leads to; returns {"digest", "uploaded", "mounted"}.

        image_format: "docker" or "oci"; "" keeps the manifest that the image came with, else makes docker's.
        """  # fmt: skip
        from .transfers import push

        pushed = push(self.engine, text, image_format, progress, credentials)
        self._happened("push", self.find(text).id, references.parse(text).familiar)
        return pushed

    def search(self, term: str, *, limit: int = 25, registry: str | None = None) -> list[dict[str, Any]]:
        """Search a registry's index, or its catalogue; returns registry.search.Found's fields."""
        from .transfers import client

        with client(self.engine) as session:
            return [found.as_dict() for found in session.search(term, registry=registry, limit=limit)]

    def login(self, registry: str, user: str, password: str) -> None:
        """Check credentials with a registry and keep them where docker and podman look. Raises Unauthorized."""
        from ..registry.auth import login

        login(registry, user, password, config=self.engine.settings.config)

    def logout(self, registry: str) -> bool:
        """Forget a registry's credentials; returns False when there were none."""
        from ..registry.auth import logout

        return logout(registry)

    def save(self, texts: list[str], file: BinaryIO, *, image_format: str = "docker") -> None:
        """Write images to a tar archive that docker, podman and skopeo read."""
        from .archives import save

        save(self.engine, texts, file, image_format)
        for text in texts:
            self._happened("save", self.find(text).id, text)

    def load(self, file: BinaryIO, *, progress: Progress | None = None) -> list[str]:
        """Read images from an archive of save, docker or podman; returns their names, or ids where they have none."""
        from .archives import load

        loaded = load(self.engine, file, progress)
        for name in loaded:
            self._happened("load", self.find(name).id, name)
        return loaded

    def bootstrap(self, text: str, **options: Any) -> dict[str, Any]:
        """Make a base image from a distribution's packages (engine.bootstrap); returns its inspect document."""
        from .bootstrap import bootstrap

        return self.inspect(bootstrap(self.engine.store, text, **options))


def _runs_on(image: Any, wanted: platforms.Platform) -> bool:
    config = json.loads(image.config)
    own = platforms.Platform(config.get("os") or "", config.get("architecture") or "", config.get("variant") or "")
    return platforms.runs_on(own, wanted)


def _canonical(text: str) -> str:
    try:
        return references.parse(text).canonical
    except InvalidInput:
        return ""
