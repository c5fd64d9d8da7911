# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where one container's files, folders and cgroups are."""

from __future__ import annotations

import os

from .. import lightjson as json
from ..errors import ContainerNotFound
from ..linux.fs import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .core import Engine
    from .spec import ContainerSpec


# In a container's folder, locked by the process that it is a part of: a build that runs a step in it, a run that has
# not started it yet. When that process is killed, the container goes with the next command that passes.
OWNER = "owner"
# The same for a container that removes itself, while the command that it is attached to will see to that.
ATTENDED = "attended"
# In the run folder of a container that is frozen for a commit, locked by that command.
COMMITTING = "committing"
# In the run root, once all containers were looked at: without it the host was booted, or somebody emptied /run.
SEEN = "seen"
# In a container's folder while it is made or removed: the anonymous volumes that go when that is cut off (JSON).
DOOMED = "doomed-volumes.json"
# What a container's folder is called while it is being removed: this, and the id.
REMOVED = ".del-"


class Paths:
    """Where one container's things are."""

    def __init__(self, engine: Engine, container_id: str) -> None:
        settings = engine.settings
        self.id = container_id
        self.folder = f"{settings.root}/containers/{container_id}"
        self.run = f"{settings.run_root}/{container_id}"
        self.state = f"{self.folder}/state.json"
        self.log = f"{self.folder}/{container_id}-json.log"
        self.network = f"{self.folder}/network.json"
        self.config = f"{self.folder}/config.json"
        self.lock = f"{self.folder}/lock"
        self.cgroup = f"/{settings.tag}/{container_id}"

    def file(self, name: str) -> str:
        """One of the files that are bound into the container: "hosts", "hostname", "resolv.conf"."""
        return f"{self.folder}/{name}"

    def read_json(self, path: str) -> dict[str, Any]:
        """A JSON object of ours, or {} when it does not exist.

        One that a power cut tore counts as that: such files are of use to this boot only, so nobody waits for the disk.
        """
        try:
            with open(path, encoding="utf-8") as file:
                return json.load(file)
        except (FileNotFoundError, ValueError):
            return {}


def remove_folder(path: str) -> None:
    """Remove a container's folder, by the holder of its lock.

    It goes under another name first: whoever waits for the lock, or just looks for it, would make that file anew in a
    folder that is being emptied.
    """
    removed = f"{os.path.dirname(path)}/{REMOVED}{os.path.basename(path)}"
    try:
        os.rename(path, removed)
    except FileNotFoundError:
        pass
    remove_tree(removed)


class Present:
    """For a with statement that reads a container's files: a container that is removed meanwhile is none.

    What was read of it may be half of it, so it must not be taken for the whole. Raises ContainerNotFound.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        usual = kind is None or issubclass(kind, FileNotFoundError)
        if usual and not os.path.isdir(self._paths.folder):
            raise ContainerNotFound(
                f"container {self._paths.id[:12]} was removed meanwhile",
                hint="see 'vitrine ps --all'",
                value=self._paths.id,
            ) from None


def hostname_of(spec: ContainerSpec, container_id: str) -> str:
    """The name that the container gives itself."""
    if spec.hostname:
        return spec.hostname
    return os.uname().nodename if spec.network_mode == "host" or spec.uts == "host" else container_id[:12]
