# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""References: docker's abbreviations, the distribution grammar's edges, and that every spelling reads back."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine.errors import InvalidInput
from vitrine.oci import digest, reference

HEX = "0123456789abcdef" * 4
SHA = "sha256:" + HEX


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("debian", "docker.io/library/debian:latest", "debian:latest"),
        ("debian:bookworm", "docker.io/library/debian:bookworm", "debian:bookworm"),
        ("library/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("index.docker.io/library/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("index.docker.io/someone/app", "docker.io/someone/app:latest", "someone/app:latest"),
        ("someone/app:1.0", "docker.io/someone/app:1.0", "someone/app:1.0"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"),
        ("127.0.0.1:5000/a/b/c:v1", "127.0.0.1:5000/a/b/c:v1", "127.0.0.1:5000/a/b/c:v1"),
        ("[2001:db8::1]:5000/repo", "[2001:db8::1]:5000/repo:latest", "[2001:db8::1]:5000/repo:latest"),
        ("[2001:db8::1]/repo", "[2001:db8::1]/repo:latest", "[2001:db8::1]/repo:latest"),
        ("Host/app", "Host/app:latest", "Host/app:latest"),
        ("quay.io/org/app@" + SHA, "quay.io/org/app@" + SHA, "quay.io/org/app@" + SHA),
        ("debian:12@" + SHA, "docker.io/library/debian:12@" + SHA, "debian:12@" + SHA),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com"),
        ("foo_bar.com:8080", "docker.io/library/foo_bar.com:8080", "foo_bar.com:8080"),
        ("foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080", "foo/foo_bar.com:8080"),
        (
            "sub-dom1.foo.com/bar/baz/quux",
            "sub-dom1.foo.com/bar/baz/quux:latest",
            "sub-dom1.foo.com/bar/baz/quux:latest",
        ),
        ("a-a/a---a", "docker.io/a-a/a---a:latest", "a-a/a---a:latest"),
        ("aa/asdf$$^/aa", None, None),
        ("a" * 128 + ".com/" + "a" * 255, "a" * 128 + ".com/" + "a" * 255 + ":latest", None),
        ("a" * 128 + ".com/" + "a" * 256, None, None),
        ("", None, None),
        (":tag", None, None),
        ("@" + SHA, None, None),
        ("repo@sha256:" + HEX[:34], None, None),
        ("repo@sha256:" + HEX.upper(), None, None),
        ("repo@md5:" + HEX, None, None),
        ("repo@" + SHA + "\n", None, None),
        ("Uppercase:tag", None, None),
        ("test:5000/Uppercase/lowercase:tag", None, None),
        ("lowercase:" + "a" * 129, None, None),
        ("lowercase:-tag", None, None),
        ("lowercase:.tag", None, None),
        ("lowercase:t\u00e4g", None, None),
        ("a:1:2", None, None),
        ("a//b", None, None),
        ("/a", None, None),
        ("a/", None, None),
        ("-foo.com/bar", None, None),
        ("foo-.com/bar", None, None),
        ("foo..com/bar", None, None),
        ("foo.com:http/bar", None, None),
        ("foo.com:99999/bar", None, None),
        ("foo.com:/bar", None, None),
        ("[fe80::1%eth0]:5000/repo", None, None),
        ("[2001:db8::1]5000/repo", None, None),
        ("[]/repo", None, None),
        ("a__b/c", "docker.io/a__b/c:latest", "a__b/c:latest"),
        ("a___b/c", None, None),
        ("a..b/c.d", None, None),
        ("a._b", None, None),
        ("a/b_", None, None),
        (HEX, None, None),
        ("a b", None, None),
        ("../x", None, None),
        ("a\n", None, None),
        ("https://docker.io/debian", None, None),
    ],
)
def test_reads_as_the_distribution_does(text, canonical, familiar):
    if canonical is None:
        with pytest.raises(InvalidInput) as caught:
            reference.parse(text)
        assert repr(text) in str(caught.value) and caught.value.value == text
        return
    parsed = reference.parse(text)
    assert parsed.canonical == canonical
    assert familiar is None or parsed.familiar == familiar
    assert reference.parse(parsed.familiar) == reference.parse(parsed.canonical) == parsed


def test_a_digest_wins_over_the_tag_and_no_tag_is_invented_beside_it():
    assert reference.parse("debian@" + SHA).tag is None
    assert reference.parse("debian:12@" + SHA).wanted == SHA
    assert reference.parse("debian:12").wanted == "12"
    assert reference.parse("debian", default_tag=None).tag is None
    assert reference.parse("debian:12").pinned(SHA).familiar == "debian@" + SHA


word = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=5)
component = st.builds(
    lambda first, rest: first + "".join(s + w for s, w in rest),
    word,
    st.lists(st.tuples(st.sampled_from([".", "_", "__", "-", "---"]), word), max_size=2),
)
host = st.sampled_from(["docker.io", "localhost", "quay.io", "Host", "127.0.0.1:5000", "[::1]:5000", "a.b-c.d:1"])
tag = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)


@settings(deadline=None)  # the machine may be busy
@given(host, st.lists(component, min_size=1, max_size=4), st.none() | tag, st.booleans())
def test_every_valid_reference_reads_back(registry, components, tag_text, with_digest):
    name = "/".join([registry, *components])
    text = name + (f":{tag_text}" if tag_text else "") + (f"@{SHA}" if with_digest else "")
    parsed = reference.parse(text)
    assert parsed.tag == (tag_text or (None if with_digest else "latest"))
    assert parsed.digest == (SHA if with_digest else None)
    assert parsed.repository.endswith("/".join(components))
    assert reference.parse(parsed.canonical) == parsed == reference.parse(parsed.familiar)


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=40) | st.text("abcA0./:@-_[]\n", max_size=40))
def test_any_text_is_read_or_refused_with_a_message(text):
    try:
        parsed = reference.parse(text)
    except InvalidInput:
        return
    assert reference.parse(parsed.canonical) == parsed
    assert not set(parsed.repository) & set(":@\n\0 ") and ".." not in parsed.repository.split("/")


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", "sha256:../../x", "sha256:" + "g" * 64, "SHA256:" + HEX, SHA + "\n", SHA + "a", "sha512:" + HEX, 5],
)
def test_only_exact_digests_pass(text):
    assert not digest.valid(text)
    with pytest.raises(InvalidInput):
        digest.check(text)


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=200))
def test_a_digest_is_that_of_its_content(data):
    assert digest.valid(digest.of(data)) and digest.matches(data, digest.of(data))
    assert not digest.matches(data + b"x", digest.of(data))
