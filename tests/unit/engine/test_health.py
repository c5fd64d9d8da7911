# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which health check a container has, from what the user and the image say; and how it is shown."""

from __future__ import annotations

import pytest

from vitrine.engine import health
from vitrine.engine.inspect import state
from vitrine.engine.spec import ContainerSpec
from vitrine.errors import InvalidInput

SECOND = 10**9
IMAGES = {"Test": ["CMD", "ok"], "Interval": 5 * SECOND, "Retries": 7}


def spec(check=None, **more) -> ContainerSpec:
    return ContainerSpec(image="x", healthcheck=check, **more)


@pytest.mark.parametrize(
    ("own", "image", "check"),
    [
        (None, {}, None),
        (None, {"Healthcheck": IMAGES}, IMAGES),
        ({"Interval": SECOND}, {"Healthcheck": IMAGES}, {**IMAGES, "Interval": SECOND}),
        ({"Interval": 0, "Retries": 0}, {"Healthcheck": IMAGES}, IMAGES),  # 0: as the image has it
        ({"Test": ["CMD-SHELL", "x"]}, {"Healthcheck": IMAGES}, {**IMAGES, "Test": ["CMD-SHELL", "x"]}),
        ({"Test": ["NONE"]}, {"Healthcheck": IMAGES}, {"Test": ["NONE"]}),
        ({"Interval": SECOND}, {}, {"Interval": SECOND}),
    ],
)
def test_the_check_in_effect(own, image, check):
    assert health.effective(spec(own), image) == check


@pytest.mark.parametrize(
    ("check", "image", "argv"),
    [
        ({"Test": ["CMD", "a", "b c"]}, {}, [b"a", b"b c"]),
        ({"Test": ["CMD-SHELL", "a && b"]}, {}, [b"/bin/sh", b"-c", b"a && b"]),
        ({"Test": ["CMD-SHELL", "a"]}, {"Shell": ["/bin/ash", "-ec"]}, [b"/bin/ash", b"-ec", b"a"]),
    ],
)
def test_what_is_run(check, image, argv):
    assert health.request(spec(check), image)["argv"] == argv


@pytest.mark.parametrize(
    "check", [None, {"Test": ["NONE"]}, {"Test": []}, {"Interval": SECOND}, {"Test": ["CMD"]}, {"Test": ["curl", "x"]}]
)
def test_nothing_is_run(check):
    assert health.request(spec(check), {}) is None


@pytest.mark.parametrize("value", [-1, 0, 1, "30s", 1.5, None, True, [], 2**64])
def test_what_no_engine_writes_into_an_image_counts_as_not_said(value):
    names = ("Interval", "Timeout", "StartPeriod", "StartInterval")
    made = health.request(spec(), {"Healthcheck": {"Test": ["CMD", "a"], **dict.fromkeys(names, value)}})
    assert made == health.request(spec({"Test": ["CMD", "a"]}), {})
    for test in ("CMD", ["CMD", value], {"CMD": "a"}, 5):
        assert health.request(spec(), {"Healthcheck": {"Test": test}}) is None or isinstance(value, str)


def test_the_defaults_are_dockers():
    assert health.request(spec({"Test": ["CMD", "a"]}), {}) == {
        "argv": [b"a"],
        "interval": 30 * SECOND,
        "timeout": 30 * SECOND,
        "start_period": 0,
        "start_interval": 5 * SECOND,
        "retries": 3,
        "on_failure": "none",
    }
    assert health.request(spec({"Test": ["CMD", "a"]}, health_on_failure="kill"), {})["on_failure"] == "kill"


def test_a_described_check_holds_what_was_said():
    check = health.described("curl -f localhost", {"Interval": "1m30s", "Timeout": None, "StartPeriod": "500ms"}, 2)
    assert check == {
        "Test": ["CMD-SHELL", "curl -f localhost"],
        "Interval": 90 * SECOND,
        "StartPeriod": SECOND // 2,
        "Retries": 2,
    }
    assert health.described(None, {}, None) == {}
    assert health.described(["NONE"], {}, None) == {"Test": ["NONE"]}


@pytest.mark.parametrize(
    ("test", "times", "retries", "message"),
    [
        (["curl", "x"], {}, None, "['curl', 'x']"),
        (["CMD"], {}, None, "['CMD']"),
        (["CMD", ""], {}, None, "not understood"),
        (["CMD-SHELL", "a", "b"], {}, None, "not understood"),
        (["NONE", "x"], {}, None, "not understood"),
        ("a\0b", {}, None, "NUL"),
        (None, {"Interval": "soon"}, None, "'soon'"),
        (None, {"Timeout": "999us"}, None, "Timeout of the health check is '999us'"),
        (None, {"Timeout": "9999999h"}, None, "Timeout"),
        (None, {"Timeout": "-1s"}, None, "'-1s'"),
        (None, {}, -1, "-1"),
    ],
)
def test_bad_input_is_named(test, times, retries, message):
    with pytest.raises(InvalidInput) as raised:
        health.described(test, times, retries)
    assert message in raised.value.message and raised.value.hint


def observed(status, known="healthy", **more):
    entry = {"start": "2026-11-24T09:00:00.0Z", "end": "2026-11-24T09:00:01.0Z", "exit_code": 0, "output": "ok\n"}
    return {"status": status, "health": {"status": known, "failing_streak": 0, "log": [entry]}, **more}


def test_it_is_shown_in_dockers_shape():
    assert state(observed("running"))["Health"] == {
        "Status": "healthy",
        "FailingStreak": 0,
        "Log": [{"Start": "2026-11-24T09:00:00.0Z", "End": "2026-11-24T09:00:01.0Z", "ExitCode": 0, "Output": "ok\n"}],
    }
    assert "Health" not in state({"status": "running"})


def test_what_has_ended_is_not_healthy():
    assert state(observed("exited", exit_code=None))["Health"]["Status"] == "unhealthy"
    assert health.status({"status": "exited"}) == "none"
    assert "Health" not in state(observed("created")) and health.status(observed("created")) == "none"


def test_a_restarting_container_runs_for_docker():
    shown = state({"status": "restarting", "exit_code": 3, "finished_at": "2026-11-24T09:00:00.0Z"})
    assert (shown["Running"], shown["Restarting"], shown["ExitCode"]) == (True, True, 3)
    assert shown["FinishedAt"] == "2026-11-24T09:00:00.0Z"
