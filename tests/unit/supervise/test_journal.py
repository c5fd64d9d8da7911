# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of what happened to a container: order, bounds, and what a torn line does."""

from __future__ import annotations

import os

from vitrine.supervise import journal


def test_lines_come_back_in_order(tmp_path):
    path = str(tmp_path / journal.FILE)
    journal.append(path, "start", 5, {})
    journal.append(path, "die", 4, {"exitCode": "3", "name": 'é "quoted"\n'})  # the clock was put back
    assert journal.read(path) == [(5, "start", {}), (4, "die", {"exitCode": "3", "name": 'é "quoted"\n'})]


def test_no_file_is_no_events(tmp_path):
    assert journal.read(str(tmp_path / "absent")) == []
    assert journal.read(str(tmp_path / "absent" / journal.FILE)) == []


def test_a_removed_container_takes_no_line(tmp_path):
    journal.append(str(tmp_path / "gone" / journal.FILE), "die", 1, {})
    assert os.listdir(tmp_path) == []


def test_torn_lines_are_skipped(tmp_path):
    path = tmp_path / journal.FILE
    journal.append(str(path), "start", 1, {})
    with path.open("ab") as file:
        file.write(b'{"time":2,"act')
    journal.append(str(path), "die", 3, {})
    with path.open("ab") as file:
        file.write(b"\0" * 100 + b"\n[]\n{}\n\xff\n")
    assert [entry[1] for entry in journal.read(str(path))] == ["start", "die"]


def test_it_stays_small_and_keeps_the_newest(tmp_path):
    path = str(tmp_path / journal.FILE)
    for number in range(5000):
        journal.append(path, "restart", number, {"pad": "x" * 50})
    size = sum(os.path.getsize(tmp_path / name) for name in os.listdir(tmp_path))
    assert size < 3 * journal.LIMIT
    numbers = [entry[0] for entry in journal.read(path)]
    assert numbers == list(range(numbers[0], 5000))
    assert len(numbers) > 400


def test_a_link_is_not_followed(tmp_path):
    target = tmp_path / "target"
    target.write_bytes(b"")
    (tmp_path / journal.FILE).symlink_to(target)
    journal.append(str(tmp_path / journal.FILE), "die", 1, {})
    assert target.read_bytes() == b""
