# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running container does to make its monitor, or the commands that look after it, fail."""

from __future__ import annotations

import json
import marshal
import os
import socket
import subprocess

import pytest
from tests.support.base_image import busybox_image
from tests.support.host import Host
from tests.support.traces import Traces

from vitrine.linux.namespaces import FLAGS, setns, unshare
from vitrine.store import Store


@pytest.fixture
def host(tmp_path):
    """A host in a network namespace of its own."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    unshare(FLAGS["net"])
    made = Host(tmp_path)
    try:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        with Store(str(made.root)) as store:
            busybox_image(store)
        yield made
    finally:
        made.close()
        Traces(made).gone()
        setns(own, FLAGS["net"])
        os.close(own)


def limited(host, words, *limits):
    """Type a command under resource limits, which what it starts inherits."""
    argv = ["prlimit", *limits, *host.base, *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120, env=host.env).stdout


def pid_of(host, name):
    return json.loads(host("inspect", name))[0]["State"]["Pid"]


def test_a_hosts_file_of_any_size_is_read_by_no_command(host):
    host("network", "create", "one")
    host("network", "create", "two")
    host("run", "-d", "--name", "big", "--network", "one", "busybox", "sleep", "600")
    host("exec", "big", "truncate", "-s", "4G", "/etc/hosts")
    limited(host, ["network", "connect", "two", "big"], f"--as={1 << 30}")
    assert "inet 10." in host("exec", "big", "ip", "address", "show", "eth1")


def test_questions_without_end_leave_a_monitor_descriptors_for_its_work(host):
    """A silent name server keeps every question open."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        subprocess.run(["ip", "address", "add", "192.0.2.53/32", "dev", "lo"], check=True)
        silent.bind(("192.0.2.53", 53))
        host("network", "create", "one")
        words = ["run", "-d", "--name", "asks", "--network", "one", "--dns", "192.0.2.53", "busybox", "sleep", "600"]
        limited(host, words, "--nofile=64")
        netns = os.open(f"/proc/{pid_of(host, 'asks')}/ns/net", os.O_RDONLY)
        own = os.open("/proc/self/ns/net", os.O_RDONLY)
        setns(netns, FLAGS["net"])
        flood = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        held = []
        for _ in range(40):
            made = socket.socket()
            made.setblocking(False)
            made.connect_ex(("127.0.0.11", 53))
            held.append(made)
        setns(own, FLAGS["net"])
        os.close(netns)
        os.close(own)
        for number in range(400):
            name = b"%03d" % number
            flood.sendto(os.urandom(2) + b"\1\0\0\1" + bytes(6) + b"\3" + name + b"\0\0\1\0\1", ("127.0.0.11", 53))
        silent.settimeout(10)
        silent.recv(100)
        assert host("exec", "asks", "echo", "works") == "works\n"
        for made in (flood, *held):
            made.close()
        assert host("exec", "asks", "nslookup", "asks", timeout=60)
        assert json.loads(host("inspect", "asks"))[0]["State"]["Error"] == ""
        host("stop", "--time", "0", "asks")


def test_a_link_that_somebody_else_made_is_never_taken_for_a_bridge(host):
    """Its name was free when the network was made; later it may be a link that matters to the host."""
    host("network", "create", "-o", "com.docker.network.bridge.name=lan7", "one")
    subprocess.run(["ip", "link", "add", "lan7", "type", "bridge"], check=True)
    before = subprocess.run(["ip", "-d", "link", "show", "lan7"], check=True, capture_output=True, text=True).stdout
    refused = host.try_("run", "--rm", "--network", "one", "busybox", "true")
    assert refused.code == 125 and "lan7" in refused.err and "not ours" in refused.err
    host("ps", "-a")
    after = subprocess.run(["ip", "-d", "link", "show", "lan7"], check=True, capture_output=True, text=True).stdout
    assert after == before
    subprocess.run(["ip", "link", "delete", "lan7"], check=True)
    host("run", "--rm", "--network", "one", "busybox", "true")


@pytest.mark.parametrize("name", ["../x", "a/b", "-j", ".", "..", "a b", "a\nb", "x" * 16, "lo", "all", ""])
def test_what_is_no_links_name_is_no_bridges_name(host, name):
    refused = host.try_("network", "create", "-o", f"com.docker.network.bridge.name={name}", "one")
    assert refused.code == 1 and "Traceback" not in refused.err, refused
    assert host("network", "ls", "-q").count("\n") == 3


def test_a_container_that_renames_its_interface_is_disconnected_all_the_same(host):
    """One with the right to change its links (CAP_NET_ADMIN) shall not stay on a network that it was taken off."""
    host("network", "create", "one")
    host("network", "create", "two")
    host("run", "-d", "--name", "sly", "--cap-add", "NET_ADMIN", "--network", "one", "busybox", "sleep", "600")
    host("network", "connect", "two", "sly")
    for words in ("link set eth1 down", "link set eth1 name kept", "link set kept up"):
        host("exec", "sly", "ip", *words.split())
    host("network", "disconnect", "two", "sly")
    assert "kept" not in host("exec", "sly", "ip", "link")


@pytest.mark.parametrize(
    "words",
    [
        ["--add-host", "a\n198.51.100.1 db:192.0.2.1"],
        ["--add-host", "a b:192.0.2.1"],
        ["--dns-search", "a\nnameserver 198.51.100.1"],
        ["--dns-option", "a\nnameserver 198.51.100.1"],
        ["--network", "one", "--network-alias", "a\nb"],
        ["--hostname", "a\n198.51.100.1 db"],
    ],
    ids=lambda words: words[-2],
)
def test_no_name_becomes_another_line_of_a_file(host, words):
    host("network", "create", "one")
    refused = host.try_("create", *words, "busybox", "true")
    assert refused.code == 125 and "Traceback" not in refused.err, refused
    assert host("ps", "-aq") == ""


def test_names_that_nobody_can_write_cost_the_others_nothing(host):
    """As from a playbook, whose texts are any that JSON can hold."""
    host("network", "create", "one")
    host("run", "-d", "--name", "good", "--network", "one", "busybox", "sleep", "600")
    folder = next((host.run_root / "networks").iterdir())
    entry = {"id": "f" * 64, "name": "bad", "hostname": "\ud800", "network": "one", "aliases": [], "addresses": []}
    (folder / ("f" * 64)).write_bytes(marshal.dumps(entry))
    assert "good" in host("exec", "good", "nslookup", "good")
    (folder / ("f" * 64)).unlink()
