# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the kernel's remembered flows a published port makes forgotten, and which are others'."""

from __future__ import annotations

import socket
import subprocess

import pytest

from vitrine.linux import netlink as route
from vitrine.network import flows

TRACKED = """
table ip t {
  chain c {
    type filter hook output priority 0;
    ct state new counter
  }
  chain n {
    type nat hook output priority -100;
    ip daddr 198.51.100.3 udp dport 53 dnat to 198.51.100.9
  }
}
table ip6 t {
  chain c {
    type filter hook output priority 0;
    ct state new counter
  }
}
"""


@pytest.fixture
def tracked(host_namespace):
    """A host with addresses and a neighbour, which follows connections."""
    subprocess.run(["ip", "link", "add", "one", "type", "veth", "peer", "name", "two"], check=True)
    for words in (
        ["link", "set", "lo", "up"],
        ["link", "set", "one", "up"],
        ["link", "set", "two", "up"],
        ["address", "add", "192.0.2.1/32", "dev", "lo"],
        ["address", "add", "fd00::1/128", "dev", "lo", "nodad"],
        ["address", "add", "198.51.100.1/24", "dev", "one"],
        ["neighbour", "add", "198.51.100.9", "lladdr", "02:00:00:00:00:09", "dev", "one"],
        ["neighbour", "add", "198.51.100.8", "lladdr", "02:00:00:00:00:08", "dev", "one"],
    ):
        subprocess.run(["ip", *words], check=True)
    subprocess.run(["nft", "-f", "-"], input=TRACKED, text=True, check=True)


def send(*places):
    for address, port in places:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.sendto(b"?", (address, port))


def remembered():
    """The (address, port) pairs that UDP flows go to, as they were sent."""
    found = set()
    with route.Netlink(route.NETLINK_NETFILTER) as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            for original, _reply in flows._flows(netlink, family, range(100)):
                addresses = dict(route.attributes(dict(route.attributes(original))[1]))
                packed = addresses.get(2) or addresses[4]
                found.add((socket.inet_ntop(family, packed), flows._port(original)))
    return found


def plan(*ports, address="198.51.100.9"):
    published = [["", port, 53, "udp"] for port in ports] + [["", 77, 53, "tcp"]]
    return {"ports": published, "endpoints": [{"address": address, "address6": ""}]}


@pytest.mark.parametrize("chooses", [True, False])
def test_flows_to_the_hosts_port_are_forgotten_and_others_are_not(tracked, monkeypatch, chooses):
    if not chooses:  # as kernels before 5.8 tell of all flows
        monkeypatch.setattr(flows, "_question", lambda _port: b"")
    ours = {("127.0.0.1", 53), ("192.0.2.1", 53), ("fd00::1", 53), ("198.51.100.3", 53)}
    others = {("198.51.100.8", 53), ("127.0.0.1", 77), ("192.0.2.1", 54)}
    send(*ours, *others)
    assert ours | others <= remembered()
    flows.flush_udp(plan(53))
    assert remembered() == others


def test_many_ports_are_asked_for_at_once(tracked):
    send(*[("192.0.2.1", port) for port in range(1000, 1020)])
    flows.flush_udp(plan(*range(1000, 1019)))
    assert remembered() == {("192.0.2.1", 1019)}


def test_without_udp_ports_nothing_is_forgotten(tracked):
    send(("192.0.2.1", 77))
    flows.flush_udp(plan())
    assert remembered() == {("192.0.2.1", 77)}
