# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a container is healthy: docker's rules as pure functions, and the attendant that asks it again and again.

What is known is a dict: status ("starting", "healthy", "unhealthy"), failing_streak, log (the last five checks: start,
end, exit_code, output). While the container runs it is in a file of the run directory (in memory: a check costs no
sync), afterwards in the container's record. A request for it ("health", see engine/health.py) holds argv, interval,
timeout, start_period, start_interval (ns), retries and on_failure ("none", "kill", "restart", "stop").
"""

from __future__ import annotations

import os
import time

from .. import clock
from ..linux import fs, process
from ..runtime import cgroups
from . import probe, state
from .jsontext import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import loop
    from .monitor import Monitor
    from .run import Run

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
STATUSES = (STARTING, HEALTHY, UNHEALTHY)
LOG_ENTRIES = 5
BEGIN_NS = 30_000_000_000  # how long the start of a check may take; it is no part of its timeout
_SECOND = 1_000_000_000
_UNITS = (("h", 3600 * _SECOND), ("m", 60 * _SECOND), ("s", _SECOND), ("ms", 1_000_000), ("us", 1000), ("ns", 1))


def new(log: list[Any] | None = None) -> dict[str, Any]:
    """What is known of a container that starts; log: that of its last life."""
    return {"status": STARTING, "failing_streak": 0, "log": list(log or ())}


def judge(known: dict[str, Any], entry: dict[str, Any], *, retries: int, forgiving: bool) -> bool:
    """Take a check's result into what is known; return whether the status changed.

    forgiving: the check began within the start period, in which a failure does not count until one has succeeded.
    """
    before = known["status"]
    known["log"] = [*known["log"], entry][-LOG_ENTRIES:]
    if entry["exit_code"] == 0:
        known.update(status=HEALTHY, failing_streak=0)
    elif not (forgiving and before == STARTING):
        known["failing_streak"] += 1
        if known["failing_streak"] >= retries:
            known["status"] = UNHEALTHY
    return bool(known["status"] != before)


def pause(options: dict[str, Any], status: str, age_ns: int) -> int:
    """Nanoseconds from the end of a check (or the start) to the next, of a container that has run for age_ns."""
    left = options["start_period"] - age_ns
    if status == STARTING and left > 0:
        return int(min(options["start_interval"], left))
    return int(options["interval"])


def duration(ns: int) -> str:
    """Nanoseconds as people write them: "1m30s"."""
    words = []
    for name, size in _UNITS:
        count, ns = divmod(ns, size)
        if count:
            words.append(f"{count}{name}")
    return "".join(words) or "0s"


class Health:
    """The attendant (see attendants.py)."""

    def __init__(self, request: dict[str, Any], events: loop.Loop, monitor: Monitor) -> None:
        self._request = request
        self._options = request["health"]
        self._loop = events
        self._monitor = monitor
        self._plan: dict[str, Any] = {}
        self._group = probe.group_plan(request["cgroup"])
        self._known = new()
        self._run: Run | None = None
        self._probe: probe.Probe | None = None
        self._born_ns = 0
        self._probe_ns = 0  # when the next check begins
        self._limit_ns = 0  # when the present one has taken too long
        self._executed = False
        self._start = ""
        self._forgiving = False

    @property
    def next_ns(self) -> int:
        """When due() has something to do; 0: nothing."""
        looks = self._probe.look_ns if self._probe is not None else 0
        return min([at for at in (self._probe_ns, self._limit_ns, looks) if at], default=0)

    def begin(self, run: Run) -> None:
        """A life has begun, or another monitor's is taken over."""
        now = time.monotonic_ns()
        self._run = run
        plan = self._request["plan"]
        self._plan = {
            "pid": run.pid,
            "start_time": run.start_time,
            "without": plan["without"],
            "confine_devices": 1,
            "cgroup": self._request["cgroup"],
            "process": {
                **plan["process"], "argv": self._options["argv"], "tty": 0, "console_size": None, "init": 0
            },
        }  # fmt: skip
        found = state.read_health(self._request["run_dir"], run.pid, run.start_time)
        if found is not None:
            self._known = found
            self._born_ns = now - _age_ns(run.start_time)
            probe.clear(self._group)  # a check of the last monitor's that nobody waits for
        else:
            self._known = new(self._known["log"])
            self._born_ns = now
        self._monitor.note(health=self._known)  # what is changed in it later is recorded with the rest
        self._save()
        self._schedule()

    def end(self) -> None:
        """The container has ended, and so has a check, without a result. As docker's, what is over is not healthy."""
        self._probe_ns = self._limit_ns = 0
        self._run = None
        if self._probe is not None:
            self._probe.abandon()
            self._probe = None
        self._known["status"] = UNHEALTHY
        try:
            os.unlink(os.path.join(self._request["run_dir"], state.HEALTH))
        except OSError:
            pass

    def due(self, now_ns: int) -> None:
        """Do what it is time for."""
        present = self._probe
        if present is not None and present.look_ns and now_ns >= present.look_ns:
            present.look()
        if self._limit_ns and now_ns >= self._limit_ns:
            self._expire()
        elif self._probe_ns and now_ns >= self._probe_ns:
            self._check()

    def _schedule(self) -> None:
        now = time.monotonic_ns()
        self._limit_ns = 0
        self._probe_ns = now + pause(self._options, self._known["status"], now - self._born_ns)

    @property
    def _frozen(self) -> bool:
        if os.path.exists(os.path.join(self._request["run_dir"], state.PAUSED)):
            return True
        return bool(self._request["cgroup"]) and cgroups.frozen(self._request["cgroup"])

    def _check(self) -> None:
        """Begin a check, unless the container is frozen: then there is nothing to be known."""
        if self._frozen:
            self._schedule()
            return
        now = time.monotonic_ns()
        self._forgiving = now - self._born_ns < self._options["start_period"]
        self._start = clock.now()
        if self._probe is not None and not self._probe.gone:
            self._judge(-1, "the process of the last health check does not end: it is uninterruptible")
            return
        self._executed = False
        self._probe_ns, self._limit_ns = 0, now + BEGIN_NS
        self._probe = probe.Probe(self._plan, self._group, self._loop, self._running, self._judge)
        try:
            self._probe.start()
        except OSError as error:
            self._probe = None
            self._judge(-1, f"the health check could not be started: {error.strerror}")

    def _running(self) -> None:
        self._executed = True
        self._limit_ns = time.monotonic_ns() + self._options["timeout"]

    def _expire(self) -> None:
        """The check has taken too long: it is killed, and its end is not waited for here."""
        self._limit_ns = 0
        if self._probe is None:
            return
        frozen, text = self._frozen, self._probe.written()
        self._probe.kill()
        if frozen:
            self._schedule()
            return
        if self._executed:
            what = f"Health check exceeded timeout ({duration(self._options['timeout'])})"
        else:
            what = f"the health check could not be started within {duration(BEGIN_NS)}"
        self._judge(-1, f"{what}: {text}" if text else what)

    def _judge(self, code: int, output: str) -> None:
        """Record a result, and do what is to be done about it."""
        if self._probe is not None and self._probe.gone:
            self._probe = None
        if self._run is None or process.ending(self._run.pid, self._run.start_time):
            self._limit_ns = 0
            return  # the container ends, and took the check with it: end() follows
        entry = {"start": self._start, "end": clock.now(), "exit_code": code, "output": output}
        changed = judge(self._known, entry, retries=self._options["retries"], forgiving=self._forgiving)
        self._save()
        self._schedule()
        if changed:
            self._monitor.happened(f"health_status: {self._known['status']}")
        if code != 0 and self._known["status"] == UNHEALTHY:
            self._act()

    def _act(self) -> None:
        """Do what on_failure says. After a kill the restart policy has its say, as after any death."""
        action = self._options["on_failure"]
        if action in ("restart", "stop"):
            self._probe_ns = 0
            self._monitor.stop(again=action == "restart")
        elif action == "kill" and self._run is not None:
            self._run.signal(9)

    def _save(self) -> None:
        """Let everybody see it. Not durable, and no reason to fail: /run may be full, or wiped."""
        if self._run is None:
            return
        text = encode({"pid": self._run.pid, "start_time": self._run.start_time, **self._known})
        try:
            path = os.path.join(self._request["run_dir"], state.HEALTH)
            fs.write_atomic(path, text.encode("ascii"), durable=False)
        except OSError:
            pass


def _age_ns(start_time: int) -> int:
    """How long ago a process started; start_time: clock ticks after boot."""
    ticks = os.sysconf("SC_CLK_TCK")
    return max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - start_time * _SECOND // ticks)
