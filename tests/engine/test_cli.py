# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every verb as a user types it: what it does, what it prints and where, and the exit code."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from support.host import VITRINE, Host
from vitrine.cli import VERBS

# -- lists and looks -------------------------------------------------------------------------------------------------


def test_ps(host: Host, sleeper: str) -> None:
    port = "127.0.0.1:0:80/udp"
    host(
        "create",
        "--name",
        "made",
        "-l",
        "tier=web",
        "-l",
        "x=y",
        "-p",
        "8080",
        "busybox",
        "echo",
        "a very long command line",
    )
    lines = host("ps", "-a").splitlines()
    assert re.split(r"\s{2,}", lines[0]) == ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert re.match(r'[0-9a-f]{12}   busybox   "echo a very long co…"   \S.* ago +Created +made$', lines[1]), lines
    assert re.search(r'"sh -c .*Up .*sleeper$', lines[2])
    assert len(host("ps").splitlines()) == 2
    assert len(host("ps", "-q").strip()) == 12 and len(host("ps", "-q", "--no-trunc").strip()) == 64
    names = lambda *flags: [json.loads(line)["Names"] for line in host("ps", *flags, "--format", "json").splitlines()]  # noqa: E731
    assert names() == ["sleeper"] and names("-a") == ["made", "sleeper"]
    assert names("-l") == ["made"] and names("-n", "1") == ["made"]
    for text, expected in (
        ("name=mad", ["made"]), ("label=tier", ["made"]), ("label=tier=web", ["made"]), ("label=tier=db", []),
        ("status=created", ["made"]), ("status=running", ["sleeper"]), ("ancestor=busybox", ["made", "sleeper"]),
    ):  # fmt: skip
        assert names("-a", "-f", text) == expected, text
    assert names("-a", "-f", "label=tier=web", "-f", "label=x=z") == []
    assert names("-a", "-f", "name=made", "-f", "name=sleeper") == ["made", "sleeper"]
    host("rm", "made")
    host("run", "-d", "--name", "made", "-p", port, "busybox", "sleep", "60")
    assert re.search(r"127\.0\.0\.1:\d+->80/udp", host("ps"))
    assert re.fullmatch(r"80/udp -> 127\.0\.0\.1:\d+\n", host("port", "made"))
    assert re.fullmatch(r"127\.0\.0\.1:\d+\n", host("port", "made", "80/udp"))
    assert host.try_("port", "made", "81").code == 1
    host("rm", "-f", "made")


def test_logs(host: Host) -> None:
    host("run", "--name", "speaker", "busybox", "sh", "-c", "echo one; echo two >&2; sleep 0.3; echo three")
    result = host.try_("logs", "speaker")
    assert (result.out, result.err) == ("one\nthree\n", "two\n")
    assert host("logs", "-n", "1", "speaker") == "three\n"
    assert host("logs", "--tail", "0", "speaker") == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z three\n", host("logs", "-t", "-n", "1", "speaker"))
    stamp = host("logs", "-t", "-n", "1", "speaker").split()[0]
    assert host("logs", "--since", stamp, "speaker") == "three\n"
    assert host("logs", "--until", stamp, "speaker").startswith("one\n")
    moved = time.strftime("%Y-%m-%dT%H:%M:%S+02:00", time.gmtime(time.time() + 7200 - 5))
    assert host("logs", "--since", moved, "speaker") == "one\nthree\n"
    assert host("logs", "--until", moved, "speaker") == ""
    assert host("logs", "--since", "1h", "speaker") == "one\nthree\n"
    host("rm", "speaker")
    host("run", "-d", "--name", "speaker", "busybox", "sh", "-c", "echo a; sleep 0.5; echo b")
    assert host("logs", "-f", "speaker") == "a\nb\n"
    host("rm", "speaker")


def test_log_rotation(host: Host) -> None:
    options = ["--log-opt", "max-size=10k", "--log-opt", "max-file=2"]
    host("run", "--name", "loud", *options, "busybox", "seq", "1", "3000")
    kept = host("logs", "loud").split()
    assert kept[-1] == "3000" and 50 < len(kept) < 1000
    assert kept == [str(number) for number in range(int(kept[0]), 3001)]
    host("rm", "loud")


def test_inspect(host: Host, sleeper: str) -> None:
    documents = json.loads(host("inspect", sleeper, "busybox"))
    assert [document.get("Name") or document["RepoTags"][0] for document in documents] == ["/sleeper", "busybox:latest"]
    assert host("inspect", "-f", "{{.State.Status}}", sleeper) == "running\n"
    assert host("inspect", "-f", "{{ .State.Running }} {{.Name}}!", sleeper) == "true /sleeper!\n"
    assert json.loads(host("inspect", "-f", "{{json .Config.Cmd}}", sleeper))[0] == "sh"
    assert host("inspect", "--format", "{{.Id}}", "busybox").startswith("sha256:")
    result = host.try_("inspect", "busybox", "nosuch")
    assert result.code == 1 and json.loads(result.out)[0]["RepoTags"] == ["busybox:latest"] and "nosuch" in result.err


def test_stats_info_version(host: Host, sleeper: str) -> None:
    lines = host("stats", "--no-stream").splitlines()
    columns = ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]
    assert re.split(r"\s{2,}", lines[0]) == columns
    assert "sleeper" in lines[1] and "iB / " in lines[1] and "%" in lines[1]
    row = json.loads(host("stats", "--no-stream", "--format", "json", sleeper))
    assert row["Name"] == "sleeper" and row["PIDs"] == "1"
    facts = json.loads(host("info", "--format", "json"))
    assert facts["Containers"] == facts["ContainersRunning"] == 1 and facts["OSType"] == "linux"
    assert "Containers: 1\n" in host("info")
    assert set(json.loads(host("version", "-f", "json"))) >= {"Version", "Python"}
    assert host("version") == host("--version")


def test_check(host: Host) -> None:
    shown = host.try_("check").out
    assert "the store is whole" in shown and "namespace" in shown
    report = json.loads(host.try_("check", "--format", "json", "--prepare").out)
    assert report["store"] == [] and isinstance(report["prepared"], list) and report["host"]


def test_diff_and_commit(host: Host) -> None:
    host(
        "run", "--name", "changer", "busybox", "sh", "-c", "echo x > /root/new; rm /etc/group; chmod 700 /var; mkdir /d"
    )
    changes = set(host("diff", "changer").splitlines())
    assert {"A /root/new", "D /etc/group", "C /var", "A /d", "C /etc", "C /root"} <= changes, changes
    flags = ["-c", 'CMD ["cat", "/root/new"]', "-c", "ENV A=b", "-c", "EXPOSE 80", "-m", "a note", "-a", "me"]
    image_id = host("commit", *flags, "changer", "changed:v1").strip()
    assert image_id.startswith("sha256:")
    assert host("run", "--rm", "changed:v1") == "x\n"
    document = json.loads(host("inspect", "changed:v1"))[0]
    assert document["Config"]["Env"][-1] == "A=b" and document["Author"] == "me" and document["Comment"] == "a note"
    history = host("history", "changed:v1").splitlines()
    assert re.split(r"\s{2,}", history[0]) == ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]
    assert "a note" in history[1] and "<missing>" in history[2]
    assert host.try_("commit", "-c", "FETCH x", "changer").code == 1
    host("rm", "changer")
    host("rmi", "changed:v1")


# -- life ------------------------------------------------------------------------------------------------------------


def test_start_stop_kill_wait_rename_pause(host: Host, sleeper: str) -> None:
    assert host("kill", "-s", "SIGTERM", sleeper) == "sleeper\n"
    assert host("pause", sleeper) == "sleeper\n" and "(Paused)" in host("ps")
    assert host("unpause", sleeper) == "sleeper\n" and "(Paused)" not in host("ps")
    waiting = host.spawn("wait", sleeper, stdout=subprocess.PIPE, text=True)
    host("kill", sleeper)
    assert waiting.communicate(timeout=20)[0] == "137\n"
    assert "Exited (137)" in host("ps", "-a")
    host("rename", sleeper, "other")
    assert host("start", "other") == "other\n"
    assert host("start", "other") == "other\n"  # it runs already: no error, as docker's
    assert host("restart", "-t", "0", "other") == "other\n"
    assert host("logs", "other") == "started\n" * 3
    result = host.try_("stop", "-t", "0", "nosuch", "other")
    assert result.code == 1 and result.out == "other\n" and "nosuch" in result.err
    assert host("rm", "other") == "other\n"
    assert host.try_("rm", "-f", "other").code == 0


def test_create_then_start_attached(host: Host) -> None:
    name = host("create", "busybox", "sh", "-c", "echo out; exit 3").strip()
    result = host.try_("start", "-a", name)
    assert (result.code, result.out) == (3, "out\n")
    host("rm", name)


# -- cp --------------------------------------------------------------------------------------------------------------


def test_copies_both_ways(host: Host, sleeper: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("content\n")
    host("cp", tmp_path / "folder" / "file", f"{sleeper}:/root/other")
    host("cp", tmp_path / "folder", f"{sleeper}:/root")
    host("cp", f"{tmp_path}/folder/.", f"{sleeper}:/var")
    assert host("exec", sleeper, "cat", "/root/other", "/root/folder/file", "/var/file") == "content\n" * 3
    host("cp", f"{sleeper}:/root/folder", tmp_path / "back")
    assert (tmp_path / "back" / "file").read_text() == "content\n"
    stream = subprocess.run([*host.base, "cp", f"{sleeper}:/root/folder", "-"], capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        content = archive.extractfile("folder/file")
        assert content is not None and content.read() == b"content\n"
    done = subprocess.run([*host.base, "cp", "-", f"{sleeper}:/tmp"], input=stream, capture_output=True)
    assert done.returncode == 0, done
    host("stop", "-t", "0", sleeper)
    host("cp", f"{sleeper}:/tmp/folder/file", tmp_path / "from-stopped")
    assert (tmp_path / "from-stopped").read_text() == "content\n"
    assert host.try_("cp", f"{sleeper}:/nosuch", tmp_path).code == 1
    assert host.try_("cp", tmp_path / "nosuch", f"{sleeper}:/").code == 1
    assert host.try_("cp", "-", f"{sleeper}:/tmp", stdin="no archive at all").code == 1


def test_a_hostile_container_cannot_lead_a_copy_outside(host: Host, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    script = f"ln -s {outside} /way; ln -s /etc/shadow /secret; ln -s ../../../../../../etc /up"
    host("run", "--name", "hostile", "busybox", "sh", "-c", script)
    (tmp_path / "file").write_text("x")
    host.try_("cp", tmp_path / "file", "hostile:/way/file")
    assert os.listdir(outside) == []
    host.try_("cp", "hostile:/secret", tmp_path / "copied")
    copied = tmp_path / "copied"
    assert not copied.exists() or copied.is_symlink() or copied.read_text() != Path("/etc/shadow").read_text()
    host.try_("cp", tmp_path / "file", "hostile:/up/vitrine-test-file")
    assert not Path("/etc/vitrine-test-file").exists()
    host("rm", "hostile")


# -- images ----------------------------------------------------------------------------------------------------------


def test_images_tags_and_removal(host: Host) -> None:
    lines = host("images").splitlines()
    assert re.split(r"\s{2,}", lines[0]) == ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
    assert re.match(r"busybox +latest +[0-9a-f]{12} +\S.* ago +[\d.]+MB$", lines[1])
    host("tag", "busybox", "127.0.0.1:5000/team/tool:1.2")
    host("tag", "busybox", "tool")
    rows = [json.loads(line) for line in host("images", "--format", "json").splitlines()]
    assert {(row["Repository"], row["Tag"]) for row in rows} == {
        ("busybox", "latest"), ("127.0.0.1:5000/team/tool", "1.2"), ("tool", "latest")
    }  # fmt: skip
    assert len(host("images", "-q").split()) == 1
    assert len(host("images", "tool").splitlines()) == 2 and len(host("images", "tool:9").splitlines()) == 1
    identity = rows[0]["ID"]
    several = host.try_("rmi", identity)
    assert several.code == 1 and "force" in several.err
    assert host("rmi", "tool") == "Untagged: tool:latest\n"
    assert host("rmi", "127.0.0.1:5000/team/tool:1.2") == "Untagged: 127.0.0.1:5000/team/tool:1.2\n"
    host("create", "--name", "user", "busybox")
    used = host.try_("rmi", "busybox")
    assert used.code == 1 and "user" in used.err
    host("rm", "user")


def test_save_and_load_by_ourselves_and_others(host: Host, new_host, tmp_path: Path) -> None:
    identity = json.loads(host("inspect", "busybox"))[0]["Id"]
    other = new_host(image=False)
    for form in ("docker", "oci"):
        host("save", "--format", form, "-o", tmp_path / f"{form}.tar", "busybox")
        assert other("load", "-i", tmp_path / f"{form}.tar") == "Loaded image: busybox:latest\n"
        assert json.loads(other("inspect", "busybox"))[0]["Id"] == identity
        assert other("run", "--rm", "busybox", "echo", form) == f"{form}\n"
        other("rmi", "busybox")
    stream = subprocess.run([*host.base, "save", "busybox"], capture_output=True, check=True).stdout
    done = subprocess.run([*other.base, "load", "-q"], input=stream, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Loaded image: busybox:latest\n", b"")
    other("rmi", "busybox")
    if shutil.which("skopeo"):
        for source, kind in (("docker.tar", "docker-archive"), ("oci.tar", "oci-archive")):
            target = tmp_path / f"by-skopeo-{kind}.tar"
            words = [f"{kind}:{tmp_path / source}", f"docker-archive:{target}:busybox:latest"]
            subprocess.run(["skopeo", "copy", "-q", *words], check=True, capture_output=True)
            other("load", "-i", target)
            assert other("run", "--rm", "busybox", "echo", "theirs") == "theirs\n"
            other("rmi", "busybox")


# -- the command itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_explains_itself(verb: str) -> None:
    done = subprocess.run([VITRINE, verb, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"Usage:  vitrine {verb}") and VERBS[verb][1].split(";")[0] in done.stdout
    assert all(len(line) <= 120 for line in done.stdout.splitlines())


def test_the_overview_and_the_global_flags(host: Host) -> None:
    for words in ([], ["--help"], ["-h"], ["help"]):
        done = subprocess.run([VITRINE, *words], capture_output=True, text=True)
        assert done.returncode == 0 and all(f"  {verb} " in done.stdout for verb in VERBS)
    done = subprocess.run([VITRINE, "help", "run"], capture_output=True, text=True)
    assert done.stdout.startswith("Usage:  vitrine run")
    joined = [VITRINE, f"--root={host.root}", f"--run-root={host.run_root}", f"--config={host.config}", "images", "-q"]
    assert subprocess.run(joined, capture_output=True, text=True).stdout == host("images", "-q")
    debug = subprocess.run([VITRINE, "--debug", *host.base[1:], "rm", "x"], capture_output=True, text=True)
    assert debug.returncode == 1


def test_dockers_second_spelling(host: Host) -> None:
    assert host("container", "ls", "-a") == host("ps", "-a")
    assert host("image", "ls", "-q") == host("images", "-q")
    assert host("image", "inspect", "busybox") == host("inspect", "busybox")
    assert host.try_("container", "inspect", "busybox").code == 1
    assert host("container", "run", "--rm", "busybox", "echo", "x") == "x\n"
    for words in (["container"], ["container", "pull", "x"], ["image", "run", "x"], ["system", "ls"]):
        assert host.try_(*words).code == 1


def test_flags_behind_the_image_are_explained(host: Host) -> None:
    result = host.try_("run", "--rm", "busybox", "-it", "sh")
    assert result.code == 127 and "stand before the image" in result.err


def complete(host: Host, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    script = host("completion", "bash") + (
        'vitrine() { "${BASE[@]}" "$@"; }\n'
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _vitrine; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    base = "BASE=(" + " ".join(f"'{word}'" for word in host.base) + ")\n"
    done = subprocess.run(["bash", "-c", base + script, "bash", *words], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout.split()


def test_the_shell_completes(host: Host, sleeper: str) -> None:
    assert complete(host, "vitrine", "un") == ["unpause"]
    assert set(complete(host, "vitrine", "st")) == {"start", "stop", "stats"}
    assert complete(host, "vitrine", "run", "--memory-s") == ["--memory-swap", "--memory-swappiness"]
    assert complete(host, "vitrine", "stop", "sl") == [sleeper]
    assert complete(host, "vitrine", "rmi", "busy") == ["busybox:latest"]
    assert complete(host, "vitrine", "vol") == ["volume"]
    assert {"create", "inspect", "ls", "prune", "rm"} <= set(complete(host, "vitrine", "volume", ""))
    assert complete(host, "vitrine", "volume", "ls", "--q") == ["--quiet"]
    assert complete(host, "vitrine", "container", "ls", "--no-t") == ["--no-trunc"]
    assert complete(host, "vitrine", "container", "stop", "sl") == [sleeper]
    for shell in ("zsh", "fish"):
        text = host("completion", shell)
        assert "unpause" in text
        if shutil.which(shell):
            assert subprocess.run([shell, "-n"], input=text, text=True).returncode == 0


def test_progress_on_a_terminal_and_quiet_in_a_pipe(host: Host, new_host, loopback_registry) -> None:
    name = f"{loopback_registry.host}/progress"
    host("tag", "busybox", name)
    host("push", name)
    host("rmi", name)
    other = new_host(image=False)
    piped = other.try_("pull", name)
    assert piped.out == f"{name}:latest\n" and "\x1b" not in piped.err and "Pull complete" in piped.err
    other("rmi", name)
    quiet = other.try_("pull", "-q", name)
    assert (quiet.out, quiet.err) == (f"{name}:latest\n", "")
    other("rmi", name)
    code, shown = other.in_terminal("pull", name)
    assert code == 0 and "\x1b[" in shown and "Pull complete" in shown
    other("rmi", name)
    started = other.try_("run", "--rm", name, "echo", "result")
    assert started.out == "result\n"
