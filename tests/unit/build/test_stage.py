# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instructions that change an image's configuration only, and what they leave in its history."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.build import dockerfile
from vitrine.build.metadata import apply_changes
from vitrine.build.stage import State
from vitrine.errors import DockerfileError, InvalidInput
from vitrine.oci.config import ImageConfig


def applied(text: str, config: dict | None = None, arguments: dict[str, str] | None = None) -> State:
    state = State(ImageConfig("amd64", "linux", config or {}, ()), None, "key", "\\")
    state.arguments.update(arguments or {})
    for instruction in dockerfile.parse("FROM x\n" + text).stages[0].instructions:
        state.apply(instruction, "2020-01-01T00:00:00Z")
    return state


@pytest.mark.parametrize(
    ("text", "field", "expected", "history"),
    [
        ("CMD echo  $HOME", "Cmd", ["/bin/sh", "-c", "echo  $HOME"], 'CMD ["/bin/sh" "-c" "echo  $HOME"]'),
        ('CMD ["a", "b"]', "Cmd", ["a", "b"], 'CMD ["a" "b"]'),
        ("CMD []", "Cmd", [], "CMD []"),
        ('ENTRYPOINT ["memcached"]', "Entrypoint", ["memcached"], 'ENTRYPOINT ["memcached"]'),
        ("ENV A=1 B='x y'", "Env", ["A=1", "B=x y"], "ENV A=1 B=x y"),
        ("ENV A  x  y", "Env", ["A=x  y"], "ENV A=x  y"),
        ("ENV A=1\nENV B=$A A=2", "Env", ["A=2", "B=1"], "ENV B=1 A=2"),
        ("ENV A=$X", "Env", ["A=arg"], "ENV A=arg"),
        ("LABEL a=b 'c d'=$X", "Labels", {"a": "b", "c d": "arg"}, "LABEL a=b c d=arg"),
        ("USER $X:staff", "User", "arg:staff", "USER arg:staff"),
        ("EXPOSE 80 53/UDP", "ExposedPorts", {"80/tcp": {}, "53/udp": {}}, "EXPOSE 80/tcp 53/udp"),
        ("EXPOSE 1-3", "ExposedPorts", {"1/tcp": {}, "2/tcp": {}, "3/tcp": {}}, "EXPOSE 1/tcp 2/tcp 3/tcp"),
        ("ENV P='80 81'\nEXPOSE $P", "ExposedPorts", {"80/tcp": {}, "81/tcp": {}}, "EXPOSE 80/tcp 81/tcp"),
        ('VOLUME ["/a b", "/$X"]', "Volumes", {"/a b": {}, "/arg": {}}, 'VOLUME ["/a b" "/arg"]'),
        ("VOLUME /a /b", "Volumes", {"/a": {}, "/b": {}}, 'VOLUME ["/a" "/b"]'),
        ("STOPSIGNAL SIGKILL", "StopSignal", "SIGKILL", "STOPSIGNAL SIGKILL"),
        ('SHELL ["/bin/bash", "-c"]', "Shell", ["/bin/bash", "-c"], 'SHELL ["/bin/bash" "-c"]'),
        ("ONBUILD RUN x", "OnBuild", ["RUN x"], "ONBUILD RUN x"),
        (
            "HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD x",
            "Healthcheck",
            {"Test": ["CMD-SHELL", "x"], "Interval": 90 * 10**9, "Timeout": 5 * 10**8, "Retries": 3},
            'HEALTHCHECK {"Interval": 90000000000, "Retries": 3, "Test": ["CMD-SHELL", "x"], "Timeout": 500000000}',
        ),
        ("HEALTHCHECK NONE", "Healthcheck", {"Test": ["NONE"]}, 'HEALTHCHECK {"Test": ["NONE"]}'),
    ],
)
def test_metadata(text, field, expected, history):
    state = applied(text, arguments={"X": "arg"})
    assert state.config[field] == expected
    last = state.history[-1]
    shell = "/bin/bash -c" if text.startswith("SHELL") else "/bin/sh -c"
    assert last["created_by"] == f"{shell} #(nop)  {history}"
    assert last["empty_layer"] is True
    assert state.changed


def test_the_maintainer_is_the_author():
    state = applied("MAINTAINER Victor Coisne victor.coisne@dotcloud.com\nCMD x")
    image = state.to_image("now")
    assert image.author == "Victor Coisne victor.coisne@dotcloud.com"
    assert image.created == "now"
    assert [entry["author"] for entry in image.history] == [image.author] * 2


def test_a_new_entrypoint_drops_the_command_of_the_base_but_not_its_own():
    base = {"Cmd": ["bash"]}
    assert "Cmd" not in applied('ENTRYPOINT ["x"]', base).config
    assert applied('CMD ["y"]\nENTRYPOINT ["x"]', base).config["Cmd"] == ["y"]
    assert applied("USER x", base).config["Cmd"] == ["bash"]


def test_the_shell_form_uses_the_chosen_shell():
    state = applied('SHELL ["/bin/bash", "-o", "pipefail", "-c"]\nCMD a | b')
    assert state.config["Cmd"] == ["/bin/bash", "-o", "pipefail", "-c", "a | b"]


def test_env_hides_an_argument_of_the_same_name():
    state = applied("ENV X=env\nLABEL l=$X", arguments={"X": "arg", "Y": "y"})
    assert state.config["Labels"] == {"l": "env"}
    assert state.run_arguments() == {"Y": "y"}


def test_the_base_is_not_changed():
    base = {"Env": ["A=1"], "Labels": {"a": "b"}}
    applied("ENV A=2\nLABEL a=c", base)
    assert base == {"Env": ["A=1"], "Labels": {"a": "b"}}


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/x", "/x"), ("x", "/w/x"), (".", "/w"), ("../..", "/"), ("//x", "/x"), ("a/../b/", "/w/b")],
)
def test_relative_paths(path, expected):
    assert applied("", {"WorkingDir": "/w"}).working_dir(path) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("EXPOSE 0", "no port"),
        ("EXPOSE 65536", "no port"),
        ("EXPOSE 80/foo", "no port"),
        ("EXPOSE 9-8", "no port"),
        ("EXPOSE $UNSET x", "no port"),
        ("STOPSIGNAL FOO BAR", "one signal"),
        ("STOPSIGNAL -1", "no signal"),
        ("HEALTHCHECK --interval=soon CMD x", "no time"),
        ("HEALTHCHECK --interval= CMD x", "no time"),
        ("HEALTHCHECK --interval=1us CMD x", "at least 1ms"),
        ("HEALTHCHECK --retries=x CMD x", "no number"),
        ("USER $UNSET", "no user"),
        ("VOLUME $UNSET", "not empty"),
        ('ENV A="${B', "line 2"),
        ('LABEL a="${B:?say it}"', "say it"),
    ],
)
def test_mistakes(text, words):
    with pytest.raises(DockerfileError) as caught:
        applied(text)
    assert caught.value.line == 2
    assert words in str(caught.value)


def test_every_instruction_changes_the_key():
    keys = [applied(text).key for text in ("ENV A=1", "ENV A=2", "LABEL A=1", "USER A", "CMD a b", 'CMD ["a", "b"]')]
    assert len(set(keys)) == len(keys)
    assert applied("ENV A=1").key == applied("ENV   A='1'").key


@given(st.lists(st.sampled_from(["ENV A=1", "ENV B=2", "LABEL a=b", "USER x", "EXPOSE 1", "CMD x"]), max_size=6))
def test_history_and_layers_agree(texts):
    image = applied("\n".join(texts)).to_image("now")
    assert len(image.history) == len(texts)
    assert sum(not entry.get("empty_layer") for entry in image.history) == len(image.diff_ids) == 0


def test_changes_of_a_commit():
    config = apply_changes({"Env": ["A=1"], "WorkingDir": "/w"}, ["ENV B=$A", "WORKDIR sub", 'CMD ["x"]', "EXPOSE 80"])
    assert config == {
        "Env": ["A=1", "B=1"],
        "WorkingDir": "/w/sub",
        "Cmd": ["x"],
        "ExposedPorts": {"80/tcp": {}},
    }


@pytest.mark.parametrize("text", ["RUN x", "FROM y", "COPY a b", "ARG x", " "])
def test_what_is_no_change_of_a_commit(text):
    with pytest.raises(InvalidInput):
        apply_changes({}, [text])


def test_a_commit_names_the_change_that_is_wrong():
    with pytest.raises(DockerfileError) as caught:
        apply_changes({}, ["ENV A=1", "ENVV B=2"])
    assert caught.value.line == 2
