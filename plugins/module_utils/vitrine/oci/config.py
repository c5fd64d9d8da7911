# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Image configurations (OCI image-spec config.md): what an image is made of and how it wants to be run.

Keys that we do not know are kept, so that a commit or a build on top of a stranger's image loses nothing of it.
"""

from __future__ import annotations

from ..errors import ContentMismatch
from ..record import Record
from . import digest as digests
from . import document
from .platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MAX_BYTES = 8 << 20
WHAT = "the image's configuration"

_TEXTS = ("User", "WorkingDir", "StopSignal", "Hostname", "Domainname")
_LISTS = ("Env", "Cmd", "Entrypoint", "OnBuild", "Shell")
_MAPS = ("ExposedPorts", "Volumes", "Labels", "Healthcheck")
_OWN_KEYS = frozenset(("created", "author", "architecture", "os", "variant", "config", "rootfs", "history"))


class ImageConfig(Record):
    """One image configuration.

    created: RFC 3339 text or "". config: the object under "config" in docker's spelling (User, Env, Cmd, Entrypoint,
    WorkingDir, ExposedPorts, Volumes, Labels, StopSignal, Healthcheck, Shell, OnBuild), checked, without nulls; not to
    be changed in place. diff_ids: bottom first. history: objects, bottom first. extra: all other top-level keys.
    """

    architecture: str
    os: str
    config: dict[str, Any]
    diff_ids: tuple[str, ...]
    history: tuple[dict[str, Any], ...] = ()
    created: str = ""
    author: str = ""
    variant: str = ""
    extra: dict[str, Any] = {}  # noqa: RUF012  (records are immutable)

    @property
    def platform(self) -> Platform:
        """What the image runs on."""
        return Platform(self.os, self.architecture, self.variant)

    @property
    def chain_ids(self) -> tuple[str, ...]:
        """The chain ids of the layers, bottom first."""
        return chain_ids(self.diff_ids)

    @classmethod
    def from_json(cls, data: bytes) -> ImageConfig:
        """Read a configuration. Raises ContentMismatch for a field of a wrong type, naming it."""
        if len(data) > MAX_BYTES:
            raise ContentMismatch(f"{WHAT} has {len(data)} bytes; the limit is {MAX_BYTES}", value=len(data))
        body = document.load(data, WHAT)
        rootfs = document.mapping(body, "rootfs", WHAT)
        if rootfs.get("type", "layers") != "layers":
            raise document.wrong(WHAT, "rootfs.type", rootfs["type"], '"layers"')
        diff_ids = document.texts(rootfs, "diff_ids", WHAT)
        for diff_id in diff_ids:
            if not digests.valid(diff_id):
                raise document.wrong(WHAT, "rootfs.diff_ids", diff_id, "a list of digests")
        return cls(
            architecture=document.text(body, "architecture", WHAT),
            os=document.text(body, "os", WHAT) or "linux",
            config=check_run_config(document.mapping(body, "config", WHAT)),
            diff_ids=diff_ids,
            history=document.objects(body, "history", WHAT),
            created=document.text(body, "created", WHAT),
            author=document.text(body, "author", WHAT),
            variant=document.text(body, "variant", WHAT),
            extra={key: value for key, value in body.items() if key not in _OWN_KEYS},
        )

    def to_json(self) -> bytes:
        """Return the text of the configuration; its digest is the image's id. Equal records give equal texts."""
        body: dict[str, Any] = {}
        for key in ("created", "author", "architecture", "os", "variant"):
            value = getattr(self, key)
            if value or key in ("architecture", "os"):
                body[key] = value
        body["config"] = self.config
        body["rootfs"] = {"type": "layers", "diff_ids": list(self.diff_ids)}
        if self.history:
            body["history"] = list(self.history)
        body.update((key, self.extra[key]) for key in sorted(self.extra))
        return document.dump(body)


def check_run_config(value: dict[str, Any]) -> dict[str, Any]:
    """Return the "config" object with its known fields checked and nulls left out. Raises ContentMismatch."""
    what = f"{WHAT}, config"
    for key in _TEXTS:
        document.text(value, key, what)
    for key in _LISTS:
        document.texts(value, key, what)
    for key in _MAPS:
        document.mapping(value, key, what)
    result = {key: item for key, item in value.items() if item is not None}
    if "Labels" in result:
        result["Labels"] = document.text_map(value, "Labels", what)
    for word in result.get("Env", ()):
        if "\0" in word:
            raise document.wrong(what, "Env", word, "a list of strings without NUL")
    return result


def chain_ids(diff_ids: Iterable[str]) -> tuple[str, ...]:
    """Return the chain id of each layer, bottom first (config.md, "Layer ChainID").

    The first is the diff id itself; each further one the sha256 of "<chain id below> <diff id>".
    """
    result: list[str] = []
    for diff_id in diff_ids:
        result.append(digests.of(f"{result[-1]} {diff_id}".encode()) if result else digests.check(diff_id))
    return tuple(result)
