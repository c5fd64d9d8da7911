# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for several containers at a time, until each is what was asked for."""

from __future__ import annotations

from ..errors import ContainerNotFound, VitrineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .core import Engine

CONDITIONS = ("stopped", "running", "healthy", "unhealthy", "removed")
_LOOK_SECONDS = 0.5  # should what was waited for be written after the event that tells of it


def wait_all(engine: Engine, names: list[str], condition: str) -> Iterator[str | VitrineError]:
    """Wait for all of them; gives, in their order, what is to be told of each: an exit code, "", or an error.

    All are watched from the beginning: one that ends and is removed before its turn has been seen.
    """
    import threading

    _ = engine.store  # opened before there are threads
    results: dict[int, str | VitrineError | BaseException] = {}

    def work(number: int, container_id: str) -> None:
        try:
            results[number] = _wait(engine, container_id, condition)
        except BaseException as error:  # noqa: BLE001 - raised again where it is told
            results[number] = error

    threads: list[threading.Thread | None] = []
    for number, name in enumerate(names):
        try:
            container_id = engine.containers.record(name).id
        except VitrineError as error:
            results[number] = "" if condition == "removed" and isinstance(error, ContainerNotFound) else error
            threads.append(None)
            continue
        threads.append(threading.Thread(target=work, args=(number, container_id), daemon=True))
        threads[-1].start()  # type: ignore[union-attr]
    for number, thread in enumerate(threads):
        if thread is not None:
            thread.join()
        outcome = results[number]
        if isinstance(outcome, BaseException) and not isinstance(outcome, VitrineError):
            raise outcome
        yield outcome


def _wait(engine: Engine, container_id: str, condition: str) -> str:
    if condition == "stopped":
        code = engine.containers.wait(container_id)
        return "unknown" if code is None else str(code)
    if condition in ("healthy", "unhealthy"):
        from . import health

        health.wait(engine, container_id, (condition,))
        return ""
    from ..supervise import journal
    from .watching import Watch

    with Watch(engine.settings.root, journal.FILE) as watch:
        while not _so(engine, container_id, condition):
            watch.wait(_LOOK_SECONDS)
    return ""


def _so(engine: Engine, container_id: str, condition: str) -> bool:
    try:
        engine.containers.record(container_id)
    except ContainerNotFound:
        if condition == "removed":
            return True
        raise
    return condition == "running" and engine.containers.observe(container_id)["status"] == "running"
