# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every integration target, with ansible-playbook on this host, both ways to the target.

The targets are laid out as ansible-test wants them. They run on an engine root of their own.
"""

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
TARGETS = sorted(path.name for path in (HERE / "targets").iterdir() if (path / "tasks").is_dir())
PLAYBOOK = shutil.which("ansible-playbook", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
PYTHON = os.environ.get("VITRINE_TARGET_PYTHON", "/usr/bin/python3")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it runs containers"),
    pytest.mark.skipif(PLAYBOOK is None, reason="needs ansible-core"),
]


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
    for record, _spec, _observed in engine.containers.list(everything=True):
        engine.containers.remove(record.id, force=True, volumes=True)
    engine.system.reconcile()


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


def play(collections: Path, folder: Path, plays: list, **variables) -> subprocess.CompletedProcess:
    """Run a playbook on this host."""
    playbook = folder / "playbook.yml"
    playbook.write_text(json.dumps(plays))
    (folder / "ansible.cfg").write_text("[defaults]\n")
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(collections),
        "ANSIBLE_ROLES_PATH": str(HERE / "targets"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONPATH": "",
    }
    extra = {"ansible_python_interpreter": PYTHON, "ansible_connection": "local", **variables}
    command = [PLAYBOOK, "-i", "localhost,", str(playbook), "-e", json.dumps(extra)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)


@pytest.mark.parametrize("way", ["short", "module"])
@pytest.mark.parametrize("target", TARGETS)
def test_target(target, way, collections, engine_root, registry, tmp_path):
    if not registry and target in ("container_image", "container_commit"):
        pytest.skip("needs docker-registry")
    plays = [{"hosts": "all", "gather_facts": False, "roles": [target]}]
    done = play(
        collections,
        tmp_path,
        plays,
        vitrine_short_way=way == "short",
        vitrine_test_root=str(engine_root),
        vitrine_test_registry=registry,
        vitrine_test_folder=str(tmp_path),
        vitrine_test_archive=str(engine_root.parent / "busybox.tar"),
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
