# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of faults share: a host, its use cases, and the table of how many calls each one has."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from support.host import CHECKOUT, Host
from support.registry import Registry
from support.traces import Traces

from . import cases

TABLE: dict[str, dict[str, str]] = {}
OUTPUT = CHECKOUT / "tests" / "output" / "faults.txt"


def with_busybox(folder: Path) -> Host:
    from support.base_image import busybox_image
    from vitrine.store import Store

    here = Host(folder)
    with Store(str(here.root)) as store:
        busybox_image(store)
    return here


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory):
    """A host that has an image, and things that no fault of any command may touch."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if shutil.which("busybox") is None:
        pytest.skip("needs busybox-static")
    here = with_busybox(tmp_path_factory.mktemp("faults"))
    yield here
    here.close()
    Traces(here).gone()


@pytest.fixture(scope="module")
def use_cases(host: Host, tmp_path_factory: pytest.TempPathFactory):
    """All use cases by name."""
    files = tmp_path_factory.mktemp("files")
    found = {**cases.CASES, **cases.with_folder(str(files))}
    # made on another host, so that this one has none of their layers
    maker = with_busybox(tmp_path_factory.mktemp("maker"))
    maker("build", "-q", "-t", "built", found["build"].words[-1])
    maker("save", "-o", files / cases.LOADED, "built")
    registry = None
    if shutil.which("docker-registry"):
        registry = Registry(tmp_path_factory.mktemp("registry"))
        name = f"{registry.host}/it:1"
        maker("tag", "built", name)
        maker("push", "-q", name)
        found.update(cases.with_registry(name))
    yield found
    if registry is not None:
        registry.close()


def pytest_terminal_summary(terminalreporter) -> None:
    """How many calls each use case makes, and at how many of them something went wrong."""
    if not TABLE:
        return
    kinds = sorted({kind for row in TABLE.values() for kind in row})
    lines = ["calls of each use case that change something, and at how many of them it was tried:"]
    lines.append(f"{'use case':<12}" + "".join(f"{kind:>14}" for kind in kinds))
    lines += [f"{name:<12}" + "".join(f"{row.get(kind, '-'):>14}" for kind in kinds) for name, row in TABLE.items()]
    for line in lines:
        terminalreporter.write_line(line)
    OUTPUT.parent.mkdir(exist_ok=True)
    Path(OUTPUT).write_text("\n".join(lines) + "\n")
