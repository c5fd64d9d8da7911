# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one container for a test, in the place of the monitor: JSON request on standard input, JSON result on output.

request: {"spec", "cgroup" (resources) or null, "tag", "input",
"await" (what to read before sending it), "exec": OCI process or null, "without": [...],
"modules": true to compare sys.modules, "timeout": seconds, "leave": true to end at once when the process runs}
result: {"status", "output", "error": {...} or null, "exec_status", "exec_output", "modules": [...], "ms": {...}}
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "plugins" / "module_utils"))

from vitrine.errors import VitrineError  # noqa: E402
from vitrine.linux import features  # noqa: E402
from vitrine.runtime import become, cgroups, entry, init, start  # noqa: E402
from vitrine.runtime import exec as execs  # noqa: E402
from vitrine.runtime.plan import compile_spec  # noqa: E402


def read_all(fd: int, deadline: float) -> bytes:
    data = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            return data + b"[timeout]"
        try:
            chunk = os.read(fd, 65536)
        except OSError:
            return data  # a terminal whose other side is gone
        if not chunk:
            return data
        data += chunk


def wait(pid: int, deadline: float) -> int:
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, 9)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def error_of(error: VitrineError) -> dict:
    return {
        "kind": error.kind,
        "stage": getattr(error, "stage", ""),
        "errno": getattr(error, "errno", 0),
        "text": str(error),
    }


def watch_modules(report: int) -> None:
    """Tell which modules were loaded between pivot_root and execve."""
    enter, execute = init.Executor.enter, become.execute
    before: set[str] = set()

    def enter_watched(self) -> None:
        before.update(sys.modules)
        enter(self)

    def execute_watched(path, argv, env) -> None:
        os.write(report, json.dumps(sorted(set(sys.modules) - before)).encode())
        execute(path, argv, env)

    close = entry.close_others
    entry.close_others = lambda keep: close((*keep, report))
    init.Executor.enter, become.execute = enter_watched, execute_watched


def run_exec(request: dict, process, plan: dict, result: dict, deadline: float) -> None:
    out, into = os.pipe()
    try:
        exec_plan = execs.compile_exec(
            request["exec"], pid=process.pid, start_time=process.start_time, cgroup=plan["cgroup"], spec=request["spec"]
        )
        tty = bool(exec_plan["process"]["tty"])
        null = os.open("/dev/null", os.O_RDWR)
        begun = time.monotonic()
        running = execs.spawn(exec_plan, None if tty else (null, into, into))
        result["ms"]["exec"] = (time.monotonic() - begun) * 1e3
        os.close(into)
        into = -1
        result["exec_output"] = read_all(running.console_fd if tty else out, deadline).decode("utf-8", "replace")
        result["exec_status"] = os.waitstatus_to_exitcode(running.wait())
    except VitrineError as error:
        result["exec_error"] = error_of(error)
    finally:
        os.close(out)
        if into >= 0:
            os.close(into)


def main() -> None:
    request = json.load(sys.stdin)
    features.set_without(request.get("without") or [])
    result: dict = {"status": None, "output": "", "error": None, "ms": {}}
    deadline = time.monotonic() + request.get("timeout", 20)
    group = None
    container_id = request.get("id", "test")
    if request.get("cgroup") is not None:
        group = cgroups.compile(request["cgroup"], f"/{request['tag']}/{container_id}", cgroups.detect())
    output = b""
    modules_out, modules_in = os.pipe()
    if request.get("modules"):
        watch_modules(modules_in)
    try:
        plan = compile_spec(
            request["spec"], container_id=container_id, cgroup=group, network_ops=request.get("network_ops")
        )
        tty = bool(plan["process"]["tty"])
        stdin_out, stdin_in = os.pipe()
        out, into = os.pipe()
        begun = time.monotonic()
        result["warnings"] = cgroups.create(group) if group else []
        process = start.create(plan, None if tty else (stdin_out, into, into))
        process.proceed()
        result["ms"]["start"] = (time.monotonic() - begun) * 1e3
        os.close(into)
        os.close(stdin_out)
        if request.get("exec"):
            run_exec(request, process, plan, result, deadline)
        if request.get("leave"):
            os._exit(0)
        source, target = (process.console_fd,) * 2 if tty else (out, stdin_in)
        while request.get("await", "").encode() not in output and time.monotonic() < deadline:
            output += os.read(source, 65536)
        os.write(target, request.get("input", "").encode())
        if not tty:
            os.close(stdin_in)
        output += read_all(source, deadline)
        result["status"] = wait(process.pid, deadline)
        result["oom_kills"] = cgroups.oom_kills(group) if group else 0
    except VitrineError as error:
        result["error"] = error_of(error)
    finally:
        if group:
            cgroups.kill(group)
            cgroups.remove(group)
    os.close(modules_in)
    if request.get("modules"):
        result["modules"] = json.loads(os.read(modules_out, 65536) or b"null")
    result["output"] = output.decode("utf-8", "replace")
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
