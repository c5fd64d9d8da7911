# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From whatever surroundings the command is typed - closed streams, limits, masks, no folder - it works or says why."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support.host import CHECKOUT, Host, Result
from support.refusals import Elsewhere, in_namespace, refused, whole
from support.traces import Traces, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

FINE = ["run", "--rm", "busybox", "echo", "fine"]


def in_shell(host: Host, script: str, *words: str, env: dict[str, str] | None = None) -> Result:
    """Type a command by way of a shell, which gets it as "$@"."""
    argv = ["/bin/sh", "-c", script, "sh", *host.base, *words]
    done = subprocess.run(argv, capture_output=True, text=True, env=host.env if env is None else env, timeout=60)
    return Result(done.returncode, done.stdout, done.stderr)


def test_closed_streams(host: Host) -> None:
    assert in_shell(host, 'exec "$@" <&-', *FINE).out == "fine\n"
    script = "echo out; echo err >&2; read line; exit 4"
    for closed, out, err in (("<&- >&-", "", "err\n"), ("<&- 2>&-", "out\n", ""), ("<&- >&- 2>&-", "", "")):
        name = f"closed{len(closed)}"
        result = in_shell(host, f'exec "$@" {closed}', "run", "--name", name, "busybox", "sh", "-c", script)
        assert (result.code, result.out, result.err) == (4, out, err), closed
        assert sorted(host("logs", name).split() + host.try_("logs", name).err.split()) == ["err", "out"]
        host("rm", name)
    detached = in_shell(host, 'exec "$@" <&- >&- 2>&-', "run", "-d", "--name", "away", "busybox", "sleep", "1000")
    assert detached.code == 0, detached
    assert in_shell(host, 'exec "$@" <&- >&- 2>&-', "ps").code == 0
    refused(in_shell(host, 'exec "$@" <&-', "stop", "nobody"), 1, "no such container")
    host("rm", "-f", "away")
    whole(host)  # nothing was printed into what took the number of a closed stream


def test_output_that_cannot_be_written(host: Host) -> None:
    refused(in_shell(host, 'exec "$@" >/dev/full', "ps"), 125, "No space left on device")


@pytest.mark.parametrize("limit", [64, 256])
def test_few_open_files(host: Host, limit: int) -> None:
    script = f'ulimit -n {limit}; exec "$@"'
    for words in (FINE, ["ps", "-a"], ["images"]):
        assert in_shell(host, script, *words).code == 0, in_shell(host, script, *words)
    host("run", "-d", "--name", "published", "-p", "127.0.0.1::80", "busybox", "sleep", "1000")
    for words in (["exec", "published", "true"], ["stop", "-t", "0", "published"], ["commit", "published", "few"]):
        assert in_shell(host, script, *words).code == 0, in_shell(host, script, *words)
    host("rm", "published")
    host("rmi", "few")


def test_a_limit_of_the_size_of_files(host: Host) -> None:
    """ulimit -f, in blocks of 512 bytes: what needs larger files fails, and leaves nothing half made."""
    images = host("images", "-aq", "--no-trunc")
    tiny = 'ulimit -f 8; exec "$@"'
    refused(in_shell(host, tiny, "create", "--name", "none", "busybox"), 125, "cannot be written")
    small = 'ulimit -f 4096; exec "$@"'
    assert in_shell(host, small, *FINE).out == "fine\n"
    host("run", "--name", "large", "busybox", "dd", "if=/dev/urandom", "of=/large", "bs=1M", "count=4")
    refused(in_shell(host, small, "commit", "large", "copy"), 125)
    assert host("images", "-aq", "--no-trunc") == images
    host("commit", "large", "copy")
    host("rm", "large")
    host("rmi", "copy")
    whole(host)


@pytest.mark.parametrize("mask", ["077", "000"])
def test_the_callers_umask_is_not_the_containers(host: Host, tmp_path: Path, mask: str) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN mkdir /made && touch /made/file\nWORKDIR /work/here\n")
    script = f'umask {mask}; exec "$@"'
    names = "/etc/hosts /etc/resolv.conf /etc/hostname /volume"
    look = f"umask; stat -c '%a %n' {names}; touch /new; stat -c %a /new"
    shown = in_shell(host, script, "run", "--rm", "-v", "/volume", "busybox", "sh", "-c", look)
    assert shown.out.split() == [
        "0022", "644", "/etc/hosts", "644", "/etc/resolv.conf", "644", "/etc/hostname", "755", "/volume", "644",
    ], shown  # fmt: skip
    assert in_shell(host, script, "run", "--rm", "--user", "user", "busybox", "cat", "/etc/hosts").code == 0
    image = in_shell(host, script, "build", "-q", str(tmp_path)).out.strip()
    shown = in_shell(
        host, script, "run", "--rm", image, "stat", "-c", "%a", "/made", "/made/file", "/work", "/work/here"
    )
    assert shown.out.split() == ["755", "644", "755", "755"], shown
    for path in (host.root, host.run_root, host.root / "blobs", host.root / "containers", host.root / "layers"):
        assert path.stat().st_mode & 0o777 == 0o700, path
    for path in host.root.glob("vitrine.*"):
        assert not path.stat().st_mode & 0o022, path
    host("rmi", image)


def test_a_current_folder_that_is_gone(host: Host, tmp_path: Path) -> None:
    script = f'mkdir -p {tmp_path}/gone && cd {tmp_path}/gone && rmdir {tmp_path}/gone && exec "$@"'
    assert in_shell(host, script, *FINE).out == "fine\n"
    assert in_shell(host, script, "ps").code == 0
    refused(in_shell(host, script, "build", "."), 125, "the current folder was removed")
    refused(in_shell(host, script, "run", "--rm", "-v", "./x:/x", "busybox"), 125, "the current folder was removed")


def test_a_bare_environment(host: Host) -> None:
    for env in ({}, {"PATH": ""}, {"PATH": "/nowhere", "HOME": "/nowhere"}):
        assert in_shell(host, 'exec "$@"', *FINE, env=env).out == "fine\n"
        assert in_shell(host, 'exec "$@"', "images", env=env).code == 0
    refused(in_shell(host, 'exec "$@"', "pull", "127.0.0.1:1/none", env={}), 1, "127.0.0.1:1")


def test_a_locale_without_utf8(host: Host) -> None:
    for locale in ("C", "POSIX", "de_DE.ISO-8859-1"):
        env = {**host.env, "LC_ALL": locale, "PYTHONIOENCODING": "ascii"}
        words = ["run", "--name", "greet", "-l", "of=Grüße", "-e", "A=grün", "busybox", "sh", "-c", "echo $A ß"]
        assert in_shell(host, 'exec "$@"', *words, env=env).out == "grün ß\n"
        assert in_shell(host, 'exec "$@"', "logs", "greet", env=env).out == "grün ß\n"
        assert "Grüße" in in_shell(host, 'exec "$@"', "inspect", "-f", "{{.Config.Labels.of}}", "greet", env=env).out
        host("rm", "greet")


def test_a_read_only_tmp(host: Host) -> None:
    """Nothing needs /tmp or /var/tmp: the engine's temporary files are on its own disk."""
    base = host.root.parents[1]
    context = host.root.parent / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo built > /built\n")
    steps = [
        "mount -t tmpfs none /mnt", "mkdir /mnt/0 /mnt/1", f"mount --bind {base} /mnt/0",
        f"mount --bind {CHECKOUT} /mnt/1", "mount -t tmpfs none /tmp", "mount -t tmpfs -o ro none /var/tmp",
        f"mkdir -p {base} {CHECKOUT}", f"mount --bind /mnt/0 {base}", f"mount --bind /mnt/1 {CHECKOUT}",
        "mount -o remount,ro /tmp", "! touch /tmp/x 2>/dev/null",
    ]  # fmt: skip
    closed = Elsewhere(host, *in_namespace(" && ".join(steps)))
    assert closed(*FINE) == "fine\n"
    image = closed("build", "-q", str(context)).strip()
    assert closed("run", "--rm", image, "cat", "/built") == "built\n"
    saved = context / "saved.tar"
    closed("save", "-o", str(saved), image)
    closed("rmi", image)
    closed("load", "-i", str(saved))
    host("rmi", image)


def test_a_long_path(new_host, tmp_path: Path) -> None:
    """An address of a socket ends at 107 bytes; names of folders do not."""
    from support.base_image import busybox_image
    from vitrine.store import Store

    here = Host(tmp_path / ("x" * 200) / ("y" * 200))
    with Store(str(here.root)) as store:
        busybox_image(store)
    assert here(*FINE) == "fine\n"
    here("run", "-d", "--name", "it", "-p", "127.0.0.1::80", "busybox", "sh", "-c", "echo begun; exec sleep 1000")
    assert here("exec", "it", "echo", "inside") == "inside\n"
    assert until(lambda: here("logs", "it")) == "begun\n"
    assert here.in_terminal("exec", "-it", "it", "tty")[0] == 0
    here("commit", "it", "copy")
    here("stop", "-t", "0", "it")
    here.close()
    Traces(here).gone()
