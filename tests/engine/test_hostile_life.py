# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running container does to make its monitor, or the commands that look after it, fail."""

from __future__ import annotations

import json
import os
import socket
import subprocess

import pytest
from tests.support.base_image import busybox_image
from tests.support.host import Host
from tests.support.traces import Traces, until

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
