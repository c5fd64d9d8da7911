# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process finds in its container: root, mounts, devices, identity, limits; and how starts fail."""

from __future__ import annotations

import json
import os
import re

import pytest


def sh(spec, text, **options):
    return spec("sh", "-c", text, **options)


def fields(text, separator=":"):
    return dict(line.split(separator, 1) for line in text.splitlines() if separator in line)


def test_the_process_is_the_first_and_only_one(spec, output):
    text = output(sh(spec, "echo $$; ls -d /proc/[0-9]* | wc -l; hostname; pwd; cat /proc/1/cmdline"))
    assert text.split()[0] == "1"
    assert text.splitlines()[2:4] == ["box", "/"]
    assert "python" not in text


def test_state_of_the_process_is_docker_default(spec, output):
    text = output(sh(spec, "cat /proc/self/status; umask; cat /proc/self/limits", rlimits=None))
    status = {key: value.strip() for key, value in fields(text).items()}
    assert status["CapInh"] == status["CapAmb"] == "0" * 16
    assert status["CapPrm"] == status["CapEff"] == status["CapBnd"] == "00000000a80425fb"
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "0"
    assert status["SigIgn"] == status["SigBlk"] == "0" * 16
    assert "\n0022\n" in text


def test_no_descriptor_of_the_host_is_left(spec, output):
    fd = os.open("/etc", os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        text = output(sh(spec, "ls -l /proc/self/fd"), pass_fds=(fd,))
    finally:
        os.close(fd)
    targets = [line.split(" -> ")[1] for line in text.splitlines() if " -> " in line]
    assert len(targets) == 3 and all(target.startswith("pipe:") for target in targets), text


def test_nothing_is_imported_between_pivot_and_exec(spec, run):
    assert run(sh(spec, "true"), modules=True)["modules"] == []
    assert run(sh(spec, "true", tty=True, user="bob"), modules=True)["modules"] == []


def test_dev_holds_what_every_dev_holds(spec, output):
    text = output(sh(spec, "cd /dev; ls -l; echo x > null; head -c 3 zero | wc -c; test -w shm && stat -c %a shm"))
    for name, number in (("null", "1,   3"), ("zero", "1,   5"), ("full", "1,   7"), ("tty", "5,   0")):
        assert re.search(rf"crw-rw-rw-.* {re.escape(number)} .* {name}\n", text), text
    for link in ("fd -> /proc/self/fd", "ptmx -> pts/ptmx", "stdout -> /proc/self/fd/1"):
        assert link in text
    assert text.splitlines()[-2:] == ["3", "1777"]


def test_other_devices_cannot_be_used_even_when_made(spec, output):
    text = output(sh(spec, "mknod /tmp/d b 254 0 && head -c 1 /tmp/d 2>&1; true"))
    assert "Operation not permitted" in text or "not permitted" in text


def test_devices_that_were_asked_for_are_there(spec, output):
    device = {"path": "/dev/some/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "gid": 10}
    text = output(sh(spec, "ls -l /dev/some/fuse", devices=[device]))
    assert text.startswith("crw-r-----") and "wheel" in text and "10, 229" in text


def test_masked_and_read_only_paths(spec, output):
    text = output(
        sh(
            spec,
            "cat /proc/timer_list /proc/interrupts | wc -c;"
            " ls /sys/firmware /proc/acpi 2>/dev/null | grep -v : | wc -w;"
            "for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/x /proc/irq/x; do"
            " (echo x > $f) 2>&1 | sed 's/.*: //'; done",
        )
    )
    assert text.splitlines()[:2] == ["0", "0"]
    reasons = text.splitlines()[2:]
    assert reasons[0] == reasons[2] == "Read-only file system"
    assert reasons[1] == reasons[3] == "nonexistent directory"  # kernel file systems take no new files


def test_cgroups_are_shown_as_ones_own_and_read_only(spec, output):
    text = output(
        sh(
            spec,
            "cat /proc/self/cgroup; ls /sys/fs/cgroup; (mkdir /sys/fs/cgroup/memory/x /sys/fs/cgroup/x) 2>&1; true",
        )
    )
    paths = [line.split(":")[2] for line in text.splitlines() if re.match(r"\d+:", line)]
    assert paths and set(paths) == {"/"}
    assert text.count("Read-only file system") == 2


def test_a_read_only_root(spec, output):
    made = sh(spec, "touch /x 2>&1; touch /tmp/y /dev/shm/z && echo fine",
              mounts=[{"destination": "/tmp", "type": "tmpfs"}])  # fmt: skip
    made["root"]["readonly"] = True
    text = output(made)
    assert "Read-only file system" in text and "fine" in text


def test_layers_by_overlay(spec, busybox, tmp_path, output):
    for name in ("layer", "upper", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "layer" / "file").write_text("from the layer\n")
    layers = {"driver": "overlay", "lowers": [str(tmp_path / "layer"), str(busybox)],
              "upper": str(tmp_path / "upper"), "work": str(tmp_path / "work")}  # fmt: skip
    text = output(sh(spec, "cat /file; echo new > /new", annotations={"io.vitrine.root": json.dumps(layers)}))
    assert text == "from the layer\n"
    assert (tmp_path / "upper" / "new").read_text() == "new\n"
    layers.update(upper=None, work=None)
    text = output(sh(spec, "cat /file; touch /y 2>&1; true", annotations={"io.vitrine.root": json.dumps(layers)}))
    assert "Read-only file system" in text


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", "uid=0(root) gid=0(root) groups=0(root),10(wheel)"),
        ("bob", "uid=1000(bob) gid=1001(bob) groups=10(wheel),1001(bob)"),
        ("1000:10", "uid=1000(bob) gid=10(wheel) groups=10(wheel)"),
        ("77", "uid=77 gid=0(root) groups=0(root)"),
    ],
)
def test_users(spec, output, user, expected):
    assert output(sh(spec, "id", user=user)).strip() == expected


def test_a_user_has_home_no_capabilities_and_its_own_output(spec, output):
    text = output(sh(spec, "echo $HOME; grep CapEff /proc/self/status; echo again > /dev/stdout", user="bob"))
    assert text.split() == ["/home/bob", "CapEff:", "0" * 16, "again"]


def test_additional_groups(spec, output):
    text = output(sh(spec, "id", user="bob:bob", annotations={"io.vitrine.groups": "wheel,4242"}))
    assert text.strip().endswith("groups=10(wheel),1001(bob),4242")


def test_ambient_capabilities_reach_a_user_only_when_asked_for(spec, output):
    made = sh(spec, "grep Cap /proc/self/status", user="bob")
    for name in ("inheritable", "ambient"):
        made["process"]["capabilities"][name] = ["CAP_NET_BIND_SERVICE"]
    status = fields(output(made))
    assert int(status["CapEff"], 16) == int(status["CapAmb"], 16) == 1 << 10


def test_no_new_privileges(spec, output):
    made = sh(spec, "grep -E 'NoNew|Seccomp:' /proc/self/status", user="bob")
    made["process"]["noNewPrivileges"] = True
    assert output(made).split() == ["NoNewPrivs:", "1", "Seccomp:", "2"]


def test_limits_are_lowered_to_what_can_be_had(spec, output):
    made = sh(spec, "ulimit -Sn; ulimit -Hn; ulimit -c")
    made["process"]["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 512, "hard": 2**40},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]
    soft, hard, core = output(made).split()
    assert (soft, core) == ("512", "0")
    assert int(hard) >= 512


def test_sysctls_are_the_containers(spec, output):
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
        before = file.read()
    text = output(
        sh(
            spec,
            "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax",
            sysctl={"net.ipv4.ip_unprivileged_port_start": "77", "kernel.msgmax": "12345"},
        )
    )
    assert text.split() == ["77", "12345"]
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as file:
        assert file.read() == before


def test_the_working_directory_is_made_and_entered(spec, output, root):
    assert output(sh(spec, "pwd", cwd="/a/b")).strip() == "/a/b"
    assert (root / "a" / "b").stat().st_mode & 0o7777 == 0o755


def test_a_terminal(spec, output):
    made = sh(spec, "tty; test -t 0 && test -t 2 && echo all; echo hello > /dev/console; stty -a | head -1", tty=True)
    made["process"]["consoleSize"] = {"height": 33, "width": 99}
    text = output(made)
    assert text.split("\r\n")[:3] == ["/dev/pts/0", "all", "hello"]
    assert "rows 33" in text and "columns 99" in text


def test_interrupt_through_the_terminal(spec, run):
    result = run(
        sh(spec, "trap 'echo got it; exit 3' INT; echo ready; while :; do sleep 0.1; done", tty=True),
        input="\x03",
        **{"await": "ready"},
    )
    assert result["status"] == 3 and "got it" in result["output"]


def test_binds_are_made_where_nothing_was(spec, output, tmp_path, root):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("content\n")
    text = output(
        sh(
            spec,
            "cat /etc/deep/file; touch /data/rw; touch /ro/x 2>&1; grep -E ' /(data|ro) ' /proc/self/mountinfo",
            mounts=[
                {"destination": "/etc/deep/file", "source": str(tmp_path / "file"), "options": ["rbind", "ro"]},
                {"destination": "/data", "source": str(tmp_path / "folder"), "options": ["rbind", "rprivate", "rw"]},
                {"destination": "/ro", "source": str(tmp_path / "folder"), "options": ["rbind", "ro", "nosuid"]},
            ],
        )
    )
    assert text.startswith("content\n") and "Read-only file system" in text
    assert (tmp_path / "folder" / "rw").exists()
    lines = [line.split() for line in text.splitlines() if line[:1].isdigit()]
    assert [line[5].split(",")[:2] for line in lines] == [["rw", "relatime"], ["ro", "nosuid"]]
    assert (root / "etc" / "deep" / "file").read_bytes() == b""


def test_init_reaps_and_hands_signals_on(spec, run):
    annotations = {"io.vitrine.init": "true"}
    text = "sh -c 'sleep 0.05 & exit' ; sleep 0.3; ps -o pid,stat; kill -TERM 1; sleep 5; echo late"
    result = run(sh(spec, "trap 'exit 9' TERM; (" + text + ") & wait", annotations=annotations))
    assert result["status"] == 9, result
    assert "Z" not in result["output"] and "late" not in result["output"]
    text = run(sh(spec, "tr '\\0' ' ' < /proc/1/cmdline", annotations=annotations))["output"]
    assert text.startswith("vitrine-init -- sh -c ") and "python" not in text
    result = run(sh(spec, "kill -9 $$", annotations=annotations))
    assert result["status"] == 137
    assert run(sh(spec, "tty", tty=True, annotations=annotations))["output"] == "/dev/pts/0\r\n"


@pytest.mark.parametrize(
    ("argv", "kind", "words"),
    [
        (["nosuch"], "CommandNotFound", 'exec: "nosuch": executable file not found in $PATH'),
        (["/nosuch"], "CommandNotFound", 'exec: "/nosuch": stat /nosuch: no such file or directory'),
        (["/etc"], "CommandNotExecutable", "is a directory"),
        (["/etc/passwd"], "CommandNotExecutable", "permission denied"),
        (["/script"], "CommandNotFound", "exec /script: no such file or directory"),
        (["/text"], "CommandNotExecutable", "exec /text: exec format error"),
    ],
)
def test_commands_that_cannot_be_run(spec, root, failure, argv, kind, words):
    for name, text in (("script", "#!/no/interpreter\n"), ("text", "echo\n")):
        (root / name).write_text(text)
        (root / name).chmod(0o755)
    error = failure(spec(*argv))
    assert (error["kind"], error["stage"]) == (kind, "exec")
    assert words in error["text"]


def test_a_missing_source_is_named(spec, failure):
    error = failure(sh(spec, "true", mounts=[{"destination": "/x", "source": "/no/such", "options": ["rbind"]}]))
    assert error["stage"] == "mount" and "/no/such" in error["text"]


def test_a_kernel_refusal_names_the_mount_and_the_reason(spec, failure):
    error = failure(sh(spec, "true", mounts=[{"destination": "/x", "type": "tmpfs", "options": ["nonsense=1"]}]))
    assert error["stage"] == "mount" and error["errno"] == 22
    assert "/x" in error["text"] and "Unknown parameter" in error["text"]


def test_a_tiny_memory_limit_is_enough_to_start(spec, run):
    result = run(sh(spec, "echo fine"), resources={"memory": {"limit": 6 << 20}})
    assert result["output"] == "fine\n", result


def test_out_of_memory_is_counted(spec, run):
    result = run(sh(spec, "tail /dev/zero"), resources={"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    assert result["status"] == -9 and result["oom_kills"] >= 1, result


def test_a_link_to_nowhere_is_followed_inside_the_root(spec, output, root, tmp_path):
    """Images of systemd distributions ship /etc/resolv.conf so."""
    (root / "etc" / "resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    (tmp_path / "file").write_text("nameserver\n")
    mounts = [{"destination": "/etc/resolv.conf", "source": str(tmp_path / "file"), "options": ["rbind", "ro"]}]
    assert output(spec("cat", "/etc/resolv.conf", mounts=mounts)) == "nameserver\n"
    assert (root / "run" / "systemd" / "resolve" / "stub-resolv.conf").stat().st_mode & 0o777 == 0o644


def test_a_privileged_container(spec, output):
    made = sh(
        spec,
        "mount -t tmpfs x /tmp && echo mounted; mkdir /sys/fs/cgroup/cpu/sub /sys/fs/cgroup/sub 2>&1; rmdir"
        " /sys/fs/cgroup/cpu/sub /sys/fs/cgroup/sub 2>/dev/null; grep -E 'CapEff|Seccomp:' /proc/self/status",
        maskedPaths=[], readonlyPaths=[], resources={"devices": [{"allow": True, "access": "rwm"}]},
        annotations={"io.vitrine.seccomp": "unconfined"},
    )  # fmt: skip
    from vitrine.linux import caps

    for name in ("bounding", "effective", "permitted"):
        made["process"]["capabilities"][name] = ["CAP_" + cap for cap in caps.NAMES]
    for item in made["mounts"]:
        item["options"] = [word for word in item["options"] if word != "ro"]
    text = output(made)
    assert text.startswith("mounted\n") and "Read-only" not in text
    assert int(text.split("CapEff:")[1].split()[0], 16) == caps.get()[1]
    assert text.endswith("Seccomp:\t0\n")


def test_an_apparmor_profile_that_cannot_be_had_is_an_error(spec, failure):
    made = spec("true")
    made["process"]["apparmorProfile"] = "vitrine-no-such-profile"
    assert failure(made)["stage"] == "apparmor"


def test_oom_score(spec, output, failure):
    made = spec("cat", "/proc/self/oom_score_adj")
    made["process"]["oomScoreAdj"] = 500
    assert output(made) == "500\n"
