# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first process of a container, from its birth (start.py) until it becomes the command (become.py).

Everything that it needs is imported before it is born. What fails is told as (step, errno, text); there are no
tracebacks, because printing one would read the container's files.
"""

from __future__ import annotations

import os

from ..linux import namespaces, netlink, prctl
from ..linux.syscall import syscall
from . import become, cgroups, console, entry, reaper, wire
from .mounts import Executor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Init:
    """One start. step, detail: what is being done, for the report of a failure."""

    def __init__(self, plan: dict[str, Any], sock: Any, joined: list[int], born_in_cgroup: bool) -> None:
        self.plan = plan
        self.sock = sock
        self.joined = joined
        self.born_in_cgroup = born_in_cgroup
        self.step, self.detail = "init", ""
        self.executor = Executor(plan["cgroup"])
        self.master = self.slave = -1

    def main(self, stdio: tuple[int, int, int] | None) -> None:
        """Never returns."""
        status = 1
        try:
            self.isolate(stdio)
            identity = self.build()
            become.refuse_imports()
            self.executor.enter()
            self.sock.send(wire.READY)
            if self.sock.recv(1) != wire.PROCEED:
                os._exit(1)
            self.configure()
            status = self.become(identity)
        except BaseException as error:  # whatever it is: nobody above could print it
            wire.send_error(self.sock, self.step, self.detail, error)
        os._exit(status)

    def doing(self, step: str, detail: str = "") -> None:
        """Note what the next lines are about."""
        self.step, self.detail = step, detail

    def isolate(self, stdio: tuple[int, int, int] | None) -> None:
        """Leave the monitor: its signals, session, descriptors, cgroups, namespaces and keys."""
        plan = self.plan
        become.reset_signals()
        prctl.set_dumpable(False)
        os.setsid()
        if stdio is not None:
            sources = [os.dup(fd) if fd < 3 else fd for fd in stdio]  # so that none is overwritten before its turn
            for target, fd in enumerate(sources):
                os.dup2(fd, target, inheritable=True)
        # Not only at execve: with a pid namespace of others, those may look at what this process has open.
        entry.close_others((0, 1, 2, self.sock.fileno(), *self.joined))
        entry.cloexec_from(3)
        self.doing("cgroup")
        if plan["cgroup"]:
            cgroups.enter(plan["cgroup"], unified=not self.born_in_cgroup)
        if plan["own_cgroup_namespace"] and os.path.exists("/proc/self/ns/cgroup"):
            namespaces.unshare(namespaces.FLAGS["cgroup"])
        for (kind, path), fd in zip(plan["join"], self.joined):
            self.doing("namespace", path)
            if kind != "pid":
                namespaces.setns(fd, namespaces.FLAGS[kind])
            os.close(fd)
        self.doing("keyring")
        become.new_session_keyring()
        self.doing("oom_score_adj")
        become.set_oom_score_adj(plan["process"]["oom_score_adj"])
        self.doing("apparmor")
        become.set_apparmor(plan["process"]["apparmor"])

    def build(self) -> tuple[int, int, list[int], bytes]:
        """Mount everything, open the terminal, and look up the user, all before the host's files are let go."""
        for operation in self.plan["mounts"]:
            self.doing("mount", " ".join(map(str, operation[:3])))
            self.executor.run(operation)
        process, root_fd = self.plan["process"], self.executor.root_fd
        if process["tty"]:
            self.doing("console")
            self.master, self.slave = console.open_pair(root_fd, process["console_size"])
            console.bind_console(root_fd, self.slave)
        self.executor.close()
        self.doing("user", process["user"])
        identity = become.read_identity(root_fd, process)
        if process["init"]:
            reaper.disguise(process["argv"])
        self.doing("pivot_root")
        return identity

    def configure(self) -> None:
        """What belongs to the namespaces: addresses, sysctls, host name."""
        plan = self.plan
        self.doing("network")
        netlink.apply(plan["network_ops"])
        for path, value in plan["sysctls"]:
            self.doing("sysctl", path)
            fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.executor.sysctl_fd)
            try:
                os.write(fd, os.fsencode(value))
            finally:
                os.close(fd)
        for call, key in (("sethostname", "hostname"), ("setdomainname", "domainname")):
            if plan[key]:
                self.doing(call, plan[key])
                data = os.fsencode(plan[key])
                syscall(call, data, len(data))

    def become(self, identity: tuple[int, int, list[int], bytes]) -> int:
        """Limits, user, command. Returns an exit status only in the reaper of --init."""
        process = self.plan["process"]
        self.doing("console")
        if self.slave >= 0:
            console.take(self.slave)
            wire.send_fd(self.sock, wire.CONSOLE, self.master)
            os.close(self.master)
        for fd in (self.executor.root_fd, self.executor.sysctl_fd):
            if fd >= 0:
                os.close(fd)
        return become.run(process, identity, self.sock, self.doing, reaper.supervise if process["init"] else None)
