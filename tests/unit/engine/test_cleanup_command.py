# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command by which a monitor removes its container: it speaks of the same engine, configured in the same way."""

from __future__ import annotations

import os

from vitrine.engine import starting
from vitrine.settings import Settings


class Engine:
    def __init__(self, settings):
        self.settings = settings


def test_it_names_root_run_root_and_configuration(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    settings = Settings.load(str(tmp_path / "root"), str(tmp_path / "run"), "config.json")
    words = starting._cleanup_command(Engine(settings), "ab12")
    pairs = dict(zip(words, words[1:]))
    assert pairs["--root"] == str(tmp_path / "root") and pairs["--run-root"] == str(tmp_path / "run")
    assert pairs["--config"] == os.path.join(os.getcwd(), "config.json")  # a monitor's directory is /
    assert words[-1] == "ab12"


def test_without_a_file_of_its_own_the_usual_one_is_read(tmp_path):
    settings = Settings(str(tmp_path), str(tmp_path), "", {})
    assert "--config" not in starting._cleanup_command(Engine(settings), "ab12")
