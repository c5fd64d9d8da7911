# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""COPY, ADD and WORKDIR in a real store: docker's rules for destinations, owners, links and archives."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from vitrine.errors import BuildFailed, DockerfileError, RegistryError


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("COPY a /x", {"x": "A"}),
        ("COPY a /x/", {"x/a": "A"}),
        ("COPY a b /x/", {"x/a": "A", "x/b": "B"}),
        ("COPY a /tmp", {"tmp/a": "A"}),  # a directory of the image
        ("COPY a /deep/er/x", {"deep/er/x": "A"}),
        ("COPY d /x", {"x/one": "1", "x/two": "2"}),  # a directory gives its content
        ("COPY d /x/", {"x/one": "1", "x/two": "2"}),
        ("COPY d a /x/", {"x/one": "1", "x/two": "2", "x/a": "A"}),
        ("COPY ? /x/", {"x/a": "A", "x/b": "B", "x/one": "1", "x/two": "2"}),
        ("COPY d/o* /x", {"x": "1"}),
        ("COPY . /x", {"x/a": "A", "x/d/one": "1"}),
        ('COPY ["a", "/with space"]', {"with space": "A"}),
        ("WORKDIR /w\nCOPY a .", {"w/a": "A"}),
        ("WORKDIR /w\nCOPY a sub/", {"w/sub/a": "A"}),
        ("WORKDIR /w\nCOPY a ../x", {"x": "A"}),
        ("ENV X=/y\nCOPY a ${X}/z", {"y/z": "A"}),
        ("COPY la /x", {"x": "A"}),  # a link named as source is followed
        ("COPY la /x/", {"x/la": "A"}),
        ("COPY ld /x", {"x/one": "1"}),
        ("ADD a /x", {"x": "A"}),
        ("COPY <<E /x\nit's $HOME\nE", {"x": "it's \n"}),
        ("COPY <<'E' a /x/\n$HOME\nE", {"x/E": "$HOME\n", "x/a": "A"}),
    ],
)
def test_destinations(builder, instruction, expected):
    builder.write("a", "A")
    builder.write("b", "B")
    builder.write("d/one", "1")
    builder.write("d/two", "2")
    (builder.context / "la").symlink_to("a")
    (builder.context / "ld").symlink_to("d")
    files = builder.files(builder.build(f"FROM busybox\n{instruction}"))
    assert {path: files[path][3] for path in expected} == expected


@pytest.mark.parametrize(
    ("instruction", "error", "words"),
    [
        ("COPY none /x", BuildFailed, "'none' is not in the build context"),
        ("COPY *.none /x", BuildFailed, "is not in the build context"),
        ("COPY ../secret /x", BuildFailed, "outside of the build's context"),
        ("COPY out /x", BuildFailed, "outside of the build's context"),
        ("COPY far /x", BuildFailed, "outside of the build's context"),
        ("COPY up/secret /x", BuildFailed, "outside of the build's context"),
        ("ADD far /x", BuildFailed, "outside of the build's context"),
        ("COPY a b /x", DockerfileError, "is not a directory"),
        ("COPY ? /x", BuildFailed, "several sources match"),
        ("COPY d /etc/passwd", BuildFailed, "Not a directory"),
        ("COPY dirs /", BuildFailed, "something that is none is there"),
        ("COPY tree /", BuildFailed, "a directory is there"),
        ("COPY pipe /x", BuildFailed, "named pipe"),
        ("COPY --chown=nobody a /x", BuildFailed, "nobody"),
        ("COPY --chmod=rwx a /x", DockerfileError, "octal"),
        ("COPY $UNSET /x", DockerfileError, "empty"),
        ("COPY --from=127.0.0.1:1/none a /x", RegistryError, "127.0.0.1:1"),
        ("COPY --from=0 a /x", DockerfileError, "no earlier stage"),
        ("ADD http://localhost/x /x", DockerfileError, "URL"),
        ("ADD git@github.com:a/b /x", DockerfileError, "URL"),
    ],
)
def test_what_cannot_be_copied(builder, instruction, error, words):
    (builder.context.parent / "secret").write_text("secret")
    builder.write("a", "A")
    builder.write("b", "B")
    builder.write("d/one", "1")
    builder.write("dirs/etc/passwd/x", "x")  # a directory where the image has a file
    builder.write("tree/etc", "x")  # a file where the image has a directory
    (builder.context / "out").symlink_to("../secret")
    (builder.context / "far").symlink_to("/etc/passwd")
    (builder.context / "up").symlink_to("..")
    os.mkfifo(builder.context / "pipe")
    with pytest.raises(error, match=words) as caught:
        builder.build(f"FROM busybox\n\n{instruction}", pull=False)
    if error is not RegistryError:
        assert caught.value.line == 3
        assert "line 3" in str(caught.value)


def test_owners_and_modes(builder):
    builder.write("a", "A", 0o4755)
    builder.write("d/x", "X", 0o600)
    (builder.context / "d").chmod(0o2750)
    os.chown(builder.context / "a", 12, 34)
    (builder.context / "a").chmod(0o4755)
    image = builder.build(
        "FROM busybox\nCOPY a /1\nCOPY --chown=user a /2\nCOPY --chown=daemon:staff --chmod=640 a /n/3\n"
        "COPY --chown=7:8 d /4\nCOPY d /5\nCOPY --chown=user:0 --chmod=700 d /6"
    )
    files = builder.files(image)
    assert files["1"][:3] == ("0o4755", 0, 0)
    assert files["2"][:3] == ("0o4755", 1000, 1000)
    assert files["n/3"][:3] == ("0o640", 1, 50)
    assert files["n"][:3] == ("0o755", 1, 50)
    assert files["4"][:3] == ("0o755", 7, 8)  # made on the way, as docker does
    assert files["4/x"][:3] == ("0o600", 7, 8)
    assert files["5/x"][:3] == ("0o600", 0, 0)
    assert files["6/x"][:3] == ("0o700", 1000, 0)


def test_links_of_the_image_are_followed_inside_it_only(builder, tmp_path):
    builder.write("a", "A")
    builder.write("lib/new", "L")
    for name, target in (
        ("lib", "usr/lib"),
        ("abs", "/usr/lib"),
        ("out", f"{tmp_path}/outside"),
        ("up", "../../../../../../etc"),
        ("file", "usr/lib/target"),
        ("dangling", "/nothing"),
    ):
        (builder.context / "links").mkdir(exist_ok=True)
        (builder.context / "links" / name).symlink_to(target)
    builder.write("rest/usr/lib/target", "old")
    (tmp_path / "outside").mkdir()
    image = builder.build(
        "FROM scratch\nCOPY rest links /\n"
        "COPY a /lib/\nCOPY a /abs/b\nCOPY lib /lib\nCOPY a /file\nCOPY a /up/c\nCOPY a /dangling\nCOPY lib /x/../lib/d"
    )
    files = builder.files(image)
    assert files["usr/lib/a"][3] == files["usr/lib/b"][3] == "A"
    assert files["usr/lib/new"][3] == "L"
    assert files["usr/lib/d/new"][3] == "L"
    assert files["usr/lib/target"][3] == "A"
    assert files["etc/c"][3] == "A"
    assert files["lib"][3] == "usr/lib"
    assert files["dangling"][3] == "A"  # a link to nothing is replaced
    files = builder.files(builder.build("FROM scratch\nCOPY rest links /\nCOPY a /out/x"))
    assert files[f"{tmp_path}/outside/x".lstrip("/")][3] == "A"  # the link means a place inside of the image
    assert list((tmp_path / "outside").iterdir()) == []
    assert not os.path.exists("/usr/lib/new") and not os.path.exists("/etc/c")


def test_special_files_at_the_destination_do_not_hang(builder):
    builder.write("a", "A")
    image = builder.build("FROM busybox\nRUN mkfifo /pipe && ln -s pipe /link", network_mode="none")
    builder.engine.images.tag(image, "special")
    files = builder.files(builder.build("FROM special\nCOPY a /pipe\nCOPY a /link"))
    assert files["pipe"][3] == "A"


def tar(builder, name: str, mode: str, members: list[tuple], **how) -> None:
    with tarfile.open(builder.context / name, mode, **how) as archive:
        for member, content, attributes in members:
            info = tarfile.TarInfo(member)
            for key, value in attributes.items():
                setattr(info, key, value)
            data = content.encode() if content is not None else b""
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_add_unpacks_local_archives(builder, mode):
    members = [
        ("d", None, {"type": tarfile.DIRTYPE, "mode": 0o750, "uid": 3}),
        ("d/f", "F", {"mode": 0o640, "uid": 5, "gid": 6}),
        ("hard", None, {"type": tarfile.LNKTYPE, "linkname": "d/f"}),
        ("soft", None, {"type": tarfile.SYMTYPE, "linkname": "/d/f"}),
    ]
    tar(builder, "x.anything", mode, members)
    image = builder.build("FROM busybox\nADD x.anything /n/\nADD --chown=user x.anything /o\nCOPY x.anything /c")
    files = builder.files(image)
    assert files["n/d"] == ("0o750", 3, 0, None)
    assert files["n/d/f"] == files["n/hard"] == ("0o640", 5, 6, "F")
    assert files["n/soft"][3] == "/d/f"
    assert files["o/d/f"] == ("0o640", 1000, 1000, "F")
    assert files["c"][0] == "0o644"


@pytest.mark.parametrize(
    "members",
    [
        [("../../../evil", "x", {})],
        [("l", None, {"type": tarfile.SYMTYPE, "linkname": "{out}"}), ("l/evil", "x", {})],
        [("h", None, {"type": tarfile.LNKTYPE, "linkname": "../../secret"})],
    ],
)
def test_hostile_archives_stay_inside(builder, tmp_path, members):
    (tmp_path / "out").mkdir()
    (tmp_path / "secret").write_text("secret")
    for _name, _content, attributes in members:
        if "linkname" in attributes:
            attributes["linkname"] = attributes["linkname"].format(out=tmp_path / "out")
    tar(builder, "x.tar", "w", members)
    try:
        builder.build("FROM busybox\nADD x.tar /n/")
    except BuildFailed:
        pass
    assert list((tmp_path / "out").iterdir()) == []
    assert all(path.is_relative_to(tmp_path / "root") for path in tmp_path.rglob("evil"))


def test_a_broken_archive_is_told(builder):
    tar(builder, "x.tar", "w", [("f", "F" * 5000, {})])
    data = (builder.context / "x.tar").read_bytes()
    (builder.context / "x.tar").write_bytes(data[:2000])
    with pytest.raises(BuildFailed, match="line 2: ADD failed"):
        builder.build("FROM busybox\nADD x.tar /n/")


def test_what_only_looks_like_an_archive_is_copied(builder):
    builder.write("x.tar.gz", "\x1f plain text that is not compressed at all, and longer than 32 bytes")
    (builder.context / "y.gz").write_bytes(b"\x1f\x8b\x08\x00" + b"broken" * 10)
    files = builder.files(builder.build("FROM busybox\nADD x.tar.gz y.gz /n/"))
    assert set(path for path in files if path.startswith("n/")) == {"n/x.tar.gz", "n/y.gz"}


def test_dockerignore(builder):
    builder.write(".dockerignore", "# secrets\n*.key\n!public.key\nlogs\n")
    for name in ("a", "private.key", "public.key", "logs/x", "sub/other.key"):
        builder.write(name, name)
    files = builder.files(builder.build("FROM busybox\nCOPY . /c/"))
    names = {path for path in files if path.startswith("c/")}
    assert names == {"c/.dockerignore", "c/Dockerfile", "c/a", "c/public.key", "c/sub", "c/sub/other.key"}
    with pytest.raises(BuildFailed, match="'private.key' is not in the build context"):
        builder.build("FROM busybox\nCOPY private.key /")
    builder.write("Dockerfile.dockerignore", "a\n")
    with pytest.raises(BuildFailed, match="'a' is not in the build context"):
        builder.build("FROM busybox\nCOPY a /")


def test_a_bad_dockerignore_is_told(builder):
    builder.write(".dockerignore", "ok\n[bad\n")
    with pytest.raises(Exception, match="line 2"):
        builder.build("FROM busybox\nCOPY . /")
    (builder.context / ".dockerignore").unlink()
    (builder.context / ".dockerignore").symlink_to("/etc/passwd")
    with pytest.raises(Exception, match="outside"):
        builder.build("FROM busybox\nCOPY . /")


def test_workdir_makes_its_directory_once(builder):
    image = builder.build("FROM busybox\nWORKDIR /a/b\nWORKDIR c\nWORKDIR /a\nRUN pwd", network_mode="none")
    config = builder.config(image)
    assert config.config["WorkingDir"] == "/a"
    assert [bool(entry.get("empty_layer")) for entry in config.history[1:]] == [False, False, True, True]
    assert builder.files(image)["a/b/c"][:3] == ("0o755", 0, 0)
    assert "/a\n" in builder.said


def test_copying_keeps_what_a_directory_of_the_image_was(builder):
    builder.write("a", "A")
    files = builder.files(builder.build("FROM busybox\nCOPY a /tmp/\nCOPY a /root/"))
    assert files["tmp"][0] == "0o1777"
    assert files["root"][0] == "0o700"


def test_capabilities_and_attributes_are_content(builder):
    capability = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service=ep
    path = builder.write("prog", "P", 0o755)
    first = builder.build("FROM busybox\nCOPY prog /p")
    os.setxattr(path, "security.capability", capability)
    second = builder.build("FROM busybox AS a\nCOPY prog /p\nFROM scratch\nCOPY --from=a /p /q")
    assert "Using cache" not in builder.said and first != second
    layer = builder.engine.store.layers.path(builder.engine.store.images.get(second).top)
    assert os.getxattr(f"{layer}/q", "security.capability") == capability


def test_copy_from_stages_and_images(builder):
    builder.write("a", "A")
    image = builder.build(
        "FROM busybox AS one\nCOPY --chown=user a /made/f\nFROM scratch AS two\nCOPY --from=one /made /m\n"
        "COPY --from=busybox /etc/group /g\nFROM scratch\nCOPY --from=0 /made/f /f\nCOPY --from=two /m/f /g /both/"
    )
    files = builder.files(image)
    assert files["f"] == ("0o644", 1000, 1000, "A")
    assert files["both/f"][3] == "A"
    assert files["both/g"][3].startswith("root:")


def test_only_what_the_target_needs_is_built(builder):
    text = "FROM busybox AS a\nRUN exit 7\nFROM busybox AS b\nLABEL x=y\nFROM a\nFROM b AS c\nLABEL z=1"
    image = builder.build(text)
    assert builder.config(image).config["Labels"] == {"x": "y", "z": "1"}
    image = builder.build(text, target="B")
    assert builder.config(image).config["Labels"] == {"x": "y"}
    with pytest.raises(BuildFailed):
        builder.build(text, target="2", network_mode="none")
    with pytest.raises(Exception, match="no stage 'none'"):
        builder.build(text, target="none")
