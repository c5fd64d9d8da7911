# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured: the same piece of work for every engine. A case prepares, is timed, and puts back."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

from .engines import EngineUnderTest, Vitrine, keepers_of, pss_of, run, switches_of

IDLE, MANY_IDLE = 5, 20  # containers whose keepers are weighed
WATCHED = 60  # seconds that keepers are watched
DOCKERFILE = """\
# Memcached
FROM {base}
MAINTAINER Victor Coisne victor.coisne@dotcloud.com
RUN apt-get update
RUN apt-get install -y memcached
ENTRYPOINT ["memcached"]
USER daemon
EXPOSE 11211
"""


def timed(argv: list[str]) -> float:
    """Seconds of wall clock that a command takes."""
    begin = time.perf_counter()
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end = time.perf_counter()
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit code {done.returncode}\n{done.stderr.decode()}")
    return end - begin


class Case:
    """One piece of work. unit: of what measure returns. goals: engine -> the ratio to it that is aimed at.

    only: the name of the one engine that it is for.
    """

    name = ""
    only = ""
    unit = "s"
    goals: dict[str, float] = {}

    def __init__(self, base: str, large: str, folder: Path) -> None:
        self.base = base
        self.large = large
        self.folder = folder

    def prepare(self, engine: EngineUnderTest) -> None:
        """Once for each engine, before all rounds."""

    def measure(self, engine: EngineUnderTest) -> float:
        """One round."""
        raise NotImplementedError

    def finish(self, engine: EngineUnderTest) -> None:
        """Once for each engine, after all rounds."""


class RunOnBridge(Case):
    name = "run --rm true, on the bridge"
    goals = {"docker": 0.25, "podman": 0.35}

    def measure(self, engine: EngineUnderTest) -> float:
        return timed(engine.run_argv("--rm", self.base, "true"))


class RunOnBridgeBusy(RunOnBridge):
    name = "run --rm true, on the bridge, beside another container"

    def prepare(self, engine: EngineUnderTest) -> None:
        run(engine.run_argv("-d", "--name", "neighbour", self.base, "sleep", "3600"))

    def finish(self, engine: EngineUnderTest) -> None:
        engine("rm", "-f", "neighbour")


class RunWithoutNetwork(Case):
    name = "run --rm true, without network"
    goals = {"docker": 0.25, "podman": 0.35}

    def measure(self, engine: EngineUnderTest) -> float:
        return timed(engine.run_argv("--rm", "--network", "none", self.base, "true"))


class Exec(Case):
    name = "exec true"
    goals = {"docker": 0.8}

    def prepare(self, engine: EngineUnderTest) -> None:
        run(engine.run_argv("-d", "--name", "idle", self.base, "sleep", "3600"))

    def measure(self, engine: EngineUnderTest) -> float:
        return timed([*engine.command, "exec", "idle", "true"])

    def finish(self, engine: EngineUnderTest) -> None:
        engine("rm", "-f", "idle")


class Pull(Case):
    name = "pull of 250 MB in 4 layers, from loopback"
    goals = {"docker": 0.75}

    def measure(self, engine: EngineUnderTest) -> float:
        engine.forget(self.large)
        os.sync()
        begin = time.perf_counter()
        engine.pull(self.large)
        return time.perf_counter() - begin


class Commit(Case):
    name = "commit of a small change on 250 MB"
    goals = {"docker": 0.6}

    def prepare(self, engine: EngineUnderTest) -> None:
        run(engine.run_argv("-d", "--name", "changed", self.large, "sh", "-c", "echo x > /etc/new; sleep 3600"))
        self.round = 0

    def measure(self, engine: EngineUnderTest) -> float:
        self.round += 1
        engine("exec", "changed", "sh", "-c", f"echo {self.round} > /etc/new")
        return timed([*engine.command, "commit", "changed", f"committed:{self.round}"])

    def finish(self, engine: EngineUnderTest) -> None:
        engine("rm", "-f", "changed")


class BuildWarm(Case):
    name = "build of the story's Dockerfile, all cached"

    def prepare(self, engine: EngineUnderTest) -> None:
        context = self.folder / f"context-{engine.name}"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(DOCKERFILE.format(base=self.base))
        limits = engine.run_flags if engine.name == "podman" else []
        self.argv = {
            **getattr(self, "argv", {}),
            engine.name: [*engine.command, "build", *limits, "-t", "cached", str(context)],
        }
        run(self.argv[engine.name], env={**os.environ, "DOCKER_BUILDKIT": "0"})

    def measure(self, engine: EngineUnderTest) -> float:
        return timed(self.argv[engine.name])


class Idle(Case):
    """Something about what stays beside containers in which nothing happens, for each of them."""

    number = IDLE

    def measure(self, engine: EngineUnderTest) -> float:
        names = [f"idle{number}" for number in range(self.number)]
        for name in names:
            run(engine.run_argv("-d", "--name", name, self.base, "sleep", "3600"))
        time.sleep(2)
        total = self.look(keepers_of(engine))
        engine("rm", "-f", *names)
        return total / self.number

    def look(self, pids: set[int]) -> float:
        raise NotImplementedError


class IdleMemory(Idle):
    name = f"memory beside an idle container, of {IDLE}"
    unit = "MiB"
    goals = {"docker": 0.6}

    def look(self, pids: set[int]) -> float:
        return sum(map(pss_of, pids)) / 2**20


class IdleMemoryOfMany(IdleMemory):
    name = f"memory beside an idle container, of {MANY_IDLE}"
    number = MANY_IDLE


class WakeUps(Idle):
    name = f"context switches beside an idle container in {WATCHED} s"
    unit = "switches"

    def look(self, pids: set[int]) -> float:
        before = sum(map(switches_of, pids))
        time.sleep(WATCHED)
        return sum(map(switches_of, pids)) - before


CASES = (
    RunOnBridge,
    RunOnBridgeBusy,
    RunWithoutNetwork,
    Exec,
    Pull,
    Commit,
    BuildWarm,
    IdleMemory,
    IdleMemoryOfMany,
    WakeUps,
)


def make_large_image(engine: Vitrine, base: str, name: str, folder: Path) -> None:
    """Build the image of four layers and about 250 MB: a distribution, and three layers of many files."""
    context = folder / "large"
    context.mkdir()
    chance = random.Random(1)
    lines = [f"FROM {base}"]
    for layer in range(3):
        for number in range(300):
            path = context / f"layer{layer}" / f"{number % 20}" / f"file{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            # as compressible as program text is
            path.write_text(chance.randbytes(25_000).hex() * 2)
        lines.append(f"COPY layer{layer} /srv/layer{layer}")
    (context / "Dockerfile").write_text("\n".join(lines) + "\n")
    engine("build", "-q", "-t", name, str(context))
    engine("push", "-q", name)
