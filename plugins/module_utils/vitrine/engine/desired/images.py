# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image task wants: the image is here, under these names, in that archive, at that registry - or is not here.

Each step looks first and acts only if something is missing; check mode stops before the acting. A source that was
asked again (build, pull) is a change exactly when the image's id became another.
"""

from __future__ import annotations

import os

from ...errors import ImageNotFound, InvalidInput
from .execute import canonical, familiar, local_image
from .normalise import credentials, expand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..core import Engine
    from .serve import Request


class ImageTask:
    """One task, as it goes: what was done so far is in result, honest at every moment, also when a step fails."""

    def __init__(self, engine: Engine, request: Request) -> None:
        self.engine = engine
        self.check = request.check
        self.params = request.params
        self.credentials = credentials(request.params)
        self.name, self.by_id = full_name(request.params["name"], request.params["tag"])
        self.before = local_image(engine, self.name)
        self.result: dict[str, Any] = {"changed": False, "actions": []}

    def say(self, action: str) -> None:
        """One more thing done; in check mode, that would be done."""
        self.result["changed"] = True
        self.result["actions"].append(action)

    @property
    def shown(self) -> str:
        """The name as people write it."""
        return self.name if self.by_id else familiar(self.name)

    # -- absent -----------------------------------------------------------------------------------------------------

    def absent(self) -> None:
        """Take the name away, and the image with its last name."""
        if self.before is None:
            return
        if not self.check:
            self.engine.images.remove(self.name, force=self.params["force_absent"])
        self.say(f"Removed image {self.shown}")

    # -- present ----------------------------------------------------------------------------------------------------

    def present(self) -> None:
        """Get it, name it, archive it, push it."""
        source = self.params["source"] or "pull"
        if self.by_id and source in ("build", "pull", "bootstrap") and self.before is None:
            raise InvalidInput(f"Image name must not be an image ID for source={source}; got: {self.name}")
        if self.before is None or self.params["force_source"] or source == "build":
            getattr(self, f"_{source}")()
        if local_image(self.engine, self.name) is None:
            return  # check mode: what comes after depends on an image that is yet to come
        self._archive()
        self._push(self._repository())

    def _came(self, action: str) -> None:
        """A source delivered: it is a change if the name now means another image."""
        after = local_image(self.engine, self.name)
        if after is None:
            raise ImageNotFound(f"the image {self.shown} is not in what came", value=self.name)
        if self.before is None or self.before.id != after.id:
            self.say(action)

    def _pull(self) -> None:
        action = f"Pulled image {self.shown}"
        if self.check:
            if self.before is None:
                self.say(action)
            return
        platform = (self.params["pull"] or {}).get("platform")
        self.engine.images.pull(self.name, platform=platform, credentials=self.credentials)
        self._came(action)

    def _local(self) -> None:
        if self.before is None:
            raise ImageNotFound(
                f"Cannot find the image {self.shown} locally.", hint="give another source", value=self.name
            )

    def _load(self) -> None:
        path = expand(self.params["load_path"])
        action = f"Loaded image {self.shown} from {path}"
        if not os.path.isfile(path):
            raise InvalidInput(
                f"Error loading image {self.shown} - no such file: {path}", hint="load_path is a path on the target"
            )
        if self.check:
            self.say(action)
            return
        with open(path, "rb") as file:
            names = self.engine.images.load(file)
        if local_image(self.engine, self.name) is None:
            raise ImageNotFound(
                f"The archive did not contain image '{self.shown}'. Instead, found: {', '.join(names) or 'none'}.",
                value=path,
            )
        self._came(action)

    def _bootstrap(self) -> None:
        action = f"Bootstrapped image {self.shown}"
        if self.check:
            self.say(action)
            return
        wanted = {key: value for key, value in (self.params["bootstrap"] or {}).items() if value is not None}
        self.engine.images.bootstrap(self.name, **wanted)
        self._came(action)

    def _build(self) -> None:
        action = f"Built image {self.shown} from {self.params['build']['path']}"
        wanted = self.params["build"]
        output = bytearray()
        options = {
            "dockerfile": wanted["dockerfile"],
            "tags": (self.name,),
            "args": {key: str(value) for key, value in (wanted["args"] or {}).items()},
            "labels": {key: str(value) for key, value in (wanted["labels"] or {}).items()},
            "target": wanted["target"],
            "nocache": wanted["nocache"],
            "pull": wanted["pull"],
        }
        context = expand(wanted["path"])
        if self.check and not os.path.exists(context):
            self.say(action)  # a task before this one would have made it
            return
        if not os.path.isdir(context):
            raise InvalidInput(f"the build context {context!r} is not a folder", hint="build.path is on the target")
        if self.check:
            # what the cache already holds; None: at least one instruction would have to run
            if self.engine.builds.cached(context, **options) != (self.before.id if self.before else ""):
                self.say(action)
            return
        try:
            self.engine.builds.build(context, **options, output=output.extend)
        finally:
            self.result["output"] = output.decode("utf-8", "replace")
        self._came(action)

    # -- names and copies ---------------------------------------------------------------------------------------------

    def _repository(self) -> str:
        """Give the image its second name; returns the name to push."""
        if not self.params["repository"]:
            return self.name
        target, by_id = full_name(self.params["repository"], self.params["tag"])
        if by_id:
            raise InvalidInput(f"`repository` must not be an image ID; got: {target}", value=target)
        image = self.engine.images.find(self.name)
        there = local_image(self.engine, target)
        if there is not None and there.id == image.id:
            return target
        if there is not None and not self.params["force_tag"]:
            raise InvalidInput(
                f"the name {familiar(target)} is another image's ({there.id[7:19]})",
                hint="set force_tag to move the name",
                value=target,
            )
        if not self.check:
            self.engine.images.tag(self.name, target)
        self.say(f"Tagged image {self.shown} to {familiar(target)}")
        return target

    def _archive(self) -> None:
        if not self.params["archive_path"]:
            return
        path = expand(self.params["archive_path"])
        image = self.engine.images.find(self.name)
        reason = archive_reason(path, image.id, self.shown)
        if not reason:
            return
        if not self.check:
            write_archive(self.engine, self.name, path)
        self.say(f"Archived image {self.shown} to {path}{reason}")

    def _push(self, name: str) -> None:
        if not self.params["push"]:
            return
        push(self, name)


def push(task: Any, name: str) -> None:
    """Push, and say so if the registry had not exactly this image under that name. task: an ImageTask or alike."""
    action = f"Pushed image {familiar(name)}"
    if not task.check:
        if task.engine.images.push(name, credentials=task.credentials)["changed"]:
            task.say(action)
    elif local_image(task.engine, name) is None or not _is_pushed(task.engine, name, task.credentials):
        task.say(action)


def _is_pushed(engine: Engine, name: str, login: tuple[str, str] | None) -> bool:
    """Whether the registry has, under that name, the manifest that a push would send."""
    from ...oci import digest, reference
    from ..archives import image_manifest
    from ..transfers import client

    manifest = image_manifest(engine, engine.images.find(name), "")[0]
    with client(engine, login) as registry:
        try:
            return bool(registry.resolve(reference.parse(name), None) == digest.of(manifest))
        except ImageNotFound:
            return False


def full_name(name: str, tag: str) -> tuple[str, bool]:
    """(canonical reference, False) of a name and the tag that holds when the name has none; (id, True) of an id."""
    text, by_id = canonical(name)
    if by_id:
        return text, True
    last = name.rpartition("/")[2]
    if ":" in last or "@" in last:
        return text, False
    return canonical(f"{name}:{tag}")


def archive_reason(path: str, image_id: str, name: str) -> str:
    """Why an archive must be written, as docker's module words it; "" when it holds that image and name already."""
    import tarfile

    from ... import lightjson as json

    if not os.path.exists(path):
        return ", since none present"
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile("manifest.json")
            entries = json.loads(member.read(4 << 20)) if member is not None else []
        entry = entries[0]
        digits = os.path.splitext(os.path.basename(entry["Config"]))[0]
        names = entry.get("RepoTags") or []
    except (OSError, KeyError, IndexError, TypeError, ValueError, tarfile.TarError):
        return ", overwriting an unreadable archive file"
    if digits == image_id.partition(":")[2] and names == [name] and len(entries) == 1:
        return ""
    return f", overwriting archive with image {digits[:12]} named {', '.join(names)}"


def write_archive(engine: Engine, name: str, path: str) -> None:
    """Write the archive beside its place, then give it its name."""
    temporary = f"{path}.vitrine-{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            engine.images.save([name], file)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def image(engine: Engine, request: Request) -> dict[str, Any]:
    """Answer a request of the module container_image."""
    from ...errors import VitrineError

    task = ImageTask(engine, request)
    try:
        if request.params["state"] == "absent":
            task.absent()
        else:
            task.present()
    except VitrineError as error:
        done = task.result["changed"] and not request.check
        return {**request.failure(error), **task.result, "changed": done}
    return finish(task, request)


def finish(task: Any, request: Request) -> dict[str, Any]:
    """The result with the image and the diff. task: an ImageTask or alike, with name and before."""
    result: dict[str, Any] = task.result
    after = local_image(task.engine, task.name)
    if request.params.get("state") != "absent" and after is not None:
        result["image"] = task.engine.images.inspect(task.name)
    if request.diff:
        then = {"exists": task.before is not None, "id": task.before.id if task.before else None}
        now = dict(then)
        if request.params.get("state") == "absent":
            now = {"exists": False, "id": None}
        elif request.check:
            if result["changed"] and task.before is None:
                now = {"exists": True, "id": "unknown"}
        elif after is not None:
            now = {"exists": True, "id": after.id}
        result["diff"] = {
            "before": {**then, "actions": []},
            "after": {**now, "actions": list(result["actions"])},
        }
    return result
