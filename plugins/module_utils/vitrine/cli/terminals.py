# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""exec and attach, and what run and start share with them: this terminal joined to a container."""

from __future__ import annotations

import os

from ..errors import ContainerNotFound, InvalidInput, StartFailed
from .flags import Command, Options, option, switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..engine import Engine

DETACH_KEYS = option("detach-keys", value="KEYS", help="Keys that detach, such as ctrl-p,ctrl-q")
SIG_PROXY = switch(
    "sig-proxy", help="Pass signals on to the container if it has no terminal (=false: do not)", default=True
)

COMMANDS = {
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
        (switch("no-stdin", help="Do not attach standard input"), DETACH_KEYS, SIG_PROXY), complete="container",
    ),
}  # fmt: skip


def need_terminal(tty: bool, interactive: bool) -> None:
    """Refuse a terminal for the container where there is none here, as docker does. Raises InvalidInput."""
    if tty and interactive and not os.isatty(0):
        raise InvalidInput("the input device is not a TTY", hint="leave out --tty (-t), or use a terminal", value="-t")


def _tell_ready() -> None:
    """Where systemd started this command as a service, the container runs now."""
    if "NOTIFY_SOCKET" in os.environ:
        from .hosting import tell_ready

        tell_ready()


def session(options: Options) -> dict[str, Any]:
    """What sessions.pump wants to know, of flags that were given. Raises InvalidInput for keys that are none."""
    if options.detach_keys is not None:
        from ..engine import parse

        parse.detach_keys(options.detach_keys)
    return {"detach_keys": options.detach_keys, "sig_proxy": options.sig_proxy}


def start_attached(engine: Engine, name: str, **how: Any) -> int:
    """Start a container with this terminal attached; returns its exit code, 0 after detaching."""
    launched = engine.containers.start(name, attach=True)
    if launched is None:
        return _attached(engine, name, **how)
    return finish_attached(engine, name, launched.attach_fd, **how)


def finish_attached(engine: Engine, name: str, fd: int, *, remove: bool = False, **how: Any) -> int:
    """Serve an attached container to its end, and remove it then if wanted; returns its exit code, 0 if detached."""
    _tell_ready()
    code = engine.containers.pump(name, fd, **how)
    if code is None:
        return 0
    if remove:
        try:
            engine.containers.remove(name, force=True, volumes=True)
        except ContainerNotFound:
            pass  # the monitor's own clean-up came first
    return code


def _attached(engine: Engine, name: str, **how: Any) -> int:
    _tell_ready()
    code = engine.containers.attach(name, **how)
    return code or 0


def attach(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine attach"""
    return _attached(engine, operands[0], stdin=not options.no_stdin, **session(options))


def execute(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine exec"""
    if not options.detach:
        need_terminal(options.tty, options.interactive)
    environment: list[str] = []
    if options.env or options.env_file:
        from ..engine import parse

        environment = [word for path in options.env_file for word in parse.env_file(path)] + parse.env(options.env)
    try:
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
    except StartFailed as error:
        if error.exit_code == StartFailed.exit_code:
            error.exit_code = 126  # docker's, for an exec that did not come to its command
        raise
