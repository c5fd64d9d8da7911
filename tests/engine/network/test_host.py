# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on the host once a container is connected: switches, links, and a ruleset that nft itself can load."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vitrine.errors import HostError, StartFailed
from vitrine.linux import netlink as route
from vitrine.network import addresses, bridges, firewalls, links, plan, pools, ports, rules

from .conftest import first_of


def switch(name):
    return Path("/proc/sys/net", name).read_text().strip()


def moved(network, address):
    """The same plan with another address."""
    return {**network, "endpoints": [{**network["endpoints"][0], "address": address}]}


def nft(*argv, text=None):
    return subprocess.run(["nft", *argv], input=text, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("subnet", ["10.83.0.0/16", "10.64.16.0/20", "10.9.8.128/26", "10.83.0.0/24"])
def test_nft_prints_the_ruleset_and_loads_it_again_as_it_was(world, subnet):
    gateway = first_of(subnet)
    ports = [["", 8080, 80, "tcp"], ["127.0.0.1", 53, 53, "udp"], ["", 9, 9, "sctp"]]
    network = world.plan("1", ports, subnet=subnet, gateway=gateway)
    rules.ensure(network)
    rules.add_ports(network)
    text = nft("list", "ruleset")
    bridge = world.settings.bridge
    assert f'{subnet} comment "{subnet}" : jump guard_{bridge}' in text
    assert f'{subnet} comment "{subnet}" : jump leave_{bridge}' in text
    assert f'tcp . 8080 comment "{network["container_id"]}" : {network["endpoints"][0]["address"]} . 80' in text
    assert (
        f'127.0.0.1 . udp . 53 comment "{network["container_id"]}" : {network["endpoints"][0]["address"]} . 53' in text
    )
    nft("-c", "-f", "-", text=text)
    before = rules.published(network["table"])
    nft("-f", "-", text="flush ruleset\n" + text)
    assert sorted(nft("list", "ruleset").replace(",", "\n").split()) == sorted(text.replace(",", "\n").split())
    assert rules.published(network["table"]) == before
    assert rules.remove_ports(network["table"], lambda owner, _address: owner == network["container_id"]) == 3
    assert rules.published(network["table"]) == []
    rules.remove(network["table"])
    assert nft("list", "tables") == ""


def test_a_range_of_a_thousand_ports_is_published_and_taken_back(world):
    published = [["", 20000 + number, 20000 + number, protocol] for number in range(500) for protocol in ("tcp", "udp")]
    network = world.plan("1", published)
    held, network["ports"] = ports.hold_ports(network)
    world.fds += held
    links.setup_host(network, world.lock)
    links.connect(network, world.outside.netns, world.lock)
    assert len(rules.published(network["table"])) == 1000
    rules.add_ports(moved(network, "10.83.0.77"))  # all in the way, all replaced
    assert {entry[3] for entry in rules.published(network["table"])} == {"10.83.0.77"}
    links.disconnect(moved(network, "10.83.0.77"), world.lock)
    assert rules.published(network["table"]) == []


def test_many_messages_are_all_acknowledged(world):
    with route.Netlink() as netlink:
        answers = netlink.transact([route.link_delete(f"absent{number}") for number in range(1000)])
    assert [number for number, _text in answers] == [19] * 1000


def test_connecting_a_process_that_is_gone_is_a_failed_start(world):
    with pytest.raises(StartFailed, match="network") as caught:
        links.connect(world.plan("1"), "/proc/999999999/ns/net", world.lock)
    assert caught.value.errno == 2


def test_a_failed_batch_changes_nothing(world):
    network = world.plan("1", [["", 8080, 80, "tcp"]])
    rules.ensure(network)
    before = nft("list", "ruleset")
    with rules.nft.open_netfilter() as netlink, pytest.raises(FileNotFoundError):
        messages = [rules.nft.chain(network["table"], "extra"), rules.nft.rule(network["table"], "absent")]
        rules.nft.commit(netlink, messages)
    assert nft("list", "ruleset") == before


def test_another_layout_is_replaced_and_published_ports_are_kept(world):
    network = world.plan("1", [["", 8080, 80, "tcp"]])
    rules.ensure(network)
    rules.add_ports(network)
    nft("delete", "chain", "ip", network["table"], rules.LAYOUT)
    nft("flush", "chain", "ip", network["table"], "early")
    rules.ensure(network)
    assert "vmap @subnets" in nft("list", "chain", "ip", network["table"], "early")
    assert [entry[:2] for entry in rules.published(network["table"])] == [("", 8080)]


def test_the_hosts_switches(world):
    container = world.container("1")
    bridge = world.settings.bridge
    assert switch("ipv4/ip_forward") == "1"
    assert switch(f"ipv4/conf/{bridge}/route_localnet") == "1"
    assert switch("ipv4/conf/out0/route_localnet") == "0"
    assert switch(f"ipv4/conf/{bridge}/rp_filter") == "2"
    assert switch(f"ipv6/conf/{bridge}/accept_ra") == "0"
    assert switch(f"ipv6/conf/{bridge}/disable_ipv6") == "1"
    assert container.run("sysctl", "-n", "net.ipv6.conf.eth0.disable_ipv6") == "1"
    assert "fe80" not in container.run("ip", "address", "show", "eth0")


def test_the_bridge_keeps_its_address_and_takes_the_default_routes_mtu(world):
    def seen():
        with route.Netlink() as netlink:
            index, _name, _flags, _master, mtu = route.link(netlink, world.settings.bridge)
        text = subprocess.run(["ip", "link", "show", world.settings.bridge], capture_output=True, text=True, check=True)
        return index, mtu, text.stdout.split("link/ether ")[1][:17]

    one = world.container("1")
    before = seen()
    assert before[1:] == (1420, addresses.mac_address(world.gateway))
    two = world.container("2")
    assert seen() == before
    assert "mtu 1420" in two.run("ip", "link", "show", "eth0")
    assert addresses.mac_address(two.address) in two.run("ip", "link", "show", "eth0")
    assert f"default via {world.gateway} dev eth0" in two.run("ip", "route")
    one.end()


def test_a_veth_pair_goes_with_its_namespace(world):
    one = world.container("1")
    name = one.one["host_if"]
    assert Path("/proc/sys/net/ipv4/conf", name).exists()
    one.end()
    end = time.monotonic() + 10
    while Path("/proc/sys/net/ipv4/conf", name).exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_setup_is_repeated_without_a_change(world):
    network = world.plan("1")
    links.setup_host(network, world.lock)
    before = nft("-a", "list", "ruleset"), subprocess.check_output(["ip", "address"])
    links.setup_host(network, world.lock)
    assert (nft("-a", "list", "ruleset"), subprocess.check_output(["ip", "address"])) == before


def test_a_half_made_bridge_is_completed_and_an_idle_ones_address_replaced(world):
    ours = str(bridges.group(world.settings.bridge))  # a bridge of ours is made with it
    subprocess.run(["ip", "link", "add", world.settings.bridge, "group", ours, "type", "bridge"], check=True)
    links.setup_host(world.plan("1"), world.lock)
    moved = world.plan("1", subnet="10.84.0.0/16", gateway="10.84.0.1")
    links.setup_host(moved, world.lock)
    text = subprocess.check_output(["ip", "address", "show", world.settings.bridge], text=True)
    assert "10.84.0.1/16" in text and "10.83" not in text
    assert "10.84.0.0/16" in nft("list", "ruleset") and "10.83" not in nft("list", "ruleset")


def test_a_bridge_in_use_does_not_move(world):
    world.container("1")
    with pytest.raises(HostError, match=r"in use with the address 10\.83\.0\.1/16"):
        links.setup_host(world.plan("2", subnet="10.84.0.0/16", gateway="10.84.0.1"), world.lock)


def test_a_failed_connect_leaves_nothing_of_the_container(world):
    network = world.plan("1", [["", 8080, 80, "tcp"]])
    network["endpoints"][0]["ifname"] = "a/b"  # no interface can have that name
    links.setup_host(network, world.lock)
    with pytest.raises(StartFailed) as caught:
        links.connect(network, world.outside.netns, world.lock)
    assert caught.value.stage == "network" and caught.value.errno
    assert rules.published(network["table"]) == []
    with route.Netlink() as netlink:
        assert route.link(netlink, network["endpoints"][0]["host_if"]) is None


def test_failing_inside_the_namespace_undoes_what_was_done_outside(world):
    network = world.plan("1", [["", 8080, 80, "tcp"]])
    links.setup_host(network, world.lock)
    network["endpoints"][0]["address"] = "0.0.0.0"  # no interface can have that address
    with pytest.raises(StartFailed):
        links.connect(network, world.outside.netns, world.lock)
    assert rules.published(network["table"]) == []
    own = os.stat("/proc/self/ns/net").st_ino
    assert own != os.stat(world.outside.netns).st_ino  # the process is back where it was
    with route.Netlink() as netlink:
        assert route.link(netlink, network["endpoints"][0]["host_if"]) is None


def test_without_any_packet_filter_the_error_says_what_to_get(world, monkeypatch):
    from vitrine.linux import command, features

    monkeypatch.setattr(command, "SEARCH_PATH", "/nonexistent")
    features.set_without({"nf_tables"})
    try:
        with pytest.raises(HostError, match="iptables-restore is not installed") as caught:
            links.setup_host(world.plan("1"), world.lock)
        assert "nf_tables" in caught.value.hint
    finally:
        features.set_without(())


def test_a_chosen_subnet_avoids_what_the_host_has(world):
    subprocess.run(["ip", "route", "add", "10.83.0.0/20", "via", "192.0.2.2"], check=True)
    subprocess.run(["ip", "address", "add", "10.84.3.1/24", "dev", "out0"], check=True)
    subnet, gateway = pools.choose_subnet("")
    assert (subnet, gateway) == ("10.86.0.0/16", "10.86.0.1")
    network = world.plan("1", subnet=subnet, gateway=gateway)
    links.setup_host(network, world.lock)
    assert pools.choose_subnet("")[0] == "10.87.0.0/16"
    assert pools.choose_subnet("", bridge=world.settings.bridge)[0] == subnet  # its own bridge is not in the way


DROPPING = """
table ip filter {
    chain FORWARD {
        type filter hook forward priority 0; policy drop;
    }
}
table inet strict {
    chain through {
        type filter hook forward priority 10; policy drop;
        ct state invalid drop
    }
}
"""


def test_other_filters_that_drop_by_default_let_the_bridge_through(world):
    """As docker and ufw leave a host."""
    nft("-f", "-", text=DROPPING)
    before = nft("list", "ruleset")
    one = world.container("1", [["", 8080, 80, "tcp"]])
    one.serve("tcp", 80)
    world.outside.serve("tcp", 7000)
    assert world.outside.ask("192.0.2.1", 8080) == "container1 192.0.2.2"
    assert one.ask("192.0.2.2", 7000) == "outside 192.0.2.1"
    assert world.outside.ask(one.address, 80).startswith("no:")
    assert firewalls.blockers(world.names) == []
    firewalls.admit(world.names)
    assert nft("list", "ruleset").count("our bridge") == 4  # once is enough
    assert f"-A FORWARD -i {world.settings.bridge} -m comment" in subprocess.check_output(
        ["iptables", "-S", "FORWARD"], text=True
    )
    one.end()
    assert links.teardown_if_idle(world.names, lambda: False, world.lock)
    assert nft("list", "ruleset") == before
    assert firewalls.blockers(world.names) == ["ip filter FORWARD", "inet strict through"]


def test_a_filter_that_comes_later_is_dealt_with_by_restore(world):
    one = world.container("1")
    world.outside.serve("tcp", 7000)
    nft("-f", "-", text=DROPPING)
    assert one.ask("192.0.2.2", 7000).startswith("no:")
    assert len(firewalls.blockers(world.names)) == 2
    links.restore([one.plan], world.lock)
    assert one.ask("192.0.2.2", 7000) == "outside 192.0.2.1"


def test_inspection_shows_what_is_there(world):
    pytest.importorskip("pyroute2", reason="needs pyroute2")
    from vitrine.network import inspect

    assert inspect.observe(world.names)["present"] is False
    one = world.container("1", [["127.0.0.1", 8080, 80, "tcp"]])
    seen = inspect.observe(world.names)
    assert (seen["present"], seen["up"], seen["mtu"]) == (True, True, 1420)
    assert seen["mac"] == addresses.mac_address(world.gateway)
    assert seen["addresses"] == ["10.83.0.1/16"]
    assert seen["interfaces"] == [one.one["host_if"]]
    assert seen["published"] == [
        {
            "host_ip": "127.0.0.1",
            "host_port": 8080,
            "protocol": "tcp",
            "address": one.address,
            "container_port": 80,
            "container_id": one.plan["container_id"],
        }
    ]
    assert seen["blocked_by"] == []


def test_the_start_path_imports_nothing_slow():
    root = os.path.dirname(os.path.dirname(os.path.dirname(plan.__file__)))
    program = (
        f"import sys; sys.path.insert(0, {root!r}); import vitrine.network.links, vitrine.network.ports\n"
        "print(' '.join(sorted(set(sys.modules) & set(sys.argv[1:]))))"
    )
    slow = ["json", "re", "typing", "dataclasses", "enum", "contextlib", "pathlib", "logging", "subprocess", "tempfile"]
    slow += ["shutil", "argparse", "functools", "collections", "ipaddress", "socket", "pyroute2"]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, *slow], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
