# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subnets, addresses, ports: the pure part of networking."""

from __future__ import annotations

import ipaddress
import marshal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vitrine.errors import HostError, InvalidInput
from vitrine.network import plan

NETWORKS = st.builds(
    lambda address, length: (int(address), length), st.ip_addresses(v=4), st.integers(min_value=1, max_value=32)
)


def network(pair):
    return ipaddress.ip_network((pair[0], pair[1]), strict=False)


@given(st.ip_addresses(v=4))
def test_numbers_and_texts_are_inverse(address):
    assert plan.number(str(address)) == int(address)
    assert plan.text(int(address)) == str(address)


@pytest.mark.parametrize("wrong", ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "::1", "a.b.c.d", "1.2.3.4\n", "01.2.3.4", 7])
def test_what_is_no_address_is_refused(wrong):
    with pytest.raises(InvalidInput):
        plan.number(wrong)


@given(NETWORKS, NETWORKS)
def test_overlap_is_what_ipaddress_says(first, second):
    assert plan.overlap(first, second) == network(first).overlaps(network(second))


@pytest.mark.parametrize("wrong", ["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/²", "/8", "x/8"])
def test_what_is_no_subnet_is_refused(wrong):
    with pytest.raises(InvalidInput):
        plan.split(wrong)


@given(st.lists(NETWORKS, max_size=12), st.sampled_from(["", "000000", "0000ff", "a1b2c3"]))
def test_a_chosen_subnet_is_clear_of_what_is_taken(taken, instance):
    try:
        subnet, gateway = plan.pick_subnet(instance, taken)
    except HostError:
        assume(False)
    chosen = ipaddress.ip_network(subnet)
    assert not any(chosen.overlaps(network(pair)) for pair in taken)
    assert ipaddress.ip_address(gateway) == chosen[1]
    assert chosen.is_private


def test_small_subnets_are_the_last_resort_and_then_nothing():
    assert plan.pick_subnet("", [(plan.number("10.0.0.0"), 9)])[0] == "10.201.200.0/24"
    with pytest.raises(HostError, match="bridge_subnet"):
        plan.pick_subnet("", [(0, 1), (1 << 31, 1)])


def test_engine_roots_begin_at_different_subnets():
    subnets = {plan.pick_subnet(f"{number:06x}", [])[0] for number in range(256)}
    assert len(subnets) == 256


def test_a_configured_subnet_is_used_or_refused():
    assert plan.pick_subnet("", [], "10.5.0.0/16") == ("10.5.0.0/16", "10.5.0.1")
    assert plan.pick_subnet("", [], "10.5.0.9/16") == ("10.5.0.0/16", "10.5.0.9")
    with pytest.raises(InvalidInput, match=r"overlaps 10\.5\.7\.1/24"):
        plan.pick_subnet("", [(plan.number("10.5.7.1"), 24)], "10.5.0.0/16")
    for wrong in ("10.5.0.0/30", "10.0.0.0/7", "10.5.0.0", "10.5.255.255/16", 5):
        with pytest.raises(InvalidInput):
            plan.pick_subnet("", [], wrong)


@given(st.integers(24, 29), st.data())
def test_addresses_are_free_hosts_of_the_network_until_it_is_full(length, data):
    subnet = ipaddress.ip_network(("10.9.8.0", length))
    hosts = [str(one) for one in subnet.hosts()]
    gateway = data.draw(st.sampled_from(hosts))
    used = set(data.draw(st.lists(st.sampled_from(hosts), unique=True)))
    last = data.draw(st.one_of(st.none(), st.sampled_from(hosts)))
    free = set(hosts) - used - {gateway}
    if not free:
        with pytest.raises(HostError, match="no free address"):
            plan.pick_address(str(subnet), gateway, used, last)
    else:
        assert plan.pick_address(str(subnet), gateway, used, last) in free


def test_an_address_given_back_is_not_the_next_one_given():
    assert plan.pick_address("10.9.8.0/24", "10.9.8.1", {"10.9.8.3"}) == "10.9.8.4"
    assert plan.pick_address("10.9.8.0/24", "10.9.8.1", (), last="10.9.8.7") == "10.9.8.8"
    assert plan.pick_address("10.9.8.0/24", "10.9.8.1", (), last="10.9.8.254") == "10.9.8.2"
    assert plan.pick_address("10.9.8.0/24", "10.9.8.1", ()) == "10.9.8.2"


@given(st.sets(st.ip_addresses(v=4), min_size=2, max_size=20))
def test_macs_are_local_and_differ_as_addresses_do(addresses):
    macs = {plan.mac_address(str(address)) for address in addresses}
    assert len(macs) == len(addresses)
    assert all(plan.mac_bytes(mac)[0] & 3 == 2 for mac in macs)


@pytest.mark.parametrize(
    "wrong", ["", "02:42", "01:00:5e:00:00:01", "00:00:00:00:00:00", "02:42:0a:00:00:zz", "0" * 12]
)
def test_what_is_no_mac_of_an_interface_is_refused(wrong):
    with pytest.raises(InvalidInput):
        plan.mac_bytes(wrong)


def test_ports_have_one_spelling_and_are_published_once():
    given_ports = [("0.0.0.0", 80, 80, "tcp"), ("", 80, 80, "tcp"), ("127.0.0.1", 80, 81, "tcp"), ("", 0, 5, "udp")]
    expected = [["", 80, 80, "tcp"], ["127.0.0.1", 80, 81, "tcp"], ["", 0, 5, "udp"]]
    assert plan.check_ports(given_ports) == expected
    assert plan.check_ports([("", 0, 5, "udp"), ("", 0, 5, "udp")]) == [["", 0, 5, "udp"]] * 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([("::", 80, 80, "tcp")], "IPv6"),
        ([("example", 80, 80, "tcp")], "IPv4"),
        ([("", 80, 80, "icmp")], "protocol"),
        ([("", 70000, 80, "tcp")], "70000"),
        ([("", 80, 0, "tcp")], "80:0"),
        ([("", 80, 80, "tcp"), ("", 80, 81, "tcp")], "twice"),
    ],
)
def test_ports_that_cannot_be_published_are_refused(wrong, said):
    with pytest.raises(InvalidInput, match=said):
        plan.check_ports(wrong)


def make(**changes):
    values = dict(
        settings_instance="", bridge="vitrine0", table="vitrine", subnet="10.83.0.0/16", gateway="10.83.0.1",
        container_id="0123456789abcdef" * 4, address="10.83.0.2",
    )  # fmt: skip
    return plan.make(**{**values, **changes})


def test_a_plan_can_be_marshalled_and_has_names_that_the_kernel_takes():
    made = make(ports=[("", 80, 80, "tcp")])
    assert marshal.loads(marshal.dumps(made)) == made
    assert made["host_if"] == "vt0123456789ab" and len(made["host_if"]) < 16
    assert (made["prefix"], made["mac"]) == (16, "02:42:0a:53:00:02")
    assert plan.inside_ops(made) == [("link_up", "lo")]
    assert ("addr_add", "eth0", "10.83.0.2/16") in plan.outside_ops(made)


def test_a_plan_that_cannot_be_carried_out_is_not_made():
    for wrong in ({"address": "10.84.0.2"}, {"mac": "01:00:00:00:00:01"}, {"ports": [("::1", 1, 1, "tcp")]}):
        with pytest.raises(InvalidInput):
            make(**wrong)
