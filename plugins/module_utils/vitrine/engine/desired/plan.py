# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps from what is to what is wanted of one container. Pure: a plan can be printed, tested, not carried out."""

from __future__ import annotations

from ...errors import ImageNotFound, InvalidInput
from ...record import Record
from .compare import Difference, differences
from .options import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..spec import ContainerSpec
    from .normalise import Desired


class Actual(Record):
    """What is there of a container. image_config: the "config" object of the image that it was made of."""

    id: str
    spec: ContainerSpec
    image_id: str
    image_config: dict[str, Any]
    running: bool
    restarting: bool = False
    image_name: str = ""


class Image(Record):
    """The image that the task names, as found. id "": it is not here (check mode: it would be pulled).

    name: the canonical reference, or the id where the task names an id. pulled: a pull was made, or would be.
    changed: that pull brought (would bring) another image than was there.
    """

    id: str
    name: str = ""
    config: dict[str, Any] = {}
    pulled: bool = False
    changed: bool = False
    by_id: bool = False


class Action(Record):
    """One step. kind: pull, create, start, restart, stop, kill, remove, update. values: what docker's modules show."""

    kind: str
    values: dict[str, Any]


class Plan(Record):
    """Steps in order, why, and what the container's diff shows besides the options that differ."""

    actions: tuple[Action, ...]
    differences: tuple[Difference, ...]

    @property
    def changed(self) -> bool:
        """Whether carrying this out changes anything: a pull that brings nothing new does not."""
        return any(action.kind != "pull" or action.values["changed"] for action in self.actions)

    def diff(self) -> dict[str, dict[str, Any]]:
        """Ansible's diff: {"before": {option: actual}, "after": {option: wanted}}."""
        return {
            "before": {item.option: item.actual for item in self.differences},
            "after": {item.option: item.wanted for item in self.differences},
        }


def _end(desired: Desired, actual: Actual) -> list[Action]:
    if not actual.running:
        return []
    if desired.force_kill:
        return [Action("kill", {"killed": actual.id, "signal": desired.kill_signal})]
    return [Action("stop", {"stopped": actual.id, "timeout": desired.spec.stop_timeout})]


def _remove(desired: Desired, actual: Actual) -> Action:
    return Action(
        "remove",
        {"removed": actual.id, "volume_state": not desired.keep_volumes, "link": False, "force": desired.force_kill},
    )


def absent(desired: Desired, actual: Actual | None) -> Plan:
    """Stop (or kill) and remove what is there."""
    if actual is None:
        return Plan((), (Difference("exists", False, False),))
    actions = (*_end(desired, actual), _remove(desired, actual))
    return Plan(actions, (Difference("exists", False, True),))


def _image_differences(desired: Desired, actual: Actual, image: Image | None) -> list[Difference]:
    found: list[Difference] = []
    if image is None or not desired.spec.image:
        return found
    if desired.modes["image"] == "strict" and actual.image_id != image.id:
        found.append(Difference("image", image.id or "unknown", actual.image_id))
    if desired.image_name_mismatch == "recreate" and not image.by_id and actual.image_name != image.name:
        found.append(Difference("image_name", image.name, actual.image_name))
    return found


def present(desired: Desired, actual: Actual | None, image: Image | None) -> Plan:
    """The plan for the states present, started and stopped.

    image: None when the task names none. Raises InvalidInput when a container must be made and no image is named.
    """
    actions: list[Action] = []
    found: list[Difference] = []
    if image is not None and image.pulled:
        actions.append(Action("pull", {"pulled_image": image.name, "changed": image.changed}))
    if actual is None:
        if image is None:
            raise InvalidInput("Cannot create container when image is not specified!", value=desired.name)
        found.append(Difference("exists", True, False))
        actions.append(_create(desired, image))
        running = False
        fresh = True
    else:
        wanted_config = image.config if image is not None and image.id else actual.image_config
        options = table("container")
        ours = list(differences(desired, actual.spec, wanted_config, actual.image_config))
        found = [*ours, *_image_differences(desired, actual, image)]
        small = [item for item in ours if options[item.option].update]
        running, fresh = actual.running, False
        if desired.recreate or len(found) > len(small):
            if desired.recreate and not found:
                found.append(Difference("recreate", True, False))
            actions += _end(desired, actual)
            actions.append(_remove(desired, actual))
            actions.append(_create(desired, image, actual))
            running, fresh = False, True
        elif small:
            actions.append(_update(desired, actual, small))
    actions_after, found_after = _run_state(desired, actual, running, fresh)
    return Plan((*actions, *actions_after), (*found, *found_after))


def _create(desired: Desired, image: Image | None, actual: Actual | None = None) -> Action:
    spec = desired.spec
    if not spec.image and actual is not None:
        spec = spec.replace(image=actual.spec.image)
    image_id = image.id if image is not None else actual.image_id if actual is not None else ""
    return Action("create", {"created": "Created container", "create_parameters": spec, "image_id": image_id})


def _update(desired: Desired, actual: Actual, found: list[Difference]) -> Action:
    options = table("container")
    fields = {options[item.option].target_field for item in found}
    if fields & {"restart_policy", "restart_retries"}:
        fields |= {"restart_policy", "restart_retries"}
    values = {field: getattr(desired.spec, field) for field in sorted(fields)}
    return Action("update", {"updated": actual.id, "update_parameters": values})


def _run_state(
    desired: Desired, actual: Actual | None, running: bool, fresh: bool
) -> tuple[list[Action], list[Difference]]:
    """Start, restart or stop. An action's container is its name where it is yet to be made."""
    target = actual.id if actual is not None and not fresh else desired.name
    was = actual is not None and actual.running
    if desired.state in ("started", "healthy"):
        if not running:
            return [Action("start", {"started": target})], [] if was else [Difference("running", True, False)]
        if desired.restart:
            return (
                [Action("restart", {"restarted": target, "timeout": desired.spec.stop_timeout})],
                [Difference("restarted", True, False)],
            )
    elif desired.state == "stopped" and running and actual is not None:
        return _end(desired, actual), [Difference("running", False, True)]
    elif desired.state == "stopped" and was and fresh or desired.state == "present" and was and fresh:
        return [], [Difference("running", False, True)]
    return [], []


def plan(desired: Desired, actual: Actual | None, image: Image | None) -> Plan:
    """The plan of any state."""
    if desired.state == "absent":
        return absent(desired, actual)
    return present(desired, actual, image)


def missing_image(name: str, *, by_id: bool, pull: str) -> ImageNotFound:
    """The error for an image that is not here and may not be pulled, in docker's words. name: as people write it."""
    if by_id:
        return ImageNotFound(f"Cannot find image with ID {name}", hint="load or build it first", value=name)
    return ImageNotFound(
        f"Cannot find image with name {name}, and pull={pull}", hint="pull or build it first", value=name
    )
