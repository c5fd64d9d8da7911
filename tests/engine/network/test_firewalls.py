# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts with a firewall of their own: the real firewalld and ufw, in namespaces, and rulesets written by hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from support.traces import until
from vitrine.linux.namespaces import FLAGS, setns, unshare
from vitrine.network import firewalls, links

WHY = "not installed where it would begin to filter"  # scripts/test


def run(*argv, text=None, ok=True):
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60)
    assert not ok or done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout.strip()


def needs(*programs):
    missing = [name for name in programs if not shutil.which(name)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}: {WHY}")


@pytest.fixture
def own_files():
    """The test runs with /run and the firewalls' settings of its own; afterwards the process is back in the host's."""
    here, own = os.getcwd(), os.open("/proc/self/ns/mnt", os.O_RDONLY)
    unshare(FLAGS["mnt"])
    try:
        run("mount", "--make-rprivate", "/")
        run("mount", "-t", "tmpfs", "none", "/run")
        for folder in ("/etc/firewalld", "/etc/ufw", "/var/lib/ufw"):
            if os.path.isdir(folder):
                copy = f"/run/copy{folder.replace('/', '-')}"
                shutil.copytree(folder, copy, symlinks=True)
                run("mount", "--bind", copy, folder)
        yield
    finally:
        setns(own, FLAGS["mnt"])
        os.close(own)
        os.chdir(here)


@pytest.fixture
def firewalld(world, own_files):
    for folder in ("/run/dbus", "/run/firewalld", "/run/lock"):
        os.mkdir(folder)
    bus = subprocess.Popen(["dbus-daemon", "--system", "--nofork", "--nopidfile"])
    daemon = None
    try:
        until(lambda: os.path.exists("/run/dbus/system_bus_socket"))
        daemon = subprocess.Popen(["firewalld", "--nofork", "--nopid"], stderr=subprocess.DEVNULL)
        until(lambda: run("firewall-cmd", "--state", ok=False) == "running", 60)
        yield
    finally:
        for process in filter(None, (daemon, bus)):
            process.terminate()
            process.wait()


@pytest.fixture
def ufw(world, own_files):
    os.mkdir("/run/lock")
    run("ufw", "--force", "enable")


def served(world):
    """A container with a published port, and a server outside; what goes out and what comes in, as functions."""
    one = world.container("1", [["", 8080, 80, "tcp"]])
    one.serve("tcp", 80)
    world.outside.serve("tcp", 7000)
    return (
        one,
        lambda: one.ask("192.0.2.2", 7000) == "outside 192.0.2.1",
        lambda: world.outside.ask("192.0.2.1", 8080) == "container1 192.0.2.2",
    )


@needs("firewalld", "firewall-cmd", "dbus-daemon")
def test_firewalld_trusts_our_bridge_also_after_it_was_reloaded(world, firewalld):
    bridge = world.settings.bridge
    one, goes_out, comes_in = served(world)
    assert goes_out() and comes_in()
    assert firewalls.blockers(world.names) == []
    run("firewall-cmd", "--reload")
    assert goes_out() and comes_in()
    run("firewall-cmd", "--zone=trusted", f"--remove-interface={bridge}")
    assert not goes_out()
    assert firewalls.blockers(world.names) == ["inet firewalld filter_FORWARD"]
    run("sh", "-c", firewalls.remedy("inet firewalld filter_FORWARD", bridge))
    assert goes_out() and firewalls.blockers(world.names) == []
    one.end()
    assert links.teardown_if_idle(world.names, lambda: False, world.lock)
    for permanent in ([], ["--permanent"]):
        assert bridge not in run("firewall-cmd", *permanent, "--zone=trusted", "--list-interfaces")


@needs("ufw")
def test_ufw_lets_our_bridge_through_also_after_it_was_reloaded(world, ufw):
    bridge = world.settings.bridge
    one, goes_out, comes_in = served(world)
    assert goes_out() and comes_in()
    assert firewalls.blockers(world.names) == []
    run("ufw", "reload")
    assert goes_out() and comes_in()
    firewalls.withdraw(world.names)
    assert not goes_out()
    assert firewalls.blockers(world.names) == ["ip filter FORWARD", "ip6 filter FORWARD"]
    assert "ufw route allow" in firewalls.remedy("ip filter FORWARD", bridge)
    run("sh", "-c", firewalls.remedy("ip filter FORWARD", bridge))
    assert goes_out() and comes_in()
    one.end()


# -- rulesets of other hands -----------------------------------------------------------------------------------------

CHAIN = """
table {family} other {{
  chain more {{
    {more}
  }}
  chain through {{
    type filter hook forward priority 5; policy {policy};
    {rules}
  }}
}}
"""


@pytest.mark.parametrize(
    ("rules", "policy", "blocks"),
    [
        ("", "accept", False),
        ("", "drop", True),
        ("drop", "accept", True),
        ("reject", "accept", True),
        ("counter log drop", "accept", True),
        ("ip saddr 203.0.113.0/24 drop", "accept", False),
        ('iifname "eth*" drop', "accept", False),
        ('iifname "vit*" drop', "accept", True),
        ('oifname != "eth0" drop', "accept", True),
        ("ct state established,related accept\nct status dnat accept\naccept", "drop", False),
        ("ct status dnat accept", "drop", True),  # what goes out is dropped
        ("jump more\naccept", "drop", False),
        ("jump more\ndrop", "accept", True),
        ("goto more\ndrop", "accept", False),
        ("tcp dport 25 jump more\naccept", "drop", False),
    ],
)
@pytest.mark.parametrize("family", ["ip", "ip6", "inet"])
def test_what_other_forward_chains_do_is_read_from_their_rules(world, family, rules, policy, blocks):
    if family == "ip6":
        rules = rules.replace("ip saddr 203.0.113.0/24", "ip6 saddr 2001:db8::/32")
    names = {"bridge": "vitrine7", "table": world.settings.table}
    run("nft", "-f", "-", text=CHAIN.format(family=family, rules=rules, policy=policy, more="tcp dport 80 drop"))
    before = run("nft", "list", "ruleset")
    assert firewalls.blockers(names) == ([f"{family} other through"] if blocks else [])
    firewalls.admit(names)
    assert firewalls.blockers(names) == []
    firewalls.admit({**names, "bridge": "vitrine8"})
    firewalls.withdraw({**names, "bridge": "vitrine8"})
    assert firewalls.blockers(names) == []
    firewalls.withdraw(names)
    assert run("nft", "list", "ruleset") == before


def test_the_remedy_for_a_chain_of_other_hands_works_as_it_is_written(world):
    names = {"bridge": "vitrine7", "table": world.settings.table}
    run("nft", "-f", "-", text=CHAIN.format(family="inet", rules="drop", policy="accept", more=""))
    run("sh", "-c", firewalls.remedy("inet other through", "vitrine7"))
    assert firewalls.blockers(names) == []


@needs("iptables-legacy")
def test_the_older_filter_is_seen_where_it_is_used_beside(world):
    if "filter" not in run("sh", "-c", "iptables-legacy -P FORWARD DROP && cat /proc/net/ip_tables_names", ok=False):
        pytest.skip("needs a kernel with ip_tables")
    names = {"bridge": "vitrine7", "table": world.settings.table}
    assert firewalls.blockers(names) == [firewalls.LEGACY]
    firewalls.admit(names)
    assert firewalls.blockers(names) == []
    firewalls.withdraw(names)
    assert run("iptables-legacy", "-S", "FORWARD") == "-P FORWARD DROP"
    run("sh", "-c", firewalls.remedy(firewalls.LEGACY, "vitrine7"))
    assert firewalls.blockers(names) == []


# -- what users are told ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("busybox"), reason="needs busybox")
def test_publishing_behind_a_firewall_is_warned_of_and_checked(world, tmp_path):
    from support.base_image import busybox_image
    from support.host import Host
    from vitrine.store import Store

    host = Host(tmp_path / "host")
    with Store(str(host.root)) as store:
        busybox_image(store)
    try:
        words = ("run", "--detach", "--stop-timeout", "0", "--publish")
        quiet = host.try_(*words, "8080:80", "busybox", "sleep", "600")
        assert quiet.code == 0 and quiet.err == ""
        assert json.loads(host("info", "--format", "json"))["Warnings"] == []
        bridge = run("ip", "-br", "link", "show", "type", "bridge").split()[0]
        run("nft", "-f", "-", text=CHAIN.format(family="inet", rules="drop", policy="accept", more=""))
        told = host.try_(*words, "8081:80", "busybox", "sleep", "600")
        assert told.code == 0 and "'inet other through' drops" in told.err and f"iifname {bridge} accept" in told.err
        assert host.try_("run", "--rm", "busybox", "true").err == ""  # it publishes nothing
        assert f"inet other through drops what passes the bridge {bridge}" in host.try_("check").out
        assert "inet other through" in host("info")
        run("sh", "-c", firewalls.remedy("inet other through", bridge))
        assert host.try_(*words, "8082:80", "busybox", "sleep", "600").err == ""
    finally:
        host.close()
