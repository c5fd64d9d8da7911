# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses, networks and MACs of both families, held against the standard library."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.errors import InvalidInput
from vitrine.network import addresses as ip

ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


def network(text):
    return ipaddress.ip_network(text, strict=False)


SUBNETS = ADDRESSES.flatmap(
    lambda address: st.integers(1, address.max_prefixlen).map(lambda length: f"{address}/{length}")
)


@given(ADDRESSES)
def test_numbers_and_texts_are_inverse(address):
    assert ip.number(str(address)) == int(address)
    assert ip.bits(str(address)) == address.max_prefixlen
    assert ip.number(ip.text(int(address), address.max_prefixlen)) == int(address)
    assert ip.normal(address.exploded) == ip.text(int(address), address.max_prefixlen)


@pytest.mark.parametrize(
    "wrong", ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", ":::1", "a.b.c.d", "1.2.3.4\n", "01.2.3.4", "fe80::1%eth0", "::g"]
)
def test_what_is_no_address_is_refused(wrong):
    with pytest.raises(InvalidInput):
        ip.number(wrong)


@given(SUBNETS, SUBNETS)
def test_networks_are_what_ipaddress_says(first, second):
    parsed, other = ip.split(first), ip.split(second)
    assert ip.written(parsed) == ip.written(ip.split(str(network(first))))
    assert (ip.base(parsed), ip.last(parsed)) == (int(network(first)[0]), int(network(first)[-1]))
    same = network(first).version == network(second).version
    assert ip.overlap(parsed, other) == (same and network(first).overlaps(network(second)))


@given(SUBNETS, ADDRESSES)
def test_an_address_is_in_a_network_or_not(subnet, address):
    assert ip.contains(subnet, str(address)) == (address in network(subnet))


@pytest.mark.parametrize(
    "wrong", ["10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/²", "/8", "x/8", "fd00::/129", "fd00::"]
)
def test_what_is_no_subnet_is_refused(wrong):
    with pytest.raises(InvalidInput):
        ip.split(wrong)


@given(st.sets(st.ip_addresses(v=4), min_size=2, max_size=20))
def test_macs_are_local_and_differ_as_addresses_do(addresses):
    macs = {ip.mac_address(str(address)) for address in addresses}
    assert len(macs) == len(addresses)
    assert all(ip.mac_bytes(mac)[0] & 3 == 2 for mac in macs)


@pytest.mark.parametrize(
    "wrong", ["", "02:42", "01:00:5e:00:00:01", "00:00:00:00:00:00", "02:42:0a:00:00:zz", "0" * 12]
)
def test_what_is_no_mac_of_an_interface_is_refused(wrong):
    with pytest.raises(InvalidInput):
        ip.mac_bytes(wrong)
