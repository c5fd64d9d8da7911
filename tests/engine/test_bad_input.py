# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What users type wrongly and what their hosts and registries lack: a clear message, docker's exit code, no damage."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.host import VITRINE, Host, Result
from support.registry import Registry
from vitrine import host as prerequisites
from vitrine.engine import Engine
from vitrine.errors import HostError, StartFailed
from vitrine.settings import Settings

OCI = "application/vnd.oci.image."


def refused(result: Result, code: int, *words: str, lines: int = 2) -> str:
    """Hold an error to what is promised: its exit code, these words in one or two lines, no page of program text."""
    assert result.code == code, result
    assert "Traceback" not in result.err and "internal error" not in result.err, result
    message = [line for line in result.err.splitlines() if line.startswith(("vitrine: ", "  "))]
    assert message and message[0].startswith("vitrine: "), result
    assert len(message) <= lines, result
    for word in words:
        assert word in "\n".join(message), (word, result)
    return result.err


def whole(host: Host) -> None:
    """The store has no damage, and no container is left half made."""
    assert json.loads(host.try_("check", "--format", "json").out)["store"] == []


@pytest.fixture(autouse=True)
def no_container_left(request: pytest.FixtureRequest):
    """A refused command leaves no container."""
    yield
    if "host" in request.fixturenames:
        host = request.getfixturevalue("host")
        left = host("ps", "-a")
        host.close()
        assert len(left.splitlines()) == 1, left


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


# -- registries ------------------------------------------------------------------------------------------------------


def put(registry: Registry, repository: str, tag: str, document: dict, media_type: str) -> str:
    """Upload a manifest as any client could; returns its digest."""
    data = json.dumps(document).encode()
    url = f"http://{registry.host}/v2/{repository}/manifests/{tag}"
    request = urllib.request.Request(url, data, {"Content-Type": media_type}, method="PUT")
    with urllib.request.urlopen(request):
        return "sha256:" + hashlib.sha256(data).hexdigest()


def stored(registry: Registry, digest: str) -> Path:
    """The file in which docker-registry keeps a blob."""
    name = digest.partition(":")[2]
    return registry.data / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"


def manifest_of(registry: Registry, repository: str) -> dict:
    request = urllib.request.Request(
        f"http://{registry.host}/v2/{repository}/manifests/latest",
        headers={"Accept": f"{OCI}manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@pytest.fixture
def pushed(host: Host, loopback_registry: Registry, request: pytest.FixtureRequest):
    """A repository of the registry that holds busybox, and a host without it."""
    name = "test" + hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    host("tag", "busybox", f"{loopback_registry.host}/{name}")
    host("push", "-q", f"{loopback_registry.host}/{name}")
    host("rmi", f"{loopback_registry.host}/{name}")
    return name


@pytest.fixture(scope="module")
def empty(new_host) -> Host:
    """A host that has no image."""
    return new_host(image=False)


@pytest.mark.parametrize("name", ["127.0.0.1:1/x", "localhost:1/x:tag", "no-such-host.invalid/x"])
def test_a_registry_that_is_down(empty: Host, name: str) -> None:
    refused(empty.try_("pull", name), 1, name.partition("/")[0], "cannot be reached")
    refused(empty.try_("run", "--rm", name, "true"), 125, name.partition("/")[0])
    refused(empty.try_("search", name), 1, name.partition("/")[0])


def test_an_unknown_image_and_tag(host: Host, empty: Host, loopback_registry: Registry, pushed: str) -> None:
    refused(empty.try_("pull", f"{loopback_registry.host}/nosuch"), 1, "nosuch")
    refused(empty.try_("pull", f"{loopback_registry.host}/{pushed}:nosuch"), 1, f"{pushed}:nosuch")
    refused(empty.try_("run", f"{loopback_registry.host}/{pushed}:nosuch"), 125, f"{pushed}:nosuch")
    refused(empty.try_("pull", f"{loopback_registry.host}/{pushed}@sha256:{'0' * 64}"), 1, "0" * 64)
    for name in ("UPPER", "a//b", "a:b:c", "x@sha256:12", "", "-x", "a b"):
        refused(empty.try_("pull", "--", name), 1, name or "''")
    refused(host.try_("run", "--pull", "never", "nosuch"), 125, "nosuch", "never")
    missing = host.try_("run", f"{loopback_registry.host}/nosuch")
    assert "Unable to find image" in missing.err and missing.out == ""
    whole(empty)


def test_content_with_another_digest(host: Host, empty: Host, loopback_registry: Registry, pushed: str) -> None:
    manifest = manifest_of(loopback_registry, pushed)
    layer = manifest["layers"][0]
    file = stored(loopback_registry, layer["digest"])
    good = file.read_bytes()
    name = f"{loopback_registry.host}/{pushed}"
    try:
        file.write_bytes(good[:-9] + b"otherwise")
        refused(empty.try_("pull", name), 1, layer["digest"][7:19])
        file.write_bytes(good[: len(good) // 2])
        refused(empty.try_("pull", name), 1, layer["digest"][7:19])
        assert empty("images", "-aq") == ""
        whole(empty)
    finally:
        file.write_bytes(good)
    empty("pull", name)  # and what was tried before does not stand in the way
    assert empty("run", "--rm", name, "echo", "whole") == "whole\n"
    empty("rmi", name)


def test_a_configuration_with_another_digest(host: Host, empty: Host, loopback_registry: Registry, pushed: str) -> None:
    digest = manifest_of(loopback_registry, pushed)["config"]["digest"]
    file = stored(loopback_registry, digest)
    good = file.read_bytes()
    try:
        file.write_bytes(good.replace(b"busybox-static", b"busybox-sTatic"))
        refused(empty.try_("pull", f"{loopback_registry.host}/{pushed}"), 1, digest[7:19])
    finally:
        file.write_bytes(good)


def test_manifests_of_the_wrong_kind(host: Host, empty: Host, loopback_registry: Registry, pushed: str) -> None:
    good = manifest_of(loopback_registry, pushed)
    chart = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}manifest.v1+json",
        "config": {**good["config"], "mediaType": "application/vnd.cncf.helm.config.v1+json"},
        "layers": good["layers"],
    }
    put(loopback_registry, pushed, "chart", chart, f"{OCI}manifest.v1+json")
    refused(empty.try_("pull", f"{loopback_registry.host}/{pushed}:chart"), 1, "helm")
    strange = {**chart, "config": {**good["config"], "mediaType": f"{OCI}config.v1+json"}}
    strange["layers"] = [{**good["layers"][0], "mediaType": "text/plain"}]
    put(loopback_registry, pushed, "strange", strange, f"{OCI}manifest.v1+json")
    refused(empty.try_("pull", f"{loopback_registry.host}/{pushed}:strange"), 1, "text/plain")
    assert empty("images", "-aq") == ""


def test_no_matching_platform(host: Host, empty: Host, loopback_registry: Registry, pushed: str) -> None:
    digest = put(loopback_registry, pushed, "one", {
        **manifest_of(loopback_registry, pushed)
    }, manifest_of(loopback_registry, pushed)["mediaType"])  # fmt: skip
    size = len(json.dumps(manifest_of(loopback_registry, pushed)))
    entry = {"mediaType": manifest_of(loopback_registry, pushed)["mediaType"], "digest": digest, "size": size}
    platforms = [{"os": "linux", "architecture": "sparc64"}, {"os": "windows", "architecture": "amd64"}]
    index = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}index.v1+json",
        "manifests": [{**entry, "platform": platform} for platform in platforms],
    }
    put(loopback_registry, pushed, "others", index, f"{OCI}index.v1+json")
    name = f"{loopback_registry.host}/{pushed}:others"
    refused(empty.try_("pull", name), 1, "linux/", "linux/sparc64")
    refused(empty.try_("pull", "--platform", "linux/riscv64", name), 1, "linux/riscv64")
    refused(empty.try_("run", "--platform", "plan9/mips", name), 125, "plan9/mips")


def test_a_wrong_password(host: Host, empty: Host, tmp_path: Path) -> None:
    if shutil.which("htpasswd") is None:
        pytest.skip("needs htpasswd")
    subprocess.run(["htpasswd", "-Bbc", tmp_path / "users", "me", "right"], check=True, capture_output=True)
    registry = Registry(tmp_path, htpasswd=tmp_path / "users")
    try:
        name = f"{registry.host}/private"
        refused(empty.try_("pull", name), 1, registry.host, "login")
        refused(empty.try_("login", "-u", "me", "--password-stdin", registry.host, stdin="wrong\n"), 1, registry.host)
        assert not list(Path(empty.env["HOME"]).rglob("*.json"))  # a refused password is not kept
        assert "Login Succeeded" in empty("login", "-u", "me", "--password-stdin", registry.host, stdin="right\n")
        host("tag", "busybox", name)
        host("push", name)  # the hosts of this test are one user's
        host("rmi", name)
        empty("pull", name)
        empty("rmi", name)
        empty("logout", registry.host)
        refused(empty.try_("pull", name), 1, registry.host, "login")
    finally:
        registry.close()


def test_a_certificate_that_is_not_trusted(empty: Host, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key", "-out", tmp_path / "cert"]
    subprocess.run(["openssl", *words.split(), *names], check=True, capture_output=True)
    registry = Registry(tmp_path, tls={"certificate": str(tmp_path / "cert"), "key": str(tmp_path / "key")})
    # loopback registries are not asked for a certificate that can be trusted, as docker's are not: so by a name
    (tmp_path / "hosts").write_text("127.0.0.1 localhost registry.test\n")
    named = Elsewhere(empty, *in_namespace(f"mount --bind {tmp_path}/hosts /etc/hosts"))
    name = f"registry.test:{registry.host.partition(':')[2]}"
    try:
        refused(named.try_("pull", f"{name}/x"), 1, name, "certificate", "certs.d")
        refused(named.try_("run", f"{name}/x"), 125, name, "certificate")
    finally:
        registry.close()


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


# -- hosts that lack something ---------------------------------------------------------------------------------------


def in_namespace(prepare: str) -> list[str]:
    """The first words of a command whose mounts nobody else sees, after this shell command."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{prepare} && exec "$@"', "sh"]


class Elsewhere(Host):
    """A host whose commands are typed after others' words."""

    def __init__(self, like: Host, *before: str) -> None:
        self.__dict__.update(like.__dict__)
        self.before = list(before)

    @property
    def base(self) -> list[str]:
        return [*self.before, *super().base]


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
    for words in (["ps"], ["run", "busybox"], ["images"], ["pull", "busybox"], ["info"]):
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
