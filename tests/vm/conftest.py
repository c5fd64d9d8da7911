# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One emulated host for all tests of this folder, which run in the order of their files and lines.

The first file makes it a host of containers with the playbook; the next look at what that gave; the last reboot it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "plugins" / "module_utils")]
PLAYBOOK = shutil.which("ansible-playbook", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
NEEDED = ("qemu-system-x86_64", "qemu-img", "ssh", "ssh-keygen", "mmdebstrap", "mke2fs")

from support.machine import Machine, prepare  # noqa: E402


def pytest_collection_modifyitems(items):
    lacking = [program for program in NEEDED if not shutil.which(program)]
    reason = "needs root: it makes a disk image" if os.geteuid() != 0 else ""
    reason = reason or (f"needs {', '.join(lacking)}" if lacking else "" if PLAYBOOK else "needs ansible-core")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


class Vm(Machine):
    """A machine, and its engine: vm("ps", "-a") is what that command prints there."""

    def __call__(self, command: str, **how) -> str:
        """Run `vitrine ...` that must succeed; returns what it printed."""
        return self.run(f"vitrine {command}", **how).stdout

    def inspect(self, name: str) -> dict:
        """docker's inspect document of a container."""
        return json.loads(self(f"inspect {name}"))[0]

    def group(self, name: str) -> str:
        """The container's cgroup, as a folder there."""
        return f"/sys/fs/cgroup/vitrine.slice/vitrine.scope/{self.inspect(name)['Id']}"

    def read(self, path: str) -> str:
        """The text of a file there."""
        return self.run(f"cat {path}").stdout

    def until(self, command: str, seconds: int = 120) -> str:
        """Wait there until a shell command succeeds; returns what it printed."""
        return self.run(
            f"end=$(($(date +%s) + {seconds})); until {{ {command}; }} 2>/dev/null; do"
            " [ $(date +%s) -lt $end ] || exit 1; sleep 0.2; done",
            timeout=seconds + 120,
        ).stdout


@pytest.fixture(scope="session")
def vm():
    """The host, up."""
    folder = Path(tempfile.mkdtemp(prefix="vitrine-vm-"))
    machine = Vm(prepare(), folder, forward=(8080,))
    try:
        with machine:
            yield machine
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With a test that failed, show what the machine wrote to its console."""
    outcome = yield
    report = outcome.get_result()
    machine = getattr(item, "funcargs", {}).get("vm")
    if report.failed and machine is not None:
        report.sections.append(("the machine's console", machine.tail()))


@pytest.fixture
def play(vm, tmp_path):
    """Run a playbook of this collection on the host, through ssh: play("deploy.yml", variable=value)."""
    collections = tmp_path / "collections"
    (collections / "ansible_collections" / "vitrine").mkdir(parents=True)
    (collections / "ansible_collections" / "vitrine" / "engine").symlink_to(ROOT)
    options = " ".join(vm.ssh_options())
    inventory = tmp_path / "hosts"
    inventory.write_text(
        f"vm ansible_host=127.0.0.1 ansible_port={vm.port} ansible_user=root ansible_ssh_common_args='{options}'\n"
    )
    (tmp_path / "ansible.cfg").write_text("[defaults]\n[ssh_connection]\npipelining = true\n")

    def run(name: str, **variables) -> subprocess.CompletedProcess:
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_NOCOLOR": "1",
            "PYTHONPATH": "",
        }
        argv = [str(PLAYBOOK), "-i", str(inventory), str(ROOT / "playbooks" / name), "-e", json.dumps(variables)]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=800)
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
        return done

    return run
