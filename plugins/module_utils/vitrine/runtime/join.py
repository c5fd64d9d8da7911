# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enters a running container and leaves a process there: the helper of exec.py, run in the sealed interpreter."""

from __future__ import annotations

import errno
import os

from ..errors import Conflict
from ..linux import caps, clone, features, namespaces, prctl, process
from . import become, cgroups, console, entry, seal, wire
from .exec import SOCKET_FD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The mount namespace comes last: with it, the host's files are out of reach.
_KINDS = ("cgroup", "ipc", "uts", "net", "pid", "mnt")


class Join:
    """One entry. step, detail: what is being done, for the report of a failure."""

    def __init__(self, plan: dict[str, Any], sock: Any) -> None:
        self.plan = plan
        self.sock = sock
        self.step, self.detail = "exec", ""
        self.master = self.slave = -1

    def doing(self, step: str, detail: str = "") -> None:
        """Note what the next lines are about."""
        self.step, self.detail = step, detail

    def main(self) -> int:
        """Return the helper's exit status; in the process that is left behind, end it."""
        pid = -1
        try:
            identity = self.enter()
            pid = self.fork()
            if pid:
                self.sock.send(wire.STARTED + b"%d" % pid)
                return 0
            self.become(identity)
        except BaseException as error:  # nothing can be printed from inside a container
            wire.send_error(self.sock, self.step, self.detail, error)
        if pid == 0:
            os._exit(1)
        return 1

    def fork(self) -> int:
        """Clone the process, as a child of the helper's parent."""
        self.doing("clone")
        try:
            return clone.clone(clone.CLONE_PARENT)[0]
        except OSError as error:
            if error.errno == errno.ENOMEM:  # what the kernel says of a pid namespace whose first process has ended
                raise Conflict("the container has ended", hint="start it first", value=self.plan["pid"]) from None
            raise

    def enter(self) -> tuple[int, int, list[int], bytes]:
        """Open all that is needed of the host, make sure of whom it was opened, and go in with nothing of it."""
        plan, pid = self.plan, self.plan["pid"]
        process_ = plan["process"]
        self.doing("namespace", f"process {pid}")
        fds = {}
        try:
            for kind in _KINDS:
                try:
                    fds[kind] = namespaces.open_ns(pid, kind)
                except FileNotFoundError:
                    if kind != "cgroup":  # before Linux 4.6
                        raise
            root_fd = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ESRCH):
                raise Conflict("the container is not running", hint="start it first", value=pid) from None
            raise
        if not process.alive(pid, plan["start_time"]):
            raise Conflict("the container is not running", hint="start it first", value=pid)
        if plan["confine_devices"] and not caps.bounding_of(pid) >> caps.NUMBERS["CAP_MKNOD"] & 1:
            become.refuse_nodes(process_)  # the container was not given it, perhaps for want of a device cgroup
        self.doing("user", process_["user"])
        identity = become.read_identity(root_fd, process_)
        if process_["tty"]:
            self.doing("console")
            self.master, self.slave = console.open_pair(root_fd, process_["console_size"])
        os.close(root_fd)
        self.doing("oom_score_adj")
        become.set_oom_score_adj(process_["oom_score_adj"])
        self.doing("apparmor")
        become.set_apparmor(process_["apparmor"])
        self.doing("cgroup")
        if wire.receive(self.sock)[0] != wire.PROCEED:  # whoever started this helper was killed, or gave it up
            raise Conflict("the command was given up before it began", value=pid)
        if plan["cgroup"]:
            cgroups.enter(plan["cgroup"], unified=False)
        become.refuse_imports()
        for kind, fd in fds.items():
            self.doing("namespace", kind)
            namespaces.setns(fd, namespaces.FLAGS[kind])
        for fd in fds.values():
            os.close(fd)
        return identity

    def become(self, identity: tuple[int, int, list[int], bytes]) -> None:
        """Turn into the command."""
        become.reset_signals()
        prctl.set_dumpable(False)
        os.setsid()
        self.doing("keyring")
        become.new_session_keyring()
        if self.slave >= 0:
            self.doing("console")
            console.take(self.slave)
            wire.send_fd(self.sock, wire.CONSOLE, self.master)
            os.close(self.master)
        become.run(self.plan["process"], identity, self.sock, self.doing, None)


def main() -> int:
    """Entered from seal.spawn()."""
    plan = seal.request()
    entry.cloexec_from(3)
    features.set_without(plan["without"])  # type: ignore[index]
    return Join(plan, wire.adopt(SOCKET_FD)).main()  # type: ignore[arg-type]
