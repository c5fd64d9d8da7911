# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from vitrine import host
from vitrine.errors import HostError
from vitrine.host import Finding, prepare
from vitrine.host.check import cgroup_findings
from vitrine.runtime import cgroups


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


@pytest.mark.parametrize(
    ("release", "ok"),
    [
        ("2.6.32-754.el6.x86_64", False),
        ("3.7.10", False),
        ("3.8", True),
        ("3.10.0-1160.el7.x86_64", True),
        ("4.18.0", True),
        ("10.0-rc1", True),
        ("3.8-rc1", True),
        ("unknown", False),
    ],
)
def test_the_oldest_kernel(release: str, ok: bool) -> None:
    kernel = by_name(host.check(release=release))["kernel"]
    assert (kernel.ok, kernel.required) == (ok, True)
    assert release in kernel.detail


def test_names_are_unique_and_every_gap_of_a_requirement_has_a_fix() -> None:
    findings = host.check()
    assert len(by_name(findings)) == len(findings)
    assert not [one.name for one in findings if one.required and not one.ok and not one.fix]


def test_an_old_kernel_is_explained_for_each_distribution() -> None:
    with pytest.raises(HostError) as caught:
        host.require(host.check(release="3.2.0-4-amd64"))
    assert "kernel: Linux 3.2.0-4-amd64, 3.8 or later is needed" in caught.value.message
    for word in ("Debian: apt-get install -y linux-image", "Ubuntu: apt-get", "CentOS: dnf", "reboot"):
        assert word in caught.value.hint
    assert "kernel" in caught.value.value  # type: ignore[operator]


def test_everything_missing_is_named_at_once_and_nothing_else() -> None:
    findings = [
        Finding("one", False, True, "gone", "get one"),
        Finding("two", True, True, "there", "get two"),
        Finding("three", False, False, "gone", "get three"),
        Finding("four", False, True, "gone too", "get four"),
    ]
    with pytest.raises(HostError) as caught:
        host.require(findings)
    assert caught.value.message == "this host cannot run containers: one: gone; four: gone too"
    assert caught.value.hint == "one: get one; four: get four"
    assert caught.value.value == ["one", "four"]
    host.require(findings[1:3])


def test_a_host_without_cgroups_still_passes() -> None:
    findings = cgroup_findings(cgroups.Layout({}))
    host.require(findings)
    assert not any(one.ok for one in findings)
    assert all(one.fix for one in findings)


def test_a_host_with_version_2_only() -> None:
    layout = cgroups.Layout({}, "/sys/fs/cgroup", ("cpu", "io", "memory", "pids"), True)
    found = by_name(cgroup_findings(layout))
    assert found["cgroups"].detail == "version 2, owned by systemd"
    assert {name for name, one in found.items() if not one.ok} == {"cgroup cpuset", "cgroup hugetlb"}
    assert found["cgroup devices"].detail == "device programs (eBPF)"


@pytest.fixture
def other_root(tmp_path: Path) -> Path:
    (tmp_path / "proc/sys/net/ipv4").mkdir(parents=True)
    (tmp_path / "proc/sys/net/ipv4/ip_forward").write_text("0\n")
    (tmp_path / "sys/module/overlay").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    return tmp_path


def test_prepare_does_and_says_it_once(other_root: Path) -> None:
    root = str(other_root)
    assert host.prepare(root=root) == ["set net.ipv4.ip_forward = 1"]
    assert host.prepare(root=root) == []
    assert host.prepare(root=root, persist=True) == [
        f"wrote {root}/etc/modules-load.d/vitrine.conf",
        f"wrote {root}/etc/sysctl.d/90-vitrine.conf",
    ]
    assert (other_root / "etc/modules-load.d/vitrine.conf").read_text() == "overlay\n"
    assert (other_root / "etc/sysctl.d/90-vitrine.conf").read_text() == "net.ipv4.ip_forward = 1\n"
    assert host.prepare(root=root, persist=True) == []


def test_prepare_leaves_alone_what_it_may_not_set(tmp_path: Path) -> None:
    assert host.prepare(root=str(tmp_path)) == []


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ("nodev\tcgroup\nnodev\tcgroup2\n", [("cgroup2", "", None)]),
        ("nodev\tcgroup\n", [("tmpfs", "", "mode=755"), ("cgroup", "/cpu", "cpu"), ("cgroup", "/memory", "memory")]),
        ("nodev\tproc\n", []),
    ],
)
def test_cgroups_are_mounted_where_nobody_has(
    other_root: Path, known: str, expected: list[tuple[str, str, str | None]]
) -> None:
    (other_root / "proc/filesystems").write_text(known + "\text4\n")
    (other_root / "proc/cgroups").write_text(
        "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t0\t1\t1\nmemory\t0\t1\t1\npids\t0\t1\t0\n"
    )
    calls = []
    said = prepare.__globals__["mount_cgroups"](
        str(other_root), lambda source, target, kind, flags, data: calls.append((target, kind, flags, data))
    )
    top = str(other_root / "sys/fs/cgroup")
    assert calls == [(top + below, kind, 14, data) for kind, below, data in expected]
    assert bool(said) == bool(expected)
