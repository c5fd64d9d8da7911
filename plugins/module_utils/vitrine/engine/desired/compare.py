# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted against what is, option by option. Pure.

Both sides go through the same view: the option's effective value, made of the container's specification, the image's
configuration and the engine's defaults. So "not said" equals "said what is the default anyway".
"""

from __future__ import annotations

from ...record import Record
from .. import health, parse
from .normalise import ALWAYS_COMPARED
from .options import CONTAINER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..spec import ContainerSpec, Mount
    from .normalise import Desired

SHM_SIZE = 64 << 20


class Difference(Record):
    """One option that is not as wanted; the values are plain (JSON) and sorted where the order means nothing."""

    option: str
    wanted: Any
    actual: Any


def matches(kind: str, mode: str, wanted: Any, actual: Any) -> bool:
    """Whether actual satisfies wanted.

    kind: "value", "list", "set", "set(dict)" or "dict"; mode: "strict", "ignore" or "allow_more_present". None and
    the empty collection are the same. allow_more_present: a list is a subsequence; every element of a set, every key
    of a dict is there; an element of a set(dict) matches one that has at least its keys and values.
    """
    if mode == "ignore":
        return True
    if kind == "value":
        return bool(wanted == actual)
    wanted, actual = wanted or (), actual or ()
    if kind == "list":
        if mode == "strict":
            return list(wanted) == list(actual)
        rest = iter(actual)
        return all(any(item == other for other in rest) for item in wanted)
    if kind == "dict":
        wanted, actual = dict(wanted), dict(actual)
        return wanted == actual if mode == "strict" else wanted.items() <= actual.items()
    if kind == "set":
        return set(wanted) == set(actual) if mode == "strict" else set(wanted) <= set(actual)
    found = [[other for other in actual if item.items() <= other.items()] for item in wanted]
    return all(found) and (mode != "strict" or len(wanted) == len(actual))


# -- views: (specification, image's "config" object) -> the effective value ------------------------------------------


def _source(mount: Mount) -> str:
    """The engine names anonymous volumes with 64 hex digits when it makes the container."""
    anonymous = mount.type == "volume" and len(mount.source) == 64 and not mount.source.strip("0123456789abcdef")
    return "" if anonymous else mount.source


def _bind(mount: Mount) -> str:
    modes = ",".join((*mount.options, "ro" if mount.read_only else "rw"))
    return f"{_source(mount)}:{mount.target}:{modes}"


def _mount(mount: Mount) -> dict[str, Any]:
    fields: dict[str, Any] = {"target": mount.target, "type": mount.type, "read_only": mount.read_only}
    if _source(mount):
        fields["source"] = mount.source
    if mount.options:
        fields["options"] = ",".join(sorted(mount.options))
    return fields


def _env(spec: ContainerSpec, image: dict[str, Any]) -> list[str]:
    words = {word.partition("=")[0]: word for word in (*(image.get("Env") or ()), *spec.env)}
    return list(words.values())


def _command(spec: ContainerSpec, image: dict[str, Any]) -> list[str]:
    if spec.command is not None:
        return list(spec.command)
    return [] if spec.entrypoint is not None else list(image.get("Cmd") or ())


def _ports(spec: ContainerSpec, _image: dict[str, Any]) -> dict[str, Any]:
    """{"80/tcp": (("address", port), ...)}: several bindings of one port are one value. All addresses are ""."""
    ports: dict[str, Any] = {}
    for port in spec.published_ports:
        address = "" if port.host_ip in ("0.0.0.0", "::") else port.host_ip
        ports.setdefault(port.key, []).append((address, port.host_port))
    return {key: tuple(sorted(set(value))) for key, value in ports.items()}


def _exposed(spec: ContainerSpec, image: dict[str, Any]) -> list[str]:
    published = [port.key for port in spec.published_ports]
    return list(dict.fromkeys((*(image.get("ExposedPorts") or ()), *spec.exposed_ports, *published)))


def _swap(spec: ContainerSpec, _image: dict[str, Any]) -> int:
    return spec.memory_swap or (2 * spec.memory if spec.memory else 0)


def _signal(spec: ContainerSpec, image: dict[str, Any]) -> int:
    return parse.signal(spec.stop_signal or image.get("StopSignal") or "SIGTERM")


def _no_limit(value: int | None) -> int:
    return 0 if value is None or value < 0 else value


def _healthcheck(spec: ContainerSpec, image: dict[str, Any]) -> dict[str, Any]:
    """Under the options' names. That nothing is checked is a value too: a task may want it."""
    check = health.effective(spec, image) or {}
    if check.get("Test") in (None, [], ["NONE"]):
        check = {"Test": ["NONE"]}
    names = {"StartPeriod": "start_period", "StartInterval": "start_interval"}
    return {names.get(key, key.lower()): value for key, value in check.items() if value}


VIEWS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "command": _command,
    "entrypoint": lambda spec, image: list(
        spec.entrypoint if spec.entrypoint is not None else image.get("Entrypoint") or ()
    ),
    "env": _env,
    "user": lambda spec, image: spec.user if spec.user is not None else image.get("User") or "",
    "working_dir": lambda spec, image: (spec.working_dir or image.get("WorkingDir") or "/").rstrip("/") or "/",
    "labels": lambda spec, image: {**(image.get("Labels") or {}), **spec.labels},
    "domainname": lambda spec, _image: spec.domainname or "",
    "healthcheck": _healthcheck,
    "health_on_failure": lambda spec, _image: spec.health_on_failure or "none",
    "stop_signal": _signal,
    "log_driver": lambda spec, _image: spec.log_driver or "json-file",
    "published_ports": _ports,
    "exposed_ports": _exposed,
    "network_mode": lambda spec, _image: "bridge" if spec.network_mode == "default" else spec.network_mode,
    "etc_hosts": lambda spec, _image: [f"{host}:{address}" for host, address in spec.etc_hosts.items()],
    "shm_size": lambda spec, _image: spec.shm_size or SHM_SIZE,
    "memory_swap": _swap,
    "pids_limit": lambda spec, _image: _no_limit(spec.pids_limit),
    "oom_killer": lambda spec, _image: not spec.oom_kill_disable,
    "ulimits": lambda spec, _image: [{"name": name, "soft": soft, "hard": hard} for name, soft, hard in spec.ulimits],
    "devices": lambda spec, _image: [
        {"host": host, "container": inside, "permissions": access} for host, inside, access in spec.devices
    ],
    "capabilities": lambda spec, _image: [name.upper().replace("CAP_", "", 1) for name in spec.capabilities],
    "cap_drop": lambda spec, _image: [name.upper().replace("CAP_", "", 1) for name in spec.cap_drop],
}
_NUMBERS = frozenset(
    "memory memory_reservation cpus cpu_shares cpu_period cpu_quota blkio_weight oom_score_adj restart_retries".split()
)
_TEXTS = frozenset("cpuset_cpus cpuset_mems hostname mac_address".split())


def _view(option: Any, spec: ContainerSpec, image: dict[str, Any]) -> Any:
    if option.name in VIEWS:
        return VIEWS[option.name](spec, image)
    value = getattr(spec, option.target_field)
    if option.name in _NUMBERS:
        return value or 0
    if option.name in _TEXTS:
        return value or ""
    return value


def _mounts(desired: Desired, actual: ContainerSpec, image: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The views of volumes and mounts: both fill one field, so each sees what the other does not claim.

    The image's own volumes are wanted too, unless the task mounts something at the same place.
    """
    wanted_volumes = [_bind(item) for item in desired.spec.mounts if item.target in desired.volume_targets]
    taken = {item.target for item in desired.spec.mounts} | set(desired.spec.tmpfs)
    wanted_volumes += [f":{target}:rw" for target in image.get("Volumes") or () if target.rstrip("/") not in taken]
    wanted_mounts = [_mount(item) for item in desired.spec.mounts if item.target in desired.mount_targets]
    volumes = [_bind(item) for item in actual.mounts if item.target not in desired.mount_targets]
    mounts = [_mount(item) for item in actual.mounts if item.target not in desired.volume_targets]
    return {"volumes": (wanted_volumes, volumes), "mounts": (wanted_mounts, mounts)}


def differences(
    desired: Desired, actual: ContainerSpec, wanted_image: dict[str, Any], actual_image: dict[str, Any]
) -> tuple[Difference, ...]:
    """Every compared option that is not as the task wants it, in the table's order.

    wanted_image, actual_image: the "config" objects of the image that the task names and of the container's. The
    image itself is not looked at here: it is compared by id (see plan).
    """
    found = []
    mounts = _mounts(desired, actual, wanted_image)
    for option in CONTAINER:
        name = option.name
        if not option.compare or name == "image":
            continue
        if (
            name not in desired.given
            and name not in ALWAYS_COMPARED
            and not (name == "env" and "env_file" in desired.given)
        ):
            continue
        if name in mounts:
            wanted, present = mounts[name]
        else:
            wanted, present = _view(option, desired.spec, wanted_image), _view(option, actual, actual_image)
        if not matches(option.compare, desired.modes[name], wanted, present):
            found.append(Difference(name, _plain(option.compare, wanted), _plain(option.compare, present)))
    return tuple(found)


def _plain(kind: str, value: Any) -> Any:
    """A JSON value; sets sorted, so that a difference reads the same every time."""
    if kind == "set":
        return sorted(value or ())
    if kind == "set(dict)":
        return sorted((dict(item) for item in value or ()), key=lambda item: sorted(map(str, item.items())))
    if kind == "dict":
        return {
            key: [list(pair) for pair in item] if isinstance(item, tuple) else item
            for key, item in sorted(dict(value or {}).items())
        }
    if kind == "list":
        return list(value or ())
    return value
