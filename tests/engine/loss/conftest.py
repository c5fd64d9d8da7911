# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests that kill share: hosts, the count of a command's calls, and death at one of them."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess

import pytest

from support.host import Host
from support.registry import Registry
from support.traces import Traces, until

#: What a client does that anybody else can see.
CALLS = (
    "mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,fsync,fdatasync,"
    "pwrite64,ftruncate,fork,vfork,clone,clone3,execveat,sendto,sendmsg,mount,umount2,flock,setxattr,fsetxattr,kill"
)
ALL = os.environ.get("VITRINE_TEST_LOSS") == "all"
POINTS = 12
SERVE = ("sh", "-c", "while :; do echo served | nc -l -p 80; done")
HELLO = ("sh", "-c", "echo hello; exit 3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("loss")


@pytest.fixture(scope="module")
def host(folder):
    from support.base_image import busybox_image
    from vitrine.store import Store

    here = Host(folder / "one")
    with Store(str(here.root)) as store:
        busybox_image(store)
    yield here
    here.close()
    Traces(here).gone()


@pytest.fixture(scope="module")
def registry(folder):
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry")
    (folder / "registry").mkdir()
    registry = Registry(folder / "registry")
    yield registry
    registry.close()


@pytest.fixture
def traces(host):
    """The host's traces: none before a test, and none after it."""
    here = Traces(host)
    here.gone()
    yield here
    host.close()
    host("check")
    here.gone()


def whole(host: Host) -> None:
    """One command passes, and says that nothing is lost."""
    result = host.try_("check")
    assert result.code == 0 and "the store is whole" in result.out, result
    assert "could not put right" not in result.out, result


def calls(host: Host, *words: object) -> int:
    """How many of CALLS a command makes."""
    log = host.root.parent / "calls"
    argv = ["strace", "-qq", "-o", log, "-e", f"trace={CALLS}", "-e", "signal=none", *host.base, *map(str, words)]
    subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, env=host.env, timeout=60)
    count = len(log.read_text().splitlines())
    log.unlink()
    return count


def instants(count: int, points: int = POINTS) -> list[int]:
    """Some of 1..count, spread evenly, the last one included; all of them if wanted."""
    if ALL or count <= points:
        return list(range(1, count + 1))
    return sorted({1 + round(step * (count - 1) / (points - 1)) for step in range(points)})


def killed_at(host: Host, call: int, *words: object) -> bool:
    """Run a command and kill its process at one of CALLS; returns whether it came so far."""
    argv = [
        "strace", "-qq", "-o", "/dev/null", "-e", f"trace={CALLS}", "-e", f"inject={CALLS}:signal=KILL:when={call}",
        *host.base, *map(str, words),
    ]  # fmt: skip
    done = subprocess.run(
        argv, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=host.env, timeout=60,
    )  # fmt: skip
    return done.returncode == -signal.SIGKILL


def no_containers(host: Host) -> None:
    """Remove what a killed command made before it was killed: it may well have been done."""
    host.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(port: int) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as connection:
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(100)
    except OSError:
        return b""


@pytest.fixture(scope="module")
def pulled(host, registry, folder):
    """The name of an image of five layers in the registry: much, little, deleted, and links."""
    context = folder / "image"
    context.mkdir()
    for name in ("one", "two"):
        (context / name).write_bytes(os.urandom(3 << 20))
    (context / "Dockerfile").write_text(
        "FROM busybox\nCOPY one /one\nRUN mkdir /many && for i in $(seq 300); do echo $i > /many/$i; done\n"
        "COPY two /two\nRUN rm /one && ln /two /three\n"
    )
    name = f"{registry.host}/loss:1"
    host("build", "-q", "-t", name, context)
    host("push", name)
    host("rmi", name)
    return name


def layers(host: Host) -> list[str]:
    return sorted(name for name in os.listdir(host.root / "layers") if name.isdigit())


@pytest.fixture
def puller(folder, pulled):
    """A host of its own, whose store is empty; the registry's name is that of loopback, so no TLS is asked for."""
    here = Host(folder / "puller")
    here("check")
    yield here
    here.close()
    Traces(here).gone()
    shutil.rmtree(here.root.parent)


@pytest.fixture(scope="module")
def context(folder):
    path = folder / "context"
    path.mkdir()
    (path / "file").write_text("content\n")
    (path / "Dockerfile").write_text(
        "FROM busybox\nCOPY file /copied\nRUN echo ran > /ran\nENV A=b\nVOLUME /v\nCMD cat /copied /ran\n"
    )
    return path


def monitor_of(client: subprocess.Popen, traces: Traces) -> int:
    """The pid of the monitor that a client is starting, once it has opened anything of its container's."""

    def look() -> int:
        found = traces.monitors()
        assert found or client.poll() is None, "the client ended before it had a monitor"
        return found[0] if found else 0

    return until(look, 10, "no monitor came")
