# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Giving back text that is not needed: which mappings, and that nothing is lost by it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vitrine.linux import memory

SMAPS = """\
00400000-0041f000 r--p 00000000 fe:00 77 /usr/bin/python3.11
Rss:                 124 kB
Anonymous:             0 kB
0041f000-006d2000 r-xp 0001f000 fe:00 77 /usr/bin/python3.11
Rss:                2756 kB
Anonymous:             0 kB
00945000-00946000 r--p 00545000 fe:00 77 /usr/bin/python3.11
Anonymous:             4 kB
00946000-00a85000 rw-p 00546000 fe:00 77 /usr/bin/python3.11
Anonymous:             0 kB
3bbe4000-3bdb3000 rw-p 00000000 00:00 0 [heap]
Anonymous:             0 kB
7f85f9000000-7f85f9100000 r--p 00000000 00:00 0
Anonymous:             0 kB
7f85f9200000-7f85f9201000 r--s 00000000 fe:00 78 /usr/lib/gconv.cache
Anonymous:             0 kB
7f85f9300000-7f85f9301000 r-xp 00000000 fe:00 79 /usr/lib/with a name (deleted)
Anonymous:             0 kB
"""
MEASURE = """
import os, sys
sys.path.append(sys.argv[1])
from vitrine.linux import memory

def resident():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Rss:"))

memory.learn()
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
import decimal, json  # text that is touched
before = resident()
memory.let_go()
after = resident()
assert json.loads(json.dumps({"a": str(decimal.Decimal(1) / 3)}))["a"].startswith("0.333")
print(before, after)
"""


def test_only_what_a_file_has_every_page_of_is_given_back(tmp_path):
    (tmp_path / "smaps").write_text(SMAPS)
    assert memory.file_ranges(str(tmp_path / "smaps")) == [
        (0x400000, 0x1F000), (0x41F000, 0x2B3000), (0x7F85F9300000, 0x1000)
    ]  # fmt: skip


def test_a_kernel_that_tells_nothing_is_believed(tmp_path):
    assert memory.file_ranges(str(tmp_path / "absent")) == []
    (tmp_path / "smaps").write_text("something else\n\n")
    assert memory.file_ranges(str(tmp_path / "smaps")) == []


def test_a_process_goes_on_with_less_memory():
    package = Path(memory.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-I", "-c", MEASURE, str(package)], capture_output=True, text=True, timeout=60, check=True,
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    before, after = map(int, done.stdout.split())
    assert after < before - 500, (before, after)
