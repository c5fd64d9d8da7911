# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""completion: what a shell offers for the next word, from the verbs' own tables."""

from __future__ import annotations

import sys

from ..errors import InvalidInput
from . import GROUPS, VERBS, command_of, ungrouped
from .flags import HELP, Command, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine import Engine

COMMANDS = {
    "completion": Command("completion", "Print a shell's completion script", "completion", "bash|zsh|fish", 1, 1),
}  # fmt: skip

_BASH = """\
_vitrine() {
    local cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} members= flags= kind=
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "%(words)s" -- "$cur")); return
    fi
    case "$verb" in
%(groups)s
    esac
    if [ -n "$members" ]; then
        if [ "$COMP_CWORD" -eq 2 ]; then
            COMPREPLY=($(compgen -W "$members" -- "$cur")); return
        fi
        verb="$verb ${COMP_WORDS[2]}"
    fi
    case "$verb" in
%(cases)s
    esac
    case "$cur" in
        -*) COMPREPLY=($(compgen -W "$flags" -- "$cur")); return ;;
    esac
    case "$kind" in
        container) COMPREPLY=($(compgen -W "$(vitrine ps -a --format '{{.Names}}' 2>/dev/null)" -- "$cur")) ;;
        image) COMPREPLY=($(compgen -W "$(vitrine images 2>/dev/null |
            awk 'NR > 1 {print $1 ":" $2}')" -- "$cur")) ;;
        network | volume)
            COMPREPLY=($(compgen -W "$(vitrine "$kind" ls --format '{{.Name}}' 2>/dev/null)" -- "$cur")) ;;
        *) COMPREPLY=($(compgen -f -- "$cur")) ;;
    esac
}
complete -o default -F _vitrine vitrine
"""


def _spellings() -> dict[str, list[str]]:
    """verb -> all the ways to write it: "ps", "container ls", "container list", "container ps"."""
    found = {verb: [verb] for verb in VERBS}
    for group, others in GROUPS.items():
        for member in {*others, *(verb.split()[-1] for verb in VERBS)}:
            verb = ungrouped([group, member])[0]
            if verb != group and f"{group} {member}" not in found[verb]:
                found[verb].append(f"{group} {member}")
    return found


def _flags(command: Command) -> list[str]:
    return [f"--{name}" for flag in (*command.flags, HELP) for name in flag.names if len(name) > 1]


def completion(_engine: Engine, _options: Options, operands: list[str]) -> int:
    """vitrine completion"""
    shell = operands[0]
    if shell not in ("bash", "zsh", "fish"):
        raise InvalidInput(f"no completion for the shell {shell!r}", hint="use bash, zsh or fish", value=shell)
    if shell == "fish":
        sys.stdout.write(_fish())
        return 0
    spellings = _spellings()
    members: dict[str, list[str]] = {group: [] for group in GROUPS}
    cases = []
    for verb, ways in spellings.items():
        command = command_of(verb)[0]
        patterns = " | ".join(f'"{way}"' for way in ways)
        cases.append(f'        {patterns}) flags="{" ".join(_flags(command))}" kind="{command.complete}" ;;')
        for way in ways:
            group, space, member = way.partition(" ")
            if space:
                members[group].append(member)
    groups = [f'        {group}) members="{" ".join(sorted(names))}" ;;' for group, names in members.items()]
    if shell == "zsh":
        sys.stdout.write("autoload -U +X bashcompinit && bashcompinit\n")
    words = [*(verb for verb in VERBS if " " not in verb), *GROUPS]
    fields = {"words": " ".join(words), "groups": "\n".join(groups), "cases": "\n".join(cases)}
    sys.stdout.write(_BASH % fields)
    return 0


def _fish() -> str:
    lines = []
    for group in GROUPS:
        lines.append(f"complete -c vitrine -n __fish_use_subcommand -a {group}")
    for verb, (_module, summary) in VERBS.items():
        quoted = summary.replace("'", "\\'")
        group, space, member = verb.partition(" ")
        seen = f"__fish_seen_subcommand_from {group}" if space else "__fish_use_subcommand"
        lines.append(f"complete -c vitrine -n '{seen}' -a {member if space else verb} -d '{quoted}'")
        if space:
            seen += f"; and __fish_seen_subcommand_from {member}"
        else:
            seen = f"__fish_seen_subcommand_from {verb}"
        lines += [f"complete -c vitrine -n '{seen}' -l {flag[2:]}" for flag in _flags(command_of(verb)[0])]
    return "\n".join(lines) + "\n"
