# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""exec.py and join.py: one more process in a running container."""

from __future__ import annotations

import pytest


@pytest.fixture
def execute(spec, run):
    """Run a process beside a container that waits; return the driver's result."""

    def make(*argv, tty=False, user="", cwd="/", container=("cat",), changes=None, **request):
        made = spec(*container, **(changes or {}))
        process = {**made["process"], "args": list(argv), "terminal": tty, "user": {"username": user}, "cwd": cwd}
        return run(made, exec=process, **request)

    return make


def test_it_shares_everything_but_its_parent(execute):
    text = (
        "id; hostname; ps -o pid,args | head -2; cat /proc/self/cgroup; grep -E 'Cap|Seccomp:' /proc/self/status;"
        " for n in mnt pid net ipc uts cgroup; do"
        " test $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) || echo $n differs; done"
    )
    result = execute("sh", "-c", text)
    output = result["exec_output"]
    assert result["exec_status"] == 0, result
    assert output.startswith("uid=0(root)") and "\nbox\n" in output and "differs" not in output
    assert "    1 cat\n" in output
    assert {line.split(":")[2] for line in output.splitlines() if line[:1].isdigit() and ":" in line} == {"/"}
    assert "CapEff:\t00000000a80425fb" in output and "CapInh:\t" + "0" * 16 in output
    assert "Seccomp:\t2" in output


def test_it_makes_no_device_nodes_where_the_container_may_not(spec, run):
    made = spec("cat")
    process = {**made["process"], "args": ["grep", "CapEff", "/proc/self/status"]}
    bounded = {name: [word for word in words if word != "CAP_MKNOD"] for name, words in process["capabilities"].items()}
    result = run({**made, "process": {**made["process"], "capabilities": bounded}}, exec=process)
    assert result["exec_output"] == "CapEff:\t00000000a00425fb\n", result


def test_status_user_and_directory(execute):
    result = execute("sh", "-c", "id -u; pwd; exit 7", user="bob", cwd="/tmp")
    assert (result["exec_output"], result["exec_status"]) == ("1000\n/tmp\n", 7)


def test_a_terminal_of_the_container(execute):
    result = execute("sh", "-c", "tty; test -t 2 && echo yes; ls /dev/pts", tty=True)
    assert result["exec_output"].split() == ["/dev/pts/0", "yes", "0", "ptmx"]


@pytest.mark.parametrize(
    ("argv", "options", "kind", "words"),
    [
        (["nosuch"], {}, "CommandNotFound", "executable file not found in $PATH"),
        (["/etc/passwd"], {}, "CommandNotExecutable", "permission denied"),
        (["true"], {"user": "nobody"}, "StartFailed", "unable to find user nobody"),
        (["true"], {"cwd": "/none"}, "StartFailed", "chdir to '/none' failed: no such file or directory"),
        (["true"], {"container": ["true"]}, "Conflict", "not running"),
    ],
)
def test_failures_say_what_is_wrong(execute, argv, options, kind, words):
    result = execute(*argv, **options)
    assert result["exec_error"]["kind"] == kind, result
    assert words in result["exec_error"]["text"]


def test_nothing_of_the_host_is_seen_by_a_container_that_may_trace(spec, run):
    """Class 2 (CVE-2016-9962): watch every process that appears, as root with CAP_SYS_PTRACE."""
    made = spec(
        "sh",
        "-c",
        "while [ ! -e /stop ]; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] ||"
        " ls -l $p/fd $p/cwd $p/root 2>/dev/null; done; done > /log; cat /log",
    )
    for name in ("bounding", "effective", "permitted"):
        made["process"]["capabilities"][name].append("CAP_SYS_PTRACE")
    process = {**made["process"], "args": ["sh", "-c", "sleep 0.2; touch /stop"]}
    result = run(made, exec=process)
    assert result["exec_status"] == 0, result
    targets = {line.split(" -> ")[1] for line in result["output"].splitlines() if " -> " in line}
    harmless = ("pipe:", "socket:", "/dev/null", "/log", "/proc", "/bin")
    assert targets, result
    assert not {target for target in targets if target != "/" and not target.startswith(harmless)}
