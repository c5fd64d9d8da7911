# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engines that are measured side by side, each with state of its own in a folder of the benchmark's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def run(argv: list[str], **how: object) -> str:
    """Run a command that must succeed; returns its standard output."""
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, **how)  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def pss_of(pid: int) -> int:
    """Proportional set size of a process in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def switches_of(pid: int) -> int:
    """How often a process and its threads were put on a processor, of their own will or not."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if "ctxt_switches:" in line:
                total += int(line.split()[1])
    return total


def keepers_of(engine: EngineUnderTest) -> set[int]:
    """Pids of the processes that stay beside this engine's containers: by their names (comm, so at most 15 bytes), and
    because their command lines or open files lie in the engine's folder."""
    found = set()
    names = {name[:15] for name in engine.keepers}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        process = Path("/proc", pid)
        try:
            if (process / "comm").read_text().strip() in names:
                seen = (process / "cmdline").read_bytes().decode(errors="replace")
                seen += "".join(os.readlink(link) for link in (process / "fd").iterdir())
                if str(engine.folder) in seen:
                    found.add(int(pid))
        except OSError:
            continue
    return found


class EngineUnderTest:
    """One engine. name; command: its first words; run_flags: what every run needs on this machine."""

    name = ""
    keepers: tuple[str, ...] = ()  # names of the processes that stay beside an idle container

    def __init__(self, folder: Path) -> None:
        self.folder = folder / self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.command: list[str] = []
        self.run_flags: list[str] = []

    def __call__(self, *words: str) -> str:
        return run([*self.command, *words])

    def start(self) -> None:
        """Bring up what the engine needs."""

    def stop(self) -> None:
        """Take everything of the benchmark's away."""

    def run_argv(self, *words: str) -> list[str]:
        """The argv of a run."""
        return [*self.command, "run", *self.run_flags, *words]

    def pull(self, name: str) -> None:
        """Get an image from the loopback registry."""
        self("pull", "-q", name)

    def forget(self, name: str) -> None:
        """Remove an image and all its layers."""
        self("rmi", "-f", name)


class Vitrine(EngineUnderTest):
    """This engine, from the checkout."""

    name = "vitrine"
    keepers = ("vitrine-monitor", "vitrine-nursery")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        launcher = str(CHECKOUT / "scripts" / "vitrine")
        self.command = [launcher, "--root", str(self.folder / "root"), "--run-root", str(self.folder / "run")]

    def start(self) -> None:
        # an installed engine is byte-compiled by its role; a fresh checkout is not
        run(["/usr/bin/python3", "-m", "compileall", "-q", str(CHECKOUT / "plugins/module_utils/vitrine")])

    def stop(self) -> None:
        ids = self("ps", "-aq", "--no-trunc").split()
        if ids:
            self("rm", "-f", *ids)
        shutil.rmtree(self.folder)


class Docker(EngineUnderTest):
    """docker with a daemon of the benchmark's own."""

    name = "docker"
    keepers = ("containerd-shim-runc-v2", "docker-proxy")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.socket = f"unix://{self.folder}/sock"
        self.command = ["docker", "-H", self.socket]
        self._daemon: subprocess.Popen[bytes] | None = None
        self._had_bridge = Path("/sys/class/net/docker0").exists()

    def start(self) -> None:
        options = {"data-root": "data", "exec-root": "exec", "pidfile": "pid"}
        words = [f"--{key}={self.folder / value}" for key, value in options.items()]
        with open(self.folder / "log", "wb") as log:
            self._daemon = subprocess.Popen(
                # without CAP_SYS_RESOURCE docker's own default limit of open files cannot be set
                ["dockerd", "-H", self.socket, *words, "--default-ulimit=nofile=16384:16384"],
                stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while subprocess.run([*self.command, "version"], capture_output=True).returncode:
            if time.monotonic() > deadline or self._daemon.poll() is not None:
                raise RuntimeError(f"dockerd does not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        ids = self("ps", "-aq").split()
        if ids:
            self("rm", "-f", *ids)
        if self._daemon is not None:
            self._daemon.terminate()
            self._daemon.wait(30)
        if not self._had_bridge:
            subprocess.run(["ip", "link", "delete", "docker0"], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


class Podman(EngineUnderTest):
    """podman with runc: crun refuses mixed cgroup hierarchies."""

    name = "podman"
    keepers = ("conmon",)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.command = [
            "podman", "--runtime", "runc", "--root", str(self.folder / "root"), "--runroot", str(self.folder / "run"),
            "--cgroup-manager", "cgroupfs", "--storage-driver", "overlay",
        ]  # fmt: skip
        self.run_flags = ["--ulimit", "nofile=16384:16384", "--ulimit", "nproc=16384:16384"]

    def pull(self, name: str) -> None:
        self("pull", "-q", "--tls-verify=false", name)

    def stop(self) -> None:
        self("rm", "-a", "-f", "-t", "0")
        subprocess.run([*self.command, "rmi", "-a", "-f"], capture_output=True)
        subprocess.run(["umount", str(self.folder / "root" / "overlay")], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def version(engine: EngineUnderTest) -> str:
    """What the engine says of itself."""
    if engine.name == "vitrine":
        return json.loads(engine("version", "--format", "json"))["Version"]
    return run([engine.command[0], "--version"]).strip()
