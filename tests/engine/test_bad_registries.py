# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What registries lack, refuse or send wrongly: a clear message, docker's exit code, a store that stays whole."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

from support.host import Host
from support.refusals import (
    Elsewhere,
    in_namespace,
    no_container_left,  # noqa: F401  (a fixture of all tests here)
    refused,
    whole,
)
from support.registry import Registry

OCI = "application/vnd.oci.image."

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
