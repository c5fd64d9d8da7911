# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the integration tests share: a collections path, an engine root with an image, a registry, a way to play."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "plugins" / "module_utils")]
PLAYBOOK = shutil.which("ansible-playbook", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
PYTHON = os.environ.get("VITRINE_TARGET_PYTHON", "/usr/bin/python3")


def pytest_collection_modifyitems(items):
    reason = "needs root: it runs containers" if os.geteuid() != 0 else "" if PLAYBOOK else "needs ansible-core"
    for item in items:
        if reason and HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def collections(tmp_path_factory) -> Path:
    """A collections path on which this checkout is the collection."""
    path = tmp_path_factory.mktemp("collections")
    (path / "ansible_collections" / "vitrine").mkdir(parents=True)
    (path / "ansible_collections" / "vitrine" / "engine").symlink_to(ROOT)
    return path


@pytest.fixture(scope="session")
def engine_root(tmp_path_factory) -> Path:
    """An engine root with the image busybox, and an archive of it beside."""
    from support.base_image import busybox_image
    from vitrine.engine import Engine
    from vitrine.settings import Settings

    root = tmp_path_factory.mktemp("engine") / "root"
    engine = Engine(Settings.load(str(root)))
    busybox_image(engine.store)
    with open(root.parent / "busybox.tar", "wb") as file:
        engine.images.save(["busybox"], file)
    yield root
    for record, _spec, _observed in engine.containers.all(everything=True):
        engine.containers.remove(record.id, force=True, volumes=True)
    engine.system.reconcile()
    shutil.rmtree(engine.settings.run_root, ignore_errors=True)  # modules have no option for it: it is below /run


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    """The address of a registry on the loopback, or "" where the program is missing."""
    if not shutil.which("docker-registry"):
        yield ""
        return
    from support.registry import Registry

    running = Registry(tmp_path_factory.mktemp("registry"))
    yield running.host
    running.close()


@pytest.fixture
def play(collections, tmp_path):
    """Run plays on this host: play([...], environment={}, variable=value) -> CompletedProcess."""

    def run(
        plays: list, *, at: Path = collections, environment=None, inventory="localhost,", **variables
    ) -> subprocess.CompletedProcess:
        playbook = tmp_path / "playbook.yml"
        playbook.write_text(json.dumps(plays))
        (tmp_path / "ansible.cfg").write_text("[defaults]\n")
        settings = {
            **os.environ,
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(at),
            "ANSIBLE_ROLES_PATH": str(HERE / "targets"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
            "ANSIBLE_NOCOLOR": "1",
            "PYTHONPATH": "",
            **(environment or {}),
        }
        extra = {"ansible_python_interpreter": PYTHON, "ansible_connection": "local", **variables}
        command = [str(PLAYBOOK), "-i", inventory, str(playbook), "-e", json.dumps(extra)]
        return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=900)

    return run


@pytest.fixture
def tasks(play):
    """Run tasks and return their results by register name: tasks([...], variable=value) -> {name: result}."""

    def run(items: list, **how) -> dict:
        names = [item.setdefault("register", f"result_{number}") for number, item in enumerate(items)]
        for item in items:
            item.setdefault("ignore_errors", True)
        show = {"ansible.builtin.debug": {"msg": "RESULTS {{ lookup('vars', *" + repr(names) + ") | to_json }}"}}
        if len(names) == 1:
            show = {"ansible.builtin.debug": {"msg": "RESULTS {{ [" + names[0] + "] | to_json }}"}}
        done = play([{"hosts": "all", "gather_facts": False, "tasks": [*items, show]}], **how)
        line = next((line for line in done.stdout.splitlines() if '"RESULTS ' in line or "RESULTS [" in line), None)
        assert line is not None, done.stdout[-4000:] + done.stderr[-2000:]
        text = json.loads("{" + line.strip().rstrip(",") + "}")["msg"]
        results = json.loads(text[len("RESULTS ") :])
        return {**dict(zip(names, results)), "stdout": done.stdout}

    return run
