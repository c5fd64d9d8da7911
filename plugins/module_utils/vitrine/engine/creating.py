# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making a container: its image, its volumes, its writable layer and its row, all or nothing."""

from __future__ import annotations

import fcntl
import os

from .. import clock
from .. import lightjson as json
from ..linux.fs import lock, sync_directory, write_atomic
from . import bundle, checks, endpoints, events, health, inspect, logdrivers, parse
from .paths import DOOMED, Paths, remove_folder
from .spec import ContainerSpec, Mount, Port
from .spec import anonymous as is_anonymous

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .core import Engine


def new_id() -> str:
    """A container id: 64 random hex digits."""
    return os.urandom(32).hex()


def _locked_folder(paths: Paths) -> int:
    """Make a container's folder; returns its lock, a descriptor that the caller closes.

    The lock tells reconciliation that a folder without a row is being made, not left behind; that of the folder above
    lets it look at none that is not locked yet.
    """
    containers = os.path.dirname(paths.folder)
    os.makedirs(containers, 0o700, exist_ok=True)
    above = os.open(containers, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(above, fcntl.LOCK_SH)
        os.mkdir(paths.folder, 0o700)
        return lock(paths.lock)
    finally:
        os.close(above)


def create(
    engine: Engine,
    spec: ContainerSpec,
    *,
    pull: str = "missing",
    platform: str | None = None,
    progress: Callable[..., None] | None = None,
    image_volumes: bool = True,
    desired: str = "",
    on_folder: Callable[[str], None] | None = None,
) -> str:
    """Record a container and prepare its writable layer; returns its id. Nothing runs.

    pull: "always", "missing" or "never". image_volumes: mount anonymous volumes where the image wants them; a build
    step does not, as what it writes there belongs into its layer. desired: as store.containers has it. on_folder:
    called with the container's folder before the container can be seen. Raises ImageNotFound, NameInUse, InvalidInput,
    DiskFull.
    """
    store = engine.store
    held_before = store.holding
    store.hold()  # the image must not be collected before the container's row keeps it
    image = engine.images.ensure(spec.image, pull=pull, platform=platform, progress=progress)
    config = json.loads(image.config).get("config") or {}
    spec = endpoints.check(engine, _completed(spec, config if image_volumes else {**config, "Volumes": None}))
    _check(engine, spec, config)
    container_id = new_id()
    name = spec.name or _generated_name(container_id)
    paths = Paths(engine, container_id)
    folder = paths.folder
    held = _locked_folder(paths)
    fresh: list[Mount] = []
    try:
        if on_folder is not None:
            on_folder(folder)
        wanted = [mount for mount in spec.mounts if mount.type == "volume"]
        absent = [mount.source for mount in wanted if not os.path.isdir(store.volumes.path(mount.source))]
        doomed = _doom(folder, absent)
        for mount in wanted:
            if store.volumes.create(mount.source):
                fresh.append(mount)
        root = store.layers.prepare_root(folder, image.top)
        for mount in fresh:
            # as docker does: a new volume begins with what the image has at its place
            if "nocopy" not in mount.options:
                store.layers.copy_from_root(root, mount.target, store.volumes.path(mount.source))
        _enter(engine, (container_id, name, image.id), spec, desired)
    except BaseException:
        for mount in fresh:
            store.volumes.remove(mount.source)
        remove_folder(folder)
        raise
    else:
        _settle(folder, doomed)
    finally:
        os.close(held)
        if not held_before:
            store.release()
    return container_id


def _enter(engine: Engine, names: tuple[str, str, str], spec: ContainerSpec, desired: str) -> None:
    """Make the row, with the addresses that were asked for by number. names: of store.containers.create."""
    with engine.store.db.transaction():
        record = engine.store.containers.create(*names, spec.to_json(), created=clock.now(), desired=desired)
        endpoints.reserve_all(engine, record.id, spec)
        events.entered(engine, record, "create")


def _settle(folder: str, doomed: bool) -> None:
    """What is left to do once the container is there: nothing that fails here takes it back.

    The folders are made durable after the row: that has had the disk write all that was done before, so it costs
    nothing now, and a row without a folder gets one again (system.reconcile).
    """
    try:
        if doomed:  # else its removal writes it anew
            os.unlink(f"{folder}/{DOOMED}")
        for path in (folder, os.path.dirname(folder)):
            sync_directory(path)
    except OSError:
        pass


def _doom(folder: str, volumes: list[str]) -> bool:
    """Note which anonymous volumes go with the container when its making is cut off; returns whether any do."""
    anonymous = [name for name in volumes if is_anonymous(name)]
    if anonymous:
        write_atomic(f"{folder}/{DOOMED}", json.dumps(anonymous).encode(), durable=True)
    return bool(anonymous)


def _check(engine: Engine, spec: ContainerSpec, image: dict[str, Any]) -> None:
    """Find now what would only fail at the start. Raises InvalidInput."""
    checks.check(spec)
    bundle.arguments(spec, image)
    bundle.resources(spec, [])
    bundle.Security(spec.security_opts, spec.privileged).seccomp_profile()
    bundle.stop_signal(spec, image)
    logdrivers.check(logdrivers.options_of(engine, spec)[1])
    health.check_action(spec, image)


def _completed(spec: ContainerSpec, image: dict[str, Any]) -> ContainerSpec:
    """Give names to anonymous volumes, the image's included, folders to bind mounts, and ports to --publish-all."""
    targets = {mount.target for mount in spec.mounts} | set(spec.tmpfs)
    mounts = list(spec.mounts)
    for target in image.get("Volumes") or ():
        clean = os.path.normpath(target)
        if clean not in targets and clean.startswith("/") and clean != "/":
            mounts.append(Mount("volume", "", clean))
    named = tuple(
        mount.replace(source=new_id()) if mount.type == "volume" and not mount.source else mount for mount in mounts
    )
    for mount in named:
        if mount.type == "bind" and not os.path.exists(mount.source):
            os.makedirs(mount.source, 0o755)
    ports = spec.published_ports
    if spec.publish_all_ports:
        taken = {port.key for port in ports}
        for key in (plain for text in inspect.exposed_ports(spec, image) for plain in parse.exposed(text)):
            number, _slash, protocol = key.partition("/")
            if key not in taken:
                ports += (Port("", 0, int(number), protocol),)
    return spec.replace(mounts=named, published_ports=ports)


_ADJECTIVES = (
    "amber ashen azure blown bright clear cobalt crisp cut deep dewy dim etched faceted fine flint floated frosted "
    "fused gilded glazed gleaming golden hazel ivory jade leaded limpid lucid milky mirrored misty opal pale pearly "
    "polished prismatic quiet rippled rosy ruby satin sea shining silvered smoky smooth stained tempered tinted violet"
).split()
_NOUNS = (
    "alembic ampoule bauble bead beaker bell bottle bowl bulb cameo carafe chalice cloche crystal cruet decanter dome "
    "facet flacon flask flute globe goblet jar lamp lantern lens lustre marble mirror mosaic pane phial pitcher prism "
    "rondel rose skylight slide tile tumbler urn vase vial vitrine window"
).split()


def _generated_name(container_id: str) -> str:
    """A name for who gave none, made of the id, so that two containers hardly ever want the same one."""
    number = int(container_id[:12], 16)
    adjective, noun = _ADJECTIVES[number % len(_ADJECTIVES)], _NOUNS[number // 64 % len(_NOUNS)]
    return f"{adjective}_{noun}_{container_id[-4:]}"
