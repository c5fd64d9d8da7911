# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host as a user sees it: an engine root of its own, and the command line that is typed on it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
VITRINE = str(CHECKOUT / "scripts" / "vitrine")


class Result:
    """What a command left: exit code, standard output and standard error as text."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    def __repr__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.out}--- stderr\n{self.err}"


class Host:
    """One engine root. close() removes its containers, so that nothing of it stays in the kernel."""

    def __init__(self, folder: Path, config: str = "{}", env: dict[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.root = folder / "root"
        self.run_root = folder / "run"
        self.config = folder / "config.json"
        self.config.write_text(config)
        self.env = {**os.environ, **(env or {})}

    @property
    def base(self) -> list[str]:
        """The command's first words."""
        return [
            VITRINE, "--root", str(self.root), "--run-root", str(self.run_root), "--config", str(self.config)
        ]  # fmt: skip

    def try_(self, *words: object, stdin: str = "", timeout: float = 300) -> Result:
        """Type a command, whatever comes of it."""
        argv = [*self.base, *map(str, words)]
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, timeout=timeout, env=self.env, errors="replace"
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def __call__(self, *words: object, stdin: str = "", timeout: float = 300) -> str:
        """Type a command that must succeed; returns its standard output."""
        result = self.try_(*words, stdin=stdin, timeout=timeout)
        assert result.code == 0, f"vitrine {' '.join(map(str, words))}: {result!r}"
        return result.out

    def spawn(self, *words: object, **how: object) -> subprocess.Popen:
        """Start a command and go on."""
        return subprocess.Popen([*self.base, *map(str, words)], env=self.env, **how)  # type: ignore[call-overload]

    def in_terminal(self, *words: object, typed: bytes = b"", timeout: float = 300) -> tuple[int, str]:
        """Type a command in a real terminal; returns (exit code, all that the terminal showed)."""
        pid, master = pty.fork()
        if pid == 0:
            os.execvpe(self.base[0], [*self.base, *map(str, words)], self.env)
        shown = bytearray()
        deadline = time.monotonic() + timeout
        try:
            while True:
                ready, _, _ = select.select([master], [], [], max(0, deadline - time.monotonic()))
                if not ready:
                    os.kill(pid, 9)
                    raise AssertionError(f"no end within {timeout} s: {shown.decode(errors='replace')}")
                try:
                    data = os.read(master, 65536)
                except OSError:
                    break
                if not data:
                    break
                shown += data
                if typed:
                    os.write(master, typed)
                    typed = b""
        finally:
            status = os.waitpid(pid, 0)[1]
            os.close(master)
        return os.waitstatus_to_exitcode(status), shown.decode(errors="replace")

    def close(self) -> None:
        """Remove all containers."""
        ids = self.try_("ps", "--all", "--quiet", "--no-trunc").out.split()
        if ids:
            self("rm", "--force", "--volumes", *ids)
