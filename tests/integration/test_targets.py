# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every integration target, with ansible-playbook on this host, both ways to the target.

The targets are laid out as ansible-test wants them. They run on an engine root of their own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TARGETS = sorted(path.name for path in (HERE / "targets").iterdir() if (path / "tasks").is_dir())


@pytest.mark.parametrize("way", ["short", "module"])
@pytest.mark.parametrize("target", TARGETS)
def test_target(target, way, play, engine_root, registry, tmp_path):
    if not registry and target in ("container_image", "container_commit"):
        pytest.skip("needs docker-registry")
    done = play(
        [{"hosts": "all", "gather_facts": False, "roles": [target]}],
        vitrine_short_way=way == "short",
        vitrine_test_root=str(engine_root),
        vitrine_test_registry=f"{registry}/{way}",  # what one way pushed is no news to the other
        vitrine_test_folder=str(tmp_path),
        vitrine_test_archive=str(engine_root.parent / "busybox.tar"),
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
