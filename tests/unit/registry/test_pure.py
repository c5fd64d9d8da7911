# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Challenges, waiting times, endpoints, Link headers: everything of the registry client that needs no network."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine.errors import InvalidInput, RegistryError
from vitrine.registry import challenge, endpoints
from vitrine.registry.retry import Policy, parse_retry_after
from vitrine.registry.search import next_link
from vitrine.registry.transport import Origin

SCOPE = "repository:a/b:pull,push"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, []),
        ("", []),
        ("Basic realm=x", [("basic", {"realm": "x"})]),
        ('Basic realm="a \\"b\\" c"', [("basic", {"realm": 'a "b" c'})]),
        (
            f'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="{SCOPE}"',
            [("bearer", {"realm": "https://auth.docker.io/token", "service": "registry.docker.io", "scope": SCOPE})],
        ),
        (
            'BASIC realm="r", Bearer realm="s" , Scope = "t"',
            [("basic", {"realm": "r"}), ("bearer", {"realm": "s", "scope": "t"})],
        ),
        ("Negotiate, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        (",,Basic realm=x,,", [("basic", {"realm": "x"})]),
        ('Basic realm="a", realm="b"', [("basic", {"realm": "a"})]),
        ('Basic realm="never ends', [("basic", {})]),
        ("realm=x", []),
        ("\u00e4 Basic", []),
    ],
)
def test_challenges_read_as_the_rfc_says(header, expected):
    assert [(item.scheme, item.parameters) for item in challenge.parse(header)] == expected


names = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(st.tuples(names, st.dictionaries(names, values, max_size=3)), max_size=3),
    st.sampled_from([",", ", ", " ,\t"]),
)
def test_challenges_read_back(items, comma):
    def quoted(text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = comma.join(
        scheme + " " + comma.join(f"{name}={quoted(value)}" for name, value in parameters.items())
        for scheme, parameters in items
    )
    assert [(item.scheme, item.parameters) for item in challenge.parse(header)] == items


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=60) | st.text('Bearer ="\\,', max_size=60))
def test_any_header_is_survived(header):
    for item in challenge.parse(header):
        assert item.scheme and all(item.parameters)


def test_waits_double_up_to_a_limit_and_end():
    policy = Policy(attempts=5, first=1.0, longest=3.0, patience=60.0)
    assert [policy.delay(attempt) for attempt in range(1, 6)] == [1.0, 2.0, 3.0, 3.0, None]


def test_a_server_that_asks_for_a_pause_gets_it_unless_it_is_too_long():
    policy = Policy(attempts=3, first=1.0, patience=60.0)
    assert policy.delay(1, 30.0) == 30.0 and policy.delay(1, 0.0) == 1.0
    assert policy.delay(1, 61.0) is None and policy.delay(3, 1.0) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        (" 0 ", 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
        ("\u0665", None),
        ("9" * 400, 999999999.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    assert parse_retry_after(text, now=60.0) == seconds


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=30), st.floats(0, 2e9))
def test_any_retry_after_is_survived(text, now):
    found = parse_retry_after(text, now)
    assert found is None or found >= 0


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://a.example/x", ("https", "a.example", 443)),
        ("HTTP://A.example:80/x", ("http", "a.example", 80)),
        ("http://[::1]:5000/", ("http", "::1", 5000)),
        ("https://user:pw@a.example/", None),
        ("file:///etc/passwd", None),
        ("//a.example/x", None),
        ("https://a.example:99999/", None),
        ("https:///x", None),
        ("gopher://x", None),
    ],
)
def test_only_plain_web_addresses_have_an_origin(url, origin):
    if origin is None:
        with pytest.raises(RegistryError):
            Origin.of(url)
    else:
        assert Origin.of(url) == origin


@pytest.mark.parametrize(
    ("header", "link"),
    [
        ('</v2/_catalog?n=2&last=b>; rel="next"', "/v2/_catalog?n=2&last=b"),
        ("<https://x/y>;rel=next", "https://x/y"),
        ('<a>; rel="prev", <b>; rel="next"', "b"),
        ('<a>; rel="prev"', ""),
        ("a; rel=next", ""),
        (None, ""),
    ],
)
def test_lists_go_on_where_the_link_says(header, link):
    assert next_link(header) == link


def test_the_hub_is_asked_at_its_own_host_after_its_mirrors():
    config = {
        "mirrors": {"docker.io": ["https://mirror.example/proxy/hub", "http://10.0.0.1:5000", "other.example/v2/x"]}
    }
    found = endpoints.endpoints(config, "docker.io")
    assert [(item.host, item.schemes, item.prefix, item.mirror) for item in found] == [
        ("mirror.example", ("https",), "proxy/hub/", True),
        ("10.0.0.1:5000", ("http",), "", True),
        ("other.example", ("https",), "x/", True),
        ("registry-1.docker.io", ("https",), "", False),
    ]


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.1.2.3", True),
        ("[::1]:5000", True),
        ("registry.localhost", True),
        ("10.1.2.3:5000", True),
        ("[fd00::5]:80", True),
        ("listed.example:5000", True),
        ("by-name.example:1", True),
        ("listed.example:5001", False),
        ("11.1.2.3", False),
        ("127.example.com", False),
        ("localhost.example.com", False),
        ("docker.io", False),
    ],
)
def test_only_this_host_and_what_is_listed_may_do_without_tls(host, plain):
    config = {"insecure": ["10.0.0.0/8", "fd00::/8", "listed.example:5000", "by-name.example"]}
    found = endpoints.origin(config, host)
    assert found.schemes == (("https", "http") if plain else ("https",)) and found.verify is not plain


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"mirror": {}},
        {"mirrors": []},
        {"insecure": "x"},
        {"search": {}},
    ],
)
def test_a_wrong_configuration_is_named(value):
    with pytest.raises(InvalidInput, match="registries"):
        endpoints.check_config(value)


@pytest.mark.parametrize("mirror", ["ftp://x", "https://", "x y", 5, "https://h/UPPER", "https://h/../x", "http://u@h"])
def test_a_mirror_that_is_no_address_is_named(mirror):
    with pytest.raises(InvalidInput):
        endpoints.endpoints({"mirrors": {"docker.io": [mirror]}}, "docker.io")
    with pytest.raises(InvalidInput):
        endpoints.endpoints({"mirrors": {"docker.io": mirror}}, "docker.io")
