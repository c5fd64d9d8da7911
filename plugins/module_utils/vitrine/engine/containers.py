# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of containers: create, start, stop, remove, and what they are doing now.

Each mutating use case holds the container's lock (flock on a file in its folder), so two commands on one container
come one after the other; names are claimed by the database in the transaction that creates the row.
"""

from __future__ import annotations

import os
import time

from .. import lightjson as json
from ..errors import Conflict, ContainerNotFound, DiskFull, InvalidInput, StartFailed, VitrineError
from ..linux.fs import lock
from ..runtime import cgroups
from ..supervise import state as states
from . import events
from .paths import ATTENDED, OWNER, Paths, Present, hostname_of
from .spec import ContainerSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .core import Engine

ALIVE = ("running", "paused", "restarting", "stopping")
DEFAULT_STOP_TIMEOUT = 10  # seconds, docker's
_SETTLE_SECONDS = 10.0  # how long a start may take that nobody waits for any more


class Containers:
    """The containers of one engine root."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._attended: list[int] = []
        self._configs: dict[str, dict[str, Any]] = {}

    # -- what is ------------------------------------------------------------------------------------------------

    def record(self, name: str) -> Any:
        """The store's row of a name, an id or the beginning of one. Raises ContainerNotFound."""
        return self.engine.store.containers.get(name)

    def paths(self, container_id: str) -> Paths:
        """Where a container's things are."""
        return Paths(self.engine, container_id)

    def observe(self, container_id: str) -> dict[str, Any]:
        """What a container is doing at this moment (supervise.state.observe)."""
        paths = Paths(self.engine, container_id)
        return states.observe(paths.state, paths.run)

    def image_config(self, image_id: str) -> dict[str, Any]:
        """The "config" object of an image's configuration; {} when the image is gone. Not to be changed."""
        if image_id not in self._configs:  # an id is the digest of what it stands for
            try:
                text = self.engine.store.images.get(image_id).config
            except VitrineError:
                return {}
            self._configs[image_id] = json.loads(text).get("config") or {}
        return self._configs[image_id]

    def inspect(self, name: str) -> dict[str, Any]:
        """docker's inspect document. Raises ContainerNotFound."""
        record = self.record(name)
        return self._document(record, ContainerSpec.from_json(record.spec))

    def _document(self, record: Any, spec: ContainerSpec) -> dict[str, Any]:
        paths = Paths(self.engine, record.id)
        volumes = {
            mount.target: (mount.source, self.engine.store.volumes.path(mount.source))
            for mount in spec.mounts
            if mount.type == "volume"
        }
        from . import inspect, logdrivers

        return inspect.container(
            record,
            spec,
            self.image_config(record.image_id),
            self.observe(record.id),
            hostname=hostname_of(spec, record.id),
            volumes=volumes,
            network=paths.read_json(paths.network),
            paths={
                "log": logdrivers.path(paths, logdrivers.driver_of(self.engine, spec)),
                "hosts": paths.file("hosts"),
                "hostname": paths.file("hostname"),
                "resolv_conf": paths.file("resolv.conf"),
            },
            driver=self.engine.store.layers.driver_name,
        )

    def all(self, *, everything: bool = False) -> list[tuple[Any, ContainerSpec, dict[str, Any]]]:
        """(row, spec, observed state) of each container, newest first; only the living ones unless everything."""
        rows = []
        for record in self.engine.store.containers.list():
            observed = self.observe(record.id)
            if everything or observed["status"] in ALIVE:
                rows.append((record, ContainerSpec.from_json(record.spec), observed))
        rows.sort(key=lambda row: row[0].created, reverse=True)
        return rows

    # -- create -------------------------------------------------------------------------------------------------

    def create(self, spec: ContainerSpec, **how: Any) -> str:
        """Record a container and prepare its writable layer; returns its id. Nothing runs (creating.create)."""
        from . import creating

        return creating.create(self.engine, spec, **how)

    # -- start --------------------------------------------------------------------------------------------------

    def start(self, name: str, *, attach: bool = False, begun: Any = None) -> Any:
        """Start a container that is not running; returns supervise.launch.Launched, or None if it runs already.

        begun: supervise.launch.begin's monitor for it. Raises StartFailed (and its kinds), PortInUse, Conflict.
        """
        record = self.record(name)
        with self.locked(record.id):
            if self.settled(record.id)["status"] in ALIVE:
                return None
            return self._start(record, attach=attach, begun=begun)

    def run(
        self,
        spec: ContainerSpec,
        *,
        attach: bool = False,
        on_created: Callable[[str], object] | None = None,
        **how: Any,
    ) -> tuple[str, Any]:
        """Create a container and start it; returns (id, supervise.launch.Launched).

        A process that is killed before the start leaves no container; a start that fails leaves it as created, unless
        it should be removed. on_created: called with the id before the start. how: as creating.create takes.
        """
        if os.geteuid() != 0:
            return self._run(spec, attach, on_created, None, how)
        from ..supervise import launch

        # it is made beside all that comes before it is needed
        begun = launch.begin(attach=attach, run_root=self.engine.settings.run_root)
        try:
            return self._run(spec, attach, on_created, begun, how)
        finally:
            begun.drop()

    def _run(
        self,
        spec: ContainerSpec,
        attach: bool,
        on_created: Callable[[str], object] | None,
        begun: Any,
        how: dict[str, Any],
    ) -> tuple[str, Any]:
        owners: list[int] = []
        how["on_folder"] = lambda folder: owners.append(lock(f"{folder}/{OWNER}"))
        container_id = self.create(spec, desired="running", **how)  # one transaction says both
        try:
            if on_created is not None:
                on_created(container_id)
            return container_id, self.start(container_id, attach=attach, begun=begun)
        except BaseException:
            if spec.auto_remove:
                self.remove(container_id, force=True, volumes=True)
            raise
        finally:
            folder = Paths(self.engine, container_id).folder
            try:
                if attach and spec.auto_remove:
                    os.rename(f"{folder}/{OWNER}", f"{folder}/{ATTENDED}")
                    self._attended += owners  # until this process ends
                    owners = []
                else:
                    os.unlink(f"{folder}/{OWNER}")
            except FileNotFoundError:
                pass
            for fd in owners:
                os.close(fd)

    def settled(self, container_id: str) -> dict[str, Any]:
        """What a container is doing, for the holder of its lock: the start of a command that was killed goes on."""
        end = time.monotonic() + _SETTLE_SECONDS
        while True:
            observed = self.observe(container_id)
            if observed["status"] != "created" or not observed["monitored"] or time.monotonic() > end:
                return observed
            time.sleep(0.005)

    def start_again(self, record: Any, restarts: int) -> None:
        """Start a container as its policy wants, for the holder of its lock. restarts: the number of this one."""
        self._start(record, attach=False, state={"restart_count": restarts})

    def _start(self, record: Any, *, attach: bool, state: dict[str, Any] | None = None, begun: Any = None) -> Any:
        from ..supervise.launch import launch
        from .starting import prepare

        spec = ContainerSpec.from_json(record.spec)
        request = prepare(self.engine, record, spec, self.image_config(record.image_id))
        if record.desired != "running":
            self.engine.store.containers.update(record.id, desired="running")
        if state:
            request["state"] = state
        try:
            launched = launch(request, attach=attach, begun=begun)
        except StartFailed as error:
            raise self.engine.system.explained(error) from None
        for warning in launched.warnings:
            self.engine.warn(f"container {record.name!r}: {warning}")
        if launched.ports:
            from . import filtering

            filtering.warn(self.engine, request["network"])
        return launched

    # -- stop ---------------------------------------------------------------------------------------------------

    def stop(self, name: str, *, timeout: int | None = None) -> bool:
        """Stop a container; returns False if it did not run. timeout: seconds before it is killed."""
        record = self.record(name)
        with self.locked(record.id):
            recorded = self._record_stop(record)
            stopped = self.end(record, timeout)
            if stopped:
                events.noted(self.engine, record.id, "stop")
            if not recorded:
                self._record_stop(record, last=True)
            return stopped

    def _record_stop(self, record: Any, *, last: bool = False) -> bool:
        """Have the index say that a container shall not run; returns whether it does.

        A full disk is a reason to stop containers, not one to let them run. last: raise DiskFull where it matters.
        """
        try:
            if record.desired != "stopped":
                self.engine.store.containers.update(record.id, desired="stopped")
        except DiskFull:
            if last and ContainerSpec.from_json(record.spec).restart_policy not in ("", "no"):
                raise DiskFull(
                    f"container {record.name!r} was stopped, but the disk is too full to record that",
                    hint="make room, then stop it again: else a reboot starts it",
                    value=record.name,
                ) from None
            return False
        return True

    def end(self, record: Any, timeout: int | None = None, *, kill: bool = False) -> bool:
        """End a container's run, for the holder of its lock; returns False if it did not run."""
        from ..supervise.stop import stop
        from . import bundle

        if self.settled(record.id)["status"] not in ALIVE:
            return False
        spec = ContainerSpec.from_json(record.spec)
        if timeout is None:
            timeout = spec.stop_timeout if spec.stop_timeout is not None else DEFAULT_STOP_TIMEOUT
        signum = 9 if kill else bundle.stop_signal(spec, self.image_config(record.image_id))
        paths = Paths(self.engine, record.id)
        events.noted(self.engine, record.id, "kill", {"signal": str(signum)})
        stop(paths.state, paths.run, self.cgroup(record.id), signum, timeout)
        return True

    def cgroup(self, container_id: str) -> dict[str, Any]:
        """The cgroup plan of a container, without limits: enough to find, freeze, count or kill its processes."""
        return cgroups.compile({}, Paths(self.engine, container_id).cgroup, cgroups.detect())

    def kill(self, name: str, signum: int = 9) -> None:
        """Send a signal to a container's first process. Raises Conflict when it does not run.

        As docker: after one that is meant to end it, no restart policy brings the container back.
        """
        from ..supervise.stop import request_stop, signal
        from . import bundle

        record = self.record(name)
        observed = self.running(record)
        stops = bundle.stop_signal(ContainerSpec.from_json(record.spec), self.image_config(record.image_id))
        if signum in (9, stops):
            self._record_stop(record)
            request_stop(Paths(self.engine, record.id).run)
        events.noted(self.engine, record.id, "kill", {"signal": str(signum)})
        signal(observed, signum)

    def running(self, record: Any) -> dict[str, Any]:
        """The observed state of a container that must be running. Raises Conflict."""
        observed = self.observe(record.id)
        if observed["status"] not in ("running", "paused"):
            hint = f"start it: vitrine start {record.name}"
            if observed["status"] == "restarting":
                hint = f"its command ends again and again: see vitrine logs {record.name}"
            raise Conflict(
                f"container {record.name!r} is not running: it is {observed['status']}", hint=hint, value=record.name
            )
        return observed

    def restart(self, name: str, *, timeout: int | None = None) -> Any:
        """Stop a container if it runs, and start it."""
        record = self.record(name)
        with self.locked(record.id):
            self.end(record, timeout)
            started = self._start(record, attach=False)
            events.noted(self.engine, record.id, "restart")
            return started

    def pause(self, name: str, *, resume: bool = False) -> bool:
        """Freeze a container's processes, or thaw them; returns False if that was so already."""
        record = self.record(name)
        with self.locked(record.id):
            observed = self.running(record)
            if (observed["status"] == "paused") != resume:
                return False
            run = Paths(self.engine, record.id).run
            if resume:
                cgroups.thaw(self.cgroup(record.id))
                states.set_flag(run, states.PAUSED, False)
            else:  # the flag first: what is frozen without one cannot be thawed by its name
                states.set_flag(run, states.PAUSED, True)
                cgroups.freeze(self.cgroup(record.id))
            events.noted(self.engine, record.id, "unpause" if resume else "pause")
            return True

    def wait(self, name: str) -> int | None:
        """Wait until a container stops; returns its exit code, None if nobody saw it."""
        from ..supervise.stop import wait

        record = self.record(name)
        paths = Paths(self.engine, record.id)
        return wait(paths.state, paths.run).get("exit_code")

    # -- remove -------------------------------------------------------------------------------------------------

    def remove(self, name: str, *, force: bool = False, volumes: bool = False) -> str:
        """Remove a container; returns its id (removing.remove). force: kill it first. volumes: its anonymous ones."""
        from . import removing

        return removing.remove(self.engine, name, force=force, volumes=volumes)

    def discard(self, record: Any, *, volumes: bool) -> None:
        """Remove what is kept of a container that does not run; the caller holds its lock (removing.discard)."""
        from . import removing

        removing.discard(self.engine, record, volumes=volumes)

    def rename(self, name: str, new_name: str) -> None:
        """Give a container another name. Raises NameInUse."""
        from . import updating

        updating.rename(self.engine, name, new_name)

    def update(self, name: str, **changes: Any) -> ContainerSpec:
        """Change limits and the restart policy, of a running container too; returns the new spec (updating.update)."""
        from . import updating

        return updating.update(self.engine, name, **changes)

    # -- logs ---------------------------------------------------------------------------------------------------

    def logs(self, name: str, **how: Any) -> Iterator[tuple[str, bytes]]:
        """The container's output as (stream, bytes) of each entry (logdrivers.read)."""
        from . import logdrivers

        record = self.record(name)
        return logdrivers.read(self.engine, record, Paths(self.engine, record.id), **how)

    # -- in and out ---------------------------------------------------------------------------------------------

    def pump(self, name: str, fd: int, **how: Any) -> int | None:
        """Serve the connection of an attached start (sessions.pump)."""
        from . import sessions

        return sessions.pump(self.engine, name, fd, **how)

    def attach(self, name: str, *, stdin: bool = True, **how: Any) -> int | None:
        """Attach this process's streams to a running container (sessions.attach_to)."""
        from . import sessions

        return sessions.attach_to(self.engine, name, stdin=stdin, **how)

    def exec(self, name: str, argv: list[str], **how: Any) -> int:
        """Run a command in a running container (execs.run)."""
        from . import execs

        return execs.run(self.engine, name, argv, **how)

    def commit(self, name: str, target: str | None = None, **how: Any) -> dict[str, Any]:
        """Make an image of a container's changes (commits.commit)."""
        from . import commits

        return commits.commit(self.engine, name, target, **how)

    def copy_out(self, name: str, source: str, target: str) -> None:
        """Copy a path of a container to the host, or to standard output as tar (copies.copy_out)."""
        from . import copies

        copies.copy_out(self.engine, name, source, target)

    def copy_in(self, name: str, source: str, target: str, *, keep_owner: bool = False) -> None:
        """Copy a path of the host, or a tar from standard input, into a container (copies.copy_in)."""
        from . import copies

        copies.copy_in(self.engine, name, source, target, keep_owner=keep_owner)

    def command_line(self, record: Any, spec: ContainerSpec) -> str:
        """What a container runs, as one line of text."""
        from . import bundle

        try:
            return " ".join(bundle.arguments(spec, self.image_config(record.image_id)))
        except InvalidInput:
            return " ".join(spec.command or ())

    # -- the rest -----------------------------------------------------------------------------------------------

    def changes(self, name: str) -> list[tuple[str, bytes]]:
        """(kind, path) of all that a container changed in its file system; kinds A, C and D."""
        record = self.record(name)
        paths = Paths(self.engine, record.id)
        with Present(paths):
            return self.engine.store.layers.changes(paths.folder, record.chain_id)

    def stats(self, name: str) -> dict[str, Any]:
        """What a running container uses (runtime.cgroups.stats), and net_rx_bytes, net_tx_bytes of its links."""
        from . import usage

        return usage.stats(self.engine, name)

    def export(self, name: str, file: Any) -> None:
        """Write all files of a container, running or not, to a tar archive (exports.export)."""
        from . import exports

        exports.export(self.engine, name, file)

    def locked(self, container_id: str) -> _Lock:
        """The container's lock, for a with statement."""
        return _Lock(Paths(self.engine, container_id).lock, container_id)


class _Lock:
    """One container's lock, for a with statement."""

    def __init__(self, path: str, container_id: str) -> None:
        self._path = path
        self._id = container_id
        self._fd = -1

    def __enter__(self) -> None:
        try:
            self._fd = lock(self._path)
        except FileNotFoundError:
            raise ContainerNotFound(
                f"container {self._id[:12]} was removed meanwhile", hint="see 'vitrine ps --all'", value=self._id
            ) from None

    def __exit__(self, *_exception: object) -> None:
        os.close(self._fd)
