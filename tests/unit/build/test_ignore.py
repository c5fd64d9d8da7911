# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What .dockerignore keeps out."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.build import ignore
from vitrine.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "out", "kept"),
    [
        ("a", ["a", "a/b"], ["b/a", "ab"]),
        ("/a/", ["a", "a/b"], ["b"]),
        ("*/temp*", ["x/temp", "x/temporary.txt", "x/temp/y"], ["temp", "x/y/temp"]),
        ("*/*/temp*", ["x/y/temp"], ["x/temp"]),
        ("temp?", ["tempa", "tempb/c"], ["temp", "tempab"]),
        ("**/*.go", ["a.go", "x/a.go", "x/y/z.go"], ["a.goo", "go"]),
        ("*.md\n!README.md", ["a.md"], ["README.md", "x/a.md"]),
        ("*.md\n!README*.md\nREADME-secret.md", ["README-secret.md", "a.md"], ["README.md"]),
        ("*.md\nREADME-secret.md\n!README*.md", ["a.md"], ["README-secret.md"]),
        ("*\n!src", ["a", "b/c"], ["src", "src/x"]),
        ("*\n!src/*.c", ["src", "src/a.h"], ["src/a.c"]),
        ("a/**", ["a/b", "a/b/c"], ["a"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b/z"], ["a", "b"]),
        ("**", ["a", "a/b"], []),
        ("**/node_modules", ["node_modules", "x/node_modules/y"], ["node_modules2"]),
        ("# a comment\n\n  b  \n", ["b"], ["# a comment"]),
        (" #c", ["#c"], []),
        ("[a-c]x", ["ax", "cx"], ["dx"]),
        ("[^a-c]x", ["dx"], ["ax"]),
        ("a\\*b", ["a*b"], ["axb"]),
        ("./a/../b//c", ["b/c"], ["a"]),
        ("a+b(c)", ["a+b(c)"], ["aab(c)"]),
        ("!a", [], ["a"]),
        (".", [], ["a"]),
        ("a**b", ["aXb"], ["aX"]),
    ],
)
def test_rules(text, out, kept):
    rules = ignore.parse(text)
    assert [path for path in out if not rules.excludes(path)] == []
    assert [path for path in kept if rules.excludes(path)] == []


@pytest.mark.parametrize("text", ["ok\n[a", "ok\na\\", "ok\n[]", "ok\n[z-a]", "ok\n![a-"])
def test_bad_patterns_are_told_with_their_line(text):
    with pytest.raises(InvalidInput, match="line 2"):
        ignore.parse(text)


def test_what_need_not_be_read():
    assert ignore.parse("a").prunes("a")
    assert not ignore.parse("a\n!a/b").prunes("a")
    assert not ignore.parse("a").prunes("b")


names = st.text(alphabet="ab.", min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))


@given(
    st.text(alphabet="ab.*?", min_size=1, max_size=6).filter(lambda p: "**" not in p and p not in (".", "..")), names
)
def test_one_part_matches_as_a_shell_pattern(pattern, name):
    assert ignore.parse(pattern).excludes(name) == fnmatch.fnmatchcase(name, pattern)


@given(st.lists(names, min_size=1, max_size=4), st.lists(names, min_size=1, max_size=4))
def test_a_plain_path_excludes_itself_and_what_is_below(pattern, path):
    expected = path[: len(pattern)] == pattern
    assert ignore.parse("/".join(pattern)).excludes("/".join(path)) == expected


@given(st.text(alphabet="a/*?[]^-\\!.# ", max_size=20), st.lists(names, min_size=1, max_size=4))
def test_any_pattern_is_understood_or_refused(pattern, path):
    try:
        rules = ignore.parse(pattern)
    except InvalidInput:
        return
    rules.excludes("/".join(path))


@given(st.lists(names, min_size=1, max_size=4), st.lists(st.text(alphabet="ab*!/.", max_size=6), max_size=5))
def test_bringing_everything_back_excludes_nothing(path, patterns):
    rules = ignore.parse("\n".join([*patterns, "!**"]))
    assert not rules.excludes("/".join(path))
