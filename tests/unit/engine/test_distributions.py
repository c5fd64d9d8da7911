# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reference, the host's own sources and the options say about a base image to be bootstrapped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.engine import distributions
from vitrine.engine.distributions import DISTRIBUTIONS, Source
from vitrine.errors import InvalidInput

BOOKWORM = {"ID": "debian", "VERSION_CODENAME": "bookworm", "VERSION_ID": "12"}
STREAM = {"ID": "centos", "VERSION_ID": "9"}


@pytest.mark.parametrize(
    ("repository", "tag", "host", "expected"),
    [
        ("library/debian", "bookworm", {}, ("debian", "bookworm")),
        ("library/debian", "12", {}, ("debian", "bookworm")),
        ("debian", "13", {}, ("debian", "trixie")),
        ("debian", "bookworm-slim", {}, ("debian", "bookworm")),
        ("debian", "sid", {}, ("debian", "sid")),
        ("debian", "latest", {}, ("debian", "stable")),
        ("debian", "latest", BOOKWORM, ("debian", "bookworm")),
        ("ubuntu", "latest", BOOKWORM, ("ubuntu", "noble")),
        ("library/ubuntu", "24.04", {}, ("ubuntu", "noble")),
        ("ubuntu", "jammy", {}, ("ubuntu", "jammy")),
        ("someone/centos", "stream9", {}, ("centos", "9")),
        ("centos", "10", {}, ("centos", "10")),
        ("centos", "latest", STREAM, ("centos", "9")),
    ],
)
def test_what_a_reference_names(repository, tag, host, expected):
    distribution, suite = distributions.choose(repository, tag, distribution=None, suite=None, os_release=host)
    assert (distribution.name, suite) == expected


def test_what_is_given_wins():
    found = distributions.choose("me/base", "v1", distribution="debian", suite="trixie", os_release={})
    assert (found[0].name, found[1]) == ("debian", "trixie")
    found = distributions.choose("debian", "v1", distribution="ubuntu", suite="22.04", os_release={})
    assert (found[0].name, found[1]) == ("ubuntu", "jammy")


@pytest.mark.parametrize(
    ("repository", "tag", "suite"),
    [
        ("alpine", "latest", None),
        ("debian", "99", None),
        ("debian", "bookworm-20240101", None),
        ("centos", "7", None),
        ("centos", "bookworm", None),
        ("debian", "x", "--include=evil"),
        ("debian", "x", "../../etc"),
        ("debian", "x", "a b"),
        ("debian", "x", ""),
    ],
)
def test_what_no_reference_names(repository, tag, suite):
    with pytest.raises(InvalidInput) as caught:
        distributions.choose(repository, tag, distribution=None, suite=suite, os_release={})
    assert caught.value.hint


DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian/ http://second.example/debian
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main contrib

Types: deb
Enabled: no
URIs: http://disabled.example/debian
Suites: bookworm

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
"""
ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/x] http://mirror.example/debian/ bookworm main contrib # why
deb-src http://source.example/debian bookworm main
deb http://mirror.example/debian bookworm-updates main

broken line
deb http://short.example
"""


def test_reading_the_hosts_sources():
    assert distributions.parse_sources(DEB822, deb822=True) == [
        Source("http://mirror.example/debian", "bookworm", ("main",)),
        Source("http://mirror.example/debian", "bookworm-updates", ("main",)),
        Source("http://second.example/debian", "bookworm", ("main",)),
        Source("http://second.example/debian", "bookworm-updates", ("main",)),
        Source("http://mirror.example/debian-security", "bookworm-security", ("main", "contrib")),
    ]
    assert distributions.parse_sources(ONE_LINE, deb822=False) == [
        Source("http://mirror.example/debian", "bookworm", ("main", "contrib")),
        Source("http://mirror.example/debian", "bookworm-updates", ("main",)),
    ]


def test_an_image_uses_the_pockets_that_the_host_uses():
    debian = DISTRIBUTIONS["debian"]
    entries = distributions.parse_sources(DEB822, deb822=True)
    found = distributions.host_sources(debian, "trixie", ("main",), entries, "bookworm")
    assert [source.line() for source in found] == [
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian-security trixie-security main",
        "deb http://mirror.example/debian trixie-updates main",
    ]
    assert len(distributions.host_sources(debian, "sid", ("main",), entries, "bookworm")) == 1
    assert distributions.host_sources(debian, "trixie", ("main",), entries, "bullseye") == ()
    only = distributions.parse_sources("deb http://m.example/debian bookworm main", deb822=False)
    assert len(distributions.host_sources(debian, "bookworm", ("main",), only, "bookworm")) == 1


@pytest.mark.parametrize(
    "uri",
    [
        "http://user:secret@mirror.example/debian",
        "http://user@mirror.example/debian",
        "file:/srv/mirror",
        "cdrom:[Debian]",
        "http://localhost:3142/debian",
        "http://127.0.0.1/debian",
        "http://[::1]/debian",
        "mirror+file:/etc/apt/mirrors",
        "tor+http://x.onion/debian",
    ],
)
def test_addresses_that_an_image_must_not_get(uri):
    assert not distributions.portable(uri)
    entries = [Source(uri, "bookworm", ("main",))]
    assert distributions.host_sources(DISTRIBUTIONS["debian"], "bookworm", ("main",), entries, "bookworm") == ()


def test_official_archives():
    debian = distributions.official_sources(DISTRIBUTIONS["debian"], "bookworm", ("main",), "amd64")
    assert [source.line("/k.gpg") for source in debian] == [
        "deb [signed-by=/k.gpg] http://deb.debian.org/debian bookworm main",
        "deb [signed-by=/k.gpg] http://deb.debian.org/debian bookworm-updates main",
        "deb [signed-by=/k.gpg] http://deb.debian.org/debian-security bookworm-security main",
    ]
    assert len(distributions.official_sources(DISTRIBUTIONS["debian"], "sid", ("main",), "amd64")) == 1
    arm = distributions.official_sources(DISTRIBUTIONS["ubuntu"], "noble", ("main",), "arm64")
    assert {source.uri for source in arm} == {"http://ports.ubuntu.com/ubuntu-ports"}


@pytest.mark.parametrize("name", ["-x", "--include=y", "a b", "a;b", "a,b", "", "a\n", "../x", "a=-b"])
def test_names_that_are_no_packages(name):
    with pytest.raises(InvalidInput):
        distributions.check_packages(["vim", name])


def test_packages_are_sorted_and_come_once():
    names = ["vim", "ca-certificates", "g++", "vim", "libc6:arm64", "curl=7.88.1-10"]
    assert distributions.check_packages(names) == ("ca-certificates", "curl=7.88.1-10", "g++", "libc6:arm64", "vim")


@pytest.mark.parametrize(
    "uri", ["", "-x", "ftp://x/y", "http://", "http://x/a b", "http://x/\n", "copy:/x", "file://x/y"]
)
def test_addresses_that_are_no_mirror(uri):
    with pytest.raises(InvalidInput):
        distributions.check_mirror(uri)


def test_mirrors():
    assert distributions.check_mirror("http://mirror.example/debian/") == "http://mirror.example/debian"
    assert distributions.check_mirror("file:///srv/mirror") == "file:///srv/mirror"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("x86_64", "amd64"), ("amd64", "amd64"), ("aarch64", "arm64"), ("ppc64el", "ppc64le"), ("armv7l", "arm")],
)
def test_architectures(name, expected):
    assert distributions.image_architecture(name) == expected


def test_an_architecture_that_is_none():
    with pytest.raises(InvalidInput):
        distributions.image_architecture("vax")


def test_os_release():
    text = '# c\nID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nX=\n\nnonsense\n'
    assert distributions.parse_os_release(text) == {
        "ID": "debian",
        "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)",
        "X": "",
    }


@given(st.text(max_size=300), st.booleans())
def test_any_sources_file_is_read(text, deb822):
    for source in distributions.parse_sources(text, deb822=deb822):
        assert source.suite


@given(st.text(max_size=60))
def test_whatever_goes_into_an_image_is_one_word(uri):
    if distributions.portable(uri):
        assert len(uri.split()) == 1 and "@" not in uri.split("/")[2]
