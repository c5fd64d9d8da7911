# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hundreds of containers cost each other: of this engine only, as others need minutes to start so many."""

from __future__ import annotations

import statistics
import subprocess
import time

from .cases import Case, timed
from .engines import EngineUnderTest, keepers_of, pss_of, run

FEW = 20  # starts that a median is taken of


class Many(Case):
    """A case on many containers named many0, many1, ..., which the next such case goes on with."""

    only = "vitrine"
    count = 500

    def prepare(self, engine: EngineUnderTest) -> None:
        self.fill(engine, self.count)

    def fill(self, engine: EngineUnderTest, count: int) -> None:
        """Start what is missing of so many."""
        if "busybox" not in engine("images"):
            make_busybox(engine)
        for number in range(len(run([*engine.command, "ps", "-aq"]).split()), count):
            self.start(engine, number)

    @staticmethod
    def start(engine: EngineUnderTest, number: int) -> float:
        return timed([*engine.command, "run", "-d", "--name", f"many{number}", "busybox", "sleep", "36000"])


class StartOf300th(Many):
    name = "run -d on the bridge: the 300th container's time, as a multiple of the first ones'"
    unit = "x (aim: 1.3)"
    count = 0  # it fills in steps

    def measure(self, engine: EngineUnderTest) -> float:
        timed([*engine.command, "run", "--rm", "busybox", "true"])  # what is made once is made now
        first = statistics.median(self.start(engine, number) for number in range(FEW))
        self.fill(engine, 300 - FEW // 2)
        last = statistics.median(self.start(engine, number) for number in range(300 - FEW // 2, 300 + FEW // 2))
        return last / first


class PsOf500(Many):
    name = "ps with 500 containers"
    unit = "s (aim: 0.15)"

    def measure(self, engine: EngineUnderTest) -> float:
        return statistics.median(timed([*engine.command, "ps"]) for _round in range(15))


class MemoryOf500(Many):
    name = "memory beside an idle container, of 500"
    unit = "MiB"

    def measure(self, engine: EngineUnderTest) -> float:
        return sum(map(pss_of, keepers_of(engine))) / self.count / 2**20


class StopOf250(Many):
    name = "stop of 250 containers in one command, with 500 there"

    def measure(self, engine: EngineUnderTest) -> float:
        names = [f"many{number}" for number in range(250)]
        taken = timed([*engine.command, "stop", "--time", "0", *names])
        subprocess.run([*engine.command, "start", *names], capture_output=True, check=True)
        return taken

    unit = "s in one round"


class RemovalOf500(Many):
    name = "rm -f of 500 containers in one command"
    unit = "s in one round"

    def measure(self, engine: EngineUnderTest) -> float:
        ids = engine("ps", "-aq", "--no-trunc").split()
        begin = time.perf_counter()
        engine("rm", "-f", *ids)
        return time.perf_counter() - begin


def make_busybox(engine: EngineUnderTest) -> None:
    """The smallest image: here it is the engine that is measured."""
    from support.base_image import busybox_image
    from vitrine.store import Store

    with Store(str(engine.folder / "root")) as store:
        busybox_image(store)


CASES = (StartOf300th, PsOf500, MemoryOf500, StopOf250, RemovalOf500)
