# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile images and processes, one test for each class of attack; the numbers are the classes' CVEs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("driver.py")
ENGINE = Path(__file__).resolve().parents[3] / "plugins" / "module_utils"


def sh(spec, text, **options):
    return spec("sh", "-c", text, **options)


# -- the interpreter (CVE-2019-5736) ----------------------------------------------------------------------------------

SEALED = (
    f"import os, sys; sys.path.append({str(ENGINE)!r}); from vitrine.runtime import seal;"
    " fd = seal.sealed_interpreter();"
    f" os.execve(f'/proc/self/fd/{{fd}}', [sys.executable, {str(DRIVER)!r}], os.environ)"
)


@pytest.fixture
def own_python(tmp_path):
    """A copy of the interpreter that may be lost."""
    source = Path("/usr/bin/python3").resolve()
    target = tmp_path / "pybin" / "python3"
    target.parent.mkdir()
    shutil.copy(source, target)
    return target


def attack(spec, root, own_python, settings, launcher, without="", by_exec=False) -> str:
    """Let the image run the interpreter as its own shell, and write to it when nothing on the host runs it any more.

    Returns what the attacker was told.
    """
    loader = root / "lib64" / "ld-linux-x86-64.so.2"
    loader.parent.mkdir(exist_ok=True)
    shutil.copy(root / "bin" / "busybox", loader)  # the image chooses what loads the host's binary: a shell
    (root / "sh").symlink_to("/proc/self/exe")
    script = (
        "exec 3</proc/self/exe; exec /bin/sh -c 'sleep 0.5; (echo owned > /proc/self/fd/3) 2>/answer; echo >>/answer;"
        " mv /answer /done'"
    )
    made = spec("/sh", "-c", script)
    process = None
    if by_exec:
        argv = ["/sh", "-c", script.replace("exec /bin/sh", "/bin/sh") + " >/dev/null 2>&1 &"]
        process = {**made["process"], "args": argv}
        made["process"]["args"] = ["sleep", "3"]
    request = {"spec": made, "exec": process, "tag": settings.tag, "cgroup": None, "leave": True,
               "without": [name for name in without.split(",") if name]}  # fmt: skip
    environment = {"PYTHONHOME": "/usr", "PATH": "/usr/bin:/bin", "VITRINE_WITHOUT": without}
    subprocess.run([own_python, *launcher], input=json.dumps(request), text=True, env=environment, check=True)
    for _wait in range(200):
        if (root / "done").exists():
            return (root / "done").read_text().strip()
        time.sleep(0.05)
    raise AssertionError("the attacker did not get as far as writing")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the loader's name is that of x86_64")
@pytest.mark.parametrize("by_exec", [False, True], ids=["run", "exec"])
@pytest.mark.parametrize("without", ["", "seal_overlay", "seal_overlay,seal_bind"])
def test_the_interpreter_cannot_be_overwritten(spec, root, own_python, settings, leakcheck, without, by_exec):
    before = hashlib.sha256(own_python.read_bytes()).hexdigest()
    assert attack(spec, root, own_python, settings, ["-c", SEALED], without, by_exec) != ""
    assert hashlib.sha256(own_python.read_bytes()).hexdigest() == before


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the loader's name is that of x86_64")
def test_the_attack_on_the_interpreter_works_on_one_that_is_not_sealed(spec, root, own_python, settings):
    """Or the test above would prove nothing."""
    assert attack(spec, root, own_python, settings, [str(DRIVER)]) == ""
    assert own_python.read_bytes() == b"owned\n"


# -- descriptors and directories --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20])
def test_directories_of_the_host_are_not_reached_by_descriptor(spec, run, number):
    """CVE-2024-21626: WORKDIR /proc/self/fd/N, with directories left open by the caller."""
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in ("/", "/etc", "/sys/fs/cgroup")]
    try:
        for cwd in (f"/proc/self/fd/{number}", f"/proc/self/fd/{number}/../.."):
            result = run(sh(spec, "pwd; ls", cwd=cwd), pass_fds=fds)
            assert result["error"] is not None or "vitrine" not in result["output"]
            assert result["error"] is None or result["error"]["stage"] in ("cwd", "mount"), result
            made = sh(spec, "cat")
            process = {**made["process"], "args": ["sh", "-c", "pwd"], "cwd": cwd}
            result = run(made, exec=process, pass_fds=fds)
            assert "exec_error" in result, result
    finally:
        for fd in fds:
            os.close(fd)


# -- links where the kernel's file systems go -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
def test_a_link_in_the_place_of_a_system_directory_is_refused(spec, root, failure, name):
    """CVE-2019-16884, CVE-2023-27561, CVE-2026-41579."""
    shutil.rmtree(root / name)
    (root / "elsewhere").mkdir()
    (root / name).symlink_to("/elsewhere")
    error = failure(sh(spec, "true"))
    assert error["stage"] == "mount" and f"/{name}" in error["text"]


@pytest.mark.parametrize("target", ["/evil", "/evil/sub"])
def test_a_volume_does_not_get_over_proc_by_a_link(spec, root, failure, tmp_path, target):
    (root / "evil").symlink_to("/proc/sys" if target == "/evil" else "/proc")
    mount = {"destination": "/evil" if target == "/evil" else "/evil/fs", "source": str(tmp_path), "options": ["rbind"]}
    error = failure(sh(spec, "true", mounts=[mount]))
    assert error["stage"] == "mount" and "inside /proc" in error["text"]


def test_a_false_null_device_masks_nothing_less(spec, root, output):
    """CVE-2025-31133: /dev of the image is used as it is, and its null is a link to what should be hidden."""
    made = sh(spec, "cat /proc/timer_list /proc/interrupts | wc -c")
    made["mounts"] = [item for item in made["mounts"] if not item["destination"].startswith("/dev")]
    (root / "dev" / "null").symlink_to("/proc/sysrq-trigger")
    assert output(made).strip() == "0"


def test_a_console_that_is_a_link_is_not_mounted_upon(spec, root, failure):
    """CVE-2025-52565."""
    made = sh(spec, "true", tty=True)
    made["mounts"] = [item for item in made["mounts"] if item["destination"] not in ("/dev", "/dev/mqueue", "/dev/shm")]
    (root / "dev" / "console").symlink_to("/proc/sys/kernel/core_pattern")
    (root / "dev" / "pts").mkdir()
    assert failure(made)["stage"] == "console"


# -- files that are not what they seem --------------------------------------------------------------------------------


def test_passwd_may_be_a_pipe_and_the_start_does_not_hang(spec, root, failure):
    (root / "etc" / "passwd").unlink()
    os.mkfifo(root / "etc" / "passwd")
    error = failure(sh(spec, "true", user="bob"), timeout=5)
    assert error["stage"] == "user" and "regular file" in error["text"]


def test_group_may_be_huge(spec, root, failure):
    os.truncate(root / "etc" / "group", 5 << 30)
    assert "16 MiB" in failure(sh(spec, "true", user="bob"))["text"]


def test_passwd_may_lead_out_of_the_root_and_does_not(spec, root, failure):
    (root / "etc" / "passwd").unlink()
    (root / "etc" / "passwd").symlink_to("../../../../../../etc/passwd")
    assert "unable to find user daemon" in failure(sh(spec, "true", user="daemon"))["text"]


@pytest.mark.parametrize("user", ["0x0", "+0", "1:0:0", "root\n", " root", "-1"])
def test_odd_users_are_refused(spec, failure, user):
    assert failure(sh(spec, "id", user=user))["stage"] == "user"


def test_modules_and_libraries_of_the_image_are_not_loaded(spec, root, run):
    """CVE-2019-14271: everything Python or the C library might look for is a trap in the image."""
    trap = "open('/trapped', 'a').write(__name__)\n"
    folders = [path for path in sys.path if path.startswith("/usr/lib/python3")] + ["/usr/lib/python3.11"]
    for folder in dict.fromkeys(folders):
        for name in ("encodings/idna.py", "encodings/ascii.py", "linecache.py", "traceback.py", "warnings.py", "pwd.py",
                     "encodings/__init__.py", "tokenize.py", "shutil.py"):  # fmt: skip
            path = root / folder.lstrip("/") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(trap)
    for argv in (["true"], ["nosuch"]):
        run(spec(*argv, user="bob", tty=True), modules=True)
    assert not (root / "trapped").exists()


# -- the inside -------------------------------------------------------------------------------------------------------


def test_namespaces_and_mounts_are_closed_to_the_process(spec, output):
    """CVE-2022-0492 and its kin."""
    text = output(
        sh(
            spec,
            "for c in 'mount -t cgroup -o memory x /tmp' 'mount -t tmpfs x /tmp' 'unshare -m true' 'unshare -U true'"
            " 'umount /proc/sys' 'mount -o remount,rw /proc/sys'; do $c 2>&1 && echo DONE $c; done; true",
        )
    )
    assert "DONE" not in text
    assert text.count("Operation not permitted") + text.count("permission denied") == 6, text


# -- races ------------------------------------------------------------------------------------------------------------


def test_a_volume_that_changes_under_the_mount_never_leads_to_the_host(spec, run, tmp_path):
    """CVE-2021-30465, CVE-2024-45310: a folder and a link to /etc change places while mounts and folders are made."""
    from vitrine.linux.syscall import syscall

    volume = tmp_path / "volume"
    for name in ("flip", "source"):
        (volume / name).mkdir(parents=True)
    (volume / "link").symlink_to("/etc")
    canary = Path("/etc/vitrine-race-canary")
    stop = threading.Event()

    def flip() -> None:
        first, second = os.fsencode(volume / "flip"), os.fsencode(volume / "link")
        while not stop.is_set():
            syscall("renameat2", -100, first, -100, second, 2)

    mounts = [
        {"destination": "/volume", "source": str(volume), "options": ["rbind"]},
        {"destination": f"/volume/flip/{canary.name}", "source": str(volume / "source"), "options": ["rbind"]},
    ]
    before = Path("/proc/self/mountinfo").read_text()
    thread = threading.Thread(target=flip)
    thread.start()
    try:
        for _start in range(12):
            result = run(sh(spec, "true", mounts=mounts))
            assert result["error"] is None or result["error"]["stage"] == "mount", result
            assert not canary.exists()
    finally:
        stop.set()
        thread.join()
    assert Path("/proc/self/mountinfo").read_text() == before
