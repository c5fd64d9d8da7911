# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What hosts lack - disk, privilege, packages, cgroup controllers, a kernel: said clearly, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.host import VITRINE, Host, Result
from support.refusals import (
    Elsewhere,
    in_namespace,
    no_container_left,  # noqa: F401  (a fixture of all tests here)
    refused,
    whole,
)
from support.registry import Registry
from vitrine import host as prerequisites
from vitrine.engine import Engine
from vitrine.errors import HostError, StartFailed
from vitrine.settings import Settings

# -- hosts that lack something ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(new_host, size: str, *, image: bool):
    """A host whose engine root is a tmpfs that only its commands see."""
    from support import base_image
    from vitrine import store

    here = new_host(image=False)
    here.root.mkdir()
    holder = subprocess.Popen(
        [*in_namespace(f"mount -t tmpfs -o size={size} none {here.root}"), "sh", "-c", "echo ready; exec sleep 600"],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"ready\n"
        small = Elsewhere(here, "nsenter", "-t", str(holder.pid), "-m", "--")
        if image:
            program = (
                "import sys; sys.path[:0] = sys.argv[2:]\n"
                "from support.base_image import busybox_image; from vitrine.store import Store\n"
                "with Store(sys.argv[1]) as store: busybox_image(store)\n"
            )
            folders = [str(Path(base_image.__file__).parents[1]), str(Path(store.__file__).parents[2])]
            subprocess.run([*small.before, sys.executable, "-c", program, str(here.root), *folders], check=True)
        yield small
        small.close()
    finally:
        holder.kill()
        holder.wait()


def test_a_full_disk_while_pulling(new_host, host: Host, loopback_registry: Registry, tmp_path: Path) -> None:
    name = f"{loopback_registry.host}/large"
    host("run", "--name", "large", "busybox", "dd", "if=/dev/urandom", "of=/large", "bs=1M", "count=8")
    host("commit", "large", name)
    host("push", "-q", name)
    host("save", "-o", tmp_path / "large.tar", name)
    host("rm", "large")
    host("rmi", name)
    for size in ("4m", "14m"):  # too small for the blobs; large enough for those, too small for their contents
        with small_disk(new_host, size, image=False) as small:
            refused(small.try_("pull", name), 125, "space")
            refused(small.try_("load", "-i", tmp_path / "large.tar"), 125, "space")
            assert small("images", "-aq") == ""
            whole(small)


def test_a_full_disk_while_working(new_host, tmp_path: Path) -> None:
    fill = "dd if=/dev/zero of=/x bs=1M count=64"
    (tmp_path / "Dockerfile").write_text(f"FROM busybox\nRUN echo good > /good\nRUN {fill}\n")
    with small_disk(new_host, "24m", image=True) as small:
        failed = small.try_("run", "--name", "full", "busybox", "dd", "if=/dev/urandom", "of=/x", "bs=1M", "count=64")
        assert failed.code == 1 and "No space left on device" in failed.err
        refused(small.try_("commit", "full", "copy"), 125, "space")
        assert "copy" not in small("images", "-a")
        whole(small)
        small("rm", "full")
        small("run", "--name", "half", "busybox", "dd", "if=/dev/urandom", "of=/x", "bs=1M", "count=13")
        refused(small.try_("commit", "half", "copy"), 125, "space")
        assert small("run", "--rm", "busybox", "echo", "works") == "works\n"  # what was begun was undone
        small("rm", "half")
        result = small.try_("build", tmp_path)
        assert result.code == 1 and "No space left on device" in result.out + result.err, result
        whole(small)
        assert small("run", "--rm", "busybox", "echo", "works") == "works\n"


def test_not_root(host: Host) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    for words in (["ps"], ["run", "busybox"], ["images"], ["pull", "busybox"], ["info"], ["check"]):
        # the checkout's folders may be closed to others: the program is handed over as a copy
        refused(from_copy(host, user, *words), 125, "root", "sudo")
    assert from_copy(host, user, "--help").code == 0
    assert from_copy(host, user, "version").code == 0


def from_copy(host: Host, before: list[str], *words: str) -> Result:
    """Type a command with the engine copied to where everybody may read it."""
    copy = Path("/tmp") / f"vitrine-test-{os.getpid()}"
    package = Path(VITRINE).parents[1] / "plugins/module_utils/vitrine"
    try:
        shutil.copytree(package, copy / "vitrine", ignore=shutil.ignore_patterns("__pycache__"))
        copy.chmod(0o755)
        program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from vitrine.cli import main; main()"
        (copy / "config.json").write_text("{}")
        settings = [*host.base[1:-1], str(copy / "config.json")]
        argv = [*before, "/usr/bin/python3", "-ISB", "-c", program, str(copy), *settings, *words]
        done = subprocess.run(argv, capture_output=True, text=True, env=host.env, cwd="/")
        return Result(done.returncode, done.stdout, done.stderr)
    finally:
        shutil.rmtree(copy)


def test_without_requests_and_pyroute2(host: Host, loopback_registry: Registry, pushed: str) -> None:
    hide = (
        "for d in /usr/lib/python3/dist-packages /usr/local/lib/python3*/dist-packages "
        "/usr/lib/python3*/site-packages /usr/local/lib/python3*/site-packages; do "
        '[ ! -d "$d" ] || mount -t tmpfs none "$d" || exit 9; done'
    )
    bare = Elsewhere(host, *in_namespace(hide))
    name = f"{loopback_registry.host}/{pushed}"
    refused(bare.try_("pull", name), 125, "requests", "install python3-requests")
    refused(bare.try_("push", name), 1, name)
    refused(bare.try_("search", "x"), 125, "requests")
    # what needs no registry works: the network is made without pyroute2, too
    assert bare("run", "--rm", "busybox", "echo", "fine") == "fine\n"
    missing = {item["name"]: item for item in json.loads(bare.try_("check", "--format", "json").out)["host"]}
    for package in ("requests", "pyroute2"):
        assert not missing[f"python {package}"]["ok"]
        assert f"python3-{package}" in missing[f"python {package}"]["fix"]


@pytest.mark.parametrize(
    ("controller", "flags"),
    [("memory", ["-m", "64m"]), ("pids", ["--pids-limit", "5"]), ("cpu", ["--cpus", "0.5"])],
)
def test_a_controller_that_is_not_there(host: Host, controller: str, flags: list[str]) -> None:
    places = [
        line.split()[1]
        for line in Path("/proc/self/mounts").read_text().splitlines()
        if line.split()[2] == "cgroup" and controller in line.split()[3].split(",")
    ]
    if not places:
        pytest.skip("this host has no version 1 controllers")
    lacking = Elsewhere(host, *in_namespace(f"umount {places[0]}"))
    refused(lacking.try_("run", "--rm", *flags, "busybox", "true"), 125, controller, "leave")
    assert lacking("run", "--rm", "busybox", "echo", "without limits") == "without limits\n"
    found = {item["name"]: item for item in json.loads(lacking.try_("check", "--format", "json").out)["host"]}
    assert not found[f"cgroup {controller}"]["ok"]


def test_a_kernel_that_is_too_old() -> None:
    with pytest.raises(HostError) as caught:
        prerequisites.require(prerequisites.check(release="3.2.0-4-amd64"))
    text = str(caught.value)
    for word in ("3.2.0-4-amd64", "3.8 or later", "linux-image"):
        assert word in text
    assert caught.value.exit_code == 125


def test_a_start_that_fails_for_want_of_a_kernel_says_so(settings: Settings) -> None:
    system = Engine(settings).system
    failed = StartFailed("no new namespaces: Invalid argument", stage="namespace")
    lacking = system.explained(failed, release="3.2.0-4-amd64")
    assert isinstance(lacking, HostError) and lacking.exit_code == 125
    for word in ("no new namespaces", "3.2.0-4-amd64", "3.8 or later", "linux-image"):
        assert word in str(lacking)
    assert system.explained(failed) is failed  # this host has everything
    of_the_user = StartFailed("unable to find user x", stage="user")
    assert system.explained(of_the_user, release="3.2.0-4-amd64") is of_the_user


def test_a_damaged_or_mistaken_configuration_file(host: Host) -> None:
    for text, words in (("{", ["JSON"]), ("[]", ["object"]), ('{"dsn": []}', ["dsn", "known keys"])):
        file = host.root.parent / "bad.json"
        file.write_text(text)
        argv = [*host.base[:-1], str(file), "ps"]
        done = subprocess.run(argv, capture_output=True, text=True)
        refused(Result(done.returncode, done.stdout, done.stderr), 1, "bad.json", *words)


def test_a_root_that_cannot_be(host: Host) -> None:
    for root in ("/proc/vitrine", "/etc/passwd"):
        argv = [VITRINE, "--root", root, "--run-root", str(host.run_root), "images"]
        done = subprocess.run(argv, capture_output=True, text=True)
        refused(Result(done.returncode, done.stdout, done.stderr), 125, root)
