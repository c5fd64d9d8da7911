# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry that lies on demand, a store for what it gives, and an image to be lied about."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from vitrine.oci import digest, manifest, media
from vitrine.oci.config import ImageConfig
from vitrine.oci.descriptor import Descriptor
from vitrine.registry import Client
from vitrine.registry.retry import Policy
from vitrine.store import Store


class Image:
    """Content of an image: two layers (not real tar files; nobody unpacks them here), configuration, manifest."""

    def __init__(self, *, layers=(b"lower layer" * 5000, b"upper layer" * 30000), architecture="amd64", diff_ids=None):
        self.layers = layers
        diff_ids = diff_ids if diff_ids is not None else tuple(digest.of(b"tar of " + layer) for layer in layers)
        self.config = ImageConfig(architecture, "linux", {"Cmd": ["x"]}, diff_ids).to_json()
        self.parsed = manifest.make(
            Descriptor(media.OCI_CONFIG, digest.of(self.config), len(self.config)),
            [Descriptor(media.OCI_LAYER_GZIP, digest.of(layer), len(layer)) for layer in layers],
        )
        self.manifest = self.parsed.to_json()
        self.digest = digest.of(self.manifest)
        self.blobs = {digest.of(data): data for data in (self.config, *layers)}


class FakeRegistry:
    """Answers from a table: routes[(method, path)] = (status, headers, body) or a function of the request handler.

    seen: (method, path, headers) of each request, in order. connections: how many were made.
    """

    def __init__(self) -> None:
        self.routes: dict = {}
        self.connections = 0
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    if value is not None:
                        self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def handle_any(self) -> None:
                self.content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = urlsplit(self.path).path
                fake.seen.append((self.command, self.path, dict(self.headers)))
                verb = "GET" if self.command == "HEAD" and ("HEAD", path) not in fake.routes else self.command
                route = fake.routes.get((verb, self.path)) or fake.routes.get((verb, path))
                route = route or (404, {}, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "unknown"}]}')
                if callable(route):
                    route(self)
                else:
                    self.answer(*route)

            do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = handle_any

            def log_message(self, *_args: object) -> None:
                """Nobody wants to read it."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def process_request(self, *args: object) -> None:
                fake.connections += 1
                super().process_request(*args)

            def handle_error(self, *_args: object) -> None:
                """Connections break on purpose here."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, image: Image, name: str = "app", tag: str = "v1") -> str:
        """Serve an image; returns its reference."""
        answer = (200, {"Content-Type": image.parsed.media_type}, image.manifest)
        for wanted in (tag, image.digest):
            self.routes["GET", f"/v2/{name}/manifests/{wanted}"] = answer
        for blob_digest, data in image.blobs.items():
            self.routes["GET", f"/v2/{name}/blobs/{blob_digest}"] = (200, {}, data)
        return f"{self.host}/{name}:{tag}"

    def add_index(self, entries: list[tuple[Image, str]], name: str = "app", tag: str = "v1") -> bytes:
        """Serve an index of images by platform; returns its bytes."""
        body: dict = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": []}
        for image, text in entries:
            self.add(image, name, "unused")
            parts = dict(zip(("os", "architecture", "variant"), text.split("/")))
            entry = Descriptor(image.parsed.media_type, image.digest, len(image.manifest)).to_json()
            body["manifests"].append({**entry, "platform": parts})
        data = json.dumps(body).encode()
        self.routes["GET", f"/v2/{name}/manifests/{tag}"] = (200, {"Content-Type": media.OCI_INDEX}, data)
        return data

    def asked(self, method: str, part: str) -> list[dict[str, str]]:
        """Return the headers of the requests of a method whose path has the part."""
        return [headers for seen_method, path, headers in self.seen if seen_method == method and part in path]


@pytest.fixture
def make_registry():
    """Return a function that starts fake registries."""
    started: list[FakeRegistry] = []

    def make() -> FakeRegistry:
        started.append(FakeRegistry())
        return started[-1]

    yield make
    for fake in started:
        fake.close()


@pytest.fixture
def fake(make_registry):
    return make_registry()


@pytest.fixture
def image():
    return Image()


@pytest.fixture
def make_image():
    return Image


@pytest.fixture
def blobs(tmp_path: Path):
    return Store(str(tmp_path / "store")).blobs


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own: nobody's credentials are read or overwritten, no proxy is asked."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "xdg"))
    return folder


@pytest.fixture
def client(tmp_path: Path):
    with Client({}, policy=Policy(attempts=3, first=0.01, longest=0.02), certs_dirs=(str(tmp_path / "certs"),)) as one:
        yield one
