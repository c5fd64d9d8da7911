# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several networks at once, of both families, with real packets: what passes between them, and what does not."""

from __future__ import annotations

import os
import subprocess

import pytest
from tests.support.traces import until

from vitrine.errors import HostError, PortInUse
from vitrine.linux import netlink as route
from vitrine.network import bridges, changes, links, nftables, plan, ports, rules

SIX, OTHER_SIX = "fd00:83::/64", "fd00:84::/64"
HOST6 = "2001:db8::1"


@pytest.fixture
def records(world):
    """Two networks of both families beside the default one's name."""
    red = world.network(subnet="10.83.0.0/16", subnet6=SIX, name="red", bridge="vnet00000000a1")
    blue = world.network(subnet="10.84.0.0/16", subnet6=OTHER_SIX, name="blue", bridge="vnet00000000b2")
    return red, blue


def ruleset():
    return subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout


def test_both_families_are_published_on_every_address(world, records):
    red, _blue = records
    one = world.container("1", [["", 8080, 80, "tcp"], ["", 5353, 53, "udp"]], networks=[red])
    held = [entry[:2] for entry in one.plan["ports"]]
    assert held == [["0.0.0.0", 8080], ["::", 8080], ["0.0.0.0", 5353], ["::", 5353]]
    one.serve("tcp", 80, "::")
    one.serve("udp", 53, "::")
    assert world.outside.ask(HOST6, 8080) == "container1 2001:db8::2"  # and it sees who asked
    assert world.outside.ask(HOST6, 5353, "udp") == "container1 2001:db8::2"
    assert world.outside.ask("192.0.2.1", 8080).startswith("container1 ")
    assert world.host.ask(HOST6, 8080).startswith("container1 ")
    assert world.host.ask("127.0.0.1", 8080).startswith("container1 ")
    assert world.host.ask("::1", 8080) == "no: ConnectionRefusedError"  # so that who tries localhost goes on to IPv4
    assert world.outside.ask(one.address6, 80).startswith("no:")


def test_a_port_on_one_ipv6_address_is_only_there(world, records):
    red, _blue = records
    one = world.container("1", [[HOST6, 8080, 80, "tcp"], ["::", 8081, 80, "tcp"]], networks=[red])
    one.serve("tcp", 80, "::")
    assert world.outside.ask(HOST6, 8080).startswith("container1 ")
    assert world.outside.ask("192.0.2.1", 8080).startswith("no:")
    assert world.outside.ask(HOST6, 8081).startswith("container1 ")
    assert world.outside.ask("192.0.2.1", 8081).startswith("no:")


def test_a_container_calls_its_own_published_ipv6_port(world, records):
    red, _blue = records
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=[red])
    two = world.container("2", networks=[red])
    one.serve("tcp", 80, "::")
    assert one.ask(HOST6, 8080).startswith("container1 ")
    assert two.ask(HOST6, 8080).startswith("container1 ")
    assert two.ask(one.address6, 80) == f"container1 {two.address6}"


def test_containers_go_out_with_the_hosts_ipv6_address(world, records):
    red, _blue = records
    one = world.container("1", networks=[red])
    world.outside.serve("tcp", 7000, "::")
    assert one.ask("2001:db8::2", 7000) == "outside 2001:db8::1"


def test_networks_are_apart_but_for_what_is_published(world, records):
    red, blue = records
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=[red])
    two = world.container("2", networks=[blue])
    one.serve("tcp", 80, "::")
    for address in (one.address, one.address6):
        assert two.ask(address, 80).startswith("no:"), address
    assert two.ask("192.0.2.1", 8080).startswith("container1 ")
    assert two.ask(HOST6, 8080).startswith("container1 ")
    assert one.ask(two.address, 80).startswith("no:")


def test_an_isolated_network_reaches_not_even_what_others_publish(world, records):
    red, blue = records
    blue["options"]["isolate"] = "true"
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=[red])
    two = world.container("2", [["", 8082, 80, "tcp"]], networks=[blue])
    one.serve("tcp", 80, "::")
    two.serve("tcp", 80, "::")
    world.outside.serve("tcp", 7000)
    assert two.ask("192.0.2.1", 8080).startswith("no:")
    assert one.ask("192.0.2.1", 8082).startswith("no:")
    assert world.outside.ask("192.0.2.1", 8082).startswith("container2 ")
    assert two.ask("192.0.2.1", 8082).startswith("container2 ")
    assert two.ask("192.0.2.2", 7000) == "outside 192.0.2.1"


def test_nothing_leaves_an_internal_network_or_enters_it(world, records):
    red, blue = records
    blue["internal"] = True
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=[red])
    two = world.container("2", [["", 8082, 80, "tcp"]], networks=[blue])
    three = world.container("3", networks=[blue])
    assert two.plan["ports"] == []
    assert "default" not in two.run("ip", "route") + two.run("ip", "-6", "route")
    for place in (one, two):
        place.serve("tcp", 80, "::")
    world.outside.serve("tcp", 7000)
    assert three.ask(two.address, 80) == f"container2 {three.address}"
    assert world.host.ask(two.address, 80).startswith("container2 ")
    for asks in (one, world.outside):
        assert asks.ask(two.address, 80).startswith("no:")
    two.run("ip", "route", "add", "default", "via", "10.84.0.1")  # a container with the privilege tries all the same
    assert two.ask("192.0.2.2", 7000).startswith("no:")
    assert two.ask("192.0.2.1", 8080).startswith("no:")
    assert two.ask(one.address, 80).startswith("no:")


def test_neighbours_can_be_forbidden_to_speak(world, records):
    red, _blue = records
    red["options"]["com.docker.network.bridge.enable_icc"] = "false"
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=[red])
    two = world.container("2", networks=[red])
    one.serve("tcp", 80, "::")
    one.serve("tcp", 81, "::")
    assert two.ask(one.address, 81).startswith("no:")
    assert two.ask(one.address6, 81).startswith("no:")
    assert world.host.ask(one.address, 81).startswith("container1 ")
    assert world.outside.ask("192.0.2.1", 8080).startswith("container1 ")


def test_without_masquerading_containers_go_out_as_themselves(world, records):
    red, _blue = records
    red["options"]["com.docker.network.bridge.enable_ip_masquerade"] = "false"
    one = world.container("1", networks=[red])
    world.outside.serve("tcp", 7000)
    assert one.ask("192.0.2.2", 7000) == f"outside {one.address}"


def test_a_network_of_ipv6_alone(world):
    record = world.network(subnet="", subnet6=SIX, name="six", bridge="vnet00000000c3")
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=[record])
    one.serve("tcp", 80, "::")
    world.outside.serve("tcp", 7000, "::")
    assert world.outside.ask(HOST6, 8080).startswith("container1 ")
    assert one.ask("2001:db8::2", 7000) == "outside 2001:db8::1"
    assert "inet " not in one.run("ip", "address", "show", "eth0")


def test_a_port_that_another_program_has_on_ipv6_alone_is_found(world, records):
    red, _blue = records
    world.host.serve("tcp", 8080, "::")
    with pytest.raises(PortInUse):
        ports.hold_ports(world.plan("1", [["::", 8080, 80, "tcp"]], networks=[red]))


def test_no_router_announces_itself_and_no_address_waits(world, records):
    red, _blue = records
    one = world.container("1", networks=[red])
    assert one.run("sysctl", "-n", "net.ipv6.conf.eth0.accept_ra") == "0"
    assert "tentative" not in one.run("ip", "address", "show", "eth0")
    assert one.run("cat", "/proc/sys/net/ipv6/conf/eth0/ndisc_notify") == "1"


def test_a_host_that_listens_to_routers_goes_on_to_do_so(world, records):
    red, _blue = records
    switch = "/proc/sys/net/ipv6/conf/{}/{}".format
    for name, value in (("out0", "1"), ("lo", "0")):
        with open(switch(name, "accept_ra"), "w") as file:
            file.write(value)
    world.container("1", networks=[red])
    found = {name: open(switch(name, "accept_ra")).read().strip() for name in ("out0", "lo", "vnet00000000a1")}  # noqa: SIM115
    assert found == {"out0": "2", "lo": "0", "vnet00000000a1": "0"}
    assert open(switch("all", "forwarding")).read().strip() == "1"  # noqa: SIM115


def test_one_container_on_two_networks(world, records):
    both = world.container("1", [["", 8080, 80, "tcp"]], networks=list(records))
    red, blue = (world.container(digit, networks=[record]) for digit, record in zip("23", records))
    both.serve("tcp", 80, "::")
    assert red.ask("10.83.0.3", 80) == f"container1 {red.address}"
    assert blue.ask("10.84.0.3", 80) == f"container1 {blue.address}"
    assert [one["default_route"] for one in both.plan["endpoints"]] == [False, True]  # blue comes first by name
    assert world.outside.ask("192.0.2.1", 8080).startswith("container1 ")
    assert "default via 10.84.0.1 dev eth1" in both.run("ip", "route")
    assert rules.published(world.settings.table)[0][3] == "10.84.0.3"


@pytest.fixture
def commits(monkeypatch):
    """How many messages each transaction of the packet filter had."""
    seen = []
    real = nftables.commit
    monkeypatch.setattr(nftables, "commit", lambda link, messages: (seen.append(len(messages)), real(link, messages)))
    return seen


def test_every_change_of_the_packet_filter_is_one_transaction(world, commits):
    """And adding the thirtieth network takes no more messages than adding the second."""
    records = [
        world.network(subnet=f"10.{90 + number}.0.0/16", subnet6=f"fd00:{90 + number}::/64", name=f"n{number}",
                      bridge=f"vnet{number:010x}")
        for number in range(30)
    ]  # fmt: skip
    sizes = []
    for number, record in enumerate(records):
        links.setup_host(world.plan(f"{number % 10}", networks=[record]), world.lock)
        assert len(commits) == 1
        sizes.append(commits.pop())
    assert len(set(sizes[1:])) == 1 and sizes[1] < sizes[0]
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=[records[0]])
    assert len(commits) == 1  # two families' elements, one transaction
    links.disconnect(one.plan, world.lock)
    assert len(commits) == 2
    world.container("2", networks=[records[0]])
    assert len(commits) == 2  # without ports: nothing
    ids = [place["container_id"] for place in world.plans.values()]
    assert links.teardown_if_idle(
        {"bridge": records[7]["bridge"], "table": world.settings.table}, lambda: ids, world.lock
    )
    assert len(commits) == 3
    assert rules.bridges(world.settings.table) == {records[0]["bridge"]}  # the others had nobody on them
    text = ruleset()
    subprocess.run(["nft", "-c", "-f", "-"], input=text, check=True, text=True)
    assert "vnet0000000007" not in text and "10.97.0.0/16" not in text


def test_a_network_whose_options_changed_gets_other_rules(world, records, commits):
    red, _blue = records
    links.setup_host(world.plan("1", networks=[red]), world.lock)
    before = ruleset()
    red["options"]["com.docker.network.bridge.enable_ip_masquerade"] = "false"
    links.setup_host(world.plan("1", networks=[red]), world.lock)
    assert len(commits) == 2
    assert ruleset().count("masquerade") == before.count("masquerade") - 2
    red["options"].clear()
    links.setup_host(world.plan("1", networks=[red]), world.lock)
    assert sorted(ruleset().split()) == sorted(before.split())


def test_a_bridge_goes_with_its_last_container_and_the_filter_with_the_last_bridge(world, records):
    red, blue = records
    one, two = world.container("1", networks=[red]), world.container("2", networks=[blue])
    one.end()
    alive = [two.plan["container_id"]]
    assert links.teardown_if_idle(one.plan, lambda: alive, world.lock)
    with route.Netlink() as netlink:
        assert route.link(netlink, red["bridge"]) is None
        assert route.link(netlink, blue["bridge"]) is not None
    assert "10.83.0.0/16" not in ruleset() and "10.84.0.0/16" in ruleset()
    two.end()
    assert links.teardown_if_idle(two.plan, lambda: [], world.lock)
    assert ruleset() == ""


def test_sweep_finds_the_dead_in_all_networks(world, records):
    red, blue = records
    one = world.container("1", [["", 8081, 80, "tcp"]], networks=[red, blue])
    two = world.container("2", [["", 8082, 80, "tcp"]], networks=[red])
    names = {"bridges": [red["bridge"], blue["bridge"]], "table": world.settings.table}
    removed = links.sweep(names, {two.plan["container_id"]}, world.lock)
    assert any("111111111111" in line for line in removed)
    assert {entry[1] for entry in rules.published(world.settings.table)} == {8082}
    with route.Netlink() as netlink:
        assert route.link(netlink, blue["bridge"]) is None
    assert not os.path.exists(f"/proc/sys/net/ipv4/conf/{one.one['host_if']}")
    assert links.sweep(names, {two.plan["container_id"]}, world.lock) == []
    assert links.sweep({"table": world.settings.table}, (), world.lock)  # the filter itself knows of what
    assert ruleset() == ""


# -- while it runs ---------------------------------------------------------------------------------------------------


def changed(world, place, endpoints):
    """Bring a container from its networks to others."""
    after = {**place.plan, "endpoints": [dict(one) for one in endpoints]}
    plan.settle(after["endpoints"])
    fd = os.open(place.netns, os.O_RDONLY)
    try:
        more = len(after["endpoints"]) > len(place.plan["endpoints"])
        (changes.attach if more else changes.detach)(place.plan, after, fd, world.lock)
    finally:
        os.close(fd)
    place.plan = after


def test_a_running_container_is_put_on_a_network_and_taken_off(world, records):
    red, blue = records
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=[red])
    two = world.container("2", networks=[blue])
    one.serve("tcp", 80, "::")
    world.outside.serve("tcp", 7000)
    changed(world, one, [*one.plan["endpoints"], world.endpoint("1", blue, 1)])
    assert two.ask("10.84.0.3", 80) == f"container1 {two.address}"
    assert one.run("ip", "route").startswith("default via 10.84.0.1 dev eth1")  # blue is first by name
    assert one.run("ip", "-6", "route", "show", "default").startswith("default via fd00:84::1 dev eth1")
    assert {entry[3] for entry in rules.published(world.settings.table)} == {"10.84.0.3", "fd00:84::3"}
    assert world.outside.ask("192.0.2.1", 8080).startswith("container1 ")
    assert one.ask("192.0.2.2", 7000) == "outside 192.0.2.1"
    changed(world, one, one.plan["endpoints"][:1])
    assert two.ask("10.84.0.3", 80).startswith("no:")
    assert one.run("ip", "route").startswith("default via 10.83.0.1 dev eth0")
    assert world.outside.ask("192.0.2.1", 8080).startswith("container1 ")
    assert {entry[3] for entry in rules.published(world.settings.table)} == {"10.83.0.3", "fd00:83::3"}
    changed(world, one, [])
    assert "eth" not in one.run("ip", "-br", "link")
    assert world.outside.ask("192.0.2.1", 8080).startswith("no:")


def test_a_failed_connect_leaves_all_as_it_was(world, records):
    red, blue = records
    one = world.container("1", [["", 8080, 80, "tcp"]], networks=[red])
    before = ruleset(), one.run("ip", "route"), one.run("ip", "-br", "link")
    wrong = world.endpoint("1", blue, 1)
    wrong["address"] = "999.1.1.1"  # the kernel's side fails after the link is there
    known = one.plan
    with pytest.raises(Exception, match="illegal IP|could not"):
        changed(world, one, [*one.plan["endpoints"], wrong])
    links.teardown_if_idle({"bridge": blue["bridge"], "table": world.settings.table}, lambda: ["1" * 64], world.lock)
    assert (ruleset(), one.run("ip", "route"), one.run("ip", "-br", "link")) == before
    assert one.plan is known


def test_what_a_killed_connect_left_is_replaced(world, records):
    red, blue = records
    one = world.container("1", networks=[red])
    known = one.plan
    for _again in range(2):
        one.plan = known
        changed(world, one, [*known["endpoints"], world.endpoint("1", blue, 1)])
    assert one.run("ip", "-br", "link").count("eth1") == 1


# -- macvlan and ipvlan ----------------------------------------------------------------------------------------------


def macvlan(world, **changes):
    lan = {"driver": "macvlan", "bridge": "out0", "options": {"parent": "out0"}, **changes}
    made = world.network(subnet="192.0.2.0/24", gateway="192.0.2.2", subnet6="2001:db8::/64", name="lan", **lan)
    made["subnets"][1]["gateway"] = "2001:db8::2"
    return made


def sub(world, digit, record, last):
    """A container on somebody else's network, with addresses of its own there."""
    one = plan.endpoint(record, digit * 64, address=f"192.0.2.{last}", address6=f"2001:db8::{last}")
    network = world.plan(digit)
    plan.settle([one])
    network.update(endpoints=[one], ports=[])
    place = world.place(f"container{digit}")
    links.connect(network, place.netns, world.lock)
    place.plan, place.address = network, one["address"]
    return place


def test_a_macvlan_container_is_a_host_on_its_parents_network(world):
    one, two = sub(world, "1", macvlan(world), 11), sub(world, "2", macvlan(world), 12)
    world.outside.serve("tcp", 7000, "::")
    assert one.ask("192.0.2.2", 7000) == "outside 192.0.2.11"
    until(lambda: one.ask("2001:db8::2", 7000) == "outside 2001:db8::11")  # the first packet looks for its neighbour
    two.serve("tcp", 80)
    assert world.outside.ask("192.0.2.12", 80) == "container2 192.0.2.2"
    assert one.ask("192.0.2.12", 80) == "container2 192.0.2.11"
    assert "default via 192.0.2.2 dev eth0" in one.run("ip", "route")
    assert ruleset() == ""  # none of it is ours to filter
    assert plan.publishers(one.plan) == (None, None)


def test_a_private_macvlan_keeps_its_containers_apart(world):
    record = macvlan(world, options={"parent": "out0", "macvlan_mode": "private"})
    one, two = sub(world, "1", record, 11), sub(world, "2", record, 12)
    two.serve("tcp", 80)
    assert one.ask("192.0.2.12", 80).startswith("no:")
    assert world.outside.ask("192.0.2.12", 80) == "container2 192.0.2.2"


def test_a_parent_that_is_absent_or_down_is_told(world):
    with pytest.raises(HostError, match="parent nowhere, and this host has no such link"):
        sub(world, "1", macvlan(world, bridge="nowhere"), 11)
    subprocess.run(["ip", "link", "add", "idle0", "type", "veth", "peer", "idle1"], check=True)
    with pytest.raises(HostError, match="parent idle0 .* is down") as caught:
        sub(world, "1", macvlan(world, bridge="idle0"), 11)
    assert caught.value.hint == "ip link set idle0 up"


def test_an_ipvlan_link_is_made_or_what_lacks_is_told(world):
    record = macvlan(world, driver="ipvlan", options={"parent": "out0", "ipvlan_mode": "l2"})
    try:
        one = sub(world, "1", record, 11)
    except HostError as error:
        assert error.hint == "load the kernel module: modprobe ipvlan"
        pytest.skip("this kernel has no ipvlan")
    world.outside.serve("tcp", 7000)
    assert one.ask("192.0.2.2", 7000) == "outside 192.0.2.11"


def test_a_macvlan_without_a_parent_is_a_wire_between_containers(world):
    record = world.network(
        subnet="10.85.0.0/24", name="wire", driver="macvlan", bridge="vnet00000000d4", internal=True, options={}
    )
    one, two = world.container("1", networks=[record]), world.container("2", networks=[record])
    two.serve("tcp", 80)
    assert one.ask(two.address, 80) == f"container2 {one.address}"
    assert world.host.ask(two.address, 80).startswith("no:")
    with route.Netlink() as netlink:
        index = route.link(netlink, record["bridge"])[0]
        assert route.addresses(netlink, 0, index) == []


def test_a_link_of_the_host_is_never_taken_for_a_bridge_of_ours(world):
    """Whatever a record says: what is not in the group that ours are in stays."""
    subprocess.run(["ip", "link", "add", "lan0", "type", "bridge"], check=True)
    for names in ({"bridges": ["lan0", "out0"], "table": world.settings.table}, {"bridge": "lan0", "table": "none"}):
        links.sweep(names, (), world.lock)
        links.teardown_if_idle(names, lambda: [], world.lock)
    with route.Netlink() as netlink:
        assert route.link(netlink, "lan0") and route.link(netlink, "out0")


def test_the_mtu_is_the_networks_or_the_default_routes(world, records):
    red, blue = records
    blue["options"]["com.docker.network.driver.mtu"] = "1300"
    one = world.container("1", networks=[red, blue])
    assert "mtu 1420" in one.run("ip", "link", "show", "eth0")
    assert "mtu 1300" in one.run("ip", "link", "show", "eth1")
    with route.Netlink() as netlink:
        assert bridges.default_mtu(netlink) == 1420
