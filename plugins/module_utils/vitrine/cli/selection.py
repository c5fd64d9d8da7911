# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of ps: docker's keys, each with what it means for a container."""

from __future__ import annotations

from ..engine import health, parse
from ..errors import ImageNotFound, InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..engine import Engine

FILTERS = (
    "ancestor", "before", "exited", "expose", "health", "id", "label", "name", "network", "publish", "since", "status",
    "volume",
)  # fmt: skip
STATES = ("created", "running", "paused", "restarting", "stopping", "exited", "dead", "removing")
_OF_ANY_STATE = ("status", "exited")  # who asks for these wants to see those that do not run


def pairs(words: list[str]) -> list[tuple[str, str]]:
    """The filters as (key, value). Raises InvalidInput."""
    found = parse.filters(words, FILTERS, {"status": STATES, "health": (*health.STATUSES, "none")})
    for key, value in found:
        if key == "exited" and not value.lstrip("-").isdigit():
            raise InvalidInput(f"invalid filter 'exited={value}'", hint="write an exit code", value=value)
        if key in ("publish", "expose"):
            _ports(value)
    return found


class Selection:
    """Which containers the filters let through. Several values of one key are alternatives, but for labels."""

    def __init__(self, engine: Engine, words: list[str]) -> None:
        """Raises InvalidInput, ContainerNotFound (of before= and since=)."""
        self._engine = engine
        self._wanted: dict[str, list[Callable[..., bool]]] = {}
        filters = pairs(words)
        self.of_any_state = any(key in _OF_ANY_STATE for key, _value in filters)
        for key, value in filters:
            self._wanted.setdefault(key, []).append(getattr(self, f"_{key}")(value))

    def takes(self, record: Any, spec: Any, observed: dict[str, Any]) -> bool:
        """Whether a container passes."""
        for key, tests in self._wanted.items():
            passed = (test(record, spec, observed) for test in tests)
            if not (all(passed) if key == "label" else any(passed)):
                return False
        return True

    def _name(self, value: str) -> Callable[..., bool]:
        if value.replace("-", "").replace("_", "").isalnum():
            return lambda record, _spec, _observed: value in record.name
        import re

        try:  # docker's names begin with a slash, and people write "^/web$"
            pattern = re.compile(value)
        except re.error as error:
            raise InvalidInput(
                f"invalid filter 'name={value}': {error}", hint="write a part of the name", value=value
            ) from None
        return lambda record, _spec, _observed: bool(pattern.search(record.name) or pattern.search(f"/{record.name}"))

    def _id(self, value: str) -> Callable[..., bool]:
        return lambda record, _spec, _observed: record.id.startswith(value)

    def _status(self, value: str) -> Callable[..., bool]:
        return lambda _record, _spec, observed: observed["status"] == value

    def _health(self, value: str) -> Callable[..., bool]:
        return lambda _record, _spec, observed: health.status(observed) == value

    def _exited(self, value: str) -> Callable[..., bool]:
        return lambda _record, _spec, observed: (
            observed["status"] == "exited" and str(observed.get("exit_code")) == value
        )

    def _label(self, value: str) -> Callable[..., bool]:
        key, equals, text = value.partition("=")
        return lambda _record, spec, _observed: key in spec.labels and (not equals or spec.labels[key] == text)

    def _ancestor(self, value: str) -> Callable[..., bool]:
        """Containers of an image, and of those that were made of it."""
        images = self._engine.store.images
        try:
            wanted = images.resolve(value)
        except (ImageNotFound, InvalidInput):
            return lambda _record, spec, _observed: value in (spec.image, spec.image.rpartition(":")[0])

        def test(record: Any, spec: Any, _observed: Any) -> bool:
            image_id = record.image_id
            while image_id and image_id != wanted.id:
                try:
                    image = images.get(image_id)
                except ImageNotFound:
                    return bool(spec.image == value)
                if len(image.layers) > len(wanted.layers) > 0 and image.layers[: len(wanted.layers)] == wanted.layers:
                    return True  # whoever made it, elsewhere perhaps, began there
                image_id = image.parent
            return bool(image_id)

        return test

    def _network(self, value: str) -> Callable[..., bool]:
        networks = self._engine.store.networks.list()

        def test(_record: Any, spec: Any, _observed: Any) -> bool:
            names = {"bridge" if spec.network_mode == "default" else spec.network_mode, *spec.networks}
            ids = [str((networks.get(name) or {}).get("id", "")) for name in names]
            return value in names or any(len(value) > 3 and text.startswith(value) for text in ids)

        return test

    def _volume(self, value: str) -> Callable[..., bool]:
        return lambda _record, spec, _observed: any(value in (item.source, item.target) for item in spec.mounts)

    def _before(self, value: str) -> Callable[..., bool]:
        created = self._engine.containers.record(value).created
        return lambda record, _spec, _observed: record.created < created

    def _since(self, value: str) -> Callable[..., bool]:
        created = self._engine.containers.record(value).created
        return lambda record, _spec, _observed: record.created > created

    def _publish(self, value: str) -> Callable[..., bool]:
        """By the port inside or outside, as docker's."""
        wanted = _ports(value)

        def test(_record: Any, spec: Any, observed: dict[str, Any]) -> bool:
            bound = {f"{number}/{protocol}" for _ip, number, _inside, protocol in observed.get("ports") or ()}
            bound |= {port.key for port in spec.published_ports}
            bound |= {f"{port.host_port}/{port.protocol}" for port in spec.published_ports}
            return not bound.isdisjoint(wanted)

        return test

    def _expose(self, value: str) -> Callable[..., bool]:
        wanted = _ports(value)

        def test(record: Any, spec: Any, _observed: Any) -> bool:
            config = self._engine.containers.image_config(record.image_id)
            texts = (*spec.exposed_ports, *(config.get("ExposedPorts") or ()))
            exposed = {port for text in texts for port in parse.exposed(text)}
            return not (exposed | {port.key for port in spec.published_ports}).isdisjoint(wanted)

        return test


def _ports(value: str) -> set[str]:
    return set(parse.exposed(value))
