# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hundred commands and module runs at once end as if they had come one after another.

Each of them says what it did or why it could not. For every name there must be an order of what was asked that
explains all those answers and what is there in the end.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from functools import lru_cache

import pytest

from support.registry import Registry

from .conftest import BothWays

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

TASKS = 100
SECONDS = 120  # then it is a deadlock
ABSENT, CREATED, RUNNING, STOPPED = "absent", "created", "running", "exited"
THERE = (CREATED, RUNNING, STOPPED)
GONE = ("no such container", "removed meanwhile")
MARK = "VITRINE-ANSWER "

# A step: the state that it finds -> the state that it leaves. What is asked for is one step, or several between which
# others' may come: to run is to create and to start, as with docker.
MAKE = {ABSENT: CREATED}
START = dict.fromkeys(THERE, RUNNING)
STOP = {CREATED: CREATED, STOPPED: STOPPED, RUNNING: STOPPED}
LOOK = {one: one for one in THERE}
NOT_THERE = {ABSENT: ABSENT}
WENT = (GONE, (NOT_THERE,))
TAKEN = (("in use",), (LOOK,))

# what was asked of a container -> [(words of its refusal, one of which is said; () when it was done), the steps]
CONTAINER = {
    "run": [((), (MAKE, START)), TAKEN, (GONE, (MAKE, NOT_THERE))],
    "create": [((), (MAKE,)), TAKEN],
    "start": [((), (START,)), WENT],
    "stop": [((), (STOP,)), WENT],
    "restart": [((), (START,)), WENT],
    "rm": [((), ({CREATED: ABSENT, STOPPED: ABSENT},)), WENT, (("is running",), ({RUNNING: RUNNING},))],
    "rm -f": [((), (dict.fromkeys((ABSENT, *THERE), ABSENT),)), WENT],
    "commit": [((), (LOOK,)), WENT],
    "exec": [((), ({RUNNING: RUNNING},)), WENT, (("not running", "ended"), ({one: one for one in (ABSENT, *THERE)},))],
    "started, changed": [((), (MAKE, START)), ((), ({CREATED: CREATED, STOPPED: STOPPED}, START))],
    "started": [((), ({RUNNING: RUNNING},)), TAKEN, (GONE, (LOOK, NOT_THERE)), (GONE, (MAKE, NOT_THERE))],
    "absent, changed": [((), (LOOK, dict.fromkeys(THERE, ABSENT)))],
    "absent": [((), (NOT_THERE,)), (GONE, (LOOK, NOT_THERE))],
}
HERE = {RUNNING: RUNNING}
KEPT = dict.fromkeys((ABSENT, RUNNING), RUNNING)
LACKING = (("no such image", "Cannot find image", "removed meanwhile"), (NOT_THERE,))
IMAGE = {
    "tag": [((), (KEPT,))],
    "build": [((), (KEPT,))],
    "pull": [((), (KEPT,))],
    "rmi": [((), ({RUNNING: ABSENT},)), LACKING, (("in use", "used by"), (HERE,))],
    "use": [((), (HERE,)), LACKING],
}


class Asked:
    """One command: what of which object, and what came of it."""

    def __init__(self, verb: str, name: str, process: subprocess.Popen, expected: int = 0) -> None:
        self.verb = verb
        self.name = name
        self.process = process
        self.expected = expected
        self.refusal = ""
        self.text = ""

    def finish(self, end: float) -> None:
        """Wait for it, and read what it says."""
        try:
            out, err = self.process.communicate(timeout=max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"no end within {SECONDS} s: {self!r}") from None
        self.text = out + err
        assert "Traceback" not in self.text and "internal error" not in self.text, (self, self.text)
        assert "locked" not in self.text and "was held by another command" not in self.text, (self, self.text)
        if MARK in out:
            answer = json.loads(out.partition(MARK)[2])
            if answer.get("failed"):
                self.refusal = answer["msg"]
            elif answer["changed"]:
                self.verb += ", changed"
        elif self.process.returncode != self.expected:
            self.refusal = err or f"exit code {self.process.returncode}"

    def stories(self, rules: dict) -> list[tuple[dict, ...]]:
        """The steps that explain the answer, in each way that there is."""
        refused = [words for words, _steps in rules[self.verb] if any(word in self.refusal for word in words)]
        return [steps for words, steps in rules[self.verb] if (words in refused if self.refusal else not words)]

    def __repr__(self) -> str:
        return f"{self.verb} {self.name}: {self.refusal.strip() or 'done'}"


def explained(asked: list[Asked], final: str, rules: dict) -> bool:
    """Whether the steps of all that was asked about one object, in any order, lead from nothing to what is there."""
    todo = [one.stories(rules) for one in asked]

    @lru_cache(None)
    def search(left: tuple[tuple[int, int, int], ...], state: str) -> bool:
        # left: (which was asked, which story, which step comes next); story -1: none was begun
        if not left:
            return state == final
        for number, (one, story, step) in enumerate(left):
            for chosen in range(len(todo[one])) if story < 0 else (story,):
                steps = todo[one][chosen]
                if state in steps[step]:
                    rest = [(one, chosen, step + 1)] if step + 1 < len(steps) else []
                    if search((*left[:number], *rest, *left[number + 1 :]), steps[step][state]):
                        return True
        return False

    return search(tuple((number, -1, 0) for number in range(len(todo))), ABSENT)


def explain(asked: list[Asked], final: str, rules: dict) -> None:
    said = "\n".join(sorted(map(repr, asked)))
    assert explained(asked, final, rules), f"no order of these leads to {final}:\n{said}"


def ask(host: BothWays, chance: random.Random, context: str, pulled: str) -> Asked:
    """Start one command of the mix."""
    name = f"n{chance.randrange(12)}"
    image = f"localhost/made{chance.randrange(4)}"
    asleep = ["busybox", "sleep", "1000"]

    def typed(verb: str, of: str, *words: str, expected: int = 0) -> Asked:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return Asked(verb, of, host.spawn(*words, **pipes), expected)

    def module(state: str, **more: object) -> Asked:
        options = {"name": name, "state": state, "stop_timeout": 0, **more}
        return Asked(state, name, host.spawn_module("container", **options))

    choices = (
        (14, lambda: typed("run", name, "run", "-d", "--name", name, *asleep)),
        (4, lambda: typed("create", name, "create", "--name", name, *asleep)),
        (6, lambda: typed("start", name, "start", name)),
        (6, lambda: typed("stop", name, "stop", "-t", "0", name)),
        (3, lambda: typed("restart", name, "restart", "-t", "0", name)),
        (4, lambda: typed("rm", name, "rm", name)),
        (8, lambda: typed("rm -f", name, "rm", "-f", name)),
        (4, lambda: typed("commit", name, "commit", name, f"localhost/copy-{name}")),
        (4, lambda: typed("exec", name, "exec", name, "true")),
        (8, lambda: module("started", image="busybox", command=["sleep", "1000"], pull="never")),
        (4, lambda: module("absent")),
        (8, lambda: typed("", "", "run", "--rm", "busybox", "sh", "-c", "exit 3", expected=3)),
        (4, lambda: typed("tag", image, "tag", "busybox", image)),
        (4, lambda: typed("build", image, "build", "-q", "-t", image, context)),
        (5, lambda: typed("rmi", image, "rmi", image)),
        (5, lambda: typed("use", image, "run", "--rm", "--pull", "never", image, "sh", "-c", "exit 3", expected=3)),
        (3, lambda: typed("pull", pulled, "pull", "-q", pulled)),
        (2, lambda: typed("rmi", pulled, "rmi", pulled)),
        (4, lambda: typed("", "", "ps", "-a")),
        (2, lambda: typed("", "", "images")),
        (1, lambda: typed("", "", "check")),
    )
    return chance.choices([one for _weight, one in choices], [weight for weight, _one in choices])[0]()


def listed(host: BothWays, *words: str) -> list[dict]:
    return [json.loads(line) for line in host(*words, "--format", "json").splitlines()]


@pytest.mark.parametrize("seed", list(map(int, os.environ.get("VITRINE_TEST_SEED", "1").split(","))))
def test_a_hundred_at_once(both_ways: BothWays, loopback_registry: Registry, tmp_path, seed: int) -> None:
    host = both_ways
    chance = random.Random(seed)
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo made > /made\nENV A=b\n")
    pulled = f"{loopback_registry.host}/pulled"
    host("run", "--name", "changed", "busybox", "sh", "-c", "echo more > /more")
    host("commit", "changed", pulled)
    host("push", "-q", pulled)
    host("rm", "changed")
    host("rmi", pulled)
    asked = [ask(host, chance, str(context), pulled) for _number in range(TASKS)]
    end = time.monotonic() + SECONDS
    for one in asked:
        one.finish(end)
    for one in asked:
        if not one.name:
            assert not one.refusal, one.text

    states = {row["Names"]: row["State"] for row in listed(host, "ps", "-a")}
    for name in sorted({one.name for one in asked if one.name.startswith("n")}):
        about = [one for one in asked if one.name == name]
        explain(about, states.pop(name, ABSENT), CONTAINER)
    assert states == {}, "a container that nobody asked for"
    images = {row["Repository"] for row in listed(host, "images")}
    for name in sorted({one.name for one in asked if "/" in one.name}):
        about = [one for one in asked if one.name == name]
        explain(about, RUNNING if name in images else ABSENT, IMAGE)
        if name in images:
            assert host("run", "--rm", name, "echo", "whole") == "whole\n"
    for one in asked:
        if one.verb == "commit" and not one.refusal:
            assert host("run", "--rm", f"localhost/copy-{one.name}", "echo", "whole") == "whole\n"
    result = host.try_("check")
    assert "the store is whole" in result.out and "could not put right" not in result.out, result


def test_starts_of_one_container_from_all_sides(both_ways: BothWays) -> None:
    """Thirty that want the same: one does it, all others find it done."""
    host = both_ways
    wanted = {"name": "one", "image": "busybox", "command": ["sleep", "1000"], "state": "started", "pull": "never"}
    asked = [Asked("started", "one", host.spawn_module("container", **wanted)) for _number in range(30)]
    end = time.monotonic() + SECONDS
    for one in asked:
        one.finish(end)
    assert [one.verb for one in asked if not one.refusal].count("started, changed") == 1, asked
    assert all("in use" in one.refusal for one in asked if one.refusal), asked
    assert [row["Names"] for row in listed(host, "ps")] == ["one"]
