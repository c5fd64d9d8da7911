# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From parameters to records: docker's words where users know them, and no other exception for any input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.engine.desired.normalise import comparison_modes, container
from vitrine.engine.desired.options import CONTAINER
from vitrine.engine.spec import ContainerSpec, Mount, Port
from vitrine.errors import InvalidInput

DEFAULTS = {option.name: option.default for option in CONTAINER}


def desired(**options):
    return container({**DEFAULTS, "name": "x", "image": "busybox", **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"published_ports": ["80-70:80"]}, 'Invalid port range: "80-70"'),
        (
            {"published_ports": ["localhost:80:80"]},
            "Bind addresses for published ports must be IPv4 or IPv6 addresses, not hostnames.",
        ),
        ({"published_ports": ["all"]}, "Specifying 'all' in published_ports"),
        ({"comparisons": {"*": "allow_more_present"}}, "The wildcard can only be used with comparison modes 'strict'"),
        ({"comparisons": {"nonsense": "strict"}}, "Unknown module option 'nonsense' in comparisons dict!"),
        ({"comparisons": {"recreate": "strict"}}, "'recreate'"),
        ({"comparisons": {"ports": "strict", "published_ports": "ignore"}}, "Both 'ports' and 'published_ports'"),
        ({"comparisons": {"memory": "allow_more_present"}}, "is a value and not a set/list/dict"),
        ({"comparisons": {"env": "sometimes"}}, "Unknown comparison mode 'sometimes'!"),
        ({"env": {"A": 1}}, "Non-string value found for env option."),
        ({"labels": {"a": True}}, "of labels is not a string"),
        ({"command": "a 'b"}, "cannot be split"),
        ({"pull": "sometimes"}, "invalid value 'sometimes' for pull"),
        ({"memory": "64 MX"}, "invalid size"),
        ({"cpus": 0}, "invalid number of CPUs"),
        ({"volumes": ["/a:/b", "/c:/b"]}, 'The mount point "/b" appears twice in the volumes option'),
        (
            {"volumes": ["/a:/b"], "mounts": [{"target": "/b", "type": "tmpfs"}]},
            'The mount point "/b" appears both in the volumes and mounts option',
        ),
        ({"mounts": [{"target": "/b", "type": "bind"}]}, 'source must be specified for mount "/b" of type "bind"'),
        ({"mounts": [{"target": "/b", "type": "bind", "source": "/a", "tmpfs_size": "1"}]}, "tmpfs_size cannot be"),
        ({"dns_servers": ["one"]}, "is not an IP address"),
        ({"env_file": "/does/not/exist"}, "cannot be read"),
        ({"name": "-x"}, "invalid name"),
        ({"kill_signal": "NIX"}, "invalid signal"),
        ({"healthcheck": {"test": ["curl", "x"]}}, "the health check ['curl', 'x'] is not understood"),
        ({"healthcheck": {"test": 5}}, "healthcheck.test is 5"),
        ({"healthcheck": {"test": "x", "interval": "soon"}}, "invalid duration 'soon'"),
        ({"healthcheck": {"test": "x", "timeout": "1us"}}, "Timeout of the health check is '1us'"),
        ({"state": "healthy", "detach": False}, "state=healthy waits while the container runs"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(InvalidInput) as caught:
        desired(**options)
    assert message in str(caught.value)


def test_absent_looks_at_the_name_only():
    wanted = desired(state="absent", published_ports=["nonsense"], env={"A": 1}, comparisons={"x": 3})
    assert (wanted.name, wanted.state) == ("x", "absent")


def test_fields_arrive(tmp_path):
    env = tmp_path / "env"
    env.write_text("# comment\nA=file\nB=two words\n")
    wanted = desired(
        env_file=str(env),
        env={"A": "task"},
        cpus=0.5,
        memory="64M",
        memory_swap="unlimited",
        oom_killer=False,
        published_ports=["8080:80", "[::1]:81:81/udp"],
        default_host_ip="127.0.0.1",
        volumes=["/a:/b:ro"],
        mounts=[{"target": "/t", "type": "tmpfs", "tmpfs_size": "1M", "tmpfs_mode": "1777"}],
        capabilities=["CAP_NET_ADMIN", "net_admin"],
        command="sh -c 'a b'",
        network_mode="default",
        stop_signal="int",
    )
    assert wanted.spec == ContainerSpec(
        image="busybox",
        name="x",
        env=("A=task", "B=two words"),
        nano_cpus=500_000_000,
        memory=64 << 20,
        memory_swap=-1,
        oom_kill_disable=True,
        published_ports=(Port("127.0.0.1", 8080, 80), Port("::1", 81, 81, "udp")),
        mounts=(Mount("bind", "/a", "/b", True), Mount("tmpfs", "", "/t", False, ("size=1048576", "mode=1777"))),
        capabilities=("NET_ADMIN",),
        command=("sh", "-c", "a b"),
        network_mode="bridge",
        stop_signal="SIGINT",
    )
    assert (wanted.volume_targets, wanted.mount_targets) == ({"/b"}, {"/t"})
    assert ContainerSpec.from_json(wanted.spec.to_json()) == wanted.spec


@pytest.mark.parametrize(
    ("value", "policy"),
    [("never", "never"), (True, "always"), ("true", "always"), (False, "missing"), ("missing", "missing")],
)
def test_pull_policies(value, policy):
    assert desired(pull=value).pull == policy


def test_the_wildcard_comes_first():
    modes = comparison_modes({"*": "ignore", "ports": "strict"})
    assert modes.pop("published_ports") == "strict"
    assert set(modes.values()) == {"ignore"}


def test_default_modes_are_dockers():
    modes = comparison_modes(None)
    assert {modes[name] for name in ("command", "entrypoint", "dns_servers", "memory", "image")} == {"strict"}
    assert {modes[name] for name in ("env", "labels", "volumes", "mounts", "ulimits")} == {"allow_more_present"}
    assert modes["stop_timeout"] == "ignore"


texts = st.text(max_size=20)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "published_ports": st.lists(texts, max_size=2),
            "volumes": st.lists(texts, max_size=2),
            "ulimits": st.lists(texts, max_size=2),
            "devices": st.lists(texts, max_size=2),
            "memory": texts,
            "command": texts,
            "etc_hosts": st.dictionaries(texts, texts, max_size=2),
            "tmpfs": st.lists(texts, max_size=2),
            "comparisons": st.dictionaries(texts, texts, max_size=2),
            "cpuset_cpus": texts,
        },
    )
)
def test_any_text_is_understood_or_refused(options):
    try:
        desired(**options)
    except InvalidInput as error:
        assert error.message
