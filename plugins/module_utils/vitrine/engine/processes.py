# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes of a container, as the host sees them: by its cgroup and /proc, or by the host's ps."""

from __future__ import annotations

import os
import time

from ..errors import Conflict, HostError, InvalidInput
from ..runtime import cgroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .core import Engine

TITLES = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
_DAY = 86400


def top(engine: Engine, name: str, options: Sequence[str] = ()) -> tuple[list[str], list[list[str]]]:
    """(titles, rows) of a container's processes; process ids are the host's. options: of ps, which is then asked.

    Raises Conflict when the container does not run, HostError when there is no ps, InvalidInput for its refusals.
    """
    record = engine.containers.record(name)
    observed = engine.containers.running(record)
    pids = sorted(cgroups.pids(engine.containers.cgroup(record.id)))
    if not pids:  # a host without cgroups: the first process is the one that is known
        pids = [observed["pid"]]
    if options:
        return _by_ps(pids, options)
    rows = [row for row in map(_row, pids) if row is not None]
    if not rows:
        raise Conflict(f"container {record.name!r} has just ended", hint="see 'vitrine ps -a'", value=record.name)
    return list(TITLES), rows


def _row(pid: int) -> list[str] | None:
    """One line of ps -f (proc(5), /proc/pid/stat); None when the process has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            text = file.read()
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(1 << 16).rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")
        owner = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    comm = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    tick = os.sysconf("SC_CLK_TCK")
    used = (int(fields[11]) + int(fields[12])) / tick
    age = max(_uptime() - int(fields[19]) / tick, 0.01)
    ended = fields[0] == "Z"
    return [
        _user(owner),
        str(pid),
        fields[1],
        str(min(99, int(used * 100 / age))),
        _begun(time.time() - age),
        _terminal(int(fields[4])),
        _duration(int(used)),
        words or f"[{comm}]{' <defunct>' if ended else ''}",
    ]


def _uptime() -> float:
    with open("/proc/uptime", encoding="ascii") as file:
        return float(file.read().split()[0])


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _begun(moment: float) -> str:
    recent = time.localtime(moment)[:3] == time.localtime()[:3] or time.time() - moment < _DAY
    return time.strftime("%H:%M" if recent else "%b%d", time.localtime(moment))


def _duration(seconds: int) -> str:
    days, rest = divmod(seconds, _DAY)
    text = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}-{text}" if days else text


def _terminal(device: int) -> str:
    """The name of a tty_nr: /proc/pid/stat packs it as the kernel's old device numbers, minor in two parts."""
    major, minor = device >> 8 & 0xFFF, device & 0xFF | device >> 12 & 0xFFF00
    if 136 <= major <= 143:
        return f"pts/{minor + (major - 136) * 256}"
    if major == 4:
        return f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}"
    return "console" if (major, minor) == (5, 1) else "?"


def _by_ps(pids: list[int], options: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    from ..linux.command import run, which

    program = which("ps")
    if program is None:
        raise HostError(
            "this host has no ps, which the given options are for",
            hint="install procps, or leave the options out",
            value=list(options),
        )
    done = run([program, *options])
    if done.status != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise InvalidInput(
            f"ps {' '.join(options)}: {said[0] if said else 'it failed'}", hint="see ps(1)", value=list(options)
        )
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidInput(
            f"ps {' '.join(options)} does not say which process is whose: there is no column PID",
            hint="choose a format that has it, such as -o pid,comm",
            value=list(options),
        )
    place, wanted = titles.index("PID"), set(map(str, pids))
    rows: list[Any] = [line.split(None, len(titles) - 1) for line in lines[1:]]
    return titles, [row for row in rows if len(row) > place and row[place] in wanted]
