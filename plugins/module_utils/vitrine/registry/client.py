# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry client: what the engine calls. One Client for one command."""

from __future__ import annotations

from ..errors import ContentMismatch, ImageNotFound, InvalidInput, RegistryError, UnsupportedContent
from ..oci import digest as digests
from ..oci import manifest as manifests
from ..oci import media, reference
from ..oci import platform as platforms
from ..oci.config import MAX_BYTES as MAX_CONFIG
from ..oci.config import ImageConfig
from ..record import Record
from . import auth, download, endpoints, search, upload
from .session import Session, content_type
from .transport import CERTS_DIRS, Transport, finish, import_requests
from .workers import Report, Workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from ..oci.descriptor import Descriptor
    from .endpoints import Endpoint
    from .retry import Policy

    Progress = Callable[[dict[str, Any]], object]

PARALLEL_DOWNLOADS = 4
PARALLEL_UPLOADS = 4
MAX_DEPTH = 4  # of indexes within indexes
ACCEPT = f"{media.OCI_INDEX}, {media.DOCKER_LIST}, {media.OCI_MANIFEST}, {media.DOCKER_MANIFEST}"


class Pulled(Record):
    """An image whose blobs are in the store.

    manifest: the image's own manifest as received, of manifest_type, with manifest_digest. index_digest: of the index
    through which it was found, or "". config: the configuration as received. layers: bottom first.
    """

    reference: reference.Reference
    manifest_digest: str
    manifest: bytes
    manifest_type: str
    config: bytes
    layers: tuple[Descriptor, ...]
    index_digest: str = ""

    @property
    def repo_digest(self) -> str:
        """What the name stands for at the registry: what docker shows as the repository digest."""
        return self.index_digest or self.manifest_digest


class PushResult(Record):
    """digest: of the manifest. uploaded, mounted, present: how many blobs were sent, taken from another repository of
    the registry, there already. tag_changed: False when the tag had this very manifest before."""

    digest: str
    uploaded: int
    mounted: int
    present: int
    tag_changed: bool = True

    @property
    def changed(self) -> bool:
        """Whether anything at the registry is other than before."""
        return bool(self.uploaded or self.mounted or self.tag_changed)


class _Manifest(Record):
    data: bytes
    content_type: str
    session: Session

    @property
    def digest(self) -> str:
        return digests.of(self.data)


class Client:
    """Talks to registries.

    config: the engine's configuration (its "registries" object, see endpoints.py). credentials: (user, password)
    instead of the stored ones. certs_dirs, policy: see Transport. Usable as a context manager.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        credentials: tuple[str, str] | None = None,
        certs_dirs: tuple[str, ...] = CERTS_DIRS,
        policy: Policy | None = None,
    ) -> None:
        self.config = endpoints.check_config(config.get("registries"))
        self._given = auth.Credentials(*credentials) if credentials else None
        self._transport = Transport(certs_dirs=certs_dirs, policy=policy)
        self._sessions: dict[tuple[Endpoint, str], Session] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()

    # -- pull ---------------------------------------------------------------------------------------------------

    def pull(
        self,
        ref: str | reference.Reference,
        *,
        platform: str | None = None,
        blobs: Any,
        progress: Progress | None = None,
        on_config: Callable[[ImageConfig], object] | None = None,
        on_layer: Callable[[int, Descriptor], object] | None = None,
        have_layer: Callable[[str], bool] | None = None,
    ) -> Pulled:
        """Fetch an image: its layers into blobs (store.blobs), several at once.

        platform: "os/arch[/variant]", None: the host's. on_config(configuration) is called once it is known, before
        any thread is started; then on_layer(index, descriptor), in the caller's thread too, as each layer's blob is in
        the store, in no certain order. have_layer(chain id) tells that a layer need not be fetched; on_layer is not
        called for it. Raises ImageNotFound, Unauthorized, RegistryUnreachable, UnsupportedContent, ContentMismatch,
        RegistryError, DiskFull.
        """
        ref = _reference(ref)
        wanted = _platform(platform)
        import_requests()
        top, found, image = self._choose(ref, wanted)
        image.require_image()
        sessions = self._order(ref, found.session)
        config, parsed = self._config(sessions, ref, image, platform)
        if on_config is not None:
            on_config(parsed)
        layers = list(enumerate(image.layers))
        if have_layer is not None:
            here = {index for index, chain_id in enumerate(parsed.chain_ids) if have_layer(chain_id)}
            if progress is not None:
                for layer in (image.layers[index] for index in sorted(here)):
                    label = digests.short(layer.digest)
                    progress({"id": label, "status": "Already exists", "current": layer.size, "total": layer.size})
            layers = [(index, layer) for index, layer in layers if index not in here]
        self._fetch_layers(sessions, ref, layers, blobs, progress, on_layer)
        index_digest = top.digest if top is not found else ""
        return Pulled(ref, found.digest, found.data, image.media_type, config, image.layers, index_digest)

    def resolve(self, ref: str | reference.Reference, platform: str | None = None) -> str:
        """Return the digest that a name stands for at its registry now; with platform, that of its image there.

        Costs one HEAD, which registries do not count as a pull. Raises as pull().
        """
        ref = _reference(ref)
        if platform is not None:
            return self._choose(ref, _platform(platform))[1].digest
        return self._each_endpoint(ref, lambda session: self._head(session, ref))

    def _choose(
        self, ref: reference.Reference, wanted: platforms.Platform
    ) -> tuple[_Manifest, _Manifest, manifests.Manifest]:
        """Return what the name stands for, the image's manifest that this leads to, and that one parsed."""
        top = found = self._each_endpoint(ref, lambda session: self._get(session, ref, ref.wanted))
        for _depth in range(MAX_DEPTH):
            parsed = manifests.parse(found.data, found.content_type)
            if isinstance(parsed, manifests.Manifest):
                return top, found, parsed
            try:
                entry = parsed.choose(wanted)
            except UnsupportedContent as error:
                raise UnsupportedContent(f"{ref}: {error.message}", hint=error.hint, value=error.value) from None
            found = self._get_entry(ref, entry, found.session)
        raise ContentMismatch(f"{ref} is an index of indexes without end", value=str(ref))

    def _get_entry(self, ref: reference.Reference, entry: Descriptor, first: Session) -> _Manifest:
        pinned = ref.pinned(entry.digest)
        found = self._each_endpoint(ref, lambda session: self._get(session, pinned, entry.digest), first)
        if len(found.data) != entry.size or found.content_type not in (entry.media_type, "application/json", ""):
            raise ContentMismatch(
                f"the manifest {entry.digest} of {ref} is not of the size and type that the index announces",
                hint="the image must be pushed anew",
                value=entry.digest,
            )
        return found.replace(content_type=entry.media_type)

    def _get(self, session: Session, ref: reference.Reference, wanted: str) -> _Manifest:
        answer = session.open(
            "GET",
            f"/v2/{session.repository(ref.repository)}/manifests/{wanted}",
            scopes=download.pull_scope(session, ref.repository),
            headers={"Accept": ACCEPT},
            accept=(200, 404),
        )
        if answer.status_code == 404:
            finish(answer)
            raise _no_image(session, ref)
        data = session.read(answer, manifests.MAX_BYTES, f"the manifest of {ref}")
        if digests.valid(wanted) and not digests.matches(data, wanted):
            raise ContentMismatch(
                f"the manifest that {session.endpoint.host} gives for {ref} has another digest, {digests.of(data)}",
                hint="the registry or something on the way to it is broken; try again, or another mirror",
                value=wanted,
            )
        return _Manifest(data, content_type(answer), session)

    def _head(self, session: Session, ref: reference.Reference) -> str:
        answer = session.open(
            "HEAD",
            f"/v2/{session.repository(ref.repository)}/manifests/{ref.wanted}",
            scopes=download.pull_scope(session, ref.repository),
            headers={"Accept": ACCEPT},
            accept=(200, 404, 405),
        )
        finish(answer)
        if answer.status_code == 404:
            raise _no_image(session, ref)
        said = ref.digest or answer.headers.get("Docker-Content-Digest", "")
        if answer.status_code == 200 and digests.valid(said):
            return str(said)
        return self._get(session, ref, ref.wanted).digest

    def _config(
        self,
        sessions: list[Session],
        ref: reference.Reference,
        image: manifests.Manifest,
        asked: str | None,
    ) -> tuple[bytes, ImageConfig]:
        """Return the configuration as received, and read."""
        for session in sessions:
            try:
                data = download.fetch_small(session, ref.repository, image.config, MAX_CONFIG)
                break
            except (RegistryError, ImageNotFound):
                if session is sessions[-1]:
                    raise
        config = ImageConfig.from_json(data)
        if len(config.diff_ids) != len(image.layers):
            raise ContentMismatch(
                f"{ref}: the manifest has {len(image.layers)} layers, the configuration {len(config.diff_ids)}",
                hint="the image must be made anew",
            )
        if asked is not None and config.architecture and not platforms.runs_on(config.platform, _platform(asked)):
            raise UnsupportedContent(
                f"{ref}: there is no image for {_platform(asked)}; there are: {config.platform}",
                hint="choose one of these platforms",
                value=asked,
            )
        return data, config

    def _fetch_layers(
        self,
        sessions: list[Session],
        ref: reference.Reference,
        layers: list[tuple[int, Descriptor]],
        blobs: Any,
        progress: Progress | None,
        on_layer: Callable[[int, Descriptor], object] | None,
    ) -> None:
        positions: dict[str, list[int]] = {}
        unique: dict[str, Descriptor] = {}
        for index, layer in layers:
            positions.setdefault(layer.digest, []).append(index)
            if unique.setdefault(layer.digest, layer).size != layer.size:
                raise ContentMismatch(f"{ref}: layer {layer.digest} is announced with two sizes", value=layer.digest)
        workers = Workers(PARALLEL_DOWNLOADS, progress)
        here = {name for name, layer in unique.items() if blobs.has(name) and blobs.size(name) == layer.size}

        def fetch(layer: Descriptor) -> str:
            report = Report(workers, digests.short(layer.digest), layer.size)
            if layer.digest in here:
                report.state("Already exists")
                return ""
            report.state("Pulling fs layer", 0)
            source = download.fetch_blob(sessions, ref.repository, layer, blobs, report)
            report.state("Download complete")
            return source

        def done(layer: Descriptor, source: str) -> None:
            if source == ref.registry:
                blobs.add_source(layer.digest, ref.name)
            for index in positions[layer.digest]:
                if on_layer is not None:
                    on_layer(index, layer)

        workers.run(unique.values(), fetch, done)

    # -- push ---------------------------------------------------------------------------------------------------

    def push(
        self,
        ref: str | reference.Reference,
        manifest: bytes,
        media_type: str,
        descriptors: Iterable[Descriptor],
        blobs: Any,
        progress: Progress | None = None,
    ) -> PushResult:
        """Send an image: those blobs of descriptors (layers, configuration) that the registry lacks, then the manifest.

        Raises Unauthorized, RegistryUnreachable, RegistryError, NotFound (a blob is not in the store), InvalidInput.
        """
        ref = _reference(ref)
        if ref.digest:
            raise InvalidInput(f"{ref} names a digest, which is no name to push to", hint="name a tag", value=str(ref))
        import_requests()
        session = self._session(endpoints.origin(self.config, ref.registry), ref.repository)
        unique = {item.digest: item for item in descriptors}
        sources = {digest: self._sources(blobs, digest, ref) for digest in unique}
        counts = {upload.UPLOADED: 0, upload.MOUNTED: 0, upload.PRESENT: 0}
        workers = Workers(PARALLEL_UPLOADS, progress)

        def send(item: Descriptor) -> str:
            report = Report(workers, digests.short(item.digest), item.size)
            return upload.push_blob(session, ref.repository, item, blobs, sources[item.digest], report)

        def done(item: Descriptor, how: str) -> None:
            counts[how] += 1
            blobs.add_source(item.digest, ref.name)

        workers.run(unique.values(), send, done)
        digest = digests.of(manifest)
        changed = self._tagged(session, ref) != digest
        answer = session.open(
            "PUT",
            f"/v2/{session.repository(ref.repository)}/manifests/{ref.wanted}",
            scopes=upload.push_scope(session, ref.repository),
            headers={"Content-Type": media_type},
            body=manifest,
            accept=(201,),
        )
        finish(answer)
        return PushResult(digest, counts[upload.UPLOADED], counts[upload.MOUNTED], counts[upload.PRESENT], changed)

    def _tagged(self, session: Session, ref: reference.Reference) -> str:
        """Return the digest that the tag has at the registry, "" if it is not known."""
        try:
            return self._head(session, ref)
        except (RegistryError, ImageNotFound):
            return ""

    @staticmethod
    def _sources(blobs: Any, digest: str, ref: reference.Reference) -> list[str]:
        prefix = ref.registry + "/"
        names = [name[len(prefix) :] for name in blobs.sources(digest) if name.startswith(prefix)]
        return [name for name in names if name != ref.repository][:3]

    # -- looking around -----------------------------------------------------------------------------------------

    def search(self, term: str, registry: str | None = None, limit: int = 25) -> list[search.Found]:
        """Return what a search finds at a registry, or at all registries of the configuration (Docker Hub, if none)."""
        if not term or not term.strip().isprintable():
            raise InvalidInput(f"{term!r} cannot be searched for", hint="name what to search for", value=term)
        host, slash, rest = term.strip().partition("/")
        if registry is None and slash and ("." in host or ":" in host or host == "localhost"):
            registry, term = host, rest
        names = [registry] if registry else self.config.get("search") or [reference.HUB]
        found: list[search.Found] = []
        for name in names:
            found += search.search(self._index_session, auth.normalise(name), term.strip(), limit)
        return found[:limit] if limit > 0 else found

    def catalog(self, registry: str) -> list[str]:
        """Return the names of all repositories of a registry."""
        return search.catalogue(self.session(auth.normalise(registry)))

    def tags(self, ref: str | reference.Reference) -> list[str]:
        """Return all tags of a repository."""
        ref = _reference(ref)

        def ask(session: Session) -> list[str]:
            return search.tags(session, ref.repository, download.pull_scope(session, ref.repository))

        return self._each_endpoint(ref, ask)

    def check_login(self, registry: str) -> None:
        """Ask the registry for its API's root with our credentials. Raises Unauthorized, RegistryUnreachable."""
        session = self.session(registry)
        answer = session.open("GET", "/v2/", accept=(200, 404))
        finish(answer)
        if answer.status_code == 404:
            raise RegistryError(f"{registry} is not a registry: it has no /v2/", value=registry)

    # -- whom to ask --------------------------------------------------------------------------------------------

    def session(self, registry: str) -> Session:
        """Return the session with a registry itself, not with a mirror."""
        return self._session(endpoints.origin(self.config, registry), "")

    def _index_session(self, host: str) -> Session:
        """Return the session to search with: the index of docker's may have a mirror."""
        return self._session(endpoints.endpoints(self.config, host)[0], "")

    def _session(self, endpoint: Endpoint, repository: str) -> Session:
        key = (endpoint, repository)
        if key not in self._sessions:

            def find(registry: str) -> auth.Credentials | None:
                # What the caller gave is for the registry that the reference names, not for its mirrors.
                if self._given is not None:
                    return None if endpoint.mirror else self._given
                return auth.find(registry, repository)

            self._sessions[key] = Session(endpoint, self._transport, find)
        return self._sessions[key]

    def _order(self, ref: reference.Reference, first: Session | None = None) -> list[Session]:
        """Return the sessions to ask for a reference, in order; first: the one that has answered already."""
        found = [self._session(item, ref.repository) for item in endpoints.endpoints(self.config, ref.registry)]
        return found if first is None else [first, *(session for session in found if session is not first)]

    def _each_endpoint(
        self, ref: reference.Reference, ask: Callable[[Session], Any], first: Session | None = None
    ) -> Any:
        """Return the first answer; the error of the last one asked, which names what the others said."""
        failures: list[str] = []
        *before, last = self._order(ref, first)
        for session in before:
            try:
                return ask(session)
            except (RegistryError, ImageNotFound) as error:
                failures.append(error.message)
        try:
            return ask(last)
        except (RegistryError, ImageNotFound) as error:
            if failures:
                error.message += f"; before: {'; '.join(failures)}"
            raise


def _reference(ref: str | reference.Reference) -> reference.Reference:
    return reference.parse(ref) if isinstance(ref, str) else ref


def _platform(text: str | None) -> platforms.Platform:
    return platforms.parse(text) if text else platforms.host()


def _no_image(session: Session, ref: reference.Reference) -> ImageNotFound:
    what = f"digest {ref.digest}" if ref.digest else f"tag {ref.tag!r}"
    return ImageNotFound(
        f"image {ref.familiar} not found: {session.endpoint.host} has no {what} of repository {ref.repository!r}",
        hint="check the spelling of name and tag",
        value=str(ref),
    )
