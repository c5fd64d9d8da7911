# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""run and create."""

from __future__ import annotations

import os
import sys

from ..errors import CommandNotFound, InvalidInput, VitrineError
from .container_flags import CONTAINER_FLAGS, container_spec
from .flags import Command, Options, option, switch
from .terminals import DETACH_KEYS, SIG_PROXY, finish_attached, need_terminal, session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..engine import Engine
    from ..engine.spec import ContainerSpec

STREAMS = ("stdin", "stdout", "stderr")
COMMANDS = {
    "run": Command(
        "run", "Create a container from an image and start it", "run", "IMAGE [COMMAND] [ARG...]", 1, -1,
        (
            *CONTAINER_FLAGS,
            switch("detach", "d", help="Leave it running in the background and print its id"),
            option("attach", "a", value="STREAM", many=True, help="Attach to stdin, stdout or stderr"),
            option("cidfile", value="FILE", help="Write the container's id to a file"),
            DETACH_KEYS,
            SIG_PROXY,
        ),
        options_first=True, complete="image",
    ),
    "create": Command(
        "create", "Create a container from an image without starting it", "create", "IMAGE [COMMAND] [ARG...]", 1, -1,
        CONTAINER_FLAGS, options_first=True, complete="image",
    ),
}  # fmt: skip


def _progress(options: Options) -> Any:
    from .progress import reporter

    return reporter(quiet=options.quiet)


def _spec_and_how(options: Options, operands: list[str]) -> tuple[ContainerSpec, dict[str, Any]]:
    how = {"pull": options.pull or "missing", "platform": options.platform, "progress": _progress(options)}
    return container_spec(options, operands[0], operands[1:]), how


class _DockersCode:
    """docker's rule, for a with statement: whatever keeps a container from being made or started ends in 125."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, VitrineError) and error.exit_code == 1:
            error.exit_code = 125


def create(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine create"""
    with _DockersCode():
        spec, how = _spec_and_how(options, operands)
        sys.stdout.write(engine.containers.create(spec, **how) + "\n")
    return 0


def run(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine run"""
    with _DockersCode():
        if not options.detach:
            need_terminal(options.tty, options.interactive)
        how_attached = {**session(options), **_streams(options)}
        if options.cidfile and os.path.exists(options.cidfile):
            raise _no_id_file(options.cidfile, "File exists")
        spec, how = _spec_and_how(options, operands)
        note = (lambda container_id: _write_id(options.cidfile, container_id)) if options.cidfile else None
        try:
            container_id, launched = engine.containers.run(spec, attach=not options.detach, on_created=note, **how)
        except CommandNotFound as error:
            if operands[1:] and operands[1].startswith("-") and not options.entrypoint:
                error.hint = f"flags of 'run' stand before the image: vitrine run {operands[1]} ... {operands[0]}"
            raise
    if options.detach:
        sys.stdout.write(container_id + "\n")
        return 0
    return finish_attached(
        engine,
        container_id,
        launched.attach_fd,
        remove=options.rm,
        **how_attached,
    )


def _streams(options: Options) -> dict[str, Any]:
    """Which streams -a joins to this terminal: all, if none is named. Raises InvalidInput."""
    wanted = {stream.lower() for stream in options.attach}
    unknown = sorted(wanted.difference(STREAMS))
    if unknown:
        raise InvalidInput(f"{unknown[0]!r} is no stream to attach", hint=f"use {', '.join(STREAMS)}", value=unknown[0])
    if wanted and options.detach:
        raise InvalidInput("--attach and --detach exclude each other", hint="leave one out", value="-a")
    if not wanted:
        return {"stdin": options.interactive}
    outputs = tuple(stream for stream in STREAMS[1:] if stream in wanted)
    return {"stdin": options.interactive and "stdin" in wanted, "outputs": outputs}


def _write_id(path: str, container_id: str) -> None:
    try:
        with open(path, "x", encoding="ascii") as file:
            file.write(container_id)
    except OSError as error:
        raise _no_id_file(path, error.strerror) from None


def _no_id_file(path: str, why: str | None) -> InvalidInput:
    return InvalidInput(
        f"cannot write the container's id to {path!r}: {why}",
        hint="name a file that does not exist yet, in a folder that does",
        value=path,
    )
