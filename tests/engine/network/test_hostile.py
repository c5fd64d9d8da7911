# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What neighbours and containers try that have the right to forge packets, with both packet filters."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.usefixtures("driver")


def reach_for_loopback(place, gateway, link):
    """Let a place send what is for 127.0.0.1 to its neighbour, and take the answers."""
    for name in ("all", link):
        place.run("sysctl", "-qw", f"net.ipv4.conf.{name}.route_localnet=1", f"net.ipv4.conf.{name}.rp_filter=0")
    place.run("ip", "route", "add", "127.0.0.1/32", "via", gateway, "dev", link, "table", "100")
    place.run("ip", "rule", "add", "pref", "0", "to", "127.0.0.1", "lookup", "100")
    place.run("ip", "route", "del", "table", "local", "local", "127.0.0.1")
    place.run("ip", "route", "del", "table", "local", "local", "127.0.0.0/8")
    assert place.run("ip", "route", "get", "127.0.0.1").startswith(f"127.0.0.1 via {gateway} dev {link}")


@pytest.mark.parametrize("name", ["bridge", "mine"])
def test_neighbours_of_the_host_reach_nothing_that_is_published_on_its_loopback_address(world, name):
    one = world.container("1", [["127.0.0.1", 8080, 80, "tcp"], ["192.0.2.1", 8081, 80, "tcp"]], name=name)
    one.serve("tcp", 80)
    assert world.host.ask("127.0.0.1", 8080).startswith("container1 ")
    reach_for_loopback(world.outside, "192.0.2.1", "in0")
    assert world.outside.ask("192.0.2.1", 8081).startswith("container1 ")
    assert world.outside.ask("127.0.0.1", 8080).startswith("no:")
