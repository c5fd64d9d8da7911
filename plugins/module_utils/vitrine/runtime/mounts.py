# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the mount operations of a plan (see plan.py) in the container's own mount namespace, before pivot_root.

Every path inside the container is resolved in its root by descriptor, and mounted upon by descriptor: what an image or
another container does with links while this runs cannot lead outside.
"""

from __future__ import annotations

import errno
import os
import stat

from ..errors import StartFailed
from ..linux import mount, namespaces, paths
from ..linux.features import has

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NULL = os.makedev(1, 3)
_NODES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)


class Executor:
    """Runs mount operations one by one. root_fd: the container's root; sysctl_fd: its /proc/sys, writable."""

    def __init__(self, cgroup: dict[str, Any] | None) -> None:
        self.root_fd = -1
        self.sysctl_fd = -1
        self.cgroup = cgroup
        self._proc_device = -1
        self._null = -1
        self._empty = -1
        self._foreign: dict[str, int] = {}

    def run(self, operation: tuple) -> None:
        """Carry out one operation. Raises OSError or StartFailed."""
        getattr(self, "do_" + operation[0])(*operation[1:])

    def close(self) -> None:
        """Close what operations left open for later ones; root_fd and sysctl_fd stay."""
        for fd in (self._null, self._empty, *self._foreign.values()):
            if fd >= 0:
                os.close(fd)
        self._null = self._empty = -1
        self._foreign = {}

    # -- the root --------------------------------------------------------------------------------------------------

    def do_propagation(self, kind: int) -> None:
        """What the host mounts later may come in or not; nothing of ours goes out (unless kind is MS_SHARED)."""
        mount.set_propagation("/", kind)

    def do_fetch(self, source: str) -> None:
        """Take hold of a bind source in its present peer group, or in another process's mount namespace."""
        self._foreign[source] = _fetch(source)

    def do_root(self, driver: str, lowers: list[str], upper: str | None, work: str | None) -> None:
        """Mount the root, if possible over its own topmost directory: that needs no directory made for it."""
        if driver == "overlay":
            place = upper or lowers[0]
            mount.overlay(lowers, upper, work, place)
        elif driver == "aufs":
            # aufs is not put over one of its own branches: nobody could try that on a kernel of today
            place = os.path.join(os.path.dirname(upper or lowers[0]), "mount")
            os.makedirs(place, 0o700, exist_ok=True)
            top = [(upper, "rw")] if upper else []
            mount.aufs([*top, *((path, "ro+wh") for path in lowers)], place)
        else:
            place = upper or lowers[0]
            source = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                mount.bind(source, source)
            finally:
                os.close(source)
        # pivot_root refuses roots that propagate.
        mount.set_propagation(place, mount.MS_PRIVATE)
        self.root_fd = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def do_root_readonly(self) -> None:
        mount.change(self.root_fd, mount.MS_RDONLY)

    # -- mounts ----------------------------------------------------------------------------------------------------

    def _directory(self, target: str, real: bool) -> int:
        """Open, make if missing, the directory to mount upon. real: no links on the way, for the kernel's own."""
        try:
            return paths.mkdirs_in_root(self.root_fd, target, follow=not real)
        except OSError as error:
            if real and error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise StartFailed(
                    f"{target} of the image is not a directory: a link cannot be mounted upon",
                    stage="mount", errno=error.errno, value=target,
                ) from None  # fmt: skip
            raise

    def _reopen(self, target: str) -> int:
        """The root of what has just been mounted at target."""
        return paths.open_in_root(self.root_fd, target, os.O_PATH)

    def _refuse_proc(self, fd: int, target: str, allowed: bool) -> None:
        if not allowed and os.fstat(fd).st_dev == self._proc_device:
            raise StartFailed(f"{target} is inside /proc, which cannot be mounted over", stage="mount", value=target)

    def do_mount(self, fstype: str, target: str, flags: int, options: str, propagation: int, real: bool) -> None:
        """A new file system instance."""
        fd = self._directory(target, real)
        try:
            self._refuse_proc(fd, target, False)
            mount.new(fstype, fd, flags, options, fstype)
        finally:
            os.close(fd)
        if fstype == "proc" and target == "/proc":
            self._hold_proc(target)
        if propagation:
            self._propagate(target, propagation)

    def _hold_proc(self, target: str) -> None:
        """Keep the fresh /proc/sys: walks that start at it are not led into what is mounted upon it later."""
        fd = self._reopen(target)
        try:
            if paths.file_system_type(fd) != paths.PROC_SUPER_MAGIC:
                raise StartFailed("/proc of the container is not a procfs", stage="mount", errno=errno.EINVAL)
            self._proc_device = os.fstat(fd).st_dev
            self.sysctl_fd = os.open("sys", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        finally:
            os.close(fd)

    def _propagate(self, target: str, kind: int) -> None:
        fd = self._reopen(target)
        try:
            if has("mount_setattr"):
                mount.mount_setattr(fd, propagation=kind & ~mount.MS_REC, recursive=bool(kind & mount.MS_REC))
            else:
                mount.mount(None, mount.path_of(fd), None, kind)
        finally:
            os.close(fd)

    def do_bind(
        self, source: str, target: str, recursive: bool, flags: int, clear: int, deep: int, propagation: int, proc: bool
    ) -> None:
        """A file or directory of the host. flags, clear: per-mount MS_* of the top one; deep: of all below too."""
        tree = self._foreign.pop(source, -1)
        source_fd = -1 if tree >= 0 else _open_source(source)
        try:
            shown = os.fstat(source_fd if tree < 0 else tree)
            is_directory = stat.S_ISDIR(shown.st_mode)
            make = paths.mkdirs_in_root if is_directory else paths.create_file_in_root
            target_fd = make(self.root_fd, target)
            try:
                self._refuse_proc(target_fd, target, proc)
                if tree >= 0:
                    mount.move_mount(tree, target_fd)
                else:
                    mount.bind(source_fd, target_fd, recursive=recursive)
            finally:
                os.close(target_fd)
        finally:
            os.close(source_fd if tree < 0 else tree)
        if flags or clear or deep:
            top = self._reopen(target)
            try:
                if not os.path.samestat(os.fstat(top), shown):  # or another mount would become read-only in its place
                    raise StartFailed(f"{target} was changed while it was mounted upon", stage="mount", value=target)
                if flags or clear:
                    mount.change(top, flags, clear)
                if deep and has("mount_setattr"):
                    mount.change(top, deep, recursive=True)
                elif deep:
                    mount.change(top, deep)
            finally:
                os.close(top)
        if propagation:
            self._propagate(target, propagation)

    def do_cgroup(self, target: str, flags: int) -> None:
        """This container's groups of each hierarchy, laid out as on the host."""
        plan = self.cgroup
        if not plan or not (plan["dirs"] or plan["unified"]):
            return
        fd = self._directory(target, True)
        try:
            if not plan["dirs"]:
                self._bind_group(plan["unified"], fd)
                self._change(target, flags)
                return
            mount.new("tmpfs", fd, flags & ~mount.MS_RDONLY, "mode=755,size=64k", "cgroup")
        finally:
            os.close(fd)
        folder = self._reopen(target)
        try:
            groups = {os.path.basename(path[: -len(plan["path"])]): path for path in plan["dirs"].values()}
            if plan["unified"]:
                groups[os.path.basename(plan["mount"])] = plan["unified"]
            for name, path in groups.items():
                self._bind_group(path, paths.mkdirs_in_root(folder, name, follow=False), close=True)
                self._change(f"{target}/{name}", flags)
            for controller, path in plan["dirs"].items():
                name = os.path.basename(path[: -len(plan["path"])])
                if controller != name and controller not in groups:
                    os.symlink(name, controller, dir_fd=folder)
        finally:
            os.close(folder)
        self._change(target, flags)

    def _bind_group(self, path: str, target_fd: int, close: bool = False) -> None:
        try:
            source = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                mount.bind(source, target_fd, recursive=False)
            finally:
                os.close(source)
        except FileNotFoundError:
            pass  # a hierarchy that could not be had, and that nothing needed
        finally:
            if close:
                os.close(target_fd)

    def _change(self, target: str, flags: int) -> None:
        fd = self._reopen(target)
        try:
            if os.fstat(fd).st_dev != os.fstat(self.root_fd).st_dev:
                mount.change(fd, flags)
        finally:
            os.close(fd)

    # -- devices ---------------------------------------------------------------------------------------------------

    def do_nodes(self) -> None:
        """What every /dev has (runtime-spec, config-linux.md, "Default Devices"); /dev is a tmpfs of ours."""
        folder = paths.open_in_root(self.root_fd, "dev", os.O_PATH | os.O_DIRECTORY, follow=False)
        old = os.umask(0)
        try:
            for name, major, minor in _NODES:
                self._node(folder, name, stat.S_IFCHR | 0o666, os.makedev(major, minor), 0, 0)
            for name, text in _LINKS:
                try:
                    os.symlink(text, name, dir_fd=folder)
                except FileExistsError:
                    pass
        finally:
            os.umask(old)
            os.close(folder)

    def do_device(self, path: str, kind: int, major: int, minor: int, mode: int, uid: int, gid: int) -> None:
        folder = paths.mkdirs_in_root(self.root_fd, os.path.dirname(path))
        old = os.umask(0)
        try:
            self._node(folder, os.path.basename(path), kind | mode, os.makedev(major, minor), uid, gid)
        finally:
            os.umask(old)
            os.close(folder)

    def _node(self, folder: int, name: str, mode: int, device: int, uid: int, gid: int) -> None:
        """Make a device node; where the kernel does not let us, show the host's."""
        try:
            os.mknod(name, mode, device, dir_fd=folder)
        except FileExistsError:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if status.st_rdev == device and stat.S_IFMT(status.st_mode) == stat.S_IFMT(mode):
                return
            raise
        except PermissionError:
            source = _open_source(f"/dev/{name}")
            try:
                if os.fstat(source).st_rdev != device:
                    raise
                target = paths.create_file_in_root(folder, name)
                try:
                    mount.bind(source, target)
                finally:
                    os.close(target)
            finally:
                os.close(source)
            return
        if uid or gid:
            os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)

    # -- protection ------------------------------------------------------------------------------------------------

    def do_readonly(self, path: str) -> None:
        try:
            fd = paths.open_in_root(self.root_fd, path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            mount.bind(fd, fd)
        finally:
            os.close(fd)
        top = self._reopen(path)
        try:
            if has("mount_setattr"):
                mount.change(top, mount.MS_RDONLY, recursive=True)
            else:
                mount.change(top, mount.MS_RDONLY)
        finally:
            os.close(top)

    def do_mask(self, path: str) -> None:
        """Hide a file behind the host's /dev/null, a directory behind an empty read-only one."""
        try:
            fd = paths.open_in_root(self.root_fd, path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            return
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                self._hide_directory(fd)
            else:
                mount.bind(self._null_fd(), fd)
        finally:
            os.close(fd)

    def _null_fd(self) -> int:
        if self._null < 0:
            self._null = _open_source("/dev/null")
            status = os.fstat(self._null)
            if not stat.S_ISCHR(status.st_mode) or status.st_rdev != _NULL:
                raise StartFailed("/dev/null of the host is not the null device", stage="mount", errno=errno.ENODEV)
        return self._null

    def _hide_directory(self, fd: int) -> None:
        # Two inodes: some kernels refuse a tmpfs with one.
        options = "mode=755,size=0,nr_inodes=2"
        flags = mount.MS_RDONLY | mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC
        if not has("new_mount_api"):
            mount.new("tmpfs", fd, flags, options)
            return
        if self._empty < 0:
            pairs = [tuple(word.split("=")) for word in options.split(",")]
            self._empty = mount.fsopen("tmpfs", pairs, mount.attributes(flags))
            mount.move_mount(self._empty, fd)
            return
        tree = mount.open_tree(self._empty, "")  # what is attached can be copied; what is not, from Linux 6.15 on only
        try:
            mount.move_mount(tree, fd)
        finally:
            os.close(tree)

    def do_directory(self, path: str) -> None:
        """Make the working directory when it is missing, as docker does."""
        try:
            os.close(paths.mkdirs_in_root(self.root_fd, path))
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.ENOTDIR, errno.ELOOP, errno.ENOENT):
                raise  # those are told better by entering it

    def enter(self) -> None:
        """Make the container's root this process's root, and let go of the host's."""
        os.fchdir(self.root_fd)
        mount.pivot_root(".", ".")
        mount.umount(".", mount.MNT_DETACH)
        os.chdir("/")


def _open_source(path: str) -> int:
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        raise StartFailed(
            f"bind source path does not exist: {path}", stage="mount", errno=errno.ENOENT, value=path
        ) from None


def _fetch(source: str) -> int:
    """Detached copy of a mount: of the host, or of another container when source is "/proc/PID/root/..."."""
    words = source.split("/", 4)
    if len(words) < 5 or words[1] != "proc" or words[3] != "root":
        fd = _open_source(source)
        try:
            return mount.open_tree(fd, "", recursive=True)
        finally:
            os.close(fd)
    own, other = namespaces.open_ns("self", "mnt"), namespaces.open_ns(words[2], "mnt")
    try:
        namespaces.setns(other)
        try:
            root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            fd = paths.open_in_root(root, words[4], os.O_PATH)
            os.close(root)
            try:
                return mount.open_tree(fd, "", recursive=True)
            finally:
                os.close(fd)
        finally:
            namespaces.setns(own)
    finally:
        os.close(own)
        os.close(other)
