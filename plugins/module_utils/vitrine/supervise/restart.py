# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether, and after which pause, a container that ended is started again: docker's rules, as a pure function."""

from __future__ import annotations

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


def next_delay(previous_ms: int, ran_seconds: float) -> int:
    """Return the pause before the next start in ms: 100, doubling to a minute; anew after a run of ten seconds."""
    if ran_seconds >= STABLE_SECONDS or previous_ms <= 0:
        return FIRST_DELAY_MS
    return min(previous_ms * 2, LONGEST_DELAY_MS)
