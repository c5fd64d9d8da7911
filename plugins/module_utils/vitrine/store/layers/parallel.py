# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several layers at once, each in a worker process, while the blobs of others still arrive.

    caller                                        worker (forked before the caller starts any thread)
      | -- task, one datagram; a free worker takes it --> |
      |                                                   | staging directory, locked by the worker
      |                                                   | inflate | hash | write files | verify the diff id
      | <------- "progress", "done" or "failed" --------- |
      | finish(): all done; implied directories get the attributes of those below; one sync; one transaction
      | -- end of tasks --------------------------------> | ends, and with it its locks

A worker whose caller has died ends by itself; its directories are cleared away by recover().
"""

from __future__ import annotations

import errno
import os
import pickle
import select
import signal
import socket
import struct

from ...errors import HostError, InvalidInput, NotFound
from ...linux import fs, prctl
from ..disk import FULL, full
from . import stream
from .entry import malformed
from .inherit import inherit
from .staging import Ready, Staging, enter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .. import Store

RESERVE = 32 << 20  # bytes that must stay free on the disk while a layer larger than this is unpacked
CHECK_EVERY = 64 << 20
TELL_EVERY = 4 << 20
# What only names, links and kinds in the archive can cause: the directory is our own, and new.
_ARCHIVE_AT_FAULT = frozenset(
    (
        errno.EEXIST,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.EMLINK,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
    )
)


class Unpackers:
    """Workers and the layers given to them. Use in a with statement: leaving it without finish() undoes everything."""

    def __init__(
        self, store: Store, jobs: int | None = None, progress: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        self._store = store
        self._root = store.layers.root
        self._layout = store.layers.driver.layout
        self._progress = progress
        self._tasks: list[dict[str, Any]] = []
        self._results: dict[int, dict[str, Any]] = {}
        self._failure: BaseException | None = None
        self._send, self._take = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._workers: dict[socket.socket, int] = {}
        self._buffers: dict[socket.socket, bytearray] = {}
        for _ in range(max(1, min(jobs or len(os.sched_getaffinity(0)), 8))):
            self._fork()
        self._take.close()

    def _fork(self) -> None:
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                prctl.die_with_parent(parent)  # and its half-made layer is free to be removed by whoever passes next
                ours.close()
                self._send.close()
                for other in self._workers:
                    other.close()
                _work(self._take, theirs, self._root, self._layout, parent)
                status = 0
            finally:
                os._exit(status)
        theirs.close()
        self._workers[ours] = pid
        self._buffers[ours] = bytearray()

    # -- the caller's side --------------------------------------------------------------------------------------------

    def add(
        self, blob: str, media_type: str, *, diff_id: str, chain_id: str, parent: str | None, digest: str | None = None
    ) -> None:
        """Unpack a layer from a file, soon. Layers may be added in any order; parent: None, here, or added too.

        digest: the blob's; None: seen from the path, and a file from elsewhere becomes a blob first.
        Raises UnsupportedContent.
        """
        compression = stream.compression_of(media_type)
        if digest is None and os.path.dirname(os.path.dirname(blob)) == self._store.blobs.root:
            digest = f"{os.path.basename(os.path.dirname(blob))}:{os.path.basename(blob)}"
        elif digest is None:
            digest = self._store.blobs.take(blob)
            blob = self._store.blobs.path(digest)
        task = {
            "number": len(self._tasks),
            "blob": blob,
            "compression": compression,
            "diff_id": diff_id,
            "chain_id": chain_id,
            "parent": parent,
            "digest": digest,
            "media_type": media_type,
        }
        self._tasks.append(task)
        message = pickle.dumps((task["number"], blob, compression, diff_id))
        self._pump(0)
        while True:
            try:
                self._send.send(message, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                return
            except BlockingIOError:  # more layers wait than the socket holds
                self._pump(0.1)
            except BrokenPipeError:
                self._failure = self._failure or _died()
                raise self._failure from None

    def poll(self) -> None:
        """Hand on what the workers tell meanwhile (progress). Raises what a worker failed with."""
        self._pump(0)
        if self._failure is not None:
            raise self._failure

    def finish(self) -> None:
        """Wait for all layers and enter them into the store, together. Raises what the first failing worker met."""
        self.wait()
        try:
            self._enter()
        except OSError as error:
            if error.errno in FULL:
                raise full(self._root, "no layer was added, what was unpacked is removed", error) from None
            raise
        finally:
            self.close()

    def wait(self) -> list[dict[str, Any]]:
        """Wait for all layers; returns what the workers made: {"path", "implied", "size"} for each, as added."""
        while len(self._results) < len(self._tasks) and self._failure is None:
            if not self._workers:
                self._failure = _died()
                break
            self._pump(None)
        if self._failure is not None:
            raise self._failure
        return [self._results[number] for number in range(len(self._tasks))]

    def _enter(self) -> None:
        ready = []
        trees: dict[str, str] = {}
        for task in self._in_order():
            result = self._results[task["number"]]
            tree = result["path"] + "/tree"
            below = self._below(task["parent"], trees)
            inherit(tree, result["implied"], below, self._layout)
            trees[task["chain_id"]] = tree
            ready.append(
                Ready(
                    task["chain_id"],
                    task["diff_id"],
                    task["parent"],
                    result["size"],
                    tree,
                    task["digest"],
                    os.stat(task["blob"]).st_size if task["digest"] else None,
                    task["media_type"] if task["digest"] else None,
                )
            )
        if ready:
            enter(self._store, self._root, ready)

    def _below(self, parent: str | None, trees: dict[str, str]) -> list[str]:
        """Return the directories of all layers below one, top first, whether in the store or only just unpacked."""
        parents = {task["chain_id"]: task["parent"] for task in self._tasks}
        found = []
        while parent is not None and parent in trees and not self._store.layers.has(parent):
            found.append(trees[parent])
            parent = parents[parent]
        return found + self._store.layers.paths(parent)

    def _in_order(self) -> Iterator[dict[str, Any]]:
        """Parents first, each layer once."""
        waiting = {task["chain_id"]: task for task in reversed(self._tasks)}
        done: set[str] = set()
        while waiting:
            possible = [task for task in waiting.values() if task["parent"] not in waiting]
            if not possible:
                raise InvalidInput("the layers form a circle", hint="the image's configuration is malformed")
            for task in possible:
                del waiting[task["chain_id"]]
                if task["chain_id"] not in done:
                    done.add(task["chain_id"])
                    yield task

    def _pump(self, timeout: float | None) -> None:
        """Take what the workers have said; wait for something up to timeout seconds (None: without end)."""
        readable, _, _ = select.select(list(self._workers), [], [], timeout)
        for worker in readable:
            data = worker.recv(1 << 16)
            if not data:
                os.waitpid(self._workers.pop(worker), 0)
                worker.close()
                self._failure = self._failure or _died()
                continue
            buffer = self._buffers[worker]
            buffer += data
            while len(buffer) >= 4:
                (length,) = struct.unpack_from("=I", buffer)
                if len(buffer) < 4 + length:
                    break
                message = pickle.loads(bytes(buffer[4 : 4 + length]))
                del buffer[: 4 + length]
                self._heard(*message)

    def _heard(self, kind: str, number: int, value: Any) -> None:
        task = self._tasks[number]
        if kind == "failed":
            self._failure = self._failure or value
        elif kind == "done":
            self._results[number] = value
            self._tell(task, "Pull complete", 0, 0)
        else:
            self._tell(task, "Extracting", *value)

    def _tell(self, task: dict[str, Any], status: str, current: int, total: int) -> None:
        if self._progress is not None:
            name = (task["digest"] or task["diff_id"]).partition(":")[2][:12]
            self._progress({"id": name, "status": status, "current": current, "total": total})

    def close(self) -> None:
        """End the workers; what they unpacked and nobody took is removed."""
        self._send.close()
        failed = len(self._results) < len(self._tasks)
        for worker, pid in self._workers.items():
            if failed:
                os.kill(pid, signal.SIGKILL)  # our own child, not reaped yet: the number is its
            worker.close()
            os.waitpid(pid, 0)
        self._workers = {}
        for result in self._results.values():
            fs.remove_tree(result["path"])
        self._results = {}
        self._tasks = []
        if failed:
            from ..recover import recover

            recover(self._store)

    def __enter__(self) -> Unpackers:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _died() -> HostError:
    return HostError(
        "a process that unpacked layers was killed: no layer was added",
        hint="see whether the host ran out of memory (dmesg), then run the command again",
    )


# -- the worker's side -----------------------------------------------------------------------------------------------


def _work(tasks: socket.socket, results: socket.socket, root: str, layout: str, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller decides what an interrupt means
    os.umask(0)
    held = []
    while True:
        message = tasks.recv(1 << 16)
        if not message:
            break
        number, blob, compression, diff_id = pickle.loads(message)

        def tell(kind: str, value: Any, number: int = number) -> None:
            data = pickle.dumps((kind, number, value))
            results.sendall(struct.pack("=I", len(data)) + data)

        staging = None
        try:
            staging = Staging(root)
            tell("done", _unpack(staging, blob, compression, diff_id, layout, _Watch(root, blob, tell, parent)))
            held.append(staging)
        except BaseException as error:
            if staging is not None:
                staging.close()
            tell("failed", _presentable(error, root, blob))
    # the caller is done: the directories' locks end with this process


def _presentable(error: BaseException, root: str, blob: str) -> BaseException:
    """An error that survives the way to the caller."""
    from ...errors import VitrineError

    if isinstance(error, OSError) and error.errno in FULL:
        return full(root, "no layer was added, what was unpacked is removed", error)
    if isinstance(error, OSError) and error.filename == blob:
        return NotFound(f"the layer's blob {blob} cannot be read: {error.strerror}", hint="pull it again", value=blob)
    if isinstance(error, OSError) and error.errno in _ARCHIVE_AT_FAULT:
        name = error.filename or ""
        return malformed(f"{error.strerror} at {os.fsdecode(name)!r}", name)
    if isinstance(error, (VitrineError, OSError)):
        return error
    return RuntimeError(f"{type(error).__name__} while unpacking a layer: {error}")


class _Watch:
    """Counts what goes through: tells progress, keeps room on the disk, notices when nobody waits any more."""

    def __init__(self, root: str, blob: str, tell: Callable[[str, Any], None], parent: int) -> None:
        self._root = root
        self._tell = tell
        self._parent = parent
        self._total = os.stat(blob).st_size
        self._told = self._checked = 0

    def through(self, chunks: Iterator[bytes], fd: int) -> Iterator[bytes]:
        """Pass the plain chunks of the open blob on."""
        made = 0
        for chunk in chunks:
            yield chunk
            made += len(chunk)
            if os.getppid() != self._parent:
                os._exit(1)
            taken = os.lseek(fd, 0, os.SEEK_CUR)
            if taken - self._told >= TELL_EVERY:
                self._told = taken
                self._tell("progress", (taken, self._total))
            if made - self._checked >= CHECK_EVERY:
                self._checked = made
                room = os.statvfs(self._root)
                if room.f_bavail * room.f_frsize < RESERVE:
                    raise OSError(FULL[0], os.strerror(FULL[0]), self._root)


def _unpack(staging: Staging, blob: str, compression: str, diff_id: str, layout: str, watch: _Watch) -> dict[str, Any]:
    from .read import Reader
    from .unpack import Unpacker

    fd = os.open(blob, os.O_RDONLY | os.O_CLOEXEC)
    tree = staging.open_tree()
    spare = -1
    try:
        os.mkdir("links", 0o700, dir_fd=staging.lock)
        spare = os.open("links", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=staging.lock)
        source = stream.Hashed(stream.chunks(fd, compression))
        unpacker = Unpacker(tree, layout, spare)
        try:
            reader = Reader(watch.through(iter(source), fd))
            unpacker.apply(reader)
            reader.drain()
        finally:
            unpacker.close()
            source.close()
        stream.check_diff_id(source.digest, diff_id)
    finally:
        for one in (fd, tree, spare):
            if one >= 0:
                os.close(one)
    return {"path": staging.path, "implied": sorted(unpacker.implied), "size": unpacker.size}
