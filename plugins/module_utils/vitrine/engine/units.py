# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd units for containers, for who wants one for each instead of a restart policy (systemd.service(5)).

The unit's main process is the command that is attached to the container: its output goes to the journal, its exit
code is the container's, and systemd's own Restart= decides. The container itself lives in the engine's scope.
"""

from __future__ import annotations

from ..errors import InvalidInput
from .flagged import words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .core import Engine
    from .spec import ContainerSpec

RESTARTS = ("no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always")
DEFAULT_PROGRAM = "/usr/local/bin/vitrine"  # where the role "engine" installs it
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "%": "%%", "$": "$$"}
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./:=,@+")
_MORE_SECONDS = 60  # what a stop may take beyond the container's own time: its record, its network


def quoted(words: Sequence[str]) -> str:
    """A command line as ExecStart= reads it back: quotes, specifiers and variables mean themselves."""
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    if word and _PLAIN.issuperset(word):
        return word
    text = "".join(_ESCAPES.get(char) or (char if char.isprintable() else _bytes(char)) for char in word)
    return f'"{text}"'


def _bytes(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode("utf-8", "surrogateescape"))


def unit_name(container: str) -> str:
    """The name of a container's unit."""
    return f"container-{container}.service"


def unit(
    name: str,
    spec: ContainerSpec,
    *,
    program: Sequence[str],
    folders: Sequence[str],
    needs: Sequence[str] = (),
    new: bool = False,
    restart: str = "on-failure",
    stop_seconds: int = 10,
) -> str:
    """The text of a container's unit.

    program: the words of the engine's command. folders: of the engine. needs: names of the containers that must run
    before it, each with a unit of its own. new: make a new container at each start, remove it at each stop, rather
    than start and stop the one that is there. Raises InvalidInput for a policy that systemd does not know, and for
    what a new container cannot be given by flags.
    """
    if restart not in RESTARTS:
        raise InvalidInput(
            f"systemd has no restart policy {restart!r}", hint=f"use one of {', '.join(RESTARTS)}", value=restart
        )
    needed = " ".join(unit_name(other) for other in needs)
    lines = [
        "[Unit]",
        f"Description=Container {name}",
        "Documentation=https://github.com/vitrine-containers/vitrine.engine",
        "Wants=network-online.target",
        # what is named here is there longer than the container when the host goes down
        f"After=network-online.target vitrine.slice vitrine-boot.service {needed}".rstrip(),
        *([f"Requires={needed}"] if needed else []),
        f"RequiresMountsFor={' '.join(map(_quoted, folders))}",
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"Restart={restart}",
        "TimeoutStartSec=infinity",
        f"TimeoutStopSec={stop_seconds + _MORE_SECONDS}",
        # a container that was asked to stop usually ends by that signal
        "SuccessExitStatus=143",
        "KillMode=mixed",
    ]
    stop = quoted([*program, "stop", "--time", str(stop_seconds), name])
    if new:
        words = words_of(spec.replace(name=name, restart_policy="no", restart_retries=0, auto_remove=True))
        lines += [
            f"ExecStartPre={quoted([*program, 'rm', '--force', name])}",
            f"ExecStart={quoted([*program, 'run', *words])}",
            f"ExecStop=-{stop}",
            f"ExecStopPost={quoted([*program, 'rm', '--force', name])}",
        ]
    else:
        lines += [f"ExecStart={quoted([*program, 'start', '--attach', name])}", f"ExecStop={stop}"]
    return "\n".join([*lines, "", "[Install]", "WantedBy=multi-user.target", ""])


def of_container(
    engine: Engine,
    container: str,
    *,
    by_name: bool = False,
    new: bool = False,
    restart: str = "on-failure",
    stop_seconds: int | None = None,
) -> tuple[str, str]:
    """(file name, text) of a container's unit; see unit(). stop_seconds: None is what the container says.

    Raises InvalidInput for a container that its restart policy or --rm makes somebody else's business.
    """
    from .booting import needed
    from .containers import DEFAULT_STOP_TIMEOUT
    from .spec import ContainerSpec

    record = engine.store.containers.get(container)
    spec = ContainerSpec.from_json(record.spec)
    if spec.restart_policy != "no" and not new:
        raise InvalidInput(
            f"container {record.name!r} has the restart policy {spec.restart_policy!r}: two would start it",
            hint=f"take it away: vitrine update --restart no {record.name}; or use --new",
            value=spec.restart_policy,
        )
    if spec.auto_remove and not new:
        raise InvalidInput(
            f"container {record.name!r} is removed when it stops: it cannot be started again",
            hint="use --new",
            value=record.name,
        )
    others = [engine.store.containers.get(other) for other in sorted(needed(engine, spec))]
    name = record.name if by_name or new else record.id
    if stop_seconds is None:
        stop_seconds = DEFAULT_STOP_TIMEOUT if spec.stop_timeout is None else max(0, spec.stop_timeout)
    text = unit(
        name,
        spec.replace(interactive=False),  # there is nobody to type
        program=_program(engine),
        folders=(engine.settings.root,),
        needs=[other.name if by_name or new else other.id for other in others],
        new=new,
        restart=restart,
        stop_seconds=stop_seconds,
    )
    return unit_name(name), text


def _program(engine: Engine) -> list[str]:
    """The words that start the engine's command on this host, on this root."""
    import shutil

    words = [shutil.which("vitrine") or DEFAULT_PROGRAM]
    if engine.settings.instance:
        words += ["--root", engine.settings.root, "--run-root", engine.settings.run_root]
    return words
