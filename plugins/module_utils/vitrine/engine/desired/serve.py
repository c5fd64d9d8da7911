# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entry point on the target: one request as JSON on standard input, one answer on standard output.

Both ways of Ansible to a target end here. The answer is one line, begun by MARK, whatever else a login shell or a
program may have written. It is complete: a failure is an answer too.

Request: {"module": name, "params": {option: value}, "check": bool, "diff": bool, "folder": where the engine is kept}.
Answer: the module's result as Ansible has it, with "failed" and "msg" when it failed.
"""

from __future__ import annotations

import os
import sys

from ... import late_site, standard
from ... import lightjson as json
from ...errors import HostError, InvalidInput, VitrineError
from ...record import Record
from ...settings import DEFAULT_ROOT, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..core import Engine

MARK = "VITRINE-ANSWER "
NOT_ROOT = "containers need root on the target, and this is user {}"


class Request(Record):
    """One task, as the controller or the module file sends it."""

    module: str
    params: dict[str, Any]
    check: bool = False
    diff: bool = False
    folder: str = ""

    @classmethod
    def read(cls, data: bytes) -> Request:
        """Raises InvalidInput for what is no request of this version."""
        try:
            fields = json.loads(data)
            flags = (bool(fields["check"]), bool(fields["diff"]))
            return cls(fields["module"], dict(fields["params"]), *flags, str(fields["folder"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput(f"the request cannot be understood: {error!r}", value=data[:200]) from None

    def failure(self, error: VitrineError) -> dict[str, Any]:
        """The answer to a request that failed. error_kind is the error's class, for programs."""
        answer = {"failed": True, "changed": False, "msg": str(error), "error_kind": error.kind}
        for name in ("output", "line", "exit_status", "stage"):
            if getattr(error, name, None) not in (None, ""):
                answer[name] = getattr(error, name)
        return answer


def _handler(module: str) -> Callable[[Engine, Request], dict[str, Any]]:
    if module == "container":
        from .execute import container

        return container
    if module == "container_image":
        from .images import image

        return image
    if module == "container_commit":
        from .commit import commit

        return commit
    from . import info

    handlers = {
        "container_info": info.container,
        "container_image_info": info.image,
        "engine_info": info.engine,
    }
    if module not in handlers:
        raise InvalidInput(f"there is no module {module!r}", value=module)
    return handlers[module]


def answer(request: Request) -> dict[str, Any]:
    """Carry out one request. Every VitrineError becomes a failure; anything else is a fault of ours and passes."""
    try:
        if os.geteuid() != 0:
            raise HostError(NOT_ROOT.format(os.geteuid()), hint="set become: true", value=os.geteuid())
        from .normalise import expand

        root = expand(request.params.get("engine_root") or DEFAULT_ROOT)
        if request.check and not os.path.exists(f"{root}/vitrine.db"):
            return _answer_without_root(request)
        engine = _engine(root)
        result = _handler(request.module)(engine, request)
        if engine.warnings:
            result["warnings"] = [*result.get("warnings", ()), *engine.warnings]
        return result
    except VitrineError as error:
        return request.failure(error)


def _engine(root: str) -> Engine:
    from ..core import Engine

    return Engine(Settings.load(root))


def _answer_without_root(request: Request) -> dict[str, Any]:
    """Check mode where there is no engine root yet: ask an empty one, which is gone afterwards."""
    import shutil
    import tempfile

    root = tempfile.mkdtemp(prefix="vitrine-check-")
    try:
        return _handler(request.module)(_engine(root), request)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _fault(request: Request) -> dict[str, Any]:
    import traceback

    text = traceback.format_exc()
    last = text.strip().splitlines()[-1]
    return {
        "failed": True,
        "changed": False,
        "msg": f"the engine met a fault of its own in {request.module}: {last}",
        "exception": text,
    }


def main() -> None:
    """Serve one request. Standard input and output are given up, so that no container's process holds them."""
    standard.ensure()
    late_site.install()
    data = sys.stdin.buffer.read()
    out = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    try:
        request = Request.read(data)
        try:
            result = answer(request)
        except Exception:  # the last resort: an answer even then
            result = _fault(request)
    except VitrineError as error:
        result = {"failed": True, "changed": False, "msg": str(error), "error_kind": error.kind}
    line = f"\n{MARK}{json.dumps(result, default=str)}\n".encode()
    while line:
        line = line[os.write(out, line) :]
    os.close(out)
