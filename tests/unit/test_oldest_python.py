# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same unit tests on the oldest Python that hosts may have: CentOS 9 has 3.9."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pytest", "hypothesis", "requests", "pyroute2", "pyyaml")


def oldest_python() -> str | None:
    """An interpreter of version 3.9: the distribution's, or one that pyenv made."""
    candidates = [shutil.which("python3.9"), *sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python3.9"))]
    for candidate in candidates:
        if candidate and subprocess.run([candidate, "-c", "import venv"], capture_output=True).returncode == 0:
            return str(candidate)
    return None


@pytest.mark.skipif(sys.version_info < (3, 10), reason="this is that run")
def test_unit_tests_pass_on_the_oldest_python():
    interpreter = oldest_python()
    if interpreter is None:
        pytest.skip("no Python 3.9 on this machine")
    venv = Path(os.environ.get("VITRINE_TEST_CACHE") or Path.home() / ".cache" / "vitrine-tests") / "venv-3.9"
    python = venv / "bin" / "python"
    if not (venv / "complete").exists():
        subprocess.run([interpreter, "-m", "venv", "--clear", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True)
        (venv / "complete").touch()
    # what runs on the controller only has another oldest Python
    words = ["tests/unit", "--ignore", "tests/unit/ansible", "-q", "-x", "-p", "no:cacheprovider"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VITRINE_NO"))}
    done = subprocess.run(
        [str(python), "-m", "pytest", *words], cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
