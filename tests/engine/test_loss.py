# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill any process at any instant: the store stays whole, nothing is left, and the same command then succeeds.

The client is killed at the n-th of its system calls that change anything (strace injects the signal), the monitor and
the init at instants after they were first seen. VITRINE_TEST_LOSS=all takes every call instead of some.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

from support.host import Host
from support.registry import Registry
from support.traces import Traces, children, comm, ended, until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]

#: What a client does that anybody else can see.
CALLS = (
    "mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,fsync,fdatasync,"
    "pwrite64,ftruncate,fork,vfork,clone,clone3,execveat,sendto,sendmsg,mount,umount2,flock,setxattr,fsetxattr,kill"
)
ALL = os.environ.get("VITRINE_TEST_LOSS") == "all"
POINTS = 12
HELLO = ("sh", "-c", "echo hello; exit 3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("loss")


@pytest.fixture(scope="module")
def host(folder):
    from support.base_image import busybox_image
    from vitrine.store import Store

    here = Host(folder / "one")
    with Store(str(here.root)) as store:
        busybox_image(store)
    yield here
    here.close()
    Traces(here).gone()


@pytest.fixture(scope="module")
def registry(folder):
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry")
    (folder / "registry").mkdir()
    registry = Registry(folder / "registry")
    yield registry
    registry.close()


@pytest.fixture
def traces(host):
    """The host's traces: none before a test, and none after it."""
    here = Traces(host)
    here.gone()
    yield here
    host.close()
    host("check")
    here.gone()


def whole(host: Host) -> None:
    """One command passes, and says that nothing is lost."""
    result = host.try_("check")
    assert result.code == 0 and "the store is whole" in result.out, result
    assert "could not put right" not in result.out, result


def calls(host: Host, *words: object) -> int:
    """How many of CALLS a command makes."""
    log = host.root.parent / "calls"
    argv = ["strace", "-qq", "-o", log, "-e", f"trace={CALLS}", "-e", "signal=none", *host.base, *map(str, words)]
    subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, env=host.env, timeout=60)
    count = len(log.read_text().splitlines())
    log.unlink()
    return count


def instants(count: int, points: int = POINTS) -> list[int]:
    """Some of 1..count, spread evenly, the last one included; all of them if wanted."""
    if ALL or count <= points:
        return list(range(1, count + 1))
    return sorted({1 + round(step * (count - 1) / (points - 1)) for step in range(points)})


def killed_at(host: Host, call: int, *words: object) -> bool:
    """Run a command and kill its process at one of CALLS; returns whether it came so far."""
    argv = [
        "strace", "-qq", "-o", "/dev/null", "-e", f"trace={CALLS}", "-e", f"inject={CALLS}:signal=KILL:when={call}",
        *host.base, *map(str, words),
    ]  # fmt: skip
    done = subprocess.run(
        argv, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=host.env, timeout=60,
    )  # fmt: skip
    return done.returncode == -signal.SIGKILL


def no_containers(host: Host) -> None:
    """Remove what a killed command made before it was killed: it may well have been done."""
    host.close()


# -- run --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), ("--rm",), ("-t",), ("--rm", "-v", "/data", "--network", "none")], ids=" ".join)
def test_a_run_whose_client_is_killed(host, traces, flags):
    words = ("run", *flags, "busybox", *HELLO)
    for call in instants(calls(host, *words)):
        killed_at(host, call, *words)
        traces.ids()
        until(lambda: not traces.inits(), 10, "the container did not end")
        whole(host)
        traces.gone()
        if "--rm" in flags:
            until(lambda: host("ps", "-aq") == "", 5, "the container was not removed")
            assert not any((host.root / "volumes").iterdir())
        result = host.try_(*words)
        assert result.code == 3 and result.out.strip() == "hello", (call, result)
        no_containers(host)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answer(port: int) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as connection:
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(100)
    except OSError:
        return b""


SERVE = ("sh", "-c", "while :; do echo served | nc -l -p 80; done")


def test_a_detached_run_with_a_port_whose_client_is_killed(host, traces):
    port = free_port()
    words = ("run", "-d", "--name", "web", "-p", f"127.0.0.1:{port}:80", "busybox", *SERVE)
    count = calls(host, *words)
    no_containers(host)
    for call in instants(count):
        killed_at(host, call, *words)
        whole(host)
        if host("ps", "-q"):  # it was started: then it is all there
            until(lambda: answer(port) == b"served\n", 5, "nothing answers")
            host("rm", "-f", "web")
        else:
            no_containers(host)
        traces.gone()
        host(*words)
        until(lambda: answer(port) == b"served\n", 5, "nothing answers")
        host("rm", "-f", "web")


def test_a_start_that_is_killed(host, traces):
    host("create", "--name", "it", "busybox", "sleep", "1000")
    count = calls(host, "start", "it")
    for call in instants(count):
        host("stop", "-t", "0", "it")
        killed_at(host, call, "start", "it")
        whole(host)
        host("start", "it")
        assert len(traces.inits()) == 1
        assert json.loads(host("inspect", "it"))[0]["State"]["Running"]
    host("rm", "-f", "it")


def monitor_of(client: subprocess.Popen) -> int:
    """The pid of the monitor that a client is starting."""

    def look() -> int:
        for child in children(client.pid):
            if comm(child) == "vitrine-monitor":
                return child
        assert client.poll() is None, "the client ended before it had a monitor"
        return 0

    return until(look, 10, "no monitor came")


@pytest.mark.parametrize("flags", [(), ("--rm",), ("-d",), ("-t",)], ids=" ".join)
def test_a_run_whose_monitor_is_killed(host, traces, flags):
    words = ("run", *flags, "busybox", "sh", "-c", "echo hello; sleep 0.05; exit 3")
    for point in range(POINTS):
        client = host.spawn(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        monitor = monitor_of(client)
        time.sleep(0.008 * point)
        try:
            os.kill(monitor, signal.SIGKILL)
        except ProcessLookupError:
            pass
        out, err = client.communicate(timeout=20)
        if client.returncode == 3:
            assert "hello" in out
        elif client.returncode == 0:
            assert flags == ("-d",), (point, out, err)
        else:
            assert client.returncode == 125 or "monitor" in err, (point, client.returncode, out, err)
        whole(host)
        until(lambda: not traces.inits(), 10, "the container did not end")
        until(lambda: not traces.processes(), 10, "its next monitor did not leave")
        whole(host)
        traces.gone()
        for document in json.loads(host("inspect", *ids)) if (ids := host("ps", "-aq").split()) else ():
            state = document["State"]
            assert state["Status"] == "created" or state["ExitCode"] in (3, None), (point, state)
        assert "--rm" not in flags or not ids
        result = host.try_(*words)
        assert result.code == (0 if "-d" in flags else 3), result
        until(lambda: not host("ps", "-q"), 10)
        no_containers(host)


@pytest.mark.parametrize("flags", [(), ("--rm",), ("-t",)], ids=" ".join)
def test_a_run_whose_init_is_killed(host, traces, flags):
    words = ("run", *flags, "busybox", "sh", "-c", "echo hello; sleep 0.05; exit 3")
    for point in range(POINTS):
        client = host.spawn(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        init = until(traces.inits, 10, "no init came")[0]
        time.sleep(0.006 * point)
        try:
            os.kill(init, signal.SIGKILL)
        except ProcessLookupError:
            pass
        out, err = client.communicate(timeout=20)
        assert client.returncode in (3, 125, 137), (point, client.returncode, out, err)
        assert client.returncode != 125 or err
        whole(host)
        traces.gone()
        assert "--rm" not in flags or not host("ps", "-aq")
        result = host.try_(*words)
        assert result.code == 3 and "hello" in result.out, result
        no_containers(host)


# -- a monitor is replaced --------------------------------------------------------------------------------------------


def monitor_pid(host: Host, name: str) -> int:
    """The pid that the record of a container's state tells."""
    container_id = json.loads(host("inspect", name))[0]["Id"]
    return json.loads((host.root / "containers" / container_id / "state.json").read_text())["monitor_pid"]


def end_monitor(host: Host, name: str) -> int:
    """Kill a container's monitor; returns its pid."""
    pid = monitor_pid(host, name)
    assert comm(pid) == "vitrine-monitor"
    os.kill(pid, signal.SIGKILL)
    until(lambda: ended(pid))
    return pid


COUNT = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); echo line $i; [ $((i % 50)) = 0 ] && sleep 0.01; done"


@pytest.mark.parametrize("passing", [("ps",), ("images",), ("exec", "it", "true"), ("logs", "it")], ids=" ".join)
def test_a_killed_monitor_is_replaced_by_the_next_command(host, traces, passing):
    port = free_port()
    script = f"{COUNT} & while :; do echo served | nc -l -p 80; done"
    host("run", "-d", "--name", "it", "-p", f"127.0.0.1:{port}:80", "busybox", "sh", "-c", script)
    init = json.loads(host("inspect", "it"))[0]["State"]["Pid"]
    for _ in range(3):
        old = end_monitor(host, "it")
        time.sleep(0.05)  # output comes meanwhile, and waits
        host(*passing)
        new = monitor_pid(host, "it")
        assert new != old and comm(new) == "vitrine-monitor"
        assert json.loads(host("inspect", "it"))[0]["State"]["Pid"] == init
        until(lambda: answer(port) == b"served\n", 5, "the published port does not answer")
        before = host("logs", "it").count("\n")
        until(lambda before=before: host("logs", "it").count("\n") > before, 10, "the logs do not go on")
    numbers = [int(line.split()[1]) for line in host("logs", "it").splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))
    host("stop", "-t", "1", "it")
    assert json.loads(host("inspect", "it"))[0]["State"]["Status"] == "exited"
    host("start", "it")
    until(lambda: answer(port) == b"served\n", 5, "the published port does not answer")
    host("rm", "-f", "it")


def test_a_port_that_was_chosen_stays_the_same(host, traces):
    host("run", "-d", "--name", "it", "-p", "127.0.0.1::80", "busybox", *SERVE)
    port = published(host, "it")
    until(lambda: answer(port) == b"served\n", 5)
    end_monitor(host, "it")
    host("ps")
    assert published(host, "it") == port
    until(lambda: answer(port) == b"served\n", 5)
    other = host.try_("run", "-d", "-p", f"127.0.0.1:{port}:80", "busybox", "true")
    assert other.code == 125 and str(port) in other.err, other


def published(host: Host, name: str) -> int:
    return int(json.loads(host("inspect", name))[0]["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"])


def test_an_end_that_nobody_saw_is_unknown(host, traces):
    host("run", "-d", "--name", "it", "busybox", "sleep", "1000")
    init = json.loads(host("inspect", "it"))[0]["State"]["Pid"]
    end_monitor(host, "it")
    os.kill(init, signal.SIGKILL)
    until(lambda: not traces.inits())
    state = json.loads(host("inspect", "it"))[0]["State"]
    assert state["Status"] == "exited" and state["ExitCode"] is None and state["Error"]
    host("start", "it")
    assert json.loads(host("inspect", "it"))[0]["State"]["Running"]


@pytest.mark.parametrize("policy", ["always", "unless-stopped", "on-failure:3", "no"])
def test_an_end_that_nobody_saw_is_followed_by_the_policy(host, traces, policy):
    host("run", "-d", "--name", "it", "--restart", policy, "busybox", "sleep", "1000")
    init = json.loads(host("inspect", "it"))[0]["State"]["Pid"]
    end_monitor(host, "it")
    os.kill(init, signal.SIGKILL)
    until(lambda: init not in traces.inits())
    host("ps")
    document = json.loads(host("inspect", "it"))[0]
    assert document["State"]["Running"] == (policy != "no")
    assert document["RestartCount"] == (policy != "no")
    host("rm", "-f", "it")


def test_after_a_boot_the_policy_applies_and_what_removes_itself_is_gone(host, traces):
    host("run", "-d", "--name", "always", "--restart", "always", "busybox", "sleep", "1000")
    host("run", "-d", "--name", "plain", "busybox", "sleep", "1000")
    host("run", "-d", "--name", "removed", "--rm", "-v", "/data", "busybox", "sleep", "1000")
    monitors = [monitor_pid(host, name) for name in ("always", "plain", "removed")]
    for pid in (*monitors, *traces.inits()):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not traces.inits() and all(map(ended, monitors)))
    shutil.rmtree(host.run_root)  # as a boot does
    for top in traces.cgroups():
        for path, _folders, _files in os.walk(top, topdown=False):
            os.rmdir(path)
    from vitrine.engine import Engine

    assert Engine(traces.settings).system.boot() == [("always", "started")]
    assert host("ps", "-a", "--format", "json").count("Names") == 2
    assert json.loads(host("inspect", "always"))[0]["State"]["Running"]
    assert json.loads(host("inspect", "plain"))[0]["State"]["ExitCode"] is None
    assert not any((host.root / "volumes").iterdir())


@pytest.mark.parametrize("verb", [("stop", "-t", "0"), ("kill",), ("rm", "-f"), ("restart", "-t", "0")], ids=" ".join)
def test_a_container_without_monitor_obeys(host, traces, verb):
    host("run", "-d", "--name", "it", "busybox", "sleep", "1000")
    end_monitor(host, "it")
    host(*verb, "it")
    if verb[0] == "restart":
        assert json.loads(host("inspect", "it"))[0]["State"]["Running"]
    else:
        until(lambda: not host("ps", "-q"), 10, "it still runs")


# -- pull -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pulled(host, registry, folder):
    """The name of an image of five layers in the registry: much, little, deleted, and links."""
    context = folder / "image"
    context.mkdir()
    for name in ("one", "two"):
        (context / name).write_bytes(os.urandom(3 << 20))
    (context / "Dockerfile").write_text(
        "FROM busybox\nCOPY one /one\nRUN mkdir /many && for i in $(seq 300); do echo $i > /many/$i; done\n"
        "COPY two /two\nRUN rm /one && ln /two /three\n"
    )
    name = f"{registry.host}/loss:1"
    host("build", "-q", "-t", name, context)
    host("push", name)
    host("rmi", name)
    return name


def layers(host: Host) -> list[str]:
    return sorted(name for name in os.listdir(host.root / "layers") if name.isdigit())


@pytest.fixture
def puller(folder, pulled):
    """A host of its own, whose store is empty; the registry's name is that of loopback, so no TLS is asked for."""
    here = Host(folder / "puller")
    here("check")
    yield here
    here.close()
    Traces(here).gone()
    shutil.rmtree(here.root.parent)


def test_a_pull_that_is_killed(puller, pulled):
    host, traces = puller, Traces(puller)
    words = ("pull", "-q", pulled)
    count = calls(host, *words)
    host("rmi", pulled)
    for call in instants(count):
        killed_at(host, call, *words)
        whole(host)
        traces.gone()
        host(*words)
        look = ("sh", "-c", "ls /many | wc -l; cat /two /three | wc -c; ls -a /one 2>/dev/null")
        assert host.try_("run", "--rm", "--network", "none", pulled, *look).out == f"300\n{6 << 20}\n"
        host("rmi", pulled)
        assert layers(host) == []


def test_a_pull_that_is_killed_as_a_group(puller, pulled):
    """With its workers: a power cut, or the kernel's out-of-memory killer in a group."""
    host, traces = puller, Traces(puller)
    began = time.monotonic()
    host("pull", "-q", pulled)
    length = time.monotonic() - began
    host("rmi", pulled)
    for point in range(POINTS):
        client = host.spawn("pull", "-q", pulled, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            start_new_session=True)  # fmt: skip
        time.sleep(length * (point + 0.5) / POINTS)
        try:
            os.killpg(client.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        client.wait(10)
        whole(host)
        traces.gone()
        host("pull", "-q", pulled)
        host("rmi", pulled)
        assert layers(host) == []


def test_a_pulls_worker_that_is_killed_is_told(puller, pulled):
    host, traces = puller, Traces(puller)
    for _ in range(4):
        client = host.spawn("pull", "-q", pulled, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        workers = until(lambda client=client: children(client.pid) or client.poll() is not None, 20)
        if workers is not True:
            os.kill(workers[0], signal.SIGKILL)
        _out, err = client.communicate(timeout=30)
        assert client.returncode == 0 or "killed" in err, err
        whole(host)
        traces.gone()
        host("pull", "-q", pulled)
        host("rmi", pulled)


def test_a_load_that_is_killed(puller, pulled, folder):
    host, traces = puller, Traces(puller)
    host("pull", "-q", pulled)
    host("save", "-o", folder / "saved.tar", pulled)
    host("rmi", pulled)
    words = ("load", "-q", "-i", folder / "saved.tar")
    count = calls(host, *words)
    for call in instants(count, 8):
        host("rmi", pulled)
        killed_at(host, call, *words)
        whole(host)
        traces.gone()
        host(*words)
        assert len(layers(host)) == 5
    host("rmi", pulled)
    assert layers(host) == []


# -- build and commit -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def context(folder):
    path = folder / "context"
    path.mkdir()
    (path / "file").write_text("content\n")
    (path / "Dockerfile").write_text(
        "FROM busybox\nCOPY file /copied\nRUN echo ran > /ran\nENV A=b\nVOLUME /v\nCMD cat /copied /ran\n"
    )
    return path


def test_a_build_that_is_killed(host, traces, context):
    words = ("build", "-q", "--no-cache", "-t", "built", context)
    for call in instants(calls(host, *words), 14):
        killed_at(host, call, *words)
        whole(host)
        traces.gone()
        assert host("ps", "-aq") == ""
        host("build", "-q", "-t", "built", context)
        assert host("run", "--rm", "--network", "none", "built") == "content\nran\n"
        host("rmi", "built")


@pytest.mark.parametrize("what", ["monitor", "init"])
def test_a_build_step_whose_process_is_killed(host, traces, folder, what):
    context = folder / what
    context.mkdir()
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo one > /one\nRUN echo two > /two; sleep 0.3\n")
    for point in range(4):
        client = host.spawn("build", "--no-cache", "-t", "built", context, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)  # fmt: skip
        pid = monitor_of(client) if what == "monitor" else until(traces.inits)[0]
        time.sleep(0.05 * point)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        out, err = client.communicate(timeout=30)
        assert client.returncode == 0 or err, out
        whole(host)
        until(lambda: not traces.inits())
        whole(host)
        traces.gone()
        host("build", "-q", "-t", "built", context)
        assert host("run", "--rm", "--network", "none", "built", "cat", "/one", "/two") == "one\ntwo\n"
        host("rmi", "built")


def test_a_commit_that_is_killed(host, traces):
    host("run", "-d", "--name", "it", "busybox", "sh", "-c", "echo changed > /changed; while :; do sleep 0.1; done")
    until(lambda: host.try_("exec", "it", "cat", "/changed").out == "changed\n")
    words = ("commit", "it", "committed")
    count = calls(host, *words)
    host("rmi", "committed")
    for call in instants(count, 16):
        killed_at(host, call, *words)
        whole(host)
        assert host("exec", "it", "cat", "/changed") == "changed\n"  # it is not frozen for ever
        host(*words)
        assert host("run", "--rm", "--network", "none", "committed", "cat", "/changed") == "changed\n"
        host("rmi", "committed")
    host("rm", "-f", "it")


def test_a_removal_that_is_killed(host, traces):
    count = 0
    for call in range(1, 60):
        host("run", "-d", "--name", "it", "-v", "/data", "--network", "none", "busybox", "sleep", "1000")
        came = killed_at(host, call, "rm", "-f", "-v", "it")
        whole(host)
        host.try_("rm", "-f", "-v", "it")
        assert not any((host.root / "volumes").iterdir())
        traces.gone()
        count += came
        if not came:
            break
    assert count > 3


# -- several at once --------------------------------------------------------------------------------------------------


def together(host: Host, *commands: tuple) -> list[tuple[int, str, str]]:
    """Start all, wait for all; returns (exit code, output, errors) of each."""
    started = [host.spawn(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for words in commands]
    texts = [one.communicate(timeout=60) for one in started]
    return [(one.returncode, *text) for one, text in zip(started, texts)]


def test_two_tasks_at_once_on_one_name(host, traces):
    for _ in range(5):
        results = together(host, *[("run", "-d", "--name", "it", "busybox", "sleep", "1000")] * 2)
        codes = sorted(code for code, _out, _err in results)
        assert codes == [0, 125], results
        assert "in use" in next(err for code, _out, err in results if code), results
        assert len(host("ps", "-q").split()) == 1
        results = together(host, ("rm", "-f", "it"), ("rm", "-f", "it"))
        assert 0 in [code for code, _out, _err in results], results
        assert all(code == 0 or "no such container" in err or "removed meanwhile" in err for code, _o, err in results)
        assert host("ps", "-aq") == ""
    host("create", "--name", "it", "busybox", "sleep", "1000")
    assert [code for code, _out, _err in together(host, *[("start", "it")] * 3)] == [0, 0, 0]
    assert len(traces.inits()) == 1
    results = together(host, ("stop", "-t", "1", "it"), ("start", "it"), ("restart", "-t", "0", "it"), ("ps",))
    assert [code for code, _out, _err in results] == [0, 0, 0, 0], results
    whole(host)


def test_six_runs_at_once(host, traces):
    port = free_port()
    for _ in range(3):
        results = together(host, *[("run", "--rm", "-v", "/data", "busybox", *HELLO)] * 6)
        assert [(code, out) for code, out, _err in results] == [(3, "hello\n")] * 6, results
        results = together(host, *[("run", "-d", "-p", f"{port}:80", "busybox", *SERVE)] * 3)
        assert sorted(code for code, _out, _err in results) == [0, 125, 125], results
        until(lambda: answer(port) == b"served\n", 5)
        no_containers(host)
    whole(host)
    assert not any((host.root / "volumes").iterdir())


def test_pulls_of_the_same_image_at_once(puller, pulled):
    results = together(puller, *[("pull", "-q", pulled)] * 4)
    assert [code for code, _out, _err in results] == [0] * 4, results
    whole(puller)
    assert len(layers(puller)) == 5
    results = together(puller, ("rmi", pulled), ("run", "--rm", "--network", "none", pulled, *HELLO))
    assert results[0][0] in (0, 1), results
    assert results[1][0] == 3 or "meanwhile" in results[1][2] or "no such image" in results[1][2].lower(), results
    whole(puller)


def test_an_image_that_is_removed_while_it_runs(host, traces):
    host("tag", "busybox", "mine")
    host("run", "-d", "--name", "it", "mine", "sleep", "1000")
    image = host("inspect", "-f", "json", "it") and json.loads(host("inspect", "it"))[0]["Image"]
    refused = host.try_("rmi", image)
    assert refused.code == 1 and "it" in refused.err, refused
    assert host("exec", "it", "echo", "lives") == "lives\n"
    host("rmi", "mine")
    whole(host)


def test_builds_and_runs_and_checks_at_once(host, traces, context):
    commands = [("build", "-q", "--no-cache", "-t", f"built{number}", context) for number in range(2)]
    commands += [("run", "--rm", "busybox", *HELLO)] * 2 + [("check",), ("ps", "-a")]
    results = together(host, *commands)
    assert [code for code, _out, _err in results] == [0, 0, 3, 3, 0, 0], results
    host("rmi", "built0", "built1")
    whole(host)
