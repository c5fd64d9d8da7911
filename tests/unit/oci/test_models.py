# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests, indexes, configurations and platforms: what is believed, what is refused, what is kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitrine.errors import ContentMismatch, InvalidInput, UnsupportedContent, VitrineError
from vitrine.oci import config, digest, manifest, media, platform
from vitrine.oci.descriptor import Descriptor

A = "sha256:" + "a" * 64
B = "sha256:" + "b" * 64
ENGINE = Path(config.__file__).resolve().parent.parent.parent


def descriptor(media_type: str = media.OCI_LAYER_GZIP, name: str = A, size: int = 3, **more: object) -> dict:
    return {"mediaType": media_type, "digest": name, "size": size, **more}


def image(**changes: object) -> dict:
    body = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": descriptor(media.OCI_CONFIG),
        "layers": [descriptor(), descriptor(name=B)],
    }
    body.update(changes)
    return {key: value for key, value in body.items() if value is not ...}


def index(*platforms: str | None, **changes: object) -> dict:
    entries = []
    for number, text in enumerate(platforms):
        entry = descriptor(media.OCI_MANIFEST, digest.of(b"%d" % number))
        if text:
            entry["platform"] = dict(zip(("os", "architecture", "variant"), text.split("/")))
        entries.append(entry)
    return {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": entries, **changes}


def read(body: object, content_type: str | None = None) -> manifest.Manifest | manifest.Index:
    return manifest.parse(json.dumps(body).encode(), content_type)


def test_an_image_reads_with_its_layers_in_order():
    found = read(image(), media.OCI_MANIFEST + "; charset=utf-8")
    assert isinstance(found, manifest.Manifest)
    assert [layer.digest for layer in found.layers] == [A, B] and found.config.media_type == media.OCI_CONFIG
    assert manifest.parse(found.to_json(), found.media_type) == found
    found.require_image()


@pytest.mark.parametrize(
    ("body", "announced"),
    [
        (image(manifests=[]), media.OCI_MANIFEST),
        (index("linux/amd64", layers=[]), media.OCI_INDEX),
        (index("linux/amd64", config=descriptor()), media.OCI_INDEX),
        (image(), media.OCI_INDEX),
        (index("linux/amd64"), media.OCI_MANIFEST),
        (image(mediaType=media.DOCKER_MANIFEST), media.OCI_MANIFEST),
        (image(mediaType=..., manifests=[descriptor()]), None),
        (image(schemaVersion=True), None),
        (image(schemaVersion="2"), None),
        (image(layers={}), None),
        (image(layers=["x"]), None),
        (image(layers=[descriptor(name="sha256:../../x")]), None),
        (image(layers=[descriptor(size=-1)]), None),
        (image(layers=[descriptor(size=True)]), None),
        (image(layers=[descriptor(size=1.5)]), None),
        (image(layers=[descriptor(size=1 << 63)]), None),
        (image(layers=[descriptor("")]), None),
        (image(layers=[descriptor()] * 501), None),
        (image(config=...), None),
        (image(config=[]), None),
        (index(manifests={}), None),
        (index(manifests=[1]), None),
        ([], None),
        ("x", None),
    ],
)
def test_what_contradicts_itself_is_refused(body, announced):
    with pytest.raises(ContentMismatch):
        read(body, announced)


def test_doubled_keys_deep_nesting_and_size_are_refused():
    double = json.dumps(image()).replace('"layers"', '"layers": [], "layers"').encode()
    for data in (double, b"[" * 100_000, b'{"a":' * 50_000, b" " * (manifest.MAX_BYTES + 1), b"\xff", b""):
        with pytest.raises(ContentMismatch):
            manifest.parse(data, media.OCI_MANIFEST)


@pytest.mark.parametrize(
    ("body", "announced", "named"),
    [
        ({"schemaVersion": 1, "fsLayers": []}, None, "schema 1"),
        (image(), "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"),
        (image(mediaType=...), "application/vnd.example+json", "vnd.example"),
    ],
)
def test_other_kinds_are_named(body, announced, named):
    with pytest.raises(UnsupportedContent, match=named):
        read(body, announced)


def test_artifacts_and_unknown_layers_are_not_images():
    chart = read(image(config=descriptor("application/vnd.cncf.helm.config.v1+json")))
    with pytest.raises(UnsupportedContent, match="helm"):
        chart.require_image()
    strange = read(image(layers=[descriptor("application/vnd.example.layer")]))
    with pytest.raises(UnsupportedContent, match="vnd.example.layer"):
        strange.require_image()


def test_formats_convert_there_and_back():
    found = read(image())
    docker = manifest.make(found.config, found.layers, "docker")
    assert docker.media_type == media.DOCKER_MANIFEST and docker.layers[0].media_type == media.DOCKER_LAYER_GZIP
    assert docker.config.media_type == media.DOCKER_CONFIG
    assert manifest.make(docker.config, docker.layers, "oci") == found.replace(annotations=())


@pytest.mark.parametrize(
    ("offered", "wanted", "taken"),
    [
        (("linux/arm64", "linux/amd64"), "linux/amd64", 1),
        (("linux/amd64/v1",), "linux/amd64", 0),
        (("linux/amd64/v3", "linux/amd64/v2"), "linux/amd64/v3", 0),
        (("linux/amd64/v3",), "linux/amd64", None),
        (("linux/amd64/v2", "linux/amd64"), "linux/amd64/v3", 0),
        (("linux/arm/v5", "linux/arm/v6"), "linux/arm/v7", 1),
        (("linux/arm",), "linux/arm/v7", 0),
        (("linux/arm/v7",), "linux/arm/v6", None),
        (("linux/arm64/v8",), "linux/aarch64", 0),
        (("windows/amd64",), "linux/amd64", None),
        (("unknown/unknown", "linux/386"), "linux/i686", 1),
        ((None,), "linux/amd64", 0),
        ((None, None), "linux/amd64", None),
        ((), "linux/amd64", None),
    ],
)
def test_the_best_platform_is_chosen(offered, wanted, taken):
    found = read(index(*offered))
    if taken is None:
        with pytest.raises(UnsupportedContent) as caught:
            found.choose(platform.parse(wanted))
        assert all(text in str(caught.value) for text in offered if text)
    else:
        assert found.choose(platform.parse(wanted)).digest == digest.of(b"%d" % taken)


def test_the_error_for_a_platform_leaves_out_attestations():
    with pytest.raises(UnsupportedContent, match=r"there are: linux/arm64 "):
        read(index("linux/arm64", "unknown/unknown")).choose(platform.parse("amd64"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/x86_64", "linux/amd64"),
        ("armhf", "linux/arm/v7"),
        ("LINUX/ARM64/v8", "linux/arm64"),
        ("linux/arm/7", "linux/arm/v7"),
    ],
)
def test_platforms_have_one_spelling(text, expected):
    assert str(platform.parse(text)) == expected
    assert platform.parse(expected) == platform.parse(text)


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "nonsense", "linux amd64", "linux/../x", None])
def test_other_texts_are_no_platforms(text):
    with pytest.raises(InvalidInput):
        platform.parse(text)


CONFIG = {
    "created": "2026-01-02T03:04:05.678Z",
    "architecture": "amd64",
    "os": "linux",
    "os.version": "1.2",
    "config": {
        "Env": ["A=b"],
        "Cmd": None,
        "Labels": {"x": "y"},
        "ArgsEscaped": True,
        "Healthcheck": {"Test": ["NONE"]},
    },
    "rootfs": {"type": "layers", "diff_ids": [A, B]},
    "history": [{"created_by": "x", "empty_layer": True}],
    "moby.buildkit.buildinfo.v1": "e30=",
}


def test_a_configuration_keeps_what_it_does_not_know():
    found = config.ImageConfig.from_json(json.dumps(CONFIG).encode())
    assert found.diff_ids == (A, B) and "Cmd" not in found.config and str(found.platform) == "linux/amd64"
    body = json.loads(found.to_json())
    del CONFIG["config"]["Cmd"]
    assert body == CONFIG
    assert config.ImageConfig.from_json(found.to_json()) == found
    assert found.replace(author="x").to_json() != found.to_json()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rootfs", {"type": "layers", "diff_ids": ["x"]}),
        ("rootfs", {"type": "other", "diff_ids": []}),
        ("rootfs", []),
        ("config", {"Env": "A=b"}),
        ("config", {"Env": [1]}),
        ("config", {"Env": ["A=\0"]}),
        ("config", {"User": 0}),
        ("config", {"Labels": {"a": 1}}),
        ("config", {"Volumes": ["/x"]}),
        ("architecture", 5),
        ("history", [1]),
    ],
)
def test_a_configuration_of_wrong_types_is_refused(key, value):
    with pytest.raises(ContentMismatch, match=key):
        config.ImageConfig.from_json(json.dumps({**CONFIG, key: value}).encode())


def test_chain_ids_are_those_of_the_specification():
    # image-spec config.md: ChainID(A) = A; ChainID(A|B) = Digest(ChainID(A) + " " + DiffID(B))
    assert config.chain_ids([]) == () and config.chain_ids([A]) == (A,)
    first, second, third = config.chain_ids([A, B, A])
    assert second == digest.of(f"{A} {B}".encode()) and third == digest.of(f"{second} {A}".encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)  # the machine may be busy
@given(
    st.dictionaries(st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "manifests"]), json_values),
    st.data(),
)
def test_any_json_is_read_or_refused_with_a_message(noise, data):
    base = data.draw(st.sampled_from([image(), index("linux/amd64"), {}]))
    try:
        found = read({**base, **noise})
    except VitrineError:
        return
    assert manifest.parse(found.to_json(), found.media_type) == found


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(st.sampled_from([*CONFIG, "zzz"]), json_values))
def test_any_configuration_is_read_or_refused_with_a_message(noise):
    try:
        found = config.ImageConfig.from_json(json.dumps({**CONFIG, **noise}).encode())
    except VitrineError:
        return
    assert config.ImageConfig.from_json(found.to_json()) == found


def test_a_descriptor_reads_back():
    given_one = descriptor(
        annotations={"b": "2", "a": "1"}, platform={"os": "linux", "architecture": "arm", "variant": "v7"}
    )
    found = Descriptor.from_json(given_one, "x")
    assert found.to_json() == given_one and hash(found) == hash(Descriptor.from_json(given_one, "x"))


def test_importing_the_models_costs_nothing_of_the_library():
    code = (
        "import sys; before = set(sys.modules)\n"
        "import vitrine.oci.reference, vitrine.oci.digest, vitrine.oci.config, vitrine.oci.manifest\n"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('vitrine')))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ENGINE)!r})\n{code}"],
        check=True,
        capture_output=True,
        text=True,
    )
    # __future__ and what "os" stands on: nothing that the interpreter does not have already in any other command.
    allowed = set("__future__ _collections_abc abc _abc genericpath os os.path posixpath stat _stat errno".split())
    assert set(done.stdout.split()) <= allowed
