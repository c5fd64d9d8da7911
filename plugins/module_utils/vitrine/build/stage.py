# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of one stage while it is built, and the instructions that change metadata only.

Pure: nothing is read or run. ``history`` texts are those of docker's classic builder.
"""

from __future__ import annotations

import copy
import json
import posixpath
import re
import signal as numbers

from ..errors import DockerfileError
from ..oci.config import ImageConfig
from . import cache, words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .dockerfile import Instruction

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHELL = ("/bin/sh", "-c")
#: Arguments that need no ARG, and that neither cache keys nor history may depend on or tell.
PROXY_ARGUMENTS = frozenset(
    name for word in ("http", "https", "ftp", "no", "all") for name in (f"{word}_proxy", f"{word.upper()}_PROXY")
)
_STALE_KEYS = ("container", "container_config", "docker_version", "parent", "id")
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_SIGNAL = re.compile(r"(?:SIG)?(?:[A-Z][A-Z0-9]*|RTM(?:IN|AX)[+-]\d{1,2})|\d{1,2}", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


class State:
    """What a stage has become so far.

    key: of the build cache. image_id: of the last image in the store, or None; changed: there were steps since.
    missed: a step was not in the cache, so that nothing after it is taken from there.
    """

    def __init__(self, image: ImageConfig, image_id: str | None, key: str, escape: str) -> None:
        self.key = key
        self.escape = escape
        self.arguments: dict[str, str] = {}
        self.command_set = False
        self.missed = False
        self.load(image, image_id)

    def load(self, image: ImageConfig, image_id: str | None) -> None:
        """Go on from an image: the base, or what a cached step made."""
        self.image_id = image_id
        self.config: dict[str, Any] = copy.deepcopy(image.config)
        self.history = list(image.history)
        self.diff_ids = list(image.diff_ids)
        self.author = image.author
        self.image = image
        self.changed = False

    def to_image(self, created: str) -> ImageConfig:
        """The image as it would be if the build ended here."""
        extra = {key: value for key, value in self.image.extra.items() if key not in _STALE_KEYS}
        return self.image.replace(
            config=copy.deepcopy(self.config),
            history=tuple(self.history),
            diff_ids=tuple(self.diff_ids),
            author=self.author,
            created=created,
            extra=extra,
        )

    # -- variables --------------------------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        """The image's ENV."""
        return dict(item.partition("=")[::2] for item in self.config.get("Env") or ())

    def variables(self) -> dict[str, str]:
        """What an instruction can refer to: ENV wins over ARG."""
        return {**self.arguments, **self.environment}

    def expander(self, instruction: Instruction) -> Callable[[str], str]:
        """A function that replaces variables in the instruction's texts. Raises DockerfileError."""
        variables = self.variables()

        def expand(text: str) -> str:
            try:
                return words.expand(text, variables, self.escape)
            except words.BadWord as error:
                raise bad(instruction, str(error)) from None

        return expand

    def expand_words(self, instruction: Instruction, text: str) -> list[str]:
        """The same for instructions whose variables may hold several words."""
        try:
            return words.expand_words(text, self.variables(), self.escape)
        except words.BadWord as error:
            raise bad(instruction, str(error)) from None

    @property
    def shell(self) -> list[str]:
        """What runs the shell form."""
        return list(self.config.get("Shell") or SHELL)

    def command(self, instruction: Instruction) -> list[str]:
        """The argv of RUN, CMD or ENTRYPOINT."""
        return list(instruction.arguments) if instruction.json else [*self.shell, instruction.arguments[0]]

    def run_arguments(self) -> dict[str, str]:
        """The build arguments that a RUN sees: those in scope that no ENV hides."""
        environment = self.environment
        return {name: value for name, value in sorted(self.arguments.items()) if name not in environment}

    def working_dir(self, path: str) -> str:
        """An absolute path from one that may be relative to WORKDIR."""
        return posixpath.normpath(posixpath.join("/", self.config.get("WorkingDir") or "/", path)).replace("//", "/")

    # -- steps ------------------------------------------------------------------------------------------------------

    def nop(self, text: str) -> str:
        """The history text of an instruction that runs nothing."""
        return " ".join([*self.shell, f"#(nop) {text}"])

    def record(self, created: str, created_by: str, diff_id: str | None) -> None:
        """Add a history entry, and the layer if there is one."""
        entry: dict[str, Any] = {"created": created, "created_by": created_by}
        if self.author:
            entry["author"] = self.author
        if diff_id is None:
            entry["empty_layer"] = True
        else:
            self.diff_ids.append(diff_id)
        self.history.append(entry)
        self.changed = True

    def apply(self, instruction: Instruction, created: str) -> None:
        """Carry out an instruction that changes metadata only. Raises DockerfileError."""
        text, key = METADATA[instruction.name](self, instruction)
        self.key = cache.step(self.key, instruction.name, key if key is not None else (text,))
        self.record(created, self.nop(f" {text}"), None)

    def add_labels(self, labels: Mapping[str, str], created: str) -> None:
        """Labels that were given beside the Dockerfile: taken as they are."""
        self.config["Labels"] = {**(self.config.get("Labels") or {}), **labels}
        text = "LABEL " + " ".join(f"{name}={value}" for name, value in sorted(labels.items()))
        self.key = cache.step(self.key, "LABEL", (json.dumps(sorted(labels.items())),))
        self.record(created, self.nop(f" {text}"), None)


def bad(instruction: Instruction, message: str, hint: str = "", value: object = None) -> DockerfileError:
    """An error of the instruction, told with its line."""
    return DockerfileError(f"line {instruction.line}: {message}", line=instruction.line, hint=hint, value=value)


def _list(items: list[str]) -> str:
    return json.dumps(items, ensure_ascii=False, separators=(" ", ":")) if items else "[]"


# Each returns (history text, what the cache key is made of; None: the history text).
_Applied = tuple  # tuple[str, Optional[tuple[str, ...]]]


def _env(state: State, instruction: Instruction) -> _Applied:
    expand = state.expander(instruction)
    pairs = [(expand(name), expand(value or "")) for name, value in instruction.pairs]
    for name, _value in pairs:
        if not name or "=" in name:
            raise bad(instruction, f"{name!r} is no variable's name", "write ENV NAME=VALUE", name)
    items = list(state.config.get("Env") or ())
    for name, value in pairs:
        if "\0" in value:
            raise bad(instruction, f"the value of {name} holds a NUL character", "leave it out")
        for position, item in enumerate(items):
            if item.partition("=")[0] == name:
                items[position] = f"{name}={value}"
                break
        else:
            items.append(f"{name}={value}")
    state.config["Env"] = items
    return "ENV " + " ".join(f"{name}={value}" for name, value in pairs), tuple(part for pair in pairs for part in pair)


def _label(state: State, instruction: Instruction) -> _Applied:
    expand = state.expander(instruction)
    pairs = [(expand(name), expand(value or "")) for name, value in instruction.pairs]
    state.config["Labels"] = {**(state.config.get("Labels") or {}), **dict(pairs)}
    text = "LABEL " + " ".join(f"{name}={value}" for name, value in pairs)
    return text, tuple(part for pair in pairs for part in pair)


def _maintainer(state: State, instruction: Instruction) -> _Applied:
    state.author = instruction.arguments[0]
    return f"MAINTAINER {state.author}", None


def _cmd(state: State, instruction: Instruction) -> _Applied:
    argv = state.command(instruction)
    state.config["Cmd"] = argv
    state.command_set = True
    return f"CMD {_list(argv)}", tuple(argv)


def _entrypoint(state: State, instruction: Instruction) -> _Applied:
    argv = state.command(instruction)
    state.config["Entrypoint"] = argv
    if not state.command_set:
        state.config.pop("Cmd", None)  # the base's: it was meant for another program
    return f"ENTRYPOINT {_list(argv)}", tuple(argv)


def _user(state: State, instruction: Instruction) -> _Applied:
    user = state.expander(instruction)(instruction.arguments[0])
    if not user or user != user.strip() or any(ord(character) < 32 for character in user):
        raise bad(instruction, f"{user!r} is no user", "write USER NAME[:GROUP]", user)
    state.config["User"] = user
    return f"USER {user}", None


def _expose(state: State, instruction: Instruction) -> _Applied:
    found = []
    for argument in instruction.arguments:
        for port in state.expand_words(instruction, argument):
            match = _PORT.fullmatch(port)
            first = int(match.group(1)) if match else 0
            last = int(match.group(2) or first) if match else 0
            if match is None or not 0 < first <= last <= 65535:
                raise bad(instruction, f"{port!r} is no port", "write EXPOSE 80, 53/udp or 8000-8010/tcp", port)
            protocol = (match.group(3) or "tcp").lower()
            found += [f"{number}/{protocol}" for number in range(first, last + 1)]
    state.config["ExposedPorts"] = {**(state.config.get("ExposedPorts") or {}), **{port: {} for port in found}}
    return "EXPOSE " + " ".join(found), None


def _volume(state: State, instruction: Instruction) -> _Applied:
    expand = state.expander(instruction)
    paths = []
    for argument in instruction.arguments:
        paths += [expand(argument)] if instruction.json else state.expand_words(instruction, argument)
    if not paths or not all(paths):
        raise bad(instruction, "VOLUME needs a path that is not empty", "write VOLUME /PATH")
    state.config["Volumes"] = {**(state.config.get("Volumes") or {}), **{path: {} for path in paths}}
    return f"VOLUME {_list(paths)}", tuple(paths)


def _shell(state: State, instruction: Instruction) -> _Applied:
    state.config["Shell"] = list(instruction.arguments)
    return f"SHELL {_list(list(instruction.arguments))}", instruction.arguments


def _stopsignal(state: State, instruction: Instruction) -> _Applied:
    signal = state.expander(instruction)(instruction.arguments[0])
    word = signal.upper()
    name = re.sub(r"[+-]\d+$", "", word if word.startswith("SIG") else f"SIG{word}")
    if not _SIGNAL.fullmatch(signal) or not (signal.isdigit() or hasattr(numbers, name)):
        raise bad(instruction, f"{signal!r} is no signal", "write STOPSIGNAL SIGTERM, or a number", signal)
    state.config["StopSignal"] = signal
    return f"STOPSIGNAL {signal}", None


def _healthcheck(state: State, instruction: Instruction) -> _Applied:
    check: dict[str, Any] = {"Test": list(instruction.arguments)}
    for flag, field in (
        ("interval", "Interval"),
        ("timeout", "Timeout"),
        ("start-period", "StartPeriod"),
        ("start-interval", "StartInterval"),
    ):
        if flag in instruction.flags:
            check[field] = _nanoseconds(instruction, flag)
    retries = instruction.flags.get("retries")
    if retries is not None:
        if not (retries.isascii() and retries.isdigit()):
            raise bad(instruction, f"--retries={retries} is no number", "write --retries=3", retries)
        check["Retries"] = int(retries)
    state.config["Healthcheck"] = check
    text = json.dumps(check, sort_keys=True)
    return f"HEALTHCHECK {text}", None


def _nanoseconds(instruction: Instruction, flag: str) -> int:
    text = instruction.flags[flag]
    position = 0
    total = 0.0
    while position < len(text):
        match = _DURATION.match(text, position)
        if match is None:
            position = -1
            break
        total += float(match.group(1)) * _UNITS[match.group(2)]
        position = match.end()
    if position <= 0 or 0 < total < 10**6:
        raise bad(instruction, f"--{flag}={text} is no time", f"write --{flag}=1m30s; at least 1ms", text)
    return int(total)


def _onbuild(state: State, instruction: Instruction) -> _Applied:
    state.config["OnBuild"] = [*(state.config.get("OnBuild") or ()), instruction.arguments[0]]
    return f"ONBUILD {instruction.arguments[0]}", None


METADATA: dict[str, Callable[[State, Instruction], _Applied]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
}
