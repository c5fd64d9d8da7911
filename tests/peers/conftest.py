# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests against other people's programs share: hosts with a base image, and a registry between them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from support.host import Host
from support.registry import Registry


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("peers")


@pytest.fixture(scope="module")
def loopback_registry(folder: Path):
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry")
    (folder / "registry").mkdir()
    registry = Registry(folder / "registry")
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def host(folder: Path):
    """A host that has debian:bookworm and busybox."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    from support.base_image import base_image, busybox_image
    from vitrine.store import Store

    here = Host(folder / "one")
    with Store(str(here.root)) as store:
        base_image(store)
        busybox_image(store)
    yield here
    here.close()


@pytest.fixture(scope="module")
def second_host(folder: Path):
    """Another host: its engine root is empty."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    here = Host(folder / "two")
    yield here
    here.close()
