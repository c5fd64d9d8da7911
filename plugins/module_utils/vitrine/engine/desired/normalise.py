# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a task's parameters to an immutable record of what is wanted. Pure but for the env_file, which is read here."""

from __future__ import annotations

import os

from ...errors import InvalidInput
from ...record import Record
from .. import health, parse
from ..spec import ContainerSpec, Mount
from .options import CONTAINER, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..spec import Port

# Options that are part of the comparison though no task gives them: the image's own values count.
ALWAYS_COMPARED = ("env", "exposed_ports", "volumes")
# Options whose value goes into the same field as another's; these are put together in _merged().
_MERGED = ("env", "env_file", "volumes", "mounts")


class Desired(Record):
    """What one container task wants.

    spec: all options that say how the container is made; its image is "" when the task names none.
    given: the names of the options that the task set. modes: option -> mode of comparison, for all that are compared.
    volume_targets, mount_targets: which of spec.mounts came from which option.
    The rest are the options of the same name; pull is "never", "missing" or "always".
    """

    name: str
    state: str
    spec: ContainerSpec
    given: frozenset[str] = frozenset()
    modes: dict[str, str] = {}
    volume_targets: frozenset[str] = frozenset()
    mount_targets: frozenset[str] = frozenset()
    pull: str = "missing"
    pull_check_mode_behavior: str = "image_not_present"
    image_name_mismatch: str = "recreate"
    platform: str | None = None
    recreate: bool = False
    restart: bool = False
    force_kill: bool = False
    kill_signal: str | None = None
    keep_volumes: bool = True
    detach: bool = True
    cleanup: bool = False
    output_logs: bool = False
    healthy_wait_timeout: float | None = None
    credentials: tuple[str, str] | None = None


def expand(path: str) -> str:
    """A path option on this host: "~" and variables as Ansible's type "path" has them."""
    return os.path.expanduser(os.path.expandvars(path))


def credentials(params: dict[str, Any]) -> tuple[str, str] | None:
    """(user, password), when a task gives them."""
    return (params["username"], params["password"]) if params.get("username") else None


def _words(value: Any) -> tuple[str, ...]:
    if isinstance(value, (list, tuple)):
        return tuple(str(word) for word in value)
    import shlex

    try:
        return tuple(shlex.split(str(value)))
    except ValueError as error:
        raise InvalidInput(
            f"{value!r} cannot be split into words: {error}", hint="close the quotes, or write a list", value=value
        ) from None


def _texts(value: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(item) for item in value))


def _labels(value: dict[str, Any]) -> dict[str, str]:
    for key, item in value.items():
        if isinstance(item, (bool, float)) or item is None or isinstance(item, (dict, list)):
            raise InvalidInput(
                f"The value {item!r} for {key!r} of labels is not a string or something than can be safely converted"
                " to a string!",
                hint="put it in quotes",
                value=key,
            )
    return {str(key): str(item) for key, item in value.items()}


def _strings(value: dict[str, Any]) -> dict[str, str]:
    return {str(key): str(int(item)) if isinstance(item, bool) else str(item) for key, item in value.items()}


def _log_options(value: dict[str, Any]) -> dict[str, str]:
    return {str(key): str(item).lower() if isinstance(item, bool) else str(item) for key, item in value.items()}


def _signal(value: str) -> str:
    parse.signal(value)
    word = str(value).strip().upper()
    return word if word.isdigit() or word.startswith("SIG") else f"SIG{word}"


def _addresses(value: list[str]) -> tuple[str, ...]:
    return tuple(_address(item) for item in value)


def _address(text: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise InvalidInput(f"{text!r} is not an IP address", hint="write an IPv4 or IPv6 address", value=text) from None


def _hosts(value: dict[str, Any]) -> dict[str, str]:
    return dict(parse.host_entry(f"{host}:{address}") for host, address in value.items())


def _capability(text: str) -> str:
    word = str(text).upper()
    return word[4:] if word.startswith("CAP_") else word


def _ports(value: list[str], params: dict[str, Any]) -> tuple[Port, ...]:
    default = params.get("default_host_ip") or ""
    if default:
        default = _address(default)
    ports: dict[Port, None] = {}
    for text in value:
        if text == "all":
            raise InvalidInput(
                "Specifying 'all' in published_ports is no longer allowed.",
                hint="set publish_all_ports to true",
                value=text,
            )
        ports.update(dict.fromkeys(parse.port(text, default)))
    return tuple(ports)


def _exposed(value: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(port for text in value for port in parse.exposed(text)))


def _mount(value: dict[str, Any]) -> Mount:
    kind, target, source = value["type"], value["target"], value.get("source") or ""
    if kind == "bind" and not source:
        raise InvalidInput(
            f'source must be specified for mount "{target}" of type "bind"', hint="add source", value=target
        )
    if kind == "bind":
        source = os.path.abspath(expand(source))
    elif kind == "tmpfs" and source:
        raise InvalidInput(
            f'source cannot be specified for mount "{target}" of type "tmpfs"', hint="remove source", value=target
        )
    allowed = {"bind": ("propagation",), "volume": ("no_copy",), "tmpfs": ("tmpfs_size", "tmpfs_mode")}[kind]
    options = []
    for key in ("propagation", "no_copy", "tmpfs_size", "tmpfs_mode"):
        item = value.get(key)
        if item is None or item is False:
            continue
        if key not in allowed:
            raise InvalidInput(
                f'{key} cannot be specified for mount "{target}" of type "{kind}"', hint=f"remove {key}", value=target
            )
        if key == "tmpfs_size":
            options.append(f"size={parse.size(item)}")
        elif key == "tmpfs_mode":
            options.append(f"mode={item}")
        else:
            options.append("nocopy" if key == "no_copy" else str(item))
    if kind == "volume" and source:
        parse.name(source)
    checked = parse.tmpfs(target)[0]
    return Mount(kind, source, checked, bool(value.get("read_only")), tuple(options))


def _tmpfs(value: list[str]) -> dict[str, str]:
    return dict(parse.tmpfs(text) for text in value)


def _healthcheck(value: dict[str, Any]) -> dict[str, Any] | None:
    """docker's object. As community.docker has it, options without a test switch the check off by default."""
    test = value.get("test")
    if test is not None and not isinstance(test, (str, list, tuple)):
        raise InvalidInput(
            f"healthcheck.test is {test!r}", hint="write a command line, or a list that begins with CMD", value=test
        )
    times = {
        "Interval": value.get("interval"),
        "Timeout": value.get("timeout"),
        "StartPeriod": value.get("start_period"),
        "StartInterval": value.get("start_interval"),
    }
    check = health.described(test, times, value.get("retries"))
    if test or value.get("test_cli_compatible"):
        return check or None
    return {"Test": ["NONE"]}


PARSERS: dict[str, Callable[..., Any]] = {
    "words": _words,
    "text": str,
    "texts": _texts,
    "labels": _labels,
    "strings": _strings,
    "log_options": _log_options,
    "signal": _signal,
    "addresses": _addresses,
    "hosts": _hosts,
    "exposed": _exposed,
    "healthcheck": _healthcheck,
    "tmpfs": _tmpfs,
    "size": parse.size,
    "memory_swap": parse.memory_swap,
    "cpus": parse.cpus,
    "cpuset": parse.cpuset,
    "inverted": lambda value: not value,
    "ulimits": lambda value: tuple(parse.ulimit(text) for text in value),
    "devices": lambda value: tuple(parse.device(text) for text in value),
    "capabilities": lambda value: tuple(dict.fromkeys(_capability(text) for text in value)),
    "volumes": lambda value: tuple(parse.volume(text) for text in value),
    "mounts": lambda value: tuple(_mount(item) for item in value),
}


def _env(params: dict[str, Any]) -> tuple[str, ...]:
    settings: dict[str, str] = {}
    if params.get("env_file"):
        for line in parse.env_file(expand(params["env_file"])):
            name, _equals, value = line.partition("=")
            settings[name] = value
    for key, value in (params.get("env") or {}).items():
        if not isinstance(value, str):
            raise InvalidInput(
                "Non-string value found for env option. Ambiguous env options must be wrapped in quotes to avoid them"
                " being interpreted when directly specified in YAML, or explicitly converted to strings when the"
                f" option is templated. Key: {key}",
                value=key,
            )
        settings[str(key)] = value
    return tuple(parse.env([f"{key}={value}" for key, value in settings.items()]))


def _merged(params: dict[str, Any], fields: dict[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Fill in the fields that several options make; return the targets of volumes and of mounts."""
    if params.get("env") is not None or params.get("env_file"):
        fields["env"] = _env(params)
    volumes = PARSERS["volumes"](params.get("volumes") or ())
    mounts = PARSERS["mounts"](params.get("mounts") or ())
    seen: dict[str, str] = {}
    for option, group in (("volumes", volumes), ("mounts", mounts)):
        for mount in group:
            if seen.get(mount.target) == option:
                raise InvalidInput(
                    f'The mount point "{mount.target}" appears twice in the {option} option',
                    hint="give each mount point once",
                    value=mount.target,
                )
            if mount.target in seen:
                raise InvalidInput(
                    f'The mount point "{mount.target}" appears both in the volumes and mounts option',
                    hint="give each mount point once",
                    value=mount.target,
                )
            seen[mount.target] = option
    if volumes or mounts:
        fields["mounts"] = volumes + mounts
    return frozenset(mount.target for mount in volumes), frozenset(mount.target for mount in mounts)


def comparison_modes(comparisons: dict[str, Any] | None) -> dict[str, str]:
    """Option -> mode, from the defaults and the task's "comparisons". Raises InvalidInput with docker's words."""
    compared = [option for option in CONTAINER if option.compare]
    modes = {option.name: option.default_mode for option in compared}
    comparisons = dict(comparisons or {})
    wildcard = comparisons.pop("*", None)
    if wildcard is not None:
        if wildcard not in ("strict", "ignore"):
            raise InvalidInput(
                "The wildcard can only be used with comparison modes 'strict' and 'ignore'!", value=wildcard
            )
        modes = dict.fromkeys(modes, wildcard)
    names = {alias: option for option in compared for alias in (option.name, *option.aliases)}
    known = {alias for option in CONTAINER for alias in (option.name, *option.aliases)}
    used: dict[str, str] = {}
    for key, mode in comparisons.items():
        if key not in known:
            raise InvalidInput(f"Unknown module option '{key}' in comparisons dict!", value=key)
        if key not in names:
            raise InvalidInput(
                f"The module option '{key}' in comparisons dict is no part of a container's state!", value=key
            )
        option = names[key]
        if option.name in used:
            raise InvalidInput(
                f"Both '{used[option.name]}' and '{key}' in comparisons dict are the module option '{option.name}'!",
                value=key,
            )
        used[option.name] = key
        if mode not in ("strict", "ignore", "allow_more_present"):
            raise InvalidInput(f"Unknown comparison mode '{mode}'!", value=mode)
        if option.compare == "value" and mode == "allow_more_present":
            raise InvalidInput(
                f"Option '{key}' is a value and not a set/list/dict, so its comparison cannot be {mode}", value=key
            )
        modes[option.name] = mode
    return modes


def _pull(value: Any) -> str:
    word = str(value).strip().lower()
    if word in ("never", "missing", "always"):
        return word
    if word in ("true", "yes", "on", "1"):
        return "always"
    if word in ("false", "no", "off", "0"):
        return "missing"
    raise InvalidInput(
        f"invalid value {value!r} for pull", hint="use never, missing, always, true or false", value=value
    )


def container(params: dict[str, Any]) -> Desired:
    """The record of a container task. params: option -> value as the argument specification left it.

    Raises InvalidInput. With state=absent only the name counts: nothing else is even looked at.
    """
    name = parse.name(params["name"].lstrip("/")) if params["name"].strip("/") else parse.name(params["name"])
    flags = {key: params[key] for key in ("recreate", "restart", "force_kill", "kill_signal", "keep_volumes")}
    if params["state"] == "absent":
        return Desired(name, "absent", ContainerSpec(image=params.get("image") or ""), **flags)
    flags.update({key: params[key] for key in ("detach", "cleanup", "output_logs", "platform", "image_name_mismatch")})
    fields: dict[str, Any] = {"name": name, "image": params.get("image") or ""}
    options = table("container")
    given = {key for key, value in params.items() if value is not None and key in options}
    for key in given:
        option = options[key]
        if not option.compare or key in _MERGED or key == "image":
            continue
        value = params[key]
        if option.parse == "ports":
            fields[option.target_field] = _ports(value, params)
        else:
            fields[option.target_field] = PARSERS[option.parse](value) if option.parse else value
    if fields.get("network_mode") == "default":
        fields["network_mode"] = "bridge"
    volume_targets, mount_targets = _merged(params, fields)
    patience = params["healthy_wait_timeout"]
    if params["state"] == "healthy" and not params["detach"]:
        raise InvalidInput(
            "state=healthy waits while the container runs, detach=false until it has ended",
            hint="leave one of them out",
            value="healthy",
        )
    if flags["kill_signal"]:
        parse.signal(flags["kill_signal"])
    return Desired(
        name,
        params["state"],
        ContainerSpec(**fields),
        given=frozenset(given),
        modes=comparison_modes(params.get("comparisons")),
        volume_targets=volume_targets,
        mount_targets=mount_targets,
        pull=_pull(params["pull"]),
        pull_check_mode_behavior=params["pull_check_mode_behavior"],
        healthy_wait_timeout=patience if patience > 0 else None,
        credentials=credentials(params),
        **flags,
    )
