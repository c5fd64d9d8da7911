# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The texts users write: what they mean, and which of them are refused with the value in the message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.engine import parse
from vitrine.engine.spec import ContainerSpec, Mount, Port
from vitrine.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("64m", 64 << 20),
        ("64MiB", 64 << 20),
        ("1.5g", 3 << 29),
        ("1024", 1024),
        ("2KB", 2048),
        (7, 7),
        (" 1 G ", 1 << 30),
    ],
)
def test_size(text, value):
    assert parse.size(text) == value


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [Port("", 0, 80, "tcp")]),
        ("8080:80", [Port("", 8080, 80, "tcp")]),
        ("127.0.0.1:8080:80/udp", [Port("127.0.0.1", 8080, 80, "udp")]),
        ("127.0.0.1::80", [Port("127.0.0.1", 0, 80, "tcp")]),
        ("[::1]:8080:80", [Port("::1", 8080, 80, "tcp")]),
        ("9000-9001:80-81", [Port("", 9000, 80), Port("", 9001, 81)]),
        ("80-81", [Port("", 0, 80), Port("", 0, 81)]),
    ],
)
def test_port(text, ports):
    assert parse.port(text) == ports


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("port", "80:70000"),
        ("port", "a:80"),
        ("port", "host:80:80"),
        ("port", "[::1:80:80"),
        ("port", "80/icmp"),
        ("port", "9-8:80"),
        ("port", "1-3:80-81"),
        ("port", "::1:80:80"),
        ("port", ""),
        ("size", "64q"),
        ("size", "-1"),
        ("size", ""),
        ("cpus", "0"),
        ("cpus", "many"),
        ("name", "-a"),
        ("name", "a/b"),
        ("name", ""),
        ("volume", "a:b"),
        ("volume", "/a:/"),
        ("volume", "/a:/b:ro:rw"),
        ("volume", ":/b"),
        ("mount", "type=npipe,target=/x"),
        ("mount", "type=bind,source=rel,target=/x"),
        ("mount", "type=tmpfs,target=/x,what=1"),
        ("ulimit", "nofile"),
        ("ulimit", "nofile=2:1"),
        ("ulimit", "files=1"),
        ("device", "dev/null"),
        ("restart", "sometimes"),
        ("restart", "always:3"),
        ("duration", "1 parsec"),
        ("signal", "SIGNOPE"),
        ("signal", "0"),
        ("host_entry", "a:b"),
        ("host_entry", "1.2.3.4"),
        ("exposed", "80/xyz"),
        ("cpuset", "0-"),
        ("label", "=x"),
    ],
)
def test_bad_text_is_refused_with_its_value(function, text):
    with pytest.raises(InvalidInput) as caught:
        getattr(parse, function)(text)
    assert caught.value.hint
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("/a:/b", Mount("bind", "/a", "/b")),
        ("/a:/b:ro", Mount("bind", "/a", "/b", True)),
        ("data:/b:rw,nocopy", Mount("volume", "data", "/b", False, ("nocopy",))),
        ("/b", Mount("volume", "", "/b")),
        ("/b:ro", Mount("volume", "", "/b", True)),
        ("/a:/b/../c:rshared", Mount("bind", "/a", "/c", False, ("rshared",))),
    ],
)
def test_volume(text, mount):
    assert parse.volume(text) == mount


def test_only_names_that_the_engine_chose_are_anonymous_volumes():
    assert Mount("volume", "0f" * 32, "/b").anonymous
    assert not Mount("volume", "backup-of-the-year-" + "x" * 45, "/b").anonymous  # 64 characters, a user's own
    assert not Mount("bind", "0f" * 32, "/b").anonymous


def test_mount_flag():
    assert parse.mount("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770") == Mount(
        "tmpfs", "", "/t", False, ("size=1048576", "mode=1770")
    )
    assert parse.mount("type=bind,src=/a,dst=/b,readonly") == Mount("bind", "/a", "/b", True)


def test_signals():
    assert [parse.signal(word) for word in ("TERM", "sigkill", "9", 15, "RTMIN+3", "RTMAX")] == [15, 9, 9, 15, 37, 64]


def test_durations():
    assert parse.duration("1m30s") == 90 * 10**9
    assert parse.duration("1.5") == 1500 * 10**6
    assert parse.duration("250ms") == 250 * 10**6


def test_env_takes_bare_names_from_the_environment():
    assert parse.env(["A=1", "B", "C"], {"B": "2"}) == ["A=1", "B=2"]


def test_env_file(tmp_path):
    file = tmp_path / "env"
    file.write_text("# comment\nA=1\n\n B=two words\n")
    assert parse.env_file(str(file)) == ["A=1", "B=two words"]
    file.write_text("A=1\nnot a setting\n")
    with pytest.raises(InvalidInput, match=":2:"):
        parse.env_file(str(file))


names = st.text("abcXYZ012_.-", min_size=1, max_size=20)


@given(
    spec=st.builds(
        ContainerSpec,
        image=names,
        name=st.none() | names,
        command=st.none() | st.lists(st.text()).map(tuple),
        env=st.lists(st.text()).map(tuple),
        labels=st.dictionaries(names, st.text()),
        published_ports=st.lists(st.builds(Port, names, st.integers(), st.integers(), names)).map(tuple),
        mounts=st.lists(st.builds(Mount, names, names, names, st.booleans(), st.lists(names).map(tuple))).map(tuple),
        ulimits=st.lists(st.tuples(names, st.integers(), st.integers())).map(tuple),
        devices=st.lists(st.tuples(names, names, names)).map(tuple),
        memory=st.none() | st.integers(),
    )
)
def test_a_spec_survives_its_json(spec):
    assert ContainerSpec.from_json(spec.to_json()) == spec
