# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order containers start at boot; they stop in the reverse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.engine.booting import levels


@pytest.mark.parametrize(
    ("ids", "needs", "expected"),
    [
        ("", {}, []),
        ("cba", {}, ["cba"]),
        ("ab", {"a": "b"}, ["b", "a"]),
        ("abcd", {"a": "b", "b": "c"}, ["cd", "b", "a"]),
        ("abc", {"c": "ab"}, ["ab", "c"]),
        ("ab", {"a": "x"}, ["ab"]),
        ("abc", {"a": "b", "b": "a"}, ["c", "ab"]),
        ("ab", {"a": "a"}, ["ab"]),
        ("aab", {}, ["ab"]),
    ],
)
def test_levels(ids, needs, expected):
    assert levels(ids, needs) == [list(level) for level in expected]


@given(
    st.integers(1, 8).flatmap(
        lambda count: st.tuples(
            st.just(range(count)), st.dictionaries(st.integers(0, count - 1), st.sets(st.integers(0, count + 1)))
        )
    )
)
def test_all_are_there_once_and_what_needs_nothing_later_comes_first(case):
    ids, needs = case
    found = levels(ids, needs)
    assert sorted(one for level in found for one in level) == sorted(ids)
    place = {one: number for number, level in enumerate(found) for one in level}
    for one in ids:
        for other in needs.get(one, ()):
            if other in place and other != one and place[one] < len(found) - 1:
                assert place[other] < place[one]
