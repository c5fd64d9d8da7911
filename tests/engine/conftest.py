# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the command line share: a host with a small image, as its user sees it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from support.host import Host
from support.registry import Registry
from support.traces import Traces


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder without anybody's credentials."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def new_host(tmp_path_factory: pytest.TempPathFactory, home: Path):
    """Makes hosts that have busybox:latest; in the end their stores are whole, and nothing of them is left."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if shutil.which("busybox") is None:
        pytest.skip("needs busybox-static")
    from support.base_image import busybox_image
    from vitrine.store import Store

    made: list[Host] = []

    def make(image: bool = True, **config: object) -> Host:
        here = Host(tmp_path_factory.mktemp("host"), json.dumps(config), {"HOME": str(home), "DOCKER_CONFIG": ""})
        made.append(here)
        if image:
            with Store(str(here.root)) as store:
                busybox_image(store)
        return here

    yield make
    for here in made:
        here.close()
        assert json.loads(here.try_("check", "--format", "json").out)["store"] == []
        Traces(here).gone()


@pytest.fixture(scope="module")
def host(new_host) -> Host:
    """One host for all tests of a file."""
    return new_host()


@pytest.fixture(scope="module")
def loopback_registry(tmp_path_factory: pytest.TempPathFactory):
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry")
    registry = Registry(tmp_path_factory.mktemp("registry"))
    yield registry
    registry.close()


@pytest.fixture
def pushed(host: Host, loopback_registry: Registry, request: pytest.FixtureRequest):
    """A repository of the registry that holds busybox, and a host without it."""
    name = "test" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    host("tag", "busybox", f"{loopback_registry.host}/{name}")
    host("push", "-q", f"{loopback_registry.host}/{name}")
    host("rmi", f"{loopback_registry.host}/{name}")
    return name


@pytest.fixture(scope="module")
def empty(new_host) -> Host:
    """A host that has no image."""
    return new_host(image=False)


@pytest.fixture
def sleeper(host: Host):
    """A running container named sleeper."""
    host("run", "-d", "--name", "sleeper", "busybox", "sh", "-c", "echo started; exec sleep 600")
    yield "sleeper"
    host.try_("rm", "-f", "sleeper")
