# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to know of distributions, without touching one: names, suites, archives, the host's own mirrors.

Pure functions. ``bootstrap`` runs the programs. Nothing is taken from a caller into a program's arguments before it
has matched a pattern that cannot be an option.
"""

from __future__ import annotations

import re

from ..errors import InvalidInput
from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: deb architecture and rpm architecture of each architecture, by the name that images use (GOARCH).
ARCHITECTURES = {
    "386": ("i386", "i686"),
    "amd64": ("amd64", "x86_64"),
    "arm": ("armhf", "armv7hl"),
    "arm64": ("arm64", "aarch64"),
    "ppc64le": ("ppc64el", "ppc64le"),
    "riscv64": ("riscv64", "riscv64"),
    "s390x": ("s390x", "s390x"),
}
VARIANTS = ("minbase", "buildd", "important")

_DEBIAN_RELEASES = {
    "11": "bullseye",
    "12": "bookworm",
    "13": "trixie",
    "14": "forky",
    "latest": "stable",
}
_UBUNTU_RELEASES = {
    "18.04": "bionic",
    "20.04": "focal",
    "22.04": "jammy",
    "24.04": "noble",
    "24.10": "oracular",
    "25.04": "plucky",
    "25.10": "questing",
    "26.04": "resolute",
    "devel": "devel",
    "latest": "noble",
}
_CENTOS_RELEASES = {"9": "9", "stream9": "9", "10": "10", "stream10": "10", "latest": "9"}

_SUITE = re.compile(r"[a-z0-9][a-z0-9.+-]*", re.ASCII)
_PACKAGE = re.compile(r"@?[A-Za-z0-9][A-Za-z0-9+.:~_-]*(?:=[A-Za-z0-9][A-Za-z0-9+.:~-]*)?", re.ASCII)
_COMPONENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9/-]*", re.ASCII)
_MIRROR = re.compile(r"(?:https?://[A-Za-z0-9\[]|file:///)[^\s\x00-\x1f\x7f\"'<>\\\[\]]*", re.ASCII)


class Source(Record):
    """One line of an apt sources list, as far as it matters here."""

    uri: str
    suite: str
    components: tuple[str, ...]

    def line(self, keyring: str = "") -> str:
        """In apt's one-line format. keyring: the only key that may sign it, or "" for all that apt trusts."""
        option = f"[signed-by={keyring}] " if keyring else ""
        return f"deb {option}{self.uri} {self.suite} {' '.join(self.components)}"


class Distribution(Record):
    """A distribution whose packages can become a base image.

    family: "deb" or "rpm". archive, ports, security: the official archives' addresses; ports serves the architectures
    that archive does not ("" if archive serves all). keyring: where the keys lie on a host that has keyring_package,
    and in the image. releases: suite by what tags say.
    """

    name: str
    family: str
    archive: str
    releases: dict[str, str]
    components: tuple[str, ...] = ()
    ports: str = ""
    security: str = ""
    keyring: str = ""
    keyring_package: str = ""
    command: str = "bash"


DISTRIBUTIONS: dict[str, Distribution] = {
    "debian": Distribution(
        "debian",
        "deb",
        "http://deb.debian.org/debian",
        _DEBIAN_RELEASES,
        components=("main",),
        security="http://deb.debian.org/debian-security",
        keyring="/usr/share/keyrings/debian-archive-keyring.gpg",
        keyring_package="debian-archive-keyring",
    ),
    "ubuntu": Distribution(
        "ubuntu",
        "deb",
        "http://archive.ubuntu.com/ubuntu",
        _UBUNTU_RELEASES,
        components=("main", "universe"),
        ports="http://ports.ubuntu.com/ubuntu-ports",
        security="http://security.ubuntu.com/ubuntu",
        keyring="/usr/share/keyrings/ubuntu-archive-keyring.gpg",
        keyring_package="ubuntu-keyring",
    ),
    "centos": Distribution(
        "centos",
        "rpm",
        "https://mirror.stream.centos.org",
        _CENTOS_RELEASES,
        components=("BaseOS", "AppStream"),
        keyring="/etc/pki/rpm-gpg/RPM-GPG-KEY-centosofficial",
        keyring_package="centos-gpg-keys",
        command="/bin/bash",
    ),
}


def parse_os_release(text: str) -> dict[str, str]:
    """os-release(5) as a mapping; what is not an assignment is passed over."""
    values = {}
    for line in text.splitlines():
        key, sign, value = line.strip().partition("=")
        if sign and not key.startswith("#"):
            values[key] = value.strip("\"'")
    return values


def choose(
    repository: str, tag: str, *, distribution: str | None, suite: str | None, os_release: Mapping[str, str]
) -> tuple[Distribution, str]:
    """Which distribution and suite "debian:bookworm", "ubuntu:24.04" or "centos:stream9" names.

    repository: path without the registry. What is given explicitly wins. The tag "latest" is the host's own release
    where the host is of that distribution, else the newest long-lived one known here. Raises InvalidInput.
    """
    name = distribution or repository.rpartition("/")[2]
    found = DISTRIBUTIONS.get(name)
    if found is None:
        raise InvalidInput(
            f"{name!r} is no distribution that can be bootstrapped",
            hint=f"name the image {', '.join(DISTRIBUTIONS)}, or say which distribution it is to be made of",
            value=name,
        )
    if suite is None:
        word = tag[:-5] if tag.endswith("-slim") else tag
        own = os_release.get("ID") == found.name
        if word == "latest" and own:
            word = os_release.get("VERSION_CODENAME") or os_release.get("VERSION_ID", "").partition(".")[0] or word
        suite = found.releases.get(word, word)
        if found.family == "rpm":
            known = suite in found.releases.values()
        else:
            known = suite[:1].isalpha() and not re.search(r"-\d{8}", suite)
        if not known:
            raise InvalidInput(
                f"the tag {tag!r} does not say which release of {found.name} is meant",
                hint=f"use one of {', '.join(found.releases)}, a release's name, or give the suite explicitly",
                value=tag,
            )
    else:
        suite = found.releases.get(suite, suite)
    if not _SUITE.fullmatch(suite):
        raise InvalidInput(f"{suite!r} is no suite's name", hint="for example bookworm, noble or 9", value=suite)
    return found, suite


def check_packages(packages: Iterable[str]) -> tuple[str, ...]:
    """Package names (or name=version), sorted, each once. Raises InvalidInput for what cannot be one."""
    names = tuple(sorted(set(packages)))
    for name in names:
        if not _PACKAGE.fullmatch(name):
            raise InvalidInput(f"{name!r} is no package's name", hint="give one name per package", value=name)
    return names


def check_components(components: Sequence[str]) -> tuple[str, ...]:
    """Archive components in the order given. Raises InvalidInput."""
    for name in components:
        if not _COMPONENT.fullmatch(name):
            raise InvalidInput(f"{name!r} is no archive component", hint="for example main or universe", value=name)
    return tuple(components)


def check_mirror(mirror: str) -> str:
    """The archive's address without a slash at its end. Raises InvalidInput."""
    if not _MIRROR.fullmatch(mirror):
        raise InvalidInput(
            f"{mirror!r} is no package archive's address",
            hint="give an URL such as http://deb.debian.org/debian, or file:///srv/mirror",
            value=mirror,
        )
    return mirror.rstrip("/")


def image_architecture(name: str) -> str:
    """The images' name of an architecture, from that name, uname's or a distribution's. Raises InvalidInput."""
    uname = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386", "i586": "386"}
    for image_name, aliases in ARCHITECTURES.items():
        if name == image_name or name in aliases or uname.get(name) == image_name:
            return image_name
    raise InvalidInput(
        f"{name!r} is no architecture that images can be made for",
        hint=f"one of {', '.join(ARCHITECTURES)}",
        value=name,
    )


def official_sources(
    distribution: Distribution, suite: str, components: Sequence[str], architecture: str
) -> tuple[Source, ...]:
    """The sources of a release as its distribution publishes them; architecture as images name it."""
    components = tuple(components)
    archive, security = distribution.archive, distribution.security
    if distribution.ports and architecture not in ("amd64", "386"):
        archive = security = distribution.ports
    sources = [Source(archive, suite, components)]
    if suite not in ("sid", "unstable", "experimental", "devel"):
        sources.append(Source(archive, f"{suite}-updates", components))
        sources.append(Source(security, f"{suite}-security", components))
    return tuple(sources)


def host_sources(
    distribution: Distribution, suite: str, components: Sequence[str], entries: Sequence[Source], codename: str
) -> tuple[Source, ...]:
    """The same release from the mirrors that the host's own entries name; empty if an image can use none of them.

    entries: parse_sources of the host's files. codename: the host's own release. Only those pockets are taken that
    the host takes itself: a host may reach nothing else. Addresses that make sense on the host only (file:, cdrom:,
    a proxy on its loopback) or that carry credentials never get into an image.
    """
    found = {}
    for entry in entries:
        for pocket in ("", "-updates", "-security"):
            if entry.suite == codename + pocket and pocket not in found and portable(entry.uri):
                found[pocket] = entry.uri
    if "" not in found:
        return ()
    if suite in ("sid", "unstable", "experimental", "devel"):
        found = {"": found[""]}
    return tuple(Source(uri, suite + pocket, tuple(components)) for pocket, uri in sorted(found.items()))


def portable(uri: str) -> bool:
    """Whether the address of an archive means the same inside a container, and tells no secret."""
    match = re.fullmatch(r"https?://(\[[^\]]*\]|[^/:@\[]+)(:\d+)?(/.*)?", uri)
    if not match or not _MIRROR.fullmatch(uri):
        return False
    host = match.group(1).lower()
    return host != "localhost" and not host.startswith("127.") and host != "[::1]"


def parse_sources(text: str, *, deb822: bool) -> list[Source]:
    """The enabled entries of one sources file, sources.list(5); what is no binary archive is passed over."""
    return list(_parse_deb822(text) if deb822 else _parse_one_line(text))


def _parse_one_line(text: str) -> Iterable[Source]:
    for line in text.splitlines():
        line = re.sub(r"\[[^\]]*\]", " ", line.partition("#")[0], count=1)
        words = line.split()
        if len(words) >= 3 and words[0] == "deb":
            yield Source(words[1].rstrip("/"), words[2], tuple(words[3:]))


def _parse_deb822(text: str) -> Iterable[Source]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        fields: dict[str, str] = {}
        key = ""
        for line in paragraph.splitlines():
            if line[:1].isspace():
                fields[key] = fields.get(key, "") + " " + line.strip()
            else:
                key, _colon, value = line.partition(":")
                key = key.strip().lower()
                fields[key] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield Source(uri.rstrip("/"), suite, tuple(fields.get("components", "").split()))
