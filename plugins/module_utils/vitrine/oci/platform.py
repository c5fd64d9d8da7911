# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Platforms: which of an index's images this host can run (OCI image-index.md; containerd's normalisation)."""

from __future__ import annotations

import os

from ..errors import InvalidInput
from ..record import Record
from . import document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armv8l": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armhf": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "armel": ("arm", "v6"),
    "i386": ("386", ""),
    "i486": ("386", ""),
    "i586": ("386", ""),
    "i686": ("386", ""),
    "loongarch64": ("loong64", ""),
    "mips64el": ("mips64le", ""),
}
_DEFAULT_VARIANTS = {("arm64", "v8"): "", ("amd64", "v1"): "", ("arm", ""): "v7"}
_KNOWN_ARCHITECTURES = frozenset(
    "386 amd64 arm arm64 loong64 mips mipsle mips64 mips64le ppc64 ppc64le riscv64 s390x wasm".split()
)
_KNOWN_SYSTEMS = frozenset("aix android darwin dragonfly freebsd illumos linux netbsd openbsd plan9 solaris".split())


class Platform(Record):
    """What an image runs on: os "linux", architecture in Go's spelling ("amd64"), variant ("v7") or ""."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def normalised(self) -> Platform:
        """Return the same platform in the one spelling: "aarch64" and "arm64/v8" are "arm64"."""
        machine = self.architecture.lower()
        architecture, variant = _ARCHITECTURES.get(machine, (machine, ""))
        variant = self.variant.lower() or variant
        if variant[:1].isdigit():
            variant = "v" + variant
        return Platform(self.os.lower(), architecture, _DEFAULT_VARIANTS.get((architecture, variant), variant))

    def to_json(self) -> dict[str, Any]:
        """Return the object of a descriptor's "platform"."""
        result = {"architecture": self.architecture, "os": self.os}
        if self.variant:
            result["variant"] = self.variant
        return result

    @classmethod
    def from_json(cls, value: dict[str, Any], what: str) -> Platform:
        """Read a descriptor's "platform" object. Raises ContentMismatch."""
        return cls(*(document.text(value, key, what) for key in ("os", "architecture", "variant")))


def host() -> Platform:
    """Return the platform of this host's kernel."""
    return Platform("linux", os.uname().machine).normalised()


def parse(text: str) -> Platform:
    """Read "os/arch[/variant]", "arch" or "os" (the rest is the host's). Raises InvalidInput."""
    parts = text.strip().lower().split("/") if isinstance(text, str) else []
    if not 1 <= len(parts) <= 3 or not all(part and part.replace("-", "").replace("_", "").isalnum() for part in parts):
        raise _invalid(text)
    if len(parts) > 1:
        return Platform(*parts).normalised()
    if parts[0] in _KNOWN_SYSTEMS:
        return Platform(parts[0], host().architecture, host().variant)
    platform = Platform("linux", parts[0]).normalised()
    if platform.architecture not in _KNOWN_ARCHITECTURES:
        raise _invalid(text)
    return platform


def acceptable(wanted: Platform) -> list[Platform]:
    """Return what runs where wanted runs, best first: the variants of the same architecture from its own downwards."""
    wanted = wanted.normalised()
    level = wanted.variant[1:]
    result = [wanted]
    if wanted.architecture in ("arm", "amd64") and level.isdigit():
        lowest = 5 if wanted.architecture == "arm" else 1
        lower = range(min(int(level), 10) - 1, lowest - 1, -1)
        result += [wanted.replace(variant=f"v{number}").normalised() for number in lower]
    elif wanted.architecture == "arm64" and wanted.variant:
        result.append(wanted.replace(variant=""))
    return result


def choose(available: Iterable[Platform | None], wanted: Platform) -> int | None:
    """Return the position of the best of the available platforms, or None. None among them is "not said".

    A sole image that does not say its platform is taken: its configuration will tell.
    """
    offered = [platform.normalised() if platform else None for platform in available]
    for candidate in acceptable(wanted):
        if candidate in offered:
            return offered.index(candidate)
    return 0 if offered == [None] else None


def runs_on(platform: Platform, wanted: Platform) -> bool:
    """Tell whether an image of that platform can run where wanted is asked for."""
    return platform.normalised() in acceptable(wanted)


def _invalid(text: object) -> InvalidInput:
    return InvalidInput(
        f"{text!r} is not a platform", hint='write "os/architecture[/variant]", such as "linux/arm64"', value=text
    )
