# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replacing variables, quotes and escapes in instructions' arguments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.build import words

VARIABLES = {"A": "one", "B": "two words", "E": "", "_x1": "under", "Q": "it's"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A", "one"),
        ("${A}b", "oneb"),
        ("$Ab", ""),
        ("$A/$A", "one/one"),
        ("$_x1-", "under-"),
        ("$UNSET", ""),
        ("$", "$"),
        ("a$", "a$"),
        ("$ A", "$ A"),
        ("$1x", "x"),
        ("\\$A", "$A"),
        ("\\\\$A", "\\one"),
        ("'$A'", "$A"),
        ("'a\\b'", "a\\b"),
        ('"$A"', "one"),
        ('"\\$A"', "$A"),
        ('"a\\b"', "a\\b"),
        ('"a\\"b"', 'a"b'),
        ('"a\\\\b"', "a\\b"),
        ("a\"b\"'c'", "abc"),
        ("\\a", "a"),
        ("a\\", "a"),
        ("${A:-x}", "one"),
        ("${U:-x}", "x"),
        ("${E:-x}", "x"),
        ("${E-x}", ""),
        ("${U-x}", "x"),
        ("${U:-}", ""),
        ("${A:+x}", "x"),
        ("${E:+x}", ""),
        ("${E+x}", "x"),
        ("${U+x}", ""),
        ("${U:-$A}", "one"),
        ("${U:-${V:-deep}}", "deep"),
        ('${U:-"a}b"}', "a}b"),
        ("${U:-a\\}b}", "a}b"),
        ("${A:?no}", "one"),
        ("${E?no}", ""),
    ],
)
def test_expand(text, expected):
    assert words.expand(text, VARIABLES) == expected


@pytest.mark.parametrize(
    "text", ["${", "${}", "${A", "${A:", "${A:-x", "${A!x}", "'a", '"a', '"${A"', "${U:?must be set}", "${-x}"]
)
def test_what_cannot_be_expanded(text):
    with pytest.raises(words.BadWord):
        words.expand(text, VARIABLES)


def test_the_message_of_a_required_variable():
    with pytest.raises(words.BadWord, match="U: must be set"):
        words.expand("${U:?must be set}", VARIABLES)


def test_another_escape_character():
    assert words.expand("c:\\x `$A", VARIABLES, "`") == "c:\\x $A"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$B", ["two", "words"]),
        ('"$B"', ["two words"]),
        ("a${B}b c", ["atwo", "wordsb", "c"]),
        ("$E", []),
        ('""', [""]),
        ("a\\ b", ["a b"]),
        ("  a  b ", ["a", "b"]),
    ],
)
def test_expand_words(text, expected):
    assert words.expand_words(text, VARIABLES) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b", ["a", "b"]),
        ("a='b c' d", ["a='b c'", "d"]),
        ('a="b\\" c" d', ['a="b\\" c"', "d"]),
        ("a\\ b c", ["a\\ b", "c"]),
        ("'a\\' b", ["'a\\'", "b"]),
        ("  ", []),
        ("'open quote", ["'open quote"]),
    ],
)
def test_split_keeps_quotes(text, expected):
    assert words.split(text) == expected


def test_variables_only():
    assert words.replace_variables("'$A' \"$A\" \\$A \\n ${U:-x}", VARIABLES) == "'one' \"one\" $A \\n x"


texts = st.text(alphabet="aB $\\'\"{}:-+=\t", max_size=40)


@given(texts)
def test_any_text_is_expanded_or_refused(text):
    try:
        words.expand(text, VARIABLES)
        words.expand_words(text, VARIABLES)
    except words.BadWord:
        pass


@given(st.text(alphabet=st.characters(blacklist_characters="'", blacklist_categories=("Cs",)), max_size=40))
def test_single_quotes_keep_everything(text):
    assert words.expand(f"'{text}'", VARIABLES) == text


@given(st.text(alphabet="ab \\\"'$\t", max_size=40))
def test_escaping_every_character_keeps_everything(text):
    assert words.expand("".join("\\" + character for character in text), VARIABLES) == text


@given(texts)
def test_splitting_loses_only_blanks(text):
    assert "".join(words.split(text)).replace(" ", "").replace("\t", "") == text.replace(" ", "").replace("\t", "")


@given(st.text(alphabet="ab$'\"\\", max_size=30))
def test_variables_that_are_not_set_apart_from_quotes(value):
    assert words.expand('"$V"', {"V": value}) == value  # what comes out of a variable is not looked at again
