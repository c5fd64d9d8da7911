# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of a container as its monitor wires it: ports held and given back, the bridge gone with the last one."""

from __future__ import annotations

import os
import socket

import pytest

from vitrine import errors
from vitrine.network import addresses, pools
from vitrine.network import plan as network_plan
from vitrine.supervise import launch, restart

from .conftest import until


def plan_of(box, address, ports=()):
    subnet, gateway = pools.choose_subnet(box.settings.instance, bridge=box.settings.bridge)
    network = {
        "id": "0" * 64, "name": "bridge", "driver": "bridge", "internal": False, "options": {},
        "subnets": [{"subnet": subnet, "gateway": gateway, "ip_range": ""}], "bridge": box.settings.bridge,
    }  # fmt: skip
    mine = addresses.text(addresses.base(addresses.split(subnet)) + address)
    endpoints = [network_plan.endpoint(network, box.id, address=mine)]
    network_plan.settle(endpoints)
    return network_plan.make(
        settings_instance=box.settings.instance,
        table=box.settings.table,
        container_id=box.id,
        endpoints=endpoints,
        ports=[list(port) for port in ports],
    )


def networked(box, *argv, address=2, ports=(), **options):
    plan = plan_of(box, address, ports)
    box.start(*argv, network=plan, ops=network_plan.inside_ops(plan), **options)
    return plan


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def talk(port):
    with socket.create_connection(("127.0.0.1", port), timeout=2) as client:
        client.sendall(b"hello\n")
        return client.recv(100)


def bridge_there(box):
    return os.path.exists(f"/sys/class/net/{box.settings.bridge}")


def test_a_published_port_serves_and_is_held_and_given_back(boxes, port):
    box, other = boxes(), boxes()
    networked(box, "nc", "-ll", "-p", "8080", "-e", "/bin/cat", ports=[("127.0.0.1", port, 8080, "tcp")])
    assert box.launched.ports == (["127.0.0.1", port, 8080, "tcp"],)
    assert box.state["ports"] == [["127.0.0.1", port, 8080, "tcp"]]

    def served():
        try:
            return talk(port)
        except OSError:
            return b""

    assert until(served) == b"hello\n"
    with pytest.raises(errors.PortInUse) as caught:
        networked(other, "true", address=3, ports=[("127.0.0.1", port, 8080, "tcp")])
    assert str(port) in str(caught.value)
    assert other.state["status"] == "created"
    assert bridge_there(box)
    box.stop(timeout=0)
    networked(other, "sleep", "100", address=3, ports=[("127.0.0.1", port, 8080, "tcp")])
    other.stop(timeout=0)
    other.ended()
    until(lambda: not bridge_there(box))


def test_a_port_is_free_again_when_the_client_has_seen_the_exit(boxes, session, port):
    for number in range(3):
        box = boxes()
        networked(
            box, "true", address=2 + number, ports=[("127.0.0.1", port, 8080, "tcp")], attached=True, auto_remove=True
        )
        one = session(box, box.launched.attach_fd)
        assert one.code() == 0


def test_any_free_port(box):
    networked(box, "sleep", "100", ports=[("", 0, 80, "tcp"), ("", 0, 53, "udp")])
    chosen = [item[1] for item in box.state["ports"]]
    assert all(0 < number < 65536 for number in chosen)
    with socket.socket() as sock, pytest.raises(OSError):
        sock.bind(("0.0.0.0", chosen[0]))


def test_the_bridge_stays_for_a_container_without_monitor_and_ports_are_held_again(boxes, port):
    box, other = boxes(), boxes()
    networked(box, "sleep", "100", ports=[("127.0.0.1", port, 8080, "tcp")])
    os.kill(box.launched.monitor_pid, 9)
    os.waitpid(box.launched.monitor_pid, 0)
    networked(other, "true", address=3)
    other.wait()
    other.ended()
    assert bridge_there(box)
    known = box.state
    box.launched = launch.adopt(restart.saved(box.run_dir), known["pid"], known["start_time"])
    with socket.socket() as sock, pytest.raises(OSError):
        sock.bind(("127.0.0.1", port))
    box.stop(timeout=0)
    until(lambda: not bridge_there(box))


def test_a_restarted_container_has_its_network_again(box, port):
    networked(
        box, "sh", "-c", "nc -l -p 8080 -e /bin/cat", ports=[("127.0.0.1", port, 8080, "tcp")], restart=("always", 0)
    )

    def served():
        try:
            return talk(port)
        except OSError:
            return b""

    for _ in range(3):
        assert until(served) == b"hello\n"
    assert box.state["restart_count"] >= 2
