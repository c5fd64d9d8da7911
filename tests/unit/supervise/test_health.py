# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check's result means, and when the next one is due: docker's rules (daemon/health.go), as pure functions."""

from __future__ import annotations

import json

import pytest

from vitrine.supervise import health, probe, state

SECOND = 10**9
OPTIONS = {"interval": 30 * SECOND, "start_period": 0, "start_interval": 5 * SECOND}


def life(codes, *, retries=3, forgiving=()):
    """What is known after checks with these exit codes, and after which of them the status changed."""
    known = health.new()
    changes = []
    for number, code in enumerate(codes):
        entry = {"start": "", "end": "", "exit_code": code, "output": str(number)}
        if health.judge(known, entry, retries=retries, forgiving=number in forgiving):
            changes.append((number, known["status"]))
    return known, changes


@pytest.mark.parametrize(
    ("codes", "how", "changes", "streak"),
    [
        ((), {}, [], 0),
        ((0,), {}, [(0, "healthy")], 0),
        ((1, 1), {}, [], 2),
        ((1, 1, 1), {}, [(2, "unhealthy")], 3),
        ((1, 1, 1, 1), {}, [(2, "unhealthy")], 4),
        ((-1,), {"retries": 1}, [(0, "unhealthy")], 1),
        ((1, 1, 0, 1, 1), {}, [(2, "healthy")], 2),
        ((0, 1, 1, 1, 0), {}, [(0, "healthy"), (3, "unhealthy"), (4, "healthy")], 0),
        # in the start period failures do not count
        ((1, 1, 1, 1), {"forgiving": range(4)}, [], 0),
        ((1, 1, 1, 1, 1, 1), {"forgiving": range(3)}, [(5, "unhealthy")], 3),
        # a success in it ends it
        ((1, 0, 1, 1, 1), {"forgiving": range(5)}, [(1, "healthy"), (4, "unhealthy")], 3),
    ],
)
def test_results(codes, how, changes, streak):
    known, seen = life(codes, **how)
    assert seen == changes
    assert known["failing_streak"] == streak
    assert known["status"] == (changes[-1][1] if changes else "starting")


def test_the_last_five_are_kept_oldest_first():
    known, _changes = life([1] * 7)
    assert [entry["output"] for entry in known["log"]] == list("23456")


@pytest.mark.parametrize(
    ("more", "status", "age", "seconds"),
    [
        ({}, "starting", 0, 30),
        ({}, "healthy", 100, 30),
        ({"start_period": 60 * SECOND}, "starting", 0, 5),
        ({"start_period": 60 * SECOND}, "starting", 58, 2),  # none is left out when the period ends
        ({"start_period": 60 * SECOND}, "starting", 60, 30),
        ({"start_period": 60 * SECOND}, "healthy", 0, 30),
    ],
)
def test_when_the_next_check_is_due(more, status, age, seconds):
    assert health.pause({**OPTIONS, **more}, status, age * SECOND) == seconds * SECOND


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "0s"), (30 * SECOND, "30s"), (90 * SECOND, "1m30s"), (1500 * 10**6, "1s500ms"), (3600 * SECOND, "1h")],
)
def test_durations_are_written_as_they_are_read(ns, text):
    from vitrine.engine import parse

    assert health.duration(ns) == text
    assert parse.duration(text) == ns


def test_only_the_health_of_the_same_life_is_read(tmp_path):
    known, _changes = life([0])
    path = tmp_path / state.HEALTH
    path.write_text(json.dumps({"pid": 10, "start_time": 20, **known}))
    assert state.read_health(str(tmp_path), 10, 20) == known
    assert state.read_health(str(tmp_path), 10, 21) is None
    for damaged in ("", "{", "[]", "null", '{"pid": 10, "start_time": 20}'):
        path.write_text(damaged)
        assert state.read_health(str(tmp_path), 10, 20) is None
    path.unlink()
    assert state.read_health(str(tmp_path), 10, 20) is None


def test_probes_have_a_group_below_the_containers():
    both = {"unified": "/sys/fs/cgroup/unified/v/1", "mount": "/sys/fs/cgroup/unified", "dirs": {"pids": "/p/v/1"}}
    assert probe.group_plan(both) == {"unified": both["unified"] + "/vitrine.probe", "mount": both["mount"], "dirs": {}}
    old = {"unified": "", "mount": "", "dirs": {"pids": "/p/v/1", "freezer": "/f/v/1"}}
    assert probe.group_plan(old) == {"unified": "", "mount": "", "dirs": {"freezer": "/f/v/1/vitrine.probe"}}
    assert probe.group_plan(None) is None
    assert probe.group_plan({"unified": "", "mount": "", "dirs": {}}) is None
