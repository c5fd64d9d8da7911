# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user wants of a container, normalised once: immutable, typed, stored with the container as JSON.

The command line's flags and the modules' options both end here; everything behind works on this record only.
"""

from __future__ import annotations

from .. import lightjson as json
from ..errors import StoreDamaged
from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_HEX = frozenset("0123456789abcdef")


def anonymous(volume: str) -> bool:
    """Whether a volume's name is one that the engine chose: 64 hex digits, as docker's."""
    return len(volume) == 64 and _HEX.issuperset(volume)


class Mount(Record):
    """One mount of a container.

    type: "bind", "volume" or "tmpfs". source: host path, volume name ("" for an anonymous volume), "" for tmpfs.
    target: absolute path in the container. options: propagation and the like ("rshared", "nocopy", "size=65536").
    """

    type: str
    source: str
    target: str
    read_only: bool = False
    options: tuple[str, ...] = ()

    @property
    def anonymous(self) -> bool:
        """Whether this is a volume that the container alone knows of."""
        return self.type == "volume" and anonymous(self.source)


class Port(Record):
    """One published port. host_ip "" is every address; host_port 0 is any free one; protocol tcp, udp or sctp."""

    host_ip: str
    host_port: int
    container_port: int
    protocol: str = "tcp"

    @property
    def key(self) -> str:
        """As docker names it: "80/tcp"."""
        return f"{self.container_port}/{self.protocol}"


# Limits of block devices: what is given for each is a number.
DEVICE_LIMITS = ("blkio_weight_device", "device_read_bps", "device_write_bps", "device_read_iops", "device_write_iops")


class ContainerSpec(Record):
    """Desired state of one container. None (or an empty collection) means: as the image or the engine has it.

    Sizes are bytes, cpus are thousand-millionths (1 CPU = 10**9), times are seconds unless a field says otherwise.
    networks: what is wanted of each network by its name ({"ipv4_address", "ipv6_address", "aliases", "mac_address",
    "gw_priority", "driver_opts"}, all optional); with any, network_mode is the name of the first one.
    DEVICE_LIMITS: a number for each block device by its path on the host.
    env holds "NAME=value" texts in the order given; a bare name was resolved by whoever parsed it.
    """

    image: str
    name: str | None = None
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    user: str | None = None
    groups: tuple[str, ...] = ()
    working_dir: str | None = None
    hostname: str | None = None
    domainname: str | None = None
    labels: dict[str, str] = {}
    published_ports: tuple[Port, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    publish_all_ports: bool = False
    mounts: tuple[Mount, ...] = ()
    tmpfs: dict[str, str] = {}
    network_mode: str = "bridge"
    networks: dict[str, dict[str, Any]] = {}
    dns_servers: tuple[str, ...] = ()
    dns_search_domains: tuple[str, ...] = ()
    dns_opts: tuple[str, ...] = ()
    etc_hosts: dict[str, str] = {}
    mac_address: str | None = None
    memory: int | None = None
    memory_swap: int | None = None
    memory_reservation: int | None = None
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    nano_cpus: int | None = None
    cpu_shares: int | None = None
    cpu_period: int | None = None
    cpu_quota: int | None = None
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    pids_limit: int | None = None
    blkio_weight: int | None = None
    blkio_weight_device: dict[str, int] = {}
    device_read_bps: dict[str, int] = {}
    device_write_bps: dict[str, int] = {}
    device_read_iops: dict[str, int] = {}
    device_write_iops: dict[str, int] = {}
    capabilities: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    read_only: bool = False
    security_opts: tuple[str, ...] = ()
    sysctls: dict[str, str] = {}
    ulimits: tuple[tuple[str, int, int], ...] = ()
    devices: tuple[tuple[str, str, str], ...] = ()
    init: bool = False
    tty: bool = False
    interactive: bool = False
    shm_size: int | None = None
    restart_policy: str = "no"
    restart_retries: int = 0
    stop_signal: str | None = None
    stop_timeout: int | None = None
    auto_remove: bool = False
    log_driver: str | None = None
    log_options: dict[str, str] = {}
    pid_mode: str = ""
    ipc_mode: str = ""
    uts: str = ""
    oom_score_adj: int | None = None
    healthcheck: dict[str, Any] | None = None
    health_on_failure: str = ""

    def to_json(self) -> str:
        """Only what differs from the default is written: a spec of a few fields is a short text."""
        fields = {}
        for name, value in self.as_dict().items():
            if name != "image" and value == getattr(type(self), name):
                continue
            if name in ("mounts", "published_ports"):
                value = [item.as_dict() for item in value]
            fields[name] = value
        return json.dumps(fields, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ContainerSpec:
        """The reverse of to_json. Raises StoreDamaged for a text that no version of to_json can have written."""
        try:
            fields = json.loads(text)
            for name, value in fields.items():
                if name == "mounts":
                    fields[name] = tuple(Mount(**{**item, "options": tuple(item.get("options", ()))}) for item in value)
                elif name == "published_ports":
                    fields[name] = tuple(Port(**item) for item in value)
                elif isinstance(value, list):
                    fields[name] = tuple(tuple(item) if isinstance(item, list) else item for item in value)
            return cls(**fields)
        except (ValueError, TypeError, AttributeError) as error:
            raise StoreDamaged(
                f"a container's stored specification cannot be read: {error}",
                hint="remove the container and create it again",
                value=text[:200],
            ) from None
