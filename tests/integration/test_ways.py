# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways to a target: how many commands, what an empty host gets, who may, and that both ways say the same."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEPT = Path("/var/lib/vitrine-engine")
COMMAND = "_low_level_execute_command(): executing:"

needs_sudo = pytest.mark.skipif(not shutil.which("sudo"), reason="needs sudo")


def container(root: Path, **options) -> dict:
    return {"vitrine.engine.container": {"engine_root": str(root), "name": "vt-ways", **options}}


@pytest.fixture
def fresh(tmp_path_factory):
    """A copy of the collection with a digest of its own: no target knows it. Its folders are removed afterwards."""
    path = tmp_path_factory.mktemp("fresh")
    copy = path / "ansible_collections" / "vitrine" / "engine"
    for name in ("plugins", "meta"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "galaxy.yml", copy)
    with open(copy / "plugins/module_utils/vitrine/version.py", "a") as file:
        file.write(f"# {time.time_ns()}\n")
    before = set(os.listdir(KEPT)) if KEPT.exists() else set()
    yield path
    for name in set(os.listdir(KEPT) if KEPT.exists() else ()) - before - {"current"}:
        text = (KEPT / name / "vitrine" / "version.py").read_text() if (KEPT / name).is_dir() else ""
        if text.rstrip().splitlines()[-1:] and text.rstrip().splitlines()[-1].startswith("# 1"):
            shutil.rmtree(KEPT / name)


def kept() -> set[str]:
    return set(os.listdir(KEPT)) if KEPT.exists() else set()


def test_a_task_that_changes_nothing_takes_one_command(play, engine_root):
    for _warm in range(2):
        done = play(
            [{"hosts": "all", "gather_facts": False, "tasks": [container(engine_root, state="absent")]}],
            environment={"ANSIBLE_DEBUG": "1"},
        )
    assert done.returncode == 0
    assert done.stdout.count(COMMAND) == 1


@pytest.mark.parametrize("way", [True, False])
def test_an_empty_host_gets_the_engine_once(way, fresh, play, engine_root):
    before = kept()
    plays = [{"hosts": "all", "gather_facts": False, "tasks": [container(engine_root, state="absent")] * 3}]
    done = play(plays, at=fresh, environment={"ANSIBLE_DEBUG": "1"}, vitrine_short_way=way)
    assert done.returncode == 0, done.stdout[-3000:]
    (name,) = kept() - before
    folder = KEPT / name
    assert folder.stat().st_uid == 0
    assert not folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    assert list(folder.glob("vitrine/engine/desired/__pycache__/serve.*.pyc"))
    if way:
        assert done.stdout.count(COMMAND) == 4


@pytest.mark.parametrize("way", [True, False])
def test_check_mode_leaves_an_empty_host_empty(way, fresh, tasks, tmp_path):
    before, temporary = kept(), set(os.listdir("/tmp"))
    root = tmp_path / "never"
    task = {**container(root, image="nothing:1"), "check_mode": True, "register": "foreseen"}
    foreseen = tasks([task], at=fresh, vitrine_short_way=way)["foreseen"]
    assert foreseen["changed"]
    assert len(foreseen["actions"]) == 3
    for action, key in zip(foreseen["actions"], ("pulled_image", "created", "started")):
        assert key in action
    assert kept() == before
    assert not root.exists()
    assert not [name for name in set(os.listdir("/tmp")) - temporary if name.startswith("vitrine")]


def test_a_python_without_packages_gets_the_controllers(fresh, tasks, engine_root, registry, tmp_path):
    if not registry:
        pytest.skip("needs docker-registry")
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    bare = str(tmp_path / "bare" / "bin" / "python3")
    lacking = subprocess.run([bare, "-c", "import requests"], capture_output=True)
    assert lacking.returncode != 0
    before = kept()
    push = {
        "vitrine.engine.container_image": {
            "engine_root": str(engine_root),
            "name": "busybox",
            "repository": f"{registry}/vt/bare:1",
            "push": True,
        },
        "register": "pushed",
    }
    pushed = tasks([push], at=fresh, ansible_python_interpreter=bare)["pushed"]
    assert pushed["changed"], pushed
    (name,) = kept() - before
    assert (KEPT / name / "site-packages" / "requests").is_dir()
    assert (KEPT / name / "site-packages" / "pyroute2").is_dir()


def test_packages_that_turn_out_to_be_missing_are_sent_later(fresh, tasks, engine_root, registry, tmp_path):
    if not registry:
        pytest.skip("needs docker-registry")
    absent = {**container(engine_root, state="absent"), "register": "first"}
    before = kept()
    tasks([absent], at=fresh)
    (name,) = kept() - before
    assert not (KEPT / name / "site-packages").exists()
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    pull = {
        "vitrine.engine.container_image": {"engine_root": str(engine_root), "name": f"{registry}/vt/none:1"},
        "register": "pulled",
    }
    pulled = tasks([pull], at=fresh, ansible_python_interpreter=str(tmp_path / "bare" / "bin" / "python3"))["pulled"]
    assert pulled["error_kind"] == "ImageNotFound", pulled
    assert (KEPT / name / "site-packages" / "requests").is_dir()


@needs_sudo
@pytest.mark.parametrize("way", [True, False])
def test_become_works(way, tasks, engine_root):
    task = {**container(engine_root, state="absent"), "become": True, "register": "done"}
    environment = {"ANSIBLE_BECOME_ALLOW_SAME_USER": "1", "ANSIBLE_DEBUG": "1"}
    results = tasks([task], environment=environment, vitrine_short_way=way)
    assert results["done"]["changed"] is False
    assert not results["done"].get("failed"), results["done"]
    assert "sudo" in results["stdout"]


@needs_sudo
def test_whoever_is_not_root_is_told_so_in_the_same_words(tasks, engine_root, fresh):
    task = {**container(engine_root, state="absent"), "become": True, "become_user": "nobody", "register": "refused"}
    environment = {"ANSIBLE_REMOTE_TMP": "/tmp/.ansible-nobody", "ANSIBLE_PIPELINING": "1"}
    answers = [
        tasks([dict(task)], environment=environment, vitrine_short_way=way, **where)["refused"]
        for way in (True, False)
        for where in ({}, {"at": fresh})
    ]
    assert all(answer["failed"] and not answer["changed"] for answer in answers), answers
    assert len({answer["msg"] for answer in answers}) == 1, answers
    assert "become: true" in answers[0]["msg"]


def test_async_goes_the_modules_way(tasks, engine_root):
    started = {**container(engine_root, state="absent"), "async": 60, "poll": 1, "register": "done"}
    done = tasks([started])["done"]
    assert done["finished"] in (1, True)
    assert not done.get("failed"), done


def test_a_connection_without_standard_input_goes_the_modules_way(play, engine_root, tmp_path):
    (tmp_path / "connection_plugins").mkdir()
    (tmp_path / "connection_plugins" / "deaf.py").write_text(
        "from ansible.plugins.connection.local import Connection as Local, DOCUMENTATION\n"
        "DOCUMENTATION = DOCUMENTATION.replace('name: local', 'name: deaf')\n"
        "class Connection(Local):\n"
        "    transport = 'deaf'\n"
        "    has_pipelining = False\n"
    )
    done = play(
        [{"hosts": "all", "gather_facts": False, "tasks": [container(engine_root, state="absent")]}],
        environment={"ANSIBLE_CONNECTION_PLUGINS": str(tmp_path / "connection_plugins"), "ANSIBLE_DEBUG": "1"},
        ansible_connection="deaf",
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert done.stdout.count(COMMAND) > 1
    assert "AnsiballZ_container" in done.stdout


def test_a_python_that_is_too_old_is_named(fresh, tasks, engine_root, tmp_path):
    old = tmp_path / "python"
    old.write_text(
        '#!/bin/sh\ncat >/dev/null\necho \'VITRINE-ABSENT {"python": [3, 6, 8], "euid": 0, "lacking": []}\'\n'
    )
    old.chmod(0o755)
    task = {**container(engine_root, state="absent"), "register": "refused"}
    refused = tasks([task], at=fresh, ansible_python_interpreter=str(old))["refused"]
    assert refused["failed"]
    assert "3.6.8" in refused["msg"]
    assert "3.9" in refused["msg"]


def test_a_target_that_gives_no_answer_is_a_failure_with_what_it_said(tasks, engine_root, tmp_path):
    odd = tmp_path / "python"
    odd.write_text("#!/bin/sh\necho something else >&2\nexit 7\n")
    odd.chmod(0o755)
    task = {**container(engine_root, state="absent"), "register": "refused"}
    refused = tasks([task], ansible_python_interpreter=str(odd))["refused"]
    assert refused["failed"]
    assert refused["rc"] == 7
    assert "something else" in refused["msg"]


def test_noise_around_the_answer_does_no_harm(tasks, engine_root, tmp_path):
    noisy = tmp_path / "python"
    noisy.write_text('#!/bin/sh\necho welcome\n/usr/bin/python3 "$@"\nstatus=$?\necho goodbye\nexit $status\n')
    noisy.chmod(0o755)
    task = {**container(engine_root, state="absent"), "register": "done"}
    done = tasks([task], ansible_python_interpreter=str(noisy))["done"]
    assert done["changed"] is False
    assert not done.get("failed"), done


def test_passwords_do_not_show_either_way(play, engine_root):
    task = container(engine_root, state="absent", username="me", password="very-secret-word")
    for way in (True, False):
        done = play(
            [{"hosts": "all", "gather_facts": False, "tasks": [task]}],
            environment={"ANSIBLE_VERBOSITY": "3"},
            vitrine_short_way=way,
        )
        assert done.returncode == 0
        assert "module_args" in done.stdout
        assert "very-secret-word" not in done.stdout


def test_environment_reaches_the_engine(tasks, engine_root, tmp_path):
    seen = tmp_path / "seen"
    spy = tmp_path / "python"
    spy.write_text(f'#!/bin/sh\necho "$MARK" > {seen}\nexec /usr/bin/python3 "$@"\n')
    spy.chmod(0o755)
    task = {**container(engine_root, state="absent"), "environment": {"MARK": "here it is"}, "register": "done"}
    assert not tasks([task], ansible_python_interpreter=str(spy))["done"].get("failed")
    assert seen.read_text() == "here it is\n"


def test_tasks_at_once_on_one_name_come_one_after_the_other(play, engine_root):
    task = container(engine_root, image="busybox", command="sleep 1000", stop_signal="KILL")
    plays = [
        {"hosts": "all", "gather_facts": False, "strategy": "free", "tasks": [task]},
        {"hosts": "h0", "gather_facts": False, "tasks": [container(engine_root, state="absent")]},
    ]
    done = play(plays, inventory="h0,h1,h2,h3,h4,h5", environment={"ANSIBLE_FORKS": "6"})
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.count("changed: [h") == 2  # one made it, and the second play removed it
    assert done.stdout.count("ok: [h") == 5
