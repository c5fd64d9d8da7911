# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The texts of resolv.conf and hosts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vitrine.network import files

HOST = """# made by someone
domain old.example
nameserver 127.0.0.53
nameserver 192.0.2.53 # the real one
nameserver fe80::1%eth0
nameserver 2001:db8::53
search example.com corp.example
options edns0 trust-ad
options ndots:2
"""


def test_the_hosts_servers_without_those_that_no_container_reaches():
    assert files.resolv_conf(HOST) == (
        "search example.com corp.example\nnameserver 192.0.2.53\noptions edns0 trust-ad ndots:2\n"
    )


def test_on_the_hosts_network_its_loopback_servers_stay():
    text = files.resolv_conf(HOST, keep_loopback=True)
    assert "nameserver 127.0.0.53\n" in text and "nameserver 2001:db8::53\n" in text
    assert "nameserver 2001:db8::1\n" in files.resolv_conf(HOST, ["2001:db8::1"])  # what was asked for is kept


def test_what_is_asked_for_replaces_its_part_only():
    text = files.resolv_conf(HOST, ["127.0.0.1"], ["a.example"], ["ndots:0"])
    assert text == "search a.example\nnameserver 127.0.0.1\noptions ndots:0\n"
    assert "search" not in files.resolv_conf(HOST, search=["."])


def test_with_no_usable_server_there_are_public_ones():
    for text in ("", "nameserver 127.0.0.53\n", "nameserver ::1", "nameserver"):
        assert files.resolv_conf(text) == "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"


@given(st.text())
def test_any_text_gives_lines_that_resolvers_understand(text):
    for line in files.resolv_conf(text).splitlines():
        assert line.split()[0] in ("nameserver", "search", "options")


def test_servers_on_ipv6_are_kept_for_whom_they_can_serve():
    assert "nameserver 2001:db8::53\n" in files.resolv_conf(HOST, ipv6=True)
    assert "fe80" not in files.resolv_conf(HOST, ipv6=True)


def test_a_number_of_dots_is_only_set_where_nobody_did():
    assert "options edns0 trust-ad ndots:2\n" in files.resolv_conf(HOST, ndots="0")
    assert "options ndots:0\n" in files.resolv_conf("nameserver 192.0.2.53\n", ["127.0.0.11"], ndots="0")
    assert "options rotate ndots:0\n" in files.resolv_conf(HOST, options=["rotate"], ndots="0")


def test_hosts_names_loopback_extras_and_the_container():
    text = files.hosts("web.example.com", ["10.83.0.2", "fd00::2"], {"db": "10.83.0.3"})
    lines = text.splitlines()
    assert lines[0] == "127.0.0.1\tlocalhost"
    assert lines[-3:] == ["10.83.0.3\tdb", "10.83.0.2\tweb.example.com web", "fd00::2\tweb.example.com web"]
    assert text.endswith("\n")


def test_hosts_without_a_network_or_a_name():
    assert files.hosts("web", []).splitlines()[-1] == "127.0.0.1\tweb"
    assert files.hosts("", [], [("db", "10.0.0.1")]).splitlines()[-1] == "10.0.0.1\tdb"
