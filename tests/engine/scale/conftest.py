# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of many share: a host that the command line and the modules' entry point use alike."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from support.host import CHECKOUT, Host
from support.traces import Traces
from vitrine.engine.desired import options
from vitrine.settings import Settings

SERVE = "import sys; sys.path.insert(0, sys.argv.pop(1)); from vitrine.engine.desired.serve import main, MARK; main()"


class BothWays(Host):
    """A host whose run root is the one that a module finds by the engine root."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.run_root = Path(Settings.load(str(self.root)).run_root)

    def spawn_module(self, module: str, **params: object) -> subprocess.Popen:
        """Start what a task's module starts on its target, and go on."""
        defaults = {name: option.default for name, option in options.table(module).items()}
        request = {"module": module, "params": {**defaults, "engine_root": str(self.root), **params}}
        request.update({"check": False, "diff": False, "folder": ""})
        argv = ["/usr/bin/python3", "-I", "-S", "-X", "utf8", "-c", SERVE, str(CHECKOUT / "plugins/module_utils")]
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env
        )
        process.stdin.write(json.dumps(request))
        process.stdin.close()
        process.stdin = None
        return process


@pytest.fixture
def both_ways(tmp_path: Path):
    """A host with busybox; in the end its store is whole and nothing of it is left."""
    from support.base_image import busybox_image
    from vitrine.store import Store

    here = BothWays(tmp_path / "host")
    with Store(str(here.root)) as store:
        busybox_image(store)
    traces = Traces(here)
    yield here
    here.close()
    result = here.try_("check")
    assert "the store is whole" in result.out and "could not put right" not in result.out, result
    traces.gone(20)
    shutil.rmtree(here.run_root)
