# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units for systemd: their command lines mean what the container's specification says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.cli.container_flags import container_spec
from vitrine.cli.flags import parse
from vitrine.cli.running import COMMANDS
from vitrine.engine.flagged import words_of
from vitrine.engine.spec import ContainerSpec, Mount, Port
from vitrine.engine.units import quoted, unit
from vitrine.errors import InvalidInput

EVERYTHING = ContainerSpec(
    image="busybox",
    name="all",
    command=("sh", "-c", "echo $HOME; exec sleep 5"),
    entrypoint=("/bin/env", "-i"),
    env=("A=b c", "EMPTY=", "Q=\"'%$"),
    user="1000:50",
    groups=("50", "staff"),
    working_dir="/tmp",
    hostname="h",
    domainname="example.org",
    labels={"a": "b=c", "empty": ""},
    published_ports=(Port("127.0.0.1", 80, 8080), Port("", 0, 53, "udp"), Port("", 81, 81), Port("::1", 0, 7)),
    exposed_ports=("90/tcp",),
    publish_all_ports=True,
    mounts=(
        Mount("bind", "/srv", "/srv", True, ("rshared",)),
        Mount("volume", "data", "/data", options=("nocopy",)),
        Mount("volume", "", "/own"),
        Mount("tmpfs", "", "/scratch", options=("size=65536", "mode=700")),
    ),
    tmpfs={"/run": "size=1m", "/t": ""},
    network_mode="container:web",
    dns_servers=("10.0.0.1",),
    dns_search_domains=("a.example",),
    dns_opts=("ndots:1",),
    etc_hosts={"db": "10.0.0.2"},
    mac_address="02:00:00:00:00:01",
    memory=1 << 26,
    memory_swap=-1,
    memory_reservation=1 << 25,
    memory_swappiness=10,
    oom_kill_disable=True,
    nano_cpus=1_500_000_001,
    cpu_shares=512,
    cpu_period=50000,
    cpu_quota=25000,
    cpuset_cpus="0",
    cpuset_mems="0",
    pids_limit=64,
    blkio_weight=100,
    blkio_weight_device={"/dev/sda": 200},
    device_read_bps={"/dev/sda": 1 << 20, "/dev/sdb": 10},
    device_write_bps={"/dev/sda": 1 << 21},
    device_read_iops={"/dev/sda": 100},
    device_write_iops={"/dev/sda": 200},
    capabilities=("NET_ADMIN",),
    cap_drop=("MKNOD",),
    privileged=True,
    read_only=True,
    security_opts=("no-new-privileges",),
    sysctls={"net.ipv4.ip_forward": "1"},
    ulimits=(("nofile", 10, -1), ("core", 0, 0)),
    devices=(("/dev/null", "/dev/nothing", "rw"),),
    init=True,
    tty=True,
    interactive=True,
    shm_size=1 << 20,
    restart_policy="on-failure",
    restart_retries=3,
    stop_signal="INT",
    stop_timeout=4,
    log_driver="json-file",
    log_options={"max-size": "1m"},
    pid_mode="host",
    ipc_mode="host",
    uts="host",
    oom_score_adj=10,
    healthcheck={"Test": ["CMD-SHELL", "true || exit 1"], "Interval": 10**9, "Retries": 2},
    health_on_failure="kill",
)


def read_back(words: list[str]) -> ContainerSpec:
    options, operands = parse(COMMANDS["run"], words)
    return container_spec(options, operands[0], operands[1:])


def test_every_field_is_read_back_from_the_flags():
    """Those that have no flag of their own are named here, so that a new field is not forgotten."""
    spec = EVERYTHING
    again = read_back(words_of(spec))
    assert again.entrypoint == ("/bin/env",) and again.command == ("-i", *spec.command)
    again = again.replace(entrypoint=spec.entrypoint, command=spec.command)
    differing = {name for name, value in again.as_dict().items() if value != getattr(spec, name)}
    assert not differing, {name: (getattr(again, name), getattr(spec, name)) for name in differing}


def test_networks_are_read_back():
    wanted = {
        "front": {"ipv4_address": "10.1.0.9", "aliases": ["www", "web"], "gw_priority": 5},
        "back": {"ipv6_address": "fd00::9", "mac_address": "02:00:00:00:00:01", "driver_opts": {"a": "b"}},
        "third": {},
    }
    spec = ContainerSpec(image="i", network_mode="front", networks=wanted)
    assert read_back(words_of(spec)) == spec


def test_rm_and_no_health_check():
    spec = ContainerSpec(image="i", auto_remove=True, healthcheck={"Test": ["NONE"]})
    assert read_back(words_of(spec)) == spec


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("healthcheck", {"Test": ["CMD", "a", "b"]}),
        ("mounts", (Mount("volume", "", "/v", True),)),
        ("mounts", (Mount("tmpfs", "", "/v", options=("noexec",)),)),
    ],
)
def test_what_no_flag_says_is_an_error(field, value):
    with pytest.raises(InvalidInput, match=field):
        words_of(ContainerSpec(image="i", **{field: value}))


def split(line: str) -> list[str]:
    """Read a command line as systemd does (systemd.service(5), "Command lines"; systemd.syntax(7))."""
    words, at = [], 0
    while at < len(line):
        if line[at] == " ":
            at += 1
            continue
        word, inside = bytearray(), False
        while at < len(line) and (inside or line[at] != " "):
            char = line[at]
            if char == '"':
                inside = not inside
            elif char == "\\":
                at += 1
                if line[at] == "x":
                    word.append(int(line[at + 1 : at + 3], 16))
                    at += 2
                else:
                    word += {"n": b"\n", "t": b"\t", "r": b"\r", "\\": b"\\", '"': b'"'}[line[at]]
            elif char in "%$":
                at += 1
                assert line[at] == char, "a specifier or a variable"
                word += char.encode()
            else:
                word += char.encode("utf-8", "surrogateescape")
            at += 1
        words.append(word.decode("utf-8", "surrogateescape"))
    return words


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_quoting(words):
    line = quoted(words)
    assert "\n" not in line and line.isprintable()
    assert split(line) == words


def test_the_unit(tmp_path):
    text = unit("web", EVERYTHING, program=["/bin/true"], folders=["/var/lib"], needs=["db"], stop_seconds=7)
    lines = text.splitlines()
    assert "ExecStart=/bin/true start --attach web" in lines and "ExecStop=/bin/true stop --time 7 web" in lines
    assert "Requires=container-db.service" in lines and "TimeoutStopSec=67" in lines
    assert any(line.startswith("After=") and line.endswith(" container-db.service") for line in lines)
    fresh = unit("web", EVERYTHING, program=["/bin/true"], folders=["/var/lib"], new=True, restart="always")
    (started,) = [line for line in fresh.splitlines() if line.startswith("ExecStart=")]
    words = split(started.partition("=")[2])
    assert words[:2] == ["/bin/true", "run"] and "--rm" in words and "--name=web" in words
    assert not any(word.startswith("--restart") for word in words)
    assert read_back(words[2:]).env == EVERYTHING.env


def test_policies():
    with pytest.raises(InvalidInput, match="sometimes"):
        unit("web", EVERYTHING, program=["/bin/true"], folders=["/"], restart="sometimes")
