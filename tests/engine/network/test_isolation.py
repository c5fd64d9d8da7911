# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What networks keep apart and let through, by packets: both families, with both packet filters."""

from __future__ import annotations

import subprocess

import pytest

from support.traces import until
from vitrine.network import links

pytestmark = pytest.mark.usefixtures("driver")


@pytest.fixture
def world(world):
    """One whose links have been up for a while: before, IPv6 asks for no neighbours."""
    world.outside.serve("tcp", 6999, "::")
    until(lambda: world.host.ask("2001:db8::2", 6999).startswith("outside"))
    return world


def network(world, number, **changes):
    """A network of both families, on a bridge of its own."""
    return world.network(
        subnet=f"10.9{number}.0.0/24", subnet6=f"fd00:9{number}::/64", name=f"net{number}",
        bridge=f"{world.settings.bridge[:12]}n{number}", **changes,
    )  # fmt: skip


def both(place):
    """A container's addresses."""
    return [place.address, place.address6]


def serve(place, port=80):
    place.serve("tcp", port, "::")


def reaches(place, hosts, port):
    """Which of the hosts answer, as a list of bools."""
    return [not place.ask(host, port).startswith("no:") for host in hosts]


OUTSIDE = ["192.0.2.2", "2001:db8::2"]
HOST = ["192.0.2.1", "2001:db8::1"]


def test_a_network_of_both_families_goes_out_and_is_published(world):
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=[network(world, 1)])
    serve(one)
    serve(world.outside, 7000)
    assert [one.ask(host, 7000) for host in OUTSIDE] == ["outside 192.0.2.1", "outside 2001:db8::1"]
    assert [world.outside.ask(host, 8080) for host in HOST] == [f"container1 {host}" for host in OUTSIDE]
    assert reaches(world.outside, both(one), 80) == [False, False]
    assert reaches(one, HOST, 8080) == [True, True]
    assert reaches(world.host, [*HOST, "127.0.0.1", *both(one)], 8080)[:3] == [True, True, True]


def test_a_port_of_one_family_or_address_is_only_there(world):
    ports = [["0.0.0.0", 8081, 80, "tcp"], ["::", 8082, 80, "tcp"], ["2001:db8::1", 8083, 80, "tcp"]]
    one = world.container("1", ports, networks=[network(world, 1)])
    serve(one)
    assert [reaches(world.outside, HOST, port) for port in (8081, 8082, 8083)] == [
        [True, False],
        [False, True],
        [False, True],
    ]
    links.disconnect(one.plan, world.lock)
    assert [reaches(world.outside, HOST, port) for port in (8081, 8082, 8083)] == [[False, False]] * 3


def test_networks_are_apart_and_their_published_ports_are_not(world):
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=[network(world, 1)])
    two = world.container("2", networks=[network(world, 2)])
    near = world.container("3", networks=[network(world, 1)])
    serve(one)
    assert reaches(near, both(one), 80) == [True, True]
    assert reaches(two, both(one), 80) == [False, False]
    assert reaches(two, HOST, 8080) == [True, True]


def test_an_isolated_network_is_reached_by_no_other_not_even_by_its_ports(world):
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=[network(world, 1, options={"isolate": "true"})])
    two = world.container("2", [["", 8082, 80, "tcp"]], networks=[network(world, 2)])
    for place in (one, two):
        serve(place)
    serve(world.outside, 7000)
    assert reaches(two, HOST, 8080) == [False, False]
    assert reaches(one, HOST, 8082) == [False, False]
    assert reaches(one, HOST, 8080) == reaches(world.outside, HOST, 8080) == [True, True]
    assert reaches(one, OUTSIDE, 7000) == [True, True]


def test_nothing_leaves_or_enters_an_internal_network(world):
    inner = network(world, 1, internal=True)
    one = world.container("1", networks=[inner])
    near = world.container("2", networks=[inner])
    two = world.container("3", networks=[network(world, 2)])
    serve(one)
    serve(world.outside, 7000)
    for place, gateways in ((one, ["10.91.0.1", "fd00:91::1"]),):  # whoever sets a route is still held back
        place.run("ip", "route", "replace", "default", "via", gateways[0])
        place.run("ip", "-6", "route", "replace", "default", "via", gateways[1])
    assert reaches(near, both(one), 80) == [True, True]
    assert reaches(one, OUTSIDE, 7000) == [False, False]
    assert reaches(two, both(one), 80) == reaches(world.outside, both(one), 80) == [False, False]


def test_containers_of_a_network_are_apart_where_it_says_so(world):
    quiet = network(world, 1, options={"com.docker.network.bridge.enable_icc": "false"})
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=[quiet])
    two = world.container("2", networks=[quiet])
    serve(one)
    assert reaches(two, both(one), 80) == [False, False]
    assert reaches(world.outside, HOST, 8080) == reaches(world.host, both(one), 80) == [True, True]


def test_without_masquerade_packets_keep_their_source(world):
    bare = network(world, 1, options={"com.docker.network.bridge.enable_ip_masquerade": "false"})
    one = world.container("1", networks=[bare])
    serve(world.outside, 7000)
    answers = [one.ask(host, 7000) for host in OUTSIDE]
    assert answers == [f"outside {one.address}", f"outside {one.address6}"]


def test_a_container_on_two_networks_is_published_by_one_and_reached_on_both(world):
    records = [network(world, 1), network(world, 2)]
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=records)
    near, other = (world.container(str(2 + number), networks=[record]) for number, record in enumerate(records))
    serve(one)
    first, second = one.plan["endpoints"]
    assert reaches(near, [first["address"], first["address6"]], 80) == [True, True]
    assert reaches(other, [second["address"], second["address6"]], 80) == [True, True]
    assert reaches(other, [first["address"], first["address6"]], 80) == [False, False]
    assert reaches(world.outside, HOST, 8080) == [True, True]


def test_a_network_that_goes_takes_its_rules_and_no_others(world):
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=[network(world, 1)])
    two = world.container("2", networks=[network(world, 2)])
    serve(one)
    names = {**world.names, "bridges": [record["bridge"] for record in (network(world, 1), network(world, 2))]}
    before = rules_of(network(world, 2)["bridge"])
    assert before
    two.end()
    gone = links.sweep(names, {one.plan["container_id"]}, world.lock)
    assert network(world, 2)["bridge"] in gone
    assert rules_of(network(world, 2)["bridge"]) == []
    assert reaches(world.outside, HOST, 8080) == [True, True]
    one.end()
    links.sweep(names, set(), world.lock)
    assert rules_of(world.settings.table) == rules_of(network(world, 1)["bridge"]) == []


def test_a_change_of_a_networks_options_replaces_its_rules(world):
    one = world.container("1", networks=[network(world, 1)])
    serve(world.outside, 7000)
    assert reaches(one, OUTSIDE, 7000) == [True, True]
    links.setup_host(world.plan("1", networks=[network(world, 1, internal=True)]), world.lock)
    assert reaches(one, OUTSIDE, 7000) == [False, False]


@pytest.mark.parametrize("driver", ["iptables"], indirect=True)
@pytest.mark.parametrize("table", ["raw", "filter", "nat"])
def test_what_somebody_flushed_of_iptables_is_made_good(world, driver, table):
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=[network(world, 1)])
    before = saved()
    for program in ("iptables", "ip6tables"):
        subprocess.run([program, "-t", table, "-F"], check=True)
    assert saved() != before
    links.restore([one.plan], world.lock)
    assert sorted(saved()) == sorted(before)


def saved():
    return [
        line
        for program in ("iptables-save", "ip6tables-save")
        for line in subprocess.check_output([program], text=True).splitlines()
        if line.startswith("-")
    ]


def rules_of(name):
    """All that either packet filter has of a name."""
    ruleset = subprocess.check_output(["nft", "list", "ruleset"], text=True).splitlines() + saved()
    return [line for line in ruleset if name in line]
