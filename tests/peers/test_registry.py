# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our registry client against the distribution project's registry, with skopeo as the second opinion."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from support.registry import Registry
from vitrine.errors import ImageNotFound, RegistryUnreachable, Unauthorized
from vitrine.oci import digest, manifest, media
from vitrine.oci.config import ImageConfig
from vitrine.oci.descriptor import Descriptor
from vitrine.oci.platform import Platform
from vitrine.registry import Client, auth
from vitrine.registry.retry import Policy
from vitrine.store import Store

NEEDED = ("docker-registry", "skopeo", "openssl", "htpasswd")
MISSING = [name for name in NEEDED if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs the programs {', '.join(MISSING)}")

FAST = Policy(attempts=3, first=0.02, longest=0.1)
ENGINE = Path(auth.__file__).resolve().parent.parent.parent


def run(*argv: object, cwd: Path | None = None) -> str:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


@pytest.fixture
def start(tmp_path: Path):
    started: list[Registry] = []

    def start_one(**options) -> Registry:
        folder = tmp_path / f"registry{len(started)}"
        folder.mkdir()
        started.append(Registry(folder, **options))
        return started[-1]

    yield start_one
    for registry in started:
        registry.close()


@pytest.fixture
def registry(start) -> Registry:
    return start()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    folder = tmp_path / "certs"
    folder.mkdir()
    return folder


@pytest.fixture
def client(certs: Path):
    with Client({}, certs_dirs=(str(certs),), policy=FAST) as one:
        yield one


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


@pytest.fixture
def other_store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "other"))


class Image:
    """A small real image: gzipped tar layers, its configuration, its manifest; also as an OCI layout for skopeo."""

    def __init__(self, *contents: bytes, image_format: str = "oci", architecture: str = "amd64") -> None:
        import gzip

        self.blobs: dict[str, bytes] = {}
        diff_ids, layers = [], []
        for number, content in enumerate(contents):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as tar:
                info = tarfile.TarInfo(f"file{number}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            diff_ids.append(digest.of(buffer.getvalue()))
            layers.append(self._put(media.OCI_LAYER_GZIP, gzip.compress(buffer.getvalue(), 1, mtime=0)))
        config = ImageConfig(architecture, "linux", {"Cmd": ["/x"]}, tuple(diff_ids)).to_json()
        self.parsed = manifest.make(self._put(media.OCI_CONFIG, config), layers, image_format)
        self.config = config
        self.manifest = self.parsed.to_json()
        self.digest = digest.of(self.manifest)

    def _put(self, media_type: str, data: bytes) -> Descriptor:
        self.blobs[digest.of(data)] = data
        return Descriptor(media_type, digest.of(data), len(data))

    def keep_in(self, store: Store) -> None:
        for data in self.blobs.values():
            store.blobs.put(data)

    def push(self, client: Client, name: str, store: Store):
        self.keep_in(store)
        return client.push(name, self.manifest, self.parsed.media_type, self.parsed.descriptors, store.blobs)


def write_layout(folder: Path, index: bytes, blobs: dict[str, bytes]) -> None:
    """Write an OCI image layout whose tag "x" names the index."""
    (folder / "blobs/sha256").mkdir(parents=True)
    for name, data in {**blobs, digest.of(index): index}.items():
        (folder / "blobs/sha256" / name[7:]).write_bytes(data)
    entry = {"mediaType": media.OCI_INDEX, "digest": digest.of(index), "size": len(index)}
    entry["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


RANDOM = os.urandom(3 << 20)


@pytest.mark.parametrize("image_format", ["oci", "docker"])
def test_what_we_push_is_what_skopeo_reads(client, registry, store, tmp_path, image_format):
    image = Image(b"one", RANDOM, image_format=image_format)
    result = image.push(client, f"{registry.host}/org/app:v1", store)
    assert (result.digest, result.uploaded, result.mounted, result.present) == (
        image.digest,
        3,
        0,
        0,
    ) and result.changed
    run("skopeo", "copy", "--src-tls-verify=false", f"docker://{registry.host}/org/app:v1", f"dir:{tmp_path}/out")
    assert (tmp_path / "out/manifest.json").read_bytes() == image.manifest
    for name, data in image.blobs.items():
        assert (tmp_path / "out" / name[7:]).read_bytes() == data
    again = image.push(client, f"{registry.host}/org/app:v1", store)
    assert (again.uploaded, again.present, again.changed) == (0, 3, False)
    assert image.push(client, f"{registry.host}/org/app:v2", store).changed


@pytest.mark.parametrize("image_format", ["oci", "v2s2"])
def test_what_skopeo_pushes_is_what_we_read(client, registry, store, other_store, image_format):
    image = Image(b"one", RANDOM, b"three")
    image.push(client, f"{registry.host}/app:v1", store)
    target = f"docker://{registry.host}/copy:v1"
    run("skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", f"--format={image_format}",
        f"docker://{registry.host}/app:v1", target)  # fmt: skip
    layers = []
    pulled = client.pull(
        f"{registry.host}/copy:v1", blobs=other_store.blobs, on_layer=lambda index, _layer: layers.append(index)
    )
    raw = run("skopeo", "inspect", "--tls-verify=false", "--raw", target).encode()
    assert pulled.manifest == raw and pulled.manifest_digest == digest.of(raw) == client.resolve(
        f"{registry.host}/copy:v1"
    )
    assert pulled.config == image.config and sorted(layers) == [0, 1, 2]
    assert [other_store.blobs.read(layer.digest) for layer in pulled.layers] == list(image.blobs.values())[:3]


def test_an_index_gives_the_image_of_the_platform(client, registry, store, tmp_path):
    images = {name: Image(name.encode(), architecture=name) for name in ("amd64", "arm64")}
    entries = tuple(
        Descriptor(image.parsed.media_type, image.digest, len(image.manifest), platform=Platform("linux", name))
        for name, image in images.items()
    )
    index = manifest.Index(media.OCI_INDEX, entries).to_json()
    blobs = {image.digest: image.manifest for image in images.values()}
    for image in images.values():
        blobs.update(image.blobs)
    write_layout(tmp_path / "layout", index, blobs)
    run(
        "skopeo",
        "copy",
        "--all",
        "--dest-tls-verify=false",
        f"oci:{tmp_path}/layout:x",
        f"docker://{registry.host}/multi:1",
    )
    pulled = client.pull(f"{registry.host}/multi:1", platform="linux/arm64", blobs=store.blobs)
    assert (pulled.config, pulled.manifest_digest) == (images["arm64"].config, images["arm64"].digest)
    assert pulled.repo_digest == digest.of(index) == client.resolve(f"{registry.host}/multi:1")
    pinned = client.pull(f"{registry.host}/multi@{images['amd64'].digest}", blobs=store.blobs)
    assert pinned.config == images["amd64"].config


def test_blobs_are_mounted_from_where_they_were_pushed_or_pulled(client, registry, store, other_store):
    image = Image(b"one", RANDOM)
    image.push(client, f"{registry.host}/first:1", store)
    result = image.push(client, f"{registry.host}/second:1", store)
    assert (result.uploaded, result.mounted) == (0, 3)
    client.pull(f"{registry.host}/second:1", blobs=other_store.blobs)
    result = image.push(client, f"{registry.host}/third:1", other_store)
    assert (result.uploaded, result.mounted) == (1, 2)  # a pull does not note where configurations are


def test_a_download_goes_on_where_it_ended(client, registry, store, other_store):
    image = Image(RANDOM)
    image.push(client, f"{registry.host}/app:1", store)
    layer = image.parsed.layers[0]
    half = layer.size // 2
    writer = other_store.blobs.writer(layer.digest, layer.size)
    writer.write(image.blobs[layer.digest][:half])
    writer.keep()
    events = []
    client.pull(f"{registry.host}/app:1", blobs=other_store.blobs, progress=events.append)
    moved = [event["current"] for event in events if event["status"] == "Downloading"]
    assert moved and min(moved) > half and other_store.blobs.read(layer.digest) == image.blobs[layer.digest]


def test_two_processes_pull_the_same_image(client, registry, store, other_store):
    image = Image(RANDOM, b"two")
    image.push(client, f"{registry.host}/app:1", store)
    code = (
        f"import sys; sys.path.insert(0, {str(ENGINE)!r})\n"
        "from vitrine.registry import Client; from vitrine.store import Store\n"
        f"Client({{}}).pull('{registry.host}/app:1', blobs=Store({other_store.root!r}).blobs)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert sorted(other_store.blobs.all()) == sorted(layer.digest for layer in image.parsed.layers)


def test_what_is_not_there_is_named(client, registry, store, other_store):
    image = Image(b"one", RANDOM)
    image.push(client, f"{registry.host}/app:1", store)
    with pytest.raises(ImageNotFound, match="no tag '2'"):
        client.pull(f"{registry.host}/app:2", blobs=other_store.blobs)
    with pytest.raises(ImageNotFound, match="repository 'none'"):
        client.resolve(f"{registry.host}/none:1")
    layer = image.parsed.layers[0].digest
    shutil.rmtree(registry.data / "docker/registry/v2/blobs/sha256" / layer[7:9] / layer[7:])
    with pytest.raises(ImageNotFound, match=f"lost blob {layer}"):
        client.pull(f"{registry.host}/app:1", blobs=other_store.blobs)


def test_lists_and_searches(client, registry, store):
    image = Image(b"one")
    names = [f"org/app{number}" for number in range(3)]
    for name in names:
        for tag in ("a", "b"):
            image.push(client, f"{registry.host}/{name}:{tag}", store)
    assert client.catalog(registry.host) == names
    assert sorted(client.tags(f"{registry.host}/org/app1")) == ["a", "b"]
    assert [found.name for found in client.search(f"{registry.host}/app2")] == [f"{registry.host}/org/app2"]


# -- passwords -----------------------------------------------------------------------------------------------------


@pytest.fixture
def closed(start, tmp_path) -> Registry:
    (tmp_path / "htpasswd").write_text(run("htpasswd", "-Bbn", "me", "geheim: wort"))
    return start(htpasswd=tmp_path / "htpasswd")


def test_login_opens_a_closed_registry(closed, certs, store, other_store, home):
    image = Image(b"one", RANDOM)
    name = f"{closed.host}/app:1"
    with Client({}, policy=FAST) as stranger, pytest.raises(Unauthorized, match="without a login"):
        image.push(stranger, name, store)
    with pytest.raises(Unauthorized, match="'me'"):
        auth.login(closed.host, "me", "wrong")
    assert auth.login(closed.host, "me", "geheim: wort") and not auth.login(closed.host, "me", "geheim: wort")
    with Client({}, policy=FAST) as known:
        assert image.push(known, name, store).uploaded == 3
        assert known.pull(name, blobs=other_store.blobs).config == image.config
    authfile = home / ".docker/config.json"
    shown = run("skopeo", "inspect", "--tls-verify=false", f"--authfile={authfile}", f"docker://{name}")
    assert json.loads(shown)["Digest"] == image.digest
    assert auth.logout(closed.host)
    with Client({}, policy=FAST) as stranger, pytest.raises(Unauthorized):
        stranger.pull(name, blobs=other_store.blobs)
    with Client({}, credentials=("me", "wrong"), policy=FAST) as wrong, pytest.raises(Unauthorized) as caught:
        wrong.resolve(name)
    assert "wrong" not in str(caught.value)


def test_what_podman_login_wrote_is_understood(closed, store, home, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "xdg"))
    (tmp_path / "xdg/containers").mkdir(parents=True)
    run("skopeo", "login", "--tls-verify=false", "-u", "me", "-p", "geheim: wort", closed.host)
    with Client({}, policy=FAST) as known:
        assert Image(b"x").push(known, f"{closed.host}/app:1", store).uploaded == 2


# -- TLS -----------------------------------------------------------------------------------------------------------


class Authority:
    """A certificate authority, and what it signs for 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test CA",
            "-keyout", "ca.key", "-out", "ca.crt", cwd=folder)  # fmt: skip
        self.ca = folder / "ca.crt"

    def sign(self, name: str, names: str = "IP:127.0.0.1,DNS:localhost") -> tuple[Path, Path]:
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key",
            "-out", f"{name}.csr", cwd=self.folder)  # fmt: skip
        (self.folder / "ext").write_text(f"subjectAltName={names}\n")
        run("openssl", "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", "ext", "-out", f"{name}.crt", cwd=self.folder)  # fmt: skip
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority(tmp_path / "ca")


def test_a_filed_ca_is_trusted_and_nothing_else_is(start, authority, certs, store, other_store, tmp_path):
    cert, key = authority.sign("server")
    registry = start(tls={"certificate": str(cert), "key": str(key)})
    folder = certs / registry.host
    folder.mkdir()
    shutil.copy(authority.ca, folder / "ca.crt")
    image = Image(b"one", RANDOM)
    name = f"{registry.host}/app:1"
    with Client({}, certs_dirs=(str(certs),), policy=FAST) as client:
        image.push(client, name, store)
        assert client.pull(name, blobs=other_store.blobs).config == image.config
    shutil.copy(Authority(tmp_path / "wrong").ca, folder / "ca.crt")
    with Client({}, certs_dirs=(str(certs),), policy=FAST) as client, pytest.raises(RegistryUnreachable) as caught:
        client.resolve(name)
    assert "certificate is not trusted" in str(caught.value) and f"certs.d/{registry.host}/ca.crt" in str(caught.value)
    shutil.rmtree(folder)
    with Client({}, certs_dirs=(str(certs),), policy=FAST) as client:  # as docker: on the loopback nobody is checked
        assert client.resolve(name) == image.digest


@pytest.mark.parametrize("names", ["DNS:other.example", "IP:127.0.0.2"])
@pytest.mark.parametrize("by_name", [True, False])
def test_a_trusted_certificate_of_another_host_is_refused(start, authority, certs, names, by_name):
    cert, key = authority.sign("server", names)
    registry = start(tls={"certificate": str(cert), "key": str(key)})
    host = registry.host.replace("127.0.0.1", "localhost") if by_name else registry.host
    (certs / host).mkdir()
    shutil.copy(authority.ca, certs / host / "ca.crt")
    refused = pytest.raises(RegistryUnreachable, match="certificate is not trusted")
    with Client({}, certs_dirs=(str(certs),), policy=FAST) as client, refused:
        client.resolve(f"{host}/app:1")


def test_our_own_certificate_is_shown(start, authority, certs, store):
    cert, key = authority.sign("server")
    registry = start(tls={"certificate": str(cert), "key": str(key), "clientcas": [str(authority.ca)]})
    folder = certs / registry.host
    folder.mkdir()
    shutil.copy(authority.ca, folder / "ca.crt")
    name = f"{registry.host}/app:1"
    with Client({}, certs_dirs=(str(certs),), policy=FAST) as client, pytest.raises(RegistryUnreachable):
        Image(b"x").push(client, name, store)
    cert, key = authority.sign("client")
    shutil.copy(cert, folder / "client.cert")
    shutil.copy(key, folder / "client.key")
    with Client({}, certs_dirs=(str(certs),), policy=FAST) as client:
        assert Image(b"x").push(client, name, store).uploaded == 2


def test_a_registry_without_tls_is_not_spoken_to_once_a_ca_is_filed(registry, authority, certs):
    (certs / registry.host).mkdir()
    shutil.copy(authority.ca, certs / registry.host / "ca.crt")
    with Client({}, certs_dirs=(str(certs),), policy=FAST) as client, pytest.raises(RegistryUnreachable) as caught:
        client.resolve(f"{registry.host}/app:1")
    assert "does not speak TLS" in str(caught.value) and "registries.insecure" in str(caught.value)
