# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""become.py and wire.py: what needs no privileges."""

from __future__ import annotations

import os

import pytest

from vitrine.errors import CommandNotExecutable, CommandNotFound, StartFailed
from vitrine.runtime import become, wire


def test_home_is_the_users_unless_the_image_says_otherwise():
    environment = become.environment({"env": [b"A=1", b"A=2", b"junk", b"=x", b"E="]}, b"/root")
    assert environment == {b"A": b"2", b"E": b"", b"HOME": b"/root"}
    assert become.environment({"env": [b"HOME=/else"]}, b"/root") == {b"HOME": b"/else"}


def test_commands_are_looked_up_in_absolute_folders_of_the_path(tmp_path):
    program, plain = tmp_path / "program", tmp_path / "plain"
    for path, mode in ((program, 0o755), (plain, 0o644)):
        path.write_text("")
        path.chmod(mode)
    search = b"relative::" + bytes(tmp_path)
    assert become.find(b"program", search) == bytes(program)
    assert become.find(bytes(program), b"") == bytes(program)
    for command in (b"nothing", b"plain", b"", tmp_path.name.encode()):
        with pytest.raises(CommandNotFound, match="executable file not found in"):
            become.find(command, search)
    with pytest.raises(CommandNotFound, match="no such file"):
        become.find(bytes(tmp_path / "none"), search)
    with pytest.raises(CommandNotFound, match="not a directory"):
        become.find(bytes(plain / "x"), search)
    for path, words in ((plain, "permission denied"), (tmp_path, "is a directory")):
        with pytest.raises(CommandNotExecutable, match=words):
            become.find(bytes(path), search)


def sent(step, detail, error):
    ours, theirs = wire.pair()
    wire.send_error(theirs, step, detail, error)
    theirs.close()
    kind, data, _fd = wire.receive(ours)
    assert kind == wire.ERROR
    assert wire.receive(ours)[0] == b""
    ours.close()
    with pytest.raises(StartFailed) as caught:
        wire.raise_error(data)
    return caught.value


def test_an_error_crosses_with_its_class_stage_errno_and_text():
    error = sent("exec", "", CommandNotFound('exec: "x"', stage="exec", errno=2))
    assert (type(error), error.stage, error.errno, error.message) == (CommandNotFound, "exec", 2, 'exec: "x"')
    error = sent("mount", "proc on /proc", OSError(1, os.strerror(1)))
    assert (error.stage, error.errno) == ("mount", 1)
    assert str(error) == "mount: proc on /proc: Operation not permitted"
    assert "ValueError: x" in str(sent("init", "", ValueError("x")))


@pytest.mark.parametrize("data", [b"", b"junk", b"\xe9\xff\xff\xff\x7f", b"i\0\0\0\0"])
def test_what_a_hostile_process_sends_instead_of_an_error_is_an_error_too(data):
    with pytest.raises(StartFailed):
        wire.raise_error(data)


def test_descriptors_cross_and_are_not_inheritable():
    ours, theirs = wire.pair()
    out, into = os.pipe()
    wire.send_fd(theirs, wire.CONSOLE, into)
    kind, _data, fd = wire.receive(ours)
    assert kind == wire.CONSOLE
    assert not os.get_inheritable(fd)
    os.write(fd, b"x")
    assert os.read(out, 1) == b"x"
    for descriptor in (out, into, fd):
        os.close(descriptor)
    ours.close()
    theirs.close()


def test_what_was_sent_is_read_although_the_sender_ended_without_reading():
    ours, theirs = wire.pair()
    ours.send(wire.PROCEED)
    wire.send_error(theirs, "user", "x", OSError(2, "none"))
    theirs.close()
    assert wire.receive(ours)[0] == wire.ERROR
    assert wire.receive(ours)[0] == b""
    ours.close()


def test_no_import_gets_through_the_refuser():
    with pytest.raises(ImportError, match="inside a container"):
        become.Refuser().find_spec("encodings.idna")
