# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at what is, plan, and - unless only asked what would be done - carry the plan out. One container."""

from __future__ import annotations

import os

from ... import lightjson as json
from ...errors import Conflict, ContainerNotFound, ImageNotFound, VitrineError
from .. import checks, endpoints
from ..spec import ContainerSpec
from . import normalise
from .plan import Actual, Image, missing_image, plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..core import Engine
    from .normalise import Desired
    from .plan import Action, Plan
    from .serve import Request

ALIVE = ("running", "paused", "restarting", "stopping")


def actual_container(engine: Engine, name: str) -> Actual | None:
    """What is there under a name, an id or the beginning of one; None when nothing is."""
    try:
        record = engine.containers.record(name)
    except ContainerNotFound:
        return None
    spec = ContainerSpec.from_json(record.spec)
    status = engine.containers.observe(record.id)["status"]
    return Actual(
        record.id,
        spec,
        record.image_id,
        engine.containers.image_config(record.image_id),
        status in ALIVE,
        status == "restarting",
        canonical(spec.image)[0],
    )


def canonical(text: str) -> tuple[str, bool]:
    """(canonical reference, False), or (the text, True) when it is an image's id."""
    digits = text[7:] if text.startswith("sha256:") else ""
    if len(digits) == 64 and not digits.strip("0123456789abcdef"):
        return text, True
    from ...oci import reference

    return reference.parse(text).canonical, False


def familiar(name: str) -> str:
    """A canonical reference as people write it."""
    from ...oci import reference

    return reference.parse(name).familiar


def local_image(engine: Engine, text: str) -> Any | None:
    """The store's image of a reference or id, None when it is not here."""
    try:
        return engine.store.images.resolve(text)
    except ImageNotFound:
        return None


def resolve_image(engine: Engine, desired: Desired, check: bool) -> Image | None:
    """The image that the task names, pulled as its policy says. None when it names none. Raises ImageNotFound."""
    text = desired.spec.image
    if not text:
        return None
    name, by_id = canonical(text)
    here = local_image(engine, text)
    pulled = changed = False
    if by_id or desired.pull == "never":
        if here is None:
            raise missing_image(name if by_id else familiar(name), by_id=by_id, pull=desired.pull)
    elif desired.pull == "always" or here is None:
        if check:
            pulled = changed = here is None or desired.pull_check_mode_behavior == "always"
        else:
            before = here
            engine.images.pull(text, platform=desired.platform, credentials=desired.credentials)
            here = engine.store.images.resolve(text)
            pulled, changed = True, before is None or before.id != here.id
    if here is None:
        return Image("", name, {}, pulled, changed, by_id)
    config = json.loads(here.config).get("config") or {}
    return Image(here.id, name, config, pulled, changed, by_id)


class Executor:
    """Carries out a plan's actions in order. done: those that were, for an honest "changed" after a failure."""

    def __init__(self, engine: Engine, desired: Desired, plan: Plan, turn: Turn) -> None:
        self.turn = turn
        self.engine = engine
        self.desired = desired
        self.plan = plan
        self.done: list[Action] = []
        self.status: int | None = None
        self.last: dict[str, Any] = {}

    def run(self) -> None:
        """Raises whatever the engine raises; nothing is undone: the next run begins where this one ended."""
        for action in self.plan.actions:
            getattr(self, f"_{action.kind}")(action.values)
            self.done.append(action)

    def _pull(self, _values: dict[str, Any]) -> None:
        pass  # was done when the image was resolved: the plan depends on what came

    def _create(self, values: dict[str, Any]) -> None:
        container_id = self.engine.containers.create(values["create_parameters"], pull="never")
        values["id"] = container_id

    def _start(self, values: dict[str, Any]) -> None:
        if self.desired.detach:
            self.engine.containers.start(values["started"])
            return
        self._run_to_the_end(values["started"])

    def _restart(self, values: dict[str, Any]) -> None:
        self.engine.containers.restart(values["restarted"], timeout=values["timeout"])

    def _stop(self, values: dict[str, Any]) -> None:
        self.engine.containers.stop(values["stopped"], timeout=values["timeout"])

    def _kill(self, values: dict[str, Any]) -> None:
        # to kill is to end it for good: the restart policy must not bring it back
        from .. import parse

        signum = parse.signal(values["signal"] or "KILL")
        if signum != 9:
            self.engine.containers.kill(values["killed"], signum)
        self.engine.containers.stop(values["killed"], timeout=0 if signum == 9 else None)

    def _remove(self, values: dict[str, Any]) -> None:
        for last in (False, False, True):
            try:
                self.engine.containers.remove(values["removed"], volumes=values["volume_state"])
                return
            except Conflict:  # somebody started it since we looked
                if last:
                    raise
                self.engine.containers.stop(values["removed"])

    def _update(self, values: dict[str, Any]) -> None:
        self.engine.containers.update(values["updated"], **values["update_parameters"])

    def _run_to_the_end(self, name: str) -> None:
        """detach=false: start, read all output until everything is cleaned up, keep the status; remove with cleanup."""
        containers = self.engine.containers
        launched = containers.start(name, attach=True)
        self.turn.end()  # it may take as long as it likes, and be stopped meanwhile
        self.status, output = _follow(launched.attach_fd)
        self.last = containers.inspect(name)
        self.last["Output"] = output.decode("utf-8", "replace")
        if self.desired.cleanup or self.desired.spec.auto_remove:  # a client that is there removes it, not the monitor
            containers.remove(name, volumes=True)


def _follow(fd: int) -> tuple[int | None, bytes]:
    """(exit status, output) of a container that was started attached; returns when its monitor has ended."""
    from ...supervise import attach, wire

    output = bytearray()
    status = None
    try:
        for kind, packet in attach.packets(fd):
            if kind in (wire.STDOUT, wire.STDERR):
                output += packet[1:]
            elif kind == wire.EXIT:
                status = wire.parse_exit(packet)[0]
    finally:
        os.close(fd)
    return status, bytes(output)


def show(action: Action) -> dict[str, Any]:
    """An action as the result shows it: JSON, a specification as the fields that are not default."""
    values = dict(action.values)
    spec = values.get("create_parameters")
    if isinstance(spec, ContainerSpec):
        values["create_parameters"] = json.loads(spec.to_json())
    return values


class Turn:
    """The right to change one container: tasks on the same name come one after the other, each on what is there then.

    The lock is a file of run_root, held by flock; who releases it removes it (lock() notices).
    """

    def __init__(self, engine: Engine, name: str) -> None:
        from ...linux.fs import lock

        folder = f"{engine.settings.run_root}/tasks"
        os.makedirs(folder, 0o700, exist_ok=True)
        self._path = f"{folder}/{name}"
        self._fd = lock(self._path)

    def end(self) -> None:
        """Let the next one come. May be called twice."""
        if self._fd >= 0:
            os.unlink(self._path)
            os.close(self._fd)
            self._fd = -1


def container(engine: Engine, request: Request) -> dict[str, Any]:
    """Answer a request of the module container; the shape is docker_container's."""
    desired = normalise.container(request.params)
    actual = actual_container(engine, desired.name)
    image = None if desired.state == "absent" else resolve_image(engine, desired, request.check)
    steps = plan(desired, actual, image)
    if request.check or not steps.actions:
        for action in steps.actions:
            if action.kind == "create":  # check mode foresees also that it would fail
                checks.check(action.values["create_parameters"])
                endpoints.check(engine, action.values["create_parameters"])
        result = _foreseen(steps, request)
        if desired.state == "healthy" and not request.check:
            return _until_healthy(engine, desired, request, result)
        if actual is not None and desired.state != "absent":
            result["container"] = engine.containers.inspect(actual.id)
        return result
    turn = Turn(engine, desired.name)
    try:
        steps = plan(desired, actual_container(engine, desired.name), image)
        result = _foreseen(steps, request)
        executor = Executor(engine, desired, steps, turn)
        try:
            executor.run()
        except VitrineError as error:
            done = any(action.kind != "pull" or action.values["changed"] for action in executor.done)
            result.update(request.failure(error), changed=done, actions=[show(item) for item in executor.done])
            return result
    finally:
        turn.end()
    result["actions"] = [show(action) for action in steps.actions]
    if desired.state == "healthy":
        return _until_healthy(engine, desired, request, result)
    return _finish(engine, desired, executor, result)


def _foreseen(steps: Plan, request: Request) -> dict[str, Any]:
    result: dict[str, Any] = {"changed": steps.changed, "actions": [show(action) for action in steps.actions]}
    if request.diff:
        result["diff"] = steps.diff()
    return result


def _until_healthy(engine: Engine, desired: Desired, request: Request, result: dict[str, Any]) -> dict[str, Any]:
    """Wait, without the turn: others may change the container meanwhile. Without a check it counts as healthy."""
    from .. import health

    try:
        health.wait(engine, desired.name, ("healthy", "none"), desired.healthy_wait_timeout)
        result["container"] = engine.containers.inspect(desired.name)
    except VitrineError as error:
        result.update(request.failure(error), changed=result["changed"])
        try:
            result["container"] = engine.containers.inspect(desired.name)
        except ContainerNotFound:
            pass  # which the message says
    return result


def _finish(engine: Engine, desired: Desired, executor: Executor, result: dict[str, Any]) -> dict[str, Any]:
    if executor.last:
        result["container"] = executor.last
        result["status"] = executor.status
        output = executor.last["Output"]
        if desired.output_logs:
            result["output"] = output
        if executor.status != 0:
            how = "nobody saw its end" if executor.status is None else f"ended with status {executor.status}"
            result.update(failed=True, msg=output or f"the container's command {how}")
        return result
    if desired.state != "absent":
        try:
            result["container"] = engine.containers.inspect(desired.name)
        except ContainerNotFound:
            # auto_remove: it ran and is gone already
            if not desired.spec.auto_remove:
                raise
    return result
