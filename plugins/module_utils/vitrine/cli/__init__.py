# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``vitrine``: docker's verbs, flags, columns and exit codes over the engine's use cases.

Each verb's table and handler live in the module that VERBS names; only that one is imported. Call ``main``.
"""

from __future__ import annotations

import errno
import os
import sys

from .. import standard
from ..errors import VitrineError
from .messages import complain, plain

# verb -> (module, one line for the list of verbs)
VERBS = {
    "run": ("running", "Create a container from an image and start it"),
    "create": ("running", "Create a container from an image without starting it"),
    "exec": ("terminals", "Run a command in a running container"),
    "attach": ("terminals", "Attach this terminal to a running container"),
    "start": ("lifecycle", "Start stopped containers"),
    "stop": ("lifecycle", "Stop running containers"),
    "restart": ("lifecycle", "Restart containers"),
    "kill": ("lifecycle", "Send a signal to running containers"),
    "rm": ("lifecycle", "Remove containers"),
    "rename": ("lifecycle", "Give a container another name"),
    "pause": ("lifecycle", "Suspend all processes of containers"),
    "unpause": ("lifecycle", "Resume all processes of containers"),
    "wait": ("waiting", "Wait until containers stop, and print their exit codes"),
    "update": ("updating", "Change the limits of containers, running or not"),
    "boot": ("hosting", "Start what its restart policy wants started after a reboot"),
    "shutdown": ("hosting", "Stop all containers before the host goes down"),
    "generate": ("hosting", "Write a systemd unit for a container"),
    "ps": ("ps", "List containers"),
    "logs": ("listing", "Show the logs of a container"),
    "inspect": ("listing", "Show everything known about containers or images, as JSON"),
    "stats": ("usage", "Show what containers use, live"),
    "top": ("usage", "Show the processes of a container"),
    "events": ("events", "Show what happens to containers, images, networks and volumes"),
    "diff": ("listing", "Show what a container changed in its file system"),
    "port": ("listing", "List a container's published ports"),
    "images": ("images", "List images"),
    "pull": ("images", "Get an image from a registry"),
    "push": ("images", "Put an image into a registry"),
    "tag": ("images", "Give an image another name"),
    "rmi": ("images", "Remove images"),
    "save": ("images", "Write images to a tar archive"),
    "load": ("images", "Read images from a tar archive"),
    "history": ("images", "Show an image's layers"),
    "search": ("images", "Search a registry for images"),
    "login": ("images", "Check and keep a registry's credentials"),
    "logout": ("images", "Forget a registry's credentials"),
    "bootstrap": ("images", "Make a base image from a distribution's packages"),
    "build": ("building", "Build an image from a Dockerfile"),
    "commit": ("building", "Make an image of a container's changes"),
    "cp": ("building", "Copy files between a container and the host"),
    "export": ("building", "Write a container's files to a tar archive"),
    "container prune": ("pruning", "Remove all containers that do not run"),
    "image prune": ("pruning", "Remove images that nothing needs"),
    "volume create": ("volumes", "Make a volume"),
    "volume inspect": ("volumes", "Show everything known about volumes, as JSON"),
    "volume ls": ("volumes", "List volumes"),
    "volume prune": ("pruning", "Remove volumes that no container uses"),
    "volume rm": ("volumes", "Remove volumes"),
    "network connect": ("networks", "Put a container on a network"),
    "network create": ("networks", "Make a network"),
    "network disconnect": ("networks", "Take a container off a network"),
    "network inspect": ("networks", "Show everything known about networks, as JSON"),
    "network ls": ("networks", "List networks"),
    "network prune": ("networks", "Remove networks that no container is on"),
    "network reload": ("networks", "Make good what others took of the packet filter"),
    "network rm": ("networks", "Remove networks"),
    "system df": ("pruning", "Show what takes room on the disk"),
    "system prune": ("pruning", "Remove all that nothing needs"),
    "info": ("system", "Show what this engine and host have"),
    "version": ("system", "Show the version"),
    "check": ("system", "Check the host's prerequisites and the store's health"),
    "completion": ("completion", "Print a shell's completion script"),
}
# docker's second spelling: group -> verbs that are spelt otherwise there; the others of a group as they are
GROUPS = {
    "container": {"ls": "ps", "list": "ps", "ps": "ps", "inspect": "inspect --type container"},
    "image": {"ls": "images", "list": "images", "rm": "rmi", "remove": "rmi", "inspect": "inspect --type image"},
    "network": {"list": "network ls", "remove": "network rm"},
    "volume": {"list": "volume ls", "remove": "volume rm"},
    "system": {},
}
_OF_CONTAINERS = ("running", "terminals", "lifecycle", "ps", "listing", "building", "usage", "updating", "waiting")
_OF_IMAGES = ("build", "history", "load", "pull", "push", "save", "tag")
_OF_SYSTEM = ("events", "info")
_ADVICE = {
    errno.ENOSPC: "  make room on the disk (see df -h and df -i), then run the same command again\n",
    errno.EDQUOT: "  make room on the disk (see quota), then run the same command again\n",
    errno.EIO: "  a disk fails, or what is mounted there: see the kernel's log\n",
    errno.EROFS: "  the file system is mounted read-only: see the kernel's log for why\n",
}
GLOBAL_VALUES = ("--root", "--run-root", "--config")


def command_of(verb: str):  # type: ignore[no-untyped-def]  # the type would need the flags module imported here
    """The Command record of a verb and the module that holds its handler."""
    from importlib import import_module

    module = import_module(f".{VERBS[verb][0]}", __name__)
    return module.COMMANDS[verb], module


def overview() -> str:
    """The list of verbs."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}   {summary}" for verb, (_module, summary) in VERBS.items()]
    return "\n".join(
        [
            "Usage:  vitrine [--root DIR] [--run-root DIR] [--config FILE] [--debug] COMMAND",
            "",
            "Containers from layers, with no daemon.",
            "",
            "Commands:",
            *lines,
            "",
            "'vitrine COMMAND --help' tells about one of them.",
            "",
        ]
    )


def _members(group: str) -> list[tuple[str, str]]:
    """The words that may follow a group's name, each with its summary."""
    known = {}
    for verb, (_module, summary) in VERBS.items():
        first, _space, second = verb.partition(" ")
        if second and first == group:
            known[second] = summary
        elif not second and ungrouped([group, verb]) == [verb]:
            known[verb] = summary
    for word, verb in GROUPS[group].items():
        known.setdefault(word, VERBS[" ".join(verb.split()[:2]) if verb in VERBS else verb.split()[0]][1])
    return sorted(known.items())


def group_overview(group: str) -> str:
    """The list of a group's verbs."""
    members = _members(group)
    width = max(len(word) for word, _summary in members)
    lines = [f"  {word:<{width}}   {summary}" for word, summary in members]
    return "\n".join([f"Usage:  vitrine {group} COMMAND", "", "Commands:", *lines, ""])


def _globals(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split off what stands before the verb."""
    from .flags import Usage

    given: dict[str, str] = {}
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in GLOBAL_VALUES:
            if not equals:
                if not rest:
                    raise Usage(f"{name} needs a value", hint=f"write {name} PATH", value=name)
                value = rest.pop(0)
            given[name[2:].replace("-", "_")] = value
        elif word in ("--debug", "--help", "-h", "--version", "-v"):
            given[word.lstrip("-")] = "yes"
        else:
            raise Usage(f"unknown flag {word!r} before the verb", hint="see 'vitrine --help'", value=word)
    return given, rest


def ungrouped(words: list[str]) -> list[str]:
    """The same command with its verb as one word: "container ls -a" is "ps -a", "volume ls" a word of its own."""
    group = words[0]
    if group not in GROUPS or len(words) < 2:
        return words
    other = GROUPS[group].get(words[1])
    words = [*other.split(), *words[2:]] if other else words
    verb, rest = " ".join(words[:2]), words[1:]
    if verb in VERBS:
        return [verb, *words[2:]]
    if other:
        return words
    in_containers = VERBS.get(rest[0], ("",))[0] in _OF_CONTAINERS and rest[0] != "build"
    members = {"image": rest[0] in _OF_IMAGES, "system": rest[0] in _OF_SYSTEM, "container": in_containers}
    return rest if members.get(group) else words


def _unknown(verb: str, rest: list[str]) -> Exception:
    """The error for a verb that is none, or for a group without one of its verbs."""
    from difflib import get_close_matches

    from .flags import Usage

    if verb in GROUPS:
        known = [word for word, _summary in _members(verb)]
        what = f"unknown command '{verb} {rest[0]}'" if rest else f"'vitrine {verb}' needs a verb of its own"
        return Usage(what, hint=f"use one of {', '.join(known)}", value=verb, exit_code=1)
    near = get_close_matches(verb, VERBS, 1)
    hint = f"did you mean '{near[0]}'?" if near else "see 'vitrine --help'"
    return Usage(f"unknown command {verb!r}", hint=hint, value=verb, exit_code=1)


def run(words: list[str]) -> int:
    """Carry out one command line and return its exit code. Raises VitrineError."""
    from .flags import help_text, parse

    given, rest = _globals(words)
    if "version" in given or "v" in given:
        rest = ["version"]
    if rest[:1] == ["help"] and len(rest) > 1:
        rest = [*rest[1:], "--help"]
    if not rest or "help" in given or "h" in given or rest[0] == "help":
        sys.stdout.write(overview())
        return 0
    if rest[0] in GROUPS and rest[1:] in (["--help"], ["-h"], ["help"]):
        sys.stdout.write(group_overview(rest[0]))
        return 0
    rest = ungrouped(rest)
    verb = rest.pop(0)
    if verb not in VERBS:
        raise _unknown(verb, rest)
    command, module = command_of(verb)
    options, operands = parse(command, rest)
    if options.help:
        sys.stdout.write(help_text(command))
        return 0
    from .. import late_site
    from ..engine import Engine
    from ..settings import Settings

    late_site.install()

    settings = Settings.load(given.get("root"), given.get("run_root"), given.get("config"))
    return int(getattr(module, command.handler)(Engine(settings), options, operands) or 0)


def _anywhere() -> bool:
    """Whether the current folder exists."""
    try:
        return bool(os.getcwd())
    except OSError:
        return False


def main(words: list[str] | None = None) -> None:
    """Entry point: the one place where errors become messages and exit codes."""
    standard.ensure()
    words = sys.argv[1:] if words is None else words
    code = 1
    try:
        code = run(words)
        sys.stdout.flush()
    except VitrineError as error:
        if "--debug" in words:
            raise
        complain(error)
        code = error.exit_code
    except BrokenPipeError:
        # whoever read our output has gone: nothing to say, and nobody to say it to
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 141
    except KeyboardInterrupt:
        code = 130
    except UnicodeEncodeError as error:
        if "--debug" in words:
            raise
        sys.stderr.write(f"vitrine: {error.object!r} is not UTF-8 text\n  names of containers and images are\n")
        code = 125 if {"run", "create"} & set(words) else 1
    except OSError as error:
        if "--debug" in words:
            raise
        where = f": {plain(os.fsdecode(error.filename))}" if isinstance(error.filename, (str, bytes)) else ""
        advice = _ADVICE.get(error.errno or 0, "")
        if error.errno == errno.ENOENT and not where and not _anywhere():
            where, advice = ": the current folder was removed", "  change to another one\n"
        sys.stderr.write(f"vitrine: {error.strerror or error}{where}\n{advice}")
        code = 125
    except Exception as error:  # a mistake of ours: still no page of program text for whoever typed the command
        if "--debug" in words:
            raise
        sys.stderr.write(
            f"vitrine: internal error: {type(error).__name__}: {error}\n"
            "  run the command with --debug before the verb for where it happened, and report it\n"
        )
        code = 125
    # the interpreter's own way out would only free what the kernel frees anyway
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        pass
    os._exit(code)
