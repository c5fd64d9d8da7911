# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vitrine shutdown and boot: what a host without systemd calls from its init script, and systemd from a service."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

POLITE = "trap 'echo got TERM; exit 7' TERM; echo up; while :; do sleep 0.1; done"
STUBBORN = "trap 'echo got TERM' TERM; echo up; while :; do sleep 0.1; done"
FOR_EVER = "exec sleep 100000"


@pytest.fixture
def run(host):
    """Run a container that is removed afterwards, and wait until it is up: run(name, script, flags...)."""
    names = []

    def run(name: str, script: str, *flags: str) -> None:
        host("run", "-d", "--name", name, *flags, "busybox", "sh", "-c", script)
        names.append(name)
        while "echo up" in script and "up" not in host("logs", name):
            pass

    yield run
    if names:
        host("rm", "-f", *names)


def state(host, name: str) -> dict:
    return json.loads(host("inspect", name))[0]["State"]


def outcomes(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.splitlines())


def test_all_stop_and_what_should_run_comes_back(host, run):
    run("always", POLITE, "--restart", "always")
    run("failing", POLITE, "--restart", "on-failure")
    run("ended", "exit 0", "--restart", "on-failure")
    run("halted", FOR_EVER, "--restart", "unless-stopped")
    run("plain", POLITE)
    run("stubborn", STUBBORN, "--stop-timeout", "1", "--restart", "unless-stopped")
    run("frozen", POLITE)
    host("stop", "-t", "0", "halted")
    host("wait", "ended")
    host("pause", "frozen")
    stopped = dict.fromkeys(("always", "failing", "plain", "stubborn", "frozen"), "stopped")
    assert outcomes(host("shutdown")) == stopped
    for name, code in (("always", 7), ("failing", 7), ("plain", 7), ("stubborn", 137), ("frozen", 7), ("ended", 0)):
        known = state(host, name)
        assert (name, known["Status"], known["ExitCode"]) == (name, "exited", code)
    assert host("logs", "stubborn").split() == ["up", "got", "TERM"]
    assert host("shutdown") == ""
    shutil.rmtree(host.run_root)  # as a boot does
    assert outcomes(host("boot")) == dict.fromkeys(("always", "failing", "stubborn"), "started")
    assert host("boot") == ""
    assert state(host, "plain")["ExitCode"] == 7


def test_the_longest_time_is_nobody_s_to_exceed(host, run):
    run("patient", STUBBORN, "--stop-timeout", "-1")
    run("slow", STUBBORN, "--stop-timeout", "1000")
    assert outcomes(host("shutdown", "--time", "1")) == {"patient": "stopped", "slow": "stopped"}
    assert state(host, "patient")["ExitCode"] == state(host, "slow")["ExitCode"] == 137


@pytest.mark.parametrize("time", ["-1", "soon", "1.5"])
def test_a_time_that_is_none(host, time):
    done = host.try_("shutdown", f"--time={time}")
    assert done.code != 0 and repr(time) in done.err


def test_who_joins_another_comes_after_it_and_goes_before(host, run):
    # names say nothing about the order
    run("zebra", FOR_EVER, "--restart", "always", "--stop-signal", "KILL")
    run("guest", FOR_EVER, "--restart", "always", "--stop-signal", "KILL", "--network", "container:zebra")
    run("alien", FOR_EVER, "--restart", "always", "--stop-signal", "KILL", "--pid", "container:guest")
    assert list(outcomes(host("shutdown"))) == ["alien", "guest", "zebra"]
    assert list(outcomes(host("boot"))) == ["zebra", "guest", "alien"]


def test_one_that_cannot_start_keeps_down_who_needs_it_and_no_other(host, run, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    run("broken", FOR_EVER, "--restart", "always", "--stop-signal", "KILL", "-v", f"{source}:/data")
    run("guest", FOR_EVER, "--restart", "always", "--stop-signal", "KILL", "--network", "container:broken")
    run("other", FOR_EVER, "--restart", "always", "--stop-signal", "KILL")
    host("shutdown")
    source.rmdir()
    done = host.try_("boot")
    told = outcomes(done.out)
    assert done.code == 1 and told["other"] == "started"
    assert str(source) in told["broken"] and "broken" in told["guest"]
    assert state(host, "other")["Running"] and not state(host, "guest")["Running"]


def test_the_init_script(host, run, tmp_path):
    """The role's, with this engine as its launcher."""
    jinja2 = pytest.importorskip("jinja2")
    template = Path(__file__).resolve().parents[2] / "roles" / "engine" / "templates" / "vitrine-boot.init.j2"
    launcher = tmp_path / "launcher"
    launcher.write_text("#!/bin/sh\nexec " + " ".join(host.base) + ' "$@"\n')
    launcher.chmod(0o755)
    script = tmp_path / "vitrine-boot"
    script.write_text(
        jinja2.Template(template.read_text(), keep_trailing_newline=True).render(
            ansible_managed="by a test", vitrine_launcher=launcher, vitrine_stop_timeout=5
        )
    )

    def call(word: str) -> subprocess.CompletedProcess:
        return subprocess.run(["/bin/sh", str(script), word], capture_output=True, text=True, timeout=120)

    run("it", POLITE, "--restart", "always")
    assert "it" in call("status").stdout
    assert call("stop").stdout == "it: stopped\n"
    assert call("start").stdout == "it: started\n"
    assert call("restart").stdout == "it: stopped\nit: started\n"
    wrong = call("dance")
    assert wrong.returncode == 2 and "usage" in wrong.stderr


def test_a_unit_for_a_container(host, run, tmp_path):
    run("it", FOR_EVER, "--stop-signal", "KILL")
    run("kept", FOR_EVER, "--stop-signal", "KILL", "--restart", "always")
    text = host("generate", "systemd", "--name", "--time", "3", "it")
    assert text.startswith("# container-it.service\n[Unit]\n") and " stop --time 3 it\n" in text
    assert f"--root {host.root}" in text
    assert " run --name=kept " in host("generate", "systemd", "--new", "kept")
    done = host.try_("generate", "systemd", "kept")
    assert done.code == 1 and "restart policy 'always'" in done.err
    for words, named in ((("kube", "it"), "'kube'"), (("systemd", "nobody"), "container: nobody")):
        done = host.try_("generate", *words)
        assert done.code == 1 and named in done.err
    written = subprocess.run(
        [*host.base, "generate", "systemd", "--files", "it"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert Path(written).parent == tmp_path and "[Service]" in Path(written).read_text()


def test_systemd_is_told_that_the_container_runs(host, run, tmp_path):
    """As sd_notify(3) has it: only then, and not to the container."""
    import socket

    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(str(path))
        notices.settimeout(60)
        before = host.env
        host.env = {**before, "NOTIFY_SOCKET": str(path)}
        try:
            command = host.spawn(
                "run", "--name", "told", "busybox", "sh", "-c", f"env; {FOR_EVER}", stdout=subprocess.PIPE
            )
        finally:
            host.env = before
        try:
            assert notices.recv(100) == b"READY=1"
            assert state(host, "told")["Running"]
        finally:
            host("rm", "-f", "told")
            assert b"NOTIFY_SOCKET" not in command.communicate(timeout=60)[0]


@pytest.mark.parametrize("torn", ["", "\0\0\0\0", '["abc'])
def test_what_a_power_cut_tore_of_a_removed_container_goes(host, torn):
    folder = host.root / "containers" / ("ab" * 32)
    folder.mkdir()
    for name in ("doomed-volumes.json", "network.json", "state.json"):
        (folder / name).write_text(torn)
    said = json.loads(host("check", "--format", "json"))
    assert said["reconciled"] == ["removed what was left of container abababababab"] and not said["store"]
    assert not folder.exists()
    assert json.loads(host("check", "--format", "json"))["reconciled"] == []
