# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where containers' output goes: the log drivers, their options, and how each is read back."""

from __future__ import annotations

from ..errors import Conflict, InvalidInput
from . import parse
from .spec import ContainerSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .core import Engine
    from .paths import Paths

DEFAULT = "json-file"
# driver -> the options that it takes
OPTIONS = {
    "json-file": ("max-size", "max-file", "compress", "labels", "env", "tag"),
    "k8s-file": ("max-size", "max-file", "compress"),
    "journald": ("labels", "env", "tag"),
    "none": (),
}
DRIVERS = tuple(OPTIONS)
_TAG = {"ID": "", "FullID": "", "Name": "", "ImageName": "", "ImageID": "", "ImageFullID": ""}


def driver_of(engine: Engine, spec: ContainerSpec) -> str:
    """The driver that a container has: its own, else the host's."""
    return spec.log_driver or str(engine.settings.config.get("log_driver", DEFAULT))


def options_of(engine: Engine, spec: ContainerSpec) -> tuple[str, dict[str, str]]:
    """Return (driver, options), the host's defaults included where they are for the same driver.

    Raises InvalidInput for a driver or an option that is not known.
    """
    driver = driver_of(engine, spec)
    if driver not in OPTIONS:
        raise InvalidInput(f"unknown log driver {driver!r}", hint=f"use one of {', '.join(DRIVERS)}", value=driver)
    defaults = engine.settings.config.get("log_options", {})
    usual = str(engine.settings.config.get("log_driver", DEFAULT)) == driver
    options = {**(defaults if usual and isinstance(defaults, dict) else {}), **spec.log_options}
    unknown = sorted(set(options) - set(OPTIONS[driver]))
    if unknown:
        known = ", ".join(OPTIONS[driver])
        raise InvalidInput(
            f"unknown log option {unknown[0]!r} for the log driver {driver}",
            hint=f"it takes {known}" if known else "it takes none",
            value=unknown[0],
        )
    return driver, {key: str(value) for key, value in options.items()}


def request(engine: Engine, spec: ContainerSpec, record: Any, paths: Paths) -> dict[str, Any]:
    """The monitor's log settings. record: the store's row. Raises InvalidInput."""
    driver, options = options_of(engine, spec)
    checked = check(options)
    about = _about(spec, record)
    said = {name: spec.labels[name] for name in _names(options, "labels") if name in spec.labels}
    environment = dict(word.partition("=")[::2] for word in spec.env)
    said.update({name: environment[name] for name in _names(options, "env") if name in environment})
    tag = expand(options["tag"], about) if options.get("tag") else ""
    if driver == "journald":
        tag = tag or about["ID"]
        fields = {"CONTAINER_ID": about["ID"], "CONTAINER_ID_FULL": about["FullID"], "CONTAINER_NAME": about["Name"],
                  "CONTAINER_TAG": tag, "SYSLOG_IDENTIFIER": tag, "IMAGE_NAME": about["ImageName"]}  # fmt: skip
        return {"driver": driver, "fields": {**{field_name(name): said[name] for name in said}, **fields}}
    attrs = {**said, **({"tag": tag} if tag else {})}
    return {"driver": driver, "path": path(paths, driver), "attrs": attrs, **checked}


def check(options: dict[str, str]) -> dict[str, Any]:
    """Return the numbers among the options. Raises InvalidInput."""
    max_file = options.get("max-file", "1")
    if not (max_file.isascii() and max_file.isdigit() and 1 <= int(max_file) <= 1000):
        raise InvalidInput(f"max-file is {max_file!r}", hint="write a number from 1 to 1000", value=max_file)
    size = options.get("max-size", "-1")
    max_size = 0 if size == "-1" else parse.size(size, "max-size")
    compress = options.get("compress", "false")
    if compress not in ("true", "false"):
        raise InvalidInput(f"compress is {compress!r}", hint="write true or false", value=compress)
    if compress == "true" and (int(max_file) < 2 or not max_size):
        raise InvalidInput(
            "compress has nothing to compress: older log files are not kept",
            hint="set max-size, and max-file to at least 2",
            value=compress,
        )
    expand(options.get("tag", ""), _TAG)
    return {"max_size": max_size, "max_file": int(max_file), "compress": compress == "true"}


def path(paths: Paths, driver: str) -> str:
    """The log's newest file; "" where the driver writes none."""
    return {"json-file": paths.log, "k8s-file": f"{paths.folder}/ctr.log"}.get(driver, "")


def read(engine: Engine, record: Any, paths: Paths, **how: Any) -> Iterator[tuple[str, bytes]]:
    """A container's output as (stream, bytes) of each entry (supervise.logs.read).

    Raises Conflict when its log driver keeps none, HostError where what keeps it cannot be read.
    """
    from ..supervise import journalctl, logs

    driver = driver_of(engine, ContainerSpec.from_json(record.spec))
    if driver == "none":
        raise Conflict(
            f"container {record.name!r} keeps no logs: its log driver is none",
            hint="create it with another log driver",
            value=record.name,
        )
    if driver == "journald":
        return journalctl.read(record.id, alive=logs.follower(paths.run), **how)
    return logs.read(path(paths, driver), alive=logs.follower(paths.run), **how)


def expand(template: str, about: dict[str, str]) -> str:
    """docker's log tags: {{.Name}} and the like. Raises InvalidInput for a field that there is not."""
    import re

    def field(match: re.Match[str]) -> str:
        name = match.group(1).strip().removeprefix(".")
        if name not in about:
            raise InvalidInput(
                f"unknown field {match.group(0)!r} in the log tag {template!r}",
                hint="use " + ", ".join("{{." + known + "}}" for known in _TAG),
                value=template,
            )
        return about[name]

    return re.sub(r"\{\{(.*?)\}\}", field, template)


def field_name(name: str) -> str:
    """A label's name as the journal takes it: capitals, digits and _, and no _ in front."""
    text = "".join(c if c.isascii() and c.isalnum() else "_" for c in name.upper()).lstrip("_0123456789")
    return text[:64] or "LABEL"


def _names(options: dict[str, str], key: str) -> list[str]:
    return [name.strip() for name in options.get(key, "").split(",") if name.strip()]


def _about(spec: ContainerSpec, record: Any) -> dict[str, str]:
    image = str(record.image_id).partition(":")[2] or str(record.image_id)
    return {
        "ID": record.id[:12], "FullID": record.id, "Name": record.name, "ImageName": spec.image,
        "ImageID": image[:12], "ImageFullID": image,
    }  # fmt: skip
