# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every option of every module, described once: its argument specification, how it is compared, where it goes.

Read on the controller (argument specifications, the check of the documentation) and on the target (comparison). So
this file imports nothing but the record. Names, aliases, defaults and comparison types are those of
community.docker's modules; podman's spellings are aliases.
"""

from __future__ import annotations

from ...record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Option(Record):
    """One option of a module.

    type, elements, choices, default, required, no_log, suboptions: as in Ansible's argument specifications.
    compare: "" (no part of a container's state), "value", "list" (order matters), "set", "set(dict)" or "dict".
    mode: the default mode of comparison when it is not the one of the kind.
    field: the field of ContainerSpec, when it is not the option's name. parse: the function of normalise.PARSERS.
    update: a running container takes the new value without being made anew.
    """

    name: str
    type: str = "str"
    elements: str | None = None
    default: Any = None
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    required: bool = False
    no_log: bool | None = None
    suboptions: tuple[Option, ...] = ()
    compare: str = ""
    mode: str = ""
    field: str = ""
    parse: str = ""
    update: bool = False

    @property
    def target_field(self) -> str:
        """The field of ContainerSpec that holds the value."""
        return self.field or self.name

    @property
    def default_mode(self) -> str:
        """The comparison's mode unless the task says otherwise."""
        return self.mode or ("strict" if self.compare in ("value", "list") else "allow_more_present")


class Rules(Record):
    """What holds between the options of one module; the shapes are Ansible's."""

    required_if: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    required_by: dict[str, tuple[str, ...]] = {}
    required_together: tuple[tuple[str, ...], ...] = ()
    mutually_exclusive: tuple[tuple[str, ...], ...] = ()


ENGINE = (Option("engine_root", "path", default="/var/lib/vitrine"),)

CREDENTIALS = (
    Option("username"),
    Option("password", no_log=True),
)

CONTAINER = (
    # who and in which state
    Option("name", required=True),
    Option("state", default="started", choices=("absent", "healthy", "present", "started", "stopped")),
    Option("healthy_wait_timeout", "float", default=300),
    Option("recreate", "bool", default=False),
    Option("restart", "bool", default=False, aliases=("force_restart",)),
    Option("force_kill", "bool", default=False, aliases=("forcekill",)),
    Option("kill_signal"),
    Option("keep_volumes", "bool", default=True),
    Option("detach", "bool", default=True),
    Option("cleanup", "bool", default=False),
    Option("output_logs", "bool", default=False),
    Option("comparisons", "dict"),
    # image
    Option("image", compare="value"),
    Option("pull", "raw", default="missing"),
    Option("pull_check_mode_behavior", default="image_not_present", choices=("image_not_present", "always")),
    Option("image_name_mismatch", default="recreate", choices=("recreate", "ignore")),
    Option("platform"),
    # process
    Option("command", "raw", compare="list", parse="words"),
    Option("entrypoint", "raw", compare="list", parse="words"),
    Option("env", "dict", compare="set", parse="env"),
    Option("env_file", "path"),
    Option("user", compare="value", parse="text"),
    Option("groups", "list", "str", aliases=("group_add",), compare="set", parse="texts"),
    Option("working_dir", aliases=("workdir",), compare="value", parse="text"),
    Option("hostname", compare="value", parse="text"),
    Option("domainname", compare="value", parse="text"),
    Option("labels", "dict", aliases=("label",), compare="dict", parse="labels"),
    Option("init", "bool", compare="value"),
    Option("tty", "bool", compare="value"),
    Option("interactive", "bool", compare="value"),
    Option("restart_policy", choices=("no", "on-failure", "always", "unless-stopped"), compare="value", update=True),
    Option("restart_retries", "int", compare="value", update=True),
    Option(
        "healthcheck",
        "dict",
        compare="dict",
        parse="healthcheck",
        suboptions=(
            Option("test", "raw"),
            Option("test_cli_compatible", "bool", default=False),
            Option("interval"),
            Option("timeout"),
            Option("start_period"),
            Option("start_interval"),
            Option("retries", "int"),
        ),
    ),
    Option(
        "health_on_failure",
        choices=("none", "kill", "restart", "stop"),
        aliases=("healthcheck_failure_action",),
        compare="value",
    ),
    Option("stop_signal", compare="value", parse="signal"),
    Option("stop_timeout", "int", compare="value", mode="ignore"),
    Option("auto_remove", "bool", aliases=("rm",), compare="value"),
    Option("log_driver", choices=("json-file", "k8s-file", "journald", "none"), compare="value"),
    Option("log_options", "dict", aliases=("log_opt",), compare="dict", parse="log_options"),
    # network
    Option("network_mode", aliases=("network", "net"), compare="value", parse="text"),
    Option("published_ports", "list", "str", aliases=("ports", "publish", "published"), compare="dict", parse="ports"),
    Option("publish_all_ports", "bool", aliases=("publish_all",), compare="value"),
    Option("default_host_ip"),
    Option("exposed_ports", "list", "str", aliases=("exposed", "expose"), compare="set", parse="exposed"),
    Option("dns_servers", "list", "str", aliases=("dns",), compare="list", parse="addresses"),
    Option("dns_search_domains", "list", "str", aliases=("dns_search",), compare="list", parse="texts"),
    Option("dns_opts", "list", "str", aliases=("dns_option",), compare="set", parse="texts"),
    Option("etc_hosts", "dict", aliases=("add_hosts",), compare="set", parse="hosts"),
    Option("mac_address", compare="value", parse="text"),
    # storage
    Option("volumes", "list", "str", aliases=("volume",), compare="set", field="mounts", parse="volumes"),
    Option(
        "mounts",
        "list",
        "dict",
        aliases=("mount",),
        compare="set(dict)",
        parse="mounts",
        suboptions=(
            Option("target", required=True),
            Option("source"),
            Option("type", default="volume", choices=("bind", "tmpfs", "volume")),
            Option("read_only", "bool"),
            Option("propagation", choices=("private", "rprivate", "shared", "rshared", "slave", "rslave")),
            Option("no_copy", "bool"),
            Option("tmpfs_size"),
            Option("tmpfs_mode"),
        ),
    ),
    Option("tmpfs", "list", "str", compare="dict", parse="tmpfs"),
    Option("read_only", "bool", compare="value"),
    Option("shm_size", compare="value", parse="size"),
    # limits
    Option("memory", compare="value", parse="size", update=True),
    Option("memory_swap", compare="value", parse="memory_swap", update=True),
    Option("memory_reservation", compare="value", parse="size", update=True),
    Option("memory_swappiness", "int", compare="value"),
    Option("oom_killer", "bool", compare="value", field="oom_kill_disable", parse="inverted"),
    Option("oom_score_adj", "int", compare="value", update=True),
    Option("cpus", "float", compare="value", field="nano_cpus", parse="cpus", update=True),
    Option("cpu_shares", "int", compare="value", update=True),
    Option("cpu_period", "int", compare="value", update=True),
    Option("cpu_quota", "int", compare="value", update=True),
    Option("cpuset_cpus", compare="value", parse="cpuset", update=True),
    Option("cpuset_mems", compare="value", parse="cpuset", update=True),
    Option("pids_limit", "int", compare="value", update=True),
    Option("blkio_weight", "int", compare="value", update=True),
    Option("ulimits", "list", "str", aliases=("ulimit",), compare="set(dict)", parse="ulimits"),
    # isolation
    Option("capabilities", "list", "str", aliases=("cap_add",), compare="set", parse="capabilities"),
    Option("cap_drop", "list", "str", compare="set", parse="capabilities"),
    Option("privileged", "bool", compare="value"),
    Option("security_opts", "list", "str", aliases=("security_opt",), compare="set", parse="texts"),
    Option("sysctls", "dict", aliases=("sysctl",), compare="dict", parse="strings"),
    Option("devices", "list", "str", aliases=("device",), compare="set(dict)", parse="devices"),
    Option("pid_mode", aliases=("pid",), compare="value", parse="text"),
    Option("ipc_mode", aliases=("ipc",), compare="value", parse="text"),
    Option("uts", compare="value", parse="text"),
    *CREDENTIALS,
    *ENGINE,
)

CONTAINER_RULES = Rules(
    required_if=(("state", "present", ("image",)),),
    required_by={"restart_retries": ("restart_policy",), "log_options": ("log_driver",)},
    required_together=(("username", "password"),),
)

IMAGE = (
    Option("name", required=True),
    Option("tag", default="latest"),
    Option("state", default="present", choices=("absent", "present")),
    Option("source", choices=("bootstrap", "build", "load", "local", "pull")),
    Option(
        "build",
        "dict",
        suboptions=(
            Option("path", "path", required=True),
            Option("dockerfile", aliases=("file",)),
            Option("args", "dict"),
            Option("labels", "dict"),
            Option("target"),
            Option("nocache", "bool", default=False),
            Option("pull", "bool", default=False),
        ),
    ),
    Option(
        "bootstrap",
        "dict",
        suboptions=(
            Option("distribution", choices=("debian", "ubuntu", "centos")),
            Option("suite"),
            Option("mirror"),
            Option("packages", "list", "str"),
            Option("variant", choices=("minbase", "buildd", "important")),
        ),
    ),
    Option("pull", "dict", suboptions=(Option("platform"),)),
    Option("load_path", "path"),
    Option("archive_path", "path"),
    Option("repository"),
    Option("push", "bool", default=False),
    Option("force_source", "bool", default=False),
    Option("force_tag", "bool", default=False),
    Option("force_absent", "bool", default=False),
    *CREDENTIALS,
    *ENGINE,
)

IMAGE_RULES = Rules(
    required_if=(("source", "build", ("build",)), ("source", "load", ("load_path",))),
    required_together=(("username", "password"),),
)

COMMIT = (
    Option("container", required=True, aliases=("name",)),
    Option("repository", required=True, aliases=("image",)),
    Option("tag", default="latest"),
    Option("author"),
    Option("message", aliases=("comment",)),
    Option("changes", "list", "str", aliases=("change",)),
    Option("pause", "bool", default=True),
    Option("push", "bool", default=False),
    *CREDENTIALS,
    *ENGINE,
)

COMMIT_RULES = Rules(required_together=(("username", "password"),))

CONTAINER_INFO = (Option("name", required=True), *ENGINE)

IMAGE_INFO = (Option("name", "list", "str"), *ENGINE)

ENGINE_INFO = ENGINE

MODULES = {
    "container": (CONTAINER, CONTAINER_RULES),
    "container_commit": (COMMIT, COMMIT_RULES),
    "container_image": (IMAGE, IMAGE_RULES),
    "container_image_info": (IMAGE_INFO, Rules()),
    "container_info": (CONTAINER_INFO, Rules()),
    "engine_info": (ENGINE_INFO, Rules()),
}


def table(module: str) -> dict[str, Option]:
    """The options of a module by name."""
    return {option.name: option for option in MODULES[module][0]}
