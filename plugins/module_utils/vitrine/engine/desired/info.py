# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules that only look."""

from __future__ import annotations

import sys

from ...errors import ContainerNotFound, ImageNotFound
from ...version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..core import Engine
    from .serve import Request


def container(engine: Engine, request: Request) -> dict[str, Any]:
    """docker_container_info's answer: exists, container."""
    try:
        return {"changed": False, "exists": True, "container": engine.containers.inspect(request.params["name"])}
    except ContainerNotFound:
        return {"changed": False, "exists": False, "container": None}


def image(engine: Engine, request: Request) -> dict[str, Any]:
    """docker_image_info's answer: the images named, or all; unknown names are left out."""
    names = request.params.get("name")
    if names is None:
        names = [item["Id"] for item in engine.images.all()]
    images = []
    for name in names:
        try:
            images.append(engine.images.inspect(name))
        except ImageNotFound:
            continue
    return {"changed": False, "images": images}


def engine(engine: Engine, request: Request) -> dict[str, Any]:
    """The engine itself: version, where its sources are, and what its host has and lacks."""
    from ... import host

    findings = [
        {"name": item.name, "ok": item.ok, "required": item.required, "detail": item.detail, "fix": item.fix}
        for item in host.check()
    ]
    return {
        "changed": False,
        "version": VERSION,
        "folder": request.folder,
        "root": engine.settings.root,
        "run_root": engine.settings.run_root,
        "python": sys.executable,
        "checks": findings,
        "ready": all(item["ok"] or not item["required"] for item in findings),
    }
