# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Limits of version 2 that change: what is written, what is taken back, and what "no limit" means there."""

from __future__ import annotations

from pathlib import Path

import pytest

from vitrine.errors import InvalidInput
from vitrine.runtime.cgroups import changes

FRESH = {
    "memory.max": "max", "memory.swap.max": "max", "memory.low": "0", "cpu.max": "max 100000", "cpu.weight": "100",
    "pids.max": "max", "io.weight": "default 100", "cpuset.cpus": "", "cpuset.mems": "",
}  # fmt: skip
WANTED = {
    "memory": {"limit": 5000, "swap": 12000, "reservation": 100},
    "cpu": {"quota": 5000, "period": 50000, "shares": 512, "cpus": "0"},
    "pids": {"limit": 5},
    "blockIO": {"weight": 300},
}


class Group:
    """A folder with a group's files. Ordinary files are not replaced by a write: they are emptied before each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tag" / "id"
        self.folder.mkdir(parents=True)
        for name, value in (("cpuset.cpus.effective", "0-3\n"), ("cpuset.mems.effective", "0\n")):
            (self.folder.parent / name).write_text(value)
        (self.folder / "memory.current").write_text("9000\n")
        (self.folder / "memory.stat").write_text("anon 1000\nfile 8000\nshmem 1000\n")
        self.plan = {
            "dirs": {},
            "unified": str(self.folder),
            "controllers": ("cpu", "cpuset", "io", "memory", "pids"),
            "warnings": [],
        }
        self.fill(FRESH)

    def fill(self, values: dict[str, str]) -> None:
        for name, value in values.items():
            (self.folder / name).write_text(value and value + "\n")

    def written(self) -> dict[str, str]:
        """What stands in the files, which are empty then."""
        found = {name: (self.folder / name).read_text() for name in FRESH}
        self.fill(dict.fromkeys(FRESH, ""))
        return {name: text.strip() for name, text in found.items() if text.strip()}


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group(tmp_path)


def test_what_is_written_and_taken_back(group: Group) -> None:
    undo: list[tuple[str, str]] = []
    assert changes.update(group.plan, WANTED, undo) == []
    group.fill(dict.fromkeys(FRESH, ""))
    assert changes.update(group.plan, WANTED) == []
    assert group.written() == {
        "memory.max": "5000", "memory.swap.max": "7000", "memory.low": "100", "cpu.max": "5000 50000",
        "cpu.weight": "59", "cpuset.cpus": "0", "pids.max": "5", "io.weight": "2930",
    }  # fmt: skip
    changes.restore(undo)
    assert group.written() == {name: value for name, value in FRESH.items() if value}


def test_no_limit_is_what_the_kernel_begins_with(group: Group) -> None:
    group.fill(dict.fromkeys(FRESH, ""))
    changes.update(group.plan, changes.UNLIMITED)
    assert group.written() == {**FRESH, "io.weight": "100", "cpuset.cpus": "0-3", "cpuset.mems": "0"}


def test_what_cannot_be_dropped_counts_as_used(group: Group) -> None:
    changes.update(group.plan, {"memory": {"limit": 2000}})  # 9000 in use, of which 7000 are cached files
    with pytest.raises(InvalidInput, match="2000 bytes"):
        changes.update(group.plan, {"memory": {"limit": 1999}})


def test_all_or_nothing(group: Group) -> None:
    (group.folder / "pids.max").unlink()
    (group.folder / "pids.max").mkdir()  # it cannot be written
    with pytest.raises(Exception, match="pids_limit"):
        changes.update(group.plan, {"cpu": {"shares": 2048}, "pids": {"limit": 5}})
    assert (group.folder / "cpu.weight").read_text().startswith("100")
