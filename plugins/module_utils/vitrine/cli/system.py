# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""info, version, check."""

from __future__ import annotations

import json
import os
import sys

from ..version import VERSION
from .flags import Command, Options, option, switch

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
