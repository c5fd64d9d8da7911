# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""References: how people name images, with Docker Hub's abbreviations.

Grammar: the distribution project's reference syntax, ``[host[:port]/]path[:tag][@digest]``. Written without regular
expressions: this module is imported by every command, and compiling them takes longer than all else in it.
"""

from __future__ import annotations

from ..errors import InvalidInput
from ..record import Record
from . import digest as digests

HUB = "docker.io"
HUB_ALIASES = frozenset(("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"))
OFFICIAL = "library/"
DEFAULT_TAG = "latest"
MAX_PATH = 255
MAX_TAG = 128

LOWER = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"
ALNUM = LOWER + LOWER.upper() + DIGITS
_ALNUM_TO_SLASH = dict.fromkeys(map(ord, LOWER + DIGITS), "/")


class Reference(Record):
    """One image at one registry.

    registry: "docker.io", "host", "host:port" or "[v6 address]:port". repository: path there, "library/debian".
    tag: or None when only a digest was given. digest: or None.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def canonical(self) -> str:
        """The one full spelling: "docker.io/library/debian:bookworm", with "@sha256:..." if pinned."""
        return self.name + self._suffix()

    @property
    def familiar_name(self) -> str:
        """The name as people write it: "debian", "someone/app", "host:5000/app"."""
        path = self.repository
        rest = path[len(OFFICIAL) :]
        short = rest if path.startswith(OFFICIAL) and "/" not in rest else path
        # "docker.io/a.b/c" has no shorter form: "a.b/c" would be at the registry a.b.
        return short if self.registry == HUB and _split_registry(short) == (HUB, short) else self.name

    @property
    def familiar(self) -> str:
        """The reference as people write it: "debian:bookworm"."""
        return self.familiar_name + self._suffix()

    @property
    def wanted(self) -> str:
        """What to ask a registry for: the digest if there is one, else the tag."""
        return self.digest or self.tag or DEFAULT_TAG

    def pinned(self, digest: str) -> Reference:
        """Return name@digest, without the tag: what docker lists as a repository digest."""
        return self.replace(tag=None, digest=digests.check(digest))

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.familiar


def parse(text: str, *, default_tag: str | None = DEFAULT_TAG) -> Reference:
    """Read a reference. Without tag and digest it gets default_tag (None: none). Raises InvalidInput.

    A name whose first part has no dot, no colon, no capital and is not "localhost" is at Docker Hub.
    """
    if not isinstance(text, str) or not text:
        raise _invalid(text, "it is empty")
    if len(text) == 64 and not text.strip(digests.HEX_CHARACTERS):
        raise _invalid(text, "64 hex digits are an image's id")
    name, at, digest = text.partition("@")
    if at and not digests.valid(digest):
        raise _invalid(text, f'{digest!r} is not "sha256:" and 64 lower-case hex digits')
    registry, path = _split_registry(name)
    path, colon, tag = path.partition(":")
    if colon and not valid_tag(tag):
        raise _invalid(text, f"{tag!r} is not a tag: 1 to {MAX_TAG} of letters, digits, '_', '.', '-'")
    if registry in HUB_ALIASES:
        registry = HUB
        if "/" not in path:
            path = OFFICIAL + path if path else path
    elif not valid_registry(registry):
        raise _invalid(text, f"{registry!r} is not a host name, or host:port")
    if path != path.lower():
        raise _invalid(text, f"the repository {path!r} must be lower case")
    if not valid_repository(path):
        raise _invalid(text, f"{path!r} is not a repository: lower-case words joined by '.', '_', '__', '-' and '/'")
    return Reference(registry, path, tag or (None if digest else default_tag), digest or None)


def valid_repository(path: str) -> bool:
    """Tell whether path is a repository's: at most 255 characters, each component words joined by separators."""
    return 0 < len(path) <= MAX_PATH and all(map(_valid_component, path.split("/")))


def valid_tag(tag: str) -> bool:
    """Tell whether tag is 1 to 128 letters, digits, "_", "." and "-", beginning with none of the last two."""
    return 0 < len(tag) <= MAX_TAG and tag[0] not in ".-" and not tag.strip(ALNUM + "_.-")


def valid_registry(registry: str) -> bool:
    """Tell whether registry is a host name, address or bracketed IPv6 address, with or without a port."""
    if registry.startswith("["):
        address, bracket, port = registry[1:].partition("]")
        if not bracket or not address or address.strip(DIGITS + ":abcdefABCDEF"):
            return False
        return not port or (port[0] == ":" and _valid_port(port[1:]))
    host, colon, port = registry.partition(":")
    if colon and not _valid_port(port):
        return False
    return all(
        label and not label.strip(ALNUM + "-") and label[0] != "-" and label[-1] != "-" for label in host.split(".")
    )


def _valid_port(text: str) -> bool:
    return bool(text) and not text.strip(DIGITS) and len(text) <= 5 and int(text) <= 65535


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return first, rest
    return HUB, name


def _valid_component(component: str) -> bool:
    # With letters and digits made slashes (no component has its own), split() leaves the runs of everything else.
    if not component or component[0] not in LOWER + DIGITS or component[-1] not in LOWER + DIGITS:
        return False
    separators = component.translate(_ALNUM_TO_SLASH).split("/")
    return all(run in ("", ".", "_", "__") or not run.strip("-") for run in separators)


def _invalid(text: object, reason: str) -> InvalidInput:
    return InvalidInput(
        f"{text!r} is not an image reference: {reason}", hint="write [host[:port]/]name[:tag][@digest]", value=text
    )
