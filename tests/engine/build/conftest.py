# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine with a small image, and a directory to build from."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from support.base_image import busybox_image  # noqa: E402
from vitrine.engine.core import Engine  # noqa: E402


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if Path(item.path).parent == Path(__file__).parent and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))


class Builder:
    """Builds in a directory of its own. said: what the last build printed."""

    def __init__(self, engine: Engine, context: Path) -> None:
        self.engine = engine
        self.context = context
        self.said = ""

    def write(self, path: str, text: str = "", mode: int = 0o644) -> Path:
        target = self.context / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)
        return target

    def build(self, dockerfile: str, **options) -> str:
        self.write("Dockerfile", dockerfile)
        output = bytearray()
        try:
            return self.engine.builds.build(str(self.context), output=output.extend, **options)
        finally:
            self.said = output.decode("utf-8", "replace")

    def cached(self, dockerfile: str, **options) -> str | None:
        self.write("Dockerfile", dockerfile)
        return self.engine.builds.cached(str(self.context), **options)

    def config(self, image_id: str):
        from vitrine.oci.config import ImageConfig

        return ImageConfig.from_json(self.engine.store.images.get(image_id).config)

    def files(self, image_id: str, top: str = "") -> dict[str, tuple]:
        """(mode, uid, gid, content or target) of each file of an image below top, by path."""
        found = {}
        layers = self.engine.store.layers
        folder = self.context.parent / f"view-{os.urandom(4).hex()}"
        folder.mkdir()
        plan = layers.prepare_root(str(folder), self.engine.store.images.get(image_id).top)
        with layers.mounted(plan) as fd:
            for parent, folders, names, at in os.fwalk(top or ".", dir_fd=fd, follow_symlinks=False):
                for name in (*folders, *names):
                    status = os.stat(name, dir_fd=at, follow_symlinks=False)
                    if os.path.stat.S_ISLNK(status.st_mode):
                        content = os.readlink(name, dir_fd=at)
                    elif os.path.stat.S_ISREG(status.st_mode):
                        with open(os.open(name, os.O_RDONLY, dir_fd=at), "rb") as file:
                            content = file.read(1000).decode("utf-8", "replace")
                    else:
                        content = None
                    path = os.path.normpath(os.path.join(parent, name))
                    found[path] = (oct(status.st_mode & 0o7777), status.st_uid, status.st_gid, content)
        return found


@pytest.fixture
def builder(settings, tmp_path) -> Builder:
    context = tmp_path / "context"
    context.mkdir()
    engine = Engine(settings)
    busybox_image(engine.store)
    yield Builder(engine, context)
    engine.store.close()


@pytest.fixture
def nothing_left(settings):
    """Fail the test when this engine root keeps containers, mounts, links, cgroups or half-made layers."""
    yield
    deadline = time.monotonic() + 5
    while left := _left(settings):
        if time.monotonic() > deadline:
            pytest.fail(f"left behind: {left}")
        time.sleep(0.05)


def _left(settings) -> list[str]:
    found = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if settings.root in line]
    found += [name for name in os.listdir("/sys/class/net") if name == settings.bridge]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{settings.tag}/*") if path.is_dir()]
    root = Path(settings.root)
    found += [str(path) for path in (root / "containers").glob("*")]
    found += [str(path) for path in (root / "layers").glob(".*")]
    return found
