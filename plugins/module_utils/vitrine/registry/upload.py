# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs and manifests: from the store to a registry (distribution spec, "Push"), nothing sent that is there already."""

from __future__ import annotations

import os

from ..errors import RegistryError, RegistryUnreachable
from .transport import Origin, finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ..oci.descriptor import Descriptor
    from .session import Session
    from .workers import Report

# Each piece must be sent within the transport's timeout: not larger, for the sake of slow lines.
CHUNK = 256 << 10
# For registries behind a proxy that limits the size of a request: they answer 413 to a whole blob.
PIECE = 16 << 20
ATTEMPTS = 3
UPLOADED, MOUNTED, PRESENT = "Pushed", "Mounted", "Layer already exists"


def push_scope(session: Session, repository: str, source: str = "") -> tuple[str, ...]:
    """Return what a token must allow to write a repository, and to mount blobs from another one."""
    own = f"repository:{session.repository(repository)}:pull,push"
    return (own, f"repository:{source}:pull") if source else (own,)


class Body:
    """A part of an open file as the body of a request, read in large pieces; told of each piece as it is sent.

    The HTTP libraries ask for 8 or 16 KiB at a time; a body may give more than it is asked for.
    """

    def __init__(self, fd: int, start: int, length: int, sent: Callable[[int], object]) -> None:
        self._fd = fd
        self._position = start
        self._end = start + length
        self._length = length
        self._sent = sent

    def __len__(self) -> int:
        return self._length

    def __bool__(self) -> bool:
        return True

    def read(self, _size: int = -1) -> bytes:
        """Return the next piece, empty at the end."""
        self._sent(self._position)
        data = os.pread(self._fd, min(CHUNK, self._end - self._position), self._position)
        self._position += len(data)
        return data

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.read, b"")


def push_blob(
    session: Session, repository: str, descriptor: Descriptor, blobs: Any, sources: list[str], report: Report
) -> str:
    """Make sure that the repository has the blob; returns UPLOADED, MOUNTED or PRESENT.

    sources: repositories of the same registry that may have it. Raises RegistryError, NotFound (not in the store).
    """
    scope = push_scope(session, repository)
    path = f"/v2/{session.repository(repository)}/blobs/"
    report.state("Preparing", 0)
    answer = session.open("HEAD", path + descriptor.digest, scopes=scope, accept=(200, 404))
    finish(answer)
    if answer.status_code == 200:
        report.state(PRESENT)
        return PRESENT
    for source in sources:
        if _mount(session, repository, descriptor, source):
            report.state(MOUNTED)
            return MOUNTED
    fd = blobs.open(descriptor.digest)
    try:
        _Upload(session, path, scope, descriptor, fd, report).run()
    finally:
        os.close(fd)
    report.state(UPLOADED)
    return UPLOADED


def _mount(session: Session, repository: str, descriptor: Descriptor, source: str) -> bool:
    """Ask the registry to take the blob from another of its repositories; tells whether it did.

    A registry that cannot opens an upload instead (202); it is left to expire. A token for both repositories may be
    refused where one for ours is not: then the blob is sent.
    """
    from urllib.parse import urlencode

    query = urlencode({"mount": descriptor.digest, "from": source})
    path = f"/v2/{session.repository(repository)}/blobs/uploads/?{query}"
    try:
        answer = session.open(
            "POST", path, scopes=push_scope(session, repository, source), body=b"", accept=(201, 202), repeat=False
        )
    except RegistryError:
        return False
    finish(answer)
    return bool(answer.status_code == 201)


def _may_pass(error: RegistryError) -> bool:
    """Tell whether the same upload may succeed at another time: not what the registry has understood and refused."""
    if isinstance(error, RegistryUnreachable):
        return True
    # 404: the registry has forgotten the upload that it had begun.
    return isinstance(error.value, int) and (error.value >= 500 or error.value == 404)


class _Upload:
    """One blob to one repository: at once, or in pieces where the registry takes no more."""

    def __init__(
        self,
        session: Session,
        path: str,
        scope: tuple[str, ...],
        descriptor: Descriptor,
        fd: int,
        report: Report,
    ) -> None:
        self.session = session
        self.path = path
        self.scope = scope
        self.descriptor = descriptor
        self.fd = fd
        self.report = report

    def run(self) -> None:
        """Send it, several times if connections break. Raises RegistryError."""
        send = self._at_once
        attempt = 0
        while True:
            attempt += 1
            try:
                status = send(self._begin())
            except RegistryError as error:
                wait = self.session.transport.policy.delay(attempt) if attempt < ATTEMPTS else None
                if wait is None or not _may_pass(error):
                    raise
                self.report.state("Retrying", 0)
                self.session.transport.sleep(wait)
                continue
            if status == 201:
                return
            send = self._in_pieces

    def _begin(self) -> str:
        answer = self._open("POST", self.path + "uploads/", b"", (202,))
        return self._next(answer)

    def _at_once(self, location: str) -> int:
        """Send the blob with one request; returns 201, or 413: it is too large for one."""
        size = self.descriptor.size
        answer = self._open("PUT", self._final(location), self._body(0, size) if size else b"", (201, 413))
        finish(answer)
        return int(answer.status_code)

    def _in_pieces(self, location: str) -> int:
        size, position = self.descriptor.size, 0
        while position < size:
            length = min(PIECE, size - position)
            span = {"Content-Range": f"{position}-{position + length - 1}"}
            location = self._next(self._open("PATCH", location, self._body(position, length), (202,), span))
            position += length
        finish(self._open("PUT", self._final(location), b"", (201,)))
        return 201

    def _body(self, start: int, length: int) -> Callable[[], Body]:
        return lambda: Body(self.fd, start, length, lambda position: self.report.moved("Pushing", position))

    def _open(
        self,
        method: str,
        target: str,
        body: bytes | Callable[[], Body],
        accept: tuple[int, ...],
        headers: dict[str, str] | None = None,
    ) -> Any:
        headers = {"Content-Type": "application/octet-stream", **(headers or {})}
        return self.session.open(
            method, target, scopes=self.scope, headers=headers, body=body, accept=accept, repeat=False
        )

    def _next(self, answer: Any) -> str:
        finish(answer)
        location = self.session.resolve(answer.headers.get("Location"), answer.url)
        Origin.of(location)
        return location

    def _final(self, location: str) -> str:
        from urllib.parse import urlencode

        return location + ("&" if "?" in location else "?") + urlencode({"digest": self.descriptor.digest})
