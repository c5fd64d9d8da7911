# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reaches whom, by packets: published ports, masquerade, isolation, with both packet filters."""

from __future__ import annotations

import marshal
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vitrine.errors import InvalidInput, PortInUse
from vitrine.linux import features
from vitrine.network import links, plan, ports
from vitrine.settings import Settings

pytestmark = pytest.mark.usefixtures("driver")


def test_outside_reaches_a_published_port_and_keeps_its_address(world):
    one = world.container("1", [["", 8080, 80, "tcp"]])
    one.serve("tcp", 80)
    assert world.outside.ask("192.0.2.1", 8080) == "container1 192.0.2.2"
    assert world.outside.ask("192.0.2.1", 8081).startswith("no:")


def test_the_host_reaches_it_on_all_its_addresses(world):
    one = world.container("1", [["", 8080, 80, "tcp"]])
    one.serve("tcp", 80)
    for address in ("127.0.0.1", "192.0.2.1", "10.83.0.1"):
        assert world.host.ask(address, 8080).startswith("container1 "), address
    assert world.host.ask(one.address, 80) == "container1 10.83.0.1"


def test_a_port_published_on_one_address_is_only_there(world):
    one = world.container("1", [["127.0.0.1", 8080, 80, "tcp"], ["192.0.2.1", 8081, 80, "tcp"]])
    one.serve("tcp", 80)
    assert world.host.ask("127.0.0.1", 8080).startswith("container1 ")
    assert world.outside.ask("192.0.2.1", 8080).startswith("no:")
    assert world.outside.ask("192.0.2.1", 8081) == "container1 192.0.2.2"
    assert world.host.ask("127.0.0.1", 8081).startswith("no:")


def test_a_container_reaches_its_own_and_others_published_ports(world):
    one = world.container("1", [["", 8080, 80, "tcp"]])
    two = world.container("2")
    one.serve("tcp", 80)
    assert one.ask("192.0.2.1", 8080).startswith("container1 ")
    assert two.ask("192.0.2.1", 8080).startswith("container1 ")
    assert two.ask("10.83.0.1", 8080).startswith("container1 ")
    assert two.ask(one.address, 80) == f"container1 {two.address}"


def test_udp_is_published(world):
    one = world.container("1", [["", 5353, 53, "udp"]])
    one.serve("udp", 53)
    assert world.outside.ask("192.0.2.1", 5353, "udp") == "container1 192.0.2.2"
    assert world.host.ask("127.0.0.1", 5353, "udp").startswith("container1 ")


def test_a_udp_client_that_goes_on_follows_the_port_to_its_new_container(world):
    one = world.container("1", [["", 5353, 53, "udp"]])
    one.serve("udp", 53)
    assert world.outside.ask("192.0.2.1", 5353, "udp", source=4000) == "container1 192.0.2.2"
    links.disconnect(one.plan, world.lock)
    one.end()
    ports.release(one.held)
    world.fds.clear()
    two = world.container("2", [["", 5353, 53, "udp"]])
    two.serve("udp", 53)
    assert world.outside.ask("192.0.2.1", 5353, "udp", source=4000) == "container2 192.0.2.2"


def test_an_old_udp_flow_does_not_reach_who_has_the_address_next(world):
    one = world.container("1", [["", 5353, 53, "udp"]])
    one.serve("udp", 53)
    assert world.outside.ask("192.0.2.1", 5353, "udp", source=4000) == "container1 192.0.2.2"
    links.disconnect(one.plan, world.lock)
    one.end()
    again = world.container("1")
    again.serve("udp", 53)
    assert world.outside.ask("192.0.2.1", 5353, "udp", source=4000).startswith("no:")


def test_a_udp_client_from_before_the_start_reaches_the_container(world):
    links.setup_host(world.plan("1"), world.lock)  # the kernel follows connections from now on
    assert world.outside.ask("192.0.2.1", 5353, "udp", source=4000).startswith("no:")
    one = world.container("1", [["", 5353, 53, "udp"]])
    one.serve("udp", 53)
    assert world.outside.ask("192.0.2.1", 5353, "udp", source=4000) == "container1 192.0.2.2"


def test_containers_go_out_with_the_hosts_address(world):
    one = world.container("1")
    world.outside.serve("tcp", 7000)
    world.outside.serve("udp", 7001)
    assert one.ask("192.0.2.2", 7000) == "outside 192.0.2.1"
    assert one.ask("192.0.2.2", 7001, "udp") == "outside 192.0.2.1"


def test_nobody_outside_reaches_a_containers_own_address(world):
    one = world.container("1", [["", 8080, 80, "tcp"]])
    one.serve("tcp", 80)
    one.serve("tcp", 81)
    assert world.outside.ask(one.address, 80).startswith("no:")
    assert world.outside.ask(one.address, 81).startswith("no:")


@pytest.mark.parametrize("barrier", ["early", "forward"])
def test_addresses_stay_shut_when_one_of_the_two_barriers_is_gone(world, driver, barrier):
    one = world.container("1")
    one.serve("tcp", 80)
    if driver == "nf_tables":
        subprocess.run(["nft", "flush", "chain", "ip", world.settings.table, barrier], check=True)
    else:
        subprocess.run(["iptables", "-t", {"early": "raw", "forward": "filter"}[barrier], "-F"], check=True)
    assert world.outside.ask(one.address, 80).startswith("no:")


def test_a_container_does_not_reach_what_listens_on_the_hosts_loopback(world):
    """CVE-2020-8558: route_localnet on the bridge must let nobody in."""
    one = world.container("1", [["127.0.0.1", 8080, 80, "tcp"]])
    world.host.serve("tcp", 9000, "127.0.0.1")
    one.run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    one.run("ip", "route", "add", "127.0.0.1/32", "via", "10.83.0.1", "dev", "eth0", "table", "100")
    one.run("ip", "rule", "add", "pref", "0", "to", "127.0.0.1", "lookup", "100")
    one.run("ip", "rule", "add", "pref", "1", "lookup", "local")
    one.run("ip", "rule", "delete", "pref", "0", "lookup", "local")
    assert one.run("ip", "route", "get", "127.0.0.1").startswith("127.0.0.1 via 10.83.0.1 dev eth0")
    assert world.host.ask("127.0.0.1", 9000).startswith("host ")
    assert one.ask("127.0.0.1", 9000).startswith("no:")
    assert Path("/proc/sys/net/ipv4/conf/all/route_localnet").read_text().strip() == "0"


def test_two_engines_live_side_by_side_and_apart(world, tmp_path):
    other = Settings.load(str(tmp_path / "other"), str(tmp_path / "other_run"))
    one = world.container("1", [["", 8080, 80, "tcp"]])
    two = world.container("2", [["", 8082, 80, "tcp"]], settings=other, subnet="10.84.0.0/16", gateway="10.84.0.1")
    one.serve("tcp", 80)
    two.serve("tcp", 80)
    assert world.outside.ask("192.0.2.1", 8080) == "container1 192.0.2.2"
    assert world.outside.ask("192.0.2.1", 8082) == "container2 192.0.2.2"
    assert one.ask(two.address, 80).startswith("no:")
    assert two.ask(one.address, 80).startswith("no:")
    assert one.ask("192.0.2.1", 8082).startswith("container2 ")
    two.end()
    assert links.teardown_if_idle(two.plan, lambda: False, world.lock)
    assert world.outside.ask("192.0.2.1", 8080) == "container1 192.0.2.2"


def test_a_free_host_port_is_chosen_on_request(world):
    one = world.container("1", [["", 0, 80, "tcp"]])
    one.serve("tcp", 80)
    chosen = one.plan["ports"][0][1]
    assert chosen >= 1024
    assert world.outside.ask("192.0.2.1", chosen) == "container1 192.0.2.2"


def test_a_stale_mapping_in_the_way_is_replaced(world):
    """A monitor was killed: its ports are free to bind, but still mapped to a container that may even live on."""
    one = world.container("1", [["", 8080, 80, "tcp"]])
    one.serve("tcp", 80)
    ports.release(one.held)
    world.fds.clear()
    two = world.container("2", [["", 8080, 80, "tcp"]])
    two.serve("tcp", 80)
    assert world.outside.ask("192.0.2.1", 8080) == "container2 192.0.2.2"
    links.disconnect(one.plan, world.lock)  # comes late, and takes nothing of the other
    assert world.outside.ask("192.0.2.1", 8080) == "container2 192.0.2.2"


def test_a_late_disconnect_takes_nothing_from_who_has_the_address_now(world):
    one = world.container("1", [["", 8080, 80, "tcp"]])
    one.serve("tcp", 80)
    links.disconnect({**one.plan, "container_id": "2" * 64}, world.lock)
    assert world.outside.ask("192.0.2.1", 8080) == "container1 192.0.2.2"


def test_a_disconnected_container_is_not_published_any_more(world):
    one = world.container("1", [["", 8080, 80, "tcp"]])
    two = world.container("2", [["", 8082, 80, "tcp"]])
    one.serve("tcp", 80)
    two.serve("tcp", 80)
    links.disconnect(one.plan, world.lock)
    links.disconnect(one.plan, world.lock)
    assert world.outside.ask("192.0.2.1", 8080).startswith("no:")
    assert world.outside.ask("192.0.2.1", 8082) == "container2 192.0.2.2"


def test_the_same_container_starts_again_at_once(world):
    one = world.container("1", [["", 8080, 80, "tcp"]])
    ports.release(one.held)
    world.fds.clear()
    again = world.container("1", [["", 8080, 80, "tcp"]])
    again.serve("tcp", 80)
    assert world.outside.ask("192.0.2.1", 8080) == "container1 192.0.2.2"


def test_sweep_removes_what_killed_containers_left(world):
    one = world.container("1", [["", 8080, 80, "tcp"]])
    two = world.container("2", [["", 8082, 80, "tcp"], ["127.0.0.1", 8083, 80, "tcp"]])
    one.serve("tcp", 80)
    two.serve("tcp", 80)
    removed = links.sweep(world.names, {one.plan["container_id"]}, world.lock)
    assert any("222222222222" in line for line in removed)
    assert world.outside.ask("192.0.2.1", 8080) == "container1 192.0.2.2"
    assert world.outside.ask("192.0.2.1", 8082).startswith("no:")
    assert not os.path.exists(f"/proc/sys/net/ipv4/conf/{two.one['host_if']}")
    assert links.sweep(world.names, {one.plan["container_id"]}, world.lock) == []
    assert links.sweep(world.names, (), world.lock)
    assert links.sweep(world.names, (), world.lock) == []
    assert remains(world) == []


def remains(world):
    """Links and rules that are there beside those of the test."""
    names = subprocess.run(["ip", "-br", "link"], capture_output=True, text=True, check=True).stdout.splitlines()
    left = [line.split()[0] for line in names if not line.startswith(("lo ", "out0@"))]
    table = world.settings.table
    for argv in (["nft", "list", "ruleset"], ["iptables-save"]):
        text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        left += [line for line in text.splitlines() if table in line]
    return left


def test_the_last_to_leave_takes_bridge_and_rules_along(world):
    one = world.container("1", [["", 8080, 80, "tcp"]])
    assert not links.teardown_if_idle(one.plan, lambda: True, world.lock)
    one.serve("tcp", 80)
    assert world.outside.ask("192.0.2.1", 8080) == "container1 192.0.2.2"
    links.disconnect(one.plan, world.lock)
    one.end()
    assert links.teardown_if_idle(one.plan, lambda: False, world.lock)
    assert remains(world) == []
    assert not links.teardown_if_idle(one.plan, lambda: False, world.lock)


def test_teardown_spares_a_bridge_that_others_use(world):
    one = world.container("1")
    one.end()
    subprocess.run(["ip", "link", "add", "foreign", "type", "veth", "peer", "foreign2"], check=True)
    subprocess.run(["ip", "link", "set", "foreign", "master", world.settings.bridge], check=True)
    assert not links.teardown_if_idle(one.plan, lambda: False, world.lock)
    assert remains(world) != []


def test_what_others_flushed_is_restored(world, driver):
    one = world.container("1", [["", 8080, 80, "tcp"]])
    one.serve("tcp", 80)
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    assert world.outside.ask("192.0.2.1", 8080).startswith("no:")
    links.restore([one.plan], world.lock)
    assert world.outside.ask("192.0.2.1", 8080) == "container1 192.0.2.2"


def test_a_port_in_use_is_told_with_address_and_protocol(world):
    other = socket.create_server(("127.0.0.1", 8080))
    try:
        with pytest.raises(PortInUse) as caught:
            ports.hold_ports(world.plan("1", [["", 9999, 1, "tcp"], ["", 8080, 80, "tcp"]]))
    finally:
        other.close()
    assert "0.0.0.0:8080/tcp" in str(caught.value) and "publish another port" in caught.value.hint
    held, _ = ports.hold_ports(world.plan("1", [["", 9999, 1, "tcp"]]))  # the first was let go again
    ports.release(held)
    with pytest.raises(InvalidInput, match="198.51.100.7"):
        ports.hold_ports(world.plan("1", [["198.51.100.7", 80, 80, "tcp"]]))


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_two_containers_cannot_hold_one_port(world, protocol):
    first, _ = ports.hold_ports(world.plan("1", [["", 8080, 80, protocol]]))
    with pytest.raises(PortInUse):
        ports.hold_ports(world.plan("2", [["", 8080, 80, protocol]]))
    ports.release(first)
    second, _ = ports.hold_ports(world.plan("2", [["", 8080, 80, protocol]]))
    ports.release(second)


def test_lingering_connections_of_an_earlier_server_are_no_conflict(world):
    server = socket.create_server(("127.0.0.1", 8080))
    client = socket.create_connection(("127.0.0.1", 8080))
    accepted, _ = server.accept()
    accepted.close()  # the server closes first: TIME_WAIT stays on its port
    assert client.recv(1) == b""
    client.close()
    server.close()
    plain = socket.socket()
    with pytest.raises(OSError, match="in use"):
        plain.bind(("0.0.0.0", 8080))
    plain.close()
    first, _ = ports.hold_ports(world.plan("1", [["", 8080, 80, "tcp"]]))
    with pytest.raises(PortInUse):
        ports.hold_ports(world.plan("2", [["", 8080, 80, "tcp"]]))
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("0.0.0.0", 8080))
    assert world.host.ask("127.0.0.1", 8080) == "no: ConnectionRefusedError"
    ports.release(first)


STARTS = """
import marshal, os, sys
sys.path[:0] = sys.argv[1:2]
from vitrine.linux import features
from vitrine.network import links
network, netns, lock, folder = marshal.loads(bytes.fromhex(sys.argv[2])), *sys.argv[3:6]
features.set_without(sys.argv[6:])
mine = os.path.join(folder, network["container_id"])
for again in (True, True, True, False):
    os.close(os.open(mine, os.O_CREAT | os.O_WRONLY))
    links.setup_host(network, lock)
    links.connect(network, netns, lock)
    if again:
        links.disconnect(network, lock)
        os.unlink(mine)
        links.teardown_if_idle(network, lambda: os.listdir(folder), lock)
"""


def test_many_start_and_stop_at_once(world, tmp_path):
    """Bridge and rules are there whenever a container is, though the last to leave takes them along each time."""
    alive = tmp_path / "alive"
    alive.mkdir()
    root = os.path.dirname(os.path.dirname(os.path.dirname(plan.__file__)))
    places = []
    for number in range(1, 7):
        place = world.place(f"container{number}")
        place.plan = world.plan(str(number), [["", 8000 + number, 80, "tcp"]])
        places.append(place)
    running = []
    for place in places:
        argv = [sys.executable, "-c", STARTS, root, marshal.dumps(place.plan).hex(), place.netns, world.lock]
        running.append(subprocess.Popen([*argv, str(alive), *features.without()], stderr=subprocess.PIPE, text=True))
    world.processes += running
    for process in running:
        _out, error = process.communicate(timeout=120)
        assert (process.returncode, error) == (0, "")
    for place in places:
        place.serve("tcp", 80)
        assert world.outside.ask("192.0.2.1", place.plan["ports"][0][1]) == f"{place.name} 192.0.2.2"
