# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's way to a target: what is sent, under which name, and that the name means exactly what is there."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "plugins" / "module_utils"))

from _ansible import install, provision  # noqa: E402


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bundler_is_told_every_source():
    tool = load(ROOT / "tests" / "tools" / "bundle.py")
    assert tool.TARGET.read_text() == tool.text(), "run tests/tools/bundle.py"


def test_sources_are_the_engine_and_nothing_else():
    names = set(provision.sources())
    assert "vitrine/__init__.py" in names
    assert "vitrine/engine/desired/serve.py" in names
    assert all(name.startswith("vitrine/") and name.endswith(".py") for name in names)
    packages = {os.path.dirname(name) for name in names}
    assert all(f"{package}/__init__.py" in names for package in packages), "the bundler would make up missing files"


def test_a_digest_changes_with_names_and_contents():
    files = {"vitrine/a.py": b"1", "vitrine/b.py": b"2"}
    others = [
        {"vitrine/a.py": b"2", "vitrine/b.py": b"1"},
        {"vitrine/a.py": b"1"},
        {"vitrine/a.py": b"12", "vitrine/b.py": b""},
        {"vitrine/c.py": b"1", "vitrine/b.py": b"2"},
    ]
    assert provision.digest(files) == provision.digest(dict(reversed(files.items())))
    assert len({provision.digest(item) for item in [files, *others]}) == 5


def test_a_program_is_one_line_that_executes():
    line = provision.first_line('print("a\\nb", end="")\nprint("é")')
    assert line.count(b"\n") == 1
    done = subprocess.run([sys.executable, *provision.COMMAND], input=line, capture_output=True, check=True)
    assert done.stdout.decode() == "a\nbé\n"


@pytest.mark.parametrize("name", ["../x.py", "/x.py", "a/../../x.py", "a//x.py"])
def test_a_name_that_leads_out_is_refused(tmp_path, name):
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        packed.writestr(zipfile.ZipInfo(name), b"")
    with pytest.raises(ValueError, match="bad name"):
        install.unpack(buffer.getvalue(), str(tmp_path / "in"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the folder must belong to root")
class TestInstall:
    FILES = {"vitrine/__init__.py": b"", "vitrine/a.py": b"VALUE = 1\n"}

    def test_a_folder_is_complete_and_compiled(self, tmp_path):
        base = tmp_path / "base"
        folder = base / provision.digest(self.FILES)
        install.install(str(folder), provision.pack(self.FILES), provision.pack({"requests/__init__.py": b""}))
        assert (folder / "vitrine" / "a.py").read_bytes() == b"VALUE = 1\n"
        assert list((folder / "vitrine" / "__pycache__").glob("a.*.pyc"))
        assert (folder / "site-packages" / "requests" / "__init__.py").exists()
        assert os.listdir(base) == [folder.name]
        assert base.stat().st_mode & 0o777 == folder.stat().st_mode & 0o777 == 0o755

    def test_twice_at_once_is_once(self, tmp_path):
        folder = tmp_path / "base" / "d"
        install.install(str(folder), provision.pack(self.FILES))
        inode = folder.stat().st_ino
        install.install(str(folder), provision.pack(self.FILES))
        assert folder.stat().st_ino == inode
        assert os.listdir(folder.parent) == ["d"]

    def test_a_folder_that_others_can_write_is_refused(self, tmp_path):
        base = tmp_path / "base"
        base.mkdir()
        base.chmod(0o777)
        with pytest.raises(PermissionError, match="only root"):
            install.install(str(base / "d"), provision.pack(self.FILES))

    def test_what_cannot_be_compiled_leaves_nothing(self, tmp_path):
        folder = tmp_path / "base" / "d"
        with pytest.raises(Exception, match="invalid syntax"):
            install.install(str(folder), provision.pack({"vitrine/a.py": b"1 +"}))
        assert os.listdir(folder.parent) == []

    def test_cleaning_keeps_what_is_new_linked_or_in_use(self, tmp_path):
        base = tmp_path / "base"
        names = [f"{number:032x}" for number in range(8)]
        for number, name in enumerate(names):
            (base / name).mkdir(parents=True)
            old = time.time() - 30 * 86400 + number
            os.utime(base / name, (old, old))
        (base / ".new-x").mkdir()
        os.utime(base / ".new-x", (0, 0))
        (base / "current").symlink_to(base / names[0])
        user = subprocess.Popen([sys.executable, "-c", "input()", f"{base}/{names[1]}/vitrine"], stdin=subprocess.PIPE)
        try:
            install.clean(str(base), str(base / names[2]))
        finally:
            user.communicate()
        assert sorted(os.listdir(base)) == sorted([*names[:3], *names[5:], "current"])
