# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A clock that is set, by hours and in either direction: it is for showing and recording, and decides nothing."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import pytest

from support.host import CHECKOUT, Host
from support.refusals import whole
from vitrine.cli import table
from vitrine.supervise import logs

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

ENGINE = CHECKOUT / "plugins/module_utils/vitrine"
# Who reads the wall clock, and for what. Everything that waits, gives up, backs off or comes again does it by
# time.monotonic: no line here may become a deadline.
WALL = {
    "clock.py": "the time that records bear",
    "build/": "the time that images bear",
    "cli/events.py": "from when and until when a user asks",
    "cli/ps.py": "how long ago something was",
    "cli/table.py": "how long ago something was, and times that users write",
    "engine/bootstrap.py": "which files are older than an installation",
    "engine/eventlog.py": "from when and until when a user asks",
    "engine/events.py": "the time that events bear",
    "engine/processes.py": "when a process began, for users",
    "network/names.py": "whether a folder changed just now, compared with its own time",
    "registry/transport.py": "a date in Retry-After, as its sender means it",
    "store/events.py": "the time that events bear",
    "store/recover.py": "downloads that nobody carried on for days: made again if they go too early",
    "supervise/monitor.py": "the time that a log's lines bear",
    "supervise/place.py": "the time that events bear",
}


def wall_clocks(path: Path) -> set[str]:
    """The functions of the module time that read the wall clock, and that a file calls."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
            found.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            found.update(alias.name for alias in node.names)
    return found & {"time", "time_ns", "CLOCK_REALTIME"}


def test_who_reads_the_wall_clock() -> None:
    users = {str(path.relative_to(ENGINE)) for path in ENGINE.rglob("*.py") if wall_clocks(path)}
    unknown = {user for user in users if not any(user == known or user.startswith(known) for known in WALL)}
    assert not unknown, "a deadline belongs to time.monotonic; a time that is shown or recorded, into WALL"


def test_time_that_has_not_come_yet() -> None:
    """What was recorded before the clock was set back lies in the future."""
    assert table.ago("2999-01-01T00:00:00Z") == "Less than a second ago"
    assert table.span(-7200.0) == "Less than a second"


ENTRIES = (  # the clock was set back by three hours after the second line
    ("2026-11-24T10:00:00.000000000Z", "one"),
    ("2026-11-24T12:00:00.000000000Z", "two"),
    ("2026-11-24T09:00:00.000000000Z", "three"),
    ("2026-11-24T09:30:00.000000000Z", "four"),
)


@pytest.fixture
def log(tmp_path: Path) -> str:
    path = tmp_path / "log"
    lines = [json.dumps({"log": f"{text}\n", "stream": "stdout", "time": stamp}) for stamp, text in ENTRIES]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def chosen(log: str, **how: object) -> list[str]:
    return [data.decode().strip() for _stream, data in logs.read(log, **how)]


def at(hour: int) -> int:
    return logs.parse_time(f"2026-11-24T{hour:02}:00:00Z", 0)


def test_logs_of_a_clock_that_went_back(log: str) -> None:
    assert chosen(log) == ["one", "two", "three", "four"], "as they were written"
    assert chosen(log, since=at(11)) == ["two"]
    assert chosen(log, until=at(11)) == ["one", "three", "four"], "what came after the change is not lost"
    assert chosen(log, since=at(9), until=at(10)) == ["one", "three", "four"]
    assert chosen(log, tail=2) == ["three", "four"]


@root_only
def test_containers_from_the_future(host: Host) -> None:
    """Made before the clock was set back: listed, stopped, started, removed as any other."""
    host("run", "-d", "--name", "it", "--restart", "always", "busybox", "sleep", "1000")
    container = json.loads(host("inspect", "it"))[0]["Id"]
    path = host.root / "containers" / container / "state.json"
    known = json.loads(path.read_text())
    known.update(started_at="2999-01-01T00:00:00.000000000Z")
    path.write_text(json.dumps(known))
    assert "Up Less than a second" in host("ps")
    assert host("exec", "it", "echo", "inside") == "inside\n"
    host("stop", "-t", "0", "it")
    known = json.loads(path.read_text())
    known.update(finished_at="2999-01-01T00:00:00.000000000Z")
    path.write_text(json.dumps(known))
    assert "Exited (137) Less than a second ago" in host("ps", "-a")
    host("start", "it")
    host("rm", "-f", "it")
    whole(host)
