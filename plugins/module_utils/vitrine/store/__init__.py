# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is durable: the index, blobs, layers, images, containers, leases, volumes. Only this room writes to the root.

From outside: ``Store(root)`` and its attributes db, blobs, layers, images, containers, leases, networks, volumes,
buildcache, events; ``recover()``, ``collect()``, ``verify()``. Imports nothing but linux, oci, errors and record.

Whatever process is killed at whatever instant: things are made under temporary names by whoever holds a lock on them,
made durable, then named and entered in the index in one transaction. What has no entry is not there, and is cleared
away by ``recover()``.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from .blobs import Blobs
    from .buildcache import BuildCache
    from .containers import Containers
    from .db import Database
    from .events import Events
    from .images import Images
    from .layers import Layers
    from .leases import Leases
    from .networks import Networks
    from .volumes import Volumes

_PARTS = {
    "blobs": "Blobs",
    "layers": "Layers",
    "images": "Images",
    "containers": "Containers",
    "leases": "Leases",
    "networks": "Networks",
    "volumes": "Volumes",
    "buildcache": "BuildCache",
    "events": "Events",
}


class Store:
    """The store at root, made when it does not exist. Cheap: nothing is opened before it is used.

    driver: name of the layer driver, None: as the store was begun with, or else the best that works. tell: called with
    one line when the index was found damaged and was made anew.
    """

    blobs: Blobs
    layers: Layers
    images: Images
    containers: Containers
    leases: Leases
    networks: Networks
    volumes: Volumes
    buildcache: BuildCache
    events: Events
    db: Database

    def __init__(
        self,
        root: str,
        *,
        driver: str | None = None,
        without: Iterable[str] = (),
        tell: Callable[[str], object] | None = None,
    ) -> None:
        self.root = root
        self._tell = tell
        self.driver = driver
        self._lock = -1
        self._temporary: Any = None
        if without:
            from ..linux import features

            features.set_without(without)
        if not os.path.exists(os.path.join(root, "vitrine.db")):
            self._make()

    def _make(self) -> None:
        from .disk import make_directory, writing

        with writing(self.root):
            os.makedirs(self.root, 0o700, exist_ok=True)
            os.chmod(self.root, 0o700)  # what is setuid inside of layers must not be reached by users of the host
            for name in ("blobs", "blobs/sha256", "layers", "containers", "volumes"):
                make_directory(os.path.join(self.root, name), 0o711 if name == "volumes" else 0o700)

    def __getattr__(self, name: str) -> Any:
        """Load a part when it is first used."""
        if name == "db":
            from .db import Database
            from .disk import writing

            path = os.path.join(self.root, "vitrine.db")
            with writing(path):
                self.db = Database(path, self._tell)
            return self.db
        if name not in _PARTS:
            raise AttributeError(f"the store has no {name!r}")
        from importlib import import_module

        part = getattr(import_module(f".{name}", __name__), _PARTS[name])(self)
        setattr(self, name, part)
        return part

    # -- what is on its way must not be collected ---------------------------------------------------------------------

    def hold(self) -> None:
        """From now until release() or the end of this process, no other process collects what has no owner yet.

        Everything that makes or looks for blobs and layers calls this; callers need not.
        """
        if self._lock < 0:
            import fcntl

            self._lock = os.open(os.path.join(self.root, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    @property
    def holding(self) -> bool:
        """Whether this process holds."""
        return self._lock >= 0

    def release(self) -> None:
        """What this process made has its owners now."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def temporary_folder(self) -> str:
        """Return a directory of this process's own, on the store's disk; it goes with close(), or after a crash."""
        if self._temporary is None:
            from .layers.staging import Staging

            self._temporary = Staging(self.layers.root)
        return self._temporary.tree

    # -- care ---------------------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Clear away what killed processes left. Cheap when there is nothing: one directory and one query."""
        from .recover import recover

        recover(self)

    def collect(self) -> list[str]:
        """Remove layers, blobs and rows that nothing needs; returns the ids of the layers removed.

        Does nothing while another process is pulling, building or importing: the next one's turn.
        """
        from .recover import collect

        return collect(self)

    def mend(self) -> list[str]:
        """Read the whole index, and make it anew when it is damaged; returns what was done, in words.

        Raises StoreDamaged when that cannot be done, DiskFull.
        """
        from .rebuild import begun, rebuild

        path = os.path.join(self.root, "vitrine.db")
        note = rebuild(path, thorough=True) if os.path.exists(path) or begun(path) else ""
        return [note] if note else []

    def verify(self, repair: bool = False) -> list[str]:
        """Check everything against its digests; returns one line per fault, with repair also what was done about it."""
        from .verify import verify

        return verify(self, repair=repair)

    def close(self) -> None:
        """Close what is open."""
        if "db" in self.__dict__:
            self.db.close()
            del self.db
        if self._temporary is not None:
            self._temporary.close()
            self._temporary = None
        self.release()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
