# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which trees are synced entry by entry, and that all of their entries are."""

from __future__ import annotations

import os

import pytest

from vitrine.store.layers import staging


@pytest.fixture
def synced(monkeypatch):
    """The paths that were synced, in order."""
    paths = []
    monkeypatch.setattr(staging.os, "fsync", lambda fd: paths.append(os.readlink(f"/proc/self/fd/{fd}")))
    return paths


def test_a_small_tree_is_synced_to_its_last_entry_contents_first(tmp_path, synced):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("top", "a/x", "a/b/y"):
        (tmp_path / name).write_text(name)
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    assert staging._sync_few([str(tmp_path)])
    names = [os.fsencode(path) for path in synced]
    expected = [b"", b"/top", b"/a", b"/a/x", b"/a/b", b"/a/b/y", b"/\xff"]
    assert sorted(names) == sorted(os.fsencode(tmp_path) + name for name in expected)
    assert all(names.index(os.path.dirname(name)) > names.index(name) for name in names if name != min(names))


@pytest.mark.parametrize("kind", ["link", "fifo", "many"])
def test_nothing_is_promised_of_other_trees(tmp_path, synced, kind):
    if kind == "link":
        (tmp_path / "link").symlink_to("/etc/passwd")
    elif kind == "fifo":
        os.mkfifo(tmp_path / "fifo")
    else:
        for number in range(30):
            (tmp_path / str(number)).touch()
    assert not staging._sync_few([str(tmp_path)])
    assert synced == []
