# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""users.py: "user[:group]" against hostile passwd and group files (security classes 31 and 32)."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.errors import StartFailed
from vitrine.runtime import users

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
# a comment:x:5:5::/:
bob:x:1000:1001:Bob:/home/bob:/bin/sh
0:x:1000:1000:a number as name:/evil:/bin/sh
+:::::
bad:x:-1:0::/bad:
big:x:4294967295:0::/big:
hex:x:0x10:0::/hex:
nohome:x:7:7
bob:x:1:1:second entry:/other:/bin/sh
"""
GROUP = b"""root:x:0:
bob:x:1001:
wheel:x:10:root,bob
audio:x:63:bobby,bob
5:x:99:bob
"""


def resolve(user: str, *groups: str):
    return users.resolve(user, groups, PASSWD, GROUP)


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, [0, 10], b"/root")),
        ("root", (0, 0, [0, 10], b"/root")),
        ("bob", (1000, 1001, [1001, 10, 63, 99], b"/home/bob")),
        ("1000", (1000, 1001, [1001, 10, 63, 99], b"/home/bob")),
        ("bob:wheel", (1000, 10, [10], b"/home/bob")),
        ("bob:7", (1000, 7, [7], b"/home/bob")),
        ("4242", (4242, 0, [0], b"/")),
        ("4242:4243", (4242, 4243, [4243], b"/")),
        ("nohome", (7, 7, [7], b"/")),
        ("4294967294:4294967294", (4294967294, 4294967294, [4294967294], b"/")),
    ],
)
def test_resolves_as_docker_does(user, expected):
    assert resolve(user) == expected


def test_a_number_is_never_a_name():
    assert resolve("0") == (0, 0, [0, 10], b"/root")
    assert resolve("bob:5")[1] == 5


def test_additional_groups_are_names_or_numbers_and_come_once():
    assert resolve("bob:bob", "wheel", "77", "10")[2] == [1001, 10, 77]


@pytest.mark.parametrize(
    "user",
    ["0x0", "+0", "-1", "1:0:0", "root\n", " root", "root:", ":0", "4294967295", "99999999999999999999", "bob:nogroup",
     "nobody", "bad", "hex", "big", "+", "#", "bob:wheel ", "ro\x00ot", "\u0661"],
)  # fmt: skip
def test_refuses_what_is_neither_an_id_nor_a_known_name(user):
    with pytest.raises(StartFailed) as caught:
        resolve(user)
    assert caught.value.stage == "user"


@given(st.text(max_size=30), st.binary(max_size=300), st.binary(max_size=300))
def test_any_files_and_any_text_give_ids_in_range_or_an_error(user, passwd, group):
    try:
        uid, gid, groups, home = users.resolve(user, (), passwd, group)
    except StartFailed:
        return
    assert all(0 <= value < 2**32 - 1 for value in (uid, gid, *groups))
    assert gid == groups[0]
    assert home.startswith(b"/")


@given(st.integers(0, 2**32 - 2), st.integers(0, 2**32 - 2), st.binary(max_size=300))
def test_numbers_need_no_files(uid, gid, noise):
    assert users.resolve(f"{uid}:{gid}", (), noise, noise)[:3] == (uid, gid, [gid])


def test_reads_only_regular_files_of_bounded_size(tmp_path):
    (tmp_path / "etc").mkdir()
    root = os.open(tmp_path, os.O_PATH)
    try:
        assert users.read_database(root, "etc/passwd") == b""
        (tmp_path / "etc" / "passwd").write_bytes(PASSWD)
        assert users.read_database(root, "etc/passwd") == PASSWD
        os.mkfifo(tmp_path / "etc" / "fifo")
        os.truncate(os.open(tmp_path / "etc" / "huge", os.O_CREAT | os.O_WRONLY), 5 << 30)
        os.symlink("/etc/passwd", tmp_path / "etc" / "link")
        os.symlink("link2", tmp_path / "etc" / "link2")
        for name in ("fifo", "huge", "."):
            with pytest.raises(StartFailed):
                users.read_database(root, f"etc/{name}")
        assert users.read_database(root, "etc/link") == PASSWD  # the image's, not the host's
        assert users.read_database(root, "etc/link2") == b""
    finally:
        os.close(root)
