# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine as its callers see it: one object with a noun for each kind of thing. Nouns are imported when used."""

from __future__ import annotations

import os
import sys

from ..errors import HostError
from ..linux import features
from ..settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..store import Store
    from .builds import Builds
    from .containers import Containers
    from .images import Images
    from .networks import Networks
    from .system import System


def require_root() -> None:
    """Raise HostError for whoever may neither read nor change what the engine keeps."""
    if os.geteuid() != 0:
        raise HostError(
            f"the engine needs root, and this is user {os.geteuid()}",
            hint="use sudo, or become: true in a playbook",
            value=os.geteuid(),
        )


class Engine:
    """One engine root on this host. Cheap to make: nothing is read or written before a noun is used."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.load()
        features.set_without(self.settings.texts("without"))
        self.warnings: list[str] = []  # what was done otherwise than asked
        self._store: Store | None = None
        self._nouns: dict[str, object] = {}

    @property
    def store(self) -> Store:
        """The durable state. Raises HostError for whoever may not write it.

        Who opens it passes by: what killed processes left, in the store and in the kernel, is put right.
        """
        if self._store is None:
            require_root()
            from ..store import Store

            driver = self.settings.config.get("storage_driver")
            self._store = Store(self.settings.root, driver=None if driver is None else str(driver), tell=self._tell)
            self._store.recover()
            self.system.reconcile()
        return self._store

    def warn(self, text: str) -> None:
        """Say that something was done otherwise than asked."""
        self.warnings.append(text)
        self._tell(f"warning: {text}")

    @staticmethod
    def _tell(line: str) -> None:
        """Say what happened to the store, whatever the command is about."""
        sys.stderr.write(f"vitrine: {line}\n")

    @property
    def images(self) -> Images:
        """Pull, push, tag, remove, list, inspect, save, load, search, bootstrap."""
        if "images" not in self._nouns:
            from .images import Images

            self._nouns["images"] = Images(self)
        return self._nouns["images"]  # type: ignore[return-value]

    @property
    def containers(self) -> Containers:
        """Create, start, stop, remove, exec, logs, commit and the rest of a container's life."""
        if "containers" not in self._nouns:
            from .containers import Containers

            self._nouns["containers"] = Containers(self)
        return self._nouns["containers"]  # type: ignore[return-value]

    @property
    def networks(self) -> Networks:
        """User-defined networks: create, inspect, remove, list, prune."""
        if "networks" not in self._nouns:
            from .networks import Networks

            self._nouns["networks"] = Networks(self)
        return self._nouns["networks"]  # type: ignore[return-value]

    @property
    def builds(self) -> Builds:
        """Images from Dockerfiles."""
        if "builds" not in self._nouns:
            from .builds import Builds

            self._nouns["builds"] = Builds(self)
        return self._nouns["builds"]  # type: ignore[return-value]

    @property
    def system(self) -> System:
        """The host's prerequisites, the store's health, what is stale, and boot."""
        if "system" not in self._nouns:
            from .system import System

            self._nouns["system"] = System(self)
        return self._nouns["system"]  # type: ignore[return-value]
