# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the kernel takes no more: it is said what is full, and what else can be done."""

from __future__ import annotations

import os
import subprocess

import pytest

from support.refusals import refused
from support.traces import Traces

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

PORTS = 1023  # of a Linux bridge
GROUP = "70231"  # of links, so that all of them can be removed at once


def test_a_bridge_that_is_full(new_host) -> None:
    host = new_host()
    host("run", "-d", "--name", "first", "busybox", "sleep", "1000")
    bridge = Traces(host).settings.bridge
    names = [f"full{number}" for number in range(PORTS - 1)]
    add = "".join(f"link add {name} group {GROUP} master {bridge} type veth peer name p{name}\n" for name in names)
    try:
        subprocess.run(["ip", "-batch", "-"], input=add, text=True, check=True)
        refused(host.try_("run", "--rm", "busybox", "true"), 125, "Exchange full", "another network")
        assert host("run", "--rm", "--network", "none", "busybox", "echo", "fine") == "fine\n"
    finally:
        subprocess.run(["ip", "link", "delete", "group", GROUP], check=True)
    assert host("run", "--rm", "busybox", "echo", "fine") == "fine\n"
    assert host("ps", "-a", "--format", "json").count('"Names"') == 1
