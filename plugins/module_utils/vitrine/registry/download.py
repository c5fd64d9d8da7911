# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs: from a registry into the store, resumed where an earlier attempt ended, verified while they stream."""

from __future__ import annotations

import time

from ..errors import ContentMismatch, ImageNotFound, RegistryError
from ..oci import digest as digests
from .transport import Origin, finish, read_failures, unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..oci.descriptor import Descriptor
    from .session import Session
    from .workers import Report

# A read waits until it has all that it asked for. So what is asked for follows the speed: much at once from a fast
# server, little from a slow one, of which otherwise nothing would show and all would be lost when it breaks.
SMALLEST, LARGEST = 16 << 10, 1 << 20
FAST, SLOW = 0.05, 0.5  # seconds for one read


def blob_path(session: Session, repository: str, digest: str) -> str:
    """Return the API path of a blob."""
    return f"/v2/{session.repository(repository)}/blobs/{digest}"


def pull_scope(session: Session, repository: str) -> tuple[str, ...]:
    """Return what a token must allow to read a repository."""
    return (f"repository:{session.repository(repository)}:pull",)


def fetch_small(session: Session, repository: str, descriptor: Descriptor, limit: int) -> bytes:
    """Return a small blob's content, verified. Raises ContentMismatch, RegistryError."""
    if descriptor.size > limit:
        raise ContentMismatch(
            f"blob {descriptor.digest} has {descriptor.size} bytes; the limit is {limit}", value=descriptor.digest
        )
    path = blob_path(session, repository, descriptor.digest)
    answer = session.open("GET", path, scopes=pull_scope(session, repository), accept=(200, 404))
    if answer.status_code == 404:
        finish(answer)
        raise missing(session, repository, descriptor.digest)
    data = session.read(answer, descriptor.size, f"blob {descriptor.digest}")
    if len(data) != descriptor.size or not digests.matches(data, descriptor.digest):
        raise ContentMismatch(
            f"blob {descriptor.digest} from {session.endpoint.host} has other content",
            hint="the registry or something on the way to it is broken; try again, or another mirror",
            value=descriptor.digest,
        )
    return data


def missing(session: Session, repository: str, digest: str) -> ImageNotFound:
    """Return the error for a blob that its manifest names, but the registry lacks."""
    return ImageNotFound(
        f"the registry {session.endpoint.host} has lost blob {digest} of {repository}",
        hint="push the image there again",
        value=digest,
    )


def fetch_blob(sessions: list[Session], repository: str, descriptor: Descriptor, blobs: Any, report: Report) -> str:
    """Download a blob into the store from the first of the sessions (mirrors, origin) that gives it.

    Returns the name of the registry that had it. What came before a failure stays in the store for the next attempt.
    Raises ContentMismatch, RegistryError, DiskFull, Stopped.
    """
    for session in sessions:
        try:
            _fetch_from(session, repository, descriptor, blobs, report)
            return session.endpoint.registry
        except (RegistryError, ImageNotFound):
            if session is sessions[-1]:
                raise
    raise missing(sessions[-1], repository, descriptor.digest)


def _fetch_from(session: Session, repository: str, descriptor: Descriptor, blobs: Any, report: Report) -> None:
    while True:
        writer = blobs.writer(descriptor.digest, descriptor.size)
        resumed = writer.offset > 0
        download = _Download(session, repository, descriptor, writer, report)
        try:
            download.run()
            return
        except ContentMismatch:
            # What an earlier process left may be what is wrong: commit() has removed it, so begin again, once.
            if not (resumed and download.whole):
                raise
        finally:
            writer.keep()


class _Download:
    """One blob from one server, in as many attempts as the policy allows; those that got further do not count.

    whole: whether all bytes had come, and only their verification failed.
    """

    def __init__(self, session: Session, repository: str, descriptor: Descriptor, writer: Any, report: Report) -> None:
        self.session = session
        self.repository = repository
        self.descriptor = descriptor
        self.writer = writer
        self.report = report
        self.whole = False

    def run(self) -> None:
        """Fetch and commit. Raises ContentMismatch, RegistryError, DiskFull, Stopped."""
        writer, size = self.writer, self.descriptor.size
        if writer.offset > size or (writer.complete and writer.offset != size):
            raise self._too_long(writer.offset)
        transport = self.session.transport
        attempt = 0
        furthest = writer.offset
        while writer.offset < size:
            broken = self._attempt()
            if broken is None:
                break
            # who begins again and again comes no further
            attempt = 1 if writer.offset > furthest else attempt + 1
            furthest = max(furthest, writer.offset)
            wait = transport.policy.delay(attempt)
            if wait is None:
                raise broken
            self.report.state("Retrying", writer.offset)
            transport.sleep(wait)
        self.whole = True
        self.report.state("Verifying Checksum")
        writer.commit()

    def _attempt(self) -> RegistryError | None:
        """Ask for what is missing and write what comes; returns why it ended early, or None."""
        writer, size = self.writer, self.descriptor.size
        headers = {"Range": f"bytes={writer.offset}-{size - 1}"} if writer.offset else {}
        path = blob_path(self.session, self.repository, self.descriptor.digest)
        answer = self.session.open(
            "GET",
            path,
            scopes=pull_scope(self.session, self.repository),
            headers=headers,
            accept=(200, 206, 404, 416),
        )
        try:
            if answer.status_code == 404:
                raise missing(self.session, self.repository, self.descriptor.digest)
            if answer.status_code == 416 or (answer.status_code == 206 and not self._continues(answer)):
                writer.restart()
                return self._short()
            if answer.status_code == 200 and writer.offset:
                writer.restart()
            length = answer.headers.get("Content-Length", "")
            if length.isdigit() and int(length) > size - writer.offset:
                raise self._too_long(int(length))
            self._copy(answer)
        except read_failures() as error:
            return unreachable(Origin.of(answer.url), error)
        finally:
            answer.close()
        return None if writer.offset == size else self._short()

    def _copy(self, answer: Any) -> None:
        writer, size, report = self.writer, self.descriptor.size, self.report
        read, clock = answer.raw.read, time.monotonic
        wanted, before = 4 * SMALLEST, clock()
        while writer.offset < size:
            data = read(min(wanted, size - writer.offset))
            if not data:
                return
            writer.write(data)
            report.moved("Downloading", writer.offset)
            now = clock()
            if now - before < FAST:
                wanted = min(wanted * 2, LARGEST)
            elif now - before > SLOW:
                wanted = max(wanted // 2, SMALLEST)
            before = now
        if "Content-Length" not in answer.headers and read(1):
            raise self._too_long(size + 1)

    def _continues(self, answer: Any) -> bool:
        """Tell whether a partial answer begins where we stopped (RFC 9110 14.4)."""
        unit, _space, span = answer.headers.get("Content-Range", "").strip().partition(" ")
        return unit == "bytes" and span.partition("-")[0] == str(self.writer.offset)

    def _short(self) -> RegistryError:
        return ContentMismatch(
            f"blob {self.descriptor.digest} from {self.session.endpoint.host} ended after {self.writer.offset} of "
            f"{self.descriptor.size} bytes",
            hint="run the command again: it goes on from there",
            value=self.descriptor.digest,
        )

    def _too_long(self, length: int) -> RegistryError:
        return ContentMismatch(
            f"blob {self.descriptor.digest} from {self.session.endpoint.host} has {length} bytes or more, and not the "
            f"{self.descriptor.size} of its descriptor",
            hint="the registry or something on the way to it is broken; try again, or another mirror",
            value=self.descriptor.digest,
        )
