# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take out of a freshly installed system what differs from run to run or from host to host.

Logs, caches, lists, backups, identities, the host's name and resolver, device nodes: none of it belongs in an image.
Paths are given as they are inside; none is reached through a symbolic link.
"""

from __future__ import annotations

import os
import stat

from ..linux import fs

#: Directories that stay, without what is in them.
EMPTIED = (
    "/dev",
    "/tmp",
    "/proc",
    "/sys",
    "/var/tmp",
    "/var/cache/apt/archives",
    "/var/cache/dnf",
    "/var/cache/yum",
    "/var/cache/ldconfig",
    "/var/cache/man",
    "/var/lib/apt/lists",
    "/var/lib/apt/mirrors",
    "/var/lib/apt/periodic",
    "/var/lib/systemd/catalog",
)
#: Files that go.
REMOVED = (
    "/debootstrap",
    "/etc/.pwd.lock",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/root/.bash_history",
    "/root/.wget-hsts",
    "/var/cache/apt/pkgcache.bin",
    "/var/cache/apt/srcpkgcache.bin",
    "/var/lib/dbus/machine-id",
    "/var/lib/dnf",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
)
_ACCOUNTS = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")


def inside(root: str, path: str) -> str | None:
    """The host's path of a path inside root; None if a folder on the way is absent or no plain directory."""
    current = root
    for part in path.strip("/").split("/")[:-1]:
        current = os.path.join(current, part)
        try:
            if not stat.S_ISDIR(os.lstat(current).st_mode):
                return None
        except FileNotFoundError:
            return None
    return os.path.join(current, path.rstrip("/").rpartition("/")[2])


def write_file(root: str, path: str, text: str, mode: int = 0o644) -> None:
    """Replace a file inside root, whatever is there now; nothing happens where its folder does not exist."""
    target = inside(root, path)
    if target is None or not os.path.isdir(os.path.dirname(target)):
        return
    _remove(target)
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)
        os.fchmod(file.fileno(), mode)


def sweep(root: str) -> None:
    """Remove everything that is not of the packages."""
    for path in EMPTIED:
        _empty(root, path, keep=("partial", "auxfiles") if path.startswith("/var/") else ())
    for path in REMOVED:
        target = inside(root, path)
        if target is not None:
            _remove(target)
    _empty(root, "/run", keep=("lock",))
    _empty(root, "/run/lock")
    for folder, suffix in (("/etc", "-"), ("/var/lib/dpkg", "-old"), ("/var/cache/debconf", "-old")):
        for entry in _entries(root, folder):
            if entry.endswith(suffix) and (folder != "/etc" or entry[:-1] in _ACCOUNTS):
                _remove(os.path.join(root, folder.lstrip("/"), entry))
    for entry in _entries(root, "/etc/ssh"):
        if entry.startswith("ssh_host_"):
            _remove(os.path.join(root, "etc/ssh", entry))
    machine_id = inside(root, "/etc/machine-id")
    if machine_id is not None and os.path.isfile(machine_id):
        write_file(root, "/etc/machine-id", "", 0o444)
    _drop_logs(root)


def newest_packaged(root: str, started: float) -> int:
    """The time of the newest file that is older than the installation itself: what came out of a package.

    Seconds since 1970; 0 if the clock says that all files are of the future.
    """
    newest = 0
    limit = int(started) - 1
    for folder, _folders, names in os.walk(root):
        for name in names:
            status = os.lstat(os.path.join(folder, name))
            if stat.S_ISREG(status.st_mode) and newest < int(status.st_mtime) < limit:
                newest = int(status.st_mtime)
    return newest


def date_accounts(root: str, epoch: int) -> None:
    """shadow(5) keeps the day of each password's last change: make it the image's own."""
    target = inside(root, "/etc/shadow")
    if target is None or not os.path.isfile(target) or os.path.islink(target):
        return
    status = os.lstat(target)
    with open(target, encoding="utf-8", errors="surrogateescape") as file:
        lines = file.read().split("\n")
    day = epoch // 86400
    for number, line in enumerate(lines):
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit() and int(fields[2]) > day:
            fields[2] = str(day)
            lines[number] = ":".join(fields)
    with open(target, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write("\n".join(lines))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _entries(root: str, path: str) -> list[str]:
    target = inside(root, path)
    if target is None or os.path.islink(target) or not os.path.isdir(target):
        return []
    return sorted(os.listdir(target))


def _empty(root: str, path: str, keep: tuple[str, ...] = ()) -> None:
    for name in _entries(root, path):
        if name in keep:
            _empty(root, f"{path}/{name}")
        else:
            _remove(os.path.join(root, path.lstrip("/"), name))


def _remove(target: str) -> None:
    try:
        if stat.S_ISDIR(os.lstat(target).st_mode):
            fs.remove_tree(target)
        else:
            os.unlink(target)
    except FileNotFoundError:
        pass


def _drop_logs(root: str) -> None:
    """Remove what was logged; empty files stay, since packages made them with an owner that matters."""
    folder = inside(root, "/var/log")
    if folder is None or os.path.islink(folder):
        return
    for parent, _folders, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_size:
                os.unlink(path)
