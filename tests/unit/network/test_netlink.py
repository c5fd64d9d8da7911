# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each netlink message that is packed by hand, read by pyroute2's decoder."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.linux import netlink as route
from vitrine.linux import netlink_kinds as kinds
from vitrine.network import addresses

pytest.importorskip("pyroute2", reason="needs pyroute2")
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # noqa: E402
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # noqa: E402
from pyroute2.netlink.rtnl.rtmsg import rtmsg  # noqa: E402

MAC = b"\x02\x42\x0a\x53\x00\x02"


def decode(cls, message):
    kind, flags, body = message
    data = struct.pack("=LHHLL", len(body) + 16, kind, flags | route.NLM_F_REQUEST, 1, 0) + body
    decoded = cls(data)
    decoded.decode()
    return decoded


def test_a_bridge():
    seen = decode(ifinfmsg, route.bridge_create("vitrine0", MAC, 1420, 7))
    assert seen["header"]["type"] == 16
    assert seen["header"]["flags"] == route.NLM_F_REQUEST | route.NLM_F_CREATE | route.NLM_F_EXCL
    assert (seen["flags"], seen["change"]) == (1, 1)
    assert seen.get_attr("IFLA_IFNAME") == "vitrine0"
    assert seen.get_attr("IFLA_ADDRESS") == "02:42:0a:53:00:02"
    assert (seen.get_attr("IFLA_MTU"), seen.get_attr("IFLA_GROUP")) == (1420, 7)
    assert seen.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_KIND") == "bridge"


def test_a_veth_pair_with_its_peer_in_a_namespace():
    seen = decode(ifinfmsg, route.veth_create("vt0123456789ab", 5, 1420, 7, 11, "eth0", MAC))
    assert (seen.get_attr("IFLA_IFNAME"), seen.get_attr("IFLA_MASTER")) == ("vt0123456789ab", 5)
    assert (seen["flags"], seen["change"], seen.get_attr("IFLA_GROUP")) == (1, 1, 7)
    info = seen.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    peer = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert (peer["flags"], peer["change"]) == (0, 0)
    assert peer.get_attr("IFLA_IFNAME") == "eth0"
    assert peer.get_attr("IFLA_ADDRESS") == "02:42:0a:53:00:02"
    assert (peer.get_attr("IFLA_MTU"), peer.get_attr("IFLA_NET_NS_FD")) == (1420, 11)


def test_links_are_changed_and_deleted_by_name():
    seen = decode(ifinfmsg, route.link_set("eth0", up=True))
    assert (seen["index"], seen["flags"], seen["change"], seen.get_attr("IFLA_IFNAME")) == (0, 1, 1, "eth0")
    seen = decode(ifinfmsg, route.link_set("eth0", up=False, index=4))
    assert (seen["index"], seen["flags"], seen["change"], seen.get_attr("IFLA_IFNAME")) == (4, 0, 1, None)
    seen = decode(ifinfmsg, route.link_delete("vt0"))
    assert (seen["header"]["type"], seen["index"], seen.get_attr("IFLA_IFNAME")) == (17, 0, "vt0")
    seen = decode(ifinfmsg, route.group_delete(0x40000001))
    assert (seen["header"]["type"], seen["index"], seen.get_attr("IFLA_GROUP")) == (17, 0, 0x40000001)


def test_hairpin():
    kind, _flags, body = route.bridge_port_hairpin(9)
    assert kind == 19
    family, _type, index, _link_flags, _change = struct.unpack_from("=BxHiII", body)
    assert (family, index) == (socket.AF_BRIDGE if hasattr(socket, "AF_BRIDGE") else 7, 9)
    assert route.attributes(dict(route.attributes(body, 16))[12]) == [(4, b"\1")]


@given(st.ip_addresses(v=4), st.integers(1, 32))
def test_an_address(address, length):
    seen = decode(ifaddrmsg, route.address_add(3, f"{address}/{length}"))
    assert (seen["family"], seen["prefixlen"], seen["index"], seen["scope"]) == (2, length, 3, 0)
    assert seen.get_attr("IFA_LOCAL") == seen.get_attr("IFA_ADDRESS") == str(address)
    if length < 31:
        top = int(address) | ((1 << (32 - length)) - 1)
        assert addresses.number(seen.get_attr("IFA_BROADCAST")) == top
    else:
        assert seen.get_attr("IFA_BROADCAST") is None


def test_an_ipv6_address_without_duplicate_detection():
    seen = decode(ifaddrmsg, route.address_add(3, "fd00::2/64"))
    assert (seen["family"], seen["prefixlen"], seen["flags"]) == (10, 64, 2)
    assert seen.get_attr("IFA_ADDRESS") == "fd00::2"


def test_an_address_is_deleted():
    seen = decode(ifaddrmsg, route.address_delete(3, "10.83.0.1/16"))
    assert (seen["header"]["type"], seen["index"], seen.get_attr("IFA_LOCAL")) == (21, 3, "10.83.0.1")


def test_routes():
    seen = decode(rtmsg, route.route_add(3, "default", "10.83.0.1"))
    assert (seen["family"], seen["dst_len"], seen["table"], seen["scope"], seen["type"]) == (2, 0, 254, 0, 1)
    assert (seen.get_attr("RTA_GATEWAY"), seen.get_attr("RTA_OIF"), seen.get_attr("RTA_DST")) == ("10.83.0.1", 3, None)
    seen = decode(rtmsg, route.route_add(3, "10.5.0.0/16"))
    assert (seen.get_attr("RTA_DST"), seen["dst_len"], seen["scope"]) == ("10.5.0.0", 16, 253)
    assert seen.get_attr("RTA_GATEWAY") is None
    seen = decode(rtmsg, route.route_add(3, "default", "fd00::1"))
    assert (seen["family"], seen.get_attr("RTA_GATEWAY")) == (10, "fd00::1")


@pytest.mark.parametrize("mode", sorted(kinds.MODES["macvlan"]))
def test_a_macvlan_link_in_a_namespace(mode):
    seen = decode(ifinfmsg, kinds.sublink_create("macvlan", mode, 5, 11, "eth0", MAC, 1400))
    assert seen["header"]["flags"] == route.NLM_F_REQUEST | route.NLM_F_CREATE | route.NLM_F_EXCL
    assert (seen.get_attr("IFLA_IFNAME"), seen.get_attr("IFLA_LINK")) == ("eth0", 5)
    assert (seen.get_attr("IFLA_NET_NS_FD"), seen.get_attr("IFLA_MTU")) == (11, 1400)
    assert seen.get_attr("IFLA_ADDRESS") == "02:42:0a:53:00:02"
    info = seen.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "macvlan"
    assert info.get_attr("IFLA_INFO_DATA").get_attr("IFLA_MACVLAN_MODE") == mode


@pytest.mark.parametrize("mode", sorted(kinds.MODES["ipvlan"]))
def test_an_ipvlan_link_in_a_namespace(mode):
    seen = decode(ifinfmsg, kinds.sublink_create("ipvlan", mode, 5, 11, "eth0", MAC))
    assert (seen.get_attr("IFLA_IFNAME"), seen.get_attr("IFLA_LINK"), seen.get_attr("IFLA_NET_NS_FD")) == (
        "eth0",
        5,
        11,
    )
    assert seen.get_attr("IFLA_MTU") is None and seen.get_attr("IFLA_ADDRESS") is None  # both are its parent's
    info = seen.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "ipvlan"
    said = info.get_attr("IFLA_INFO_DATA").get_attr("IFLA_IPVLAN_MODE")
    assert said in (kinds.MODES["ipvlan"][mode], mode)


def test_an_isolated_port():
    kind, _flags, body = kinds.bridge_port_isolate(9)
    assert kind == 19
    assert struct.unpack_from("=BxHiII", body)[0] == 7
    assert route.attributes(dict(route.attributes(body, 16))[12]) == [(33, b"\1")]


def test_a_route_is_taken_back_as_it_was_made():
    for gateway in ("10.83.0.1", "fd00::1"):
        made = decode(rtmsg, route.route_add(3, "default", gateway))
        gone = decode(rtmsg, kinds.route_delete(3, "default", gateway))
        assert gone["header"]["type"] == 25
        assert [gone.get_attr(name) for name in ("RTA_GATEWAY", "RTA_OIF")] == [gateway, 3]
        assert gone["family"] == made["family"]


def test_an_unknown_operation_is_refused_before_anything_else():
    with pytest.raises(ValueError, match="dance"):
        route.apply([("dance", "lo")])


def test_applying_nothing_opens_no_socket(monkeypatch):
    monkeypatch.setattr(route, "Netlink", None)
    route.apply([])


@given(st.binary(max_size=200))
def test_attributes_of_any_bytes_never_fail(data):
    for kind, value in route.attributes(data):
        assert 0 <= kind < 0x4000
        assert value in data


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40)), max_size=10))
def test_attributes_come_out_as_they_went_in(pairs):
    assert route.attributes(b"".join(route.attribute(kind, value) for kind, value in pairs)) == pairs


def test_an_error_carries_the_kernels_explanation():
    said = route.attribute(1, b"no such thing\0")
    capped = struct.pack("=i", -22) + struct.pack("=LHHLL", 36, 16, 5, 1, 0) + said
    assert route._error(0x300, capped) == (22, "no such thing")
    whole = struct.pack("=i", -22) + struct.pack("=LHHLL", 20, 16, 5, 1, 0) + b"body" + said
    assert route._error(0x200, whole) == (22, "no such thing")
    assert route._error(0, struct.pack("=i", 0) + bytes(16)) == (0, "")
