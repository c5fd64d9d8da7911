# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line's grammar, and the times and sizes that users write and read there."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrine.cli import GROUPS, VERBS, command_of, group_overview, table, ungrouped
from vitrine.cli.container_flags import CONTAINER_FLAGS, container_spec
from vitrine.cli.flags import Command, Usage, help_text, option, parse, switch
from vitrine.cli.messages import plain
from vitrine.cli.progress import size
from vitrine.cli.selection import pairs
from vitrine.cli.templates import fill
from vitrine.errors import InvalidInput, VitrineError

TOY = Command(
    "toy",
    "A toy",
    "toy",
    "THING...",
    0,
    -1,
    (
        switch("all", "a", help="all"),
        switch("tty", "t", help="tty"),
        option("env", "e", value="K=V", many=True, help="env"),
        option("name", "n", value="NAME", help="name"),
        option("size", value="S", choices=("big", "small"), help="size"),
    ),
)
FIRST = TOY.replace(options_first=True)


@pytest.mark.parametrize(
    ("words", "values", "operands"),
    [
        ([], {"all": False, "name": None, "env": []}, []),
        (["-a", "x"], {"all": True}, ["x"]),
        (["x", "-a"], {"all": True}, ["x"]),
        (["-at"], {"all": True, "tty": True}, []),
        (["-atn", "me"], {"all": True, "tty": True, "name": "me"}, []),
        (["-nme"], {"name": "me"}, []),
        (["-n=me"], {"name": "me"}, []),
        (["-n", "-a"], {"name": "-a", "all": False}, []),
        (["--name=me"], {"name": "me"}, []),
        (["--name="], {"name": ""}, []),
        (["--name", "me", "--name", "you"], {"name": "you"}, []),
        (["-e", "A=1", "-eB=2", "--env=C=3"], {"env": ["A=1", "B=2", "C=3"]}, []),
        (["--all=false"], {"all": False}, []),
        (["--all=true"], {"all": True}, []),
        (["-a=false"], {"all": False}, []),
        (["--", "-a", "--name"], {"all": False}, ["-a", "--name"]),
        (["-", "x"], {}, ["-", "x"]),
        (["--size", "big"], {"size": "big"}, []),
    ],
)
def test_words_and_what_they_mean(words: list[str], values: dict, operands: list[str]) -> None:
    options, rest = parse(TOY, words)
    assert rest == operands
    for key, value in values.items():
        assert getattr(options, key) == value


def test_flags_end_at_the_first_operand_where_a_command_follows() -> None:
    options, rest = parse(FIRST, ["-a", "image", "-t", "--", "--name"])
    assert (options.all, options.tty, rest) == (True, False, ["image", "-t", "--", "--name"])
    assert parse(FIRST, ["--", "image", "-t"])[1] == ["image", "-t"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--nosuch"], "--nosuch"),
        (["-x"], "-x"),
        (["-ax"], "-x"),
        (["--name"], "--name"),
        (["-n"], "-n"),
        (["--all=maybe"], "maybe"),
        (["--size", "medium"], "medium"),
        (["--=x"], "--"),
    ],
)
def test_what_is_no_flag_is_named(words: list[str], named: str) -> None:
    with pytest.raises(Usage) as caught:
        parse(TOY, words)
    assert named in caught.value.message and caught.value.hint and caught.value.exit_code == 125


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_words_are_understood_or_refused(words: list[str]) -> None:
    try:
        options, operands = parse(TOY, words)
    except Usage as error:
        assert error.message and error.hint
    else:
        assert len(operands) <= len(words) and isinstance(options.env, list)


@given(st.lists(st.tuples(st.sampled_from(["name", "env"]), st.text(max_size=9), st.booleans()), max_size=6))
def test_values_come_through_unchanged(given_flags: list[tuple[str, str, bool]]) -> None:
    words = []
    for name, value, joined in given_flags:
        words += [f"--{name}={value}"] if joined else [f"--{name}", value]
    options, operands = parse(TOY, [*words, "end"])
    assert operands == ["end"]
    assert options.env == [value for name, value, _ in given_flags if name == "env"]
    names = [value for name, value, _ in given_flags if name == "name"]
    assert options.name == (names[-1] if names else None)


def test_the_number_of_operands() -> None:
    one = TOY.replace(least=1, most=1)
    for words, count in (([], "0 were"), (["a", "b"], "2 were")):
        with pytest.raises(Usage) as caught:
            parse(one, words)
        assert count in caught.value.message and caught.value.exit_code == 1
    assert parse(one, ["--help"])[0].help  # help needs none


@pytest.mark.parametrize("verb", VERBS)
def test_each_verbs_table_is_sound(verb: str) -> None:
    command, module = command_of(verb)
    assert command.name == verb and callable(getattr(module, command.handler))
    names = [name for flag in command.flags for name in flag.names]
    assert len(names) == len(set(names))
    assert all(len(flag.names[0]) > 1 and flag.help[0].isupper() for flag in command.flags)
    text = help_text(command)
    assert all(f"--{flag.names[0]}" in text for flag in command.flags)
    assert text.count("-h, --") == 1 and "--help " in text  # where -h is another flag's, help is not called so


@pytest.mark.parametrize("group", GROUPS)
def test_each_groups_verbs_are_listed(group: str) -> None:
    listed = [line.split()[0] for line in group_overview(group).splitlines()[3:]]
    assert listed == sorted(listed)
    assert set(GROUPS[group]) <= set(listed)
    assert all(ungrouped([group, word])[0] in VERBS for word in listed)


RUN = Command("run", "", "run", "", 1, -1, CONTAINER_FLAGS, options_first=True)


@given(
    st.sampled_from([flag for flag in CONTAINER_FLAGS if flag.value]),
    st.one_of(st.text(max_size=20), st.from_regex(r"[a-z0-9/:=.,-]{0,20}", fullmatch=True)),
)
def test_no_value_of_a_flag_is_more_than_refused(flag, value: str) -> None:
    try:
        spec = container_spec(parse(RUN, [f"--{flag.names[0]}={value}", "image"])[0], "image", [])
    except VitrineError as error:
        assert error.message and isinstance(error, InvalidInput)
    else:
        assert type(spec).from_json(spec.to_json()) == spec


def test_the_spec_of_flags() -> None:
    words = "-m 64m --cpus 0.5 -p 80:8080 -v /a:/b:ro -e A=1 --restart on-failure:3 -l k=v -it image cmd -x".split()
    options, operands = parse(RUN, words)
    spec = container_spec(options, operands[0], operands[1:])
    assert (spec.memory, spec.nano_cpus, spec.command) == (64 << 20, 500_000_000, ("cmd", "-x"))
    assert (spec.restart_policy, spec.restart_retries, spec.tty, spec.interactive) == ("on-failure", 3, True, True)
    assert spec.published_ports[0].host_port == 80 and spec.mounts[0].read_only and spec.labels == {"k": "v"}


@pytest.mark.parametrize(
    ("words", "check", "action"),
    [
        ([], None, ""),
        (["--health-cmd", "curl -f x"], {"Test": ["CMD-SHELL", "curl -f x"]}, ""),
        (["--health-interval=1m30s", "--health-retries", "0"], {"Interval": 90 * 10**9, "Retries": 0}, ""),
        (
            ["--health-timeout", "5", "--health-start-period=1h", "--health-start-interval=500ms"],
            {"Timeout": 5 * 10**9, "StartPeriod": 3600 * 10**9, "StartInterval": 5 * 10**8},
            "",
        ),
        (["--no-healthcheck"], {"Test": ["NONE"]}, ""),
        (["--health-on-failure", "restart"], None, "restart"),
    ],
)
def test_the_health_check_of_flags(words: list[str], check: object, action: str) -> None:
    spec = container_spec(parse(RUN, [*words, "image"])[0], "image", [])
    assert (spec.healthcheck, spec.health_on_failure) == (check, action)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--no-healthcheck", "--health-cmd", "x"], "--no-healthcheck conflicts with --health-* options"),
        (["--no-healthcheck", "--health-retries", "1"], "--no-healthcheck conflicts with --health-* options"),
        (["--health-interval", "1us"], "Interval of the health check is '1us'"),
        (["--health-interval", "-1s"], "'-1s'"),
        (["--health-timeout", "9" * 400], "invalid duration"),
        (["--health-retries", "many"], "--health-retries is 'many'"),
        (["--health-retries=-1"], "-1"),
    ],
)
def test_no_health_check_of_flags(words: list[str], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        container_spec(parse(RUN, [*words, "image"])[0], "image", [])
    assert message in caught.value.message


# -- times, sizes, templates -----------------------------------------------------------------------------------------


def test_moments() -> None:
    base = 1_769_853_600 * 10**9  # 2026-01-31T10:00:00Z
    for text in ("2026-01-31T10:00:00Z", "2026-01-31T12:00:00+02:00", "2026-01-31T09:30:00-00:30", "1769853600"):
        assert table.moment(text) == base, text
    assert table.moment("2026-01-31T10:00:00.000000007Z") == base + 7
    assert table.moment("1769853600.5") == base + 5 * 10**8
    local = time.mktime(time.strptime("2026-01-31", "%Y-%m-%d"))
    assert table.moment("2026-01-31") == int(local) * 10**9
    assert abs(time.time_ns() - 600 * 10**9 - table.moment("10m")) < 10**10
    for text in ("yesterday", "2026-13-01", "2026-01-31T25:00:00Z", "-5", "", "nan", "inf", "1e9", "10 parsecs"):
        with pytest.raises(InvalidInput) as caught:
            table.moment(text)
        assert repr(text) in caught.value.message


@given(st.text(max_size=30))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    try:
        assert isinstance(table.moment(text), int)
    except InvalidInput:
        pass


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"), (119, "About a minute"),
        (120, "2 minutes"), (3600, "About an hour"), (7200, "2 hours"), (86400, "24 hours"), (172800, "2 days"),
        (14 * 86400, "2 weeks"), (60 * 86400, "2 months"), (800 * 86400, "2 years"),
    ],
)  # fmt: skip
def test_spans_as_docker_writes_them(seconds: int, text: str) -> None:
    assert table.span(seconds) == text


def test_sizes_as_docker_writes_them() -> None:
    shown = [size(count) for count in (0, 999, 1000, 1_982_000, 12_345_678, 5 * 10**9, 3 * 10**12)]
    assert shown == ["0B", "999B", "1kB", "1.982MB", "12.35MB", "5GB", "3TB"]


def test_templates() -> None:
    document = {"State": {"Running": True, "Pid": 0, "Error": None}, "Name": "/x", "List": [1], "Nothing": {}}
    document["Networks"] = {"a": {"IPAddress": "10.0.0.2", "Aliases": ["x", "y"]}, "b": {"IPAddress": "10.0.0.3"}}
    document["Networks"]["b"]["Aliases"] = None
    for form, text in (
        ("{{.Name}}", "/x"),
        ("{{ .State.Running }}-{{.State.Pid}}", "true-0"),
        ("{{json .State.Pid}}", "0"),
        ("{{.List}}", "[1]"),
        ("{{.State.Error}}", "<no value>"),
        ("plain", "plain"),
        ("{{range .List}}<{{.}}>{{end}}", "<1>"),
        ("{{range .Networks}}{{.IPAddress}} {{end}}", "10.0.0.2 10.0.0.3 "),
        ("{{range.Networks}}{{range .Aliases}}{{.}},{{else}}none,{{end}}{{end}}", "x,y,none,"),
        ("{{range .Nothing}}{{.x}}{{else}}-{{end}}{{.Name}}", "-/x"),
        ("{{if .Health}}{{.Health.Status}}{{else}}no {{if .State.Running}}but runs{{end}}{{end}}", "no but runs"),
        ("{{if .State.Pid}}{{.Nosuch}}{{end}}", ""),
    ):
        assert fill(document, form) == text
    for form in (
        "{{.Nosuch}}", "{{}}", "{{Name}}", "{{.Name.More}}", "{{range .Nosuch}}{{end}}", "{{range .List}}{{.}}",
        "{{end}}", "{{else}}", "{{if .Name}}", "{{if .Name}}{{else}}", "{{range .List}}{{.More}}{{end}}", "{{.Name",
        "{{range .Name}}{{end}}",
    ):  # fmt: skip
        with pytest.raises(InvalidInput):
            fill(document, form)
    with pytest.raises(InvalidInput) as caught:
        fill(document, "{{.State.Nosuch}}")
    assert caught.value.hint == "there are Running, Pid, Error"


@given(st.lists(st.sampled_from(["{{range .L}}", "{{if .D}}", "{{else}}", "{{end}}", "{{.}}", "{{.D}}", "x", "{{"])))
def test_any_format_is_filled_or_refused(pieces: list[str]) -> None:
    try:
        assert isinstance(fill({"L": [{"L": [], "D": 1}, {"D": ""}], "D": {}}, "".join(pieces)), str)
    except InvalidInput as error:
        assert error.message


def testpairs() -> None:
    assert pairs(["name=a=b", "status=exited"]) == [("name", "a=b"), ("status", "exited")]
    for word in ("name", "=x", "colour=red", "status=blue", ""):
        with pytest.raises(InvalidInput):
            pairs([word])


@given(st.text())
def test_a_message_is_one_line_without_control_characters(text: str) -> None:
    assert plain(text).isprintable()
