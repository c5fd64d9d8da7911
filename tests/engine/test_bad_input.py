# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users type wrongly: a clear message, docker's exit code, nothing lost and nothing left."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.host import Host, Result
from support.refusals import (
    no_container_left,  # noqa: F401  (a fixture of all tests here)
    refused,
    whole,
)

# -- names and values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-p", "99999:80"], ["99999", "1 to 65535"]),
        (["-p", "80:80:80:80"], ["80:80:80:80"]),
        (["-p", "eighty:80"], ["eighty"]),
        (["-p", "localhost:80:80"], ["localhost", "address"]),
        (["-p", "80/icmp"], ["icmp", "tcp, udp"]),
        (["-p", "81-80:80"], ["81-80", "upwards"]),
        (["-m", "64x"], ["64x", "64m"]),
        (["-m", "-5m"], ["-5m"]),
        (["-m", "1k"], ["1024", "6 MiB"]),
        (["--memory-swap", "1m", "-m", "64m"], ["memory_swap", "memory"]),
        (["--cpus", "lots"], ["lots", "0.5"]),
        (["--cpus", "-1"], ["-1"]),
        (["--cpuset-cpus", "a-b"], ["a-b", "0-2,4"]),
        (["--pids-limit", "many"], ["many", "whole number"]),
        (["--name", "a b"], ["a b", "letters"]),
        (["--name", ""], ["''"]),
        (["--name", "../up"], ["../up"]),
        (["-v", "relative:"], ["relative:"]),
        (["-v", "site/html:/x"], ["site/html", "./site/html"]),
        (["-v", "/x:relative"], ["relative", "absolute"]),
        (["-v", "/a:/b:sometimes"], ["/a:/b:sometimes", "ro"]),
        (["-v", "/a:/"], ["/a:/"]),
        (["--mount", "type=floppy,target=/x"], ["floppy", "bind|volume|tmpfs"]),
        (["--mount", "type=bind,source=/nowhere/at/all,target=/x"], ["/nowhere/at/all", "exist"]),
        (["--tmpfs", "x"], ["'x'", "absolute"]),
        (["-e", "=5"], ["=5", "NAME=value"]),
        (["--env-file", "/nowhere"], ["/nowhere"]),
        (["--ulimit", "files=5"], ["files=5", "nofile"]),
        (["--ulimit", "nofile=9:5"], ["nofile=9:5"]),
        (["--restart", "often"], ["often", "on-failure"]),
        (["--rm", "--restart", "always"], ["--rm", "--restart"]),
        (["--network", "nosuch"], ["nosuch"]),
        (["--network", "container:nosuch"], ["nosuch"]),
        (["--pid", "container:nosuch"], ["nosuch"]),
        (["--pid", "nosuch"], ["nosuch"]),
        (["--ipc", "nosuch"], ["nosuch"]),
        (["--uts", "nosuch"], ["nosuch", "host"]),
        (["--cap-add", "FLY"], ["FLY"]),
        (["--security-opt", "secomp=unconfined"], ["secomp"]),
        (["--security-opt", "seccomp=/nowhere.json"], ["/nowhere.json"]),
        (["--sysctl", "kernel.hostname"], ["kernel.hostname", "key=value"]),
        (["--sysctl", "vm.swappiness=5"], ["vm.swappiness"]),
        (["--device", "/dev/nosuch"], ["/dev/nosuch"]),
        (["--stop-signal", "LOUD"], ["LOUD", "SIGTERM"]),
        (["--stop-timeout", "soon"], ["soon"]),
        (["--log-driver", "paper"], ["paper", "json-file"]),
        (["--log-opt", "max-size=big"], ["big"]),
        (["--log-opt", "colour=red"], ["colour", "max-size"]),
        (["--add-host", "alone"], ["alone"]),
        (["--add-host", "a:b"], ["a:b"]),
        (["--dns", "nameserver"], ["nameserver"]),
        (["--mac-address", "zz"], ["zz"]),
        (["--shm-size", "wide"], ["wide"]),
        (["--blkio-weight", "5"], ["5", "10"]),
        (["--blkio-weight-device", "/dev/null:5"], ["/dev/null:5", "10 to 1000"]),
        (["--device-read-bps", "/dev/null:1mb"], ["/dev/null", "device_read_bps", "block device"]),
        (["--device-write-bps", "/dev/sda"], ["/dev/sda", "/dev/sda:1mb"]),
        (["--device-write-iops", "/dev/sda:1mb"], ["/dev/sda:1mb", "/dev/x:NUMBER"]),
        (["--memory-swappiness", "500"], ["500", "100"]),
        (["--oom-score-adj", "5000"], ["5000", "1000"]),
        (["--platform", "x/y/z/w"], ["x/y/z/w"]),
        (["-h", "a b"], ["a b"]),
        (["-w", "relative"], ["relative"]),
        (["-u", "nobodyhere"], ["nobodyhere", "passwd"]),
        (["-u", "0:nogroup-here"], ["nogroup-here"]),
        (["--group-add", "nogroup-here"], ["nogroup-here"]),
        (["--expose", "http"], ["http"]),
        (["-l", "=x"], ["=x"]),
        (["-it"], ["TTY"]),
        (["--detach-keys", "ctrl-ctrl"], ["ctrl-ctrl", "ctrl-X"]),
        (["--memry", "5m"], ["--memry", "--memory"]),
        (["--pull", "sometimes"], ["sometimes", "always"]),
        (["--cidfile", "/nowhere/id"], ["/nowhere/id"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_bad_value_is_named_with_what_was_expected(host: Host, flags: list[str], words: list[str]) -> None:
    refused(host.try_("run", *flags, "busybox", "true"), 125, *words)
    host.close()  # what could not be started was made nevertheless, as docker does


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["runn"], 1, ["runn", "run"]),
        (["run"], 1, ["at least 1 argument,", "usage"]),
        (["rename", "a"], 1, ["2 arguments", "usage"]),
        (["--nosuch", "ps"], 125, ["--nosuch"]),
        (["--root"], 125, ["--root"]),
        (["--config", "/nowhere.json", "ps"], 1, ["/nowhere.json"]),
        (["ps", "--format", "nosuch"], 125, ["nosuch", "json"]),
        (["ps", "-f", "colour=red"], 1, ["colour", "status"]),
        (["ps", "-f", "status=blue"], 1, ["blue", "running"]),
        (["ps", "-n", "few"], 1, ["few"]),
        (["logs", "nosuch"], 1, ["nosuch", "ps -a"]),
        (["exec", "nosuch", "true"], 1, ["nosuch"]),
        (["rm", "nosuch"], 1, ["nosuch"]),
        (["rmi", "nosuch"], 1, ["nosuch"]),
        (["stop", "nosuch"], 1, ["nosuch"]),
        (["kill", "-s", "LOUD", "nosuch"], 1, ["LOUD"]),
        (["wait", "nosuch"], 1, ["nosuch"]),
        (["inspect", "nosuch"], 1, ["nosuch"]),
        (["inspect", "-f", "{{.Nosuch}}", "busybox"], 1, ["Nosuch"]),
        (["tag", "nosuch", "x"], 1, ["nosuch"]),
        (["tag", "busybox", "Upper:x"], 1, ["Upper", "lower"]),
        (["tag", "busybox", "x:y z"], 1, ["y z"]),
        (["commit", "nosuch"], 1, ["nosuch"]),
        (["cp", "a", "b"], 1, ["CONTAINER:PATH"]),
        (["cp", "nosuch:/x", "."], 1, ["nosuch"]),
        (["push", "nosuch"], 1, ["nosuch"]),
        (["save", "nosuch", "-o", "/dev/null"], 1, ["nosuch"]),
        (["save", "busybox", "-o", "/nowhere/file"], 1, ["/nowhere/file"]),
        (["load", "-i", "/nowhere"], 1, ["/nowhere"]),
        (["load", "-i", "/etc/passwd"], 1, ["archive"]),
        (["history", "nosuch"], 1, ["nosuch"]),
        (["build", "/nowhere"], 1, ["/nowhere"]),
        (["completion", "tcsh"], 1, ["tcsh", "bash"]),
        (["search", "--limit", "few", "x"], 1, ["few"]),
        (["login", "127.0.0.1:1"], 1, ["--username"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_each_verb_names_what_is_wrong(host: Host, words: list[str], code: int, expected: list[str]) -> None:
    refused(host.try_(*words), code, *expected)


def test_a_name_in_use(host: Host) -> None:
    host("create", "--name", "mine", "busybox")
    refused(host.try_("run", "--name", "mine", "busybox"), 125, "mine", "remove")
    refused(host.try_("create", "--name", "mine", "busybox"), 125, "mine")
    host("create", "--name", "yours", "busybox")
    refused(host.try_("rename", "yours", "mine"), 1, "mine")
    assert len(host("ps", "-aq").split()) == 2
    host("rm", "mine", "yours")
    whole(host)


def test_a_port_in_use(host: Host) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(host.try_("run", "--rm", "-p", f"127.0.0.1:{port}:80", "busybox", "true"), 125, str(port))
        assert host("ps", "-aq") == ""
    host("run", "--rm", "-p", f"127.0.0.1:{port}:80", "busybox", "true")


def test_a_port_that_another_container_publishes(host: Host) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    host("run", "-d", "--name", "first", "-p", f"127.0.0.1:{port}:80", "busybox", "sleep", "60")
    refused(host.try_("run", "-d", "--name", "second", "-p", f"127.0.0.1:{port}:80", "busybox", "true"), 125, str(port))
    assert "Created" in host("ps", "-a", "-f", "name=second")  # as docker's: made, not started
    host("rm", "-f", "first", "second")


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["nosuchcommand"], 127, ["nosuchcommand", "not found"]),
        (["/no/such/path"], 127, ["/no/such/path"]),
        (["/etc/passwd"], 126, ["/etc/passwd", "permission denied"]),
        (["/etc"], 126, ["/etc"]),
    ],
)
def test_a_command_that_cannot_run(host: Host, command: list[str], code: int, words: list[str]) -> None:
    refused(host.try_("run", "--rm", "busybox", *command), code, *words)
    host("run", "-d", "--name", "busy", "busybox", "sleep", "60")
    refused(host.try_("exec", "busy", *command), code, *words)
    refused(host.try_("exec", "-u", "nobodyhere", "busy", "true"), 126, "nobodyhere")
    host("rm", "-f", "busy")


def test_a_container_in_the_wrong_state(host: Host) -> None:
    host("create", "--name", "idle", "busybox", "sleep", "60")
    for words in (["exec", "idle", "true"], ["attach", "idle"], ["kill", "idle"], ["pause", "idle"], ["stats", "idle"]):
        refused(host.try_(*words), 1, "idle", "start")
    host("start", "idle")
    refused(host.try_("rm", "idle"), 1, "idle", "stop")
    refused(host.try_("unpause", "idle"), 1, "idle", "not paused")
    host("pause", "idle")
    refused(host.try_("pause", "idle"), 1, "idle", "paused")
    refused(host.try_("exec", "idle", "true"), 1, "idle", "unpause")
    refused(host.try_("rmi", "-f", "busybox"), 1, "busybox", "idle")
    host("rm", "-f", "idle")


def test_two_commands_at_once_on_one_name(host: Host) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _n: host.try_("run", "-d", "--name", "one", "busybox", "sleep", "60"), range(4)))
    assert sorted(result.code for result in results) == [0, 125, 125, 125], results
    for result in results:
        if result.code:
            refused(result, 125, "one")
    with ThreadPoolExecutor(4) as pool:
        verbs = (["stop", "-t0"], ["kill"], ["rm", "-f"], ["rm", "-f"])
        ended = list(pool.map(lambda verb: host.try_(*verb, "one"), verbs))
    assert all(result.code in (0, 1) and "Traceback" not in result.err for result in ended), ended
    whole(host)


# -- builds ----------------------------------------------------------------------------------------------------------


def build(host: Host, folder: Path, *lines: str, **files: str) -> Result:
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    for name, text in files.items():
        (folder / name).write_text(text)
    return host.try_("build", "-t", "built", folder)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["FROM busybox", "", "FETCH x"], ["line 3", "FETCH"]),
        (["FROM busybox", "# a comment", "RUN"], ["line 3", "RUN"]),
        (["FROM busybox", "COPY one"], ["line 2", "COPY"]),
        (["FROM busybox", "EXPOSE http"], ["line 2", "http"]),
        (["FROM busybox", "ENV"], ["line 2", "ENV"]),
        (["FROM busybox", 'CMD ["sh"', "RUN ["], None),
        (["FROM busybox", "USER"], ["line 2", "USER"]),
        (["RUN true"], ["line 1", "FROM"]),
        (["FROM busybox AS"], ["line 1"]),
        (["FROM nosuch.invalid/image"], ["nosuch.invalid"]),
        (["FROM UPPER"], ["line 1", "UPPER"]),
        (["FROM busybox", "COPY --from=nosuch.invalid/x /a /b"], ["nosuch"]),
        (["FROM busybox", "COPY ../outside /"], ["line 2", "outside"]),
        (["FROM busybox", "COPY link /"], ["line 2", "link"]),
        (["FROM busybox", "COPY nosuch /"], ["line 2", "nosuch"]),
        (["FROM busybox", "COPY nosuch* /"], ["line 2", "nosuch*"]),
        (["FROM busybox", "USER nobodyhere", "RUN true"], None),
        (["FROM busybox", "STOPSIGNAL LOUD"], ["line 2", "LOUD"]),
        (["FROM busybox", "WORKDIR ${x"], ["line 2"]),
        (["FROM busybox", "ONBUILD FROM x"], ["line 2"]),
        ([""], ["Dockerfile"]),
    ],
    ids=lambda value: "; ".join(value) if isinstance(value, list) else "",
)
def test_a_dockerfile_that_cannot_be_built(
    host: Host, tmp_path: Path, lines: list[str], words: list[str] | None
) -> None:
    (tmp_path / "outside").write_text("secret")
    context = tmp_path / "context"
    context.mkdir()
    (context / "link").symlink_to("/etc/shadow")
    result = build(host, context, *lines)
    if words is None:
        # what is no JSON is a shell's command, here one with an error of its own; a user is looked up when a step runs
        assert result.code in (2, 125) and "line 3" in result.err, result
    else:
        refused(result, 1, *words)
    assert not [line for line in host("images").splitlines() if line.startswith("built")]


def test_no_dockerfile(host: Host, tmp_path: Path) -> None:
    refused(host.try_("build", tmp_path), 1, str(tmp_path), "Dockerfile")
    refused(host.try_("build", "-f", tmp_path / "other", tmp_path), 1, "other")
    refused(host.try_("build", "-t", "UPPER", tmp_path), 1, "UPPER")
    (tmp_path / "Dockerfile").write_bytes(b"FROM busybox\nRUN \xff\0\n")
    refused(host.try_("build", tmp_path), 1, "Dockerfile")
    (tmp_path / "Dockerfile").write_text("FROM busybox\n")
    refused(host.try_("build", "--target", "nosuch", tmp_path), 1, "nosuch")


def test_a_run_that_fails_shows_its_output_and_keeps_the_layers_before_it(host: Host, tmp_path: Path) -> None:
    lines = ["FROM busybox", "RUN echo first > /first", "RUN echo to-see; echo loudly >&2; exit 7", "RUN true"]
    result = build(host, tmp_path, *lines)
    refused(result, 7, "line 3", "exit status 7")
    assert "to-see" in result.out + result.err and "loudly" in result.out + result.err
    again = build(host, tmp_path, *lines[:2], "RUN cat /first")
    assert again.code == 0 and "Using cache" in again.out, again
    host("rmi", "built")
    refused(build(host, tmp_path, "FROM busybox", "RUN nosuchcommand"), 127, "line 2")
    whole(host)
