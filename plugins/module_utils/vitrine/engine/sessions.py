# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This process's standard streams joined to a container: attach, and the output of a start in the foreground."""

from __future__ import annotations

import os

from ..supervise import attach
from .paths import Paths
from .spec import ContainerSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .core import Engine


def pump(
    engine: Engine,
    name: str,
    fd: int,
    *,
    stdin: bool,
    detach_keys: str | None = None,
    sig_proxy: bool = True,
    outputs: tuple[str, ...] = ("stdout", "stderr"),
) -> int | None:
    """Serve a connection to a container's monitor until the container ends; returns its exit code.

    fd: Launched.attach_fd or attach.connect's; closed here. sig_proxy: pass signals on to a container without terminal.
    outputs: which of its streams to show. None is returned when the user detached: the container goes on.
    Raises supervise.attach.MonitorLost when nobody can tell the exit code.
    """
    spec = ContainerSpec.from_json(engine.containers.record(name).spec)
    nowhere = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    try:
        return attach.attach_terminal(
            fd,
            tty=spec.tty,
            stdin=stdin and spec.interactive,
            detach_keys=attach.DETACH_KEYS if detach_keys is None else detach_keys,
            sig_proxy=sig_proxy,
            stdout_fd=1 if "stdout" in outputs else nowhere,
            stderr_fd=2 if "stderr" in outputs else nowhere,
        )
    finally:
        os.close(fd)
        os.close(nowhere)


def attach_to(engine: Engine, name: str, *, stdin: bool, **how: Any) -> int | None:
    """Attach to a running container; like pump. Raises Conflict when it does not run."""
    record = engine.containers.record(name)
    engine.containers.running(record)
    fd = attach.connect(Paths(engine, record.id).run, stdin=stdin)
    return pump(engine, record.id, fd, stdin=stdin, **how)
