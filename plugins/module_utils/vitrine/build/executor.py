# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build an image from a Dockerfile: which stages, in which order, from the cache or anew.

Metadata stays in memory; each step that changes files becomes an image in the store at once, under the step's key, so
that a build that fails later begins there the next time. A build whose every step is known touches nothing and gives
the image that it gave before, with the same id.
"""

from __future__ import annotations

import os

from .. import clock
from ..errors import BuildFailed, DockerfileError, InvalidInput, StartFailed
from ..oci import platform as platforms
from ..oci.config import ImageConfig
from ..record import Record
from . import cache, dockerfile, files, ignore, words
from .stage import METADATA, PATH, PROXY_ARGUMENTS, State, bad
from .tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any, Protocol

    from .dockerfile import Dockerfile, Instruction, Stage

    class Operations(Protocol):
        """What a build needs of an engine. Image ids are "sha256:...", layers are named by their diff id."""

        def resolve(self, reference: str, *, pull: bool, platform: str | None) -> str:
            """The id of an image by its name or id; pulled if it is not here, or if pull is set."""

        def find(self, reference: str) -> str | None:
            """The id of an image that is here already, else None."""

        def config(self, image_id: str) -> ImageConfig:
            """An image's configuration."""

        def add(self, config: ImageConfig, parent: str) -> str:
            """Record an image whose layers are all here, and return its id. parent: an image id, or ""."""

        def run(
            self,
            image_id: str,
            argv: list[str],
            *,
            env: list[str],
            user: str,
            cwd: str,
            output: Callable[[bytes], object],
        ) -> tuple[int, str | None]:
            """Run argv in a new container; returns (exit status, the diff id of what it changed; None: nothing).

            The layer is made only if the status is 0; the container is gone in any case.
            """

        def change(self, image_id: str, write: Callable[[int], None]) -> str | None:
            """Call write with a descriptor of the image's writable tree; returns the diff id, None: nothing changed."""

        def view(self, image_id: str) -> AbstractContextManager[int]:
            """A descriptor of the image's tree, for reading."""

        def cached(self, key: str) -> str | None:
            """The id of the image that a step with this key made, if it is still here."""

        def remember(self, key: str, image_id: str) -> None:
            """Keep what a step made."""


class Request(Record):
    """One build. content: the Dockerfile's text; dockerfile: what to call it in messages.

    arguments: build arguments (None: not set). target: a stage's name or number, None: the last. platform: of base
    images, None: the host's. output: gets what docker's classic builder prints, as bytes.
    """

    context_dir: str
    content: bytes
    dockerfile: str = "Dockerfile"
    arguments: dict[str, str] = {}  # noqa: RUF012
    labels: dict[str, str] = {}  # noqa: RUF012
    target: str | None = None
    no_cache: bool = False
    pull: bool = False
    platform: str | None = None


class _NotKnown(Exception):
    """A prediction came to a step that would have to be carried out."""


def build(operations: Operations, request: Request, output: Callable[[bytes], object] | None = None) -> str:
    """Build and return the image's id.

    Raises DockerfileError for a Dockerfile that means nothing, BuildFailed for a step that failed (its line, exit
    status and last output), ImageNotFound and RegistryError for base images, InvalidInput, DiskFull.
    """
    return _Build(operations, request, output or (lambda _data: None), dry=False).run()


def predict(operations: Operations, request: Request) -> str | None:
    """The id of the image that build would return without doing anything; None if it would have to do something."""
    try:
        return _Build(operations, request.replace(pull=False), lambda _data: None, dry=True).run()
    except _NotKnown:
        return None


def read_file(context_dir: str, path: str | None) -> tuple[bytes, str]:
    """(content, path) of a build's Dockerfile. Raises InvalidInput.

    A relative path is below the context and, like all in it, must not lead out by links; an absolute one is the user's.
    """
    full = os.path.join(context_dir, path or "Dockerfile")
    limit = dockerfile.lexer.MAX_BYTES + 1
    with files.open_directory(context_dir) as context_fd:
        try:
            if path and os.path.isabs(path):
                with open(full, "rb") as file:
                    return file.read(limit), full
            return files.read_small(context_fd, path or "Dockerfile", limit), full
        except OSError as error:
            raise InvalidInput(
                f"the Dockerfile {full!r} cannot be read: {error.strerror}",
                hint="name it, if it is not called Dockerfile",
                value=full,
            ) from None


class _Build:
    """One build on its way through the stages."""

    def __init__(
        self, operations: Operations, request: Request, output: Callable[[bytes], object], *, dry: bool
    ) -> None:
        self.operations = operations
        self.request = request
        self.output = output
        self.dry = dry
        self.file: Dockerfile = dockerfile.parse(request.content)
        self.used_arguments: set[str] = set()
        self.globals = self._global_arguments()
        self.states: dict[int, State] = {}
        self.step = 0
        self.steps = 0

    def say(self, text: str) -> None:
        self.output(text.encode("utf-8", "surrogateescape"))

    def run(self) -> str:
        target = self._target()
        needed = self._needed(target)
        self.steps = sum(1 + len(stage.instructions) for stage in needed)
        with files.open_directory(self.request.context_dir) as context_fd:
            rules = _ignore_rules(context_fd, self.request)
            self.context = Tree(context_fd, rules=rules)
            for stage in needed:
                self.states[stage.index] = self._stage(stage)
        state = self.states[target.index]
        if self.request.labels:
            state.add_labels(self.request.labels, clock.now())
        image_id = self._image(state)
        unused = sorted(set(self.request.arguments) - self.used_arguments - PROXY_ARGUMENTS)
        if unused:
            self.say(f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed\n")
        self.say(f"Successfully built {image_id[7:19]}\n")
        return image_id

    # -- stages ---------------------------------------------------------------------------------------------------

    def _target(self) -> Stage:
        if self.request.target is None:
            return self.file.stages[-1]
        stage = self.file.stage(self.request.target)
        if stage is None:
            names = [stage.name for stage in self.file.stages if stage.name]
            raise InvalidInput(
                f"the Dockerfile has no stage {self.request.target!r}",
                hint=f"its stages are {', '.join(names) or 'without names; use their numbers'}",
                value=self.request.target,
            )
        return stage

    def _needed(self, target: Stage) -> list[Stage]:
        """The stages that the target is made of, in their order."""
        needed = {target.index}
        for stage in reversed(self.file.stages[: target.index + 1]):
            if stage.index not in needed:
                continue
            names = [self._expand_global(stage, stage.base)]
            names += [item.flags["from"] for item in stage.instructions if item.flags.get("from")]
            for name in names:
                if "$" in name:
                    needed.update(range(stage.index))
                other = self._earlier(stage, name)
                if other is not None:
                    needed.add(other.index)
        return [stage for stage in self.file.stages if stage.index in needed]

    def _earlier(self, stage: Stage, name: str) -> Stage | None:
        before = self.file.replace(stages=self.file.stages[: stage.index])
        return before.stage(name)

    def _global_arguments(self) -> dict[str, str]:
        host = platforms.host()
        target = platforms.parse(self.request.platform) if self.request.platform else host
        found = {
            f"{word}{part}": value
            for word, platform in (("BUILD", host), ("TARGET", target))
            for part, value in (
                ("PLATFORM", str(platform)),
                ("OS", platform.os),
                ("ARCH", platform.architecture),
                ("VARIANT", platform.variant),
            )
        }
        for instruction in self.file.global_arguments:
            for name, default in instruction.pairs:
                if name in self.request.arguments:
                    found[name] = self.request.arguments[name]
                    self.used_arguments.add(name)
                elif default is not None:
                    try:
                        found[name] = words.expand(default, found, self.file.escape)
                    except words.BadWord as error:
                        raise bad(instruction, str(error)) from None
        return found

    def _expand_global(self, stage: Stage, text: str) -> str:
        try:
            return words.expand(text, self.globals, self.file.escape)
        except words.BadWord as error:
            raise DockerfileError(f"line {stage.line}: {error}", line=stage.line, value=text) from None

    def _stage(self, stage: Stage) -> State:
        base = self._expand_global(stage, stage.base)
        if not base:
            raise DockerfileError(
                f"line {stage.line}: {stage.base!r} is empty",
                line=stage.line,
                hint="declare the variable with ARG before FROM, and give it a value",
                value=stage.base,
            )
        name = f" AS {stage.name}" if stage.name else ""
        self._announce(f"FROM {base}{name}")
        try:
            state = self._base(stage, base)
        except InvalidInput as error:
            message = f"line {stage.line}: {error.message}"
            raise DockerfileError(message, line=stage.line, hint=error.hint, value=base) from None
        self.say(f" ---> {(state.image_id or 'scratch').replace('sha256:', '')[:12]}\n")
        triggers = state.config.pop("OnBuild", None) or ()
        if triggers:
            self.say(f"# Executing {len(triggers)} build triggers\n")
        for text in triggers:
            self._instruction(state, stage, dockerfile.parse_trigger(text, stage.line))
        for instruction in stage.instructions:
            self._announce(instruction.original)
            self._instruction(state, stage, instruction)
        return state

    def _announce(self, text: str) -> None:
        self.step += 1
        self.say(f"Step {self.step}/{self.steps} : {text}\n")

    def _base(self, stage: Stage, base: str) -> State:
        earlier = self._earlier(stage, base)
        if earlier is not None:
            before = self.states[earlier.index]
            image_id = None if before.image_id is None and not before.changed else self._image(before)
            state = State(before.image, image_id, before.key, self.file.escape)
            state.missed = before.missed
            state.arguments.update(before.arguments)
            return state
        if base == "scratch":
            host = platforms.parse(self.request.platform) if self.request.platform else platforms.host()
            empty = ImageConfig(host.architecture, host.os, {"Env": [f"PATH={PATH}"]}, (), variant=host.variant)
            return State(empty, None, cache.root(str(host)), self.file.escape)
        platform = self._expand_global(stage, stage.platform) or self.request.platform
        image_id = self._resolve(base, platform)
        return State(self.operations.config(image_id), image_id, cache.root(image_id), self.file.escape)

    def _resolve(self, reference: str, platform: str | None) -> str:
        if self.dry:
            found = self.operations.find(reference)
            if found is None:
                raise _NotKnown
            return found
        return self.operations.resolve(reference, pull=self.request.pull, platform=platform)

    # -- instructions -----------------------------------------------------------------------------------------------

    def _instruction(self, state: State, stage: Stage, instruction: Instruction) -> None:
        try:
            if instruction.name in METADATA:
                state.apply(instruction, clock.now())
            elif instruction.name == "ARG":
                self._arg(state, instruction)
            elif instruction.name == "RUN":
                self._run(state, instruction)
            elif instruction.name == "WORKDIR":
                self._workdir(state, instruction)
            else:
                self._copy(state, stage, instruction)
        except InvalidInput as error:
            raise BuildFailed(
                f"line {instruction.line}: {instruction.name} failed: {error.message}",
                line=instruction.line,
                hint=error.hint,
                value=error.value,
            ) from None
        except StartFailed as error:
            raise BuildFailed(
                f"line {instruction.line}: {instruction.name} failed: {error.message}",
                line=instruction.line,
                exit_status=error.exit_code,
                hint=error.hint,
                value=error.value,
            ) from None
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            raise BuildFailed(
                f"line {instruction.line}: {instruction.name} failed: {error.strerror or error}{where}",
                line=instruction.line,
                value=error.filename,
            ) from None

    def _arg(self, state: State, instruction: Instruction) -> None:
        shown = []
        for name, default in instruction.pairs:
            value = state.expander(instruction)(default) if default is not None else self.globals.get(name)
            if name in self.request.arguments:
                value = self.request.arguments[name]
                self.used_arguments.add(name)
            if value is not None:
                state.arguments[name] = value
            shown.append(name if default is None else f"{name}={default}")
        # The value counts where it is used, not here.
        state.key = cache.step(state.key, "ARG", shown)
        state.record(clock.now(), state.nop(f" ARG {' '.join(shown)}"), None)

    def _run(self, state: State, instruction: Instruction) -> None:
        argv = state.command(instruction)
        scope = state.run_arguments()
        shown = [f"{name}={value}" for name, value in scope.items() if name not in PROXY_ARGUMENTS]
        key = cache.step(state.key, "RUN", [*argv, "", *shown])
        if self._from_cache(state, key):
            return
        environment = {"PATH": PATH, **self._proxies(), **scope, **state.environment}
        collected = _Tail(self.output)
        status, diff_id = self.operations.run(
            self._image(state),
            argv,
            env=[f"{name}={value}" for name, value in environment.items()],
            user=state.config.get("User") or "",
            cwd=state.config.get("WorkingDir") or "/",
            output=collected,
        )
        if status != 0:
            command = " ".join(argv)
            raise BuildFailed(
                f"line {instruction.line}: the command {command[:200]!r} ended with exit status {status}",
                line=instruction.line,
                exit_status=status,
                output=collected.text(),
                hint="what it wrote is above; the steps before it are kept, and the next build begins here",
                value=command,
            )
        prefix = [f"|{len(shown)}", *shown] if shown else []
        self._commit(state, key, " ".join([*prefix, *argv]), diff_id)

    def _proxies(self) -> dict[str, str]:
        return {name: value for name, value in self.request.arguments.items() if name in PROXY_ARGUMENTS}

    def _workdir(self, state: State, instruction: Instruction) -> None:
        path = state.expander(instruction)(instruction.arguments[0])
        if not path:
            raise bad(instruction, "WORKDIR is empty", "write WORKDIR /PATH")
        path = state.working_dir(path)
        state.config["WorkingDir"] = path
        key = cache.step(state.key, "WORKDIR", [path])
        if self._from_cache(state, key):
            return
        diff_id = self.operations.change(self._image(state), lambda root_fd: files.make_directory(root_fd, path))
        self._commit(state, key, state.nop(f"WORKDIR {path}"), diff_id)

    def _copy(self, state: State, stage: Stage, instruction: Instruction) -> None:
        job = files.plan(state, instruction)
        if not job.origin:
            self._copy_from(self.context, state, instruction, job)
            return
        other = self._earlier(stage, job.origin)
        if other is not None and other.index in self.states:
            image_id = self._image(self.states[other.index])
        elif other is not None or job.origin.isdigit() or job.origin == stage.name:
            raise bad(instruction, f"there is no earlier stage {job.origin!r}", "name one above", job.origin)
        else:
            image_id = self._resolve(job.origin, self.request.platform)
        with self.operations.view(image_id) as root_fd:
            self._copy_from(Tree(root_fd, context=False), state, instruction, job)

    def _copy_from(self, tree: Tree, state: State, instruction: Instruction, job: files.Job) -> None:
        with files.collect(tree, job) as picked:
            key = cache.step(state.key, instruction.name, [*job.key_parts, *picked.digests])
            if self._from_cache(state, key):
                return
            diff_id = self.operations.change(self._image(state), picked.write)
            created_by = state.nop(f"{instruction.name} {picked.summary} in {job.destination} ")
            self._commit(state, key, created_by, diff_id)

    # -- the cache and the store ----------------------------------------------------------------------------------

    def _from_cache(self, state: State, key: str) -> bool:
        """Go on from the image of a step that is known. After the first unknown one of a stage, none is looked for."""
        found = self._known(state, key)
        if found is None:
            state.missed = True
            return False
        state.load(self.operations.config(found), found)
        state.key = key
        self.say(f" ---> Using cache\n ---> {found[7:19]}\n")
        return True

    def _known(self, state: State, key: str) -> str | None:
        found = None if self.request.no_cache or state.missed else self.operations.cached(key)
        if found is None and self.dry:
            raise _NotKnown
        return found

    def _commit(self, state: State, key: str, created_by: str, diff_id: str | None) -> None:
        created = clock.now()
        state.record(created, created_by, diff_id)
        state.key = key
        self.say(f" ---> {self._add(state, key, created)[7:19]}\n")

    def _add(self, state: State, key: str, created: str) -> str:
        image_id = self.operations.add(state.to_image(created), state.image_id or "")
        state.load(self.operations.config(image_id), image_id)
        self.operations.remember(key, image_id)
        return image_id

    def _image(self, state: State) -> str:
        """The id of an image in the store that is what the stage is by now; the same one if all of it was known."""
        if state.image_id is not None and not state.changed:
            return state.image_id
        key = cache.final(state.key)
        found = self._known(state, key)
        if found is None:
            return self._add(state, key, clock.now())
        state.load(self.operations.config(found), found)
        return found


class _Tail:
    """Passes output on and keeps its end, for the error message."""

    KEPT = 4096

    def __init__(self, output: Callable[[bytes], object]) -> None:
        self.output = output
        self.kept = b""

    def __call__(self, data: bytes) -> None:
        self.output(data)
        self.kept = (self.kept + bytes(data))[-self.KEPT :]

    def text(self) -> str:
        return self.kept.decode("utf-8", "replace")


def _ignore_rules(context_fd: int, request: Request) -> Any:
    """The rules of <Dockerfile>.dockerignore, else of the context's .dockerignore."""
    data = None
    if os.path.isabs(request.dockerfile):
        try:
            with open(request.dockerfile + ".dockerignore", "rb") as file:
                data = file.read(files.IGNORE_MAX)
        except OSError:
            pass
    if data is None:
        try:
            data = files.read_small(context_fd, ".dockerignore", files.IGNORE_MAX)
        except FileNotFoundError:
            pass
    return ignore.parse(data.decode("utf-8", "surrogateescape")) if data else None
