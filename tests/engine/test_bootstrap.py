# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Base images from the distribution's own packages, with the real programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.base_image import base_image, busybox_image  # noqa: E402
from vitrine.engine import bootstrap as module  # noqa: E402
from vitrine.engine import sweep  # noqa: E402
from vitrine.engine.bootstrap import bootstrap  # noqa: E402
from vitrine.errors import DiskFull, HostError, InvalidInput  # noqa: E402
from vitrine.store import Store  # noqa: E402

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="needs mmdebstrap"),
]
MODULE_UTILS = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"


@pytest.fixture
def store(settings):
    with Store(settings.root) as store:
        yield store


def names(store: Store) -> set[str]:
    return {name for name in os.listdir(f"{store.root}/layers") if name.startswith(".")}


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """The same image made twice, some time apart, in two stores."""
    made = []
    for number in (1, 2):
        if made:
            time.sleep(25)
        store = Store(str(tmp_path_factory.mktemp("store") / str(number)))
        events = []
        made.append((store, bootstrap(store, "debian:bookworm", progress=events.append), events))
    yield made
    for store, _image_id, _events in made:
        store.close()


@pytest.mark.slow
def test_the_same_packages_give_the_same_image(twice):
    (first, first_id, _), (second, second_id, _) = twice
    assert first.images.get(first_id).layers == second.images.get(second_id).layers
    assert first_id == second_id
    assert base_config(first, first_id) == base_config(second, second_id)


def base_config(store: Store, image_id: str) -> dict:
    return json.loads(store.images.get(image_id).config)


@pytest.mark.slow
def test_what_the_image_is(twice):
    store, image_id, events = twice[0]
    config = base_config(store, image_id)
    assert config["os"] == "linux"
    assert config["config"]["Cmd"] == ["bash"]
    assert config["created"] == config["history"][0]["created"] < time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    assert store.images.resolve("debian:bookworm").id == image_id
    assert [event["status"] for event in events][-1] == "Complete"
    assert {event["id"] for event in events} == {"debian bookworm"}
    assert names(store) == set()


@pytest.mark.slow
def test_nothing_of_the_host_or_of_the_day_is_in_it(twice):
    store, image_id, _events = twice[0]
    root = Path(store.layers.path(store.images.get(image_id).layers[0]))
    for path in ("etc/hostname", "etc/resolv.conf", "etc/machine-id", "var/lib/dpkg/status-old", "etc/passwd-"):
        assert not (root / path).exists() or not (root / path).read_text()
    for path in (
        "dev",
        "run/lock",
        "tmp",
        "proc",
        "sys",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
    ):
        assert (root / path).is_dir() and not any((root / path).iterdir()), path
    assert not [path for path in (root / "var/log").rglob("*") if path.is_file() and path.stat().st_size]
    epoch = time.mktime(time.strptime(base_config(store, image_id)["created"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    newest = max(os.lstat(os.path.join(folder, name)).st_mtime for folder, _, files in os.walk(root) for name in files)
    assert newest <= epoch + 1
    days = {line.split(":")[2] for line in (root / "etc/shadow").read_text().splitlines()}
    assert days == {str(int(epoch) // 86400)}
    sources = (root / "etc/apt/sources.list").read_text()
    assert "bookworm main" in sources and "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg" in sources


@pytest.mark.slow
def test_a_saved_copy_is_the_same_image(twice, store):
    assert base_image(store) == twice[0][1]


def test_busybox_is_always_the_same(store, tmp_path):
    with Store(str(tmp_path / "other")) as other:
        assert busybox_image(store) == busybox_image(other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reference", "options", "words"),
    [
        ("debian:bookworm", {"mirror": "http://127.0.0.1:1/debian"}, "mmdebstrap failed"),
        ("debian:bookworm", {"packages": ["no-such-package-here"]}, "no-such-package-here"),
        ("debian:nonesuch", {}, "mmdebstrap failed"),
        ("debian:bookworm", {"keyring": "/none.gpg"}, "/none.gpg is missing"),
    ],
)
def test_failures_say_why_and_leave_nothing(store, reference, options, words):
    with pytest.raises(HostError, match=words) as caught:
        bootstrap(store, reference, **options)
    assert caught.value.hint
    assert store.images.list() == []
    assert names(store) == set()


@pytest.mark.parametrize(
    "options",
    [
        {"suite": "--help"},
        {"packages": ["-o"]},
        {"mirror": "ext::sh"},
        {"variant": "all"},
        {"components": ["../x"]},
        {"keyring": "relative.gpg"},
        {"keyring": "/a b"},
        {"architecture": "vax"},
        {"distribution": "slackware"},
    ],
)
def test_bad_options(store, options):
    with pytest.raises(InvalidInput):
        bootstrap(store, "debian:bookworm", **options)


@pytest.mark.slow
def test_a_full_disk(tmp_path):
    root = tmp_path / "small"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "vitrine-test", root], check=True)
    try:
        with Store(str(root)) as store:
            with pytest.raises(DiskFull):
                bootstrap(store, "debian:bookworm")
            assert names(store) == set()
            assert store.images.list() == []
    finally:
        subprocess.run(["umount", root], check=True)


CLIENT = """
import sys
sys.path.insert(0, {modules!r})
from vitrine.engine.bootstrap import bootstrap
from vitrine.store import Store
bootstrap(Store({root!r}), "debian:bookworm", progress=lambda event: print(event, flush=True))
"""


@pytest.mark.slow
def test_a_killed_bootstrap_takes_its_programs_along(store):
    program = CLIENT.format(modules=str(MODULE_UTILS), root=store.root)
    client = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    client.stdout.readline()
    time.sleep(2)
    (work,) = names(store)
    client.kill()
    client.wait()
    client.stdout.close()
    deadline = time.monotonic() + 10
    while _processes(work) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _processes(work) == []
    assert work not in Path("/proc/self/mountinfo").read_text()
    store.recover()
    assert names(store) == set()


def _processes(word: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in path.read_text(errors="replace"):
                found.append(path.parent.name)
        except OSError:
            pass
    return found


@pytest.mark.slow
def test_debootstrap_makes_an_image_that_works(store, monkeypatch):
    if not shutil.which("debootstrap"):
        pytest.skip("needs debootstrap")
    which = module.command.which
    monkeypatch.setattr(module.command, "which", lambda name: None if name == "mmdebstrap" else which(name))
    image_id = bootstrap(store, "debian:bookworm", packages=["tzdata"])
    root = Path(store.layers.path(store.images.get(image_id).layers[0]))
    assert (root / "usr/share/zoneinfo").is_dir()
    assert not (root / "debootstrap").exists()
    assert "debootstrap" not in base_config(store, image_id)["history"][0]["created_by"]
    assert names(store) == set()


def test_no_program_at_all(store, monkeypatch):
    monkeypatch.setattr(module.command, "which", lambda name: None)
    with pytest.raises(HostError, match="no program") as caught:
        bootstrap(store, "debian:bookworm")
    assert "apt-get install mmdebstrap" in caught.value.hint
    with pytest.raises(HostError, match="no program|not on this host"):
        bootstrap(store, "centos:stream9")


# -- an rpm distribution, from an archive of our own with signed packages ----------------------------------------------

SPEC = """
Name: {name}
Version: 1
Release: 1
Summary: test
License: test
BuildArch: noarch
%description
test
%install
mkdir -p %{{buildroot}}/usr/share/{name}
echo {name} > %{{buildroot}}/usr/share/{name}/file
touch -d 2024-01-02T00:00:00Z %{{buildroot}}/usr/share/{name}/file
%files
/usr/share/{name}
"""
PACKAGES = ("bash", "centos-stream-release", "coreutils-single", "dnf", "glibc-minimal-langpack", "more", "unsigned")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """(address, keys) of a package archive like CentOS Stream's; the package "unsigned" is not signed."""
    missing = [name for name in ("dnf", "rpmbuild", "rpmsign", "createrepo_c", "gpg") if not shutil.which(name)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    folder = tmp_path_factory.mktemp("archive")
    environment = {**os.environ, "HOME": str(folder), "GNUPGHOME": str(folder / "gpg")}

    def run(*argv) -> bytes:
        return subprocess.run(argv, check=True, env=environment, cwd=folder, capture_output=True).stdout

    (folder / "gpg").mkdir(mode=0o700)
    run("gpg", "--batch", "--passphrase", "", "--quick-gen-key", "Test <t@example.com>", "rsa2048", "sign", "never")
    (folder / "key.asc").write_bytes(run("gpg", "--export", "-a"))
    built = folder / "repo" / "9-stream" / "BaseOS" / "x86_64" / "os"
    empty = folder / "repo" / "9-stream" / "AppStream" / "x86_64" / "os"
    for name in PACKAGES:
        (folder / f"{name}.spec").write_text(SPEC.format(name=name))
        run("rpmbuild", "-bb", "--define", f"_topdir {folder}/top", "--define", f"_rpmdir {built}", f"{name}.spec")
    packages = [path for path in built.rglob("*.rpm") if not path.name.startswith("unsigned")]
    run("rpmsign", "--define", "_gpg_name Test", "--define", "__gpg /usr/bin/gpg", "--addsign", *packages)
    empty.mkdir(parents=True)
    for place in (built, empty):
        run("createrepo_c", "-q", place)
    subprocess.run(["gpgconf", "--kill", "all"], env=environment)
    return f"file://{folder}/repo", str(folder / "key.asc")


def test_dnf_makes_the_same_image_from_the_same_packages(archive, store, tmp_path):
    mirror, keyring = archive
    options = {"mirror": mirror, "keyring": keyring, "packages": ["more"], "architecture": "x86_64"}
    image_id = bootstrap(store, "centos:stream9", **options)
    time.sleep(2)
    with Store(str(tmp_path / "other")) as other:
        assert bootstrap(other, "centos:stream9", **options) == image_id
    root = Path(store.layers.path(store.images.get(image_id).layers[0]))
    listed = subprocess.run(
        ["rpm", "--dbpath", root / "var/lib/rpm", "-qa", "--qf", "%{name} %{installtime}\n"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert set(listed[::2]) == {*PACKAGES, "gpg-pubkey"} - {"unsigned"}
    assert set(listed[1::2]) == {"1704153600"}
    assert (root / "usr/share/more/file").read_text() == "more\n"
    assert not (root / "root/.rpmdb").exists()
    assert names(store) == set()


def test_packages_without_a_signature_are_refused(archive, store):
    mirror, keyring = archive
    with pytest.raises(HostError, match="dnf failed.*GPG"):
        bootstrap(store, "centos:stream9", mirror=mirror, keyring=keyring, packages=["unsigned"], architecture="x86_64")
    assert names(store) == set()


# -- what is swept, without any program ----------------------------------------------------------------------


def test_sweeping_follows_no_link(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("kept", "resolv.conf", "passwd-"):
        (outside / name).write_text("kept")
    root = tmp_path / "root"
    (root / "var").mkdir(parents=True)
    (root / "etc").symlink_to(outside)
    (root / "var" / "log").symlink_to(outside)
    (root / "run").symlink_to(outside)
    (root / "tmp").symlink_to(outside)
    sweep.sweep(str(root))
    sweep.write_file(str(root), "/etc/new", "x")
    sweep.date_accounts(str(root), 0)
    assert sorted(path.name for path in outside.iterdir()) == ["kept", "passwd-", "resolv.conf"]


def test_the_newest_packaged_file(tmp_path):
    for name, age in (("old", 5000), ("newer", 3000), ("written", 0)):
        (tmp_path / name).write_text("x")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    (tmp_path / "folder").mkdir()
    started = time.time() - 100
    assert sweep.newest_packaged(str(tmp_path), started) == int((tmp_path / "newer").stat().st_mtime)
    assert sweep.newest_packaged(str(tmp_path), 10.0) == 0
