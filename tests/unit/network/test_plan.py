# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints, default routes, ports: what a network plan says."""

from __future__ import annotations

import json
import marshal

import pytest

from vitrine.errors import InvalidInput
from vitrine.network import plan

ID = "0123456789abcdef" * 4


def network(name="bridge", *subnets, **changes):
    made = {
        "id": name.encode().hex().ljust(64, "0"), "name": name, "driver": "bridge", "internal": False, "options": {},
        "bridge": "vitrine0", "subnets": [
            {"subnet": subnet, "gateway": gateway, "ip_range": ""}
            for subnet, gateway in subnets or (("10.83.0.0/16", "10.83.0.1"), ("fd00::/64", "fd00::1"))
        ],
    }  # fmt: skip
    return {**made, **changes}


def make(*endpoints, ports=()):
    plan.settle(list(endpoints))
    return plan.make(
        settings_instance="", table="vitrine", container_id=ID, endpoints=list(endpoints), ports=ports, name="web"
    )


def both(record=None, **given):
    return plan.endpoint(record or network(), ID, **{"address": "10.83.0.2", "address6": "fd00::2", **given})


def test_ports_have_one_spelling_and_are_published_once():
    given_ports = [("", 80, 80, "tcp"), ("127.0.0.1", 80, 81, "tcp"), ("", 0, 5, "udp"), ("[FD00::1]", 80, 80, "tcp")]
    expected = [["", 80, 80, "tcp"], ["127.0.0.1", 80, 81, "tcp"], ["", 0, 5, "udp"], ["fd00::1", 80, 80, "tcp"]]
    assert plan.check_ports(given_ports) == expected
    assert plan.check_ports([("", 0, 5, "udp"), ("", 0, 5, "udp")]) == [["", 0, 5, "udp"]] * 2
    assert plan.check_ports([("", 80, 80, "tcp")] * 2) == [["", 80, 80, "tcp"]]
    families = [["0.0.0.0", 80, 80, "tcp"], ["::", 80, 81, "tcp"]]
    assert plan.check_ports(families) == families


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([("::1", 80, 80, "tcp")], "cannot be published on ::1"),
        ([("example", 80, 80, "tcp")], "IPv4 or IPv6"),
        ([("", 80, 80, "icmp")], "protocol"),
        ([("", 70000, 80, "tcp")], "70000"),
        ([("", 80, 0, "tcp")], "80:0"),
        ([("", 80, 80, "tcp"), ("", 80, 81, "tcp")], "twice"),
        ([("", 80, 80, "tcp"), ("::", 80, 81, "tcp")], "twice"),
        ([("0.0.0.0", 80, 80, "tcp"), ("", 80, 81, "tcp")], "twice"),
    ],
)
def test_ports_that_cannot_be_published_are_refused(wrong, said):
    with pytest.raises(InvalidInput, match=said):
        plan.check_ports(wrong)


def test_a_plan_can_be_kept_and_has_names_that_the_kernel_takes():
    made = make(both(), ports=[("", 80, 80, "tcp")])
    assert marshal.loads(marshal.dumps(made)) == made == json.loads(json.dumps(made))
    (one,) = made["endpoints"]
    assert one["host_if"] == "vt0123456789ab"
    assert (one["prefix"], one["prefix6"], one["mac"]) == (16, 64, "02:42:0a:53:00:02")
    assert (one["default_route"], one["default_route6"]) == (True, True)
    assert plan.inside_ops(made) == [("link_up", "lo")]
    operations = plan.outside_ops(one)
    assert ("addr_add", "eth0", "10.83.0.2/16") in operations and ("addr_add", "eth0", "fd00::2/64") in operations
    assert operations[-2:] == [("route_default", "10.83.0.1", "eth0"), ("route_default", "fd00::1", "eth0")]
    names = [plan.host_interface(ID, number) for number in range(36)]
    assert len(set(names)) == 36 and max(map(len, names)) == 15


def test_a_plan_that_cannot_be_carried_out_is_not_made():
    for wrong in ({"address": "10.84.0.2"}, {"address6": "fd01::2"}, {"mac": "01:00:00:00:00:01"}):
        with pytest.raises(InvalidInput):
            both(**wrong)
    with pytest.raises(InvalidInput):
        make(both(), ports=[("::1", 1, 1, "tcp")])


def test_options_of_a_network_reach_the_endpoint():
    one = both()
    assert (one["icc"], one["masquerade"], one["isolate"], one["mtu"]) == (True, True, False, 0)
    options = {
        "com.docker.network.bridge.enable_icc": "false", "com.docker.network.bridge.enable_ip_masquerade": "0",
        "isolate": "true", "com.docker.network.driver.mtu": "1400",
    }  # fmt: skip
    one = both(network(options=options))
    assert (one["icc"], one["masquerade"], one["isolate"], one["mtu"]) == (False, False, True, 1400)
    with pytest.raises(InvalidInput, match="maybe"):
        plan.enabled("maybe", True)


def test_the_default_route_leaves_by_the_first_network_that_goes_out():
    """Each family by itself; names decide, unless a priority does; an internal network has none."""
    inner = both(network("a-inner", internal=True))
    four = both(network("b-four", ("10.83.0.0/16", "10.83.0.1")), address6="", number=1)
    dual = both(network("c-dual"), number=2)
    made = make(inner, four, dual)
    assert [(one["default_route"], one["default_route6"]) for one in made["endpoints"]] == [
        (False, False), (True, False), (False, True)
    ]  # fmt: skip
    assert plan.publishers(made) == (four, dual)
    assert plan.primary(made) is four
    plan.settle(made["endpoints"], {"c-dual": 1})
    assert [(one["default_route"], one["default_route6"]) for one in made["endpoints"]] == [
        (False, False), (False, False), (True, True)
    ]  # fmt: skip


def test_where_nothing_publishes_there_are_no_ports():
    ports = [("", 80, 80, "tcp")]
    assert make(both(network(internal=True)), ports=ports)["ports"] == []
    assert make(both(network(driver="macvlan", bridge="eth7")), ports=ports)["ports"] == []
    assert make(both(), ports=ports)["ports"] == [["", 80, 80, "tcp"]]
    only4 = plan.endpoint(network(), ID, address="10.83.0.2")
    with pytest.raises(InvalidInput, match="no IPv6"):
        make(only4, ports=[("::", 80, 80, "tcp")])
