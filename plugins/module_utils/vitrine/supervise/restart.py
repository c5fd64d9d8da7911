# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether, and after which pause, a container that ended is started again: docker's rules, as pure functions.

A monitor learns its container's policy anew at each end, from the request that it keeps in the run directory: change()
replaces it there, and has its effect on a container that runs or waits for a restart.
"""

from __future__ import annotations

import marshal
import os

from ..linux import fs
from . import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FIRST_DELAY_MS = 100
LONGEST_DELAY_MS = 60_000
STABLE_SECONDS = 10
POLICIES = ("no", "always", "unless-stopped", "on-failure")


def decide(policy: str, max_retries: int, *, exit_code: int | None, restarts: int, stop_requested: bool) -> bool:
    """Return whether to start again.

    exit_code: None when unknown, which counts as a failure. restarts: how often this was done already.
    max_retries: limit of "on-failure"; 0 is none. stop_requested: a user stopped it, which ends every policy.
    """
    if stop_requested or policy in ("", "no"):
        return False
    if policy == "on-failure":
        return exit_code != 0 and (max_retries <= 0 or restarts < max_retries)
    return policy in ("always", "unless-stopped")


def at_boot(policy: str, max_retries: int, *, exit_code: int | None, restarts: int, wanted: bool) -> bool:
    """Return whether to start a container when the host has come up.

    wanted: nobody stopped it; "always" means even then. exit_code: None for one that ran when the host went down.
    """
    if policy == "always":
        return True
    return wanted and decide(policy, max_retries, exit_code=exit_code, restarts=restarts, stop_requested=False)


def next_delay(previous_ms: int, ran_seconds: float) -> int:
    """Return the pause before the next start in ms: 100, doubling to a minute; anew after a run of ten seconds."""
    if ran_seconds >= STABLE_SECONDS or previous_ms <= 0:
        return FIRST_DELAY_MS
    return min(previous_ms * 2, LONGEST_DELAY_MS)


def saved(run_dir: str) -> dict[str, Any] | None:
    """Return the request that a container was last launched with; None when it cannot be read."""
    try:
        request = marshal.loads(fs.read_file(os.path.join(run_dir, wire.SAVED), 16 << 20))
        return request if request.get("format") == wire.SAVED_FORMAT else None
    except (OSError, ValueError, EOFError, TypeError, AttributeError):
        return None  # none yet, or written by another version of Python or of the engine


def change(
    run_dir: str,
    policy: str,
    max_retries: int,
    *,
    cgroup: dict[str, Any] | None = None,
    oom_score_adj: int | None = None,
) -> bool:
    """Give a container with a living monitor another policy, for its restarts; return whether there was one to tell.

    cgroup, oom_score_adj: the limits that a restart shall come up with; None: as they are. The caller holds the
    container's lock. RestartCount goes on, and a restart that is pending is not called off.
    """
    request = saved(run_dir)
    if request is None:
        return False
    request["restart"] = {"policy": policy, "max_retries": max_retries}
    plan = request["plan"]
    if cgroup is not None:
        request["cgroup"] = cgroup
        if plan:
            plan["cgroup"] = cgroup
    if oom_score_adj is not None and plan:
        plan["process"]["oom_score_adj"] = oom_score_adj
    fs.write_atomic(os.path.join(run_dir, wire.SAVED), marshal.dumps(request), durable=False)
    return True
