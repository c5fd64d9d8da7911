# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles: what check mode foresees is what happens, a second run changes nothing, and the molecule scenario."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vitrine.engine.desired.options import MODULES

ROOT = Path(__file__).resolve().parents[2]
MOLECULE = shutil.which("molecule", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
SERVER = 'while true; do printf "HELLO %s" "$(cat /word)" | nc -l -p 8080; done'


@pytest.mark.parametrize(("task_file", "module"), [("images", "container_image"), ("containers", "container")])
def test_the_role_passes_every_option_on(task_file, module):
    tasks = yaml.safe_load((ROOT / "roles" / "deploy" / "tasks" / f"{task_file}.yml").read_text())
    (task,) = [task for task in tasks if f"vitrine.engine.{module}" in task]
    assert set(task[f"vitrine.engine.{module}"]) == {option.name for option in MODULES[module][0]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def recap(text: str) -> dict[str, int]:
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", text.rpartition("PLAY RECAP")[2])}


def changes(text: str) -> list[str]:
    return re.findall(r"^changed: \[localhost\].*$|^TASK .*$", text, re.MULTILINE)


def test_deploy_does_what_check_mode_foresees_and_then_nothing(play, engine_root, tmp_path):
    port = free_port()
    variables = {
        "vitrine_root": str(engine_root),
        "vitrine_build_folder": str(tmp_path / "builds"),
        "vitrine_images": [
            {
                "name": "vt/deployed",
                "dockerfile": f"FROM busybox\nRUN echo world > /word\nCMD {SERVER}\nEXPOSE 8080\n",
            }
        ],
        "vitrine_containers": [
            {
                "name": "vt-deployed",
                "image": "vt/deployed",
                "memory": "64M",
                "cpus": 0.5,
                "pids_limit": 64,
                "stop_signal": "KILL",
                "published_ports": [f"127.0.0.1:{port}:8080"],
                "wait": {"port": port, "expect": "HELLO world"},
            }
        ],
    }
    plays = [{"hosts": "all", "gather_facts": False, "roles": ["vitrine.engine.deploy"]}]
    environment = {"ANSIBLE_CHECK_MODE_MARKERS": "false"}
    checked = [{**plays[0], "check_mode": True, "diff": True}]
    foreseen = play(checked, environment=environment, **variables)
    assert foreseen.returncode == 0, foreseen.stdout[-3000:]
    assert not (tmp_path / "builds").exists()
    done = play(plays, environment=environment, **variables)
    assert done.returncode == 0, done.stdout[-3000:]
    again = play(plays, environment=environment, **variables)
    assert again.returncode == 0, again.stdout[-3000:]
    assert changes(foreseen.stdout) == changes(done.stdout)
    assert recap(done.stdout)["changed"] == recap(foreseen.stdout)["changed"] == 4
    assert recap(again.stdout)["changed"] == 0
    task = {"vitrine.engine.container": {"name": "vt-deployed", "state": "absent", "engine_root": str(engine_root)}}
    gone = play([{"hosts": "all", "gather_facts": False, "tasks": [task]}])
    assert recap(gone.stdout)["changed"] == 1


def test_a_service_that_does_not_answer_is_a_failure(play, engine_root):
    name = "vt-silent"
    wait = {"port": free_port(), "timeout": 1}
    container = {"name": name, "image": "busybox", "command": "sleep 1000", "stop_signal": "KILL", "wait": wait}
    plays = [{"hosts": "all", "gather_facts": False, "roles": ["vitrine.engine.deploy"]}]
    done = play(plays, vitrine_root=str(engine_root), vitrine_containers=[container])
    task = {"vitrine.engine.container": {"name": name, "state": "absent", "engine_root": str(engine_root)}}
    play([{"hosts": "all", "gather_facts": False, "tasks": [task]}])
    assert done.returncode != 0
    assert "did not answer as expected within 1 seconds" in done.stdout


@pytest.mark.skipif(MOLECULE is None, reason="needs molecule")
def test_molecule_scenario(collections):
    """The story through both roles on this host: converge, idempotence, verify."""
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_NOCOLOR": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        [str(MOLECULE), "test", "--scenario-name", "default"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
