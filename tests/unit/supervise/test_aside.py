# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work that is done in a copy of the process: what it raises is raised, and nothing of it stays."""

from __future__ import annotations

import os

import pytest

from vitrine.errors import HostError, StartFailed
from vitrine.supervise import aside


def test_it_is_done_once_and_elsewhere(tmp_path):
    changed = []
    path = tmp_path / "pids"
    aside.call("test", lambda: (changed.append(1), path.open("a").write(f"{os.getpid()}\n")))
    assert changed == []
    (pid,) = path.read_text().split()
    assert int(pid) != os.getpid() and not os.path.exists(f"/proc/{pid}")


def test_errors_keep_their_class_and_their_words():
    def fail():
        raise HostError("there is no bridge", hint="load it", value="bridge")

    with pytest.raises(HostError) as caught:
        aside.call("network", fail)
    assert (caught.value.message, caught.value.hint, caught.value.value) == ("there is no bridge", "load it", "bridge")


def test_an_error_of_the_system_names_the_stage():
    with pytest.raises(StartFailed) as caught:
        aside.call("network", lambda: os.stat("/does/not/exist"))
    assert caught.value.stage == "network" and caught.value.errno == 2


def test_a_process_that_is_killed_is_an_error():
    fds = os.listdir("/proc/self/fd")
    with pytest.raises(StartFailed, match="killed"):
        aside.call("network", lambda: os.kill(os.getpid(), 9))
    assert len(os.listdir("/proc/self/fd")) == len(fds)
