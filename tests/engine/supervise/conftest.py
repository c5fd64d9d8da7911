# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real busybox containers under real monitors, made straight from a runtime spec: no store, no engine."""

from __future__ import annotations

import json
import os
import secrets
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vitrine.linux import process
from vitrine.runtime import cgroups
from vitrine.runtime.plan import compile_spec
from vitrine.supervise import attach, launch, logs, state, stop, wire

STATIC = ["nosuid", "noexec", "nodev"]
MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": STATIC},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance",
     "ptmxmode=0666", "mode=0620", "gid=5"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*STATIC, "ro"]},
]  # fmt: skip
DEVICES = [
    {"allow": False, "access": "rwm"},
    *({"allow": True, "type": "c", "major": 1, "minor": minor, "access": "rwm"} for minor in (3, 5, 7, 8, 9)),
    {"allow": True, "type": "c", "major": 5, "access": "rwm"},
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
]


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if Path(item.path).parent == Path(__file__).parent and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def busybox(tmp_path_factory) -> Path:
    program = Path("/bin/busybox")
    if not program.exists():
        pytest.skip("needs busybox-static")
    root = tmp_path_factory.mktemp("busybox")
    for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp"):
        (root / name).mkdir()
    shutil.copy(program, root / "bin" / "busybox")
    subprocess.run([root / "bin" / "busybox", "--install", "-s", root / "bin"], check=True)
    for link in (root / "bin").iterdir():
        if link.is_symlink():
            link.unlink()
            link.symlink_to("busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\nbob:x:1001:\n")
    root.chmod(0o755)
    return root


def until(condition, seconds=10.0):
    """Wait for a true value of condition() and return it."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.005)


class Box:
    """One container: its request, and what a command would do with it."""

    def __init__(self, settings, busybox: Path, folder: Path) -> None:
        self.settings = settings
        self.busybox = busybox
        self.folder = folder
        self.id = secrets.token_hex(32)
        self.run_dir = f"{settings.run_root}/{self.id}"
        self.state_path = str(folder / "state.json")
        self.log = str(folder / "log")
        self.launched: launch.Launched | None = None
        self.request: dict = {}
        for name in ("upper", "work"):
            (folder / name).mkdir(parents=True)

    def prepare(
        self, *argv, tty=False, stdin=False, user="", resources=None, host_pids=False, restart=("no", 0), log=None,
        network=None, ops=(), oom_score_adj=None, **more
    ):  # fmt: skip
        kinds = ("mount", "network", "ipc", "uts") + (() if host_pids else ("pid",))
        spec = {
            "ociVersion": "1.2.0",
            "process": {
                "args": list(argv),
                "terminal": tty,
                "user": {"username": user},
                "env": ["PATH=/bin", *(["TERM=xterm"] if tty else [])],
                "cwd": "/",
                "oomScoreAdj": oom_score_adj,
            },
            "root": {"path": str(self.busybox)},
            "mounts": list(MOUNTS),
            "linux": {
                "namespaces": [{"type": kind} for kind in kinds],
                "resources": {"devices": list(DEVICES), **(resources or {})},
            },
            "annotations": {
                "io.vitrine.root": json.dumps(
                    {
                        "driver": "overlay",
                        "lowers": [str(self.busybox)],
                        "upper": str(self.folder / "upper"),
                        "work": str(self.folder / "work"),
                    }
                )
            },
        }
        if oom_score_adj is None:
            del spec["process"]["oomScoreAdj"]
        self.cgroup = cgroups.compile(spec["linux"]["resources"], f"/{self.settings.tag}/{self.id}", cgroups.detect())
        self.request = {
            "id": self.id,
            "run_dir": self.run_dir,
            "state_path": self.state_path,
            "plan": compile_spec(spec, container_id=self.id, cgroup=self.cgroup, network_ops=list(ops)),
            "cgroup": self.cgroup,
            "network": network,
            "lock_path": f"{self.settings.run_root}/network.lock",
            "log": {"driver": "json-file", "path": self.log, "max_size": 0, "max_file": 1, **(log or {})},
            "restart": {"policy": restart[0], "max_retries": restart[1]},
            "tty": tty,
            "open_stdin": stdin,
            "stdin_once": stdin,
            "auto_remove": False,
            "cleanup_argv": [],
            **more,
        }
        return self

    def start(self, *argv, attached=False, forked=False, **options):
        if argv:
            self.prepare(*argv, **options)
        # forked: as commands do it; else the monitor is a child of this process, which tests can wait for
        begun = launch.begin(attach=attached, run_root=self.settings.run_root if forked else "")
        self.launched = launch.launch(self.request, attach=attached, begun=begun)
        return self

    def sh(self, script, **options):
        return self.start("sh", "-c", script, **options)

    @property
    def state(self):
        return state.observe(self.state_path, self.run_dir)

    def wait(self, seconds=20.0):
        known = stop.wait(self.state_path, self.run_dir, seconds)
        assert known["status"] == "exited", known
        return known

    def stop(self, signum=15, timeout=10.0):
        return stop.stop(self.state_path, self.run_dir, self.cgroup, signum, timeout)

    def output(self, stream="stdout", **options):
        return b"".join(text for name, text in logs.read(self.log, **options) if name == stream)

    def ended(self):
        """Wait until the monitor has left altogether."""
        monitor = self.launched.monitor_pid
        until(lambda: not state.monitor_alive(self.run_dir))
        until(lambda: process.start_time(monitor) is None or not process.alive(monitor, process.start_time(monitor)))

    def clean(self):
        """Whatever a failed test left: end it, without the code under test where that is possible."""
        if not self.request:
            return
        known = state.observe(self.state_path, self.run_dir)
        if self.launched and self.launched.attach_fd >= 0:
            os.close(self.launched.attach_fd)
            self.launched = self.launched.replace(attach_fd=-1)
        if known["status"] not in ("created", "exited") or known["monitored"]:
            self.stop(9, 0)
        cgroups.kill(self.cgroup)
        cgroups.remove(self.cgroup)


@pytest.fixture
def boxes(settings, busybox, tmp_path, leakcheck):
    """Make containers: boxes() returns a Box."""
    made = []

    def make():
        box = Box(settings, busybox, tmp_path / f"box{len(made)}")
        made.append(box)
        return box

    os.makedirs(settings.run_root, exist_ok=True)
    yield make
    for box in made:
        box.clean()


@pytest.fixture
def box(boxes):
    return boxes()


class Session:
    """A foreground client in a process of its own (its standard streams in our hands)."""

    def __init__(self, fd, *, tty=False, stdin=True, terminal=None, **options):
        inputs, outputs, errors = os.pipe(), os.pipe(), os.pipe()
        self.stdin, self.stdout, self.stderr = inputs[1], outputs[0], errors[0]
        ends = (terminal,) * 3 if terminal is not None else (inputs[0], outputs[1], errors[1])
        self.pid = os.fork()
        if self.pid == 0:
            status = 99
            try:
                for end in (self.stdin, self.stdout, self.stderr):
                    os.close(end)
                code = attach.attach_terminal(
                    fd, tty=tty, stdin=stdin, stdin_fd=ends[0], stdout_fd=ends[1], stderr_fd=ends[2], **options
                )
                status = 98 if code is None else code
            except attach.MonitorLost:
                status = 97
            finally:
                os._exit(status)
        for end in (inputs[0], outputs[1], errors[1]):
            os.close(end)
        os.close(fd)

    def type(self, data):
        os.write(self.stdin, data)

    def end_input(self):
        os.close(self.stdin)
        self.stdin = -1

    def read(self, wanted: bytes, fd=None, seconds=10.0):
        """Read until wanted has come; return everything read."""
        got = b""
        end = time.monotonic() + seconds
        while wanted not in got:
            assert select.select([fd or self.stdout], [], [], max(0, end - time.monotonic()))[0], got
            part = os.read(fd or self.stdout, 65536)
            assert part, got
            got += part
        return got

    def rest(self, fd=None):
        got = b""
        while True:
            part = os.read(fd or self.stdout, 1 << 20)
            if not part:
                return got
            got += part

    def code(self):
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def session():
    """Attach to a box: session(box) to a running one, session(box, fd) with the connection of its launch."""
    made = []

    def make(box, fd=None, **options):
        if fd is None:
            fd = attach.connect(box.run_dir, stdin=options.get("stdin", True))
        else:
            box.launched = box.launched.replace(attach_fd=-1)
        made.append(Session(fd, **options))
        return made[-1]

    yield make
    for one in made:
        for fd in (one.stdin, one.stdout, one.stderr):
            if fd >= 0:
                os.close(fd)
        try:
            os.kill(one.pid, 9)
            os.waitpid(one.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


__all__ = ["sys", "until", "wire"]
