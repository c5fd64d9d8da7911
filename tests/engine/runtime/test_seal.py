# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""seal.py and entry.py: processes of the sealed interpreter, seen from outside."""

from __future__ import annotations

import marshal
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from vitrine.linux import features
from vitrine.runtime import seal

ENGINE = Path(seal.__file__).resolve().parents[1]
CHILD = """
import os, sys
from . import seal
def main():
    fds = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    request = seal.request()
    try:
        os.close(os.open("/proc/self/exe", os.O_WRONLY))
        wrote = "yes"
    except OSError as error:
        wrote = error.strerror
    print(request, fds, wrote, os.getcwd(), dict(os.environ), open("/proc/self/comm").read().strip(),
          len(sys.modules), sys.flags.isolated, sys.flags.no_site, sys.flags.utf8_mode, sep="\\n")
    return 7
"""


@pytest.fixture
def module():
    """A module in the engine's folder, as seal.spawn() wants it, for as long as the test runs."""
    path = ENGINE / "runtime" / f"testing_{os.getpid()}.py"
    path.write_text(CHILD)
    yield f"runtime.{path.stem}"
    path.unlink()


@pytest.fixture
def without():
    before = features.without()
    yield features.set_without
    features.set_without(before)


@pytest.mark.parametrize("names", ["", "seal_overlay", "seal_overlay,seal_bind", "seal_overlay,seal_bind,memfd"])
def test_a_spawned_process_has_what_it_was_given_and_no_more(module, without, names):
    without(filter(None, names.split(",")))
    stray = os.open("/etc", os.O_RDONLY)
    os.set_inheritable(stray, True)
    out, into = os.pipe()
    extra = os.open("/dev/zero", os.O_RDONLY)
    try:
        pid = seal.spawn(module, fds={1: into, 2: into, 5: extra}, payload={"number": 1, "bytes": [b"x"]})
        os.close(into)
        with open(out, closefd=False) as file:
            text = file.read()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7, text
    finally:
        for fd in (stray, out, extra):
            os.close(fd)
    request, fds, wrote, cwd, environment, name, modules, *flags = text.splitlines()
    assert request == "{'number': 1, 'bytes': [b'x']}"
    assert fds == "[0, 1, 2, 3, 4, 5]"  # 4 is the folder that was listed
    assert wrote in ("Read-only file system", "Text file busy", "Operation not permitted")
    assert cwd == "/"
    assert "PATH" in environment and "HOME" not in environment
    assert name == f"vitrine-{module.split('.')[1]}"[:15]
    assert flags == ["1", "1", "1"]
    assert int(modules) < 70


def test_standard_descriptors_are_the_null_device_and_may_change_places(module):
    out, into = os.pipe()
    pid = seal.spawn(module, fds={2: into, 1: into, 0: into, 4: 0}, payload=marshal.dumps("ready made"))
    os.close(into)
    with open(out) as file:
        assert file.readline() == "ready made\n"
    os.waitpid(pid, 0)
    pid = seal.spawn(module, payload=1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_process_begun_early_waits_for_its_request_and_ends_without_one(module):
    out, into = os.pipe()
    begun = seal.Beginning(module, {1: into, 2: into})
    begun.give({"large": "x" * 200_000})
    begun.drop()  # nothing any more
    os.close(into)
    with open(out) as file:
        assert file.readline().startswith("{'large': 'xxx")
        file.read()
    assert os.waitstatus_to_exitcode(os.waitpid(begun.pid, 0)[1]) == 7
    begun = seal.Beginning(module, {})
    begun.drop()
    with pytest.raises(ChildProcessError):
        os.waitpid(begun.pid, 0)


@pytest.mark.parametrize("said", [b"", marshal.dumps({"number": list(range(100))})[:-3]])
def test_a_caller_killed_before_its_request_was_said_ends_the_process_begun(module, said):
    begun = seal.Beginning(module, {})
    os.write(begun._writer, said)
    os.close(begun._writer)
    assert os.waitstatus_to_exitcode(os.waitpid(begun.pid, 0)[1]) == 1


def test_the_callers_signals_do_not_reach_the_child(module):
    """A caller that ignores or blocks signals (ssh, Ansible) must not make containers that cannot be stopped."""
    code = textwrap.dedent(
        f"""
        import os, signal, sys
        sys.path.append({str(ENGINE.parent)!r})
        from vitrine.runtime import seal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
        pid = seal.spawn({module!r}, fds={{2: 2}}, payload=1)
        words = dict(line.split(":", 1) for line in open(f"/proc/{{pid}}/status"))
        print(words["SigBlk"].strip(), int(words["SigIgn"], 16) >> {signal.SIGTERM - 1} & 1)
        os.waitpid(pid, 0)
        """
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0" * 16, "0"], done


def test_a_sealed_payload_cannot_be_changed():
    fd = seal.pack([1, 2])
    for action in (lambda: os.write(fd, b"x"), lambda: os.ftruncate(fd, 0)):
        with pytest.raises(PermissionError):
            action()
    os.close(fd)
