# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What these tests share: hosts whose engine root is a file system of its own, which only their commands see."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from support.host import CHECKOUT, Host
from support.refusals import Elsewhere, in_namespace
from support.traces import Traces

_IMAGE = (
    "import sys; sys.path[:0] = sys.argv[2:]\n"
    "from support.base_image import busybox_image; from vitrine.store import Store\n"
    "with Store(sys.argv[1]) as store: busybox_image(store)\n"
)


def inside(host: Elsewhere, *words: object) -> str:
    """Run a program of the host where its engine root is to be seen."""
    done = subprocess.run([*host.before, *map(str, words)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    return done.stdout


@pytest.fixture
def on_disk(tmp_path: Path):
    """``with on_disk("mount -t tmpfs none ROOT") as host``: a host with busybox on what that command mounts."""

    @contextlib.contextmanager
    def make(mount: str):
        here = Host(tmp_path / "host")
        here.root.mkdir()
        command = f"{mount.replace('ROOT', str(here.root))} && echo ready && exec sleep 600"
        holder = subprocess.Popen([*in_namespace("true"), "sh", "-c", command], stdout=subprocess.PIPE)
        try:
            assert holder.stdout is not None and holder.stdout.readline() == b"ready\n"
            small = Elsewhere(here, "nsenter", "-t", str(holder.pid), "-m", "--")
            folders = [str(CHECKOUT / "tests"), str(CHECKOUT / "plugins/module_utils")]
            inside(small, sys.executable, "-c", _IMAGE, here.root, *folders)
            yield small
            small.close()
            Traces(here).gone()
        finally:
            holder.kill()
            holder.wait()

    return make
