# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files between the host and containers, running or stopped, with docker's rules of what ends up where.

Both sides are open directories, and what passes between them is a tar stream: no path of a container is ever resolved
by the host, and nothing is executed inside.
"""

from __future__ import annotations

import os
import stat
import sys

from ..errors import InvalidInput, NotFound
from ..linux import paths, process
from ..store.layers import access
from .paths import Present

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .core import Engine

_CHUNK = 1 << 18
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class _Root:
    """An open directory of a container's root: the living one's with all its mounts, or the stopped one's layers."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._record = engine.containers.record(name)
        self._observed = engine.containers.observe(self._record.id)
        folder = engine.containers.paths(self._record.id).folder
        plan = engine.store.layers.prepare_root(folder, self._record.chain_id)
        self._mounted = engine.store.layers.mounted(plan)
        self._fd = -1

    def __enter__(self) -> int:
        pid = self._observed["pid"]
        if self._observed["status"] in ("running", "paused"):
            try:
                self._fd = os.open(f"/proc/{pid}/root", _DIRECTORY)
            except OSError:
                pass
            if self._fd >= 0 and process.alive(pid, self._observed["start_time"]):
                return self._fd
            if self._fd >= 0:  # it has ended meanwhile, and the number may be another's
                os.close(self._fd)
                self._fd = -1
        return self._mounted.__enter__()

    def __exit__(self, *exception: Any) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        else:
            self._mounted.__exit__(*exception)


def _present(engine: Engine, name: str) -> Present:
    return Present(engine.containers.paths(engine.containers.record(name).id))


class _Stream:
    """What one function writes, as pieces for another to read: the writer works in a thread."""

    def __init__(self, produce: Callable[[Callable[[Any], object]], object]) -> None:
        import threading

        self._read, self._write = os.pipe2(os.O_CLOEXEC)
        self._error: BaseException | None = None
        self._produce = produce
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        try:
            with open(self._write, "wb", buffering=_CHUNK) as file:
                self._produce(file.write)
        except BrokenPipeError:
            pass  # the reader failed, and says why
        except BaseException as error:
            self._error = error

    def __iter__(self) -> Iterator[bytes]:
        while True:
            data = os.read(self._read, _CHUNK)
            if not data:
                break
            yield data
        self._thread.join()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the writer, if the reader did not come to the end."""
        os.close(self._read)
        self._thread.join()


def _status(root: int, path: str) -> os.stat_result | None:
    """What a path inside root leads to; None for nothing."""
    try:
        fd = paths.open_in_root(root, path or "/", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _placed(root: int, target: str, source: str, source_is_folder: bool) -> tuple[str, str]:
    """(existing folder inside root, name in it) of what source becomes at target; name "" pours a folder out.

    Raises NotFound, InvalidInput.
    """
    existing = _status(root, target)
    contents = source.endswith("/.") or source == "."
    name = os.path.basename(os.path.normpath(source))
    if existing is not None and stat.S_ISDIR(existing.st_mode):
        return target, "" if contents and source_is_folder else name
    if existing is not None and source_is_folder:
        raise InvalidInput(
            f"cannot copy the folder {source!r} onto the file {target!r}", hint="name a folder", value=target
        )
    parent, last = os.path.split(target.rstrip("/"))
    above = _status(root, parent)
    if above is None or not stat.S_ISDIR(above.st_mode):
        raise NotFound(f"the folder {parent or '/'!r} does not exist", hint="make it first", value=parent)
    if target.endswith("/") and not source_is_folder:
        raise NotFound(f"the folder {target!r} does not exist", hint="make it first", value=target)
    return parent, last


def _transfer(
    source_root: int, source: str, target_root: int, folder: str, name: str, owner: tuple[int, int] | None
) -> None:
    stream = _Stream(lambda write: access.copy_out(source_root, source, write, name=os.fsencode(name)))
    try:
        access.copy_in(target_root, folder or "/", stream, owner=owner)
    finally:
        stream.close()


def _host_folder(path: str) -> int:
    try:
        return os.open(path or ".", _DIRECTORY)
    except OSError as error:
        raise NotFound(f"{path!r}: {error.strerror}", hint="name a folder that exists", value=path) from None


def copy_out(engine: Engine, name: str, source: str, target: str) -> None:
    """Copy a container's file or folder to the host; target "-" writes a tar archive to standard output.

    Raises NotFound, InvalidInput, DiskFull.
    """
    with _present(engine, name), _Root(engine, name) as root:
        status = _status(root, source)
        if target == "-":
            access.copy_out(root, source, sys.stdout.buffer.write)
            sys.stdout.buffer.flush()
            return
        if status is None and not source.strip("/"):
            raise NotFound(f"there is no {source!r} in container {name!r}", value=source)
        # the host's side is resolved here, once, by the host's own rules: then only the open folder counts
        target = os.path.abspath(target) + ("/" if target.endswith("/") else "")
        host = os.open("/", _DIRECTORY)
        try:
            folder, last = _placed(host, target, source, status is not None and stat.S_ISDIR(status.st_mode))
            _transfer(root, source, host, folder, last, (os.getuid(), os.getgid()))
        finally:
            os.close(host)


def copy_in(engine: Engine, name: str, source: str, target: str, *, keep_owner: bool = False) -> None:
    """Copy a file or folder of the host into a container; source "-" reads a tar archive from standard input.

    keep_owner: else all of it belongs to the container's root. Raises NotFound, InvalidInput, DiskFull.
    """
    with _present(engine, name), _Root(engine, name) as root:
        if source == "-":
            access.copy_in(root, target, iter(lambda: sys.stdin.buffer.read(_CHUNK), b""))
            return
        parent, last = os.path.split(os.path.normpath(source))
        host = _host_folder(parent)
        try:
            try:
                status = os.stat(last or ".", dir_fd=host, follow_symlinks=source.endswith("/"))
            except FileNotFoundError:
                raise NotFound(f"{source!r} does not exist", hint="name a file or folder", value=source) from None
            folder, new_name = _placed(root, target, source, stat.S_ISDIR(status.st_mode))
            path = last + ("/" if source.endswith(("/", "/.")) else "")
            _transfer(host, path or "/", root, folder, new_name, None if keep_owner else (0, 0))
        finally:
            os.close(host)
