# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the monitor writes without the json module is JSON, times are RFC 3339, errors keep their class on a pipe."""

from __future__ import annotations

import json
import marshal
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine import clock, errors
from vitrine.linux import process
from vitrine.supervise import jsontext, report, restart, state, wire

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_encoded_values_are_what_json_reads(value):
    text = jsontext.encode(value)
    assert text.isascii()
    assert json.loads(text) == value


@given(st.text(st.characters(codec=None)))
def test_the_table_quotes_as_the_c_code_does(text):
    assert json.loads(jsontext._quote(text), strict=True) == text
    assert json.loads(jsontext._quote_ascii(text)) == text and jsontext._quote_ascii(text).isascii()


def test_a_value_without_json_form_is_refused():
    with pytest.raises(TypeError):
        jsontext.encode(b"bytes")


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
        (1_700_000_001_000_000_001, "2023-11-14T22:13:21.000000001Z"),
    ],
)
def test_times(ns, text):
    assert clock.rfc3339(ns) == text


@pytest.mark.parametrize(
    "error",
    [
        errors.StartFailed("no", stage="mount", errno=22, hint="do", value="/x"),
        errors.CommandNotFound("nix", stage="exec", errno=2, value="foo"),
        errors.PortInUse("taken", hint="other", value="0.0.0.0:80/tcp"),
        errors.HostError("no memory controller"),
    ],
)
def test_errors_cross_the_pipe_in_their_class(error):
    read, write = os.pipe()
    report.send(write, "error", report.describe(error, "elsewhere"))
    word, fields = report.receive(read)
    os.close(read)
    os.close(write)
    again = report.rebuild(fields)
    assert (word, type(again)) == ("error", type(error))
    assert again.__dict__ == error.__dict__
    assert str(again) == str(error)


def test_an_unexpected_error_names_its_stage_and_file():
    fields = report.describe(PermissionError(13, "Permission denied", "/sys/x"), "cgroup")
    error = report.rebuild(fields)
    assert type(error) is errors.StartFailed
    assert (error.stage, error.errno) == ("cgroup", 13)
    assert "cgroup: Permission denied (/sys/x)" in str(error)
    assert isinstance(report.rebuild(report.describe(OSError(28, "No space left"), "log")), errors.DiskFull)


def test_a_closed_pipe_is_no_message():
    read, write = os.pipe()
    os.write(write, b"\0\0")
    os.close(write)
    assert report.receive(read) is None
    os.close(read)


@pytest.mark.parametrize(
    ("cls", "code"), [(errors.CommandNotFound, 127), (errors.CommandNotExecutable, 126), (errors.StartFailed, 128)]
)
def test_exit_codes_of_failed_starts(cls, code):
    assert report.exit_code(report.describe(cls("x"), "")) == code


# -- restart policies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "retries", "code", "restarts", "stopped", "again"),
    [
        ("no", 0, 1, 0, False, False),
        ("", 0, 1, 0, False, False),
        ("always", 0, 0, 1000, False, True),
        ("always", 0, 0, 0, True, False),
        ("unless-stopped", 0, 0, 5, False, True),
        ("unless-stopped", 0, 0, 5, True, False),
        ("on-failure", 0, 0, 0, False, False),
        ("on-failure", 0, 1, 99, False, True),
        ("on-failure", 3, 1, 2, False, True),
        ("on-failure", 3, 1, 3, False, False),
        ("on-failure", 3, None, 0, False, True),
        ("on-failure", 3, 1, 0, True, False),
    ],
)
def test_restart_policy(policy, retries, code, restarts, stopped, again):
    assert restart.decide(policy, retries, exit_code=code, restarts=restarts, stop_requested=stopped) is again


@pytest.mark.parametrize(
    ("policy", "retries", "code", "restarts", "wanted", "starts"),
    [
        ("no", 0, None, 0, True, False),
        ("always", 0, None, 0, True, True),
        ("always", 0, 0, 0, False, True),  # docker's: stopped or not
        ("unless-stopped", 0, None, 0, True, True),
        ("unless-stopped", 0, None, 0, False, False),
        ("on-failure", 0, None, 0, True, True),  # that the host went down under it is a failure
        ("on-failure", 0, 0, 0, True, False),  # it had done its work
        ("on-failure", 0, 1, 0, False, False),
        ("on-failure", 3, 1, 3, True, False),
        ("on-failure", 3, 1, 2, True, True),
    ],
)
def test_restart_policy_at_boot(policy, retries, code, restarts, wanted, starts):
    assert restart.at_boot(policy, retries, exit_code=code, restarts=restarts, wanted=wanted) is starts


def test_a_changed_policy_is_in_the_kept_request(tmp_path):
    assert not restart.change(str(tmp_path), "always", 0)  # nobody to tell
    kept = {
        "format": wire.SAVED_FORMAT,
        "plan": {"process": {"argv": [b"x"]}},
        "restart": {"policy": "no", "max_retries": 0},
    }
    (tmp_path / wire.SAVED).write_bytes(marshal.dumps(kept))
    assert restart.change(str(tmp_path), "on-failure", 4)
    assert restart.saved(str(tmp_path)) == {**kept, "restart": {"policy": "on-failure", "max_retries": 4}}
    (tmp_path / wire.SAVED).write_bytes(b"damaged")
    assert restart.saved(str(tmp_path)) is None and not restart.change(str(tmp_path), "no", 0)


def test_delays_double_to_a_minute_and_begin_anew_after_ten_seconds():
    delays = [0]
    for _ in range(12):
        delays.append(restart.next_delay(delays[-1], 0.01))
    assert delays[1:5] == [100, 200, 400, 800]
    assert delays[-1] == 60_000
    assert restart.next_delay(60_000, 10) == 100
    assert restart.next_delay(100, 9.9) == 200


# -- the state file ---------------------------------------------------------------------------------------------------


@pytest.fixture
def places(tmp_path):
    (tmp_path / "run").mkdir()
    return str(tmp_path / "state.json"), str(tmp_path / "run")


def running(**changes):
    known = state.new("running")
    known.update(pid=os.getpid(), start_time=process.start_time(os.getpid()), boot_id=process.boot_id())
    known.update(changes)
    return known


def test_state_survives_a_round_trip(places):
    path, _run_dir = places
    known = running(ports=[["0.0.0.0", 8080, 80, "tcp"]], error='"quoted"\n', exit_code=None)
    state.write(path, known)
    assert state.read(path) == known
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.listdir(os.path.dirname(path)).count("state.json") == 1


def test_no_record_is_a_new_container_and_a_damaged_one_is_an_unknown_end(places):
    path, run_dir = places
    assert state.observe(path, run_dir)["status"] == "created"
    with open(path, "w") as file:
        file.write('{"status": "runn')
    assert (state.read(path)["status"], state.read(path)["exit_code"]) == ("exited", None)


def test_a_living_init_without_monitor_runs_unmonitored(places):
    path, run_dir = places
    state.write(path, running())
    seen = state.observe(path, run_dir)
    assert (seen["status"], seen["monitored"]) == ("running", False)


@pytest.mark.parametrize("changes", [{"pid": 2**22 - 1}, {"start_time": 1}, {"boot_id": "another"}])
def test_what_nobody_saw_end_is_unknown_never_zero(places, changes):
    path, run_dir = places
    state.write(path, running(**changes))
    seen = state.observe(path, run_dir)
    assert (seen["status"], seen["exit_code"], seen["monitored"]) == ("exited", None, False)
    assert seen["error"]


def test_a_pause_before_a_restart_without_monitor_is_an_end(places):
    path, run_dir = places
    state.write(path, running(status="restarting", pid=0, start_time=0, exit_code=3))
    seen = state.observe(path, run_dir)
    assert (seen["status"], seen["exit_code"]) == ("exited", 3)
    assert seen["error"]


def test_flags(places):
    path, run_dir = places
    state.write(path, running())
    state.set_flag(run_dir, state.PAUSED, True)
    state.set_flag(run_dir, state.STOP_REQUESTED, True)
    seen = state.observe(path, run_dir)
    assert (seen["status"], seen["stop_requested"]) == ("paused", True)
    state.set_flag(run_dir, state.PAUSED, False)
    state.set_flag(run_dir, state.PAUSED, False)
    assert state.observe(path, run_dir)["status"] == "running"


def test_the_lock_lives_and_dies_with_its_process(places):
    _path, run_dir = places
    assert not state.monitor_alive(run_dir)
    ready, tell = os.pipe()
    hold, release = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(release)
        if state.take_lock(run_dir) >= 0 and os.fork() == 0:
            os.read(hold, 1)  # a grandchild has the descriptor, but not the lock
            os._exit(0)
        os.write(tell, b"x")
        os.read(hold, 1)
        os._exit(0)
    os.read(ready, 1)
    try:
        assert state.monitor_alive(run_dir)
        assert state.take_lock(run_dir) == -1
        assert state.monitor_alive(run_dir)  # asking and failing takes nothing
        os.kill(child, 9)
        os.waitpid(child, 0)
        assert not state.monitor_alive(run_dir)
        fd = state.take_lock(run_dir)
        assert fd >= 0
        os.close(fd)
    finally:
        for fd in (ready, tell, hold, release):
            os.close(fd)


def test_an_init_that_nobody_recorded_is_found(places):
    path, run_dir = places
    assert state.living_init(run_dir) is None
    own = (os.getpid(), process.start_time(os.getpid()))
    state.write_init(run_dir, *own)
    assert state.living_init(run_dir) == own
    seen = state.observe(path, run_dir)
    assert (seen["status"], seen["pid"], seen["start_time"], seen["monitored"]) == ("running", *own, False)
    state.write_init(run_dir, os.getpid(), 1)
    assert state.living_init(run_dir) is None
    assert state.observe(path, run_dir)["status"] == "created"


# -- what the monitor imports -----------------------------------------------------------------------------------------

COSTLY = "json re typing dataclasses enum contextlib pathlib logging subprocess tempfile shutil argparse socket signal"


def test_the_monitor_imports_nothing_costly():
    """Each of these costs more time than the monitor's part of a start, and memory in every container's monitor."""
    package = Path(state.__file__).parents[2]
    program = (
        f"import sys; sys.path.append({str(package)!r}); import vitrine.supervise.monitor;"
        "from vitrine.runtime import start, cgroups; from vitrine.runtime.cgroups import oom;"
        "from vitrine.network import links, ports; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert sorted(set(COSTLY.split()) & set(done.stdout.split())) == []
