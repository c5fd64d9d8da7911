# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Package headers of rpm: only the times of installation are changed."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from vitrine.engine import rpmdb


def header(entries: list[tuple[int, int, int, int]], values: bytes) -> bytes:
    index = b"".join(struct.pack(">iIiI", *entry) for entry in entries)
    return struct.pack(">II", len(entries), len(values)) + index + values


def test_only_the_times_of_installation_change():
    entries = [(1000, 6, 0, 1), (1008, 4, 4, 1), (1128, 4, 8, 1), (1006, 4, 12, 1)]
    values = b"abc\0" + struct.pack(">III", 1111, 2222, 3333)
    assert rpmdb.dated(header(entries, values), 5) == header(entries, b"abc\0" + struct.pack(">III", 5, 5, 3333))


def test_entries_that_lead_outside_are_left_alone():
    for entry in ((1008, 4, -4, 1), (1008, 4, 13, 1), (1008, 4, 1 << 30, 1), (1008, 6, 4, 1), (1008, 4, 4, 0)):
        data = header([entry], b"\xff" * 16)
        assert rpmdb.dated(data, 0) == data


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1))
def test_any_bytes_keep_their_length(data, epoch):
    assert len(rpmdb.dated(data, epoch)) == len(data)


@given(st.integers(0, 8), st.binary(max_size=64), st.integers(0, 2**32 - 1))
def test_dating_twice_is_dating_once(count, values, epoch):
    data = header([(1008, 4, 4 * number, 1) for number in range(count)], values)
    assert rpmdb.dated(rpmdb.dated(data, epoch), epoch) == rpmdb.dated(data, epoch)
