# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The use cases in which something goes wrong: how each one's ground is laid, its words, and when it is done."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from support.host import Host
from support.traces import until

SLEEP = ("run", "-d", "--name", "it", "--network", "none", "busybox", "sleep", "1000")


def inspect(host: Host, name: str) -> dict:
    """docker's document of a container or image, {} when there is none."""
    result = host.try_("inspect", name)
    return json.loads(result.out)[0] if result.code == 0 else {}


def status(host: Host, name: str = "it") -> str:
    return inspect(host, name).get("State", {}).get("Status", "")


def networks(host: Host) -> dict:
    return inspect(host, "it")["NetworkSettings"]["Networks"]


def ended(host: Host) -> bool:
    """It ran and came to its end, which may be a moment from now."""
    return until(lambda: status(host) in ("exited", ""), 10) and status(host) == "exited"


def gone(host: Host, name: str = "it") -> bool:
    return not inspect(host, name)


def says(host: Host, path: str, text: str) -> bool:
    return host.try_("exec", "it", "cat", path).out == text


class Case:
    """One use case.

    words: the command. done: whether what it promises is so. prepare: commands before it, each time. undo: what takes
    back whatever is there. again: what the same command may say when it was done already.
    """

    def __init__(
        self,
        words: tuple[object, ...],
        done: Callable[[Host], object],
        *,
        prepare: tuple[tuple[object, ...], ...] = (),
        undo: tuple[tuple[object, ...], ...] = (("rm", "-f", "it"),),
        again: str = "",
        stdin: str = "",
    ) -> None:
        self.words = words
        self.done = done
        self.prepare = prepare
        self.undo = undo
        self.again = again
        self.stdin = stdin


ON_BRIDGE = ("run", "-d", "--name", "it", "busybox", "sleep", "1000")
WRITE = ("exec", "it", "sh", "-c", "echo x > /file")
CREATE = ("create", "--name", "it", "--network", "none", "busybox", "sleep", "1000")

CASES = {
    "create": Case(
        ("create", "--name", "it", "-v", "/data", "busybox", "true"),
        lambda host: status(host) == "created",
        undo=(("rm", "-f", "-v", "it"),),
        again="is in use",
    ),
    "run": Case(
        ("run", "--name", "it", "--network", "none", "busybox", "echo", "hello"), ended, again="is in use"
    ),
    "run --rm": Case(
        ("run", "--rm", "--name", "it", "-v", "/data", "--network", "none", "busybox", "echo", "hello"),
        lambda host: until(lambda: gone(host)),
        undo=(("rm", "-f", "-v", "it"),),
        again="is in use",
    ),
    "run -d": Case(
        ("run", "-d", "--name", "it", "-p", "127.0.0.1::80", "busybox", "sleep", "1000"),
        lambda host: status(host) == "running",
        again="is in use",
    ),
    "start": Case(("start", "it"), lambda host: status(host) == "running", prepare=(CREATE,)),
    "stop": Case(("stop", "-t", "0", "it"), lambda host: status(host) == "exited", prepare=(SLEEP,)),
    "kill": Case(
        ("kill", "it"), lambda host: until(lambda: status(host) == "exited"), prepare=(SLEEP,), again="not running"
    ),
    "restart": Case(("restart", "-t", "0", "it"), lambda host: status(host) == "running", prepare=(SLEEP,)),
    "rm": Case(("rm", "it"), gone, prepare=(CREATE,), again="no such container"),
    "rm -f": Case(("rm", "-f", "it"), gone, prepare=(SLEEP,), again="no such container"),
    "rename": Case(
        ("rename", "it", "other"),
        lambda host: status(host, "other") and gone(host),
        prepare=(CREATE,),
        undo=(("rm", "-f", "it"), ("rm", "-f", "other")),
        again="no such container",
    ),
    "pause": Case(("pause", "it"), lambda host: status(host) == "paused", prepare=(SLEEP,), again="already"),
    "unpause": Case(
        ("unpause", "it"), lambda host: status(host) == "running", prepare=(SLEEP, ("pause", "it")), again="not paused"
    ),
    "exec": Case(
        WRITE, lambda host: says(host, "/file", "x\n"), prepare=(SLEEP,)
    ),
    "cp in": Case(
        ("cp", "/etc/hostname", "it:/copied"),
        lambda host: says(host, "/copied", Path("/etc/hostname").read_text()),
        prepare=(SLEEP,),
    ),
    "commit": Case(
        ("commit", "it", "committed"),
        lambda host: inspect(host, "committed") and says(host, "/file", "x\n"),
        prepare=(SLEEP, WRITE),
        undo=(("rm", "-f", "it"), ("rmi", "committed")),
    ),
    "tag": Case(
        ("tag", "busybox", "tagged"), lambda host: inspect(host, "tagged"), undo=(("rmi", "tagged"),)
    ),
    "rmi": Case(
        ("rmi", "committed"),
        lambda host: gone(host, "committed"),
        prepare=(SLEEP, WRITE, ("commit", "it", "committed"), ("rm", "-f", "it")),
        undo=(("rm", "-f", "it"), ("rmi", "committed")),
        again="no such image",
    ),
    "volume create": Case(
        ("volume", "create", "data"), lambda host: host.try_("volume", "inspect", "data").code == 0,
        undo=(("volume", "rm", "data"),), again="exists",
    ),
    "volume rm": Case(
        ("volume", "rm", "data"),
        lambda host: host.try_("volume", "inspect", "data").code != 0
        and not os.path.exists(host.root / "volumes" / "data"),
        prepare=(("volume", "create", "data"),), undo=(("volume", "rm", "data"),), again="no such volume",
    ),
    "prune": Case(
        ("container", "prune", "--force", "--filter", "label=prune"), gone,
        prepare=(("create", "--name", "it", "--label", "prune", "busybox", "x"),),
    ),
    "network create": Case(
        ("network", "create", "net"), lambda host: host.try_("network", "inspect", "net").code == 0,
        undo=(("network", "rm", "net"),), again="exists",
    ),
    "network rm": Case(
        ("network", "rm", "net"), lambda host: host.try_("network", "inspect", "net").code != 0,
        prepare=(("network", "create", "net"),), undo=(("network", "rm", "net"),), again="not found",
    ),
    "connect": Case(
        ("network", "connect", "net", "it"), lambda host: "net" in networks(host),
        prepare=(("network", "create", "net"), ON_BRIDGE), undo=(("rm", "-f", "it"), ("network", "rm", "net")),
        again="already",
    ),
    "disconnect": Case(
        ("network", "disconnect", "net", "it"), lambda host: "net" not in networks(host),
        prepare=(("network", "create", "net"), ON_BRIDGE, ("network", "connect", "net", "it")),
        undo=(("rm", "-f", "it"), ("network", "rm", "net")), again="is not",
    ),
    "update": Case(
        ("update", "--memory", "64m", "it"),
        lambda host: inspect(host, "it")["HostConfig"]["Memory"] == 64 << 20,
        prepare=(SLEEP,),
    ),
}  # fmt: skip


LOADED = "loaded.tar"


def with_folder(folder: str) -> dict[str, Case]:
    """The use cases that need files of the host."""
    context = f"{folder}/context"
    os.makedirs(context)
    with open(f"{context}/Dockerfile", "w", encoding="ascii") as file:
        file.write("FROM busybox\nCOPY file /copied\nRUN echo ran > /ran\nENV A=b\n")
    with open(f"{context}/file", "w", encoding="ascii") as file:
        file.write("content\n")
    archive = f"{folder}/saved.tar"
    loaded = f"{folder}/{LOADED}"
    return {
        "build": Case(
            ("build", "-q", "--no-cache", "-t", "built", context),
            lambda host: host("run", "--rm", "--network", "none", "built", "cat", "/copied", "/ran")
            == "content\nran\n",
            undo=(("rmi", "built"),),
        ),
        "save": Case(
            ("save", "-o", archive, "busybox"), lambda _host: os.path.getsize(archive) > 1 << 20, undo=()
        ),
        "load": Case(
            ("load", "-q", "-i", loaded),
            lambda host: host("run", "--rm", "--network", "none", "built", "cat", "/ran") == "ran\n",
            undo=(("rmi", "built"),),
        ),
        "cp out": Case(
            ("cp", "it:/etc/passwd", f"{folder}/copied"),
            lambda _host: "root:" in Path(folder, "copied").read_text(),
            prepare=(SLEEP,),
        ),
    }  # fmt: skip


def with_registry(name: str) -> dict[str, Case]:
    """The use cases that need a registry; its name for an image that it has, of a layer above busybox's."""
    return {
        "pull": Case(
            ("pull", "-q", name),
            lambda host: host("run", "--rm", "--network", "none", name, "cat", "/ran") == "ran\n",
            undo=(("rmi", name),),
        ),
        "push": Case(
            ("push", "-q", f"{name}-again"),
            lambda host: inspect(host, f"{name}-again"),
            prepare=(("tag", "busybox", f"{name}-again"),),
            undo=(("rmi", f"{name}-again"),),
        ),
    }


#: The names, before there is a folder or a registry.
NAMES = (*CASES, "build", "save", "load", "cp out", "pull", "push")
