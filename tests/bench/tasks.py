# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one Ansible task costs, in a loop on this host: ping, and tasks of three engines that have nothing to change."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

from .engines import CHECKOUT, Docker, Podman, Vitrine, run

FEW, MANY = 2, 22

PLAY = """\
- hosts: localhost
  connection: local
  gather_facts: false
  vars:
    ansible_python_interpreter: {python}
    ansible_pipelining: true
    vitrine_short_way: {short}
  tasks:
    - {module}: {arguments}
      loop: "{{{{ range({count}) | list }}}}"
      register: done
      failed_when: done is failed{changed}
"""


class Tasks:
    """The tasks to compare, and one container for each engine that they find as it should be."""

    def __init__(self, folder: Path, base: str, vitrine: Vitrine, docker: Docker | None, podman: Podman | None) -> None:
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        common = {"name": "noop", "image": base, "command": "sleep 3600"}
        root = str(vitrine.folder / "tasks")
        own = {**common, "engine_root": root, "pull": "never"}
        self.root = root
        self.vitrine = vitrine
        python = "/usr/bin/python3"
        self.tasks = {
            "ping": ("ansible.builtin.ping", {}, "true", python),
            "vitrine.engine.container, short way": ("vitrine.engine.container", own, "true", python),
            "vitrine.engine.container, module way": ("vitrine.engine.container", own, "false", python),
        }
        bench_python = str(Path(os.environ["VITRINE_BENCH_PYTHON"]))
        if docker is not None:
            arguments = {**common, "docker_host": docker.socket, "pull": "never"}
            self.tasks["community.docker.docker_container"] = (
                "community.docker.docker_container", arguments, "true", bench_python,
            )  # fmt: skip
        if podman is not None:
            wrapper = self.folder / "podman"
            wrapper.write_text("#!/bin/sh\nexec " + " ".join(podman.command) + ' "$@"\n')
            wrapper.chmod(0o755)
            arguments = {**common, "executable": str(wrapper), "ulimit": ["nofile=16384:16384", "nproc=16384:16384"]}
            self.tasks["containers.podman.podman_container"] = (
                "containers.podman.podman_container", arguments, "true", python,
            )  # fmt: skip

    def _play(self, name: str, count: int, *, check_changed: bool) -> float:
        module, arguments, short, python = self.tasks[name]
        path = self.folder / "play.yml"
        path.write_text(
            PLAY.format(
                module=module, arguments=json.dumps(arguments), short=short, python=python, count=count,
                changed=" or done is changed" if check_changed else "",
            )
        )  # fmt: skip
        begin = time.perf_counter()
        done = subprocess.run(
            ["ansible-playbook", "-i", "localhost,", str(path)], capture_output=True, text=True, cwd=CHECKOUT
        )
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stdout[-3000:]}{done.stderr[-1000:]}")
        return time.perf_counter() - begin

    def prepare(self, name: str) -> None:
        """Make the container that the task wants."""
        if name != "ping":
            self._play(name, 1, check_changed=False)

    def measure(self, name: str) -> float:
        """Seconds for each task more in a loop."""
        few = self._play(name, FEW, check_changed=True)
        return (self._play(name, MANY, check_changed=True) - few) / (MANY - FEW)

    def finish(self) -> None:
        """Remove this engine's container; the others' go with their engines."""
        command = [self.vitrine.command[0], "--root", self.root]
        ids = run([*command, "ps", "-aq", "--no-trunc"]).split()
        if ids:
            run([*command, "rm", "-f", *ids])
