# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet filter's messages, read by pyroute2's decoder where it has one, else taken apart."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.linux import netlink as route
from vitrine.network import addresses, rules
from vitrine.network import nftables as nft
from vitrine.network import plan as plans

pytest.importorskip("pyroute2", reason="needs pyroute2")
from pyroute2.netlink.nfnetlink import nftsocket  # noqa: E402

CLASSES = {
    0: nftsocket.nft_table_msg,
    2: nftsocket.nft_table_msg,
    3: nftsocket.nft_chain_msg,
    6: nftsocket.nft_rule_msg,
    9: nftsocket.nft_set_msg,
    12: nftsocket.nft_set_elem_list_msg,
}


FAMILIES = {nft.IPV4: "10.83.0.0/16", nft.IPV6: "fd00:0:0:7::/64"}


def endpoint(bridge="vitrine0", subnet="10.83.0.0/16", subnet6="fd00:0:0:7::/64", **changes):
    made = {
        "network": "bridge", "network_id": "0" * 64, "driver": "bridge", "bridge": bridge, "mode": "",
        "internal": False,
        "icc": True, "masquerade": True, "isolate": False, "default_route": True, "default_route6": True,
        "address": "10.83.0.2", "address6": "fd00::2", "subnet": subnet, "subnet6": subnet6,
    }  # fmt: skip
    return {**made, **changes}


@pytest.fixture(params=FAMILIES, ids=["ip", "ip6"])
def family(request):
    return request.param


def decode(message):
    kind, flags, body = message
    assert kind >> 8 == 10
    data = struct.pack("=LHHLL", len(body) + 16, kind, flags | route.NLM_F_REQUEST, 1, 0) + body
    decoded = CLASSES[kind & 0xFF](data)
    decoded.decode()
    assert decoded["nfgen_family"] in (nft.IPV4, nft.IPV6)
    return decoded


def expressions(rule):
    """[(name, its attributes by name)] of a decoded rule."""
    found = []
    for entry in rule.get_attr("NFTA_RULE_EXPRESSIONS"):
        data = entry.get_attr("NFTA_EXPR_DATA")
        found.append((entry.get_attr("NFTA_EXPR_NAME"), dict(data["attrs"]) if data else {}))
    return found


def of_kind(number, messages):
    return [decode(message) for message in messages if message[0] & 0xFF == number]


def whole(family, **changes):
    return rules.base("vitrine", family) + rules.network("vitrine", endpoint(**changes), family)


def test_the_base_replaces_the_table_in_one_transaction(family):
    messages = rules.base("vitrine", family)
    assert [message[0] & 0xFF for message in messages][:3] == [nft.NEWTABLE, nft.DELTABLE, nft.NEWTABLE]
    tables = of_kind(0, messages) + of_kind(2, messages)
    assert {table.get_attr("NFTA_TABLE_NAME") for table in tables} == {"vitrine"}
    assert {message[2][0] for message in whole(family)} == {family}


def test_base_chains_have_their_hooks_and_accept_what_no_rule_takes(family):
    seen = {}
    for chain in of_kind(3, whole(family)):
        hook = chain.get_attr("NFTA_CHAIN_HOOK")
        if hook:
            where = (hook.get_attr("NFTA_HOOK_HOOKNUM"), hook.get_attr("NFTA_HOOK_PRIORITY"))
            seen[chain.get_attr("NFTA_CHAIN_NAME")] = (*where, chain.get_attr("NFTA_CHAIN_TYPE"))
            assert chain.get_attr("NFTA_CHAIN_POLICY") == 1
    assert seen == {
        "early": (0, -300, "filter"),
        "prerouting": (0, -100, "nat"),
        "output": (3, -100, "nat"),
        "forward": (2, 0, "filter"),
        "postrouting": (4, 100, "nat"),
    }


@pytest.mark.parametrize("options", [{}, {"internal": True}, {"icc": False}, {"isolate": True}, {"masquerade": False}])
def test_every_drop_is_behind_our_own_bridges(family, options):
    """A drop in one table is final for all: it must never meet other people's packets."""
    ours = {f"{kind}_vitrine0" for kind in ("guard", "into", "out_of", "leave")}
    drops = 0
    for rule in of_kind(6, whole(family, **options)):
        steps = expressions(rule)
        last, values = steps[-1]
        if last == "immediate" and "NF_DROP" in str(values):
            drops += 1
            chain = rule.get_attr("NFTA_RULE_CHAIN")
            matches = [name for name, _values in steps[:2]] == ["meta", "lookup"]
            assert chain in ours or (chain == "early" and matches and steps[1][1]["NFTA_LOOKUP_SET"] == "bridges")
    assert drops >= (2 if options.get("masquerade", True) else 1)
    for element in of_kind(12, whole(family, **options)):
        assert element.get_attr("NFTA_SET_ELEM_LIST_SET") in ("bridges", "into", "out_of", "subnets", "sources")


def test_rules_are_in_their_table_and_chain(family):
    chains = {chain.get_attr("NFTA_CHAIN_NAME") for chain in of_kind(3, whole(family, internal=True))}
    for rule in of_kind(6, whole(family, internal=True)):
        assert rule.get_attr("NFTA_RULE_TABLE") == "vitrine"
        assert rule.get_attr("NFTA_RULE_CHAIN") in chains
        assert rule["header"]["flags"] & (route.NLM_F_CREATE | route.NLM_F_APPEND) == 0xC00
    assert max(map(len, chains)) < 32  # the longest that the oldest kernels take


def test_the_maps_and_the_lookups_agree(family):
    size = 16 if family == nft.IPV6 else 4
    maps = {one.get_attr("NFTA_SET_NAME"): one for one in of_kind(9, rules.base("vitrine", family))}
    assert {name: one.get_attr("NFTA_SET_KEY_LEN") for name, one in maps.items()} == {
        "ports": 8, "ports_at": size + 8, "bridges": 16, "into": 16, "out_of": 16, "subnets": size, "sources": size
    }  # fmt: skip
    assert maps["ports"].get_attr("NFTA_SET_KEY_TYPE") == 12 << 6 | 13
    address = nft.TYPE_IPV6 if family == nft.IPV6 else nft.TYPE_IPV4
    assert maps["ports_at"].get_attr("NFTA_SET_KEY_TYPE") == address << 12 | 12 << 6 | 13
    lookups = {
        values["NFTA_LOOKUP_SET"]: values["NFTA_LOOKUP_SET_ID"]
        for rule in of_kind(6, rules.base("vitrine", family))
        for name, values in expressions(rule)
        if name == "lookup"
    }
    wanted = {name: one.get_attr("NFTA_SET_ID") for name, one in maps.items()}
    assert lookups == {name: wanted[name] for name in lookups}
    assert set(wanted) - set(lookups) <= {"bridges"}


def test_maps_of_both_families_have_numbers_of_their_own():
    both = rules.base("vitrine", nft.IPV4) + rules.base("vitrine", nft.IPV6)
    numbers = [one.get_attr("NFTA_SET_ID") for one in of_kind(9, both)]
    assert len(set(numbers)) == len(numbers)


def test_a_network_costs_the_same_number_of_messages_however_many_there_are(family):
    assert (
        len({len(rules.network("vitrine", endpoint(bridge=f"vnet{number:010x}"), family)) for number in range(9)}) == 1
    )


def test_the_marker_tells_what_a_bridge_has(family):
    markers = {
        rules.marker(endpoint(**changes), family)
        for changes in ({}, {"subnet": "10.84.0.0/16", "subnet6": "fd01::/64"}, {"internal": True}, {"icc": False},
                        {"isolate": True}, {"masquerade": False}, {"bridge": "vnet0123456789"})
    }  # fmt: skip
    assert len(markers) == 7
    assert all(len(one) < 32 for one in markers)


@given(st.sampled_from(sorted(FAMILIES)), st.integers(1, 32))
def test_a_network_is_from_its_first_address_to_its_last(family, length):
    subnet = f"10.0.0.0/{length}" if family == nft.IPV4 else f"fd00::/{length + 32}"
    first, end = rules._edges(subnet)
    parsed = addresses.split(subnet)
    assert int.from_bytes(first, "big") == addresses.base(parsed)
    assert int.from_bytes(end, "big") == addresses.last(parsed) + 1


@given(
    st.sampled_from(["", "0.0.0.0", "::", "192.0.2.1", "127.0.0.1", "2001:db8::1"]),
    st.integers(1, 65535),
    st.integers(1, 65535),
    st.sampled_from(sorted(plans.PROTOCOLS)),
)
def test_elements_have_the_sizes_of_their_map(host_ip, host_port, container_port, protocol):
    plan = {"endpoints": [endpoint()], "ports": [[host_ip, host_port, container_port, protocol]]}
    places = rules._places(plan)
    families = [nft.IPV4, nft.IPV6] if not host_ip else [nft.IPV6 if ":" in host_ip else nft.IPV4]
    assert [place[0] for place in places] == families
    for family, name, key, data in places:
        size = 16 if family == nft.IPV6 else 4
        one = host_ip not in ("", "0.0.0.0", "::")
        assert (name, len(key), len(data)) == (("ports_at", size + 8, size + 4) if one else ("ports", 8, size + 4))
        assert key[-8] == plans.PROTOCOLS[protocol]
        assert struct.unpack(">H", key[-4:-2])[0] == host_port
        assert addresses.text(int.from_bytes(data[:-4], "big"), size * 8) == ("fd00::2" if size == 16 else "10.83.0.2")
        assert struct.unpack(">H", data[-4:-2])[0] == container_port
        seen = decode(nft.add_elements("vitrine", name, [nft.element(key, data, "whose")]))
        (element,) = seen.get_attr("NFTA_SET_ELEM_LIST_ELEMENTS")
        assert element.get_attr("NFTA_SET_ELEM_KEY").get_attr("NFTA_DATA_VALUE") == key
        assert element.get_attr("NFTA_SET_ELEM_DATA").get_attr("NFTA_DATA_VALUE") == data


def test_an_element_of_a_verdict_and_the_end_of_a_network():
    both = [nft.verdict_element(b"k" * 16, nft.JUMP, "into_x"), nft.end_element(b"e")]
    seen = decode(nft.add_elements("vitrine", "into", both))
    element, end = seen.get_attr("NFTA_SET_ELEM_LIST_ELEMENTS")
    verdict = element.get_attr("NFTA_SET_ELEM_DATA").get_attr("NFTA_DATA_VERDICT")
    assert verdict.get_attr("NFTA_VERDICT_CHAIN") == "into_x"
    assert end.get_attr("NFTA_SET_ELEM_DATA") is None
    assert end.get_attr("NFTA_SET_ELEM_KEY").get_attr("NFTA_DATA_VALUE") == b"e"
    assert route.attributes(dict(route.attributes(nft.end_element(b"e")))[1])[1] == (3, b"\0\0\0\1")


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=64))
def test_comments_come_out_as_they_went_in(comment):
    parts = dict(route.attributes(dict(route.attributes(nft.element(b"k", b"d", comment)))[1]))
    assert nft.comment_of(parts.get(6, b"")) == comment
    assert nft.comment_of(b"\x05\x02xy" + parts.get(6, b"")) == comment


@given(st.binary(max_size=80))
def test_any_userdata_is_read_without_an_error(userdata):
    assert isinstance(nft.comment_of(userdata), str)
