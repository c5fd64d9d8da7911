# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line's grammar: docker's, from one table per verb, which also gives help texts and shell completion.

``argparse`` cannot stop at the first operand (``run IMAGE -x``) without tricks, and costs more to import than a
whole start of the engine.
"""

from __future__ import annotations

from ..errors import InvalidInput
from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Usage(InvalidInput):
    """A command line that does not fit the grammar. exit_code is docker's: 125 for flags, 1 for verbs and operands."""

    def __init__(self, message: str, *, hint: str = "", value: object = None, exit_code: int = 125) -> None:
        super().__init__(message, hint=hint, value=value)
        self.exit_code = exit_code


class Flag(Record):
    """One flag. names: long name first, then the letter ("detach", "d"). value: placeholder, "" for a switch.

    many: may be given several times (the value is a list). default: of a switch; else it is None.
    """

    names: tuple[str, ...]
    help: str
    value: str = ""
    many: bool = False
    choices: tuple[str, ...] = ()
    default: bool = False

    @property
    def key(self) -> str:
        """The name under which a handler finds the value."""
        return self.names[0].replace("-", "_")

    @property
    def spelling(self) -> str:
        """As the help shows it: "-d, --detach"."""
        letters = [f"-{name}" for name in self.names if len(name) == 1]
        words = [f"--{name}" for name in self.names if len(name) > 1]
        return ", ".join(letters + words) + (f" {self.value}" if self.value else "")


class Command(Record):
    """One verb. operands: as the usage line shows them. least/most: their number (most -1: any).

    handler: the function's name in the module that holds the table. options_first: flags end at the first operand.
    complete: what operands are ("image", "container", "file" or ""), for the shell's completion.
    """

    name: str
    summary: str
    handler: str
    operands: str = ""
    least: int = 0
    most: int = 0
    flags: tuple[Flag, ...] = ()
    options_first: bool = False
    complete: str = ""


class Options:
    """A verb's parsed flags, by attribute."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:  # only reached for names that no flag has
        raise AttributeError(f"this verb has no flag {name!r}")


HELP = Flag(("help", "h"), "Show this text")


def switch(*names: str, help: str, default: bool = False) -> Flag:  # noqa: A002
    """A flag without a value; --NAME=false says the contrary."""
    return Flag(names, help, default=default)


def option(*names: str, value: str, help: str, many: bool = False, choices: tuple[str, ...] = ()) -> Flag:  # noqa: A002
    """A flag with a value."""
    return Flag(names, help, value, many, choices)


def parse(command: Command, words: list[str]) -> tuple[Options, list[str]]:
    """Return the flags' values and the operands. Raises Usage naming the word and what was expected."""
    # a verb may want -h for itself, as run does
    table = {name: flag for flag in (HELP, *command.flags) for name in flag.names}
    values: dict[str, Any] = {
        flag.key: [] if flag.many else (None if flag.value else flag.default) for flag in (*command.flags, HELP)
    }
    operands: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            operands += rest
            break
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            _take(command, table, values, "--" + name, name, value if equals else None, rest)
        elif word.startswith("-") and word != "-":
            _take_letters(command, table, values, word, rest)
        else:
            operands.append(word)
            if command.options_first:
                operands += rest
                break
    if not values["help"]:
        _check_operands(command, operands)
    return Options(values), operands


def _take_letters(command: Command, table: dict[str, Flag], values: dict[str, Any], word: str, rest: list[str]) -> None:
    """A cluster such as -it, or -p80:80, or -e A=1."""
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = table.get(letter)
        attached = None
        if flag is not None and (flag.value or letters.startswith("=")):
            attached = letters.lstrip("=") if letters else None
            letters = ""
        _take(command, table, values, "-" + letter, letter, attached, rest)


def _take(
    command: Command,
    table: dict[str, Flag],
    values: dict[str, Any],
    shown: str,
    name: str,
    value: str | None,
    rest: list[str],
) -> None:
    flag = table.get(name)
    if flag is None:
        near = _nearest(name, table)
        raise Usage(
            f"unknown flag {shown!r} for 'vitrine {command.name}'",
            hint=f"did you mean '--{near}'?" if near else f"see 'vitrine {command.name} --help'",
            value=shown,
        )
    if not flag.value:
        if value not in (None, "true", "false"):
            raise Usage(f"{shown} takes no value, but {value!r} was given", hint="leave the value out", value=value)
        values[flag.key] = value != "false"
        return
    if value is None:
        if not rest:
            raise Usage(f"{shown} needs a value", hint=f"write {shown} {flag.value}", value=shown)
        value = rest.pop(0)
    if flag.choices and value not in flag.choices:
        raise Usage(f"{shown} cannot be {value!r}", hint=f"use one of {', '.join(flag.choices)}", value=value)
    if flag.many:
        values[flag.key].append(value)
    else:
        values[flag.key] = value


def _check_operands(command: Command, operands: list[str]) -> None:
    count = len(operands)
    if count < command.least or (command.most >= 0 and count > command.most):
        wanted = f"at least {command.least}" if command.most < 0 else f"{command.least}"
        if command.most > command.least:
            wanted = f"{command.least} to {command.most}"
        raise Usage(
            f"'vitrine {command.name}' takes {wanted} argument{'' if wanted.endswith('1') else 's'}, "
            f"{count} {'was' if count == 1 else 'were'} given",
            hint=f"usage: {usage(command)}",
            value=operands,
            exit_code=1,
        )


def _nearest(name: str, table: dict[str, Flag]) -> str:
    import difflib

    return next(iter(difflib.get_close_matches(name, [word for word in table if len(word) > 1], 1, 0.66)), "")


def usage(command: Command) -> str:
    """The usage line."""
    middle = " [OPTIONS]" if command.flags else ""
    return f"vitrine {command.name}{middle} {command.operands}".rstrip()


def help_text(command: Command) -> str:
    """The whole help of one verb."""
    lines = [f"Usage:  {usage(command)}", "", command.summary, "", "Options:"]
    # where a verb has taken -h for itself, as run has, help is the whole word
    taken = {name for flag in command.flags for name in flag.names}
    own_help = Flag(tuple(name for name in HELP.names if name not in taken), HELP.help)
    flags = sorted((*command.flags, own_help), key=lambda flag: flag.names[0])
    indent = "" if all(any(len(name) == 1 for name in flag.names) for flag in flags) else "    "
    rows = [(flag.spelling if flag.spelling[1] != "-" else indent + flag.spelling, flag.help) for flag in flags]
    width = max(len(left) for left, _right in rows)
    return "\n".join([*lines, *(f"  {left:<{width}}   {right}" for left, right in rows), ""])
