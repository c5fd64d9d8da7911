# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""start, stop, restart, kill, rm, rename, pause, unpause."""

from __future__ import annotations

import sys

from ..errors import Conflict, ContainerNotFound, InvalidInput, VitrineError
from .flags import Command, Options, option, switch
from .messages import complain
from .terminals import DETACH_KEYS, SIG_PROXY, session, start_attached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine import Engine

_MANY = "CONTAINER [CONTAINER...]"
_AT_A_TIME = 50  # as many containers are stopped or removed at once
_TIME = option("time", "t", value="SECONDS", help="Seconds to wait before killing the container")

COMMANDS = {
    "start": Command(
        "start", "Start stopped containers", "start", _MANY, 1, -1, complete="container",
        flags=(
            switch("attach", "a", help="Attach to the container's output and forward signals"),
            switch("interactive", "i", help="Attach standard input too"),
            DETACH_KEYS,
            SIG_PROXY,
        ),
    ),
    "stop": Command("stop", "Stop running containers", "stop", _MANY, 1, -1, (_TIME,), complete="container"),
    "restart": Command("restart", "Restart containers", "restart", _MANY, 1, -1, (_TIME,), complete="container"),
    "kill": Command(
        "kill", "Send a signal to running containers (KILL, if none is named)", "kill", _MANY, 1, -1,
        complete="container", flags=(option("signal", "s", value="SIGNAL", help="The signal to send"),),
    ),
    "rm": Command(
        "rm", "Remove containers", "remove", _MANY, 1, -1, complete="container",
        flags=(
            switch("force", "f", help="Kill a running container first; a missing one is no error"),
            switch("volumes", "v", help="Remove its anonymous volumes too"),
        ),
    ),
    "rename": Command(
        "rename", "Give a container another name", "rename", "CONTAINER NAME", 2, 2, complete="container"
    ),
    "pause": Command("pause", "Suspend all processes of containers", "pause", _MANY, 1, -1, complete="container"),
    "unpause": Command("unpause", "Resume all processes of containers", "unpause", _MANY, 1, -1, complete="container"),
}  # fmt: skip


def each(names: list[str], work: Callable[[str], object]) -> int:
    """Do one thing to several objects: an error with one does not keep it from the others. Returns the exit code.

    Prints what work returns, if that is a text, else the name.
    """
    code = 0
    for name in names:
        try:
            done = work(name)
        except VitrineError as error:
            complain(error)
            code = 1
        else:
            sys.stdout.write(done if isinstance(done, str) else f"{name}\n")
    return code


def together(engine: Engine, names: list[str], work: Callable[[str], object]) -> int:
    """As each() does, but for many objects at a time: ending takes as long as the slowest of them needs.

    What is printed comes in the order of names.
    """
    if len(names) < 2:
        return each(names, work)
    import threading

    _ = engine.store  # opened, and what is left of others put right, before there are threads
    names = list(dict.fromkeys(names))
    outcome: dict[str, Callable[[], object]] = {}
    ready = {name: threading.Event() for name in names}
    waiting = iter(names)
    taking = threading.Lock()

    def serve() -> None:
        while True:
            with taking:
                name = next(waiting, None)
            if name is None:
                return
            try:
                done = work(name)
                outcome[name] = lambda done=done: done  # type: ignore[misc]
            except BaseException as error:  # noqa: BLE001 - raised again where it is told
                outcome[name] = lambda error=error: _raise(error)  # type: ignore[misc]
            ready[name].set()

    for _number in range(min(_AT_A_TIME, len(names))):
        threading.Thread(target=serve, daemon=True).start()

    def result(name: str) -> object:
        ready[name].wait()
        return outcome[name]()

    return each(names, result)


def _raise(error: BaseException) -> None:
    raise error


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"--time is {text!r}", hint="write whole seconds", value=text) from None


def start(engine: Engine, options: Options, names: list[str]) -> int:
    """vitrine start"""
    if not (options.attach or options.interactive):
        return each(names, lambda name: engine.containers.start(name))
    if len(names) > 1:
        raise InvalidInput("only one container can be attached to", hint="name one container", value=names)
    return start_attached(engine, names[0], stdin=options.interactive, **session(options))


def stop(engine: Engine, options: Options, names: list[str]) -> int:
    """vitrine stop"""
    timeout = _seconds(options.time)
    return together(engine, names, lambda name: engine.containers.stop(name, timeout=timeout))


def restart(engine: Engine, options: Options, names: list[str]) -> int:
    """vitrine restart"""
    timeout = _seconds(options.time)
    return each(names, lambda name: engine.containers.restart(name, timeout=timeout))


def kill(engine: Engine, options: Options, names: list[str]) -> int:
    """vitrine kill"""
    from ..engine import parse

    signum = parse.signal(options.signal or "KILL")
    return each(names, lambda name: engine.containers.kill(name, signum))


def remove(engine: Engine, options: Options, names: list[str]) -> int:
    """vitrine rm"""

    def work(name: str) -> None:
        try:
            engine.containers.remove(name, force=options.force, volumes=options.volumes)
        except ContainerNotFound:
            if not options.force:
                raise

    return together(engine, names, work)


def rename(engine: Engine, _options: Options, names: list[str]) -> int:
    """vitrine rename"""
    engine.containers.rename(*names)
    return 0


def _changed(changed: bool, name: str, state: str, hint: str) -> None:
    if not changed:
        raise Conflict(f"container {name!r} is {state}", hint=hint and f"{hint}: vitrine unpause {name}", value=name)


def pause(engine: Engine, _options: Options, names: list[str]) -> int:
    """vitrine pause"""
    return each(names, lambda name: _changed(engine.containers.pause(name), name, "paused already", "unpause it"))


def unpause(engine: Engine, _options: Options, names: list[str]) -> int:
    """vitrine unpause"""
    return each(names, lambda name: _changed(engine.containers.pause(name, resume=True), name, "not paused", ""))
