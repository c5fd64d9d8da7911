# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images for tests, without any registry: a small one in no time, and a real distribution's, made once per machine.

    sys.path must have plugins/module_utils (tests/conftest.py sees to that)
    base_image(store) -> id        debian:bookworm, from the distribution's packages
    busybox_image(store) -> id     busybox:latest, one static program (package busybox-static)

What was bootstrapped is kept in ~/.cache/vitrine-tests (or $VITRINE_TEST_CACHE), outside of the checkout.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import struct
import subprocess
import tempfile
from pathlib import Path

BASE = "debian:bookworm"
BUSYBOX = "busybox:latest"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def cache_folder() -> Path:
    """Where what takes long to make is kept from one test run to the next."""
    path = Path(os.environ.get("VITRINE_TEST_CACHE") or Path.home() / ".cache" / "vitrine-tests")
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


@contextlib.contextmanager
def alone(name: str):
    """One process at a time: tests may run side by side."""
    import fcntl

    with open(cache_folder() / f"{name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def base_image(store) -> str:
    """The id of debian:bookworm in this store. Takes half a minute the first time on a machine, then a second."""
    from vitrine.engine.bootstrap import bootstrap

    saved = cache_folder() / "debian-bookworm.tar"
    saved_config = cache_folder() / "debian-bookworm.json"
    with alone("debian-bookworm"):
        if not saved_config.exists():
            image_id = bootstrap(store, BASE)
            image = store.images.get(image_id)
            partial = saved.with_suffix(".new")
            with open(partial, "wb") as file:
                store.layers.write_archive(image.layers[0], file.write)
            partial.rename(saved)
            saved_config.write_bytes(image.config)
            return image_id
    config = saved_config.read_bytes()
    (diff_id,) = json.loads(config)["rootfs"]["diff_ids"]
    if not store.layers.has(diff_id):
        store.layers.unpack(
            str(saved), "application/vnd.oci.image.layer.v1.tar", diff_id=diff_id, chain_id=diff_id, parent=None
        )
    image_id = store.images.add(config, [diff_id])
    store.images.tag("docker.io/library/debian:bookworm", image_id)
    return image_id


def _interpreter(program: bytes) -> bool:
    """Whether a 64-bit ELF program needs a dynamic linker: it has a segment of type PT_INTERP (elf(5))."""
    order = "<" if program[5] == 1 else ">"
    (offset,) = struct.unpack_from(order + "Q", program, 32)
    size, count = struct.unpack_from(order + "HH", program, 54)
    return any(struct.unpack_from(order + "I", program, offset + size * number) == (3,) for number in range(count))


def busybox_image(store, *, applets: bool = True) -> str:
    """The id of an image with nothing but a static busybox and its names, users and directories."""
    program = shutil.which("busybox")
    if program is None or _interpreter(Path(program).read_bytes()):
        raise RuntimeError("install busybox-static")
    with tempfile.TemporaryDirectory(prefix="vitrine-busybox-") as folder:
        root = Path(folder, "root")
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("var", 0o755)):
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name).chmod(mode)
        root.chmod(0o755)
        shutil.copy(program, root / "bin" / "busybox")
        (root / "bin" / "busybox").chmod(0o755)
        if applets:
            for name in subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split():
                if name != "busybox":
                    (root / "bin" / name).symlink_to("busybox")
        (root / "etc" / "passwd").write_text(
            "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/false\nuser:x:1000:1000:user:/:/bin/sh\n"
        )
        (root / "etc" / "group").write_text("root:x:0:\ndaemon:x:1:\nuser:x:1000:\nstaff:x:50:user\n")
        for path in (root / "etc").iterdir():
            path.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH)
        layer = store.layers.import_tree(str(root), parent=None, clamp_mtime=0)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = {
        "architecture": machine,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Env": [f"PATH={PATH}"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "busybox-static"}],
    }
    image_id = store.images.add(json.dumps(config, sort_keys=True).encode(), [layer.diff_id])
    store.images.tag("docker.io/library/busybox:latest", image_id)
    return image_id
