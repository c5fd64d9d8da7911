# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Health checks on the engine's side: which one a container has, how it is shown, and waiting for its answer.

A check is docker's object: {"Test": ["CMD-SHELL", "..."], "Interval", "Timeout", "StartPeriod", "StartInterval" (ns),
"Retries"}; what is absent or 0 comes from the image, and then from DEFAULTS. Who probes is supervise/health.py.
"""

from __future__ import annotations

import os
import time

from ..errors import Conflict, InvalidInput, VitrineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .core import Engine
    from .spec import ContainerSpec

DEFAULTS = {
    "Interval": 30 * 10**9,
    "Timeout": 30 * 10**9,
    "StartPeriod": 0,
    "StartInterval": 5 * 10**9,
    "Retries": 3,
}
STATUSES = ("starting", "healthy", "unhealthy")
ACTIONS = ("none", "kill", "restart", "stop")
_LEAST, _MOST = 10**6, 2**63 - 1  # ns
_SHELL = ("/bin/sh", "-c")
_GONE = ("created", "exited")
_LOOK_SECONDS = 1.0


class NotHealthy(VitrineError):
    """A container did not become what was waited for."""


def described(
    test: str | Sequence[str] | None,
    times: dict[str, str | int | None],
    retries: int | None,
) -> dict[str, Any]:
    """The check that a user describes: of all, only what is said. Raises InvalidInput.

    test: a command line for the shell, or a list that begins with NONE, CMD or CMD-SHELL. times: key of DEFAULTS ->
    a duration as people write it, or None.
    """
    from . import parse  # ps and inspect do without it

    check: dict[str, Any] = {}
    if test:
        check["Test"] = ["CMD-SHELL", test] if isinstance(test, str) else [str(word) for word in test]
        _check_test(check["Test"])
    for key, text in times.items():
        if text is None:
            continue
        value = parse.duration(text)
        if value and not _LEAST <= value <= _MOST:
            raise InvalidInput(
                f"{key} of the health check is {text!r}", hint="write a time from 1ms to 292 years", value=text
            )
        check[key] = value
    if retries is not None:
        if retries < 0:
            raise InvalidInput(f"Retries of the health check is {retries}", hint="write 1 or more", value=retries)
        check["Retries"] = retries
    return check


def _check_test(test: list[str]) -> None:
    kind, words = test[0], len(test) - 1
    if any("\0" in word for word in test):
        raise InvalidInput(f"the health check {test!r} holds a NUL byte", hint="leave it out", value=test)
    if kind == "NONE" and not words or kind == "CMD" and words and test[1] or kind == "CMD-SHELL" and words == 1:
        return
    raise InvalidInput(
        f"the health check {test!r} is not understood",
        hint='write a command line, or ["CMD", "program", "argument", ...], ["CMD-SHELL", "command line"] or ["NONE"]',
        value=test,
    )


def effective(spec: ContainerSpec, image: dict[str, Any]) -> dict[str, Any] | None:
    """The check of a container: the image's with what the spec says otherwise. None when neither has one.

    image: the image configuration's "config" object.
    """
    own, base = spec.healthcheck or {}, image.get("Healthcheck") or {}
    if own.get("Test") == ["NONE"]:
        return {"Test": ["NONE"]}
    check = {**base, **{key: value for key, value in own.items() if value}}
    return check or None


def check_action(spec: ContainerSpec, image: dict[str, Any]) -> None:
    """Raise InvalidInput for an action that nothing would ever lead to."""
    if spec.health_on_failure not in ("", "none") and request(spec, image) is None:
        raise InvalidInput(
            f"health_on_failure is {spec.health_on_failure!r}, but the container has no health check",
            hint="give it one, or choose an image that has one",
            value=spec.health_on_failure,
        )


def request(spec: ContainerSpec, image: dict[str, Any]) -> dict[str, Any] | None:
    """What the monitor is asked for (supervise/health.py); None when nothing is to be checked.

    An image may come from anywhere: what no engine could have written counts as not said.
    """
    check = effective(spec, image) or {}
    test = check.get("Test")
    if not test or not isinstance(test, (list, tuple)) or not all(isinstance(word, str) for word in test):
        return None
    kind, *words = test
    if kind == "CMD-SHELL":
        words = [*(image.get("Shell") or _SHELL), *words]
    elif kind != "CMD":
        return None
    if not words:
        return None
    values = {key: _number(check.get(key), key) for key in DEFAULTS}
    return {
        "argv": [os.fsencode(word) for word in words],
        "interval": values["Interval"],
        "timeout": values["Timeout"],
        "start_period": values["StartPeriod"],
        "start_interval": values["StartInterval"],
        "retries": values["Retries"],
        "on_failure": spec.health_on_failure or "none",
    }


def _number(value: object, key: str) -> int:
    least = 1 if key == "Retries" else _LEAST
    return value if type(value) is int and least <= value <= _MOST else DEFAULTS[key]


def document(observed: dict[str, Any]) -> dict[str, Any] | None:
    """docker's State.Health of an observed state; None without a check."""
    known = observed.get("health")
    if not known or observed["status"] == "created":
        return None
    return {
        "Status": status(observed),
        "FailingStreak": known["failing_streak"],
        "Log": [
            {"Start": one["start"], "End": one["end"], "ExitCode": one["exit_code"], "Output": one["output"]}
            for one in known["log"]
        ],
    }


def status(observed: dict[str, Any]) -> str:
    """starting, healthy or unhealthy; none without a check. A container that has ended is not healthy."""
    known = (observed.get("health") or {}).get("status") or "none"
    if observed["status"] == "created":
        return "none"  # a start that failed was no life
    return "unhealthy" if known != "none" and observed["status"] == "exited" else str(known)


def wait(engine: Engine, name: str, wanted: Sequence[str], timeout: float | None = None) -> str:
    """Wait until a container's health is one of these ("healthy", "unhealthy", "starting", "none"); return which.

    It sleeps until the monitor replaces its file in the run directory, and looks by itself once a second, should there
    be no monitor. timeout: seconds; None waits for ever. Raises NotHealthy when the time is over, Conflict when the
    container has no check, or has ended and nobody starts it again, ContainerNotFound when it was removed meanwhile.
    """
    from ..supervise.logs import Watch

    record = engine.containers.record(name)
    end = None if timeout is None else time.monotonic() + timeout
    run = engine.containers.paths(record.id).run
    while True:
        watch = Watch(run)  # before the look, so that nothing can come between; anew, for the folder may be
        try:
            observed = engine.containers.observe(record.id)
            now = status(observed)
            if observed["status"] in _GONE:
                raise _ended(engine.containers.record(record.id).name, observed, wanted)
            if now in wanted and observed["status"] != "restarting":
                return now
            if now == "none":
                raise Conflict(
                    f"container {record.name!r} has no health check, so it never becomes {' or '.join(wanted)}",
                    hint="create it with one, or wait for something else",
                    value=record.name,
                )
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise NotHealthy(
                    f"Timeout of {timeout:g} seconds exceeded while waiting for container {record.name!r}:"
                    f" its health is {now}{_last_words(observed)}",
                    hint=f"see State.Health in 'vitrine inspect {record.name}', and 'vitrine logs {record.name}'",
                    value=record.name,
                )
            pause = _LOOK_SECONDS if left is None else min(left, _LOOK_SECONDS)
            watch.wait(max(1, int(pause * 1000)))
        finally:
            watch.close()


def _ended(name: str, observed: dict[str, Any], wanted: Sequence[str]) -> VitrineError:
    code = observed.get("exit_code")
    how = "with an exit code that nobody saw" if code is None else f"with exit code {code}"
    what = "is not running" if observed["status"] == "created" else f"ended {how}"
    return Conflict(
        f"container {name!r} {what} while its health was waited for ({' or '.join(wanted)})",
        hint=f"see 'vitrine logs {name}'",
        value=name,
    )


def _last_words(observed: dict[str, Any]) -> str:
    log = (observed.get("health") or {}).get("log") or ()
    text = log[-1]["output"].strip() if log else ""
    return f"; the last check said: {text[-500:]}" if text else ""
