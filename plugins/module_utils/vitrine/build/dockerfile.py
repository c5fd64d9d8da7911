# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From logical lines to instructions and stages: the syntax of each instruction, checked before anything runs.

Source: the Dockerfile reference. Variables are not replaced here: what they are depends on the base image.
"""

from __future__ import annotations

import json
import re

from ..errors import DockerfileError
from ..record import Record
from . import lexer, words
from .lexer import Heredoc

_FLAGS: dict[str, frozenset[str]] = {
    "FROM": frozenset(("platform",)),
    "COPY": frozenset(("chown", "chmod", "from", "link")),
    "ADD": frozenset(("chown", "chmod", "link", "checksum", "keep-git-dir")),
    "RUN": frozenset(("mount", "network", "security")),
    "HEALTHCHECK": frozenset(("interval", "timeout", "start-period", "start-interval", "retries")),
}
#: Flags of other builders, of which this one has no counterpart; ignoring them would change what is built.
_UNSUPPORTED = frozenset((("RUN", "mount"), ("RUN", "network"), ("RUN", "security"), ("ADD", "checksum")))
_FLAG = re.compile(r"--([a-z-]+)(?:=(.*))?", re.DOTALL)
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_ENV_NAME = re.compile(r"[^\s=]+")


class Instruction(Record):
    """One instruction. name: upper case. line: its first line. text: its arguments as written, without flags.

    original: all of it as written. arguments: the words, or the elements of the JSON form (json is True then), or one
    shell text. pairs: for ENV, LABEL and ARG, (name, value as written; None for an ARG without default). flags: without
    "--".
    """

    name: str
    line: int
    text: str
    original: str = ""
    arguments: tuple[str, ...] = ()
    json: bool = False
    flags: dict[str, str] = {}  # noqa: RUF012  (records are immutable)
    pairs: tuple[tuple[str, str | None], ...] = ()
    heredocs: tuple[Heredoc, ...] = ()


class Stage(Record):
    """One FROM with what follows it. base and platform: as written. name: lower case, or "" if it has none."""

    index: int
    line: int
    base: str
    name: str = ""
    platform: str = ""
    instructions: tuple[Instruction, ...] = ()


class Dockerfile(Record):
    """A whole Dockerfile. global_arguments: the ARGs before the first FROM."""

    stages: tuple[Stage, ...]
    global_arguments: tuple[Instruction, ...] = ()
    escape: str = "\\"

    def stage(self, name: str) -> Stage | None:
        """A stage by its name or number, as --target and COPY --from give it."""
        for stage in reversed(self.stages):
            if stage.name and stage.name == name.lower():
                return stage
        if name.isascii() and name.isdigit() and int(name) < len(self.stages):
            return self.stages[int(name)]
        return None


def parse(data: bytes | str) -> Dockerfile:
    """Read a Dockerfile. Raises DockerfileError with the number of the offending line."""
    source = lexer.read(data)
    global_arguments: list[Instruction] = []
    stages: list[Stage] = []
    body: list[Instruction] = []
    for line in source.lines:
        instruction = parse_instruction(line.text, line.number, source.escape, line.heredocs)
        if instruction.name == "FROM":
            if stages:
                stages[-1] = stages[-1].replace(instructions=tuple(body))
            stages.append(_stage(instruction, len(stages), stages))
            body = []
        elif stages:
            body.append(instruction)
        elif instruction.name == "ARG":
            global_arguments.append(instruction)
        else:
            raise DockerfileError(
                f"line {line.number}: {instruction.name} comes before the first FROM",
                line=line.number,
                hint="begin the Dockerfile with FROM; only ARG may stand before it",
                value=instruction.name,
            )
    if not stages:
        raise DockerfileError(
            "the Dockerfile has no FROM", line=1, hint="name the image to build on: FROM debian:stable"
        )
    stages[-1] = stages[-1].replace(instructions=tuple(body))
    return Dockerfile(tuple(stages), tuple(global_arguments), source.escape)


def parse_instruction(text: str, line: int, escape: str, heredocs: tuple[Heredoc, ...] = ()) -> Instruction:
    """Read one instruction. Raises DockerfileError."""
    word, _blank, rest = _partition(text)
    name = word.upper()
    if name not in _PARSERS:
        import difflib

        near = difflib.get_close_matches(name, _PARSERS, 1)
        raise DockerfileError(
            f"line {line}: unknown instruction {word!r}",
            line=line,
            hint=f"did you mean {near[0]}?" if near else f"known are {', '.join(_PARSERS)}",
            value=word,
        )
    rest, flags = _take_flags(name, rest.strip(), line)
    if not rest:
        raise _bad(line, f"{name} needs at least one argument", f"write {name} {_USAGE.get(name, 'ARGUMENT')}")
    instruction = Instruction(name, line, rest, text, flags=flags, heredocs=heredocs)
    return _PARSERS[name](instruction, escape)


def parse_trigger(text: str, line: int) -> Instruction:
    """Read an instruction that a base image wants run (its ONBUILD); line: that of the FROM. Raises DockerfileError."""
    if not text.strip():
        raise _bad(line, "the base image has an empty ONBUILD", "build on another image")
    instruction = parse_instruction(text.strip(), line, "\\")
    _check_trigger(instruction.name, line)
    return instruction


def _check_trigger(name: str, line: int) -> None:
    if name in ("ONBUILD", "FROM", "MAINTAINER"):
        raise _bad(line, f"ONBUILD {name} is not allowed", "use another instruction", name)


def _bad(line: int, message: str, hint: str = "", value: object = None) -> DockerfileError:
    return DockerfileError(f"line {line}: {message}", line=line, hint=hint, value=value)


def _partition(text: str) -> tuple[str, str, str]:
    parts = text.split(None, 1)
    return (parts[0], " ", parts[1]) if len(parts) == 2 else (parts[0], "", "")


def _take_flags(name: str, rest: str, line: int) -> tuple[str, dict[str, str]]:
    flags: dict[str, str] = {}
    known = _FLAGS.get(name, frozenset())
    while known and rest.startswith("--"):
        word, _blank, rest = _partition(rest)
        rest = rest.strip()
        if word == "--":
            break
        match = _FLAG.fullmatch(word)
        if match is None or match.group(1) not in known:
            hint = f"known are {', '.join('--' + flag for flag in sorted(known))}"
            raise _bad(line, f"unknown flag {word!r} of {name}", hint, word)
        flag, value = match.group(1), match.group(2)
        if (name, flag) in _UNSUPPORTED:
            raise _bad(
                line, f"{name} --{flag} is not supported", "leave it out, or use another instruction for it", word
            )
        if flag in flags:
            raise _bad(line, f"--{flag} is given twice", "give it once", word)
        if value is None and flag not in ("link", "keep-git-dir"):
            raise _bad(line, f"--{flag} needs a value", f"write --{flag}=VALUE", word)
        flags[flag] = value or ""
    return rest, flags


# -- stages ----------------------------------------------------------------------------------------------------------


def _stage(instruction: Instruction, index: int, before: list[Stage]) -> Stage:
    name = instruction.arguments[2].lower() if len(instruction.arguments) == 3 else ""
    if name and any(stage.name == name for stage in before):
        raise _bad(instruction.line, f"two stages have the name {name!r}", "give each stage its own name", name)
    base, platform = instruction.arguments[0], instruction.flags.get("platform", "")
    return Stage(index, instruction.line, base, name, platform)


def _from(instruction: Instruction, _escape: str) -> Instruction:
    parts = tuple(instruction.text.split())
    if len(parts) not in (1, 3) or (len(parts) == 3 and parts[1].upper() != "AS"):
        raise _bad(instruction.line, "FROM takes an image, and AS with a name", "write FROM IMAGE [AS NAME]")
    if len(parts) == 3 and not _STAGE_NAME.fullmatch(parts[2].lower()):
        raise _bad(instruction.line, f"{parts[2]!r} is no stage's name", "use letters, digits, '_', '.', '-'", parts[2])
    return instruction.replace(arguments=parts)


# -- arguments -------------------------------------------------------------------------------------------------------


def _json_list(text: str) -> tuple[str, ...] | None:
    """The elements of a JSON array of texts, else None: then it is the shell form, as docker takes it."""
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return tuple(value)


def _command(instruction: Instruction, _escape: str) -> Instruction:
    elements = _json_list(instruction.text)
    if elements is None:
        return instruction.replace(arguments=(instruction.text,))
    if not elements and instruction.name == "RUN":
        raise _bad(instruction.line, "RUN needs a command", 'write RUN ["program", "argument"]')
    if any("\0" in item for item in elements):
        raise _bad(instruction.line, f"{instruction.name} holds a NUL character", "leave it out")
    return instruction.replace(arguments=elements, json=True)


def _run(instruction: Instruction, escape: str) -> Instruction:
    if instruction.heredocs and instruction.text.split()[0].lstrip("<-").strip("\"'") == instruction.heredocs[0].name:
        script = instruction.heredocs[0].content
        if script.startswith("#!"):
            raise _bad(
                instruction.line,
                "a here-document with its own interpreter is not supported",
                "COPY the script, and RUN it",
            )
        return instruction.replace(arguments=(script.rstrip("\n"),))
    result = _command(instruction, escape)
    if instruction.heredocs and not result.json:
        bodies = "".join(f"{document.content}{document.name}\n" for document in instruction.heredocs)
        result = result.replace(arguments=(f"{result.arguments[0]}\n{bodies}",))
    return result


def _words(instruction: Instruction, escape: str) -> Instruction:
    """Words at blanks, or JSON; for VOLUME, COPY, ADD, EXPOSE."""
    elements = _json_list(instruction.text) if instruction.name != "EXPOSE" else None
    if elements is not None:
        return instruction.replace(arguments=elements, json=True)
    return instruction.replace(arguments=tuple(words.split(instruction.text, escape)))


def _copy(instruction: Instruction, escape: str) -> Instruction:
    result = _words(instruction, escape)
    if len(result.arguments) < 2:
        name = instruction.name
        raise _bad(instruction.line, f"{name} needs a source and a destination", f"write {name} SOURCE... DESTINATION")
    if instruction.heredocs and result.json:
        raise _bad(instruction.line, "here-documents and the JSON form exclude each other", "use one of them")
    return result


def _volume(instruction: Instruction, escape: str) -> Instruction:
    result = _words(instruction, escape)
    if not result.arguments or any(not path.strip() for path in result.arguments):
        raise _bad(instruction.line, "VOLUME needs a path that is not empty", "write VOLUME /PATH")
    return result


def _single(instruction: Instruction, _escape: str) -> Instruction:
    """One text: USER, WORKDIR, STOPSIGNAL, MAINTAINER."""
    if instruction.name == "STOPSIGNAL" and len(instruction.text.split()) != 1:
        raise _bad(instruction.line, "STOPSIGNAL takes one signal", "write STOPSIGNAL SIGTERM", instruction.text)
    return instruction.replace(arguments=(instruction.text,))


def _pairs(instruction: Instruction, escape: str) -> Instruction:
    """ENV and LABEL: NAME=VALUE ..., or the old form NAME VALUE with blanks."""
    parts = words.split(instruction.text, escape)
    if "=" not in parts[0]:
        name, _blank, value = _partition(instruction.text)
        if not value.strip():
            raise _bad(
                instruction.line, f"{instruction.name} {name} has no value", f"write {instruction.name} {name}=VALUE"
            )
        return instruction.replace(pairs=((name, value.strip()),))
    pairs = []
    for part in parts:
        name, sign, value = part.partition("=")
        if not sign:
            raise _bad(
                instruction.line,
                f"{part!r} is not NAME=VALUE",
                f'quote a value that has blanks: {instruction.name} NAME="two words"',
                part,
            )
        if not name:
            raise _bad(instruction.line, f"{part!r} has no name before '='", "write NAME=VALUE", part)
        pairs.append((name, value))
    return instruction.replace(pairs=tuple(pairs))


def _arg(instruction: Instruction, escape: str) -> Instruction:
    pairs: list[tuple[str, str | None]] = []
    for part in words.split(instruction.text, escape):
        name, sign, value = part.partition("=")
        if not _ENV_NAME.fullmatch(name):
            raise _bad(instruction.line, f"{part!r} is no build argument", "write ARG NAME[=DEFAULT]", part)
        pairs.append((name, value if sign else None))
    return instruction.replace(pairs=tuple(pairs))


def _shell(instruction: Instruction, _escape: str) -> Instruction:
    elements = _json_list(instruction.text)
    if not elements:
        raise _bad(instruction.line, "SHELL needs the JSON form", 'write SHELL ["/bin/bash", "-c"]', instruction.text)
    return instruction.replace(arguments=elements, json=True)


def _healthcheck(instruction: Instruction, _escape: str) -> Instruction:
    kind, _blank, rest = _partition(instruction.text)
    kind = kind.upper()
    if kind == "NONE":
        if rest:
            raise _bad(instruction.line, "HEALTHCHECK NONE takes nothing more", "write HEALTHCHECK NONE")
        return instruction.replace(arguments=("NONE",))
    if kind != "CMD" or not rest.strip():
        raise _bad(
            instruction.line, f"HEALTHCHECK does not know {kind!r}", "write HEALTHCHECK CMD COMMAND, or NONE", kind
        )
    elements = _json_list(rest.strip())
    if elements is None:
        return instruction.replace(arguments=("CMD-SHELL", rest.strip()))
    return instruction.replace(arguments=("CMD", *elements), json=True)


def _onbuild(instruction: Instruction, escape: str) -> Instruction:
    _check_trigger(parse_instruction(instruction.text, instruction.line, escape).name, instruction.line)
    return instruction.replace(arguments=(instruction.text,))


_PARSERS = {
    "FROM": _from,
    "RUN": _run,
    "CMD": _command,
    "ENTRYPOINT": _command,
    "COPY": _copy,
    "ADD": _copy,
    "ENV": _pairs,
    "ARG": _arg,
    "LABEL": _pairs,
    "USER": _single,
    "WORKDIR": _single,
    "EXPOSE": _words,
    "VOLUME": _volume,
    "SHELL": _shell,
    "STOPSIGNAL": _single,
    "HEALTHCHECK": _healthcheck,
    "ONBUILD": _onbuild,
    "MAINTAINER": _single,
}
_USAGE = {
    "FROM": "IMAGE [AS NAME]",
    "RUN": "COMMAND",
    "CMD": '["program", "argument"]',
    "ENTRYPOINT": '["program", "argument"]',
    "COPY": "SOURCE... DESTINATION",
    "ADD": "SOURCE... DESTINATION",
    "ENV": "NAME=VALUE",
    "ARG": "NAME[=DEFAULT]",
    "LABEL": "NAME=VALUE",
    "USER": "NAME[:GROUP]",
    "WORKDIR": "/PATH",
    "EXPOSE": "PORT[/PROTOCOL]",
    "VOLUME": "/PATH",
    "MAINTAINER": "NAME",
}
