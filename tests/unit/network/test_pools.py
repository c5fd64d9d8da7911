# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choosing subnets and addresses."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vitrine.errors import HostError, InvalidInput
from vitrine.network import addresses as ip
from vitrine.network import pools

NETWORKS = st.builds(
    lambda address, length: (32, int(address), length), st.ip_addresses(v=4), st.integers(min_value=1, max_value=32)
)


def network(taken):
    return ipaddress.ip_network((taken[1], taken[2]), strict=False)


@given(st.lists(NETWORKS, max_size=12), st.sampled_from(["", "000000", "0000ff", "a1b2c3"]))
def test_a_chosen_subnet_is_clear_of_what_is_taken(taken, instance):
    try:
        subnet, gateway = pools.pick_subnet(instance, taken)
        other = pools.pick_user_subnet(instance, taken)
    except HostError:
        assume(False)
    for chosen in map(ipaddress.ip_network, (subnet, other)):
        assert not any(chosen.overlaps(network(pair)) for pair in taken)
        assert chosen.is_private
    assert ipaddress.ip_address(gateway) == ipaddress.ip_network(subnet)[1]


def test_small_subnets_are_the_last_resort_and_then_nothing():
    assert pools.pick_subnet("", [ip.split("10.0.0.0/9")])[0] == "10.201.200.0/24"
    with pytest.raises(HostError, match="bridge_subnet"):
        pools.pick_subnet("", [(32, 0, 1), (32, 1 << 31, 1)])
    with pytest.raises(HostError, match="--subnet") as caught:
        pools.pick_user_subnet("", [(32, 0, 1), (32, 1 << 31, 1)])
    assert "--subnet" in caught.value.hint


def test_engine_roots_begin_at_different_subnets():
    assert len({pools.pick_subnet(f"{number:06x}", [])[0] for number in range(256)}) == 256
    assert len({pools.pick_user_subnet(f"{number:06x}", []) for number in range(256)}) == 256


def test_networks_of_ones_own_are_local_and_differ():
    taken = []
    for _number in range(20):
        subnet = ipaddress.ip_network(pools.pick_local6(taken))
        assert subnet.prefixlen == 64 and subnet.subnet_of(ipaddress.ip_network("fd00::/8"))
        taken.append(ip.split(str(subnet)))
    assert len(set(taken)) == 20


def test_a_configured_subnet_is_used_or_refused():
    assert pools.pick_subnet("", [], "10.5.0.0/16") == ("10.5.0.0/16", "10.5.0.1")
    assert pools.pick_subnet("", [], "10.5.0.9/16") == ("10.5.0.0/16", "10.5.0.9")
    with pytest.raises(InvalidInput, match=r"overlaps 10\.5\.7\.1/24"):
        pools.pick_subnet("", [ip.split("10.5.7.1/24")], "10.5.0.0/16")
    for wrong in ("10.5.0.0/30", "10.0.0.0/7", "10.5.0.0", "10.5.255.255/16", 5, "fd00::/64"):
        with pytest.raises(InvalidInput):
            pools.pick_subnet("", [], wrong)


@given(st.sampled_from(["10.9.8.0/{}", "fd00:9::/{}"]), st.integers(0, 5), st.data())
def test_addresses_are_free_hosts_of_the_network_until_it_is_full(form, host_bits, data):
    width = 128 if ":" in form else 32
    subnet = ipaddress.ip_network(form.format(width - 3 - host_bits))
    hosts = [str(one) for one in subnet.hosts()]
    gateway = data.draw(st.sampled_from(hosts))
    used = set(data.draw(st.lists(st.sampled_from(hosts), unique=True)))
    last = data.draw(st.one_of(st.none(), st.sampled_from(hosts)))
    free = set(hosts) - used - {gateway}
    if not free:
        with pytest.raises(HostError, match="no free address"):
            pools.pick_address(str(subnet), gateway, used, last)
    else:
        assert pools.pick_address(str(subnet), gateway, used, last) in free


def test_a_range_is_kept_to():
    for _number in range(8):
        address = pools.pick_address("10.9.0.0/16", "10.9.0.1", {"10.9.9.9"}, within="10.9.3.0/30")
        assert ipaddress.ip_address(address) in ipaddress.ip_network("10.9.3.0/30")
    four = {f"10.9.3.{number}" for number in range(4)}
    with pytest.raises(HostError, match=r"10\.9\.3\.0/30 has no free"):
        pools.pick_address("10.9.0.0/16", "10.9.0.1", four, within="10.9.3.0/30")


def test_an_address_given_back_is_not_the_next_one_given():
    assert pools.pick_address("10.9.8.0/24", "10.9.8.1", {"10.9.8.3"}) == "10.9.8.4"
    assert pools.pick_address("10.9.8.0/24", "10.9.8.1", (), last="10.9.8.7") == "10.9.8.8"
    assert pools.pick_address("10.9.8.0/24", "10.9.8.1", (), last="10.9.8.254") == "10.9.8.2"
    assert pools.pick_address("10.9.8.0/24", "10.9.8.1", ()) == "10.9.8.2"
    assert pools.pick_address("fd00::/64", "fd00::1", (), last="fd00::ffff") == "fd00::1:0"
