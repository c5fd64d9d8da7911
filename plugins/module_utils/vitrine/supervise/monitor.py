# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that stands beside one container, from its start to the record of its end.

    lock -> ports, bridge -> [ cgroup, streams, init, network, exec ] -> "started" to the client -> wait
         -> end: drain, record, tell clients, clean up -> start again, or leave

It is started by launch.py in a sealed interpreter, sleeps in one poll(2), writes the log, serves attached clients,
applies the restart policy and holds the published host ports. When it is killed the container goes on; launch.adopt
gives it another one.
"""

from __future__ import annotations

import _signal
import _socket
import os
import time

from .. import clock
from ..errors import Conflict
from ..linux import memory, process
from ..runtime import seal
from . import clients, logfile, loop, report, restart, state, streams, wire
from .attendants import Attendants
from .place import Place, Shield
from .run import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    import select
    from typing import Any

_QUIET_NS = 1_000_000_000  # a piece of a line is logged as it is when nothing follows it for so long
_TELL_NS = 10_000_000_000  # how often what a full disk took is recorded, at most
# Who ends the session or shuts the host down means the container, not us.
_IGNORED = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM, _signal.SIGQUIT, _signal.SIGTSTP)
_STOP = (_signal.SIGTERM, 10)  # signal and seconds of grace, where the request names none
_STUCK_MS = 500  # how often to look whether a client that the container waits for takes anything


def main() -> int:
    """Entry point of the process; the request is its payload (see launch.py)."""
    stand_apart()
    return live()


def stand_apart() -> None:
    """Be in nobody's session and deaf to what ends sessions, and import what every monitor needs."""
    os.setsid()
    os.umask(0o077)
    for number in _IGNORED:
        _signal.signal(number, _signal.SIG_IGN)
    from ..runtime import cgroups, start  # noqa: F401 - while the request is still being made up


def live(nursery: tuple[int, int] | None = None) -> int:
    """Be the monitor that the request asks for. nursery: pid and start time of what this process was forked from."""
    request: Any = seal.request()
    status = Monitor(request, nursery).main()
    os._exit(status)  # there is nothing to tidy up, and to look for it would take longer than all of the leaving


class Monitor:
    """One container's monitor, or its worker (dozing.py). request: see launch.py; nursery: see live()."""

    def __init__(
        self, request: dict[str, Any], nursery: tuple[int, int] | None = None, *, worker: bool = False
    ) -> None:
        self._request = request
        self._worker = worker
        self._relatives = [nursery] if nursery else []
        self._loop = loop.Loop()
        self._clients = clients.Clients(self._loop, request["tty"], self._packet)
        self._clients.pause_stdin(True)  # what a client sends before the container runs waits in its socket
        self._log: Any = logfile.NoLog()
        self._state = state.new()
        self._state.update(request.get("state") or {})
        self._state.update(boot_id=process.boot_id(), monitor_pid=os.getppid() if worker else os.getpid(), error="")
        self.run: Run | None = None
        self._place = Place(request, self._state)
        self._attendants = Attendants(request, self._loop, self)
        self._window = request.get("window")
        self._shield = Shield(request.get("oom_score_adj") or b"")
        self._stage = "monitor"
        self._began_ns = 0  # of the clock that nobody sets
        self._flush_at = 0
        self._tell_dropped_at = 0
        self._restart_at = 0
        self._delay_ms = 0
        self._kill_at = 0
        self._again = False
        self._leaving = False
        self._congested = False
        self._look_ms: int | None = None
        self._recalled = False

    def main(self) -> int:
        """Do it all; return the process's exit status."""
        _signal.signal(state.RECALL, self._recall)
        if not self.begin():
            return 1
        self.tell_started()
        self._forget()
        memory.let_go()
        return self.serve()

    def serve(self) -> int:
        """Stand beside the container until its end is recorded; return the process's exit status."""
        while not self._leaving:
            self._turn()
        return self._leave()

    def tell_started(self) -> None:
        """Let the client know."""
        started = {name: self._state[name] for name in ("pid", "start_time", "ports")}
        started["warnings"] = self.run.warnings if self.run is not None else []
        report.send(wire.STATUS_FD, "started", started)
        os.close(wire.STATUS_FD)

    def _forget(self) -> None:
        """What is only needed to start the container again, if that will not be done by us."""
        if (self._request["restart"] or {}).get("policy", "no") in ("", "no") and not self._request.get("health"):
            self._request["plan"] = None

    def begin(self) -> bool:
        """Start the container, or adopt it; False when that failed, all is undone, and the client knows why."""
        try:
            self._begin()
        except Exception as error:  # noqa: BLE001 - whatever it was, the client shall hear of it
            self._give_up(error)
            return False
        return True

    # -- of a worker, and of the monitor that goes on where it ended --------------------------------------------------

    def hand_over(self) -> tuple[dict[str, Any], select.epoll]:
        """Return what resume() needs in a process with the same descriptors, and the set that says when to call it."""
        self._forget()
        self._log.close(time.time_ns(), durable=False)
        return {
            "request": self._request, "state": self._state, "began_ns": self._began_ns, "window": self._window,
            "run": self.run.handed() if self.run is not None else {}, "place": self._place.handed(),
            "listener": self._clients.listener_fd,
        }, self._loop.epoll()  # fmt: skip

    def resume(self, handed: dict[str, Any], *, recalled: bool) -> None:
        """Be the monitor of what a worker has started. recalled: the signal came meanwhile."""
        _signal.signal(state.RECALL, self._recall)
        self._recalled = recalled
        self._shield.raise_()
        self._state.update(handed["state"])
        self._began_ns, self._window = handed["began_ns"], handed["window"]
        self._place.resume(handed["place"])
        self._log = logfile.make(self._request["log"], adopting=True)
        self._clients.listen_at(_socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, handed["listener"]))
        self.run = run = Run(self._request, self._loop, self._output, self._clients.pause_stdin)
        run.resume(handed["run"])
        self._attendants.begin(run)
        self._look_ms = run.watch_end(self._init_ended)
        self._clients.pause_stdin(False)

    # -- beginning ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        request = self._request
        run_dir = request["run_dir"]
        if not self._place.take():
            raise Conflict("the container runs already", hint="stop it first", value=request["id"])
        self._stage = "log"
        self._log = logfile.make(request["log"], adopting=bool(request.get("adopt")))
        self._stage = "attach"
        if request.get("attached"):
            self._clients.add(_socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, wire.CLIENT_FD))
        self._clients.listen(run_dir)
        adopted = request.get("adopt")
        if request["network"]:
            self._stage = "network"
            self._place.hold_ports(adopting=bool(adopted))
        self._stage = "monitor"
        self._place.save()
        if adopted:
            self._adopt(*adopted)
        else:
            self._start()

    def _start(self) -> None:
        self._shield.lower()
        self._state["error"] = ""
        if self._window:
            self._request["plan"]["process"]["console_size"] = self._window
        self.run = run = Run(self._request, self._loop, self._output, self._clients.pause_stdin, worker=self._worker)
        try:
            run.start(lambda: self._attendants.begin(run))
        except BaseException:
            self._attendants.end()
            raise
        finally:
            self._stage = run.stage
            self._shield.raise_()
        self._bring_relatives()
        self._began_ns = time.monotonic_ns()
        self._state.update(started_at=clock.now(), finished_at="", exit_code=0, oom_killed=False, oom_kills=0)
        self.happened("start")
        self._runs(run)

    def _bring_relatives(self) -> None:
        """Where systemd rules, monitors leave their client's session; what forks them must not be killed with it, and
        who only works for one must bring it."""
        relatives, self._relatives = self._relatives, []
        if self._worker:
            relatives.append((os.getppid(), process.start_time(os.getppid()) or 0))
        group = self._request["cgroup"]
        if group and group["systemd"]:
            from ..runtime.cgroups import systemd

            for pid, started in relatives:
                systemd.bring(os.path.dirname(group["unified"]), pid, started)

    def _runs(self, run: Run) -> None:
        self._state.update(status="running", pid=run.pid, start_time=run.start_time)
        self._look_ms = run.watch_end(self._init_ended)
        self._clients.pause_stdin(False)
        self._place.write_state()

    def _adopt(self, pid: int, start_time: int) -> None:
        self._stage = "adopt"
        self.run = run = Run(self._request, self._loop, self._output, self._clients.pause_stdin)
        run.adopt(pid, start_time)
        self._shield.raise_()
        self._attendants.begin(run)
        self._began_ns = time.monotonic_ns()
        self._state.update(exit_code=0, finished_at="")
        if not self._state["started_at"]:
            self._state["started_at"] = clock.now()
        self._runs(run)

    def _give_up(self, error: Exception) -> None:
        """Undo what there is, record why, tell the client."""
        fields = report.describe(error, self.run.stage if self.run is not None else self._stage)
        undone = False
        if self._place.held:  # else another monitor lives: everything here is its own
            self._place.release_ports()
            self._log.close(time.time_ns(), durable=False)
            if self._request.get("adopt"):
                self._place.drop_lock()  # the container may be alive: all that it has stays
            else:
                self._state.update(status="created", pid=0, exit_code=report.exit_code(fields), error=fields["message"])
                self._place.write_state()
                self._place.let_go()
                undone = True
        report.send(wire.STATUS_FD, "error", fields)
        os.close(wire.STATUS_FD)
        self._clients.close()
        if undone:
            self._place.forget_host()

    # -- the loop -----------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._loop.turn(self._timeout())
        if self._recalled:
            self._come_back()
        run = self.run
        if run is not None:
            if self._look_ms is not None and run.ended:
                self._init_ended()
            self._congested = self._clients.congested()
            run.pause_output(self._congested)
        now = time.monotonic_ns()
        if 0 < self._attendants.next_ns <= now:
            self._attendants.due(now)
        if self._kill_at and now >= self._kill_at:
            self._kill_at = 0
            if self.run is not None:
                self.run.kill()
        if self._flush_at and now >= self._flush_at:
            self._flush_at = 0
            self._log.flush(time.time_ns())
        if self._restart_at and now >= self._restart_at:
            self._restart()

    def _recall(self, _number: int, _frame: object) -> None:
        self._recalled = True
        if self._loop.waiting:
            raise loop.Woken

    def _come_back(self) -> None:
        """Somebody may have removed the run directory, by which commands find us: make it anew."""
        self._recalled = False
        try:
            if self._place.restore():
                self._clients.listen(self._request["run_dir"])
        except OSError:
            pass  # whoever called us sees that nothing came

    def _timeout(self) -> int | None:
        """Return ms to the next thing to do; None, which is the rule: sleep until something happens."""
        times = [at for at in (self._flush_at, self._restart_at, self._kill_at, self._attendants.next_ns) if at]
        timeout = max(0, (min(times) - time.monotonic_ns()) // 1_000_000 + 1) if times else None
        if self._congested:
            timeout = _STUCK_MS if timeout is None else min(timeout, _STUCK_MS)
        if self.run is not None and self._look_ms is not None:
            timeout = self._look_ms if timeout is None else min(timeout, self._look_ms)
        return timeout

    def _output(self, kind: int, data: bytes) -> None:
        self._log.write(streams.STDOUT if kind == wire.STDOUT else streams.STDERR, data, time.time_ns())
        self._flush_at = time.monotonic_ns() + _QUIET_NS if self._log.pending else 0
        if self._log.dropped != self._state["log_dropped"] and time.monotonic_ns() >= self._tell_dropped_at:
            self._tell_dropped_at = time.monotonic_ns() + _TELL_NS
            self.note(log_dropped=self._log.dropped)
        self._clients.output(kind, data)

    def _packet(self, packet: bytes) -> None:
        kind = packet[0]
        run = self.run
        if kind == wire.STOP:
            if self._restart_at:
                self._stay_down()
        elif kind == wire.RESIZE:
            size = wire.parse_resize(packet)
            if size is not None:
                self._window = size
                if run is not None:
                    run.resize(*size)
        elif run is None:
            pass
        elif kind == wire.STDIN and run.input is not None:
            run.input.feed(packet[1:])
        elif kind == wire.STDIN_END and run.input is not None:
            if self._request["stdin_once"] and not self._request["tty"]:
                run.input.end()
        elif kind == wire.SIGNAL and len(packet) == 2:
            run.signal(packet[1])
        elif kind == wire.NAMED and self._attendants.name(run):
            self._place.save()

    # -- what attendants may ask --------------------------------------------------------------------------------------

    def note(self, **fields: Any) -> None:
        """Keep fields of the container's record (state.new has them all); they are on disk when this returns."""
        self._state.update(fields)
        if self._state["status"] == "running":  # else the record is written soon, with them
            self._place.write_state()

    def happened(self, action: str, **attributes: str) -> None:
        """Enter an event into the container's journal."""
        self._place.journal(action, attributes)

    def stop(self, *, again: bool) -> None:
        """End this run as a user's stop does, with grace. again: start anew then, whatever the policy; else stay."""
        if self.run is None:
            return
        self._again = again
        if not again:
            state.set_flag(self._request["run_dir"], state.STOP_REQUESTED, True)
        signum, seconds = self._request.get("stop") or _STOP
        self._kill_at = time.monotonic_ns() + max(0, seconds) * 1_000_000_000 if seconds >= 0 else 0
        self.run.signal(signum)

    # -- the end of a run ---------------------------------------------------------------------------------------------

    def _init_ended(self) -> None:
        run = self.run
        if run is None:
            return
        self._attendants.end()
        run.drain()  # clients get what there is, although a code that is not for us to collect may take a moment
        code = run.reap()
        run.kill_rest()
        run.drain()
        run.close_streams()
        now = time.time_ns()
        self._log.flush(now)
        self._flush_at = self._kill_at = 0
        kills = run.oom_kills()
        asked, again = self._again, self._restarts(code)
        self._state.update(
            status="restarting" if again else "exited",
            pid=0,
            start_time=0,
            exit_code=code,
            finished_at=clock.rfc3339(now),
            oom_kills=kills,
            oom_killed=kills > 0,
            log_dropped=self._log.dropped,
        )
        if kills:
            self.happened("oom")
        self.happened("die", exitCode="unknown" if code is None else str(code))  # before anybody can see that it ended
        self.run = None
        self._congested = False
        if not again:
            self._place.release_ports()
            self._log.close(now, durable=False)
        self._place.write_state(durable=not again and not self._request["auto_remove"])
        self._place.refresh_network()
        run.disconnect()
        self._clients.exited(wire.exit_packet(code, kills > 0))
        run.undo()
        if again:
            ran = (time.monotonic_ns() - self._began_ns) / 1e9
            self._delay_ms = 0 if asked else restart.next_delay(self._delay_ms, ran)
            self._restart_at = time.monotonic_ns() + self._delay_ms * 1_000_000
        else:
            self._leaving = True

    def _restarts(self, code: int | None) -> bool:
        if self._again:
            self._again = False
            return not self._place.stop_requested
        self._place.refresh_policy()
        policy = self._request["restart"] or {}
        return restart.decide(
            policy.get("policy", "no"),
            policy.get("max_retries", 0),
            exit_code=code,
            restarts=self._state["restart_count"],
            stop_requested=self._place.stop_requested,
        )

    def _restart(self) -> None:
        self._restart_at = 0
        if self._place.stop_requested:
            self._stay_down()
            return
        self._come_back()
        self._state["restart_count"] += 1
        self._place.refresh_network()
        self._clients.running()
        try:
            self._start()
        except Exception as error:  # noqa: BLE001 - as a run that failed: the policy decides what comes now
            fields = report.describe(error, self._stage)
            code = report.exit_code(fields)
            self.run = None
            self._state.update(status="restarting", pid=0, exit_code=code, error=fields["message"])
            if self._restarts(code):
                self._delay_ms = restart.next_delay(self._delay_ms, 0)
                self._restart_at = time.monotonic_ns() + self._delay_ms * 1_000_000
                self._place.write_state()
            else:
                self._stay_down()

    def _stay_down(self) -> None:
        """End while waiting for a restart, with the last run's exit code."""
        self._restart_at = 0
        self._state["status"] = "exited"
        self._place.release_ports()
        self._log.close(time.time_ns(), durable=False)
        self._place.write_state(durable=True)
        self._clients.exited(wire.exit_packet(self._state["exit_code"], self._state["oom_killed"]))
        self._leaving = True

    # -- leaving ------------------------------------------------------------------------------------------------------

    def _leave(self) -> int:
        """Let clients take what they still have to get, then end; auto_remove: by becoming the command that removes."""
        self._log.settle()
        self._place.let_go()
        self._place.forget_host()
        attended = self._clients.attended
        self._clients.drop_idle()
        while self._clients.unsent():
            self._loop.turn(_STUCK_MS)
        cleanup = self._request.get("cleanup_argv")
        self._clients.close()
        if self._request["auto_remove"] and cleanup and not attended:
            self._shield.lower()
            for number in _IGNORED:
                _signal.signal(number, _signal.SIG_DFL)
            try:
                os.execv(cleanup[0], cleanup)
            except OSError:
                return 1
        return 0
