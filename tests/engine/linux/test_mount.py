# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""mount.py, clone.py and namespaces.py on the real kernel, each in a child with a mount namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ENGINE = Path(__file__).resolve().parents[3] / "plugins" / "module_utils"
PRELUDE = """
import json, os, sys
sys.path.append(%r)
from vitrine.linux import clone, features, mount, namespaces, paths, prctl
features.set_without(json.loads(sys.argv[1]))
d = sys.argv[2]
namespaces.unshare(namespaces.FLAGS["mnt"])
mount.set_propagation("/", mount.MS_PRIVATE)
def info(path):
    for line in open("/proc/self/mountinfo"):
        fields = line.split()
        if fields[4] == path:
            result = fields[5], fields[fields.index("-") + 1], fields[-1]
    return result
"""
WAYS = [
    [],
    ["mount_setattr"],
    ["overlay_fd"],
    ["overlay_fd", "overlay_lowerdir_plus"],
    ["new_mount_api", "mount_setattr"],
]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(params=WAYS, ids=lambda names: "+".join(names) or "newest")
def child(request, tmp_path):
    """Run code with the names of PRELUDE; return what it passes to print as JSON."""
    for name in ("one", "two", "upper", "work", "target"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "first").write_text("1")
    (tmp_path / "two" / "second").write_text("2")

    def run(code):
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE % str(ENGINE) + code, json.dumps(request.param), str(tmp_path)],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    run.names = request.param
    return run


def test_overlay_with_upper(child, tmp_path):
    code = """
mount.overlay([d + "/one", d + "/two"], d + "/upper", d + "/work", d + "/target")
open(d + "/target/third", "w").close()
os.unlink(d + "/target/second")
print(json.dumps([sorted(os.listdir(d + "/target")), info(d + "/target")]))
"""
    names, (flags, kind, options) = child(code)
    assert names == ["first", "third"]
    assert kind == "overlay" and flags.startswith("rw")
    for word in ("redirect_dir=on", "metacopy=on", "index=on"):
        assert word not in options
    assert sorted(os.listdir(tmp_path / "upper")) == ["second", "third"]


@pytest.mark.parametrize("count", [1, 2])
def test_overlay_without_upper_is_read_only(child, count):
    code = f"""
mount.overlay([d + "/one", d + "/two"][:{count}], None, None, d + "/target")
try:
    open(d + "/target/x", "w")
except OSError as error:
    print(json.dumps([sorted(os.listdir(d + "/target")), error.errno]))
"""
    assert child(code) == [["first", "second"][:count], 30]


def test_as_many_layers_as_overlay_takes(child):
    code = """
layers = []
for number in range(499):
    layers.append(d + "/layers/%064d" % number)
    os.makedirs(layers[-1])
open(layers[498] + "/deep", "w").close()
mount.overlay(layers, d + "/upper", d + "/work", d + "/target")
print(json.dumps([os.listdir(d + "/target"), os.getcwd() != "/proc/self/fd", len(os.listdir("/proc/self/fd"))]))
"""
    assert child(code) == [["deep"], True, 4]


def test_a_missing_layer_is_named(child):
    code = """
try:
    mount.overlay([d + "/none", d + "/two"], d + "/upper", d + "/work", d + "/target")
except OSError as error:
    print(json.dumps([error.errno, str(error)]))
"""
    code_, text = child(code)
    assert code_ == 2


def test_new_instances_and_their_flags(child):
    code = """
fd = os.open(d + "/target", os.O_PATH)
mount.new("tmpfs", fd, mount.MS_NOSUID | mount.MS_NODEV | mount.MS_RDONLY, "mode=711,size=64k", "tmpfs")
top = os.open(d + "/target", os.O_PATH)
before = info(d + "/target")
mount.change(top, mount.MS_NOEXEC, mount.MS_RDONLY)
print(json.dumps([before, info(d + "/target"), oct(os.stat(d + "/target").st_mode)]))
"""
    before, after, mode = child(code)
    assert {"ro", "nosuid", "nodev"} <= set(before[0].split(","))
    if child.names != ["new_mount_api", "mount_setattr"]:
        assert {"rw", "nosuid", "nodev", "noexec"} <= set(after[0].split(","))
    assert mode == "0o40711"


def test_binds_are_recursive_when_asked(child):
    code = """
mount.mount("tmpfs", d + "/one", "tmpfs")
os.mkdir(d + "/one/sub")
mount.mount("tmpfs", d + "/one/sub", "tmpfs")
open(d + "/one/sub/file", "w").close()
found = []
for recursive in (True, False):
    source, target = os.open(d + "/one", os.O_PATH), os.open(d + "/target", os.O_PATH)
    mount.bind(source, target, recursive=recursive)
    found.append(os.listdir(d + "/target/sub"))
    mount.umount(d + "/target", mount.MNT_DETACH)
print(json.dumps(found))
"""
    assert child(code) == [["file"], []]


def test_errors_hold_the_kernels_explanation(tmp_path):
    code = """
try:
    mount.fsopen("overlay", [("lowerdir+", d), ("nonsense", "1")])
except OSError as error:
    print(json.dumps(str(error)))
"""
    argv = [sys.executable, "-c", PRELUDE % str(ENGINE) + code, "[]", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "nonsense" in json.loads(done.stdout)


@pytest.mark.parametrize("without", [[], ["clone3"]])
def test_a_clone_is_the_first_in_its_pid_namespace_and_runs_python(tmp_path, without):
    code = """
out, into = os.pipe()
pid, inside = clone.clone(namespaces.FLAGS["pid"] | namespaces.FLAGS["uts"] | namespaces.FLAGS["net"])
if pid == 0:
    import textwrap  # imports, threads' locks and files work in the child
    os.write(into, json.dumps([os.getpid(), len(os.listdir("/sys/class/net"))]).encode())
    os._exit(3)
status = os.waitpid(pid, 0)[1]
print(json.dumps([*json.loads(os.read(out, 100)), status >> 8, clone.single_threaded()]))
"""
    done = subprocess.run([sys.executable, "-c", PRELUDE % str(ENGINE) + code, json.dumps(without), str(tmp_path)],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0] == 1
    assert json.loads(done.stdout)[2:] == [3, True]


@pytest.mark.parametrize("without", [[], ["openat2"]])
@pytest.mark.parametrize("place", ["target", "target/below", "target/below/further"])
def test_a_tree_with_a_mount_in_it_is_not_removed_through_the_mount(tmp_path, without, place):
    """A bind of the same file system has the same device: only the mount itself tells it apart."""
    code = """
from vitrine.linux import fs
os.makedirs(d + "/PLACE")
mount.mount(d + "/precious", d + "/PLACE", None, mount.MS_BIND)
try:
    fs.remove_tree(d + "/target")
    print("removed")
except OSError as error:
    print(error.errno)
""".replace("PLACE", place)
    (tmp_path / "precious" / "folder").mkdir(parents=True)
    (tmp_path / "precious" / "folder" / "file").write_text("")
    argv = [sys.executable, "-c", PRELUDE % str(ENGINE) + code, json.dumps(without), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout == "16\n"
    assert (tmp_path / "precious" / "folder" / "file").exists()
