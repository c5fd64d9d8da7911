# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a commit task wants: what the container changed is an image of that name."""

from __future__ import annotations

from ...errors import InvalidInput, VitrineError
from .execute import familiar, local_image
from .images import finish, full_name, push
from .normalise import credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..core import Engine
    from .serve import Request


class CommitTask:
    """One task, as it goes; the fields that images.push and images.finish need."""

    def __init__(self, engine: Engine, request: Request) -> None:
        self.engine = engine
        self.check = request.check
        self.params = request.params
        self.credentials = credentials(request.params)
        self.name, by_id = full_name(request.params["repository"], request.params["tag"])
        if by_id or "@" in self.name:
            raise InvalidInput(
                f"cannot commit to {request.params['repository']!r}", hint="give a name, not an id or a digest"
            )
        self.before = local_image(engine, self.name)
        self.result: dict[str, Any] = {"changed": False, "actions": []}

    def say(self, action: str) -> None:
        """One more thing done; in check mode, that would be done."""
        self.result["changed"] = True
        self.result["actions"].append(action)

    def run(self) -> None:
        """Commit, unless the name holds the content already; push."""
        params = self.params
        done = self.engine.containers.commit(
            params["container"],
            self.name,
            author=params["author"] or "",
            message=params["message"] or "",
            changes=params["changes"] or (),
            pause=params["pause"],
            dry_run=self.check,
        )
        if done["changed"]:
            self.say(f"Committed container {params['container']} to {familiar(self.name)}")
        if params["push"]:
            if self.check and done["changed"]:
                self.say(f"Pushed image {familiar(self.name)}")
            else:
                push(self, self.name)


def commit(engine: Engine, request: Request) -> dict[str, Any]:
    """Answer a request of the module container_commit."""
    task = CommitTask(engine, request)
    try:
        task.run()
    except VitrineError as error:
        done = task.result["changed"] and not request.check
        return {**request.failure(error), **task.result, "changed": done}
    return finish(task, request)
