# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The story: base, push, pull, run in a terminal, commit, another host, Dockerfile, a service that answers.

Real programs only: the distribution's packages, its registry, its memcached and a memcached client.
The tests of this file build on each other, in order.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time

import pytest

PORT = 21211
DOCKERFILE = """\
# Memcached
FROM {base}
MAINTAINER Victor Coisne victor.coisne@dotcloud.com
RUN echo "{source}" > /etc/apt/sources.list
RUN apt-get update
RUN apt-get install -y memcached
ENTRYPOINT ["memcached"]
USER daemon
EXPOSE 11211
"""


def memcached(port: int, *lines: str) -> str:
    """Speak memcached's own protocol to a port of this host."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall("".join(line + "\r\n" for line in (*lines, "quit")).encode())
        with connection.makefile("r") as answer:
            return answer.read()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing answers at port {port}"
            time.sleep(0.05)


def test_push_remove_and_pull_give_the_same_image(host, loopback_registry):
    before = json.loads(host("inspect", "debian:bookworm"))[0]["Id"]
    name = f"{loopback_registry.host}/debian:bookworm"
    host("tag", "debian:bookworm", name)
    host("push", name)
    host("rmi", name)
    host("rmi", "debian:bookworm")
    assert host.try_("inspect", "debian:bookworm").code != 0
    host("pull", name)
    assert json.loads(host("inspect", name))[0]["Id"] == before
    host("tag", name, "debian:bookworm")


def test_what_a_terminal_installed_is_on_another_host_after_commit_push_pull(host, second_host, loopback_registry):
    host("run", "--name", "updated", "debian:bookworm", "apt-get", "update")
    host("commit", "updated", "updated")
    code, shown = host.in_terminal(
        "run", "-i", "-t", "--name", "editor", "updated", "apt-get", "install", "-y", "vim-tiny"
    )
    assert code == 0, shown
    assert "Setting up vim-tiny" in shown
    name = f"{loopback_registry.host}/user/name"
    image_id = host("commit", "editor", name).strip()
    host("push", name)
    second_host("pull", name)
    assert json.loads(second_host("inspect", name))[0]["Id"] == image_id
    assert "VIM - Vi IMproved" in second_host("run", "--rm", name, "vim.tiny", "--version")
    assert name in second_host("search", f"{loopback_registry.host}/user")
    host("rm", "updated", "editor")


def test_the_dockerfile_builds_and_the_container_serves(host, tmp_path):
    source = host("run", "--rm", "debian:bookworm", "head", "-1", "/etc/apt/sources.list").strip()
    (tmp_path / "Dockerfile").write_text(DOCKERFILE.format(base="debian:bookworm", source=source))
    first = host("build", "-t", "memcached", tmp_path, timeout=600)
    assert "Setting up memcached" in first
    again = host("build", "-t", "memcached", tmp_path)
    assert again.count("Using cache") >= 3
    assert "Setting up memcached" not in again
    limits = ("--memory", "64m", "--cpus", "0.5", "--pids-limit", "64")
    host("run", "-d", "--name", "cache", "-p", f"127.0.0.1:{PORT}:11211", *limits, "memcached")
    wait_for(PORT)
    assert memcached(PORT, "set k 0 0 5", "hello", "get k") == "STORED\nVALUE k 0 5\nhello\nEND\n"
    assert host("exec", "cache", "id", "-un").strip() == "daemon"
    state = json.loads(host("inspect", "cache"))[0]
    assert state["HostConfig"]["Memory"] == 64 << 20
    assert "cache" in host("ps")
    if shutil.which("memcping"):
        assert subprocess.run(["memcping", f"--servers=127.0.0.1:{PORT}"]).returncode == 0
    host("stop", "cache")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", PORT), 1)
    host("rm", "cache")
