# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""run, create, exec, attach: the verbs that connect this terminal to a container."""

from __future__ import annotations

import os
import sys

from ..engine import parse
from ..errors import ContainerNotFound, InvalidInput, VitrineError
from .container_flags import CONTAINER_FLAGS, container_spec
from .flags import Command, Options, option, switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..engine import Engine

_DETACH_KEYS = option("detach-keys", value="KEYS", help="Keys that detach, such as ctrl-p,ctrl-q")

COMMANDS = {
    "run": Command(
        "run", "Create a container from an image and start it", "run", "IMAGE [COMMAND] [ARG...]", 1, -1,
        (
            *CONTAINER_FLAGS,
            switch("detach", "d", help="Leave it running in the background and print its id"),
            option("attach", "a", value="STREAM", many=True, help="Attach to stdin, stdout or stderr"),
            option("cidfile", value="FILE", help="Write the container's id to a file"),
            _DETACH_KEYS,
            switch("sig-proxy", help="Forward signals to the container (always done)"),
        ),
        options_first=True, complete="image",
    ),
    "create": Command(
        "create", "Create a container from an image without starting it", "create", "IMAGE [COMMAND] [ARG...]", 1, -1,
        CONTAINER_FLAGS, options_first=True, complete="image",
    ),
    "exec": Command(
        "exec", "Run a command in a running container", "execute", "CONTAINER COMMAND [ARG...]", 2, -1,
        (
            switch("detach", "d", help="Leave it running in the background"),
            option("env", "e", value="NAME=VALUE", many=True, help="Set an environment variable"),
            option("env-file", value="FILE", many=True, help="Read environment variables from a file"),
            switch("interactive", "i", help="Keep standard input open"),
            switch("privileged", help="Give the command all capabilities"),
            switch("tty", "t", help="Give it a terminal"),
            option("user", "u", value="USER[:GROUP]", help="User name or id"),
            option("workdir", "w", value="DIR", help="Working directory inside"),
        ),
        options_first=True, complete="container",
    ),
    "attach": Command(
        "attach", "Attach this terminal to a running container", "attach", "CONTAINER", 1, 1,
        (switch("no-stdin", help="Do not attach standard input"), _DETACH_KEYS), complete="container",
    ),
}  # fmt: skip


def _progress(options: Options) -> Any:
    from .progress import reporter

    return reporter(quiet=options.quiet)


def _need_terminal(tty: bool, interactive: bool) -> None:
    if tty and interactive and not os.isatty(0):
        raise InvalidInput("the input device is not a TTY", hint="leave out --tty (-t), or use a terminal", value="-t")


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
        _need_terminal(options.tty, options.interactive)
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
            _remove_quietly(engine, container_id)
        raise


def _remove_quietly(engine: Engine, container_id: str) -> None:
    try:
        engine.containers.remove(container_id, force=True, volumes=True)
    except ContainerNotFound:
        pass  # the monitor's own clean-up came first


def start_attached(
    engine: Engine, name: str, *, stdin: bool, detach_keys: str | None = None, remove: bool = False
) -> int:
    """Start a container with this terminal attached; returns its exit code (125 when nobody saw it)."""
    launched = engine.containers.start(name, attach=True)
    if launched is None:
        return _attached(engine, name, stdin=stdin, detach_keys=detach_keys)
    code = engine.containers.pump(name, launched.attach_fd, stdin=stdin, detach_keys=detach_keys)
    if code is None:
        return 0  # detached: the container goes on
    if remove:
        _remove_quietly(engine, name)
    return 125 if code < 0 else code


def _attached(engine: Engine, name: str, *, stdin: bool, detach_keys: str | None) -> int:
    code = engine.containers.attach(name, stdin=stdin, detach_keys=detach_keys)
    return 0 if code is None else (125 if code < 0 else code)


def attach(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine attach"""
    return _attached(engine, operands[0], stdin=not options.no_stdin, detach_keys=options.detach_keys)


def execute(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine exec"""
    if not options.detach:
        _need_terminal(options.tty, options.interactive)
    environment = [word for path in options.env_file for word in parse.env_file(path)] + parse.env(options.env)
    return engine.containers.exec(
        operands[0],
        operands[1:],
        env=environment,
        user=options.user,
        working_dir=options.workdir,
        tty=options.tty,
        stdin=options.interactive,
        privileged=options.privileged,
        detach=options.detach,
    )
