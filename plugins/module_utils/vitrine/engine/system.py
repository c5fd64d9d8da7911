# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host and the store as a whole: prerequisites, health, what is stale, and what should run after a boot."""

from __future__ import annotations

import fcntl
import os

from ..errors import NotFound, StartFailed, VitrineError
from ..linux import process
from ..linux.fs import lock, remove_tree
from ..runtime import cgroups
from ..supervise import restart
from ..supervise import state as states
from ..version import VERSION
from . import events
from .paths import ATTENDED, COMMITTING, DOOMED, OWNER, REMOVED, SEEN, Paths, remove_folder
from .spec import ContainerSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .core import Engine


# the steps of a start that fail where a kernel lacks something, rather than because of what a user wants
_HOSTS_STAGES = ("cgroup", "clone", "console", "init", "monitor", "namespace", "network", "pivot_root", "seccomp")


class System:
    """One engine root and its host."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._reconciled = False

    # -- what a dead process left ---------------------------------------------------------------------------------

    def reconcile(self) -> list[str]:
        """Put right what killed processes left behind, once per process; returns what was done, in words.

        A run folder exists from a container's start until its monitor has cleaned up after it. So a run folder whose
        monitor is dead means: the container still runs (it gets a new monitor), or something is left to clean.
        A container that another command is working on (its lock is held) is that command's business. What cannot be
        put right now is told, and is the next command's: no command fails for what another one left.
        """
        if self._reconciled:
            return []
        self._reconciled = True
        done: list[str] = []
        run_root, containers = self.engine.settings.run_root, f"{self.engine.settings.root}/containers"
        if not os.path.exists(f"{run_root}/{SEEN}"):
            self._try(done, self._look_after_loss, "")
        grouped = self._grouped()  # in this order: what begins to be while we look is not taken for what is left
        running = self._folders(run_root)
        folders = self._folders(containers)
        known = self.engine.store.containers.ids()
        for container_id in known.difference(folders):
            self._try(done, self._make_folder, container_id)
        for container_id in grouped.difference(running, known):
            self._try(done, self._remove_cgroup, container_id)
        for container_id in set(running).difference(folders).union(self._unmonitored(running)):
            self._try(done, self._reconcile_one, container_id)
        for container_id in _marked(run_root, running, COMMITTING):
            self._try(done, self._thaw, container_id)
        owned = set(_marked(containers, folders, OWNER))
        for name in folders:
            if name.startswith(REMOVED):
                self._try(done, self._remove_folder, name)
            elif name not in known:
                self._try(done, self._remove_orphan, name)
            elif name in owned:
                self._try(done, self._remove_abandoned, name)
        # a monitor may have been killed while it removed the bridge of the last container; that goes after all else
        if done or (not running and self._bridges_there() and not self._folders(run_root)):
            self._try(done, self._swept, "")
        return done

    @staticmethod
    def _try(done: list[str], step: Callable[[str], list[str]], name: str) -> None:
        try:
            done += step(name)
        except Exception as error:  # noqa: BLE001 - a record that cannot be read, too, is no other command's fault
            done.append(f"could not put right what is left of {name[:12] or 'the network'}: {error}")

    def _swept(self, _name: str) -> list[str]:
        self.sweep_network()
        return []

    def _bridges(self) -> list[str]:
        """Names of the bridges that this engine's networks may have; never of a host's link that is a parent."""
        from ..network import plan

        listed = [one for one in self.engine.store.networks.list().values() if not plan.parent_of(one)]
        return list(filter(None, {self.engine.settings.bridge, *(str(one.get("bridge") or "") for one in listed)}))

    def _bridges_there(self) -> bool:
        return any(os.path.exists(f"/proc/sys/net/ipv4/conf/{name}") for name in self._bridges())

    def run_folders(self) -> list[str]:
        """The ids of all containers that run, are being set up, or left something."""
        return self._folders(self.engine.settings.run_root)

    def sweep_network(self) -> None:
        """Take back what dead containers had of the bridges and the packet filter; with the last one, all of it."""
        from ..network import links, names

        settings = self.engine.settings
        known = {"bridges": self._bridges(), "table": settings.table}
        alive = set(self.run_folders())
        links.sweep(known, alive, f"{settings.run_root}/network.lock")
        names.sweep(settings.run_root, alive)

    @staticmethod
    def _folders(path: str) -> list[str]:
        try:
            return [name for name in os.listdir(path) if len(name) >= 64]
        except FileNotFoundError:
            return []

    def _unmonitored(self, running: list[str]) -> list[str]:
        with _Folder(self.engine.settings.run_root) as fd:
            return states.unmonitored(fd, running) if fd >= 0 else []

    def _look_after_loss(self, _name: str) -> list[str]:
        """The run root is new: the host was booted, or somebody emptied /run below running containers.

        Their monitors live and still know everything, but nobody finds them any more. They make their folders anew when
        they are told; one that does not is replaced.
        """
        done: list[str] = []
        run_root = self.engine.settings.run_root
        for container_id in self._folders(f"{self.engine.settings.root}/containers"):
            paths = Paths(self.engine, container_id)
            if not os.path.isdir(paths.run):
                self._try(done, self._find_again, container_id)
        os.makedirs(run_root, 0o700, exist_ok=True)
        states.set_flag(run_root, SEEN, True)
        return done

    def _find_again(self, container_id: str) -> list[str]:
        from ..supervise.recall import recall

        paths = Paths(self.engine, container_id)
        known = states.read(paths.state)
        if known["status"] not in ("running", "paused", "restarting") or known["boot_id"] != process.boot_id():
            return []
        try:
            held = lock(paths.lock, blocking=False)
        except (BlockingIOError, FileNotFoundError):
            return []
        try:
            found = recall(known, paths.run)
            if not found:
                if not process.alive(known["pid"], known["start_time"]):
                    return []
                for folder in (self.engine.settings.run_root, paths.run):  # without a monitor in it: it gets one now
                    os.makedirs(folder, 0o700, exist_ok=True)
            if cgroups.frozen(self.engine.containers.cgroup(container_id)):
                states.set_flag(paths.run, states.PAUSED, True)
            return [f"found container {container_id[:12]} again, whose run folder was gone"] if found else []
        finally:
            os.close(held)

    def _reconcile_one(self, container_id: str) -> list[str]:
        paths = Paths(self.engine, container_id)
        if not os.path.isdir(paths.folder):
            states.set_flag(paths.run, states.STOP_REQUESTED, True)  # its monitor may live
            self._clean(paths)
            remove_tree(paths.run)
            return [f"cleaned up after the removed container {container_id[:12]}"]
        try:
            held = lock(paths.lock, blocking=False)
        except (BlockingIOError, FileNotFoundError):
            return []
        try:
            if states.monitor_alive(paths.run):
                return []
            observed = states.observe(paths.state, paths.run)
            if observed["status"] in ("running", "paused"):
                try:
                    self._adopt(container_id, observed)
                    return [f"gave the running container {container_id[:12]} a new monitor"]
                except VitrineError:
                    observed = states.observe(paths.state, paths.run)
                    if observed["status"] in ("running", "paused"):
                        raise  # else it has ended meanwhile
            return self._bury(paths, observed)
        finally:
            os.close(held)

    def _adopt(self, container_id: str, observed: dict[str, Any]) -> None:
        from ..supervise import launch

        request = restart.saved(Paths(self.engine, container_id).run)
        if request is None:  # another version of Python wrote it: make it again from the record
            from .starting import prepare

            record = self.engine.store.containers.get(container_id)
            spec = ContainerSpec.from_json(record.spec)
            request = prepare(self.engine, record, spec, self.engine.containers.image_config(record.image_id))
        launch.adopt(request, observed["pid"], observed["start_time"])

    def _thaw(self, container_id: str) -> list[str]:
        """Let a container run on whose commit was killed."""
        paths = Paths(self.engine, container_id)
        mark = f"{paths.run}/{COMMITTING}"
        held = _left(mark)
        if held < 0:
            return []
        try:
            if not os.path.exists(f"{paths.run}/{states.PAUSED}"):
                cgroups.thaw(self.engine.containers.cgroup(container_id))
            os.unlink(mark)
        finally:
            os.close(held)
        return [f"thawed container {container_id[:12]}, whose commit was killed"]

    def _bury(self, paths: Paths, observed: dict[str, Any]) -> list[str]:
        """Record an end that nobody recorded, and release what the container held."""
        recorded = states.read(paths.state)
        seen = recorded["status"] == observed["status"] and os.listdir(paths.run) == [states.LOCK]
        if recorded["status"] != observed["status"]:
            states.write(paths.state, {key: observed[key] for key in recorded})
            if observed["status"] == "exited":
                events.noted(self.engine, paths.id, "die", {"exitCode": "unknown"})
        if not seen:  # else its monitor did all but remove its own lock
            self._clean(paths)
        try:
            record = self.engine.store.containers.get(paths.id)
        except VitrineError:
            return [f"cleaned up after {paths.id[:12]}"]
        spec = ContainerSpec.from_json(record.spec)
        if spec.auto_remove and observed["status"] == "exited":
            self._remove_ended(record)
        else:
            remove_tree(paths.run)
        if recorded["status"] != observed["status"] and record.desired == "running":
            again = restart.decide(
                spec.restart_policy,
                spec.restart_retries,
                exit_code=None,
                restarts=recorded["restart_count"],
                stop_requested=observed["stop_requested"],
            )
            if again:
                self.engine.containers.start_again(record, recorded["restart_count"] + 1)
                return [f"restarted container {record.name}, whose monitor was killed"]
        return [] if seen else [f"cleaned up after container {record.name}"]

    def _remove_ended(self, record: Any) -> None:
        """Remove a container that removes itself, unless a command that it was attached to is there to do it."""
        try:
            held = lock(f"{Paths(self.engine, record.id).folder}/{ATTENDED}", blocking=False)
        except BlockingIOError:
            return
        try:
            self.engine.containers.discard(record, volumes=True)
        finally:
            os.close(held)

    def release(self, container_id: str) -> bool:
        """Release what a container that does not run still holds because its monitor was killed; returns if it was.

        The caller has the container's lock.
        """
        paths = Paths(self.engine, container_id)
        if os.path.isdir(paths.run) and not states.monitor_alive(paths.run) and os.listdir(paths.run) != [states.LOCK]:
            self._clean(paths)
            return True
        return False

    def _grouped(self) -> set[str]:
        """The ids of all containers that have the cgroup that is made last and removed last."""
        last = cgroups.directories(self.engine.containers.cgroup("0" * 64))[-1:]
        return {name for path in last for name in self._folders(os.path.dirname(path))}

    def _remove_cgroup(self, container_id: str) -> list[str]:
        """Of a container whose monitor was killed while it took them down, after its client had removed the rest."""
        cgroup = self.engine.containers.cgroup(container_id)
        cgroups.kill(cgroup)
        cgroups.remove(cgroup)
        return [f"removed the cgroups of container {container_id[:12]}"]

    def _clean(self, paths: Paths) -> None:
        """Release the kernel objects that a container's name leads to."""
        self._remove_cgroup(paths.id)
        plan = paths.read_json(paths.network)
        if plan:
            from ..network import links

            links.disconnect(plan, f"{self.engine.settings.run_root}/network.lock")

    def _remove_orphan(self, container_id: str) -> list[str]:
        """A container's folder without a row: its creation or its removal was cut off."""
        paths = Paths(self.engine, container_id)
        above = os.open(os.path.dirname(paths.folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(above, fcntl.LOCK_EX | fcntl.LOCK_NB)  # whoever makes a folder has locked it then
            held = lock(paths.lock, blocking=False)
        except (BlockingIOError, FileNotFoundError):
            return []
        finally:
            os.close(above)
        try:
            if container_id in self.engine.store.containers.ids():
                return []  # its creation was just being finished
            self._clean(paths)
            for volume in paths.read_json(f"{paths.folder}/{DOOMED}") or ():
                self.engine.store.volumes.remove(volume)
            remove_folder(paths.folder)
            remove_tree(paths.run)
        finally:
            os.close(held)
        return [f"removed what was left of container {container_id[:12]}"]

    def _make_folder(self, container_id: str) -> list[str]:
        """A row without a folder: a power cut took it, or somebody removed it. Then the container can still be used."""
        try:
            os.makedirs(Paths(self.engine, container_id).folder, 0o700)
        except FileExistsError:
            return []  # it was just made
        return [f"made the folder of container {container_id[:12]} anew: what it had written is lost"]

    def _remove_folder(self, name: str) -> list[str]:
        """A removed container's folder."""
        remove_tree(f"{self.engine.settings.root}/containers/{name}")
        remove_tree(f"{self.engine.settings.run_root}/{name[len(REMOVED) :]}")
        return []

    def _remove_abandoned(self, container_id: str) -> list[str]:
        """Remove a container whose owner (paths.OWNER) was killed."""
        held = _left(f"{Paths(self.engine, container_id).folder}/{OWNER}")
        if held < 0:
            return []
        os.close(held)
        try:
            self.engine.containers.remove(container_id, force=True, volumes=True)
        except NotFound:
            return []
        return [f"removed container {container_id[:12]}, whose command was killed"]

    # -- health ---------------------------------------------------------------------------------------------------

    def check(self, *, repair: bool = False) -> dict[str, Any]:
        """{"host": [Finding], "store": [what is wrong, in words], "reconciled": [what was put right, in words]}."""
        from .. import host
        from . import filtering
        from .core import require_root

        require_root()
        mended = self._mend() if repair else []
        mended += self.reconcile()  # first: whoever opens the store does it, and tells nobody
        return {
            "host": host.check(self.engine.settings.root) + filtering.findings(self.engine),
            "reconciled": mended,
            "store": self.engine.store.verify(repair=repair),
        }

    def _mend(self) -> list[str]:
        """Before anything looks into the index: make a damaged one anew."""
        from ..store import Store

        with Store(self.engine.settings.root) as store:
            return store.mend()

    def explained(self, error: StartFailed, *, release: str | None = None) -> VitrineError:
        """What to raise for a start that failed: what the host lacks, as check() says it, if that may be why.

        release: the kernel's, for tests.
        """
        if error.stage not in _HOSTS_STAGES:
            return error
        from .. import host

        try:
            host.require(host.check(self.engine.settings.root, release=release))
        except VitrineError as lacking:
            lacking.message = f"{error.message}; {lacking.message}"
            return lacking
        return error

    # -- boot -----------------------------------------------------------------------------------------------------

    def boot(self) -> list[tuple[str, str]]:
        """Start every container that its restart policy wants started (booting.boot)."""
        from . import booting

        return booting.boot(self.engine)

    def shutdown(self, most: int | None = None) -> list[tuple[str, str]]:
        """Stop all containers before the host goes down (booting.shutdown)."""
        from . import booting

        return booting.shutdown(self.engine, most)

    # -- facts ----------------------------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """What this engine and host have, in the words of docker's info."""
        from . import filtering

        uname = os.uname()
        rows = self.engine.containers.all(everything=True)
        states_seen = [observed["status"] for _record, _spec, observed in rows]
        layout = cgroups.detect()
        return {
            "ID": self.engine.settings.tag,
            "Containers": len(rows),
            "ContainersRunning": states_seen.count("running"),
            "ContainersPaused": states_seen.count("paused"),
            "ContainersStopped": len(rows) - states_seen.count("running") - states_seen.count("paused"),
            "Images": len(self.engine.store.images.list()),
            "Driver": self.engine.store.layers.driver_name,
            "CgroupVersion": layout.version,
            "KernelVersion": uname.release,
            "Architecture": uname.machine,
            "Name": uname.nodename,
            "NCPU": os.cpu_count(),
            "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "OperatingSystem": _operating_system(),
            "OSType": "linux",
            "VitrineRootDir": self.engine.settings.root,
            "RunRoot": self.engine.settings.run_root,
            "ServerVersion": VERSION,
            "Warnings": filtering.told(self.engine),
        }


class _Folder:
    """A folder's descriptor, for a with statement; -1 if there is none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> int:
        try:
            self._fd = os.open(self._path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            pass
        return self._fd

    def __exit__(self, *_error: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def _marked(path: str, names: list[str], mark: str) -> list[str]:
    """Those of a folder's folders that hold a file of that name: one short syscall for each."""
    with _Folder(path) as fd:
        return [name for name in names if os.access(f"{name}/{mark}", os.F_OK, dir_fd=fd)] if fd >= 0 else []


def _left(mark: str) -> int:
    """The lock of a file whose holder was killed; -1 if that lives, or removed the file: it must not be made anew."""
    try:
        fd = os.open(mark, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), os.stat(mark)):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return -1


def _operating_system() -> str:
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            fields = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
    except OSError:
        return ""
    return fields.get("PRETTY_NAME", "").strip('"')
