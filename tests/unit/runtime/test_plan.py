# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""plan.py: OCI runtime specs become plans, as data; nothing here touches the kernel's mounts."""

from __future__ import annotations

import json
import marshal

import pytest

from vitrine.errors import InvalidInput
from vitrine.linux import mount, namespaces
from vitrine.runtime import plan as plans

ID = "ab" * 32


def spec(**changes):
    base = {
        "process": {"args": ["/bin/true"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "env": ["A=1"]},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": kind} for kind in ("mount", "pid", "network", "ipc", "uts", "cgroup")]},
    }
    for key, value in changes.items():
        base[key] = {**base.get(key, {}), **value} if isinstance(value, dict) else value
    return base


def compile_(**changes):
    return plans.compile_spec(spec(**changes), container_id=ID, bundle="/bundle")


def mounts(*items, **changes):
    return compile_(mounts=list(items), **changes)["mounts"]


def test_a_plan_can_be_marshalled_and_printed():
    plan = compile_(
        mounts=[
            {"destination": "/proc", "type": "proc"},
            {"destination": "/v", "source": "/s", "options": ["rbind", "ro"]},
        ]
    )
    assert marshal.loads(marshal.dumps(plan)) == plan
    lines = plans.describe(plan)
    assert "mount proc on /proc ()" in lines
    assert "bind /s on /v (rbind,ro)" in lines
    assert lines[-1] == "exec '/bin/true'"


def test_the_root_is_mounted_first_and_its_path_is_below_the_bundle():
    operations = mounts({"destination": "/proc", "type": "proc"})
    assert operations[0] == ("propagation", mount.MS_SLAVE)
    assert operations[1] == ("root", "bind", ["/bundle/rootfs"], None, None)
    assert operations[2][:3] == ("mount", "proc", "/proc")


def test_the_annotation_names_the_layers():
    layers = {"driver": "overlay", "lowers": ["/l/2", "/l/1"], "upper": "/u", "work": "/w"}
    assert mounts(annotations={"io.vitrine.root": json.dumps(layers)})[1] == (
        "root", "overlay", ["/l/2", "/l/1"], "/u", "/w",
    )  # fmt: skip


def test_devices_are_made_after_dev_and_before_what_is_mounted_in_it():
    names = [
        op[0]
        for op in mounts(
            {"destination": "/dev", "type": "tmpfs", "options": ["mode=755"]},
            {"destination": "/dev/pts", "type": "devpts"},
            linux={**spec()["linux"], "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]},
        )
    ]
    assert names == ["propagation", "root", "mount", "nodes", "mount", "device", "directory"]


def test_masks_come_after_read_only_paths_and_the_read_only_root_last():
    linux = {**spec()["linux"], "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"]}
    operations = mounts(linux=linux, root={"path": "/r", "readonly": True})
    assert operations[-3:] == [("readonly", "/proc/sys"), ("mask", "/proc/kcore"), ("root_readonly",)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ro"], (mount.MS_RDONLY, 0, 0, 0)),
        (["ro", "rw"], (0, 0, 0, 0)),
        (["rro", "nosuid"], (mount.MS_NOSUID, 0, mount.MS_RDONLY, 0)),
        (["exec", "noexec"], (mount.MS_NOEXEC, 0, 0, 0)),
        (["noexec", "exec"], (0, mount.MS_NOEXEC, 0, 0)),
        (["rslave"], (0, 0, 0, mount.MS_SLAVE | mount.MS_REC)),
        (["private", "z", "nocopy", "consistent"], (0, 0, 0, mount.MS_PRIVATE)),
    ],
)
def test_bind_options(words, expected):
    (operation,) = [
        op for op in mounts({"destination": "/v", "source": "/s", "options": ["rbind", *words]}) if op[0] == "bind"
    ]
    assert operation[1:4] == ("/s", "/v", True)
    assert operation[4:8] == expected


def test_options_of_file_systems_stay_in_order():
    (operation,) = [
        op
        for op in mounts({"destination": "/t", "type": "tmpfs", "options": ["nosuid", "mode=1777", "size=64m", "ro"]})
        if op[0] == "mount"
    ]
    assert operation == ("mount", "tmpfs", "/t", mount.MS_NOSUID | mount.MS_RDONLY, "mode=1777,size=64m", 0, False)


@pytest.mark.parametrize("target", ["/proc", "/sys", "/dev", "/dev/pts", "/dev/mqueue"])
def test_links_of_the_image_do_not_move_the_kernels_own_file_systems(target):
    kind = {"/proc": "proc", "/sys": "sysfs", "/dev": "tmpfs", "/dev/pts": "devpts", "/dev/mqueue": "mqueue"}[target]
    assert mounts({"destination": target, "type": kind})[2][6] is True


def test_a_shared_bind_is_fetched_before_propagation_stops():
    operations = mounts({"destination": "/v", "source": "/s", "options": ["rbind", "rshared"]})
    assert operations[0] == ("fetch", "/s")
    assert operations[1][0] == "propagation"


@pytest.mark.parametrize(
    "item",
    [
        {"destination": "/proc", "type": "bind", "source": "/s"},
        {"destination": "/proc/../proc/sys", "type": "bind", "source": "/s"},
        {"destination": "//proc/self", "type": "tmpfs"},
        {"destination": "/", "type": "bind", "source": "/s"},
        {"destination": "relative", "type": "bind", "source": "/s"},
        {"destination": "/v", "type": "bind", "source": "relative"},
        {"destination": "/v", "type": "bind", "source": "/s", "options": ["nonsense"]},
        {"destination": "/v", "type": "bind", "source": "/s", "options": ["idmap"]},
        {"destination": "/v"},
    ],
)
def test_refuses_mounts_that_cannot_be_meant(item):
    with pytest.raises(InvalidInput):
        mounts(item)


def test_lxcfs_may_replace_single_files_of_proc():
    assert mounts({"destination": "/proc/cpuinfo", "source": "/s", "options": ["bind"]})[2][8] is True


def test_namespaces_to_make_and_to_join():
    plan = compile_(
        linux={
            "namespaces": [{"type": "mount"}, {"type": "network", "path": "/proc/7/ns/net"}, {"type": "cgroup"}],
        }
    )
    assert plan["new"] == namespaces.FLAGS["mnt"]
    assert plan["join"] == [("net", "/proc/7/ns/net")]
    assert plan["own_cgroup_namespace"] == 1


@pytest.mark.parametrize(
    "types", [["pid"], ["mount", "mount"], ["mount", "user"], ["mount", "time"], ["mount", "nonsense"]]
)
def test_refuses_namespaces_that_are_missing_doubled_or_unknown(types):
    with pytest.raises(InvalidInput):
        compile_(linux={"namespaces": [{"type": kind} for kind in types]})


def test_sysctls_of_the_containers_namespaces_only():
    assert compile_(linux={**spec()["linux"], "sysctl": {"net.ipv4.conf.eth0/1.rp_filter": 1}})["sysctls"] == [
        ("net/ipv4/conf/eth0.1/rp_filter", "1")
    ]
    for key in ("kernel.core_pattern", "vm.swappiness", "net/../kernel/core_pattern", "kernel.panic"):
        with pytest.raises(InvalidInput):
            compile_(linux={**spec()["linux"], "sysctl": {key: "1"}})
    host_network = {"namespaces": [{"type": "mount"}], "sysctl": {"net.ipv4.ip_forward": "1"}}
    with pytest.raises(InvalidInput):
        compile_(linux=host_network)


def test_limits():
    assert plans.rlimit({"type": "RLIMIT_NOFILE", "soft": 1, "hard": -1}) == (7, 1, plans.INFINITY)
    for bad in ({"type": "RLIMIT_X", "soft": 1, "hard": 1}, {"type": "RLIMIT_CPU", "soft": 2, "hard": 1}):
        with pytest.raises(InvalidInput):
            plans.rlimit(bad)


@pytest.mark.parametrize(
    "process", [{"args": []}, {"args": ["a\0b"]}, {"args": ["a"], "cwd": "x"}, {"args": ["a"], "env": ["A=\0"]}]
)
def test_refuses_processes_that_cannot_be_run(process):
    with pytest.raises(InvalidInput):
        compile_(process=process)


def test_groups_and_init_come_from_annotations():
    plan = compile_(
        process={"user": {"username": "bob:staff"}},
        annotations={"io.vitrine.groups": "audio,44", "io.vitrine.init": "true"},
    )
    process = plan["process"]
    assert (process["user"], process["groups"], process["init"]) == ("bob:staff", ["audio", "44"], 1)


def test_numeric_oci_users_take_exactly_the_groups_they_name():
    process = compile_(process={"user": {"uid": 5, "gid": 6, "additionalGids": [7]}})["process"]
    assert (process["user"], process["groups"]) == ("5:6", ["7"])


@pytest.mark.parametrize(
    "changes",
    [
        {"hooks": {"prestart": [{"path": "/bin/true"}]}},
        {"process": {"selinuxLabel": "x"}},
        {"linux": {**spec()["linux"], "uidMappings": [{"containerID": 0}]}},
        {"linux": {**spec()["linux"], "rootfsPropagation": "sideways"}},
    ],
)
def test_what_cannot_be_done_is_not_passed_over(changes):
    with pytest.raises(InvalidInput):
        compile_(**changes)


def test_default_filter_only_when_asked_for():
    assert compile_()["process"]["seccomp"] is None
    assert compile_(annotations={"io.vitrine.seccomp": "unconfined"})["process"]["seccomp"] is None
    program = compile_(annotations={"io.vitrine.seccomp": "default"})["process"]["seccomp"]
    assert program and len(program) % 8 == 0
