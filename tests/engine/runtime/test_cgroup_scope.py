# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Groups in a delegated scope, as on a systemd host: here the scope is made by hand, in a real version 2 tree."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vitrine.errors import HostError
from vitrine.runtime import cgroups
from vitrine.runtime.cgroups import systemd
from vitrine.settings import Settings

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="systemd owns this host's cgroups"),
    pytest.mark.usefixtures("leakcheck"),
]


@pytest.fixture
def layout(settings: Settings) -> Iterator[cgroups.Layout]:
    """A layout whose version 2 tree has the scope that systemd would have made."""
    found = cgroups.detect()
    if not found.unified:
        pytest.skip("this host has no version 2 tree")
    scope = found.unified + systemd.request(settings.tag)["path"]
    os.makedirs(scope)
    yield found.replace(systemd=True, controllers=())
    for directory in (scope + "/" + systemd.MONITORS, scope, os.path.dirname(scope)):
        for _ in range(100):
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.01)
            else:
                break


def test_a_monitor_moves_aside_and_containers_lie_beside_it(layout: cgroups.Layout, settings: Settings) -> None:
    plan = cgroups.compile(None, f"/{settings.tag}/x", layout)
    scope = os.path.dirname(plan["unified"])
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            # systemd would have put the monitor into the scope itself.
            Path(scope, "cgroup.procs").write_text("0")
            cgroups.create(plan)
            mine = Path("/proc/self/cgroup").read_text()
            inside = Path(scope, "cgroup.procs").read_text()
            there = os.path.isdir(plan["unified"])
            gone = cgroups.remove(plan) and not os.path.exists(plan["unified"]) and os.path.isdir(scope)
            path = plan["systemd"]["path"]
            status = 0 if f"0::{path}/monitors\n" in mine and not inside and there and gone else 2
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def test_without_systemd_s_answer_nothing_is_made(settings: Settings, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(systemd, "PRIVATE", str(tmp_path / "no"))
    monkeypatch.setattr(systemd, "BUS", str(tmp_path / "such"))
    request = systemd.request(settings.tag)
    begin = time.monotonic()
    with pytest.raises(HostError, match=f"systemd did not make the scope {settings.tag}.scope") as caught:
        systemd.enter_scope(request, str(tmp_path / "gone" / "scope"), patience=5)
    assert f"systemctl status {settings.tag}.scope" in caught.value.hint
    assert time.monotonic() - begin < 4  # three refusals are enough
