# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images from Dockerfiles: what a build needs of this engine's images, layers and containers."""

from __future__ import annotations

import os
from contextlib import contextmanager

from ..build import executor
from ..errors import ImageNotFound, VitrineError
from ..linux.fs import lock
from ..oci import digest as digests
from ..oci.config import ImageConfig
from ..store.disk import writing
from ..store.layers.staging import Staging
from ..supervise import attach, wire
from .paths import OWNER
from .spec import ContainerSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from .core import Engine

    Output = Callable[[bytes], object]


class Builds:
    """Builds of one engine root."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def build(
        self,
        context: str,
        *,
        dockerfile: str | None = None,
        tags: Sequence[str] = (),
        args: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        target: str | None = None,
        nocache: bool = False,
        pull: bool = False,
        platform: str | None = None,
        network_mode: str | None = None,
        etc_hosts: Mapping[str, str] | None = None,
        output: Output | None = None,
        progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> str:
        """Build an image, give it its names, and return its id.

        context: a directory. dockerfile: path, relative to the context; None: its Dockerfile. tags: names of the image.
        output: gets what docker's builder prints, and what the commands write. progress: of pulled base images.
        Raises DockerfileError, BuildFailed, ImageNotFound, RegistryError, InvalidInput, DiskFull.
        """
        from ..oci import reference as references

        names = [references.parse(tag) for tag in tags]
        request = _request(context, dockerfile, args, labels, target, nocache, pull, platform)
        self.engine.store.hold()  # what the cache knows must not be collected before it is used
        operations = _Operations(self.engine, network_mode or "bridge", dict(etc_hosts or {}), progress)
        image_id = executor.build(operations, request, output)
        for name in names:
            self.engine.store.images.tag(name.canonical, image_id)
            if output is not None:
                output(f"Successfully tagged {name.familiar}\n".encode())
        return image_id

    def cached(
        self,
        context: str,
        *,
        dockerfile: str | None = None,
        args: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        target: str | None = None,
        nocache: bool = False,
        platform: str | None = None,
        **_unused: object,
    ) -> str | None:
        """The id of the image that build with these arguments would give without carrying anything out, else None."""
        request = _request(context, dockerfile, args, labels, target, nocache, False, platform)
        return executor.predict(_Operations(self.engine, "bridge", {}, None), request)


def _request(
    context: str,
    dockerfile: str | None,
    args: Mapping[str, str] | None,
    labels: Mapping[str, str] | None,
    target: str | None,
    nocache: bool,
    pull: bool,
    platform: str | None,
) -> executor.Request:
    context = os.path.abspath(context)
    content, path = executor.read_file(context, dockerfile)
    return executor.Request(
        context_dir=context,
        content=content,
        dockerfile=path,
        arguments=dict(args or {}),
        labels=dict(labels or {}),
        target=target,
        no_cache=nocache,
        pull=pull,
        platform=platform,
    )


class _Operations:
    """executor.Operations on this engine."""

    def __init__(
        self,
        engine: Engine,
        network_mode: str,
        etc_hosts: dict[str, str],
        progress: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        self.engine = engine
        self.network_mode = network_mode
        self.etc_hosts = etc_hosts
        self.progress = progress
        self._configs: dict[str, ImageConfig] = {}

    # -- images -------------------------------------------------------------------------------------------------

    def resolve(self, reference: str, *, pull: bool, platform: str | None) -> str:
        if digests.valid(reference):
            return str(self.engine.images.find(reference).id)
        policy = "always" if pull else "missing"
        found: str = self.engine.images.ensure(reference, pull=policy, platform=platform, progress=self.progress).id
        return found

    def find(self, reference: str) -> str | None:
        try:
            found: str = self.engine.images.find(reference).id
        except ImageNotFound:
            return None
        return found

    def config(self, image_id: str) -> ImageConfig:
        if image_id not in self._configs:
            self._configs[image_id] = ImageConfig.from_json(self.engine.store.images.get(image_id).config)
        return self._configs[image_id]

    def add(self, config: ImageConfig, parent: str) -> str:
        return self.engine.store.images.add(config.to_json(), config.diff_ids, parent=parent)

    def cached(self, key: str) -> str | None:
        found = self.engine.store.buildcache.get(key)
        if found is None:
            return None
        try:
            self.config(found)
        except VitrineError:
            return None
        return found

    def remember(self, key: str, image_id: str) -> None:
        self.engine.store.buildcache.put(key, image_id)

    # -- files --------------------------------------------------------------------------------------------------

    def change(self, image_id: str, write: Callable[[int], None]) -> str | None:
        layers = self.engine.store.layers
        chain_id = self.engine.store.images.get(image_id).top
        with writing(layers.root, "the step was undone"), Staging(layers.root) as staging:
            root = layers.prepare_root(staging.tree, chain_id)
            with layers.mounted(root) as root_fd:
                write(root_fd)
            layer = layers.commit_upper(root["upper"], parent=chain_id)
        return layer.diff_id if layer else None

    @contextmanager
    def view(self, image_id: str) -> Iterator[int]:
        layers = self.engine.store.layers
        with Staging(layers.root) as staging:
            root = layers.prepare_root(staging.tree, self.engine.store.images.get(image_id).top)
            with layers.mounted(root) as root_fd:
                yield root_fd

    # -- commands -----------------------------------------------------------------------------------------------

    def run(
        self, image_id: str, argv: list[str], *, env: list[str], user: str, cwd: str, output: Output
    ) -> tuple[int, str | None]:
        containers = self.engine.containers
        spec = ContainerSpec(
            image=image_id,
            entrypoint=("",),
            command=tuple(argv),
            env=tuple(env),
            user=user or None,
            working_dir=cwd,
            network_mode=self.network_mode,
            etc_hosts=self.etc_hosts,
            log_driver="none",
            healthcheck={"Test": ["NONE"]},
        )
        locks: list[int] = []
        try:
            container_id = containers.create(
                spec,
                pull="never",
                image_volumes=False,
                on_folder=lambda folder: locks.append(lock(os.path.join(folder, OWNER))),
            )
            try:
                launched = containers.start(container_id, attach=True)
                status = _serve(launched.attach_fd, output)
                return status, self._committed(container_id, image_id) if status == 0 else None
            finally:
                containers.remove(container_id, force=True)
        finally:
            for fd in locks:
                os.close(fd)

    def _committed(self, container_id: str, image_id: str) -> str | None:
        layers = self.engine.store.layers
        chain_id = self.engine.store.images.get(image_id).top
        root = layers.prepare_root(self.engine.containers.paths(container_id).folder, chain_id)
        layer = layers.commit_upper(root["upper"], parent=chain_id)
        return layer.diff_id if layer else None


def _serve(fd: int, output: Output) -> int:
    """Pass on what a container writes until it is cleaned up; returns its exit code. Closes fd."""
    code: int | None = None
    try:
        for kind, data in attach.packets(fd):
            if kind in (wire.STDOUT, wire.STDERR):
                output(data[1:])
            elif kind == wire.EXIT:
                code, _oom = wire.parse_exit(data)
    finally:
        os.close(fd)
    if code is None:
        raise attach.MonitorLost(
            "the exit code of a build step cannot be had: its monitor ended before it said one",
            hint="run the build again: the steps before it are kept",
        )
    return code
