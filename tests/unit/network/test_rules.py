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
from vitrine.network import nftables as nft
from vitrine.network import plan as plans
from vitrine.network import rules

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


def network(**changes):
    values = dict(
        settings_instance="", bridge="vitrine0", table="vitrine", subnet="10.83.0.0/16", gateway="10.83.0.1",
        container_id="0123456789abcdef" * 4, address="10.83.0.2",
    )  # fmt: skip
    return plans.make(**{**values, **changes})


def decode(message):
    kind, flags, body = message
    assert kind >> 8 == 10
    data = struct.pack("=LHHLL", len(body) + 16, kind, flags | route.NLM_F_REQUEST, 1, 0) + body
    decoded = CLASSES[kind & 0xFF](data)
    decoded.decode()
    assert decoded["nfgen_family"] == 2
    return decoded


def expressions(rule):
    """[(name, its attributes by name)] of a decoded rule."""
    found = []
    for entry in rule.get_attr("NFTA_RULE_EXPRESSIONS"):
        data = entry.get_attr("NFTA_EXPR_DATA")
        found.append((entry.get_attr("NFTA_EXPR_NAME"), dict(data["attrs"]) if data else {}))
    return found


def of_kind(number, plan=None):
    return [decode(message) for message in rules.base(plan or network()) if message[0] & 0xFF == number]


def test_the_base_replaces_the_table_in_one_transaction():
    kinds = [message[0] & 0xFF for message in rules.base(network())]
    assert kinds[:3] == [nft.NEWTABLE, nft.DELTABLE, nft.NEWTABLE]
    assert {table.get_attr("NFTA_TABLE_NAME") for table in of_kind(0) + of_kind(2)} == {"vitrine"}


def test_base_chains_have_their_hooks_and_accept_what_no_rule_takes():
    seen = {}
    for chain in of_kind(3):
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


def test_every_drop_matches_our_own_bridge_first():
    """A drop in one table is final for all: it must never meet other people's packets."""
    drops = 0
    for rule in of_kind(6):
        steps = expressions(rule)
        last, values = steps[-1]
        if last == "immediate" and "NF_DROP" in str(values):
            drops += 1
            assert [name for name, _values in steps[:2]] == ["meta", "cmp"]
            assert "IFNAME" in steps[0][1]["NFTA_META_KEY"]
            assert steps[1][1]["NFTA_CMP_DATA"].get_attr("NFTA_DATA_VALUE") == b"vitrine0".ljust(16, b"\0")
    assert drops == 3


def test_rules_are_in_their_table_and_chain():
    chains = {chain.get_attr("NFTA_CHAIN_NAME") for chain in of_kind(3)}
    for rule in of_kind(6):
        assert rule.get_attr("NFTA_RULE_TABLE") == "vitrine"
        assert rule.get_attr("NFTA_RULE_CHAIN") in chains
        assert rule["header"]["flags"] & (route.NLM_F_CREATE | route.NLM_F_APPEND) == 0xC00


def test_the_maps_and_the_lookups_agree():
    maps = {one.get_attr("NFTA_SET_NAME"): one for one in of_kind(9)}
    assert {name: one.get_attr("NFTA_SET_KEY_LEN") for name, one in maps.items()} == {"ports": 8, "ports_at": 12}
    assert maps["ports"].get_attr("NFTA_SET_KEY_TYPE") == 12 << 6 | 13
    assert maps["ports_at"].get_attr("NFTA_SET_KEY_TYPE") == 7 << 12 | 12 << 6 | 13
    lookups = {
        values["NFTA_LOOKUP_SET"]: values["NFTA_LOOKUP_SET_ID"]
        for rule in of_kind(6)
        for name, values in expressions(rule)
        if name == "lookup"
    }
    assert lookups == {name: one.get_attr("NFTA_SET_ID") for name, one in maps.items()}


def test_the_marker_tells_layout_and_subnet():
    first, second = rules.marker(network()), rules.marker(network(subnet="10.84.0.0/16", address="10.84.0.2"))
    assert first != second
    assert first.startswith(f"layout_{rules.LAYOUT}_")


@given(
    st.sampled_from(["", "192.0.2.1", "127.0.0.1"]),
    st.integers(1, 65535),
    st.integers(1, 65535),
    st.sampled_from(sorted(plans.PROTOCOLS)),
)
def test_elements_have_the_sizes_of_their_map(host_ip, host_port, container_port, protocol):
    name, key, data = rules._place([host_ip, host_port, container_port, protocol], "10.83.0.2")
    assert (name, len(key), len(data)) == (("ports_at", 12, 8) if host_ip else ("ports", 8, 8))
    assert key[-8] == plans.PROTOCOLS[protocol]
    assert struct.unpack(">H", key[-4:-2])[0] == host_port
    assert (plans.text(int.from_bytes(data[:4], "big")), struct.unpack(">H", data[4:6])[0]) == (
        "10.83.0.2",
        container_port,
    )
    seen = decode(nft.add_elements("vitrine", name, [nft.element(key, data, "whose")]))
    (element,) = seen.get_attr("NFTA_SET_ELEM_LIST_ELEMENTS")
    assert element.get_attr("NFTA_SET_ELEM_KEY").get_attr("NFTA_DATA_VALUE") == key
    assert element.get_attr("NFTA_SET_ELEM_DATA").get_attr("NFTA_DATA_VALUE") == data


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=64))
def test_comments_come_out_as_they_went_in(comment):
    parts = dict(route.attributes(dict(route.attributes(nft.element(b"k", b"d", comment)))[1]))
    assert nft.comment_of(parts.get(6, b"")) == comment
    assert nft.comment_of(b"\x05\x02xy" + parts.get(6, b"")) == comment


@given(st.binary(max_size=80))
def test_any_userdata_is_read_without_an_error(userdata):
    assert isinstance(nft.comment_of(userdata), str)
