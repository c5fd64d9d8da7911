# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""User-defined networks as they are typed: create, run, connect, disconnect, remove; what is said and what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from tests.support.base_image import busybox_image
from tests.support.host import Host
from tests.support.traces import Traces, until

from vitrine.store import Store

pytestmark = pytest.mark.usefixtures("host_namespace")


@pytest.fixture
def host(tmp_path):
    made = Host(tmp_path)
    with Store(str(made.root)) as store:
        busybox_image(store)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    yield made
    made.close()
    Traces(made).gone()
    links = subprocess.run(["ip", "-br", "link"], check=True, capture_output=True, text=True).stdout.split("\n")
    assert [line.split()[0] for line in links if line.strip()] == ["lo"]
    assert subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout == ""


def shown(host, name):
    return json.loads(host("inspect", name))[0]["NetworkSettings"]["Networks"]


def inside(host, name, *words):
    return host("exec", name, *words)


def test_a_network_is_made_shown_and_removed(host):
    identity = host(
        "network", "create", "--subnet", "10.5.0.0/24", "--gateway", "10.5.0.254", "--ip-range", "10.5.0.128/25",
        "--subnet", "fd05::/64", "--label", "a=b", "-o", "mtu=1400", "web",
    ).strip()  # fmt: skip
    (document,) = json.loads(host("network", "inspect", "web"))
    assert (document["Id"], document["Driver"], document["EnableIPv6"], document["Internal"]) == (
        identity, "bridge", True, False
    )  # fmt: skip
    assert document["IPAM"]["Config"] == [
        {"Subnet": "10.5.0.0/24", "IPRange": "10.5.0.128/25", "Gateway": "10.5.0.254"},
        {"Subnet": "fd05::/64", "Gateway": "fd05::1"},
    ]
    assert (document["Labels"], document["Options"], document["Containers"]) == ({"a": "b"}, {"mtu": "1400"}, {})
    names = [line.split()[1] for line in host("network", "ls").splitlines()[1:]]
    assert names == ["bridge", "host", "none", "web"]
    assert host("network", "ls", "-q", "--filter", "label=a=b") == f"{identity[:12]}\n"
    assert host("network", "rm", identity[:12])
    assert host.try_("network", "inspect", "web").code == 1


def test_networks_have_ipv6_unless_told_otherwise(host):
    host("network", "create", "both")
    host("network", "create", "--ipv6=false", "four")
    host("network", "create", "--ipv4=false", "six")
    families = {}
    for name in ("both", "four", "six"):
        (document,) = json.loads(host("network", "inspect", name))
        families[name] = [":" in entry["Subnet"] for entry in document["IPAM"]["Config"]]
        assert all(entry["Subnet"].startswith("fd") for entry in document["IPAM"]["Config"] if ":" in entry["Subnet"])
    assert families == {"both": [False, True], "four": [False], "six": [True]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--subnet", "10.5.0.0/24", "taken"], "already exists"),
        (["--subnet", "10.5.0.128/25", "new"], "overlaps 10.5.0.0/24 of the network 'taken'"),
        (["--subnet", "127.1.0.0/16", "new"], "which this host uses already"),
        (["--subnet", "10.6.0.0/31", "new"], "no room"),
        (["--subnet", "224.1.0.0/24", "new"], "multicast"),
        (["--subnet", "10.6.0.0/24", "--gateway", "10.7.0.1", "new"], "no subnet of the network contains 10.7.0.1"),
        (["--subnet", "10.6.0.0/24", "--gateway", "10.6.0.255", "new"], "no host's address"),
        (["--subnet", "ten", "new"], "'ten' is not"),
        (["--driver", "overlay", "new"], "unknown network driver 'overlay'"),
        (["-o", "speed=fast", "new"], "no option 'speed'"),
        (["-o", "mtu=9", "new"], "mtu is '9'"),
        (["-o", "isolate=perhaps", "new"], "'perhaps' is neither true nor false"),
        (["-o", "com.docker.network.bridge.name=a/b", "new"], "no link's name"),
        (["-o", "com.docker.network.bridge.name=lo", "new"], "a link of this host"),
        (["--driver", "macvlan", "-o", "macvlan_mode=l2", "new"], "macvlan_mode is 'l2'"),
        (["--ipv4=false", "--ipv6=false", "new"], "needs a subnet"),
        (["--ipv6=false", "--subnet", "fd00::/64", "new"], "IPv6 is switched off"),
        (["host"], "predefined network host"),
        (["-x", "new"], "unknown flag"),
        (["a b"], "invalid network name"),
    ],
)
def test_what_cannot_be_made_is_refused(host, words, said):
    host("network", "create", "--subnet", "10.5.0.0/24", "taken")
    result = host.try_("network", "create", *words)
    assert result.code != 0 and said in result.err and "Traceback" not in result.err
    assert host("network", "ls", "-q").count("\n") == 4


def test_static_addresses_macs_and_aliases(host):
    host("network", "create", "--subnet", "10.5.0.0/24", "--subnet", "fd05::/64", "web")
    host(
        "run", "-d", "--name", "one", "--network", "web", "--ip", "10.5.0.9", "--ip6", "fd05::9",
        "--network-alias", "www", "--mac-address", "02:00:00:00:00:09", "busybox", "sleep", "100",
    )  # fmt: skip
    host("run", "-d", "--name", "two", "--network", "name=web,ip=10.5.0.8,alias=w2", "busybox", "sleep", "100")
    found = shown(host, "one")["web"]
    assert (found["IPAddress"], found["GlobalIPv6Address"], found["MacAddress"], found["Aliases"]) == (
        "10.5.0.9", "fd05::9", "02:00:00:00:00:09", ["www"]
    )  # fmt: skip
    assert found["IPAMConfig"] == {"IPv4Address": "10.5.0.9", "IPv6Address": "fd05::9"}
    assert "1 packets received" in inside(host, "two", "ping", "-c1", "-w3", "www")
    assert "1 packets received" in inside(host, "one", "ping", "-c1", "-w3", "w2")
    for words in (
        ["run", "--rm", "--network", "web", "--ip", "10.5.0.9"],
        ["create", "--network=web", "--ip=10.5.0.8"],
    ):
        result = host.try_(*words, "busybox", "true")
        assert "in use by container" in result.err and ("'one'" in result.err or "'two'" in result.err)
    for words, expected in (
        (["--ip", "10.6.0.9"], "not in 10.5.0.0/24"),
        (["--ip", "10.5.0.1"], "is the gateway"),
        (["--ip", "10.5.0.255"], "no host's address"),
        (["--ip", "fd05::7"], "not of the family"),
        (["--network-alias", "a b"], "invalid alias"),
    ):
        result = host.try_("run", "--rm", "--network", "web", *words, "busybox", "true")
        assert result.code == 125 and expected in result.err, result
    assert len(host("ps", "-aq").split()) == 2


def test_the_default_network_takes_no_addresses_and_aliases(host):
    for words in (["--ip", "10.5.0.9"], ["--network-alias", "www"]):
        result = host.try_("run", "--rm", *words, "busybox", "true")
        assert result.code == 125 and "user" in result.err


@pytest.mark.parametrize("mode", ["host", "none", "container:other"])
def test_modes_that_are_no_networks_combine_with_none(host, mode):
    host("network", "create", "web")
    result = host.try_("run", "--rm", "--network", mode, "--network", "web", "busybox", "true")
    assert result.code == 125 and "cannot be combined" in result.err
    result = host.try_("run", "--rm", "--network", mode, "--ip", "10.5.0.9", "busybox", "true")
    assert result.code == 125 and "takes no addresses" in result.err


def test_containers_that_use_the_hosts_or_anothers_network_are_not_connected(host):
    host("network", "create", "web")
    host("run", "-d", "--name", "own", "--network", "web", "busybox", "sleep", "100")
    host("run", "-d", "--name", "joined", "--network", "container:own", "busybox", "sleep", "100")
    host("run", "-d", "--name", "hosts", "--network", "host", "busybox", "sleep", "100")
    for name, said in (("joined", "shares the network namespace"), ("hosts", "host network"), ("nobody", "no such")):
        for verb in ("connect", "disconnect"):
            result = host.try_("network", verb, "web", name)
            assert result.code == 1 and said in result.err, result
    assert "not found" in host.try_("network", "connect", "nowhere", "own").err
    assert "already exists in network web" in host.try_("network", "connect", "web", "own").err
    assert "is not connected to network bridge" in host.try_("network", "disconnect", "bridge", "own").err


def test_a_running_container_comes_and_goes(host):
    host("network", "create", "--subnet", "10.5.0.0/24", "a-first")
    host("network", "create", "--subnet", "10.6.0.0/24", "b-second")
    host("run", "-d", "--name", "one", "--network", "b-second", "-p", "127.0.0.1:0:80", "busybox", "httpd", "-f")
    host("run", "-d", "--name", "two", "--network", "a-first", "busybox", "sleep", "100")
    assert inside(host, "one", "ip", "route").startswith("default via 10.6.0.1")
    host("network", "connect", "--ip", "10.5.0.77", "--alias", "uno", "a-first", "one")
    assert inside(host, "one", "ip", "route").startswith("default via 10.5.0.1")
    assert "1 packets received" in inside(host, "two", "ping", "-c1", "-w3", "uno")
    assert "10.5.0.77" in inside(host, "one", "cat", "/etc/hosts")
    assert list(shown(host, "one")) == ["b-second", "a-first"]
    (document,) = json.loads(host("network", "inspect", "a-first"))
    assert {entry["Name"] for entry in document["Containers"].values()} == {"one", "two"}
    place = host("port", "one", "80").strip()
    assert "404" in subprocess.run(["curl", "-s", f"http://{place}/"], capture_output=True, text=True).stdout
    # it lasts over a restart
    host("restart", "-t0", "one")
    assert shown(host, "one")["a-first"]["IPAddress"] == "10.5.0.77"
    host("network", "disconnect", "a-first", "one")
    assert inside(host, "one", "ip", "route").startswith("default via 10.6.0.1")
    assert "10.5.0.77" not in inside(host, "one", "cat", "/etc/hosts")
    assert host.try_("exec", "two", "ping", "-c1", "-w1", "uno").code != 0
    assert (
        "404"
        in subprocess.run(
            ["curl", "-s", f"http://{host('port', 'one', '80').strip()}/"], capture_output=True, text=True
        ).stdout
    )
    host("run", "-d", "--network", "a-first", "--ip", "10.5.0.77", "busybox", "sleep", "100")  # free again
    host("network", "disconnect", "b-second", "one")
    assert shown(host, "one") == {"none": shown(host, "one")["none"]}
    host("network", "connect", "b-second", "one")
    assert "10.6.0." in inside(host, "one", "ip", "address")


def test_a_stopped_container_comes_and_goes(host):
    host("network", "create", "--subnet", "10.5.0.0/24", "web")
    host("create", "--name", "one", "busybox", "sleep", "100")
    host("network", "connect", "--ip", "10.5.0.9", "web", "one")
    assert (
        "in use by container 'one'" in host.try_("run", "--network", "web", "--ip", "10.5.0.9", "busybox", "true").err
    )
    host("network", "disconnect", "bridge", "one")
    host("start", "one")
    assert shown(host, "one")["web"]["IPAddress"] == "10.5.0.9" and list(shown(host, "one")) == ["web"]


def test_a_restart_by_policy_keeps_what_a_container_without_network_was_connected_to(host):
    host("network", "create", "late")
    host("run", "-d", "--name", "alone", "--network", "none", "--restart", "always", "busybox", "sleep", "100")
    host("network", "connect", "late", "alone")
    before = shown(host, "alone")["late"]["IPAddress"]
    pid = json.loads(host("inspect", "alone"))[0]["State"]["Pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: json.loads(host("inspect", "alone"))[0]["State"]["Pid"] not in (0, pid))
    assert f"inet {before}/" in inside(host, "alone", "ip", "-4", "addr", "show", "eth0")


def test_a_restart_by_policy_keeps_what_was_connected(host):
    host("network", "create", "--subnet", "10.5.0.0/24", "web")
    host("run", "-d", "--name", "one", "--restart", "always", "busybox", "sleep", "100")
    host("network", "connect", "--ip", "10.5.0.9", "web", "one")
    before = json.loads(host("inspect", "one"))[0]["State"]["Pid"]
    os.kill(before, signal.SIGKILL)
    until(lambda: json.loads(host("inspect", "one"))[0]["State"]["Pid"] not in (0, before))
    assert "10.5.0.9" in inside(host, "one", "ip", "address")


def test_addresses_are_kept_while_there_are_enough(host):
    host("network", "create", "--ipv6=false", "--subnet", "10.5.0.0/29", "small")  # five addresses
    host("run", "-d", "--name", "keeps", "--network", "small", "busybox", "sleep", "100")
    first = shown(host, "keeps")["small"]["IPAddress"]
    for number in range(4):
        host("create", "--name", f"c{number}", "--network", "small", "busybox", "true")
        host("start", f"c{number}")
        host("wait", f"c{number}")
    host("restart", "-t0", "keeps")
    assert shown(host, "keeps")["small"]["IPAddress"] == first
    host("run", "--rm", "--network", "small", "busybox", "true")  # takes one of those that do not run
    for number in range(4):
        host("start", f"c{number}")
    names = [f"full{number}" for number in range(4)]
    for name in names:
        host("run", "-d", "--name", name, "--network", "small", "busybox", "sleep", "100")
    result = host.try_("run", "--rm", "--network", "small", "busybox", "true")
    assert "no free address left" in result.err and "larger subnet" in result.err


def test_a_network_in_use_is_not_removed_and_prune_takes_the_others(host):
    for name in ("used", "idle", "stopped"):
        host("network", "create", name)
    host("run", "-d", "--name", "one", "--network", "used", "busybox", "sleep", "100")
    host("create", "--name", "two", "--network", "stopped", "busybox", "true")
    result = host.try_("network", "rm", "used")
    assert result.code == 1 and "has active endpoints: one" in result.err
    assert "pre-defined network" in host.try_("network", "rm", "bridge").err
    assert host("network", "prune", "--force") == "Deleted Networks:\nidle\n\n"
    assert host("network", "rm", "stopped") == "stopped\n"
    assert "network stopped not found" in host.try_("start", "two").err
    assert host.try_("network", "rm", "--force", "nowhere").code == 0


def test_nothing_is_left_of_a_network_whose_containers_were_killed(host):
    host("network", "create", "web")
    host("run", "-d", "--name", "one", "--network", "web", "-p", "0:80", "busybox", "sleep", "100")
    state = json.loads(host("inspect", "one"))[0]
    (record,) = Path(host.root, "containers").iterdir()
    monitor = json.loads(Path(record, "state.json").read_text())["monitor_pid"]
    os.kill(monitor, signal.SIGKILL)
    os.kill(state["State"]["Pid"], signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{state['State']['Pid']}"))
    host("ps")  # the next command puts things right
    assert subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout == ""
    assert not [name for name in os.listdir("/proc/sys/net/ipv4/conf") if name.startswith("vnet")]
    host("start", "one")
    assert shown(host, "one")["web"]["IPAddress"]


def test_what_others_flushed_is_made_good(host):
    host("network", "create", "web")
    host("run", "-d", "--name", "one", "--network", "web", "-p", "127.0.0.1:0:80", "busybox", "httpd", "-f")
    host("run", "-d", "--name", "two", "busybox", "sleep", "100")

    def rules():
        text = subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout
        return sorted(text.replace(",", "\n").split())

    before = rules()
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    assert len(host("network", "reload").split()) == 2
    assert rules() == before


def test_both_families_are_shown_as_docker_shows_them(host):
    host("run", "-d", "--name", "one", "-p", "8080:80", "busybox", "sleep", "100")
    assert host("port", "one") == "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n"
    settings = json.loads(host("inspect", "one"))[0]["NetworkSettings"]
    assert settings["Ports"] == {
        "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]
    }
    assert settings["GlobalIPv6Address"].startswith("fd") and settings["GlobalIPv6PrefixLen"] == 64
    assert settings["IPv6Gateway"] == settings["Networks"]["bridge"]["IPv6Gateway"]
    assert "::1" in host.try_("run", "--rm", "-p", "[::1]:8081:80", "busybox", "true").err


def test_a_macvlan_network(host):
    subprocess.run(["ip", "link", "add", "lan0", "type", "veth", "peer", "lan1"], check=True)
    try:
        subprocess.run(["ip", "link", "set", "lan0", "up"], check=True)
        subprocess.run(["ip", "link", "set", "lan1", "up"], check=True)
        host(
            "network",
            "create",
            "-d",
            "macvlan",
            "--subnet",
            "192.0.2.0/24",
            "--ip-range",
            "192.0.2.64/26",
            "-o",
            "parent=lan0",
            "lan",
        )
        host("ps")
        for name in ("one", "two"):
            host("run", "-d", "--name", name, "--network", "lan", "busybox", "sleep", "100")
        assert "1 packets received" in inside(host, "one", "ping", "-c1", "-w3", "two")
        assert shown(host, "one")["lan"]["IPAddress"] == "192.0.2.64"
        host("network", "create", "web")
        host("network", "connect", "web", "one")
        host("network", "disconnect", "lan", "one")
        assert host.try_("exec", "one", "ping", "-c1", "-w1", "192.0.2.65").code != 0
        host("network", "create", "-d", "macvlan", "--subnet", "198.51.100.0/24", "-o", "parent=absent0", "lost")
        assert "no such link" in host.try_("run", "--rm", "--network", "lost", "busybox", "true").err
        host("network", "rm", "lost")
        assert os.path.exists("/proc/sys/net/ipv4/conf/lan0")  # a parent is the host's, whatever ends
    finally:
        host.close()
        subprocess.run(["ip", "link", "del", "lan0"], check=True)


def test_many_networks_are_as_quick_as_one(host):
    """Not measured, counted: the packet filter's chains of a network are its own, and no other's."""
    for number in range(12):
        host("network", "create", f"n{number}")
    for number in range(12):
        host("run", "-d", "--name", f"c{number}", "--network", f"n{number}", "busybox", "sleep", "100")
    chains = subprocess.run(["nft", "list", "chains"], check=True, capture_output=True, text=True).stdout
    assert chains.count("chain into_vnet") == 24
    assert host.try_("exec", "c0", "ping", "-c1", "-w1", shown(host, "c1")["n1"]["IPAddress"]).code != 0
    host("rm", "-f", *(f"c{number}" for number in range(12)))
