# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of the host, run with a fixed environment and no shell. Never used between entering a container and exec."""

from __future__ import annotations

import os

from ..errors import DependencyMissing, HostError
from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Completed(Record):
    """How a program ended. status: its exit status, or minus the signal that killed it."""

    status: int
    stdout: bytes
    stderr: bytes


def which(name: str) -> str | None:
    """Absolute path of the program in the host's usual places, or None."""
    if "/" in name:
        return name if os.access(name, os.X_OK) and os.path.isfile(name) else None
    for folder in SEARCH_PATH.split(":"):
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def run(
    argv: Sequence[str | bytes],
    *,
    input: bytes | None = None,  # noqa: A002 - as subprocess.run names it
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    timeout: float | None = None,
    stdout: int | None = None,
) -> Completed:
    """Run the program to its end.

    env: added to a fixed environment (PATH, LC_ALL=C). timeout: seconds. stdout: a file descriptor that gets the
    standard output instead of the result. Raises DependencyMissing when there is no such program, HostError when it
    took too long (it is killed then). A status other than 0 is the caller's to judge.
    """
    import subprocess  # pylint: disable=ansible-bad-import-from

    program = os.fsdecode(argv[0])
    path = which(program)
    if path is None:
        raise DependencyMissing(
            f"the program {program!r} is not installed", hint="install the package that holds it", value=program
        )
    environment = {"PATH": SEARCH_PATH, "LC_ALL": "C", "HOME": "/root", **(env or {})}
    try:
        done = subprocess.run(
            [path, *argv[1:]],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE,
            env=environment,
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HostError(f"{program} did not end within {timeout:g} s", value=program) from None
    except OSError as error:
        raise HostError(f"{program} cannot be run: {error.strerror}", value=program) from None
    return Completed(done.returncode, done.stdout or b"", done.stderr or b"")
