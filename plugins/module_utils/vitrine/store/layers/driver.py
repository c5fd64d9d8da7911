# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a layer driver is: how layers lie on disk, and how they and a container's own directory become one tree.

name        as users choose it
layout      of layer directories: "overlay" or "aufs" (see unpack)
usable(root)                 why it cannot be used for a store at root, or None
prepare(folder, lowers, like)   make a container's own directories below folder; like: the root to resemble
plan(lowers, upper, work)    what the runtime mounts ("io.vitrine.root")
writable(folder)             the directory that the container writes to
walk(fd, lower, root_like)   the items of what it changed
"""

from __future__ import annotations

import os

from ...errors import HostError
from ..disk import make_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .union import Place
    from .walk import Item


class Driver:
    """Base of the drivers that mount layers under a writable directory."""

    name = ""
    layout = ""

    def usable(self, root: str) -> str | None:
        """Return why this driver cannot work for layers in the directory root, None when it can."""
        raise NotImplementedError

    def prepare(self, folder: str, lowers: list[str], like: str) -> dict[str, Any]:
        """Make a container's own directories; idempotent. Returns its root plan."""
        raise NotImplementedError

    def plan(self, lowers: list[str], upper: str | None, work: str | None) -> dict[str, Any]:
        """Return the root plan in the form of the annotation "io.vitrine.root"."""
        raise NotImplementedError

    def writable(self, folder: str) -> str:
        """Return the directory that a container's changes are read from."""
        return os.path.join(folder, "upper")

    def walk(self, fd: int, lower: Place, root_like: tuple[int, int, int]) -> Iterable[Item]:
        """Return what a container changed, as items."""
        from .walk import Walk

        return Walk(fd, self.layout, lower=lower, root_like=root_like)

    def mount(self, plan: dict[str, Any]) -> int:
        """Return an open directory of the whole tree, without leaving a mount anywhere. Raises OSError."""
        raise NotImplementedError


def make_upper(folder: str, like: str) -> str:
    """Make a container's writable directory with the root's owner and mode of the layers below it."""
    path = os.path.join(folder, "upper")
    if not os.path.isdir(path):
        new = path + ".new"  # nobody may find it with another mode: the container's root would have that
        make_directory(new, 0o700)
        status = os.stat(like)
        os.chown(new, status.st_uid, status.st_gid)
        os.chmod(new, status.st_mode & 0o7777)
        os.rename(new, path)
    return path


def choose(root: str, wanted: str | None) -> Driver:
    """Return the wanted driver, or the first that works at root: overlay, aufs, copy. Raises HostError."""
    if wanted is not None:
        return load(wanted)
    reasons = []
    for name in NAMES:
        driver = load(name)
        reason = driver.usable(root)
        if reason is None:
            return driver
        reasons.append(f"{name}: {reason}")
    raise HostError(
        "no layer driver works here: " + "; ".join(reasons),
        hint="put the engine's root on a local ext4, xfs or btrfs",
        value=root,
    )


NAMES = ("overlay", "aufs", "copy")


def load(name: str) -> Driver:
    """Return the driver of a name. Raises HostError for an unknown one."""
    if name == "overlay":
        from .overlay import Overlay

        return Overlay()
    if name == "aufs":
        from .aufs import Aufs

        return Aufs()
    if name == "copy":
        from .copy import Copy

        return Copy()
    raise HostError(f"there is no storage driver {name!r}", hint=f"choose one of {', '.join(NAMES)}", value=name)


def mount_apart(make: Any) -> int:
    """Return an open directory of what make(target) mounts, in a mount namespace that nobody else ever sees.

    A child enters the namespace, mounts, passes the open directory to us and ends; the mount lives as long as it is
    open. For kernels without detached mounts.
    """
    import array
    import socket

    from ...linux import mount, namespaces

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    target = next(path for path in ("/mnt", "/tmp", "/run", "/") if os.path.isdir(path))  # nobody else sees it covered
    child = os.fork()
    if child == 0:
        try:
            namespaces.unshare(namespaces.FLAGS["mnt"])
            mount.mount(None, "/", None, mount.MS_REC | mount.MS_PRIVATE)
            make(target)
            fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
            theirs.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
        except OSError as error:
            theirs.send(f"{error.errno or 0} {error}".encode()[:4000])
        finally:
            os._exit(0)
    theirs.close()
    try:
        data, ancillary, _flags, _address = ours.recvmsg(4096, socket.CMSG_SPACE(4))
    finally:
        ours.close()
        os.waitpid(child, 0)
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds = array.array("i")
            fds.frombytes(payload[:4])
            os.set_inheritable(fds[0], False)
            return fds[0]
    code, _space, text = data.decode(errors="replace").partition(" ")
    raise OSError(int(code or 0), text or "the mounting process ended")
