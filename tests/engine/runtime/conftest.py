# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real containers for the runtime's tests: a busybox root, a spec like the engine's, and the driver that runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("driver.py")
CAPABILITIES = [
    "CAP_" + name
    for name in "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE"
    " SYS_CHROOT KILL AUDIT_WRITE".split()
]
DEVICES = [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "c", "access": "m"},
    {"allow": True, "type": "b", "access": "m"},
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2))
    ),
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
]
MASKED = ["/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"]
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
STATIC = ["nosuid", "noexec", "nodev"]
SYSTEM = [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": STATIC},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
    {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
     "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*STATIC, "ro"]},
    {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": [*STATIC, "ro"]},
    {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": STATIC},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*STATIC, "mode=1777", "size=64m"]},
]  # fmt: skip


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if Path(item.path).parent == DRIVER.parent and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="session")
def busybox(tmp_path_factory) -> Path:
    """A folder with busybox and the few files that programs expect; tests copy it, or mount it as a layer."""
    program = Path("/bin/busybox")
    if not program.exists():
        pytest.skip("needs busybox-static")
    root = tmp_path_factory.mktemp("busybox")
    for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp"):
        (root / name).mkdir()
    shutil.copy(program, root / "bin" / "busybox")
    for name in subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if name != "busybox":
            (root / "bin" / name).symlink_to("busybox")
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1001::/home/bob:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\nbob:x:1001:\nwheel:x:10:root,bob\n")
    root.chmod(0o755)
    return root


@pytest.fixture
def root(busybox, tmp_path) -> Path:
    """A root of the test's own, writable."""
    target = tmp_path / "rootfs"
    shutil.copytree(busybox, target, symlinks=True)
    return target


@pytest.fixture
def spec(root):
    """Make a spec like the engine's: spec("sh", "-c", "...", tty=False, user="", mounts=[...], ...)."""

    def make(*argv: str, tty=False, user="", cwd="/", env=(), mounts=(), annotations=None, privileged=False, **linux):
        process = {
            "args": list(argv),
            "terminal": tty,
            "user": {"username": user},
            "env": ["PATH=/bin", *env],
            "cwd": cwd,
            "capabilities": {name: list(CAPABILITIES) for name in ("bounding", "effective", "permitted")},
        }
        base = {
            "namespaces": [{"type": kind} for kind in ("mount", "pid", "network", "ipc", "uts", "cgroup")],
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READONLY),
            "resources": {"devices": list(DEVICES)},
        }
        return {
            "ociVersion": "1.2.0",
            "process": process,
            "root": {"path": str(root)},
            "hostname": "box",
            "mounts": [*SYSTEM, *mounts],
            "linux": {**base, **linux},
            "annotations": {"io.vitrine.seccomp": "default", **(annotations or {})},
        }

    return make


@pytest.fixture
def run(settings, leakcheck):
    """Run a spec by the driver and return its result (see driver.py)."""

    def execute(spec, *, python="/usr/bin/python3", resources=None, pass_fds=(), **request):
        request = {
            "spec": spec,
            "tag": settings.tag,
            "cgroup": {**spec["linux"]["resources"], **(resources or {})},
            **request,
        }
        done = subprocess.run(
            [python if os.path.exists(python) else sys.executable, str(DRIVER)],
            input=json.dumps(request), capture_output=True, text=True, timeout=60, pass_fds=pass_fds,
        )  # fmt: skip
        assert done.returncode == 0 and not done.stderr, done.stderr
        return json.loads(done.stdout)

    yield execute
    # the parent group is the engine's to keep; here it goes with the test
    from vitrine.runtime import cgroups

    layout = cgroups.detect()
    for base in {*layout.v1.values(), layout.unified} - {""}:
        if os.path.isdir(f"{base}/{settings.tag}"):
            os.rmdir(f"{base}/{settings.tag}")


@pytest.fixture
def output(run):
    """Run a spec that is expected to work, and return what it wrote."""

    def execute(spec, **request):
        result = run(spec, **request)
        assert result["error"] is None, result
        assert result["status"] == 0, result
        return result["output"]

    return execute


@pytest.fixture
def failure(run):
    """Run a spec whose start is expected to fail, and return the error."""

    def execute(spec, **request):
        result = run(spec, **request)
        assert result["error"] is not None, result
        return result["error"]

    return execute
