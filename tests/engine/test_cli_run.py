# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""run, exec, attach: what the flags mean inside, streams, terminals and signals."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from support.host import Host
from support.traces import until


def sh(host: Host, script: str, *flags: str) -> str:
    """What a shell in a new container prints."""
    return host("run", "--rm", *flags, "busybox", "sh", "-c", script)


# -- run: what the flags mean inside ---------------------------------------------------------------------------------


def test_environment_user_folder_and_name(host: Host, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nFILE=from file\n\nBOTH=file\n")
    host.env["TAKEN"] = "from here"
    flags = ["-e", "A=b c", "-e", "TAKEN", "-e", "NOT_SET_HERE", "--env-file", str(tmp_path / "env"), "-e", "BOTH=flag"]
    shown = sh(host, "env; id; pwd; hostname", *flags, "-u", "user", "-w", "/new/folder", "-h", "box").splitlines()
    for line in ("A=b c", "TAKEN=from here", "FILE=from file", "BOTH=flag", "HOSTNAME=box", "/new/folder", "box"):
        assert line in shown, shown
    assert not [line for line in shown if line.startswith("NOT_SET_HERE")]
    (identity,) = (line for line in shown if line.startswith("uid="))
    assert sorted(re.findall(r"\w+\(\w+\)", identity)) == ["1000(user)"] * 3 + ["50(staff)"], identity
    assert sh(host, "id -u; id -g; id -G", "-u", "7:9", "--group-add", "staff") == "7\n9\n9 50\n"


def test_the_entrypoint(host: Host) -> None:
    assert host("run", "--rm", "--entrypoint", "echo", "busybox", "-n", "--name") == "--name"
    assert host("run", "--rm", "--entrypoint=", "busybox", "echo", "none") == "none\n"


def test_volumes(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("of the host\n")
    assert sh(host, "cat /data/file; echo new > /data/new", "-v", f"{tmp_path}:/data") == "of the host\n"
    assert (tmp_path / "new").read_text() == "new\n"
    refused = host.try_("run", "--rm", "-v", f"{tmp_path}:/data:ro", "busybox", "touch", "/data/x")
    assert refused.code == 1 and "Read-only file system" in refused.err
    spec = f"type=bind,source={tmp_path},target=/data,readonly"
    assert host.try_("run", "--rm", "--mount", spec, "busybox", "touch", "/data/x").code == 1
    sh(host, "echo kept > /keep/x", "-v", "named:/keep")
    assert sh(host, "cat /keep/x", "-v", "named:/keep:ro") == "kept\n"
    assert sh(host, "cat /again/x", "--mount", "source=named,target=/again") == "kept\n"
    # a new volume begins with what the image has there, owners and modes included
    assert "root:x:0:0" in sh(host, "cat /etc/passwd", "-v", "fresh:/etc")
    assert sh(host, "stat -c %a /tmp", "-v", "/tmp") == "1777\n"
    volumes = os.listdir(host.root / "volumes")
    assert sorted(volumes) == ["fresh", "named"], "an anonymous volume goes with --rm"


def test_tmpfs_read_only_root_and_shm(host: Host) -> None:
    script = "touch /x 2>&1; touch /scratch/x && df -k /scratch | tail -1; df -k /dev/shm | tail -1"
    shown = sh(host, script, "--read-only", "--tmpfs", "/scratch:size=2m", "--shm-size", "3m")
    assert "Read-only file system" in shown
    assert re.search(r"tmpfs +2048 .*/scratch", shown) and re.search(r" 3072 .*/dev/shm", shown), shown


def test_capabilities_and_security(host: Host) -> None:
    mask = "grep CapEff /proc/self/status"
    assert sh(host, mask).split()[1] == "00000000a80425fb"  # docker's fourteen
    assert sh(host, mask, "--cap-drop", "ALL").split()[1] == "0" * 16
    assert sh(host, mask, "--cap-drop", "ALL", "--cap-add", "NET_ADMIN").split()[1] == f"{1 << 12:016x}"
    assert sh(host, mask, "--cap-add", "cap_sys_time", "--cap-drop", "chown").split()[1] == "00000000aa0425fa"
    assert int(sh(host, mask, "--privileged").split()[1], 16) > 1 << 36
    lines = "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status"
    assert sh(host, lines).split() == ["NoNewPrivs:", "0", "Seccomp:", "2"]
    flags = ["--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined"]
    assert sh(host, lines, *flags).split() == ["NoNewPrivs:", "1", "Seccomp:", "0"]


def test_sysctls_ulimits_devices(host: Host) -> None:
    flags = [
        "--sysctl",
        "net.ipv4.ip_default_ttl=77",
        "--ulimit",
        "nofile=100:200",
        "--device",
        "/dev/kmsg:/dev/hole:w",
    ]
    script = "cat /proc/sys/net/ipv4/ip_default_ttl; ulimit -Sn; ulimit -Hn; head -c1 /dev/hole"
    result = host.try_("run", "--rm", *flags, "busybox", "sh", "-c", script)
    assert result.out == "77\n100\n200\n", result
    assert "Operation not permitted" in result.err  # the device may only be written


def test_init_and_the_first_process(host: Host) -> None:
    # an orphan is reaped by the init, and the command is its child
    script = "ps -o pid,args; (sleep 0.1 &); sleep 0.3; ps -o stat | grep -c Z; true"
    shown = sh(host, script, "--init")
    assert shown.endswith("\n0\n"), shown
    assert sh(host, "echo $$") == "1\n"
    assert host.try_("run", "--rm", "--init", "busybox", "sh", "-c", "exit 9").code == 9
    assert host.try_("run", "--rm", "--init", "busybox", "sh", "-c", "kill -TERM $$").code == 143


def test_namespaces_of_the_host(host: Host) -> None:
    assert sh(host, "readlink /proc/self/ns/pid", "--pid", "host") == os.readlink("/proc/self/ns/pid") + "\n"
    assert sh(host, "readlink /proc/self/ns/ipc", "--ipc", "host") == os.readlink("/proc/self/ns/ipc") + "\n"
    assert sh(host, "hostname", "--uts", "host") == socket.gethostname() + "\n"
    assert sh(host, "readlink /proc/self/ns/net", "--network", "host") == os.readlink("/proc/self/ns/net") + "\n"
    for kind in ("pid", "ipc", "uts", "net", "mnt", "cgroup"):
        own = os.readlink(f"/proc/self/ns/{kind}") + "\n"
        assert sh(host, f"readlink /proc/self/ns/{kind}") != own


def test_networks_and_names(host: Host, sleeper: str) -> None:
    assert sh(host, "ls /sys/class/net", "--network", "none") == "lo\n"
    joined = sh(host, "readlink /proc/self/ns/net; cat /etc/hostname", "--network", f"container:{sleeper}").split()
    assert joined[0] == host("exec", sleeper, "readlink", "/proc/self/ns/net").strip()
    flags = ["--add-host", "other:192.0.2.7", "--dns", "192.0.2.53", "--dns-search", "example.org", "-h", "me"]
    shown = sh(host, "cat /etc/hosts /etc/resolv.conf; ip -4 addr show eth0 | grep inet", *flags)
    assert "192.0.2.7\tother" in shown and "nameserver 192.0.2.53" in shown and "search example.org" in shown
    address = re.search(r"inet ([0-9.]+)", shown)
    assert address and re.search(rf"{re.escape(address[1])}\s+me\b", shown), shown


def test_limits_are_enforced(host: Host) -> None:
    eater = "x=$(head -c 64m /dev/zero | tr '\\0' x); echo survived"
    result = host.try_("run", "--name", "eater", "-m", "16m", "busybox", "sh", "-c", eater)
    state = json.loads(host("inspect", "eater"))[0]
    assert "survived" not in result.out and result.code in (137, 1, 2), result
    assert state["State"]["OOMKilled"] or result.code != 137
    assert state["HostConfig"]["Memory"] == 16 << 20
    host("rm", "eater")
    script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; echo end"
    forks = host.try_("run", "--rm", "--pids-limit", "5", "busybox", "sh", "-c", script)
    assert "can't fork" in forks.err and "end" not in forks.out, forks
    begun = time.monotonic()
    used = sh(
        host, "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; cat /proc/self/stat | cut -d' ' -f14", "--cpus", "0.2"
    )
    assert used.strip().isdigit() and time.monotonic() - begun < 60


def test_restart_on_failure(host: Host) -> None:
    host("run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "sh", "-c", "echo run; exit 3")
    state = until(
        lambda: (lambda s: s if s["Status"] == "exited" else None)(json.loads(host("inspect", "again"))[0]["State"]), 20
    )
    assert state["ExitCode"] == 3
    assert host("logs", "again") == "run\n" * 3
    assert json.loads(host("inspect", "again"))[0]["RestartCount"] == 2
    host("rm", "again")


def test_the_stop_signal_and_the_grace(host: Host) -> None:
    script = "trap 'echo bye; exit 4' USR1; echo ready; while :; do sleep 0.05; done"
    host("run", "-d", "--name", "polite", "--stop-signal", "USR1", "busybox", "sh", "-c", script)
    until(lambda: "ready" in host("logs", "polite"))
    assert host("stop", "polite") == "polite\n"
    assert host("logs", "polite") == "ready\nbye\n" and host("wait", "polite") == "4\n"
    host("rm", "polite")
    host("run", "-d", "--name", "deaf", "busybox", "sleep", "600")  # a first process ignores what it does not handle
    begun = time.monotonic()
    host("stop", "-t", "1", "deaf")
    assert 0.9 < time.monotonic() - begun < 8
    assert host("wait", "deaf") == "137\n"
    host("rm", "deaf")


def test_detached_with_a_file_for_the_id(host: Host, tmp_path: Path) -> None:
    shown = host("run", "-d", "--cidfile", tmp_path / "cid", "--name", "d", "busybox", "sleep", "60").strip()
    assert re.fullmatch("[0-9a-f]{64}", shown) and (tmp_path / "cid").read_text() == shown
    assert host.try_("run", "--cidfile", tmp_path / "cid", "busybox").code == 125
    assert host("rm", "-f", shown[:12]) == shown[:12] + "\n"


# -- streams, terminals, signals -------------------------------------------------------------------------------------


def test_streams_and_exit_codes(host: Host) -> None:
    result = host.try_("run", "--rm", "-i", "busybox", "sh", "-c", "cat; echo err >&2; exit 42", stdin="typed\n")
    assert (result.code, result.out, result.err) == (42, "typed\n", "err\n")
    assert host.try_("run", "--rm", "busybox", "cat", stdin="not read").out == ""
    assert host.try_("run", "--rm", "busybox", "sh", "-c", "kill -KILL $$").code in (137, 0)
    data = "x" * 300000
    assert host.try_("run", "--rm", "-i", "busybox", "cat", stdin=data).out == data


def test_a_terminal(host: Host) -> None:
    code, shown = host.in_terminal(
        "run", "--rm", "-it", "busybox", "sh", "-c", "tty; stty size; read x; echo got-$x; exit 5", typed=b"me\r"
    )
    assert code == 5 and "/dev/" in shown and "got-me" in shown, shown


class Terminal:
    """A command on a terminal that one can type on while it runs."""

    def __init__(self, host: Host, *words: str) -> None:
        self.shown = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(host.base[0], [*host.base, *words], host.env)

    def wait_for(self, text: str, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not come: {self.shown!r}"
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            assert data, f"it ended without {text!r}: {self.shown!r}"
            self.shown += data.decode(errors="replace")

    def type(self, data: bytes) -> None:
        os.write(self.fd, data)

    def end(self) -> int:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self.fd], [], [], 0.05)
            try:
                if ready and not os.read(self.fd, 65536):
                    break
            except OSError:
                break
        status = os.waitpid(self.pid, 0)[1]
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def test_attach_and_the_detach_keys(host: Host) -> None:
    host("run", "-dit", "--name", "talk", "busybox", "sh")
    first = Terminal(host, "attach", "talk")
    first.type(b"echo one-$((1+1))\r")
    first.wait_for("one-2")
    first.type(b"\x10\x11")
    assert first.end() == 0
    assert json.loads(host("inspect", "talk"))[0]["State"]["Running"]
    second = Terminal(host, "attach", "--detach-keys", "ctrl-a,d", "talk")
    second.type(b"\x01d")
    assert second.end() == 0
    third = Terminal(host, "attach", "talk")
    third.type(b"exit 6\r")
    assert third.end() == 6
    assert host("wait", "talk") == "6\n"
    again = Terminal(host, "start", "-ai", "talk")
    again.type(b"exit 8\r")
    assert again.end() == 8
    host("rm", "talk")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_client_reach_the_container(host: Host, signum: int) -> None:
    script = "trap 'echo got-it; exit 11' INT TERM; echo ready; while :; do sleep 0.05; done"
    process = host.spawn("run", "--rm", "busybox", "sh", "-c", script, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signum)
    assert process.stdout.read() == "got-it\n" and process.wait(20) == 11
    assert host("ps", "-aq") == ""


def test_ctrl_c_during_a_pull(host: Host) -> None:
    with socket.socket() as registry:  # it takes connections and never answers
        registry.bind(("127.0.0.1", 0))
        registry.listen()
        name = f"127.0.0.1:{registry.getsockname()[1]}/x"
        process = host.spawn("pull", name, stderr=subprocess.PIPE, text=True)
        connection, _ = registry.accept()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        connection.close()
    assert process.returncode == 130 and "Traceback" not in err


def test_output_into_a_closed_pipe(host: Host, sleeper: str) -> None:
    for words in (
        ["images"],
        ["inspect", "busybox"],
        ["logs", sleeper],
        ["--help"],
        ["run", "--rm", "busybox", "seq", "1", "99999"],
    ):
        process = host.spawn(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        err = process.stderr.read().decode()
        process.wait(20)
        assert "Traceback" not in err and "internal" not in err, (words, err)
    until(lambda: host("ps", "-aq", "-f", "name=sleeper") == host("ps", "-aq"))


def test_arguments_that_are_not_utf_8(host: Host) -> None:
    argv = [os.fsencode(word) for word in host.base]
    words = [b"run", b"--rm", b"-e", b"X=\xff", b"busybox", b"sh", b"-c", b'printf %s "$X$1"', b"sh", b"\xfe"]
    done = subprocess.run([*argv, *words], capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"\xff\xfe"), done
    for words in ([b"run", b"busybox\xff"], [b"\xff"], [b"rm", b"\xff"], [b"run", b"--name", b"\xff", b"busybox"]):
        done = subprocess.run([*argv, *words], capture_output=True)
        assert done.returncode in (1, 125) and b"Traceback" not in done.stderr and b"internal" not in done.stderr, done


# -- exec ------------------------------------------------------------------------------------------------------------


def test_exec(host: Host, sleeper: str) -> None:
    assert host.try_("exec", sleeper, "sh", "-c", "exit 23").code == 23
    assert host.try_("exec", sleeper, "sh", "-c", "kill -TERM $$").code == 143
    shown = host("exec", "-u", "user", "-w", "/var", "-e", "A=1", sleeper, "sh", "-c", "id -un; pwd; echo $A")
    assert shown == "user\n/var\n1\n"
    assert host("exec", "-i", sleeper, "cat", stdin="through\n") == "through\n"
    assert host("exec", sleeper, "cat", stdin="not read") == ""
    code, text = host.in_terminal("exec", "-it", sleeper, "sh", "-c", "tty; exit 3")
    assert code == 3 and "/dev/pts/" in text
    assert host("exec", "-d", sleeper, "sh", "-c", "echo > /made") == ""
    until(lambda: host.try_("exec", sleeper, "test", "-e", "/made").code == 0)
    result = host.try_("exec", sleeper, "sh", "-c", "echo out; echo err >&2")
    assert (result.out, result.err) == ("out\n", "err\n")
