# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks on this host, as root and as nobody: they find out by trying, and leave nothing behind."""

from __future__ import annotations

import marshal
import os
from pathlib import Path
from typing import Any, Callable

import pytest

from vitrine import host
from vitrine.errors import HostError
from vitrine.host import probes

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.usefixtures("leakcheck"),
]


def in_child(work: Callable[[], Any]) -> Any:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, marshal.dumps(work()))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    return marshal.loads(data)


def states(root: str = "/var/lib/vitrine") -> dict[str, bool]:
    return {one.name: one.ok for one in host.check(root)}


def test_this_host_can_run_containers(tmp_path: Path) -> None:
    findings = host.check(str(tmp_path))
    host.require(findings)
    assert list(tmp_path.iterdir()) == []


def test_every_probe_works_here(tmp_path: Path) -> None:
    expected = dict.fromkeys(("namespaces", "overlay", "bridge", "veth", "nf_tables"), "")
    assert probes.run(str(tmp_path)) == expected
    assert probes.run(str(tmp_path / "absent")) == expected
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_tried_on_the_host_itself() -> None:
    """Without the privilege for namespaces of its own, a probe must not fall through to the host's."""

    def work() -> dict[str, str]:
        from vitrine.linux import caps

        effective, permitted, _ = caps.get()
        bit = 1 << caps.CAP_SYS_ADMIN
        caps.set_masks(effective & ~bit, permitted & ~bit)
        return probes.run("/nowhere")

    found = in_child(work)
    assert found.pop("namespaces") == "unshare: Operation not permitted"
    assert sorted(found) == ["bridge", "nf_tables", "overlay", "veth"]
    assert set(found.values()) == {"cannot be tried without namespaces"}


def test_nobody_is_told_to_be_root() -> None:
    def work() -> list[str]:
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        try:
            host.require(host.check())
        except HostError as error:
            return [error.message, error.hint]
        return []

    message, hint = in_child(work)
    assert "root: effective user id 65534" in message
    assert "become: true" in hint


def test_a_full_disk_is_seen(tmp_path: Path) -> None:
    def work() -> list[Any]:
        from vitrine.linux import mount, namespaces

        namespaces.unshare(namespaces.FLAGS["mnt"])
        mount.mount("none", "/", None, mount.MS_REC | mount.MS_PRIVATE)
        mount.mount("none", str(tmp_path), "tmpfs", 0, "size=128k")
        disk = {one.name: one for one in host.check(str(tmp_path))}["disk"]
        return [disk.ok, disk.required, disk.detail]

    ok, required, detail = in_child(work)
    assert (ok, required) == (False, True)
    assert detail.endswith(f"free at {tmp_path}")


def test_prepare_is_idempotent_here() -> None:
    host.prepare()
    assert host.prepare() == []
    assert states()["ip_forward"]
