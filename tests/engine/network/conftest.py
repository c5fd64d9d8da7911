# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small world in network namespaces: a host, someone outside, containers. Nothing of it touches the real host."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys

import pytest

from vitrine.linux import features
from vitrine.linux import netlink as route
from vitrine.linux.namespaces import FLAGS, setns, unshare
from vitrine.network import addresses, links, plan, ports

# Answers every request with its own name and the address that the request came from.
SERVER = r"""
import socket, sys
kind, host, port, name = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
family = socket.AF_INET6 if ":" in host else socket.AF_INET
server = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if family == socket.AF_INET6:
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
server.bind((host, port))
if kind == "tcp":
    server.listen()
print("ready", flush=True)
while True:
    if kind == "tcp":
        connection, peer = server.accept()
        connection.sendall(f"{name} {peer[0].removeprefix('::ffff:')}".encode())
        connection.close()
    else:
        _data, peer = server.recvfrom(100)
        server.sendto(f"{name} {peer[0].removeprefix('::ffff:')}".encode(), peer)
"""
CLIENT = r"""
import socket, sys
kind, host, port, source = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
client = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
client.settimeout(0.7)
try:
    if source:
        client.bind(("", source))
    client.connect((host, port))
    if kind == "udp":
        client.send(b"?")
    print(client.recv(100).decode())
except OSError as error:
    print("no:", type(error).__name__)
"""


def pytest_collection_modifyitems(items):
    missing = [name for name in ("ip", "nft", "nsenter", "unshare") if not shutil.which(name)]
    if os.geteuid():
        missing.insert(0, "root")
    for item in items:
        if missing and "engine/network" in str(item.path):
            item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(missing)}"))


def first_of(subnet):
    """The first host's address of a subnet."""
    network = addresses.split(subnet)
    return addresses.text(addresses.base(network) + 1, network[0])


class Place:
    """A network namespace with a process that keeps it."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.process = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        world.processes.append(self.process)
        self.netns = f"/proc/{self.process.pid}/ns/net"
        own = os.stat("/proc/self/ns/net").st_ino
        while os.stat(self.netns).st_ino == own:
            pass

    def run(self, *argv):
        argv = ["nsenter", f"--net={self.netns}", *map(str, argv)]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=20).stdout.strip()

    def serve(self, kind, port, host="0.0.0.0"):
        argv = [sys.executable, "-c", SERVER, kind, host, str(port), self.name]
        server = subprocess.Popen(["nsenter", f"--net={self.netns}", *argv], stdout=subprocess.PIPE, text=True)
        self.world.processes.append(server)
        assert server.stdout.readline() == "ready\n"
        return server

    def ask(self, host, port, kind="tcp", source=0):
        """What the server said, or "no: ..."."""
        return self.run(sys.executable, "-c", CLIENT, kind, host, port, source)

    def end(self):
        self.process.kill()
        self.process.wait()


class World:
    """The namespaces of one test; the test's own process is on the host."""

    subnet, gateway = "10.83.0.0/16", "10.83.0.1"

    def __init__(self, settings):
        self.settings = settings
        self.processes = []
        self.fds = []
        self.lock = f"{settings.run_root}/network.lock"
        self.names = {"bridge": settings.bridge, "table": settings.table}
        self.plans = {}
        route.apply([("link_up", "lo")])
        self.outside = Place(self, "outside")
        subprocess.run(
            ["ip", "link", "add", "out0", "mtu", "1420", "type", "veth"]
            + ["peer", "name", "in0", "netns", str(self.outside.process.pid)],
            check=True,
        )
        # an address that is being looked for on the link for a second makes tests wait
        for netns in ((), ("nsenter", f"--net={self.outside.netns}")):
            switches = [f"net.ipv6.conf.{name}.accept_dad=0" for name in ("all", "default", "in0" if netns else "out0")]
            subprocess.run([*netns, "sysctl", "-qw", *switches], check=True)
        route.apply([("addr_add", "out0", "192.0.2.1/24"), ("link_up", "out0")])
        subprocess.run(["ip", "address", "add", "2001:db8::1/64", "dev", "out0", "nodad"], check=True)
        self.outside.run("ip", "address", "add", "192.0.2.2/24", "dev", "in0")
        self.outside.run("ip", "address", "add", "2001:db8::2/64", "dev", "in0", "nodad")
        self.outside.run("ip", "link", "set", "in0", "up")
        self.outside.run("ip", "link", "set", "lo", "up")
        self.outside.run("ip", "route", "add", "default", "via", "192.0.2.1")
        self.outside.run("ip", "-6", "route", "add", "default", "via", "2001:db8::1")
        route.apply([("route_default", "192.0.2.2", "out0"), ("route_default", "2001:db8::2", "out0")])
        for _attempt in range(10):  # so that no first packet of a test waits until the neighbour was found
            if self.outside.ask("2001:db8::1", 9) == "no: ConnectionRefusedError":
                break
        self.host = Place.__new__(Place)
        self.host.world, self.host.name, self.host.netns = self, "host", f"/proc/{os.getpid()}/ns/net"

    def place(self, name):
        return Place(self, name)

    def network(self, settings=None, subnet=None, gateway=None, subnet6="", name="bridge", bridge="", **changes):
        """A network's record, as the store has it. subnet "": none of IPv4."""
        settings = settings or self.settings
        subnet = self.subnet if subnet is None else subnet
        subnets = []
        if subnet:
            subnets.append({"subnet": subnet, "gateway": gateway or first_of(subnet), "ip_range": ""})
        if subnet6:
            subnets.append({"subnet": subnet6, "gateway": first_of(subnet6), "ip_range": ""})
        made = {
            "id": hashlib.sha256(name.encode()).hexdigest(), "name": name, "driver": "bridge", "created": "",
            "internal": False, "enable_ipv6": bool(subnet6), "subnets": subnets, "options": {}, "labels": {},
            "bridge": bridge or settings.bridge,
        }  # fmt: skip
        return {**made, **changes}

    def endpoint(self, digit, record, number=0):
        """The digit's container on a network: its address is as many after the gateway's."""
        given = {}
        for pool in record["subnets"]:
            value = addresses.number(pool["gateway"]) + 1 + int(digit, 16)
            key = "address6" if ":" in pool["subnet"] else "address"
            given[key] = addresses.text(value, addresses.bits(pool["subnet"]))
        return plan.endpoint(record, digit * 64, number=number, **given)

    def plan(self, digit, published=(), settings=None, networks=None, **network):
        settings = settings or self.settings
        records = networks or [self.network(settings=settings, **network)]
        endpoints = [self.endpoint(digit, record, number) for number, record in enumerate(records)]
        plan.settle(endpoints)
        return plan.make(
            settings_instance=settings.instance,
            table=settings.table,
            container_id=digit * 64,
            endpoints=endpoints,
            ports=published,
        )

    def container(self, digit, published=(), **where):
        """A container on the bridge, wired as the monitor does it; its server is to be started by the test."""
        network = self.plan(digit, published, **where)
        place = Place(self, f"container{digit}")
        held, network["ports"] = ports.hold_ports(network)
        place.held = held
        self.fds += held
        links.setup_host(network, self.lock)
        links.connect(network, place.netns, self.lock)
        place.plan, place.one = network, network["endpoints"][0]
        place.address, place.address6 = place.one["address"], place.one["address6"]
        self.plans[network["container_id"]] = network
        return place

    def close(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        for fd in self.fds:
            try:
                os.close(fd)
            except OSError:
                pass


@pytest.fixture
def host_namespace():
    """The test runs in a new network namespace; afterwards the process is back in its own."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    unshare(FLAGS["net"])
    try:
        yield
    finally:
        setns(own, FLAGS["net"])
        os.close(own)


@pytest.fixture(params=["nf_tables", "iptables"])
def driver(request):
    """Every behaviour holds with both packet filters."""
    if request.param == "iptables":
        if not shutil.which("iptables-restore"):
            pytest.skip("needs iptables-restore")
        features.set_without({"nf_tables"})
    yield request.param
    features.set_without(())


@pytest.fixture
def world(settings, leakcheck, host_namespace):
    made = World(settings)
    yield made
    made.close()
