# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""run and create."""

from __future__ import annotations

import sys

from ..errors import InvalidInput, VitrineError
from .container_flags import CONTAINER_FLAGS, container_spec
from .flags import Command, Options, option, switch
from .terminals import DETACH_KEYS, need_terminal, remove_quietly, start_attached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..engine import Engine

COMMANDS = {
    "run": Command(
        "run", "Create a container from an image and start it", "run", "IMAGE [COMMAND] [ARG...]", 1, -1,
        (
            *CONTAINER_FLAGS,
            switch("detach", "d", help="Leave it running in the background and print its id"),
            option("attach", "a", value="STREAM", many=True, help="Attach to stdin, stdout or stderr"),
            option("cidfile", value="FILE", help="Write the container's id to a file"),
            DETACH_KEYS,
            switch("sig-proxy", help="Forward signals to the container (always done)"),
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


def _create(engine: Engine, options: Options, operands: list[str]) -> str:
    spec = container_spec(options, operands[0], operands[1:])
    try:
        return engine.containers.create(
            spec, pull=options.pull or "missing", platform=options.platform, progress=_progress(options)
        )
    except VitrineError as error:
        # docker's rule: whatever keeps a container from being made ends in 125
        error.exit_code = 125
        raise


def create(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine create"""
    sys.stdout.write(_create(engine, options, operands) + "\n")
    return 0


def run(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine run"""
    if not options.detach:
        need_terminal(options.tty, options.interactive)
    container_id = _create(engine, options, operands)
    if options.cidfile:
        try:
            with open(options.cidfile, "x", encoding="ascii") as file:
                file.write(container_id)
        except OSError as error:
            engine.containers.remove(container_id, volumes=True)
            raise InvalidInput(
                f"cannot write the container's id to {options.cidfile!r}: {error.strerror}",
                hint="name a file that does not exist yet",
                value=options.cidfile,
            ) from None
    try:
        if options.detach:
            engine.containers.start(container_id)
            sys.stdout.write(container_id + "\n")
            return 0
        return start_attached(
            engine, container_id, stdin=options.interactive, detach_keys=options.detach_keys, remove=options.rm
        )
    except VitrineError as error:
        if error.exit_code == 1:
            error.exit_code = 125
        if options.rm:
            remove_quietly(engine, container_id)
        raise
