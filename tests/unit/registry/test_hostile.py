# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Registries that lie, break, redirect and refuse: nothing wrong gets into the store, no credentials get out."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vitrine.errors import (
    ContentMismatch,
    ImageNotFound,
    InvalidInput,
    RegistryError,
    RegistryUnreachable,
    Unauthorized,
    UnsupportedContent,
)
from vitrine.oci import digest, media
from vitrine.registry import Client
from vitrine.registry.retry import Policy
from vitrine.store import Store

ENGINE = Path(digest.__file__).resolve().parent.parent.parent
FAST = Policy(attempts=3, first=0.01, longest=0.02)
BASIC = "Basic " + base64.b64encode(b"me:secret").decode()


def stored(blobs) -> list[str]:
    return blobs.all()


def test_an_image_comes_whole_and_is_reported_in_the_callers_thread(client, fake, image, blobs):
    layers, events, threads, configs = [], [], set(), []

    def on_config(config):
        threads.add(threading.get_ident())
        assert threading.active_count() == before and not layers and len(config.chain_ids) == 2
        configs.append(config)

    def on_layer(index, descriptor):
        threads.add(threading.get_ident())
        assert blobs.has(descriptor.digest)
        layers.append(index)

    def progress(event):
        threads.add(threading.get_ident())
        events.append(event)

    name = fake.add(image)
    client.resolve(name)
    before = threading.active_count()
    pulled = client.pull(name, blobs=blobs, progress=progress, on_config=on_config, on_layer=on_layer)
    assert [config.to_json() for config in configs] == [image.config]
    assert pulled.manifest == image.manifest and pulled.config == image.config
    assert pulled.manifest_digest == pulled.repo_digest == image.digest
    assert sorted(layers) == [0, 1] and threads == {threading.get_ident()}
    assert [blobs.read(layer.digest) for layer in pulled.layers] == list(image.layers)
    final = {event["id"]: event["status"] for event in events}
    assert final == {digest.short(layer.digest): "Download complete" for layer in pulled.layers}
    assert all(0 <= event["current"] <= event["total"] for event in events)
    fake.seen.clear()
    again = client.pull(f"{fake.host}/app:v1", blobs=blobs, progress=events.append)
    assert again == pulled and not any(digest.of(layer) in path for layer in image.layers for _m, path, _h in fake.seen)


def test_one_blob_that_is_two_layers_comes_once(client, fake, make_image, blobs):
    twice = make_image(layers=(b"same", b"other", b"same"))
    indexes = []
    client.pull(fake.add(twice), blobs=blobs, on_layer=lambda index, _layer: indexes.append(index))
    assert sorted(indexes) == [0, 1, 2] and len(fake.asked("GET", digest.of(b"same"))) == 1


def test_layers_that_are_here_are_not_fetched(client, fake, image, blobs):
    first = json.loads(image.config)["rootfs"]["diff_ids"][0]
    indexes = []
    pulled = client.pull(
        fake.add(image), blobs=blobs, have_layer=lambda chain: chain == first, on_layer=lambda i, _d: indexes.append(i)
    )
    assert indexes == [1] and stored(blobs) == [pulled.layers[1].digest]


# -- content that is not what it should be -------------------------------------------------------------------------


def test_a_manifest_of_another_digest_is_refused(client, fake, image, blobs):
    fake.add(image)
    wrong = digest.of(b"other")
    fake.routes["GET", f"/v2/app/manifests/{wrong}"] = fake.routes["GET", "/v2/app/manifests/v1"]
    with pytest.raises(ContentMismatch, match="another digest"):
        client.pull(f"{fake.host}/app@{wrong}", blobs=blobs)
    # What the registry says of itself in a header proves nothing.
    status, headers, body = fake.routes["GET", "/v2/app/manifests/v1"]
    fake.routes["GET", f"/v2/app/manifests/{wrong}"] = (status, {**headers, "Docker-Content-Digest": wrong}, body)
    with pytest.raises(ContentMismatch, match="another digest"):
        client.pull(f"{fake.host}/app@{wrong}", blobs=blobs)


def test_a_pinned_image_is_what_the_digest_says_whatever_the_tag(client, fake, image, make_image, blobs):
    fake.add(image)
    fake.add(make_image(layers=(b"newer",)))
    assert client.pull(f"{fake.host}/app:v1@{image.digest}", blobs=blobs).config == image.config


@pytest.mark.parametrize("change", [lambda data: data[:-1] + b"!", lambda data: data + b"!", lambda data: data[:-1]])
def test_a_blob_that_is_other_longer_or_shorter_never_gets_its_name(client, fake, image, blobs, change):
    name = fake.add(image)
    layer = image.parsed.layers[1]
    fake.routes["GET", f"/v2/app/blobs/{layer.digest}"] = (200, {}, change(image.layers[1]))
    with pytest.raises(ContentMismatch, match=layer.digest):
        client.pull(name, blobs=blobs)
    assert not blobs.has(layer.digest)


def test_a_blob_without_length_that_does_not_end_is_cut_off(client, fake, image, blobs):
    name = fake.add(image)
    layer = image.parsed.layers[0]

    def endless(handler):
        handler.answer(200, {"Content-Length": None, "Connection": "close"}, image.layers[0])
        while True:
            handler.wfile.write(b"more" * 1000)

    fake.routes["GET", f"/v2/app/blobs/{layer.digest}"] = endless
    with pytest.raises(ContentMismatch):
        client.pull(name, blobs=blobs)
    assert not blobs.has(layer.digest)


def test_a_changed_configuration_is_refused(client, fake, image, blobs):
    name = fake.add(image)
    path = f"/v2/app/blobs/{image.parsed.config.digest}"
    for data in (image.config.replace(b"amd64", b"arm64"), image.config + b" ", image.config[:-1]):
        fake.routes["GET", path] = (200, {}, data)
        with pytest.raises(ContentMismatch):
            client.pull(name, blobs=blobs)
    assert stored(blobs) == []


def test_layers_and_diff_ids_must_be_as_many(client, fake, make_image, blobs):
    with pytest.raises(ContentMismatch, match="2 layers, the configuration 1"):
        client.pull(fake.add(make_image(diff_ids=(digest.of(b"x"),))), blobs=blobs)


def test_content_encodings_are_neither_asked_for_nor_undone(client, fake, image, blobs):
    name = fake.add(image)
    layer = image.parsed.layers[0]
    fake.routes["GET", f"/v2/app/blobs/{layer.digest}"] = (200, {"Content-Encoding": "gzip"}, image.layers[0])
    client.pull(name, blobs=blobs)
    assert all(headers["Accept-Encoding"] == "identity" for _method, _path, headers in fake.seen)


def test_a_huge_manifest_is_not_read(client, fake, blobs):
    fake.routes["GET", "/v2/app/manifests/v1"] = (200, {"Content-Type": media.OCI_MANIFEST}, b" " * (5 << 20))
    with pytest.raises(ContentMismatch, match="longer than"):
        client.pull(f"{fake.host}/app:v1", blobs=blobs)


def test_a_manifest_of_one_kind_is_not_taken_for_another(client, fake, image, blobs):
    fake.add(image)
    for announced in (media.OCI_INDEX, media.DOCKER_MANIFEST):
        fake.routes["GET", "/v2/app/manifests/v1"] = (200, {"Content-Type": announced}, image.manifest)
        with pytest.raises(ContentMismatch, match="announced"):
            client.pull(f"{fake.host}/app:v1", blobs=blobs)
    old = b'{"schemaVersion": 1, "fsLayers": []}'
    fake.routes["GET", "/v2/app/manifests/v1"] = (200, {"Content-Type": "application/json"}, old)
    with pytest.raises(UnsupportedContent, match="schema 1"):
        client.pull(f"{fake.host}/app:v1", blobs=blobs)


# -- platforms -----------------------------------------------------------------------------------------------------


def test_the_image_of_the_asked_platform_is_taken(client, fake, make_image, blobs):
    amd, arm = make_image(), make_image(layers=(b"arm",), architecture="arm64")
    data = fake.add_index([(amd, "linux/amd64"), (arm, "linux/arm64")])
    pulled = client.pull(f"{fake.host}/app:v1", platform="linux/arm64/v8", blobs=blobs)
    assert pulled.config == arm.config and pulled.manifest_digest == arm.digest
    assert pulled.index_digest == pulled.repo_digest == digest.of(data)
    assert client.resolve(f"{fake.host}/app:v1", "arm64") == arm.digest
    assert client.resolve(f"{fake.host}/app:v1") == digest.of(data)


def test_what_there_is_is_listed_when_a_platform_is_missing(client, fake, make_image, blobs):
    fake.add_index([(make_image(), "linux/s390x"), (make_image(layers=()), "linux/arm/v7")])
    with pytest.raises(UnsupportedContent, match="linux/s390x, linux/arm/v7"):
        client.pull(f"{fake.host}/app:v1", platform="linux/amd64", blobs=blobs)


def test_a_sole_image_of_another_platform_is_refused_when_one_was_asked_for(client, fake, make_image, blobs):
    name = fake.add(make_image(architecture="arm64"))
    with pytest.raises(UnsupportedContent, match="linux/arm64"):
        client.pull(name, platform="linux/amd64", blobs=blobs)
    assert json.loads(client.pull(name, blobs=blobs).config)["architecture"] == "arm64"


def test_an_index_that_lies_about_its_entry_is_refused(client, fake, make_image, blobs):
    image = make_image()
    body = json.loads(fake.add_index([(image, "linux/amd64")]))
    for change in ({"size": len(image.manifest) - 1}, {"mediaType": media.DOCKER_MANIFEST}):
        lie = {**body, "manifests": [{**body["manifests"][0], **change}]}
        fake.routes["GET", "/v2/app/manifests/v1"] = (200, {"Content-Type": media.OCI_INDEX}, json.dumps(lie).encode())
        with pytest.raises(ContentMismatch):
            client.pull(f"{fake.host}/app:v1", platform="linux/amd64", blobs=blobs)


def test_an_entry_is_of_the_type_that_its_index_says_whatever_the_server_says(client, fake, make_image, blobs):
    image = make_image()
    body = json.loads(fake.add_index([(image, "linux/amd64")]))
    fake.routes["GET", f"/v2/app/manifests/{image.digest}"] = (
        200,
        {"Content-Type": "application/json"},
        image.manifest,
    )
    assert client.pull(f"{fake.host}/app:v1", platform="linux/amd64", blobs=blobs).config == image.config
    body["manifests"][0]["mediaType"] = media.DOCKER_MANIFEST
    fake.routes["GET", "/v2/app/manifests/v1"] = (200, {"Content-Type": media.OCI_INDEX}, json.dumps(body).encode())
    with pytest.raises(ContentMismatch, match="announced"):
        client.pull(f"{fake.host}/app:v1", platform="linux/amd64", blobs=blobs)


# -- broken connections --------------------------------------------------------------------------------------------


def cut_after(count: int, data: bytes, ranges: bool):
    """Return a route that sends count bytes of what was asked for, then breaks the connection, twice; then all."""
    state = {"left": 2}

    def route(handler):
        span = handler.headers.get("Range", "")
        start = int(span[6:].partition("-")[0]) if span and ranges else 0
        headers = {"Content-Length": str(len(data) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if state["left"]:
            state["left"] -= 1
            handler.answer(206 if start else 200, headers, data[start : start + count])
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
        else:
            handler.answer(206 if start else 200, headers, data[start:])

    return route


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_or_begins_again(client, fake, image, blobs, ranges):
    name = fake.add(image)
    layer = image.parsed.layers[1]
    fake.routes["GET", f"/v2/app/blobs/{layer.digest}"] = cut_after(100_000, image.layers[1], ranges)
    client.pull(name, blobs=blobs)
    assert blobs.read(layer.digest) == image.layers[1]
    ranges_asked = [headers.get("Range") for headers in fake.asked("GET", layer.digest)]
    assert ranges_asked[:2] == [None, f"bytes=100000-{layer.size - 1}"]


def test_what_an_interrupted_process_left_is_used(client, fake, image, blobs):
    name = fake.add(image)
    layer = image.parsed.layers[1]
    writer = blobs.writer(layer.digest, layer.size)
    writer.write(image.layers[1][:200_000])
    writer.keep()
    fake.routes["GET", f"/v2/app/blobs/{layer.digest}"] = (
        206,
        {"Content-Range": f"bytes 200000-{layer.size - 1}/{layer.size}"},
        image.layers[1][200_000:],
    )
    client.pull(name, blobs=blobs)
    assert fake.asked("GET", layer.digest)[0]["Range"] == f"bytes=200000-{layer.size - 1}"


def test_what_was_left_and_is_damaged_is_fetched_anew(client, fake, image, blobs):
    name = fake.add(image)
    layer = image.parsed.layers[1]
    writer = blobs.writer(layer.digest, layer.size)
    writer.write(b"?" * 200_000)
    writer.keep()
    fake.routes["GET", f"/v2/app/blobs/{layer.digest}"] = cut_after(1 << 30, image.layers[1], True)
    client.pull(name, blobs=blobs)
    assert blobs.read(layer.digest) == image.layers[1]


@pytest.mark.parametrize("span", ["bytes 5-9/10", "bytes */10", "nonsense", ""])
def test_a_part_that_is_not_the_one_asked_for_is_not_appended(client, fake, image, blobs, span):
    name = fake.add(image)
    layer = image.parsed.layers[1]
    writer = blobs.writer(layer.digest, layer.size)
    writer.write(image.layers[1][:200_000])
    writer.keep()

    def route(handler):
        if handler.headers.get("Range"):
            handler.answer(206, {"Content-Range": span}, image.layers[1][:10])
        else:
            handler.answer(200, {}, image.layers[1])

    fake.routes["GET", f"/v2/app/blobs/{layer.digest}"] = route
    client.pull(name, blobs=blobs)
    assert blobs.read(layer.digest) == image.layers[1]


def test_a_busy_registry_is_asked_again_as_late_as_it_says(client, fake, image, blobs):
    name = fake.add(image)
    answers = [(429, {"Retry-After": "0"}, b""), (503, {}, b""), fake.routes["GET", "/v2/app/manifests/v1"]]
    waits = []
    client._transport.sleep = waits.append
    fake.routes["GET", "/v2/app/manifests/v1"] = lambda handler: handler.answer(*answers.pop(0))
    client.pull(name, blobs=blobs)
    assert not answers and waits == [0.01, 0.02]


def test_a_registry_that_wants_hours_is_not_waited_for(client, fake, blobs):
    said = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "You have reached your pull rate limit."}]}'
    fake.routes["GET", "/v2/app/manifests/v1"] = (429, {"Retry-After": "21600"}, said)
    with pytest.raises(RegistryError, match="pull rate limit"):
        client.pull(f"{fake.host}/app:v1", blobs=blobs)
    assert len(fake.asked("GET", "manifests")) == 1


def test_one_failed_layer_ends_the_others(client, fake, make_image, blobs):
    image = make_image(layers=(b"good", b"bad"))
    name = fake.add(image)
    release = threading.Event()

    def slow(handler):
        handler.answer(200, {"Content-Length": "4"}, b"g")
        release.wait(5)
        handler.wfile.write(b"ood")

    fake.routes["GET", f"/v2/app/blobs/{digest.of(b'good')}"] = slow
    fake.routes["GET", f"/v2/app/blobs/{digest.of(b'bad')}"] = (404, {}, b"")
    threading.Timer(0.3, release.set).start()
    with pytest.raises(ImageNotFound, match="has lost blob"):
        client.pull(name, blobs=blobs)
    assert not any(thread.name.startswith("Thread") and "loop" in thread.name for thread in threading.enumerate())


def test_an_error_in_the_callers_function_ends_the_download(client, fake, image, blobs):
    def on_layer(_index, _descriptor):
        raise InvalidInput("enough")

    with pytest.raises(InvalidInput, match="enough"):
        client.pull(fake.add(image), blobs=blobs, on_layer=on_layer)


def test_without_requests_both_ways_to_get_it_are_said():
    code = (
        f"import sys; sys.path.insert(0, {str(ENGINE)!r})\n"
        "from vitrine.registry import Client\n"
        "from vitrine.errors import DependencyMissing\n"
        "sys.modules['requests'] = None\n"
        "try: Client({}).resolve('debian')\n"
        "except DependencyMissing as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "python3-requests" in said and "role" in said


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = (
        f"import sys; sys.path.insert(0, {str(ENGINE)!r})\n"
        "import vitrine.registry, vitrine.registry.auth\n"
        "heavy = {'requests', 'urllib3', 'ssl', 'http', 'json', 'email', 'logging', 'queue', 'urllib.parse'}\n"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


# -- registries that are not there ---------------------------------------------------------------------------------


def test_why_a_registry_cannot_be_reached_is_said(client, blobs, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(
            RegistryUnreachable, match=f"127.0.0.1:{port} cannot be reached: the connection was refused"
        ):
            client.pull(f"127.0.0.1:{port}/app", blobs=blobs)
    with pytest.raises(RegistryUnreachable, match="no-such-host.invalid .*name cannot be resolved"):
        client.pull("no-such-host.invalid/app", blobs=blobs)


def test_a_connection_is_used_again_whatever_the_answers_were(client, fake, image, blobs):
    name = fake.add(image)
    client.resolve(name)
    before = fake.connections
    for wanted in ("v1", "none", "v1"):
        try:
            client.resolve(f"{fake.host}/app:{wanted}")
        except ImageNotFound:
            pass
    with pytest.raises(RegistryError):
        client.push(f"{fake.host}/app:v1", image.manifest, image.parsed.media_type, (), blobs)
    assert fake.connections == before


def test_an_interrupt_ends_a_pull_from_a_stalled_server(fake, image, tmp_path):
    name = fake.add(image)
    layer = image.parsed.layers[1]
    stalled, release = threading.Event(), threading.Event()

    def stall(handler):
        handler.answer(200, {"Content-Length": str(layer.size)}, image.layers[1][:200_000])
        stalled.set()
        release.wait(20)

    fake.routes["GET", f"/v2/app/blobs/{layer.digest}"] = stall
    code = (
        f"import sys; sys.path.insert(0, {str(ENGINE)!r})\n"
        "from vitrine.registry import Client; from vitrine.store import Store\n"
        f"Client({{}}).pull({name!r}, blobs=Store({str(tmp_path / 'store')!r}).blobs)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    try:
        assert stalled.wait(20)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _output, said = process.communicate(timeout=15)
    finally:
        release.set()
        process.kill()
    assert b"KeyboardInterrupt" in said
    blobs = Store(str(tmp_path / "store")).blobs
    assert not blobs.has(layer.digest) and blobs.writer(layer.digest, layer.size).offset > 100_000


def test_a_name_that_is_not_there_is_named(client, fake, image, blobs):
    fake.add(image)
    with pytest.raises(ImageNotFound, match=r"app:v2 not found: .* no tag 'v2' of repository 'app'"):
        client.pull(f"{fake.host}/app:v2", blobs=blobs)
    with pytest.raises(ImageNotFound):
        client.resolve(f"{fake.host}/app:v2")


def test_something_that_is_no_registry_is_survived(client, fake, blobs):
    page = (200, {"Content-Type": "text/html"}, b"<html>Please log in to the hotel's network</html>")
    fake.routes["GET", "/v2/app/manifests/v1"] = page
    with pytest.raises(ContentMismatch, match="not valid JSON"):
        client.pull(f"{fake.host}/app:v1", blobs=blobs)


# -- who gets our credentials --------------------------------------------------------------------------------------


def guarded(route):
    """Return a route that wants me:secret by HTTP Basic."""

    def guard(handler):
        if handler.headers.get("Authorization") != BASIC:
            handler.answer(401, {"WWW-Authenticate": 'Basic realm="x"'}, b"{}")
        elif callable(route):
            route(handler)
        else:
            handler.answer(*route)

    return guard


def test_a_redirect_to_another_host_gets_no_credentials(make_registry, image, blobs):
    fake, elsewhere = make_registry(), make_registry()
    name = fake.add(image)
    for path, route in list(fake.routes.items()):
        fake.routes[path] = guarded(route)
    layer = image.parsed.layers[0]
    blob = f"/v2/app/blobs/{layer.digest}"
    elsewhere.routes["GET", "/storage"] = (200, {}, image.layers[0])
    fake.routes["GET", blob] = guarded((307, {"Location": f"http://{elsewhere.host}/storage"}, b""))
    with Client({}, credentials=("me", "secret"), policy=FAST) as client:
        client.pull(name, blobs=blobs)
    assert blobs.has(layer.digest)
    assert len(elsewhere.seen) == 1 and "Authorization" not in elsewhere.seen[0][2]
    assert fake.asked("GET", blob)[-1]["Authorization"] == BASIC


def test_a_redirect_to_another_port_or_name_of_the_same_host_gets_none_either(make_registry, image, blobs):
    fake, elsewhere = make_registry(), make_registry()
    name = fake.add(image)
    fake.routes["GET", "/v2/app/manifests/v1"] = guarded(
        (302, {"Location": f"http://localhost:{elsewhere.server.server_port}/m"}, b"")
    )
    wants = (401, {"WWW-Authenticate": 'Basic realm="give me"'}, b"{}")
    elsewhere.routes["GET", "/m"] = wants
    refused = pytest.raises(RegistryError, match="localhost, where the registry .* answered 401")
    with Client({}, credentials=("me", "secret"), policy=FAST) as client, refused:
        client.pull(name, blobs=blobs)
    assert elsewhere.seen and all("Authorization" not in headers for _method, _path, headers in elsewhere.seen)


def test_proxies_are_those_of_the_environment_and_not_for_this_host(make_registry, image, blobs, monkeypatch):
    proxy, fake = make_registry(), make_registry()
    monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
    near = fake.add(image)
    far = "http://registry.invalid:5000/v2/app/"
    for (method, path), route in fake.routes.items():
        proxy.routes[method, path.replace("/v2/app/", far)] = route
    config = {"registries": {"mirrors": {"registry.invalid:5000": ["http://registry.invalid:5000"]}}}
    with Client(config, policy=FAST) as client:
        assert client.pull("registry.invalid:5000/app:v1", blobs=blobs).config == image.config
        proxied = len(proxy.seen)
        assert client.pull(near, blobs=blobs).config == image.config
    assert len(proxy.seen) == proxied and all(path.startswith(far) for _method, path, _headers in proxy.seen)


def test_an_upload_that_is_understood_and_refused_is_not_repeated(client, fake, image, blobs):
    for data in image.blobs.values():
        blobs.put(data)
    fake.routes["POST", "/v2/app/blobs/uploads/"] = (202, {"Location": "/up"}, b"")
    fake.routes["PUT", "/up"] = (400, {}, b'{"errors":[{"code":"DIGEST_INVALID","message":"not that digest"}]}')
    with pytest.raises(RegistryError, match="not that digest"):
        client.push(f"{fake.host}/app:v1", image.manifest, image.parsed.media_type, image.parsed.descriptors[:1], blobs)
    assert len(fake.asked("PUT", "/up")) == 1
    fake.routes["PUT", "/up"] = (502, {}, b"")
    with pytest.raises(RegistryError, match="502"):
        client.push(f"{fake.host}/app:v1", image.manifest, image.parsed.media_type, image.parsed.descriptors[:1], blobs)
    assert len(fake.asked("PUT", "/up")) == 4


def test_redirects_end(client, fake, blobs):
    fake.routes["GET", "/v2/app/manifests/v1"] = (302, {"Location": "/v2/app/manifests/v1"}, b"")
    with pytest.raises(RegistryError):
        client.pull(f"{fake.host}/app:v1", blobs=blobs)
    assert len(fake.asked("GET", "manifests")) < 10


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://u:p@127.0.0.1/", "gopher://x/", None, "http://[::"])
def test_a_redirect_to_nowhere_useful_is_refused(client, fake, blobs, location):
    fake.routes["GET", "/v2/app/manifests/v1"] = (302, {"Location": location}, b"")
    with pytest.raises(RegistryError):
        client.pull(f"{fake.host}/app:v1", blobs=blobs)


def test_from_tls_to_no_tls_is_refused(client):
    session = client.session("registry.example")
    with pytest.raises(RegistryError, match="from https"):
        session.resolve("http://registry.example/x", "https://registry.example/v2/")
    assert session.resolve("//cdn.example/x", "https://registry.example/v2/") == "https://cdn.example/x"


def test_netrc_is_not_read(client, fake, image, blobs, home):
    netrc = home / ".netrc"
    netrc.write_text("machine 127.0.0.1 login stranger password secret\n")
    netrc.chmod(0o600)
    client.pull(fake.add(image), blobs=blobs)
    assert all("Authorization" not in headers for _method, _path, headers in fake.seen)


def test_cookies_are_not_kept(client, fake, image, blobs):
    fake.add(image)
    status, headers, body = fake.routes["GET", "/v2/app/manifests/v1"]
    fake.routes["GET", "/v2/app/manifests/v1"] = (status, {**headers, "Set-Cookie": "a=b"}, body)
    client.pull(f"{fake.host}/app:v1", blobs=blobs)
    assert all("Cookie" not in headers for _method, _path, headers in fake.seen)


# -- tokens --------------------------------------------------------------------------------------------------------


class TokenService:
    """Gives tokens and counts; a guarded registry takes the newest one only."""

    def __init__(self, fake, *, answer=None):
        self.fake = fake
        self.number = 0
        self.answer = answer
        fake.routes["GET", "/token"] = fake.routes["POST", "/token"] = self.give

    def give(self, handler):
        self.number += 1
        body = {"token": f"t{self.number}", "expires_in": 300} if self.answer is None else self.answer
        handler.answer(200, {}, json.dumps(body).encode())

    def guard(self, registry, realm):
        for path, route in list(registry.routes.items()):
            registry.routes[path] = lambda handler, route=route: self.check(handler, route, realm)

    def check(self, handler, route, realm):
        if self.number and handler.headers.get("Authorization") == f"Bearer t{self.number}":
            route(handler) if callable(route) else handler.answer(*route)
        else:
            challenge = f'Bearer realm="{realm}",service="reg",scope="repository:app:pull"'
            handler.answer(401, {"WWW-Authenticate": challenge}, b"{}")


def test_one_token_serves_the_whole_pull(client, make_registry, image, blobs):
    fake, service = make_registry(), make_registry()
    name = fake.add(image)
    TokenService(service).guard(fake, f"http://{service.host}/token?a=b")
    client.pull(name, blobs=blobs)
    assert [path for _method, path, _headers in service.seen] == [
        "/token?a=b&service=reg&scope=repository%3Aapp%3Apull"
    ]
    assert "Authorization" not in service.seen[0][2]
    assert stored(blobs) == sorted(layer.digest for layer in image.parsed.layers)


def test_credentials_go_to_the_token_service_and_the_token_to_the_registry(make_registry, image, blobs):
    fake, service = make_registry(), make_registry()
    name = fake.add(image)
    TokenService(service).guard(fake, f"http://{service.host}/token")
    with Client({}, credentials=("me", "secret"), policy=FAST) as client:
        client.pull(name, blobs=blobs)
    assert service.seen[0][2]["Authorization"] == BASIC and "account=me" in service.seen[0][1]
    sent = {headers.get("Authorization") for _method, _path, headers in fake.seen}
    assert sent == {None, "Bearer t1"}


def test_an_identity_token_is_exchanged(make_registry, image, blobs, home):
    fake, service = make_registry(), make_registry()
    name = fake.add(image)
    TokenService(service, answer={"access_token": "t1"}).guard(fake, f"http://{service.host}/token")
    bodies = []
    give = service.routes["POST", "/token"]
    service.routes["POST", "/token"] = lambda handler: (bodies.append(handler.content.decode()), give(handler))
    (home / ".docker").mkdir()
    (home / ".docker/config.json").write_text(json.dumps({"auths": {fake.host: {"identitytoken": "idt"}}}))
    with Client({}, policy=FAST) as client:
        client.pull(name, blobs=blobs)
    assert "grant_type=refresh_token" in bodies[0] and "refresh_token=idt" in bodies[0]


def test_a_token_that_is_refused_at_once_ends_it(client, make_registry, image, blobs):
    fake, service = make_registry(), make_registry()
    name = fake.add(image)
    tokens = TokenService(service)
    challenge = f'Bearer realm="http://{service.host}/token",error="insufficient_scope"'
    said = b'{"errors": [{"code": "DENIED", "message": "not for you"}]}'
    fake.routes["GET", "/v2/app/manifests/v1"] = (401, {"WWW-Authenticate": challenge}, said)
    with pytest.raises(Unauthorized, match="not for you"):
        client.pull(name, blobs=blobs)
    assert tokens.number == 1


def test_threads_share_a_token(client, make_registry, make_image, blobs):
    fake, service = make_registry(), make_registry()
    image = make_image(layers=tuple(b"layer %d" % number for number in range(12)))
    name = fake.add(image)
    tokens = TokenService(service)
    tokens.guard(fake, f"http://{service.host}/token")
    first = fake.routes["GET", f"/v2/app/blobs/{image.parsed.layers[0].digest}"]

    def end_all_tokens(handler):
        fake.routes["GET", f"/v2/app/blobs/{image.parsed.layers[0].digest}"] = first
        tokens.number += 1
        first(handler)

    fake.routes["GET", f"/v2/app/blobs/{image.parsed.layers[0].digest}"] = end_all_tokens
    client.pull(name, blobs=blobs)
    assert len(service.seen) <= 3 and len(stored(blobs)) == 12


def test_an_ended_token_is_replaced(client, make_registry, image, blobs):
    fake, service = make_registry(), make_registry()
    name = fake.add(image)
    tokens = TokenService(service)
    tokens.guard(fake, f"http://{service.host}/token")
    client.pull(name, blobs=blobs)
    tokens.number += 1  # the registry takes t2 from now on, which nobody has
    assert client.resolve(name) == image.digest and tokens.number == 3


@pytest.mark.parametrize(
    "answer", [{}, {"token": 5}, {"token": "a b"}, {"token": "a\r\nX-Evil: 1"}, {"token": ""}, [1]]
)
def test_a_useless_token_is_not_used(client, make_registry, image, blobs, answer):
    fake, service = make_registry(), make_registry()
    name = fake.add(image)
    TokenService(service, answer=answer).guard(fake, f"http://{service.host}/token")
    with pytest.raises(RegistryError):
        client.pull(name, blobs=blobs)


def test_a_refusing_token_service_is_quoted_without_the_password(make_registry, image, blobs):
    fake, service = make_registry(), make_registry()
    name = fake.add(image)
    TokenService(service).guard(fake, f"http://{service.host}/token")
    service.routes["GET", "/token"] = (401, {}, b'{"details": "incorrect username or \\u001b[31mpassword"}')
    with Client({}, credentials=("me", "secret-word"), policy=FAST) as client, pytest.raises(Unauthorized) as caught:
        client.pull(name, blobs=blobs)
    assert "incorrect username" in str(caught.value) and "'me'" in str(caught.value)
    assert "secret-word" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_a_token_service_without_tls_gets_nothing_from_a_registry_that_has_tls(client):
    session = client.session("registry.example")
    session._base = "https://registry.example"
    with pytest.raises(RegistryError, match="without TLS"):
        session._token({"realm": "http://auth.example/token"}, ())
    with pytest.raises(RegistryError, match="does not say from where"):
        session._token({}, ())


def test_without_credentials_the_way_to_log_in_is_said(client, fake, image, blobs):
    name = fake.add(image)
    fake.routes["GET", "/v2/app/manifests/v1"] = (401, {"WWW-Authenticate": 'Basic realm="x"'}, b"{}")
    with pytest.raises(Unauthorized, match="vitrine login"):
        client.pull(name, blobs=blobs)
    fake.routes["GET", "/v2/app/manifests/v1"] = (401, {"WWW-Authenticate": "Negotiate"}, b"{}")
    with pytest.raises(Unauthorized):
        client.pull(name, blobs=blobs)


# -- mirrors -------------------------------------------------------------------------------------------------------


def test_mirrors_are_asked_first_and_get_no_given_credentials(make_registry, image, blobs):
    mirror, origin = make_registry(), make_registry()
    mirror.add(image, "proxy/app")
    origin.add(image)
    config = {"registries": {"mirrors": {origin.host: [f"http://{mirror.host}/proxy"]}}}
    mirror.routes["GET", f"/v2/proxy/app/blobs/{image.parsed.layers[1].digest}"] = (404, {}, b"")
    with Client(config, credentials=("me", "secret"), policy=FAST) as client:
        pulled = client.pull(f"{origin.host}/app:v1", blobs=blobs)
    assert pulled.reference.canonical == f"{origin.host}/app:v1"
    # What the mirror lacks comes from the registry itself; nothing else does.
    assert [path for _m, path, _h in origin.seen if path != "/v2/"] == [
        f"/v2/app/blobs/{image.parsed.layers[1].digest}"
    ]
    assert all("Authorization" not in headers for _method, _path, headers in mirror.seen)


@pytest.mark.parametrize("kind", ["absent", "broken", "down", "refusing"])
def test_a_useless_mirror_is_passed_over(make_registry, image, blobs, kind):
    mirror, origin = make_registry(), make_registry()
    name = origin.add(image)
    answers = {"broken": (500, {}, b""), "refusing": (403, {}, b"")}
    if kind in answers:
        mirror.routes["GET", "/v2/app/manifests/v1"] = answers[kind]
    if kind == "down":
        mirror.close()
    with Client({"registries": {"mirrors": {origin.host: [f"http://{mirror.host}"]}}}, policy=FAST) as client:
        assert client.pull(name, blobs=blobs).config == image.config


def test_when_all_fail_each_is_named(make_registry, blobs):
    mirror, origin = make_registry(), make_registry()
    with Client({"registries": {"mirrors": {origin.host: [f"http://{mirror.host}"]}}}, policy=FAST) as client:
        with pytest.raises(ImageNotFound) as caught:
            client.pull(f"{origin.host}/app:v1", blobs=blobs)
        assert mirror.host in str(caught.value) and origin.host in str(caught.value)


# -- push ----------------------------------------------------------------------------------------------------------


def test_an_upload_to_another_host_gets_no_credentials(make_registry, image, blobs):
    fake, storage = make_registry(), make_registry()
    received = {}
    for data in image.blobs.values():
        blobs.put(data)
    fake.routes["GET", "/v2/"] = (200, {}, b"{}")
    fake.routes["POST", "/v2/app/blobs/uploads/"] = guarded(
        (202, {"Location": f"http://{storage.host}/up?state=1"}, b"")
    )

    def put(handler):
        received[handler.path.partition("digest=")[2].replace("%3A", ":")] = handler.content
        handler.answer(201, {}, b"")

    storage.routes["PUT", "/up"] = put
    fake.routes["PUT", "/v2/app/manifests/v1"] = guarded((201, {}, b""))
    with Client({}, credentials=("me", "secret"), policy=FAST) as client:
        result = client.push(
            f"{fake.host}/app:v1", image.manifest, image.parsed.media_type, image.parsed.descriptors, blobs
        )
    assert received == image.blobs and (result.digest, result.uploaded, result.changed) == (image.digest, 3, True)
    assert all("Authorization" not in headers for _method, _path, headers in storage.seen)


def test_a_registry_that_takes_no_large_requests_gets_pieces(client, fake, make_image, blobs, monkeypatch):
    from vitrine.registry import upload

    monkeypatch.setattr(upload, "PIECE", 1000)
    image = make_image(layers=(os.urandom(2500),))
    for data in image.blobs.values():
        blobs.put(data)
    parts: dict[str, bytes] = {}
    numbers = iter(range(100))

    def begin(handler):
        handler.answer(202, {"Location": f"/up/{next(numbers)}"}, b"")

    def piece(handler):
        upload_id = handler.path.partition("?")[0]
        parts[upload_id] = parts.get(upload_id, b"")
        if handler.command == "PATCH":
            start, end = map(int, handler.headers["Content-Range"].split("-"))
            assert start == len(parts[upload_id]) and end - start + 1 == len(handler.content)
            parts[upload_id] += handler.content
            handler.answer(202, {"Location": handler.path}, b"")
        elif len(handler.content) > 1000:
            handler.answer(413, {}, b"")
        elif "digest=" in handler.path:
            data = parts[upload_id] + handler.content
            ok = digest.of(data) == handler.path.partition("digest=")[2].replace("%3A", ":")
            handler.answer(201 if ok else 400, {}, b"")

    fake.routes["POST", "/v2/app/blobs/uploads/"] = begin
    for number in range(10):
        fake.routes["PATCH", f"/up/{number}"] = fake.routes["PUT", f"/up/{number}"] = piece
    fake.routes["PUT", "/v2/app/manifests/v1"] = (201, {}, b"")
    result = client.push(
        f"{fake.host}/app:v1", image.manifest, image.parsed.media_type, image.parsed.descriptors, blobs
    )
    assert result.uploaded == 2 and len(fake.asked("PATCH", "/up/")) == 3


def test_an_empty_blob_is_pushed_too(client, fake, make_image, blobs):
    image = make_image(layers=(b"",))
    blobs.put(b"")
    fake.routes["POST", "/v2/app/blobs/uploads/"] = (202, {"Location": "/up"}, b"")
    fake.routes["PUT", "/up"] = (201, {}, b"")
    fake.routes["PUT", "/v2/app/manifests/v1"] = (201, {}, b"")
    result = client.push(f"{fake.host}/app:v1", image.manifest, image.parsed.media_type, image.parsed.layers, blobs)
    assert result.uploaded == 1 and fake.asked("PUT", "/up")[0]["Content-Length"] == "0"


def test_a_digest_is_no_name_to_push_to(client, image, blobs):
    with pytest.raises(InvalidInput):
        client.push(f"127.0.0.1:1/app@{image.digest}", image.manifest, image.parsed.media_type, (), blobs)


def test_a_manifest_that_is_refused_is_an_error(client, fake, image, blobs):
    fake.routes["PUT", "/v2/app/manifests/v1"] = (
        400,
        {},
        b'{"errors":[{"code":"MANIFEST_INVALID","message":"bad one"}]}',
    )
    with pytest.raises(RegistryError, match="bad one"):
        client.push(f"{fake.host}/app:v1", image.manifest, image.parsed.media_type, (), blobs)


# -- search --------------------------------------------------------------------------------------------------------


def test_the_index_is_searched(fake, monkeypatch):
    results = [
        {"name": "debian", "description": "An\x1b[0m OS", "star_count": 5, "is_official": True},
        {"name": "x/debian", "description": None, "star_count": "many"},
    ]
    fake.routes["GET", "/v1/search"] = (200, {}, json.dumps({"results": results}).encode())
    with Client({"registries": {"mirrors": {"index.docker.io": [f"http://{fake.host}"]}}}, policy=FAST) as client:
        first, second = client.search("debian", limit=2)
    assert (first.name, first.description, first.stars, first.official) == ("debian", "An [0m OS", 5, True)
    assert (second.name, second.description, second.stars) == ("x/debian", "", 0)
    assert fake.seen[-1][1] == "/v1/search?q=debian&n=2"


def test_the_hubs_own_api_is_searched_when_the_index_fails(make_registry):
    index, hub = make_registry(), make_registry()
    result = {"repo_name": "x/debian", "short_description": "text", "star_count": 3, "is_automated": True}
    hub.routes["GET", "/v2/search/repositories/"] = (200, {}, json.dumps({"results": [result]}).encode())
    mirrors = {"index.docker.io": [f"http://{index.host}"], "hub.docker.com": [f"http://{hub.host}"]}
    with Client({"registries": {"mirrors": mirrors}}, policy=FAST) as client:
        (found,) = client.search("library/debian")
    assert (found.name, found.description, found.stars, found.automated) == ("x/debian", "text", 3, True)
    assert hub.seen[0][1].startswith("/v2/search/repositories/?query=debian&")


def test_the_registries_of_the_configuration_are_searched(make_registry):
    first, second = make_registry(), make_registry()
    for number, fake in enumerate((first, second)):
        fake.routes["GET", "/v2/_catalog"] = (200, {}, b'{"repositories": ["app%d"]}' % number)
    with Client({"registries": {"search": [first.host, second.host]}}, policy=FAST) as client:
        assert [found.name for found in client.search("app")] == [f"{first.host}/app0", f"{second.host}/app1"]


def test_catalogues_are_read_to_their_end(client, fake):
    def page(handler):
        if "last=" in handler.path:
            handler.answer(200, {}, b'{"repositories": ["org/app-two", "../evil"]}')
        else:
            headers = {"Link": '</v2/_catalog?last=b&n=1>; rel="next"'}
            handler.answer(200, headers, b'{"repositories": ["org/app", "UPPER", "b"]}')

    fake.routes["GET", "/v2/_catalog"] = page
    assert client.catalog(fake.host) == ["org/app", "b", "org/app-two"]
    assert [found.name for found in client.search("app", registry=fake.host)] == [
        f"{fake.host}/org/app",
        f"{fake.host}/org/app-two",
    ]
    assert client.search(f"{fake.host}/two")[0].name == f"{fake.host}/org/app-two"


def test_a_list_that_goes_on_elsewhere_or_for_ever_is_not_followed(client, make_registry):
    fake, elsewhere = make_registry(), make_registry()
    link = {"Link": f'<http://{elsewhere.host}/v2/_catalog>; rel="next"'}
    fake.routes["GET", "/v2/_catalog"] = (200, link, b'{"repositories": []}')
    with pytest.raises(RegistryError, match="continues its list"):
        client.catalog(fake.host)
    assert elsewhere.seen == []


def test_tags_are_listed(client, fake):
    fake.routes["GET", "/v2/app/tags/list"] = (200, {}, b'{"name": "app", "tags": ["v1", "bad tag", "v2"]}')
    assert client.tags(f"{fake.host}/app") == ["v1", "v2"]
    with pytest.raises(ImageNotFound):
        client.tags(f"{fake.host}/none")
