# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images between this engine and other people's programs, both ways: over a registry, and as archives.

The image "rich" has one of everything that a file system can hold and that another layer can take away again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest

NEEDED = ("skopeo", "umoci", "oci-image-tool", "podman", "buildah", "runc", "tar")
MISSING = [name for name in NEEDED if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs the programs {', '.join(MISSING)}")

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service=ep, capabilities(7) version 2
ODD = os.fsdecode(b"n\xf6n-utf8 \xff")
# What is there first, and what the layer above does to it.
BELOW = "mkdir -p /old/sub /opaque/sub; touch /old/a /old/b /old/sub/c /opaque/x /opaque/sub/y /gone; echo 1 >/changed"
ABOVE = "rm -r /gone /old/a /old/sub /opaque; mkdir /opaque; touch /opaque/z; echo 2 >/changed; chmod 600 /changed"
FORMATS = {"docker": "docker.distribution.manifest.v2", "oci": "oci.image.manifest.v1"}


def run(*argv: object) -> str:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, f"{' '.join(map(str, argv))}: {done.stdout}{done.stderr}"
    return done.stdout


def raw(name: str) -> dict:
    """The manifest of a name in a registry, as skopeo gets it."""
    return json.loads(run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}"))


def rich_archive(path: Path) -> None:
    """A tar archive with one of everything."""

    def add(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", mode: int = 0o644, **fields) -> None:
        member = tarfile.TarInfo(f"rich/{name}" if name else "rich")
        member.type, member.mode, member.size, member.mtime = kind, mode, len(data), 1_000_000_000
        for key, value in fields.items():
            setattr(member, key, value)
        file.addfile(member, io.BytesIO(data))

    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape") as file:
        add("", tarfile.DIRTYPE, mode=0o1777)
        add("folder", tarfile.DIRTYPE, mode=0o2750, uid=1000, gid=50)
        add("file", data=b"content", mode=0o640, uid=1000, gid=50)
        add("link-of-file", tarfile.LNKTYPE, linkname="rich/file", mode=0o640, uid=1000, gid=50)
        add("setuid", data=b"\x7fELF", mode=0o4755)
        capability = {"SCHILY.xattr.security.capability": os.fsdecode(CAPABILITY)}
        add("capable", data=b"\x7fELF", mode=0o755, pax_headers=capability)
        add("attributed", pax_headers={"SCHILY.xattr.user.colour": "blue"})
        add("pipe", tarfile.FIFOTYPE, mode=0o622)
        add("null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3)
        add("block", tarfile.BLKTYPE, mode=0o660, devmajor=7, devminor=200, gid=6)
        add("link", tarfile.SYMTYPE, linkname="../no/such", mode=0o777, uid=5)
        add(ODD, data=b"odd")
        add("n" * 200, data=b"long")
        add("numbers", data=b"large", uid=3_000_000, gid=3_000_001)
        add("empty", tarfile.DIRTYPE, mode=0o700)


def tree(root: Path) -> dict[bytes, tuple]:
    """All of a tree that an image can say: {path: facts}. Without what engines add to a running one."""
    found: dict[bytes, tuple] = {}
    groups: dict[tuple[int, int], bytes] = {}
    base = os.fsencode(root)
    for folder, names, files in os.walk(base):
        for name in sorted(names + files):
            path = os.path.join(folder, name)
            inside = os.path.relpath(path, base)
            status = os.lstat(path)
            if inside in (b"dev", b"proc", b"sys", b"run", b"etc/hosts", b"etc/hostname", b"etc/resolv.conf"):
                if name in names:
                    names.remove(name)
                continue
            kind = stat.S_IFMT(status.st_mode)
            what: object = None
            first = inside
            if kind == stat.S_IFREG:
                what = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
                first = groups.setdefault((status.st_dev, status.st_ino), inside)
            elif kind == stat.S_IFLNK:
                what = os.readlink(path)
            elif kind in (stat.S_IFCHR, stat.S_IFBLK):
                what = (os.major(status.st_rdev), os.minor(status.st_rdev))
            attributes = {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
                if key == "security.capability" or key.startswith("user.")
            }
            seconds = int(status.st_mtime) if kind != stat.S_IFDIR else 0
            found[inside] = (
                oct(status.st_mode), status.st_uid, status.st_gid, what, seconds, first, sorted(attributes.items())
            )  # fmt: skip
    return found


class Podman:
    """podman and buildah with a storage of their own. runc: crun refuses mixed cgroup hierarchies."""

    LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--network", "none")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.storage = ["--root", str(folder / "root"), "--runroot", str(folder / "run"), "--storage-driver", "overlay"]

    def __call__(self, *words: object) -> str:
        return run("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", *self.storage, *words)

    def buildah(self, *words: object) -> str:
        return run("buildah", *self.storage, *words)

    def run(self, *words: object) -> str:
        return self("run", "--rm", *self.LIMITS, *words)

    def build(self, name: str, folder: Path, dockerfile: str) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "Dockerfile").write_text(dockerfile)
        self("build", "-q", "--tls-verify=false", *self.LIMITS, "-t", name, folder)

    def tree(self, name: str) -> dict[bytes, tuple]:
        """The tree of an image as this program has it."""
        mounted = self("image", "mount", name).strip()
        try:
            return tree(Path(mounted))
        finally:
            self("image", "unmount", name)

    def forget(self) -> None:
        """Remove all images."""
        self("rmi", "--all", "--force")

    def close(self) -> None:
        self.buildah("rm", "--all")
        self("rm", "--all", "--force")
        self.forget()
        subprocess.run(["umount", self.folder / "root" / "overlay"], capture_output=True)
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def podman(folder):
    one = Podman(folder / "podman")
    yield one
    one.close()


@pytest.fixture(scope="module")
def prefix(loopback_registry) -> str:
    """What the names of images in the registry begin with."""
    return f"{loopback_registry.host}/peers"


def seen_by(host, name: str) -> dict[bytes, tuple]:
    """The tree of an image as a running container of ours has it."""
    container = host("run", "--detach", "--network", "none", name, "sleep", "100").strip()
    try:
        return tree(Path(f"/proc/{json.loads(host('inspect', container))[0]['State']['Pid']}/root"))
    finally:
        host("rm", "--force", container)


@pytest.fixture(scope="module")
def rich(host, folder) -> dict[bytes, tuple]:
    """Make and commit the image "rich" with our engine; returns its tree as our containers have it."""
    host("run", "--name", "below", "busybox", "sh", "-c", BELOW)
    host("commit", "below", "rich-below")
    host("run", "--name", "above", "rich-below", "sh", "-c", ABOVE)
    rich_archive(folder / "rich.tar")
    with open(folder / "rich.tar", "rb") as file:
        subprocess.run([*host.base, "cp", "-", "above:/"], stdin=file, check=True)
    host("commit", "--change", 'CMD ["cat", "/rich/file", "/changed"]', "above", "rich")
    host("rm", "below", "above")
    found = seen_by(host, "rich")
    odd = os.fsencode(f"rich/{ODD}")
    assert found[b"rich/file"][:4] == ("0o100640", 1000, 50, hashlib.sha256(b"content").hexdigest())
    assert found[b"rich/link-of-file"][5] == b"rich/file" and odd in found
    assert found[b"rich/setuid"][0] == "0o104755" and found[b"rich/null"][3] == (1, 3)
    assert found[b"rich/capable"][6] == [("security.capability", CAPABILITY)]
    assert found[b"rich/attributed"][6] == [("user.colour", b"blue")]
    assert found[b"rich/numbers"][1:3] == (3_000_000, 3_000_001)
    assert {path for path in found if path.startswith((b"old", b"opaque", b"gone"))} == {
        b"old", b"old/b", b"opaque", b"opaque/z"
    }  # fmt: skip
    return found


# -- what we made, seen by others --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_what_we_push_is_valid_and_means_the_same_to_umoci(host, rich, prefix, tmp_path, form):
    name = f"{prefix}/rich:{form}"
    host("tag", "rich", name)
    pushed = host("push", "--format", form, name)
    shown = json.loads(run("skopeo", "inspect", "--tls-verify=false", f"docker://{name}"))
    assert shown["Digest"] in pushed and len(shown["Layers"]) == 3
    assert FORMATS[form] in raw(name)["mediaType"]
    layout = tmp_path / "layout"
    run("skopeo", "copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{layout}:rich")
    run("oci-image-tool", "validate", "--type", "image", "--ref", "name=rich", layout)
    run("umoci", "unpack", "--image", f"{layout}:rich", tmp_path / "bundle")
    assert tree(tmp_path / "bundle" / "rootfs") == rich


@pytest.mark.parametrize("form", FORMATS)
def test_what_we_push_means_the_same_to_podman_and_runs(host, rich, prefix, podman, form):
    name = f"{prefix}/run:{form}"
    host("tag", "rich", name)
    host("push", "--format", form, name)
    podman("pull", "-q", "--tls-verify=false", name)
    assert podman.tree(name) == rich
    assert podman.run(name) == "content2\n"
    podman.forget()


@pytest.mark.parametrize("form", FORMATS)
def test_what_we_save_is_loaded_by_podman(host, rich, podman, tmp_path, form):
    archive = tmp_path / "saved.tar"
    host("tag", "rich", "registry.example/saved:1")
    host("save", "--format", form, "--output", archive, "registry.example/saved:1")
    assert "registry.example/saved:1" in podman("load", "--input", archive)
    assert podman.tree("registry.example/saved:1") == rich
    image_id = json.loads(host("inspect", "rich"))[0]["Id"]
    assert podman("image", "inspect", "--format", "{{.Id}}", "registry.example/saved:1").strip() in image_id
    podman.forget()


def test_what_we_save_is_read_by_skopeo(host, rich, tmp_path):
    archive = tmp_path / "saved.tar"
    host("save", "--output", archive, "rich", "busybox")
    for number, source in enumerate(("docker-archive:{}:rich:latest", "docker-archive:{}:busybox:latest")):
        run("skopeo", "copy", source.format(archive), f"oci:{tmp_path}/layout{number}:x")
        run("oci-image-tool", "validate", "--type", "image", tmp_path / f"layout{number}")
    host("save", "--format", "oci", "--output", archive, "rich")
    run("skopeo", "copy", f"oci-archive:{archive}:latest", f"oci:{tmp_path}/layout:x")
    run("umoci", "unpack", "--image", f"{tmp_path}/layout:x", tmp_path / "bundle")
    assert tree(tmp_path / "bundle" / "rootfs") == rich
    (tmp_path / "unpacked").mkdir()
    run("tar", "-xf", archive, "-C", tmp_path / "unpacked")
    run("oci-image-tool", "validate", "--type", "image", tmp_path / "unpacked")


# -- what others made, seen by us --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def theirs(host, podman, prefix, folder, rich) -> str:
    """An image with the same content, made by podman build and buildah of a base image of ours."""
    host("tag", "busybox", f"{prefix}/base")
    host("push", f"{prefix}/base")
    name = f"{prefix}/theirs"
    podman.build(name, folder / "context", f"FROM {prefix}/base\nRUN {BELOW}\nENV A=b\nUSER 1000:50\n")
    container = podman.buildah("from", name).strip()
    mounted = podman.buildah("mount", container).strip()
    run("chroot", mounted, "/bin/sh", "-c", ABOVE)
    run("tar", "-xf", folder / "rich.tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", mounted)
    podman.buildah("config", "--cmd", '["cat", "/rich/file"]', container)
    podman.buildah("commit", "-q", container, name)
    podman.buildah("rm", container)
    return name


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_what_podman_pushes_we_run(second_host, podman, theirs, form):
    podman("push", "-q", "--tls-verify=false", "--format", form, theirs, f"{theirs}:{form}")
    assert FORMATS["oci" if form == "oci" else "docker"] in raw(f"{theirs}:{form}")["mediaType"]
    name = f"{theirs}:{form}"
    assert second_host("run", "--rm", "--network", "none", name) == "content"
    assert second_host("run", "--rm", "--network", "none", name, "sh", "-c", "id -u; id -g; echo $A") == "1000\n50\nb\n"
    assert seen_by(second_host, name) == podman.tree(theirs)
    second_host("rmi", name)


def test_schema_1_is_refused(second_host, podman, theirs):
    podman("push", "-q", "--tls-verify=false", "--format", "v2s2", theirs, f"{theirs}:new")
    flags = ("--format", "v2s1", "--src-tls-verify=false", "--dest-tls-verify=false")
    run("skopeo", "copy", *flags, f"docker://{theirs}:new", f"docker://{theirs}-schema1:old")
    assert raw(f"{theirs}-schema1:old")["schemaVersion"] == 1
    result = second_host.try_("pull", f"{theirs}-schema1:old")
    assert result.code == 1 and "schema 1" in result.err, result


def test_zstd_layers(second_host, podman, theirs, prefix, folder, tmp_path):
    """They run, may be built upon, and leave us only in formats that have a word for them."""
    name = f"{prefix}/zstd:1"
    podman.build(name, folder / "zstd", f"FROM {prefix}/base\nRUN echo packed >/zstd\nCMD cat /zstd\n")
    podman("push", "-q", "--tls-verify=false", "--format", "oci", "--compression-format", "zstd", name, name)
    assert any(layer["mediaType"].endswith("zstd") for layer in raw(name)["layers"])
    assert second_host("run", "--name", "zstd", "--network", "none", name, "sh", "-c", "cat /zstd; touch /more")
    second_host("commit", "zstd", f"{prefix}/zstd:2")
    second_host("rm", "zstd")
    refused = second_host.try_("push", "--format", "docker", f"{prefix}/zstd:2")
    assert refused.code == 1 and "zstd" in refused.err and "oci" in refused.err
    second_host("push", f"{prefix}/zstd:2")
    second_host("save", "--output", tmp_path / "saved.tar", f"{prefix}/zstd:2")
    podman.forget()
    podman("pull", "-q", "--tls-verify=false", f"{prefix}/zstd:2")
    assert podman.run(f"{prefix}/zstd:2", "ls", "/zstd", "/more") == "/more\n/zstd\n"
    podman.forget()
    podman("load", "--input", tmp_path / "saved.tar")
    assert podman.run(f"{prefix}/zstd:2", "cat", "/zstd") == "packed\n"


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_what_podman_saves_we_load(second_host, podman, theirs, tmp_path, form):
    podman("pull", "-q", "--tls-verify=false", f"{theirs}:new")
    podman("tag", f"{theirs}:new", f"{theirs}:saved")
    podman("save", "-q", "--format", form, "--output", tmp_path / "saved.tar", f"{theirs}:saved")
    assert f"{theirs}:saved" in second_host("load", "--input", tmp_path / "saved.tar")
    assert seen_by(second_host, f"{theirs}:saved") == podman.tree(f"{theirs}:new")
    second_host("rmi", f"{theirs}:saved")


def test_several_images_in_one_archive(second_host, podman, theirs, prefix, tmp_path):
    podman("pull", "-q", "--tls-verify=false", f"{theirs}:new")
    podman("pull", "-q", "--tls-verify=false", f"{prefix}/base")
    flags = ("--multi-image-archive", "--format", "docker-archive")
    podman("save", "-q", *flags, "--output", tmp_path / "saved.tar", f"{theirs}:new", f"{prefix}/base")
    shown = second_host("load", "--input", tmp_path / "saved.tar")
    assert f"{theirs}:new" in shown and f"{prefix}/base:latest" in shown


def test_an_index_of_several_platforms(host, second_host, prefix, tmp_path):
    """Made by skopeo and podman's own words; ours is found in it, and one by its digest."""
    machines = {"amd64": "", "arm64": "", "s390x": ""}
    for machine in machines:
        host("run", "--name", machine, "busybox", "sh", "-c", f"echo {machine} >/machine")
        host("commit", machine, f"{prefix}/{machine}")
        host("rm", machine)
        host("save", "--format", "oci", "--output", tmp_path / "saved.tar", f"{prefix}/{machine}")
    names = [f"{prefix}/{machine}" for machine in machines]
    for machine, name in zip(machines, names):
        host("push", "--format", "oci", name)
        layout = tmp_path / machine
        run("skopeo", "copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{layout}:x")
        run("umoci", "config", "--image", f"{layout}:x", "--architecture", machine)
    shutil.copytree(tmp_path / "amd64", tmp_path / "all")
    entries = []
    for machine in machines:
        shutil.copytree(tmp_path / machine / "blobs", tmp_path / "all" / "blobs", dirs_exist_ok=True)
        (entry,) = json.loads((tmp_path / machine / "index.json").read_text())["manifests"]
        entry.pop("annotations")
        entries.append({**entry, "platform": {"os": "linux", "architecture": machine}})
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries}
    data = json.dumps(index).encode()
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / "all" / "blobs" / "sha256" / digest).write_bytes(data)
    top = {"mediaType": index["mediaType"], "digest": f"sha256:{digest}", "size": len(data)}
    top["annotations"] = {"org.opencontainers.image.ref.name": "x"}  # type: ignore[assignment]
    (tmp_path / "all" / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    many = f"{prefix}/many"
    run("skopeo", "copy", "--all", "--dest-tls-verify=false", f"oci:{tmp_path}/all:x", f"docker://{many}")
    own = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    assert second_host("run", "--rm", "--network", "none", many, "cat", "/machine") == f"{own}\n"
    second_host("pull", "--platform", "linux/s390x", many)
    assert json.loads(second_host("inspect", many))[0]["Architecture"] == "s390x"
    arm = next(entry["digest"] for entry in entries if entry["platform"]["architecture"] == "arm64")
    second_host("pull", f"{many}@{arm}")
    result = second_host.try_("pull", "--platform", "linux/riscv64", many)
    assert result.code == 1 and "linux/s390x" in result.err
    run("tar", "-cf", tmp_path / "all.tar", "-C", tmp_path / "all", ".")
    second_host("load", "--input", tmp_path / "all.tar")


def test_a_tag_that_an_id_begins_with_is_a_name_all_the_same(host, prefix, tmp_path):
    """ "always" asks the registry, and an archive has the name."""
    first = json.loads(host("inspect", "busybox"))[0]["Id"].partition(":")[2][0]
    name = f"{prefix}/digit:{first}"
    host("tag", "busybox", name)
    assert host.try_("run", "--rm", "--pull", "always", name, "true").code == 125
    host("save", "--output", tmp_path / "saved.tar", name)
    with tarfile.open(tmp_path / "saved.tar") as file:
        assert json.load(file.extractfile("manifest.json"))[0]["RepoTags"] == [name]
