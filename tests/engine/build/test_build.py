# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole builds with real containers: what RUN sees, what the cache knows, what failures say and leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vitrine.engine.core import Engine
from vitrine.errors import BuildFailed, DiskFull, DockerfileError, ImageNotFound, InvalidInput, RegistryError

OFFLINE = {"network_mode": "none"}
MODULE_UTILS = Path(__file__).resolve().parents[3] / "plugins" / "module_utils"


# -- RUN -------------------------------------------------------------------------------------------------------------


def test_run_sees_what_came_before(builder, nothing_left):
    image = builder.build(
        "FROM busybox\nARG WHO=you\nARG UNSET\nENV GREETING='hello  there' WHO2=$WHO\nWORKDIR /w\nUSER user\n"
        'RUN echo "$GREETING|$WHO|$WHO2|${UNSET-unset}|$(pwd)|$(id -u):$(id -g)|$0"\n'
        'RUN ["/bin/echo", "$GREETING", "as it is"]\n'
        'SHELL ["/bin/busybox", "ash", "-x", "-c"]\nRUN true\n',
        args={"WHO": "me"},
        **OFFLINE,
    )
    assert "hello  there|me|me|unset|/w|1000:1000|/bin/sh\n" in builder.said
    assert "$GREETING as it is\n" in builder.said
    assert "+ true" in builder.said
    history = [entry["created_by"] for entry in builder.config(image).history]
    assert history[-1] == "|1 WHO=me /bin/busybox ash -x -c true"


def test_run_makes_one_layer_of_what_it_changes(builder, nothing_left):
    image = builder.build(
        "FROM busybox\nRUN mkdir -m 700 /new && echo 1 > /new/f && rm /etc/group && chmod 600 /etc/passwd\n"
        "RUN true\nVOLUME /data\nRUN mkdir /data; echo x > /data/x",
        **OFFLINE,
    )
    config = builder.config(image)
    assert len(config.diff_ids) == 3
    assert [bool(entry.get("empty_layer")) for entry in config.history] == [False, False, True, True, False]
    files = builder.files(image)
    assert files["new"][0] == "0o700" and files["new/f"][3] == "1\n"
    assert "etc/group" not in files
    assert files["etc/passwd"][0] == "0o600"
    assert files["data/x"][3] == "x\n"
    assert "etc/resolv.conf" not in files or files["etc/resolv.conf"][3] == ""


def test_a_failing_run_says_all_and_keeps_what_was_good(builder, nothing_left):
    text = "FROM busybox\nRUN echo first > /one\n\nRUN echo to stdout; \\\n  echo to stderr >&2; exit 3\nRUN never\n"
    with pytest.raises(BuildFailed) as caught:
        builder.build(text, **OFFLINE)
    error = caught.value
    assert (error.line, error.exit_status) == (4, 3)
    assert "line 4" in str(error) and "exit status 3" in str(error)
    assert sorted(error.output.splitlines()) == ["to stderr", "to stdout"]
    assert "to stderr\n" in builder.said and "never" not in builder.said
    builder.build(text.replace("exit 3", "exit 0").replace("RUN never", ""), **OFFLINE)
    assert builder.said.count("Using cache") == 1


@pytest.mark.parametrize(
    ("instruction", "status"),
    [('RUN ["/no/such/program"]', 127), ('RUN ["/etc/passwd"]', 126), ("RUN no-such-program", 127)],
)
def test_commands_that_cannot_run(builder, nothing_left, instruction, status):
    with pytest.raises(BuildFailed) as caught:
        builder.build(f"FROM busybox\n{instruction}", **OFFLINE)
    assert (caught.value.line, caught.value.exit_status) == (2, status)


@pytest.mark.parametrize("instruction", ["USER nobody-here\nRUN true", "WORKDIR /etc/passwd"])
def test_users_and_directories_that_are_not_there(builder, nothing_left, instruction):
    with pytest.raises(BuildFailed) as caught:
        builder.build(f"FROM busybox\n{instruction}", **OFFLINE)
    assert caught.value.line == instruction.count("\n") + 2


@pytest.mark.parametrize("number", range(3, 12))
def test_a_working_directory_in_a_leaked_descriptor_stays_inside(builder, number):
    """CVE-2024-21626: nothing of the host is open in the container."""
    host = os.open("/", os.O_RDONLY)
    os.set_inheritable(host, True)
    try:
        builder.build(f"FROM busybox\nWORKDIR /proc/self/fd/{number}\nRUN pwd; ls ../../..", **OFFLINE)
    except BuildFailed:
        return
    finally:
        os.close(host)
    assert "unreachable" not in builder.said
    assert "home" not in builder.said.split()


def test_arguments(builder):
    text = "ARG BASE=none\nARG V=global\nFROM $BASE\nARG V\nARG W=${V}-w\nLABEL l=$V-$W-$TARGETARCH\nARG TARGETARCH"
    image = builder.build(text + "\nLABEL a=$TARGETARCH", args={"BASE": "busybox", "V": "given", "TYPO": "x"})
    labels = builder.config(image).config["Labels"]
    assert labels["l"] == "given-given-w-"
    assert labels["a"] == builder.config(image).architecture
    assert "[TYPO] were not consumed" in builder.said
    image = builder.build(text, args={"BASE": "busybox"})
    assert builder.config(image).config["Labels"]["l"] == "global-global-w-"


def test_proxies_are_seen_but_not_kept(builder):
    text = "FROM busybox\nRUN echo proxy=$http_proxy"
    image = builder.build(text, args={"http_proxy": "http://user:secret@proxy"}, **OFFLINE)
    assert "proxy=http://user:secret@proxy" in builder.said
    assert "secret" not in str(builder.config(image))
    assert builder.build(text, args={"http_proxy": "other"}, **OFFLINE) == image


# -- the image -------------------------------------------------------------------------------------------------------


def test_the_story(builder, nothing_left):
    image = builder.build(
        "# Memcached\nFROM busybox\nMAINTAINER Victor Coisne victor.coisne@dotcloud.com\n"
        'RUN echo "deb http://archive.ubuntu.com/ubuntu precise main universe" > /etc/sources.list\n'
        'ENTRYPOINT ["memcached"]\nUSER daemon\nEXPOSE 11211\n',
        tags=("user/memcached", "localhost:5000/m:1"),
        **OFFLINE,
    )
    config = builder.config(image)
    assert config.author == "Victor Coisne victor.coisne@dotcloud.com"
    assert config.config["Entrypoint"] == ["memcached"]
    assert "Cmd" not in config.config
    assert config.config["User"] == "daemon"
    assert config.config["ExposedPorts"] == {"11211/tcp": {}}
    assert [entry["created_by"] for entry in config.history[1:]] == [
        "/bin/sh -c #(nop)  MAINTAINER Victor Coisne victor.coisne@dotcloud.com",
        '/bin/sh -c echo "deb http://archive.ubuntu.com/ubuntu precise main universe" > /etc/sources.list',
        '/bin/sh -c #(nop)  ENTRYPOINT ["memcached"]',
        "/bin/sh -c #(nop)  USER daemon",
        "/bin/sh -c #(nop)  EXPOSE 11211/tcp",
    ]
    assert builder.engine.images.find("user/memcached").id == image
    assert builder.engine.images.find("localhost:5000/m:1").id == image
    assert f"Successfully built {image[7:19]}" in builder.said
    assert "Step 7/7" not in builder.said and "Step 6/6 : EXPOSE 11211" in builder.said


def test_from_alone_is_the_base_itself(builder):
    base = builder.engine.images.find("busybox").id
    assert builder.build("FROM busybox") == base
    assert builder.build(f"FROM {base}\nFROM busybox AS x\nFROM x") == base


def test_labels_given_beside_the_dockerfile(builder):
    image = builder.build("FROM busybox\nLABEL a=1 b=2", labels={"a": "$X", "c d": "'"})
    assert builder.config(image).config["Labels"] == {"a": "$X", "b": "2", "c d": "'"}
    assert builder.build("FROM busybox\nLABEL a=1 b=2", labels={"a": "$X", "c d": "'"}) == image
    assert builder.build("FROM busybox\nLABEL a=1 b=2", labels={"a": "$X"}) != image


def test_triggers_run_in_the_next_build(builder):
    builder.write("f", "F")
    base = builder.build("FROM busybox\nONBUILD COPY f /f\nONBUILD ENV FROM=trigger", tags=("base",))
    assert builder.config(base).config["OnBuild"] == ["COPY f /f", "ENV FROM=trigger"]
    image = builder.build("FROM base\nLABEL x=$FROM")
    config = builder.config(image)
    assert config.config["Labels"] == {"x": "trigger"}
    assert "OnBuild" not in config.config
    assert builder.files(image)["f"][3] == "F"


# -- the cache -------------------------------------------------------------------------------------------------------


def test_the_same_build_gives_the_same_image_and_runs_nothing(builder):
    builder.write("f", "F")
    text = (
        "FROM busybox AS a\nRUN date +%N > /stamp\n"
        "FROM busybox\nCOPY f /f\nRUN date +%N > /s\nCOPY --from=a /stamp /\nCMD x"
    )
    assert builder.cached(text) is None
    image = builder.build(text, **OFFLINE)
    assert builder.cached(text) == image
    os.utime(builder.context / "f", (1, 1))
    assert builder.build(text, **OFFLINE) == image
    assert builder.said.count("Using cache") == 4
    again = builder.build(text, nocache=True, **OFFLINE)
    assert again != image and "Using cache" not in builder.said
    assert builder.build(text, **OFFLINE) == again


@pytest.mark.parametrize(
    ("change", "known"),
    [
        (("ENV A=1", "ENV A=2"), 0),
        (("RUN echo run", "RUN echo changed"), 1),
        (("LABEL l=1", "LABEL l=2"), 2),
        (("# comment", "# another"), 3),
        (("CMD last", "CMD other"), 3),
    ],
)
def test_what_is_done_anew(builder, change, known):
    builder.write("f", "F")
    text = "FROM busybox\n# comment\nENV B=0\nCOPY f /f\nENV C=0\nRUN echo run\nLABEL l=1\nRUN echo $A\nCMD last\n"
    text = text.replace("ENV B=0", "ENV A=1")
    first = builder.build(text, **OFFLINE)
    second = builder.build(text.replace(*change), **OFFLINE)
    assert builder.said.count("Using cache") == known
    assert (first == second) == (change[0] == "# comment")


def test_what_is_copied_counts(builder):
    builder.write("f", "F")
    text = "FROM busybox\nCOPY f /f\nRUN echo run"
    first = builder.build(text, **OFFLINE)
    for change in (
        lambda: builder.write("f", "G"),
        lambda: (builder.context / "f").chmod(0o755),
        lambda: ((builder.context / "f").unlink(), (builder.context / "f").symlink_to("Dockerfile")),
    ):
        change()
        assert builder.build(text, **OFFLINE) != first
        assert "Using cache" not in builder.said
    (builder.context / "f").unlink()
    builder.write("f", "F")
    assert builder.build(text, **OFFLINE) == first


def test_arguments_count_where_they_are_used(builder):
    text = "FROM busybox\nRUN echo before\nARG A=1\nCOPY Dockerfile /d\nRUN echo after"
    builder.build(text, **OFFLINE)
    builder.build(text, args={"A": "2"}, **OFFLINE)
    assert builder.said.count("Using cache") == 2
    builder.build(text, args={"A": "1"}, **OFFLINE)
    assert builder.said.count("Using cache") == 3


def test_a_step_done_anew_is_not_followed_by_old_ones(builder):
    text = "FROM busybox\nRUN echo one > /one\nRUN cat /one > /two"
    builder.build(text, **OFFLINE)
    first = builder.engine.images.find("busybox").id
    for image in builder.engine.store.images.list():
        if image.parent == first:  # the first step's
            builder.engine.store.images.remove(image.id, force=True, collect=False)
    builder.build(text, **OFFLINE)
    assert "Using cache" not in builder.said


def test_another_base_is_another_build(builder):
    text = "FROM base\nRUN echo run"
    builder.build("FROM busybox\nLABEL v=1", tags=("base",))
    first = builder.build(text, **OFFLINE)
    builder.build("FROM busybox\nLABEL v=2", tags=("base",))
    assert builder.cached(text) is None
    assert builder.build(text, **OFFLINE) != first


def test_predictions_do_nothing(builder):
    builder.write("f", "F")
    images = {image.id for image in builder.engine.store.images.list()}
    for text in ("FROM busybox\nCMD x", "FROM busybox\nCOPY f /", "FROM busybox\nRUN x", "FROM not/here\nCMD x"):
        assert builder.cached(text) is None
    assert {image.id for image in builder.engine.store.images.list()} == images
    assert builder.cached("FROM busybox") == builder.engine.images.find("busybox").id


# -- mistakes --------------------------------------------------------------------------------------------------------


def test_mistakes_are_found_before_anything_runs(builder):
    with pytest.raises(DockerfileError) as caught:
        builder.build("FROM busybox\nRUN echo run\n\nRUNN x")
    assert caught.value.line == 4
    assert "did you mean RUN?" in str(caught.value)
    assert builder.said == ""


@pytest.mark.parametrize(
    ("dockerfile", "error"),
    [
        ("FROM sha256:" + "0" * 64, (ImageNotFound, InvalidInput)),
        ("FROM 127.0.0.1:1/none", RegistryError),
        ("FROM a/UPPER", DockerfileError),
        ("FROM $UNSET", DockerfileError),
        ("FROM ${UNSET", DockerfileError),
    ],
)
def test_bases_that_are_not_there(builder, dockerfile, error):
    with pytest.raises(error):
        builder.build(dockerfile)


def test_contexts_and_dockerfiles_that_are_not_there(builder, tmp_path):
    with pytest.raises(InvalidInput, match="cannot be opened"):
        builder.engine.builds.build(str(tmp_path / "none"))
    with pytest.raises(InvalidInput, match="cannot be read"):
        builder.engine.builds.build(str(builder.context))
    builder.write("other/D", "FROM busybox")
    assert builder.engine.builds.build(str(builder.context), dockerfile="other/D")
    assert builder.engine.builds.build(str(builder.context), dockerfile=str(builder.context / "other" / "D"))
    with pytest.raises(InvalidInput):
        builder.build("FROM busybox", tags=("Not A Tag",))
    (builder.context / "Dockerfile").unlink()
    (builder.context / "Dockerfile").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInput, match="outside of the build's context"):
        builder.engine.builds.build(str(builder.context))
    (builder.context / "Dockerfile").unlink()
    os.mkfifo(builder.context / "Dockerfile")
    with pytest.raises(InvalidInput, match="no file"):
        builder.engine.builds.build(str(builder.context))


@pytest.mark.parametrize(
    "trigger", ["", "FROM evil", "ONBUILD RUN x", "RUNN x", "COPY --from=never a /b", "COPY ../x /"]
)
def test_hostile_triggers(builder, trigger):
    engine = builder.engine
    base = builder.config(engine.images.find("busybox").id)
    config = base.replace(config={**base.config, "OnBuild": [trigger]})
    engine.store.images.tag("docker.io/library/evil:latest", engine.store.images.add(config.to_json(), config.diff_ids))
    with pytest.raises((DockerfileError, BuildFailed)) as caught:
        builder.build("FROM scratch AS never\n\nFROM evil\nLABEL a=b")
    assert caught.value.line == 3


def test_arguments_of_a_stage_are_inherited_by_those_that_build_on_it(builder):
    image = builder.build("FROM busybox AS a\nARG V=1\nFROM a\nLABEL v=$V", args={"V": "2"})
    assert builder.config(image).config["Labels"] == {"v": "2"}


# -- interruptions ---------------------------------------------------------------------------------------------------

CLIENT = """
import sys
sys.path.insert(0, {modules!r})
from vitrine.engine.core import Engine
from vitrine.settings import Settings
engine = Engine(Settings.load({root!r}, {run_root!r}))
engine.builds.build({context!r}, output=lambda data: (sys.stdout.buffer.write(data), sys.stdout.buffer.flush()),
                    network_mode="none")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_and_can_be_repeated(builder, settings, nothing_left, number):
    text = "FROM busybox\nRUN echo one\nRUN echo started; sleep ${TIME:-600}\nRUN echo three\n"
    builder.write("Dockerfile", text)
    program = CLIENT.format(
        modules=str(MODULE_UTILS), root=settings.root, run_root=settings.run_root, context=str(builder.context)
    )
    client = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for line in client.stdout:
        if line == b"started\n":
            break
    client.send_signal(number)
    client.wait(20)
    client.stdout.close()
    builder.engine = Engine(settings)  # the next command that passes
    builder.build(text.replace("${TIME:-600}", "0"), **OFFLINE)
    assert builder.said.count("Using cache") == 1


# -- other drivers ---------------------------------------------------------------------------------------------------


def test_without_any_union_file_system(tmp_path, nothing_left):
    from support.base_image import busybox_image
    from vitrine.settings import Settings

    config = tmp_path / "copy.json"
    config.write_text('{"storage_driver": "copy"}')
    engine = Engine(Settings.load(str(tmp_path / "copied"), str(tmp_path / "run-copied"), str(config)))
    busybox_image(engine.store)
    assert engine.store.layers.driver_name == "copy"
    context = tmp_path / "context"
    context.mkdir()
    (context / "f").write_text("F")
    (context / "Dockerfile").write_text(
        "FROM busybox AS a\nCOPY f /d/f\nRUN rm /etc/group && echo x >> /d/f\n"
        "FROM scratch\nCOPY --from=a /d/f /etc/[p-z]* /all/\n"
    )
    image = engine.builds.build(str(context), **OFFLINE)
    assert engine.builds.build(str(context), **OFFLINE) == image
    paths = engine.store.layers.paths(engine.store.images.get(image).top)
    (all_files,) = [Path(path, "all") for path in paths]
    assert sorted(path.name for path in all_files.iterdir()) == ["f", "passwd", "resolv.conf"]
    assert (all_files / "f").read_text() == "Fx\n"
    engine.store.close()


# -- a full disk -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("instruction", ["COPY big /big", "RUN cat /dev/zero > /big"])
def test_a_full_disk_is_told_and_undone(tmp_path, instruction):
    from support.base_image import busybox_image
    from vitrine.settings import Settings

    root = tmp_path / "small"
    root.mkdir()
    context = tmp_path / "context"
    context.mkdir()
    (context / "big").write_bytes(os.urandom(1 << 20) * 24)
    (context / "Dockerfile").write_text(f"FROM busybox\nRUN echo good\n{instruction}\n")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "vitrine-test", root], check=True)
    try:
        engine = Engine(Settings.load(str(root / "engine"), str(tmp_path / "run-small")))
        busybox_image(engine.store)
        with pytest.raises((DiskFull, BuildFailed), match="[Nn]o space|exit status"):
            engine.builds.build(str(context), **OFFLINE)
        assert not list((root / "engine" / "layers").glob(".*"))
        assert not list((root / "engine" / "containers").glob("*"))
        (context / "Dockerfile").write_text("FROM busybox\nRUN echo good\nRUN echo small > /small\n")
        output = bytearray()
        engine.builds.build(str(context), output=output.extend, **OFFLINE)
        assert output.count(b"Using cache") == 1
        engine.store.close()
    finally:
        subprocess.run(["umount", "-l", root], check=True)
