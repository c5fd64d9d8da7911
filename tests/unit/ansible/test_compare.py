# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparison: the kinds and modes as a table, and what must hold for any value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.engine.desired.compare import differences, matches
from vitrine.engine.desired.normalise import container
from vitrine.engine.desired.options import CONTAINER
from vitrine.engine.spec import ContainerSpec

DEFAULTS = {option.name: option.default for option in CONTAINER}


def desired(**given_options):
    return container({**DEFAULTS, "name": "x", "image": "busybox", **given_options})


def differing(actual: ContainerSpec, wanted_image=None, actual_image=None, **options) -> list[str]:
    found = differences(desired(**options), actual, wanted_image or {}, actual_image or wanted_image or {})
    return [item.option for item in found]


def spec(**options) -> ContainerSpec:
    """What the engine would have stored for a container that a task with these options made."""
    return desired(**options).spec


@pytest.mark.parametrize(
    ("kind", "mode", "wanted", "actual", "result"),
    [
        ("value", "strict", 1, 1, True),
        ("value", "strict", 1, 2, False),
        ("value", "strict", None, 0, False),
        ("value", "ignore", 1, 2, True),
        ("list", "strict", ["a", "b"], ("a", "b"), True),
        ("list", "strict", ["a", "b"], ["b", "a"], False),
        ("list", "strict", None, [], True),
        ("list", "allow_more_present", ["a", "c"], ["a", "b", "c"], True),
        ("list", "allow_more_present", ["c", "a"], ["a", "b", "c"], False),
        ("list", "allow_more_present", ["a", "a"], ["a"], False),
        ("set", "strict", ["a", "b"], ["b", "a"], True),
        ("set", "strict", ["a"], ["a", "b"], False),
        ("set", "allow_more_present", ["a"], ["a", "b"], True),
        ("set", "allow_more_present", ["a", "c"], ["a", "b"], False),
        ("set", "strict", [], None, True),
        ("dict", "strict", {"a": 1}, {"a": 1}, True),
        ("dict", "strict", {"a": 1}, {"a": 1, "b": 2}, False),
        ("dict", "allow_more_present", {"a": 1}, {"a": 1, "b": 2}, True),
        ("dict", "allow_more_present", {"a": 1}, {"a": 2}, False),
        ("dict", "allow_more_present", None, {"a": 2}, True),
        ("set(dict)", "allow_more_present", [{"t": 1}], [{"t": 1, "u": 2}, {"t": 3}], True),
        ("set(dict)", "allow_more_present", [{"t": 1, "u": 3}], [{"t": 1, "u": 2}], False),
        ("set(dict)", "strict", [{"t": 1}], [{"t": 1, "u": 2}], True),
        ("set(dict)", "strict", [{"t": 1}], [{"t": 1}, {"t": 3}], False),
        ("set(dict)", "strict", None, [{"t": 3}], False),
    ],
)
def test_matches(kind, mode, wanted, actual, result):
    assert matches(kind, mode, wanted, actual) is result


@given(st.dictionaries(st.text(), st.text()), st.dictionaries(st.text(), st.text()))
def test_more_present_is_weaker_than_strict(wanted, actual):
    for kind, left, right in (
        ("dict", wanted, actual),
        ("set", list(wanted), list(actual)),
        ("list", list(wanted), list(actual)),
    ):
        if matches(kind, "strict", left, right):
            assert matches(kind, "allow_more_present", left, right)
        assert matches(kind, "strict", left, left)


GIVEN = {
    "command": "sleep 'a b'",
    "entrypoint": ["/bin/sh", "-c"],
    "env": {"A": "1"},
    "user": "daemon",
    "groups": ["audio"],
    "working_dir": "/srv/",
    "hostname": "h",
    "domainname": "d",
    "labels": {"a": "b"},
    "init": True,
    "tty": True,
    "interactive": True,
    "restart_policy": "on-failure",
    "healthcheck": {"test": "true", "interval": "1m"},
    "health_on_failure": "kill",
    "stop_signal": "INT",
    "log_driver": "json-file",
    "network_mode": "none",
    "published_ports": ["127.0.0.1:8080-8081:80-81", "53:53/udp"],
    "exposed_ports": ["9000-9002"],
    "dns_servers": ["1.1.1.1"],
    "dns_search_domains": ["example.com"],
    "dns_opts": ["ndots:1"],
    "etc_hosts": {"a": "10.0.0.1"},
    "volumes": ["/srv:/srv:ro", "data:/data", "/anonymous"],
    "mounts": [{"target": "/m", "type": "tmpfs", "source": None, "tmpfs_size": "1M"}],
    "tmpfs": ["/run:size=1m"],
    "read_only": True,
    "shm_size": "1M",
    "memory": "64M",
    "memory_swap": "unlimited",
    "memory_reservation": "32M",
    "cpus": 0.5,
    "cpu_shares": 512,
    "cpuset_cpus": "0",
    "pids_limit": 64,
    "oom_killer": False,
    "ulimits": ["nofile:1024:2048"],
    "capabilities": ["CAP_NET_ADMIN"],
    "cap_drop": ["mknod"],
    "privileged": True,
    "security_opts": ["no-new-privileges"],
    "sysctls": {"net.ipv4.ip_forward": 1},
    "devices": ["/dev/null:/dev/nix:r"],
    "pid_mode": "host",
}
CHANGED = {
    "command": "sleep",
    "entrypoint": [],
    "env": {"A": "2"},
    "user": "root",
    "groups": ["video"],
    "working_dir": "/",
    "hostname": "i",
    "domainname": "e",
    "labels": {"a": "c"},
    "init": False,
    "tty": False,
    "interactive": False,
    "restart_policy": "no",
    "healthcheck": {"test": "true", "interval": "60001ms"},
    "health_on_failure": "none",
    "stop_signal": "15",
    "log_driver": "none",
    "network_mode": "default",
    "published_ports": ["8080:80"],
    "exposed_ports": ["1/udp"],
    "dns_servers": ["1.1.1.2"],
    "dns_search_domains": [],
    "dns_opts": ["ndots:2"],
    "etc_hosts": {"a": "10.0.0.2"},
    "volumes": ["/srv:/srv"],
    "mounts": [{"target": "/m", "type": "tmpfs", "source": None, "tmpfs_size": "2M"}],
    "tmpfs": ["/run:size=2m"],
    "read_only": False,
    "shm_size": "2M",
    "memory": "65M",
    "memory_swap": "128M",
    "memory_reservation": "31M",
    "cpus": 1,
    "cpu_shares": 1024,
    "cpuset_cpus": "1",
    "pids_limit": -1,
    "oom_killer": True,
    "ulimits": ["nofile:1024:4096"],
    "capabilities": ["SYS_ADMIN"],
    "cap_drop": ["chown"],
    "privileged": False,
    "security_opts": ["seccomp=unconfined"],
    "sysctls": {"net.ipv4.ip_forward": 0},
    "devices": ["/dev/null:/dev/nix:rw"],
    "pid_mode": "",
}


@pytest.mark.parametrize("option", sorted(GIVEN))
def test_the_same_task_again_differs_in_nothing(option):
    assert differing(spec(**{option: GIVEN[option]}), **{option: GIVEN[option]}) == []


@pytest.mark.parametrize("option", sorted(GIVEN))
def test_all_given_options_together_agree(option):
    assert differing(spec(**GIVEN), **{option: GIVEN[option]}) == []


@pytest.mark.parametrize("option", sorted(CHANGED))
def test_another_value_is_seen(option):
    assert option in differing(spec(**GIVEN), **{option: CHANGED[option]})


def test_an_option_that_is_not_given_is_not_compared():
    assert differing(spec(**GIVEN)) == []


def test_what_is_the_default_anyway_is_no_difference():
    image = {"Cmd": ["sh"], "User": "app", "WorkingDir": "/app", "Env": ["A=1"], "StopSignal": "SIGINT"}
    options = {
        "command": ["sh"],
        "user": "app",
        "working_dir": "/app",
        "env": {"A": "1"},
        "stop_signal": "INT",
        "network_mode": "bridge",
        "shm_size": "64M",
        "pids_limit": -1,
        "restart_policy": "no",
        "log_driver": "json-file",
        "memory": "0",
        "oom_killer": True,
    }
    assert differing(spec(), image, **options) == []


def test_an_environment_variable_taken_away_is_a_difference_only_when_strict():
    there = spec(env={"A": "1", "B": "2"})
    assert differing(there, env={"A": "1"}) == []
    assert differing(there, env={"A": "1"}, comparisons={"env": "strict"}) == ["env"]


def test_the_images_own_values_count_in_a_strict_comparison():
    image = {"Env": ["P=1"], "Volumes": {"/data": {}}, "ExposedPorts": {"80/tcp": {}}}
    strict = {"env": "strict", "volumes": "strict", "exposed_ports": "strict"}
    there = spec(volumes=["f" * 64 + ":/data"])
    assert differing(there, image, comparisons=strict) == []
    assert differing(there, {}, image, comparisons=strict) == ["env", "exposed_ports", "volumes"]


CHECKED = {"Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 60 * 10**9}}


@pytest.mark.parametrize(
    ("made_of", "image", "wanted", "differs"),
    [
        (None, {}, {"test": ["NONE"]}, False),  # nothing is checked, as is wanted
        (None, CHECKED, {"test": ["NONE"]}, True),
        (None, CHECKED, {"interval": "5s"}, True),  # without a test: switched off, unless it is said to be docker's way
        (None, CHECKED, {"test": "true"}, False),
        (None, CHECKED, {"test_cli_compatible": True, "interval": "1m"}, False),
        (None, CHECKED, {"test_cli_compatible": True, "interval": "2m"}, True),
        ({"test": "true", "retries": 3}, {}, {"test": "true"}, False),  # less is not said, so more may be there
        ({"test": "true", "retries": 3}, {}, {"test": "true", "retries": 4}, True),
        ({"test": "true"}, {}, {"test": ["CMD-SHELL", "true"]}, False),
        ({"test": "true"}, {}, {"test": ["CMD", "true"]}, True),
        ({"test": ["NONE"]}, CHECKED, {"test": "true"}, True),
    ],
)
def test_health_checks(made_of, image, wanted, differs):
    there = spec(**({"healthcheck": made_of} if made_of else {}))
    assert differing(there, image, image, healthcheck=wanted) == (["healthcheck"] if differs else [])


def test_an_empty_command_is_not_the_images_command():
    assert differing(spec(), {"Cmd": ["sh"]}, command=[]) == ["command"]
    assert differing(spec(command=[]), {"Cmd": ["sh"]}, command=[]) == []


def test_limits_of_all_addresses_are_one():
    assert differing(spec(published_ports=["80:80"]), published_ports=["0.0.0.0:80:80"]) == []


def test_volumes_and_mounts_do_not_see_each_other():
    both = {"volumes": ["/a:/a"], "mounts": [{"target": "/b", "type": "volume", "source": "v"}]}
    strict = {"volumes": "strict", "mounts": "strict"}
    assert differing(spec(**both), **both, comparisons=strict) == []


def test_differences_are_plain_and_sorted():
    found = differences(desired(groups=["b", "a"]), spec(), {}, {})
    assert [(item.wanted, item.actual) for item in found] == [(["a", "b"], [])]
