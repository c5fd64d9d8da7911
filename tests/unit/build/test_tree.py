# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading sources: nothing leads out of a context, and digests change with content and with nothing else."""

from __future__ import annotations

import os

import pytest

from vitrine.build import ignore
from vitrine.build.tree import OutsideContext, Tree


@pytest.fixture
def context(tmp_path):
    """A context directory beside a secret; returns (path, function that makes a Tree of it)."""
    (tmp_path / "secret").write_text("secret")
    path = tmp_path / "context"
    path.mkdir()
    opened = []

    def tree(patterns: str = "", *, image: bool = False) -> Tree:
        opened.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
        return Tree(opened[-1], rules=ignore.parse(patterns) if patterns else None, context=not image)

    yield path, tree
    for fd in opened:
        os.close(fd)


def listed(tree: Tree, source: str) -> list[str]:
    return [entry.path for _path, real in tree.find(source) for entry in tree.entries(real)]


def fill(path, *names: str) -> None:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)


@pytest.mark.parametrize(
    ("link", "source"),
    [
        ("../secret", "link"),
        ("/etc/passwd", "link"),
        ("..", "link/secret"),
        ("sub/../../secret", "link"),
        ("/proc/self/root/etc/passwd", "link"),
        (None, "../secret"),
        (None, "sub/../../secret"),
        (None, "/../secret"),
    ],
)
def test_nothing_leads_out_of_a_context(context, link, source):
    path, tree = context
    (path / "sub").mkdir()
    if link:
        (path / "link").symlink_to(link)
    with pytest.raises(OutsideContext, match="outside of the build's context"):
        tree().find(source)


def test_the_same_links_mean_the_images_own_root(context):
    path, tree = context
    fill(path, "etc/passwd")
    (path / "link").symlink_to("/etc/passwd")
    (path / "up").symlink_to("../../../etc")
    assert tree(image=True).find("link") == [("link", "etc/passwd")]
    assert tree(image=True).find("up/passwd") == [("up/passwd", "etc/passwd")]
    assert tree(image=True).find("/etc/passwd") == [("etc/passwd", "etc/passwd")]


def test_links_inside_are_followed_at_the_top_and_kept_below(context):
    path, tree = context
    fill(path, "real/file")
    (path / "link").symlink_to("real")
    (path / "real" / "inner").symlink_to("/etc/passwd")  # copied as a link: it means the image's own file
    assert listed(tree(), "link") == ["", "file", "inner"]
    assert tree().find("link/file") == [("link/file", "real/file")]


def test_link_loops(context):
    path, tree = context
    (path / "a").symlink_to("b")
    (path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        tree().find("a")


def test_wildcards(context):
    path, tree = context
    fill(path, "a.py", "b.py", "c.txt", "d/a.py", "e/a.py", "[x]", ".hidden.py")
    assert [found for found, _real in tree().find("*.py")] == [".hidden.py", "a.py", "b.py"]
    assert [found for found, _real in tree().find("*/a.py")] == ["d/a.py", "e/a.py"]
    assert [found for found, _real in tree().find("[de]/*")] == ["d/a.py", "e/a.py"]
    assert [found for found, _real in tree().find("\\[x\\]")] == ["[x]"]
    for pattern in ("*.none", "none", "c.txt/x", "*/none"):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            tree().find(pattern)


def test_ignored_files_are_not_there(context):
    path, tree = context
    fill(path, "keep", "drop", "logs/a.log", "logs/keep.log", "logs/deep/b.log", "node/x")
    rules = "drop\nlogs\n!logs/keep.log\nnode"
    assert listed(tree(rules), ".") == ["", "keep", "logs", "logs/keep.log"]
    assert listed(tree(rules), "logs") == ["", "keep.log"]
    for source in ("drop", "node", "node/x", "logs/a.log"):
        with pytest.raises(FileNotFoundError):
            tree(rules).find(source)
    (path / "link").symlink_to("drop")
    with pytest.raises(FileNotFoundError):
        tree(rules).find("link")


def test_the_order_is_that_of_the_bytes(context):
    path, tree = context
    fill(path, "b", "a/z", "a.x", "B", "é")
    assert listed(tree(), ".") == ["", "B", "a", "a/z", "a.x", "b", "é"]


def test_names_that_are_no_text(context):
    path, tree = context
    with open(os.fsencode(path) + b"/\xff", "wb"):
        pass
    entries = list(tree().entries(""))
    assert [os.fsencode(entry.path) for entry in entries] == [b"", b"\xff"]
    assert tree().digest(entries) == tree().digest(entries)


def digest(tree: Tree) -> str:
    return tree.digest(list(tree.entries("")))


def test_digests_follow_content(context):
    path, tree = context
    fill(path, "d/f")
    (path / "l").symlink_to("d")
    seen = [digest(tree())]

    def changed() -> bool:
        seen.append(digest(tree()))
        return seen.count(seen[-1]) == 1

    os.utime(path / "d" / "f", (1, 1))
    assert not changed()
    (path / "d" / "f").write_text("other")
    assert changed()
    (path / "d" / "f").chmod(0o755)
    assert changed()
    (path / "d" / "f").rename(path / "d" / "g")
    assert changed()
    (path / "l").unlink()
    (path / "l").symlink_to("d/g")
    assert changed()
    (path / "d" / "empty").mkdir()
    assert changed()


def test_a_file_that_changes_during_the_build_is_noticed(context):
    path, tree = context
    fill(path, "f")
    reader = tree()
    (entry,) = reader.entries("f")
    (path / "f").write_text("longer than before")
    with pytest.raises(OSError, match="changed during the build"):
        reader.open_file(entry)


def test_a_directory_that_becomes_a_link_during_the_build_is_not_followed(context):
    path, tree = context
    fill(path, "d/secret")
    reader = tree()
    ((_path, real),) = reader.find("d/secret")
    (entry,) = reader.entries(real)
    os.rename(path / "d", path / "old")
    (path / "d").symlink_to("..")
    with pytest.raises(OSError, match="symbolic links|Not a directory"):
        reader.open_file(entry)
