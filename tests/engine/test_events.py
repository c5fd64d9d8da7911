# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened, as it is told: in docker's words and order, past and live, once each, and not for ever."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.host import Host
from support.refusals import refused
from support.traces import until
from vitrine.store import Store
from vitrine.store import events as stored
from vitrine.supervise import journal


def told(host: Host, *flags: object) -> list[dict]:
    return [json.loads(line) for line in host("events", "--no-stream", "--format", "json", *flags).splitlines()]


def actions(events: list[dict]) -> list[str]:
    return [event["Action"] for event in events]


@pytest.fixture
def moment() -> str:
    """This moment, as a filter wants it."""
    now = time.time_ns()
    return f"{now // 10**9}.{now % 10**9:09d}"


def test_the_life_of_a_container(host: Host, moment: str) -> None:
    container = host("run", "-d", "--name", "it", "-l", "tier=web", "busybox", "sleep", "600").strip()
    host("pause", "it")
    host("unpause", "it")
    host("rename", "it", "other")
    host.try_("exec", "other", "sh", "-c", "exit 3")
    host("restart", "-t", "0", "other")
    host("update", "--pids-limit", "50", "other")
    host("stop", "-t", "0", "other")
    host("rm", "other")
    events = told(host, "--since", moment)
    assert actions(events) == [
        "create", "start", "pause", "unpause", "rename", "exec_create: sh -c exit 3", "exec_start: sh -c exit 3",
        "exec_die", "kill", "die", "start", "restart", "update", "kill", "die", "stop", "destroy",
    ]  # fmt: skip
    assert {event["id"] for event in events} == {container} and {event["Type"] for event in events} == {"container"}
    own = [event["Actor"]["Attributes"] for event in events]
    assert all(item["tier"] == "web" and item["image"] == "busybox" for item in own)
    assert [item["name"] for item in own] == ["it"] * 4 + ["other"] * 13
    assert own[4]["oldName"] == "/it" and own[7]["exitCode"] == "3" and own[9]["exitCode"] == "137"
    times = [event["timeNano"] for event in events]
    assert times == sorted(times) and [event["time"] for event in events] == [ns // 10**9 for ns in times]


def test_the_life_of_images_and_volumes(host: Host, moment: str) -> None:
    host("tag", "busybox", "twin:1")
    host("create", "--name", "it", "-v", "data:/data", "busybox", "true")
    image = host("commit", "it", "made:1").strip()
    host("rmi", "twin:1", "made:1")
    host("rm", "it")
    host("volume", "rm", "data")
    events = told(host, "--since", moment, "-f", "type=image", "-f", "type=volume")
    seen = [(event["Type"], event["Action"], event["Actor"]["Attributes"].get("name", "")) for event in events]
    assert seen == [
        ("image", "tag", "twin:1"), ("volume", "create", ""), ("image", "untag", "twin:1"),
        ("image", "untag", "made:1"), ("image", "delete", image), ("volume", "destroy", ""),
    ]  # fmt: skip
    (commit,) = told(host, "--since", moment, "-f", "event=commit")
    assert commit["Actor"]["Attributes"]["imageID"] == image


def test_filters(host: Host, moment: str) -> None:
    for name, label in (("one", "a=b"), ("two", "a=c")):
        host("run", "--rm", "--name", name, "-l", label, "busybox", "true")
    identity = told(host, "--since", moment, "-f", "container=one")[0]["id"]
    for words, names in (
        (["container=one"], {"one"}), (["container=one", "container=two"], {"one", "two"}),
        ([f"container={identity[:12]}"], {"one"}), (["container=nosuch"], set()), (["label=a"], {"one", "two"}),
        (["label=a=c"], {"two"}), (["label=a=c", "label=a=b"], set()), (["image=busybox", "event=die"], {"one", "two"}),
        (["event=die", "container=two"], {"two"}), (["type=network"], set()),
    ):  # fmt: skip
        flags = [flag for word in words for flag in ("-f", word)]
        found = told(host, "--since", moment, *flags)
        assert {event["Actor"]["Attributes"]["name"] for event in found} == names, words
        if "event=die" in words:
            assert set(actions(found)) == {"die"}


def test_formats_and_times(host: Host, moment: str) -> None:
    host("run", "--rm", "--name", "it", "busybox", "true")
    (line,) = host("events", "--since", moment, "--until", "0s", "-f", "event=die").splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d container die [0-9a-f]{64}"
        r" \(exitCode=0, image=busybox, name=it\)",
        line,
    )
    form = "{{.Type}} {{.Status}} {{.Actor.Attributes.name}} {{.From}}"
    shown = host("events", "--since", moment, "--no-stream", "--format", form).splitlines()
    assert shown == [f"container {action} it busybox" for action in ("create", "start", "die", "destroy")]
    assert host("events", "--until", moment, "-f", "container=it", "-f", "event=nosuch") == ""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1000))
    assert host("events", "--no-stream", "--since", stamp) == ""


WITHOUT_INOTIFY = """
import sys
from vitrine.engine import watching
watching.libc = object()
from vitrine.cli import main
main(sys.argv[1:])
"""


def read_lines(process: subprocess.Popen, count: int) -> list[str]:
    lines: list[str] = []
    buffered = b""
    while len(lines) < count:
        ready, _, _ = select.select([process.stdout], [], [], 30)
        assert ready, f"only {lines} came"
        buffered += os.read(process.stdout.fileno(), 1 << 16)
        *whole, buffered = buffered.split(b"\n")
        lines += [line.decode() for line in whole if not line.startswith(b"tag ")]
    assert not buffered
    return lines


@pytest.mark.parametrize("without", [False, True], ids=["inotify", "looking"])
def test_what_happens_while_one_watches_comes_once_and_in_order(new_host, without: bool, tmp_path: Path) -> None:
    host: Host = new_host()
    host("run", "-d", "--name", "before", "busybox", "sleep", "600")
    form = "{{.Action}} {{.Actor.Attributes.name}}"
    words = [*host.base, "events", "--format", form]
    env = host.env
    if without:
        words[:1] = [sys.executable, "-c", WITHOUT_INOTIFY]
        env = {**env, "PYTHONPATH": str(Path(journal.__file__).parents[2])}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, env=env)
    try:
        mark = iter(range(1000))

        def seen() -> bool:  # it watches once it tells of something new
            host("tag", "busybox", f"mark:{next(mark)}")
            return bool(select.select([process.stdout], [], [], 0.2)[0])

        until(seen, 30)
        host("run", "--rm", "--name", "it", "busybox", "true")
        host("stop", "-t", "0", "before")
        host("start", "before")
        host("rm", "-f", "before")
        expected = ["create it", "start it", "die it", "destroy it", "kill before", "die before", "stop before"]
        expected += ["start before", "kill before", "die before", "destroy before"]
        assert read_lines(process, len(expected)) == expected
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_it_ends_at_a_time_to_come(host: Host) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    assert host("events", "--since", "0s", "--until", stamp, "-f", "container=nosuch", timeout=30) == ""


def test_restarts_are_told_by_the_monitor(host: Host, moment: str) -> None:
    host("run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "sh", "-c", "exit 7")
    try:
        until(lambda: "exited" in host("ps", "-a", "-f", "name=again", "--format", "{{.State}}"), 20)
        events = told(host, "--since", moment, "-f", "container=again")
        assert actions(events) == ["create", *["start", "die"] * 3]
        assert {event["Actor"]["Attributes"].get("exitCode", "7") for event in events} == {"7"}
    finally:
        host("rm", "-f", "again")


def test_the_index_keeps_the_newest(tmp_path: Path) -> None:
    with Store(str(tmp_path / "root")) as store:
        count = stored.KEPT + 2000
        with store.db.transaction():
            for number in range(count):
                store.events.add("image", "tag", str(number), {})
        kept = store.events.list()
        assert stored.KEPT <= len(kept) < stored.KEPT + 1000 and kept[-1].id == str(count - 1)
        assert [int(event.id) for event in kept] == list(range(count - len(kept), count))
        assert store.events.last() == count and not store.events.list(after=count)


def test_an_event_is_undone_with_its_change(tmp_path: Path) -> None:
    with Store(str(tmp_path / "root")) as store:
        with pytest.raises(ZeroDivisionError), store.db.transaction():
            store.volumes.create("data")
            raise ZeroDivisionError
        assert store.events.list() == []


def test_what_a_power_cut_left_of_a_journal_is_told_in_order(host: Host, moment: str) -> None:
    container = host("run", "-d", "--name", "it", "busybox", "sleep", "600").strip()
    path = host.root / "containers" / container / journal.FILE
    with path.open("ab") as file:
        file.write(b'{"time":17955, "acti')
    host("rm", "-f", "it")
    assert actions(told(host, "--since", moment)) == ["create", "start", "kill", "die", "destroy"]


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["-f", "colour"], 1, ["colour", "key=value"]),
        (["-f", "colour=red"], 1, ["colour", "container"]),
        (["-f", "type=house"], 1, ["house", "network"]),
        (["--since", "soon"], 1, ["soon", "10m"]),
        (["--until", "2026-13-01"], 1, ["2026-13-01"]),
        (["--format", "xml"], 125, ["xml", "json"]),
        (["extra"], 1, ["0 arguments", "usage"]),
        (["--no-stream", "--format", "{{.Nosuch}}"], 1, ["Nosuch"]),
    ],
)
def test_wrong_usage(host: Host, words: list[str], code: int, expected: list[str]) -> None:
    refused(host.try_("events", *words), code, *expected)
