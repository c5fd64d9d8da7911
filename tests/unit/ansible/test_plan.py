# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner as a table: what is, what is wanted, and which steps lead there."""

from __future__ import annotations

import pytest

from vitrine.engine.desired.normalise import container
from vitrine.engine.desired.options import CONTAINER
from vitrine.engine.desired.plan import Actual, Image, missing_image, plan
from vitrine.errors import InvalidInput

DEFAULTS = {option.name: option.default for option in CONTAINER}
NAME = "docker.io/library/busybox:latest"
OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64
ID = "a" * 64


def desired(**options):
    return container({**DEFAULTS, "name": "x", **options})


def actual(running=True, image_id=OLD, image_name=NAME, image="busybox", **options):
    return Actual(ID, desired(image=image, **options).spec, image_id, {}, running, False, image_name)


def image(image_id=OLD, **more):
    return Image(image_id, NAME, {}, **more)


def kinds(steps):
    return [action.kind for action in steps.actions]


@pytest.mark.parametrize(
    ("state", "there", "steps"),
    [
        ("absent", None, []),
        ("absent", False, ["remove"]),
        ("absent", True, ["stop", "remove"]),
        ("present", None, ["create"]),
        ("present", False, []),
        ("present", True, []),
        ("started", None, ["create", "start"]),
        ("started", False, ["start"]),
        ("started", True, []),
        ("healthy", None, ["create", "start"]),
        ("healthy", False, ["start"]),
        ("healthy", True, []),
        ("stopped", None, ["create"]),
        ("stopped", False, []),
        ("stopped", True, ["stop"]),
    ],
)
def test_states(state, there, steps):
    is_there = None if there is None else actual(running=there)
    made = plan(desired(state=state, image="busybox"), is_there, image())
    assert kinds(made) == steps
    assert made.changed is bool(steps)


@pytest.mark.parametrize(
    ("state", "running", "steps"),
    [
        ("present", True, ["stop", "remove", "create"]),
        ("present", False, ["remove", "create"]),
        ("started", True, ["stop", "remove", "create", "start"]),
        ("started", False, ["remove", "create", "start"]),
        ("stopped", True, ["stop", "remove", "create"]),
        ("stopped", False, ["remove", "create"]),
    ],
)
@pytest.mark.parametrize(
    "why",
    [
        {"options": {"recreate": True}},
        {"options": {"hostname": "other"}},
        {"image": NEW},
        {"actual": {"image_name": "docker.io/library/other:latest"}},
        {"options": {"memory": "1G", "hostname": "other"}},
    ],
    ids=str,
)
def test_made_anew(state, running, steps, why):
    wanted = desired(state=state, image="busybox", **why.get("options", {}))
    made = plan(wanted, actual(running=running, **why.get("actual", {})), image(why.get("image", OLD)))
    assert kinds(made) == steps
    assert made.changed
    assert made.differences


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({"memory": "1G"}, {"memory": 1 << 30}),
        ({"cpus": 2}, {"nano_cpus": 2 * 10**9}),
        ({"pids_limit": 5}, {"pids_limit": 5}),
        (
            {"restart_policy": "on-failure", "restart_retries": 3},
            {"restart_policy": "on-failure", "restart_retries": 3},
        ),
    ],
)
def test_limits_are_changed_in_place(running, options, values):
    made = plan(desired(image="busybox", state="present", **options), actual(running=running), image())
    assert kinds(made) == ["update"]
    assert made.actions[0].values == {"updated": ID, "update_parameters": values}


def test_limits_are_changed_before_the_start():
    made = plan(desired(image="busybox", memory="1G"), actual(running=False), image())
    assert kinds(made) == ["update", "start"]


def test_restart_only_of_what_runs_and_stays():
    assert kinds(plan(desired(image="busybox", restart=True), actual(), image())) == ["restart"]
    assert kinds(plan(desired(image="busybox", restart=True), actual(running=False), image())) == ["start"]
    made = plan(desired(image="busybox", restart=True, recreate=True), actual(), image())
    assert kinds(made) == ["stop", "remove", "create", "start"]


def test_kill_in_place_of_stop():
    made = plan(desired(state="absent", force_kill=True, kill_signal="INT"), actual(), None)
    assert kinds(made) == ["kill", "remove"]
    assert made.actions[0].values["signal"] == "INT"


@pytest.mark.parametrize(("keep", "volumes"), [(True, False), (False, True)])
def test_anonymous_volumes_are_kept_or_not(keep, volumes):
    made = plan(desired(state="absent", keep_volumes=keep), actual(), None)
    assert made.actions[-1].values["volume_state"] is volumes


def test_no_image_is_enough_for_what_exists_but_not_for_what_must_be_made():
    assert kinds(plan(desired(state="started"), actual(running=False), None)) == ["start"]
    with pytest.raises(InvalidInput, match="Cannot create container when image is not specified!"):
        plan(desired(state="started"), None, None)


def test_recreated_without_an_image_it_keeps_its_image():
    made = plan(desired(state="started", hostname="other"), actual(), None)
    create = next(action for action in made.actions if action.kind == "create")
    assert create.values["create_parameters"].image == "busybox"


def test_a_pull_counts_when_it_brought_something():
    same = plan(desired(image="busybox", pull="always"), actual(), image(pulled=True))
    assert (kinds(same), same.changed) == (["pull"], False)
    other = plan(desired(image="busybox", pull="always"), actual(), image(NEW, pulled=True, changed=True))
    assert kinds(other)[0] == "pull"
    assert other.changed


def test_in_check_mode_an_image_that_is_not_here_is_a_new_one():
    made = plan(desired(image="busybox"), actual(), image("", pulled=True, changed=True))
    assert kinds(made) == ["pull", "stop", "remove", "create", "start"]
    assert made.diff()["after"]["image"] == "unknown"


@pytest.mark.parametrize(
    "options",
    [{"comparisons": {"image": "ignore"}}, {"comparisons": {"*": "ignore"}}],
)
def test_another_image_can_be_ignored(options):
    assert kinds(plan(desired(image="busybox", **options), actual(), image(NEW))) == []


def test_another_name_of_the_image_can_be_ignored():
    there = actual(image_name="docker.io/library/other:latest")
    assert kinds(plan(desired(image="busybox", image_name_mismatch="ignore"), there, image())) == []
    assert kinds(plan(desired(image=OLD), there, Image(OLD, OLD, {}, by_id=True))) == []


def test_diff_shows_both_sides():
    made = plan(desired(image="busybox", memory="1G", state="stopped"), actual(), image())
    assert made.diff() == {"before": {"memory": 0, "running": True}, "after": {"memory": 1 << 30, "running": False}}


def test_messages_for_missing_images():
    assert missing_image("a:1", by_id=False, pull="never").message == "Cannot find image with name a:1, and pull=never"
    assert missing_image(OLD, by_id=True, pull="never").message == f"Cannot find image with ID {OLD}"
