# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dockerfiles: what the lexer and the parser make of them, and what they say of mistakes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.build import dockerfile, lexer
from vitrine.errors import DockerfileError

MEMCACHED = """\
# Memcached
FROM ubuntu
MAINTAINER Victor Coisne victor.coisne@dotcloud.com
RUN echo "deb http://archive.ubuntu.com/ubuntu precise main universe" > /etc/apt/sources.list
RUN apt-get update
RUN apt-get install -y memcached
ENTRYPOINT ["memcached"]
USER daemon
EXPOSE 11211
"""


def names(file: dockerfile.Dockerfile) -> list[tuple[str, int]]:
    return [(item.name, item.line) for stage in file.stages for item in stage.instructions]


def only(text: str) -> dockerfile.Instruction:
    return dockerfile.parse("FROM x\n" + text).stages[0].instructions[0]


def test_the_memcached_dockerfile():
    file = dockerfile.parse(MEMCACHED)
    assert file.stages[0].base == "ubuntu"
    assert file.stages[0].line == 2
    assert names(file) == [
        ("MAINTAINER", 3), ("RUN", 4), ("RUN", 5), ("RUN", 6), ("ENTRYPOINT", 7), ("USER", 8), ("EXPOSE", 9),
    ]  # fmt: skip
    run, entrypoint = file.stages[0].instructions[1], file.stages[0].instructions[4]
    assert run.arguments == (
        'echo "deb http://archive.ubuntu.com/ubuntu precise main universe" > /etc/apt/sources.list',
    )
    assert not run.json
    assert entrypoint.json and entrypoint.arguments == ("memcached",)


def test_continuations_comments_and_empty_lines_inside_them():
    text = (
        "FROM debian\n"
        "RUN apt-get update && \\\n"
        "    # why not\n"
        "\n"
        "    apt-get install -y \\  \n"
        "      vim \\\n"
        "  # the last one\n"
        "      less\n"
        "  # between\n"
        "CMD sh\n"
    )
    first, second = dockerfile.parse(text).stages[0].instructions
    assert first.arguments == ("apt-get update &&     apt-get install -y       vim       less",)
    assert (first.line, second.line) == (2, 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN a \\\\\nCMD b", ["RUN", "CMD"]),  # a doubled mark continues nothing
        ("RUN a \\\nCMD b", ["RUN"]),
        ("RUN a \\", ["RUN"]),  # the file ends in a continuation
        ("run a\n  cMd b", ["RUN", "CMD"]),
        ("RUN a\r\nCMD b\r\n", ["RUN", "CMD"]),
        ("RUN a # not a comment\nCMD b", ["RUN", "CMD"]),
    ],
)
def test_where_instructions_end(text, expected):
    assert [item.name for item in dockerfile.parse("FROM x\n" + text).stages[0].instructions] == expected


def test_directives():
    file = dockerfile.parse("# syntax=docker/dockerfile:1\n#escape=`\nFROM x\nRUN a `\n  b\\\n")
    assert file.escape == "`"
    assert file.stages[0].instructions[0].arguments == ("a   b\\",)
    late = dockerfile.parse("# a comment\n# escape=`\nFROM x\nRUN a \\\n b\n")
    assert late.escape == "\\"
    assert lexer.read("\ufeff# syntax=a/b\nFROM x").syntax == "a/b"


@pytest.mark.parametrize("text", ["# escape=x\nFROM a", "# escape=`\n# escape=\\\nFROM a"])
def test_bad_directives(text):
    with pytest.raises(DockerfileError) as caught:
        dockerfile.parse(text)
    assert caught.value.line == text.count("\n")


def test_stages():
    file = dockerfile.parse(
        "ARG V=1 W\nFROM --platform=linux/arm64 golang:$V AS Build\nRUN make\n"
        "FROM scratch\nCOPY --from=build /x /x\nFROM build AS last"
    )
    assert [item.pairs for item in file.global_arguments] == [(("V", "1"), ("W", None))]
    assert [(stage.base, stage.name, stage.platform, stage.line) for stage in file.stages] == [
        ("golang:$V", "build", "linux/arm64", 2),
        ("scratch", "", "", 4),
        ("build", "last", "", 6),
    ]
    assert file.stage("BUILD") is file.stages[0]
    assert file.stage("1") is file.stages[1]
    assert file.stage("7") is None and file.stage("nope") is None


@pytest.mark.parametrize(
    ("text", "field", "expected"),
    [
        ("RUN echo  'a b'", "arguments", ("echo  'a b'",)),
        ('RUN ["a", "b c"]', "arguments", ("a", "b c")),
        ("RUN ['a']", "arguments", ("['a']",)),  # no JSON: the shell form
        ("RUN [ -f x ] && y", "arguments", ("[ -f x ] && y",)),
        ('RUN ["a", 1]', "arguments", ('["a", 1]',)),
        ("CMD []", "arguments", ()),
        ("CMD []", "json", True),
        ('ENV A=1 B=\'x y\' C="z\\" "', "pairs", (("A", "1"), ("B", "'x y'"), ("C", '"z\\" "'))),
        ("ENV A=b\\ c D=e", "pairs", (("A", "b\\ c"), ("D", "e"))),
        ("ENV A some  words", "pairs", (("A", "some  words"),)),
        ("LABEL a.b=c d=", "pairs", (("a.b", "c"), ("d", ""))),
        ("ARG A B=2 C=", "pairs", (("A", None), ("B", "2"), ("C", ""))),
        ("COPY a b c/", "arguments", ("a", "b", "c/")),
        ('COPY ["a b", "c"]', "arguments", ("a b", "c")),
        ("COPY --chown=1:2 --chmod=644 --from=x a b", "flags", {"chown": "1:2", "chmod": "644", "from": "x"}),
        ("COPY --link a b", "flags", {"link": ""}),
        ("EXPOSE 80 53/udp", "arguments", ("80", "53/udp")),
        ('VOLUME ["/a", "/b c"]', "arguments", ("/a", "/b c")),
        ("VOLUME /a /b", "arguments", ("/a", "/b")),
        ("WORKDIR /a b", "arguments", ("/a b",)),
        ('SHELL ["/bin/bash", "-c"]', "arguments", ("/bin/bash", "-c")),
        ("HEALTHCHECK --retries=3 CMD curl x", "arguments", ("CMD-SHELL", "curl x")),
        ('HEALTHCHECK CMD ["a", "b"]', "arguments", ("CMD", "a", "b")),
        ("HEALTHCHECK none", "arguments", ("NONE",)),
        ("ONBUILD RUN x", "arguments", ("RUN x",)),
        ("RUN <<EOF\na\nb\nEOF", "arguments", ("a\nb",)),
        ("RUN cat <<A <<-'B' > /x\n1\nA\n\t2\n\tB", "arguments", ("cat <<A <<-'B' > /x\n1\nA\n2\nB\n",)),
        ("RUN x <<<word", "arguments", ("x <<<word",)),
        ('RUN echo "<<EOF"', "arguments", ('echo "<<EOF"',)),
    ],
)
def test_arguments(text, field, expected):
    assert getattr(only(text), field) == expected


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "no FROM"),
        ("# only\n\n", 1, "no FROM"),
        ("RUN x\nFROM y", 1, "before the first FROM"),
        ("FROM x\n\nRUNN y", 3, "did you mean RUN?"),
        ("FROM x\nFOO \\\n a\n", 2, "unknown instruction 'FOO'"),
        ("FROM x\nRUN", 2, "at least one argument"),
        ("FROM x y", 1, "FROM takes"),
        ("FROM x AS 1y", 1, "no stage's name"),
        ("FROM x AS a\nFROM y AS A", 2, "two stages"),
        ("FROM --plattform=a x", 1, "unknown flag"),
        ("FROM x\nCOPY a", 2, "source and a destination"),
        ("FROM x\nCOPY --chown a b", 2, "needs a value"),
        ("FROM x\nCOPY --from=a --from=b c d", 2, "twice"),
        ("FROM x\nENV A=1 B", 2, "'B' is not NAME=VALUE"),
        ("FROM x\nENV A", 2, "no value"),
        ("FROM x\nENV =1", 2, "no name"),
        ("FROM x\nRUN --mount=type=cache,target=/x y", 2, "not supported"),
        ("FROM x\nSHELL /bin/bash", 2, "JSON"),
        ("FROM x\nHEALTHCHECK FOO x", 2, "does not know"),
        ("FROM x\nONBUILD FROM y", 2, "not allowed"),
        ("FROM x\nONBUILD RUNN y", 2, "unknown instruction"),
        ("FROM x\nSTOPSIGNAL A B", 2, "one signal"),
        ("FROM x\nRUN <<EOF\nabc\n", 2, "no end"),
        ("FROM x\nRUN a\0b", 2, "NUL"),
    ],
)
def test_mistakes_are_told_with_their_line(text, line, words):
    with pytest.raises(DockerfileError) as caught:
        dockerfile.parse(text.encode())
    assert caught.value.line == line
    assert words in str(caught.value)


def test_what_is_no_text():
    with pytest.raises(DockerfileError) as caught:
        dockerfile.parse(b"FROM x\nRUN \xff")
    assert caught.value.line == 2
    with pytest.raises(DockerfileError):
        dockerfile.parse(b"#" * (lexer.MAX_BYTES + 1))


@given(st.text(alphabet="FROMRUNCPY \t\n\\#\"'<-EOF=[]{},$x`\r", max_size=200))
def test_any_text_is_parsed_or_refused(text):
    try:
        file = dockerfile.parse("FROM a\n" + text)
    except DockerfileError as error:
        assert 1 <= error.line <= text.count("\n") + 2
        return
    for _name, line in names(file):
        assert 1 <= line <= text.count("\n") + 2


@given(st.lists(st.text(alphabet="abc $\"'=", min_size=1).filter(str.strip), min_size=1, max_size=6))
def test_continued_lines_are_one(parts):
    joined = only("RUN x" + "".join(parts))
    split = only("RUN x" + "\\\n".join(parts))
    assert split.arguments == joined.arguments
