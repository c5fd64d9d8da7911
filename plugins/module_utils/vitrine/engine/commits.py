# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container's changes made an image. Committing what an image already holds gives that image again."""

from __future__ import annotations

import os

from .. import clock
from .. import lightjson as json
from ..linux.fs import lock
from ..oci import reference as references
from ..oci.document import dump
from ..runtime import cgroups
from ..supervise.state import PAUSED
from . import events, health
from .paths import COMMITTING, Present
from .spec import ContainerSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .core import Engine


def run_config(spec: ContainerSpec, image: dict[str, Any]) -> dict[str, Any]:
    """The "config" object of an image committed from a container: the image's, with what the container was given.

    As docker: the container's command becomes the image's, its environment, ports, volumes and labels are added.
    """
    config: dict[str, Any] = json.loads(json.dumps(image))  # a copy, all the way down
    if spec.entrypoint is not None:
        config["Entrypoint"] = list(spec.entrypoint)
    if spec.command is not None:
        config["Cmd"] = list(spec.command)
    elif spec.entrypoint is not None:
        config.pop("Cmd", None)
    for key, value in (("User", spec.user), ("WorkingDir", spec.working_dir), ("StopSignal", spec.stop_signal)):
        if value is not None:
            config[key] = value
    if spec.healthcheck:
        config["Healthcheck"] = health.effective(spec, image)
    if spec.env:
        merged = {word.partition("=")[0]: word for word in (*(image.get("Env") or ()), *spec.env)}
        config["Env"] = list(merged.values())
    if spec.labels:
        config["Labels"] = {**(image.get("Labels") or {}), **spec.labels}
    ports = [*spec.exposed_ports, *(port.key for port in spec.published_ports)]
    if ports:
        config["ExposedPorts"] = {**(image.get("ExposedPorts") or {}), **dict.fromkeys(ports, {})}
    volumes = [mount.target for mount in spec.mounts if mount.anonymous]
    if volumes:
        config["Volumes"] = {**(image.get("Volumes") or {}), **dict.fromkeys(volumes, {})}
    return config


def commit(
    engine: Engine,
    name: str,
    target: str | None,
    *,
    author: str = "",
    message: str = "",
    changes: Sequence[str] = (),
    pause: bool = True,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Make an image of a container; returns {"Id", "changed", "layer": whether a layer was added}.

    target: the image's name, or None for a nameless one. changes: Dockerfile instructions that concern the
    configuration (CMD, ENV, ...). dry_run: only say whether the name would get another image; "Id" is then that of
    the present one, or "". Raises ContainerNotFound, DockerfileError, DiskFull.
    """
    store = engine.store
    record = engine.containers.record(name)
    reference = references.parse(target) if target else None
    spec = ContainerSpec.from_json(record.spec)
    base = store.images.get(record.image_id)
    document = json.loads(base.config)
    config = run_config(spec, document.get("config") or {})
    if changes:
        from ..build.metadata import apply_changes

        config = apply_changes(config, changes)
    diff_id = _diff(engine, record, pause=pause, dry_run=dry_run)
    diff_ids = [*(document.get("rootfs") or {}).get("diff_ids", ()), *([diff_id] if diff_id else [])]
    present = _present(engine, reference)
    if present is not None and _same(json.loads(present.config), config, diff_ids, author):
        return {"Id": present.id, "changed": False, "layer": bool(diff_id)}
    if dry_run:
        return {"Id": present.id if present else "", "changed": True, "layer": bool(diff_id)}
    entry = _history_entry(spec, config, author=author, message=message, empty=not diff_id)
    document.update(
        created=entry["created"],
        config=config,
        rootfs={"type": "layers", "diff_ids": diff_ids},
        history=[*(document.get("history") or ()), entry],
    )
    if author:
        document["author"] = author
    image_id = store.images.add(dump(document), parent=base.id)
    if reference:
        store.images.tag(reference.canonical, image_id)
    named = {"imageRef": reference.canonical} if reference else {}
    events.noted(engine, record.id, "commit", {"comment": message, "imageID": image_id, **named})
    return {"Id": image_id, "changed": True, "layer": bool(diff_id)}


def _diff(engine: Engine, record: Any, *, pause: bool, dry_run: bool) -> str | None:
    """The diff id of what the container changed, None for nothing; unless dry_run the layer is in the store then."""
    layers = engine.store.layers
    paths = engine.containers.paths(record.id)
    upper = layers.driver.writable(paths.folder)
    with Present(paths), _Paused(engine, record.id, pause and not dry_run):
        if dry_run:
            return layers.diff_id(upper, parent=record.chain_id)
        layer = layers.commit_upper(upper, parent=record.chain_id)
        return layer.diff_id if layer else None


def _history_entry(
    spec: ContainerSpec, config: dict[str, Any], *, author: str, message: str, empty: bool
) -> dict[str, Any]:
    """The OCI history entry of a commit (image-spec, config.md)."""
    entry: dict[str, Any] = {
        "created": clock.now(),
        "created_by": " ".join(spec.command or config.get("Cmd") or ()),
    }
    given = {"author": author, "comment": message, "empty_layer": empty}
    return {**entry, **{key: value for key, value in given.items() if value}}


def _present(engine: Engine, reference: Any) -> Any:
    if reference is None or not engine.images.exists(reference.canonical):
        return None
    return engine.images.find(reference.canonical)


def _same(document: dict[str, Any], config: dict[str, Any], diff_ids: list[str], author: str) -> bool:
    """Whether an image holds this content already: times and history do not count."""
    return (
        (document.get("rootfs") or {}).get("diff_ids") == diff_ids
        and (document.get("config") or {}) == config
        and (not author or document.get("author") == author)
    )


class _Paused:
    """Freezes a running container for the time of a with statement, so that its files hold still.

    The mark that it leaves meanwhile lets the next command thaw the container when this process is killed.
    """

    def __init__(self, engine: Engine, container_id: str, wanted: bool) -> None:
        self._plan: dict[str, Any] | None = None
        self._mark = f"{engine.containers.paths(container_id).run}/{COMMITTING}"
        self._lock = -1
        if wanted and engine.containers.observe(container_id)["status"] == "running":
            self._plan = engine.containers.cgroup(container_id)

    def __enter__(self) -> None:
        if self._plan is None:
            return
        try:
            self._lock = lock(self._mark)
        except FileNotFoundError:
            self._plan = None  # it has just ended
            return
        cgroups.freeze(self._plan)

    def __exit__(self, *_exception: object) -> None:
        if self._plan is None:
            return
        if not os.path.exists(f"{os.path.dirname(self._mark)}/{PAUSED}"):  # unless somebody paused it meanwhile
            cgroups.thaw(self._plan)
        try:
            os.unlink(self._mark)
        except FileNotFoundError:
            pass
        os.close(self._lock)
