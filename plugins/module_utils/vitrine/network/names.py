# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who answers to which name on which network, as files below the run folder that every resolver reads.

A container's *scope* says all about its names; it lies in its run folder, written by whoever starts, connects,
disconnects or renames it:
    {"id": 64 hex digits, "name", "hostname", "internal": bool, "upstreams": [addresses asked for; none: the host's],
     "networks": [{"id", "name", "aliases": [...], "addresses": ["10.83.0.2", "fd00::2"]}, ...]}
While it runs, each of its networks has a file ``<run root>/networks/<network id>/<container id>`` for it:
    {"id", "name", "hostname", "network": the network's name, "aliases", "addresses"}
Files are replaced whole, so that a reader sees the old or the new.
"""

from __future__ import annotations

import marshal
import os
import time

from ..linux import fs
from .resolver import Zone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any

SCOPE = "names"  # the scope's file in a container's run folder
FOLDER = "networks"  # in the run root
_LIMIT = 1 << 20
_YOUNG_NS = 2_000_000_000  # two changes may bear the same time, however finely it is written


def write_scope(run_dir: str, scope: dict[str, Any] | None) -> None:
    """Say what a container's names are from now on (None: it has none); a resolver sees it with the next question."""
    path = os.path.join(run_dir, SCOPE)
    if scope is None:
        _unlink(path)
    else:
        fs.write_atomic(path, marshal.dumps(scope), durable=False)


def read_scope(run_dir: str) -> dict[str, Any] | None:
    """Return what write_scope wrote; None when there is nothing that can be read."""
    return _read(os.path.join(run_dir, SCOPE))


def publish(run_root: str, scope: dict[str, Any]) -> None:
    """Let the others on its networks find a container, and those of its former networks no longer. Raises OSError."""
    container_id = scope["id"]
    wanted = set()
    for network in scope["networks"]:
        wanted.add(network["id"])
        folder = os.path.join(run_root, FOLDER, network["id"])
        os.makedirs(folder, 0o700, exist_ok=True)
        entry = {
            "id": container_id,
            "name": scope["name"],
            "hostname": scope["hostname"],
            "network": network["name"],
            "aliases": list(network["aliases"]),
            "addresses": [address for address in network["addresses"] if address],
        }
        fs.write_atomic(os.path.join(folder, container_id), marshal.dumps(entry), durable=False)
    _remove(run_root, container_id, wanted)


def withdraw(run_root: str, container_id: str) -> None:
    """Let nobody find a container by name any longer. Raises OSError."""
    _remove(run_root, container_id, ())


def rename(run_root: str, container_id: str, name: str, *, running: bool) -> None:
    """Give a container another name; does nothing for one without a scope. Raises OSError."""
    run_dir = os.path.join(run_root, container_id)
    scope = read_scope(run_dir)
    if scope is not None:
        scope["name"] = name
        write_scope(run_dir, scope)
        if running:
            publish(run_root, scope)


def sweep(run_root: str, live_ids: Collection[str]) -> list[str]:
    """Remove what containers left that died with their monitors; returns what was removed, for people."""
    removed = []
    for network_id in _listed(os.path.join(run_root, FOLDER)):
        folder = os.path.join(run_root, FOLDER, network_id)
        for name in _listed(folder):
            if name[:64] not in live_ids:
                _unlink(os.path.join(folder, name))
                removed.append(f"the names of {name[:12]}")
    return removed


def forget_network(run_root: str, network_id: str) -> None:
    """Remove the folder of a network that is removed itself. One that a container was just put into stays."""
    try:
        os.rmdir(os.path.join(run_root, FOLDER, network_id))
    except OSError:
        pass


def _remove(run_root: str, container_id: str, kept: Collection[str]) -> None:
    for network_id in _listed(os.path.join(run_root, FOLDER)):
        if network_id not in kept:
            _unlink(os.path.join(run_root, FOLDER, network_id, container_id))


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _read(path: str) -> dict[str, Any] | None:
    try:
        value = marshal.loads(fs.read_file(path, _LIMIT))
    except (OSError, ValueError, EOFError, TypeError):
        return None
    return value if isinstance(value, dict) else None


# -- reading ---------------------------------------------------------------------------------------------------------


class _Folder:
    """What was read of one network's folder, and when."""

    def __init__(self) -> None:
        self.changed = -1
        self.read_at = 0
        self.files: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}
        self.name = ""
        self.zone: Zone | None = None


class Registry:
    """The names on all networks of this host, read anew when they have changed; asking costs one stat for each."""

    def __init__(self, run_root: str) -> None:
        self._root = os.path.join(run_root, FOLDER)
        self._folders: dict[str, _Folder] = {}

    def zone(self, network_id: str, name: str = "") -> Zone:
        """The names on one network. name: the network's; else as its containers' files say."""
        folder = self._folders.setdefault(network_id, _Folder())
        path = os.path.join(self._root, network_id)
        try:
            changed = os.stat(path).st_mtime_ns
        except FileNotFoundError:
            changed = 0
        if changed != folder.changed or folder.read_at - changed < _YOUNG_NS or folder.zone is None:
            folder.read_at = time.time_ns()
            folder.changed = changed
            if self._read_files(path, folder) or folder.zone is None or name not in ("", folder.name):
                self._make_zone(folder, name)
        return folder.zone  # type: ignore[return-value]

    def others(self, own: Collection[str]) -> Iterator[Zone]:
        """The names on all networks but these."""
        there = set(_listed(self._root))
        for gone in set(self._folders) - there - set(own):
            del self._folders[gone]
        for network_id in there - set(own):
            yield self.zone(network_id)

    @staticmethod
    def _make_zone(folder: _Folder, name: str) -> None:
        entries = [entry for _identity, entry in folder.files.values()]
        folder.name = name or folder.name or (entries[0]["network"] if entries else "")
        folder.zone = Zone(folder.name, sorted(entries, key=lambda entry: entry["id"]))

    @staticmethod
    def _read_files(path: str, folder: _Folder) -> bool:
        """Read what is new in a folder, forget what is gone; True when anything was."""
        found = {}
        news = False
        for name in _listed(path):
            if len(name) != 64:
                continue  # one that is still being written
            try:
                status = os.stat(os.path.join(path, name))
            except FileNotFoundError:
                continue
            identity = (status.st_ino, status.st_mtime_ns)
            known = folder.files.get(name)
            if known is None or known[0] != identity:
                entry = _read(os.path.join(path, name))
                if entry is None:
                    continue
                known = (identity, entry)
                news = True
            found[name] = known
        news = news or len(found) != len(folder.files)
        folder.files = found
        return news
