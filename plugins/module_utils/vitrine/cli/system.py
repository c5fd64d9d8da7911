# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""info, version, check, completion."""

from __future__ import annotations

import json
import os
import sys

from ..errors import InvalidInput
from ..version import VERSION
from . import VERBS, command_of
from .flags import HELP, Command, Options, option, switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine import Engine

_FORMAT = option("format", "f", value="FORMAT", choices=("text", "json"), help="How to print: text or json")

COMMANDS = {
    "info": Command("info", "Show what this engine and host have", "info", flags=(_FORMAT,)),
    "version": Command("version", "Show the version", "version", flags=(_FORMAT,)),
    "check": Command(
        "check", "Check the host's prerequisites and the store's health; exits with 1 when something is wrong", "check",
        flags=(
            switch("repair", help="Repair what can be repaired"),
            switch("prepare", help="Load kernel modules and set sysctls first, where allowed"),
            _FORMAT,
        ),
    ),
    "completion": Command("completion", "Print a shell's completion script", "completion", "bash|zsh|fish", 1, 1),
}  # fmt: skip


def info(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine info"""
    facts = engine.system.info()
    if options.format == "json":
        sys.stdout.write(json.dumps(facts) + "\n")
    else:
        sys.stdout.write("".join(f"{key}: {value}\n" for key, value in facts.items()))
    return 0


def version(_engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine version"""
    facts = {"Version": VERSION, "Python": sys.version.split()[0], "Kernel": os.uname().release}
    if options.format == "json":
        sys.stdout.write(json.dumps(facts) + "\n")
    else:
        sys.stdout.write("".join(f"{key}: {value}\n" for key, value in facts.items()))
    return 0


def check(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine check"""
    prepared: list[str] = []
    if options.prepare:
        from .. import host

        prepared = host.prepare()
    report = {**engine.system.check(repair=options.repair), "prepared": prepared}
    wrong = bool(report["store"]) or any(item.required and not item.ok for item in report["host"])
    if options.format == "json":
        report["host"] = [item.as_dict() for item in report["host"]]
        sys.stdout.write(json.dumps(report) + "\n")
        return int(wrong)
    for item in report["host"]:
        mark = "ok     " if item.ok else ("MISSING" if item.required else "absent ")
        sys.stdout.write(f"{mark}  {item.name}: {item.detail}\n")
        if not item.ok and item.fix:
            sys.stdout.write(f"         {item.fix}\n")
    for line in report["prepared"]:
        sys.stdout.write(f"prepared: {line}\n")
    for line in report["reconciled"]:
        sys.stdout.write(f"put right: {line}\n")
    for line in report["store"]:
        sys.stdout.write(f"DAMAGED  {line}\n")
    sys.stdout.write("the store is whole\n" if not report["store"] else "see 'vitrine check --repair'\n")
    return int(wrong)


# -- completion

_BASH = """\
_vitrine() {
    local cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]}
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "%(verbs)s" -- "$cur")); return
    fi
    case "$verb" in
%(cases)s
    esac
    case "$cur" in
        -*) COMPREPLY=($(compgen -W "$flags" -- "$cur")); return ;;
    esac
    case "$kind" in
        container) COMPREPLY=($(compgen -W "$(vitrine ps -a --format json 2>/dev/null |
            sed -n 's/.*"Names": "\\([^"]*\\)".*/\\1/p')" -- "$cur")) ;;
        image) COMPREPLY=($(compgen -W "$(vitrine images 2>/dev/null |
            awk 'NR > 1 {print $1 ":" $2}')" -- "$cur")) ;;
        *) COMPREPLY=($(compgen -f -- "$cur")) ;;
    esac
}
complete -o default -F _vitrine vitrine
"""


def completion(_engine: Engine, _options: Options, operands: list[str]) -> int:
    """vitrine completion"""
    shell = operands[0]
    if shell not in ("bash", "zsh", "fish"):
        raise InvalidInput(f"no completion for the shell {shell!r}", hint="use bash, zsh or fish", value=shell)
    commands = {verb: command_of(verb)[0] for verb in VERBS}
    flags = {
        verb: [f"--{name}" for flag in (*command.flags, HELP) for name in flag.names if len(name) > 1]
        for verb, command in commands.items()
    }
    if shell == "fish":
        for verb, (_module, summary) in VERBS.items():
            quoted = summary.replace("'", "\\'")
            sys.stdout.write(f"complete -c vitrine -n __fish_use_subcommand -a {verb} -d '{quoted}'\n")
            for flag in flags[verb]:
                sys.stdout.write(f"complete -c vitrine -n '__fish_seen_subcommand_from {verb}' -l {flag[2:]}\n")
        return 0
    cases = "\n".join(
        f'        {verb}) local flags="{" ".join(flags[verb])}" kind="{command.complete}" ;;'
        for verb, command in commands.items()
    )
    if shell == "zsh":
        sys.stdout.write("autoload -U +X bashcompinit && bashcompinit\n")
    sys.stdout.write(_BASH % {"verbs": " ".join(VERBS), "cases": cases})
    return 0
