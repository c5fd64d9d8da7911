# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""paths.py: what openat2 does and what our own walk does are the same, and both stay inside."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st

from vitrine.linux import features, paths


@pytest.fixture(params=["openat2", "walk"])
def way(request):
    """Run the test by the kernel's resolution and by ours."""
    before = features.without()
    features.set_without(before | ({"openat2"} if request.param == "walk" else set()))
    yield request.param
    features.set_without(before)


@pytest.fixture
def tree(tmp_path):
    """A root with links of all sorts, and something outside that must not be reached. Gives (fd, path)."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "file").write_text("file")
    (root / "secret").write_text("mine")
    for name, target in {
        "absolute": "/a/b",
        "up": "../../../../a",
        "out": "../outside/secret",
        "out2": f"{outside}/secret",
        "loop": "loop2",
        "loop2": "/loop",
        "chain": "absolute/../file",
        "dangling": "/not/there",
    }.items():
        (root / name).symlink_to(target)
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield fd, root
    os.close(fd)


def where(fd: int, root) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}").removeprefix(str(root)) or "/"
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("absolute", "/a/b"), ("absolute/", "/a/b"), ("/absolute/..", "/a"), ("up/b", "/a/b"), ("..", "/"),
        ("/", "/"), ("../../secret", "/secret"), ("chain", "/a/file"), ("a//./b", "/a/b"), ("", "/"), (".", "/"),
        ("a/b/../..", "/"),
    ],
)  # fmt: skip
def test_links_and_dots_stay_inside(tree, way, path, expected):
    fd, root = tree
    assert where(paths.open_in_root(fd, path, os.O_PATH), root) == expected


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("out", FileNotFoundError), ("out2", FileNotFoundError), ("dangling", FileNotFoundError), ("loop", OSError),
        ("a/file/x", NotADirectoryError), ("a/file/", NotADirectoryError), ("a/file/..", NotADirectoryError),
        ("none/..", FileNotFoundError), ("a\0b", OSError),
    ],
)  # fmt: skip
def test_what_is_not_inside_is_not_there(tree, way, path, error):
    with pytest.raises(error):
        paths.open_in_root(tree[0], path, os.O_PATH)


def test_links_are_refused_when_asked(tree, way):
    fd, root = tree
    for path in ("absolute", "up/b"):
        with pytest.raises(OSError, match="symbolic links"):
            paths.open_in_root(fd, path, os.O_PATH, follow=False)
    assert where(paths.open_in_root(fd, "a/b", os.O_PATH, follow=False), root) == "/a/b"
    assert where(paths.open_in_root(fd, "up", os.O_PATH | os.O_NOFOLLOW), root) == "/up"


def test_files_are_opened_for_what_was_asked(tree, way):
    fd, root = tree
    file = paths.open_in_root(fd, "chain", os.O_RDONLY)
    assert os.read(file, 10) == b"file" and not os.get_inheritable(file)
    os.close(file)
    file = paths.open_in_root(fd, "up/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    os.write(file, b"x")
    os.close(file)
    assert (root / "a" / "new").read_bytes() == b"x"
    with pytest.raises(FileExistsError):
        paths.open_in_root(fd, "up/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)


def test_magic_links_are_refused(way):
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match="symbolic links"):
            paths.open_in_root(root, f"proc/{os.getpid()}/cwd/x", os.O_PATH)
        with pytest.raises(OSError, match="symbolic links"):
            paths.open_in_root(root, f"proc/{os.getpid()}/fd/{root}", os.O_PATH)
    finally:
        os.close(root)


def test_directories_are_made_inside(tree, way):
    fd, root = tree
    old = os.umask(0o077)
    try:
        assert where(paths.mkdirs_in_root(fd, "up/x/y/z", 0o755), root) == "/a/x/y/z"
    finally:
        os.umask(old)
    assert (root / "a" / "x" / "y").stat().st_mode & 0o7777 == 0o755
    assert where(paths.mkdirs_in_root(fd, "/"), root) == "/"
    assert where(paths.create_file_in_root(fd, "absolute/deep/file"), root) == "/a/b/deep/file"
    assert where(paths.create_file_in_root(fd, "a/file"), root) == "/a/file"
    assert where(paths.create_file_in_root(fd, "dangling/file"), root) == "/not/there/file"
    (root / "conf").symlink_to("../run/missing/conf")
    assert where(paths.create_file_in_root(fd, "conf"), root) == "/run/missing/conf"
    for path in ("loop/x", "a/file/x", "secret"):
        with pytest.raises(OSError):  # noqa: PT011 - which one differs by the way
            paths.mkdirs_in_root(fd, path)
    assert not os.path.lexists("/not")


@pytest.mark.skipif(not features.has("openat2"), reason="needs openat2 to compare with")
@rules(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(seed=st.integers(), path=st.lists(st.sampled_from(["a", "b", "l0", "l1", "l2", "f", "..", ".", ""]), max_size=8))
def test_our_walk_agrees_with_the_kernel(tmp_path_factory, seed, path):
    root = tmp_path_factory.mktemp("random")
    chooser = random.Random(seed)
    (root / "a" / "b").mkdir(parents=True)
    (root / "b").mkdir()
    (root / "f").write_text("")
    targets = ["/a", "../b", "l1", "/l2/..", "a/b/../..", "/f", "../../..", "missing", "l0/b", "./"]
    for number, folder in enumerate((root, root / "a", root)):
        (folder / f"l{number}").symlink_to(chooser.choice(targets))
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    before = features.without()
    found = []
    try:
        for names in ((), ("openat2",)):
            features.set_without(names)
            try:
                found.append(where(paths.open_in_root(fd, "/".join(path), os.O_PATH), root))
            except OSError as error:
                found.append(error.errno)
    finally:
        features.set_without(before)
        os.close(fd)
    assert found[0] == found[1]
