# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last steps of a process that is inside its container: limits, user, capabilities, filter, execve.

Used by init and by exec. Imports nothing when called; opens nothing of the host's.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from ..errors import CommandNotExecutable, CommandNotFound, StartFailed
from ..linux import caps, prctl
from ..linux.syscall import ctypes, syscall
from . import seccomp, users
from .wire import EXEC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEYCTL_JOIN_SESSION_KEYRING = 1


class Refuser:
    """A finder that lets nothing be imported: from now on, names of files mean the container's."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Called for every module that is not loaded yet."""
        raise ImportError(f"{name} would be imported inside a container")


def refuse_imports() -> None:
    """Make every further import fail."""
    import sys

    sys.meta_path.insert(0, Refuser())  # type: ignore[arg-type]


def reset_signals() -> None:
    """Default actions and nothing blocked: what the interpreter ignores (SIGPIPE, SIGXFSZ) would outlive execve."""
    import _signal

    for number in _signal.valid_signals():
        if number not in (_signal.SIGKILL, _signal.SIGSTOP):
            try:
                _signal.signal(number, _signal.SIG_DFL)
            except (OSError, ValueError):
                pass
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def new_session_keyring() -> None:
    """Leave the caller's keys behind."""
    try:
        syscall("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, None, 0, 0, 0)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EDQUOT):
            raise


def read_identity(root_fd: int, process: dict[str, Any]) -> tuple[int, int, list[int], bytes]:
    """(uid, gid, groups, home) of the process in the container whose root is open."""
    passwd = users.read_database(root_fd, "etc/passwd")
    group = users.read_database(root_fd, "etc/group")
    return users.resolve(process["user"], process["groups"], passwd, group)


def refuse_nodes(process: dict[str, Any]) -> None:
    """Leave the process (of a plan) without the right to make device nodes, where nobody confines what they lead to."""
    bit = 1 << caps.NUMBERS["CAP_MKNOD"]
    process["caps"] = {name: bits & ~bit for name, bits in process["caps"].items()}


def set_oom_score_adj(value: int | None) -> None:
    """Before the root is left: writes the host's /proc/self."""
    if value is None:
        return
    try:
        with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(b"%d" % value)
    except PermissionError as error:
        raise StartFailed(
            f"oom_score_adj cannot be lowered to {value}", stage="oom", errno=error.errno or 0,
            hint="the engine lacks CAP_SYS_RESOURCE here: choose a value that is not below its own", value=value,
        ) from None  # fmt: skip


def set_apparmor(profile: str) -> None:
    """Have execve change to the profile. Before the root is left: writes the host's /proc/self."""
    if not profile:
        return
    for path in ("/proc/self/attr/apparmor/exec", "/proc/self/attr/exec"):  # the first since Linux 5.8
        if not os.path.exists(path):
            continue
        try:
            with open(path, "wb", buffering=0) as file:
                file.write(b"exec " + os.fsencode(profile))
            return
        except OSError as error:  # ENOENT too: of the profile
            raise StartFailed(
                f"the AppArmor profile {profile!r} cannot be used: {os.strerror(error.errno or 0)}",
                stage="apparmor",
                errno=error.errno or 0,
                hint="load it with apparmor_parser, or ask for unconfined",
                value=profile,
            ) from None
    raise StartFailed(f"this kernel has no AppArmor for the profile {profile!r}", stage="apparmor", errno=errno.ENOENT)


def set_limits(limits: list[tuple[int, int, int]]) -> None:
    """Set resource limits, lowered to what may be had without CAP_SYS_RESOURCE."""
    for number, soft, hard in limits:
        try:
            syscall("prlimit64", 0, number, struct.pack("=2Q", soft, hard), None)
        except PermissionError:
            present = ctypes.create_string_buffer(16)
            syscall("prlimit64", 0, number, None, present)
            most = struct.unpack("=2Q", present.raw)[1]
            syscall("prlimit64", 0, number, struct.pack("=2Q", min(soft, most), min(hard, most)), None)


def enter_directory(path: bytes) -> None:
    """Change to the working directory and hold that it is inside the root (CVE-2024-21626)."""
    try:
        os.chdir(path)
    except OSError as error:
        raise StartFailed(
            f"chdir to {os.fsdecode(path)!r} failed: {(error.strerror or '').lower()}",
            stage="cwd", errno=error.errno or 0, value=os.fsdecode(path),
        ) from None  # fmt: skip
    try:
        here = os.getcwdb()
    except OSError:
        here = b""
    if not here.startswith(b"/"):
        os.chdir("/")
        raise StartFailed(
            f"the working directory {os.fsdecode(path)!r} is outside the container", stage="cwd", errno=errno.EPERM
        )


def own_stdio(uid: int) -> None:
    """Let the process open /dev/stdout and its like again: pipes and terminals belong to its user."""
    for fd in (0, 1, 2):
        try:
            status = os.fstat(fd)
            kind = stat.S_IFMT(status.st_mode)
            null = kind == stat.S_IFCHR and status.st_rdev == os.makedev(1, 3)
            if status.st_uid != uid and not null and kind in (stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK):
                os.fchown(fd, uid, -1)
        except OSError:
            pass  # a read-only or foreign file system: then it stays as it is


def switch(process: dict[str, Any], identity: tuple[int, int, list[int], bytes]) -> tuple[int, int]:
    """Become the user, with the capabilities asked for and, until finish(), one more if the filter needs it.

    Returns (effective, permitted) as they are to be in the end.
    """
    uid, gid, groups, _home = identity
    masks = process["caps"]
    if process["no_new_privs"]:
        prctl.set_no_new_privs()
    caps.limit_bounding(masks["bounding"])
    own_stdio(uid)
    os.umask(process["umask"])
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    prctl.set_keepcaps(True)
    os.setresuid(uid, uid, uid)
    prctl.set_keepcaps(False)
    prctl.set_dumpable(False)
    # execve clears what a user other than root holds anyway, except for what is ambient (capabilities(7)).
    effective, permitted = masks["effective"], masks["permitted"]
    extra = 0
    if process["seccomp"] and not process["no_new_privs"]:
        extra = 1 << caps.CAP_SYS_ADMIN
    caps.set_masks(effective | extra, permitted | extra, masks["inheritable"])
    return effective, permitted


def environment(process: dict[str, Any], home: bytes) -> dict[bytes, bytes]:
    """The environment as execve gets it: later settings win, HOME comes from the image's passwd when it is not set."""
    result = {}
    for word in process["env"]:
        key, separator, value = word.partition(b"=")
        if key and separator:
            result[key] = value
    result.setdefault(b"HOME", home)
    if not result[b"HOME"]:
        result[b"HOME"] = home
    return result


def find(command: bytes, search: bytes) -> bytes:
    """Absolute path of the command as execve will be given it; docker's words where there is none."""
    text = os.fsdecode(command)
    if b"/" in command:
        _check(command, text)
        return command
    if command:
        for folder in search.split(b":"):
            path = folder + b"/" + command
            if folder.startswith(b"/") and os.path.isfile(path) and os.access(path, os.X_OK):
                return path
    raise CommandNotFound(
        f'exec: "{text}": executable file not found in $PATH', stage="exec", errno=errno.ENOENT, value=text
    )


def _check(path: bytes, text: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        reason = (error.strerror or "").lower()
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        cls = CommandNotFound if missing else CommandNotExecutable
        raise cls(f'exec: "{text}": stat {text}: {reason}', stage="exec", errno=error.errno or 0, value=text) from None
    code = errno.EISDIR if stat.S_ISDIR(mode) else 0 if os.access(path, os.X_OK) else errno.EACCES
    if code:
        reason = os.strerror(code).lower()
        raise CommandNotExecutable(f'exec: "{text}": {reason}', stage="exec", errno=code, value=text)


def execute(path: bytes, argv: list[bytes], env: dict[bytes, bytes]) -> None:
    """execve(2). Returns only by raising."""
    text = os.fsdecode(path)
    try:
        os.execve(path, argv, env)
    except OSError as error:
        reason = (error.strerror or "").lower()
        cls = CommandNotFound if error.errno in (errno.ENOENT, errno.ENOTDIR) else CommandNotExecutable
        raise cls(f"exec {text}: {reason}", stage="exec", errno=error.errno or 0, value=text) from None


def run(process: dict[str, Any], identity: tuple[int, int, list[int], bytes], sock: Any, doing: Any, fork: Any) -> int:
    """From inside the container's namespaces to execve.

    doing(step, detail): notes progress. fork: None, or reaper.supervise, whose parent's exit status is returned.
    The filter comes as late as can be, so that profiles need to allow only capset, prctl and execve for our sake.
    """
    doing("limits")
    set_limits(process["rlimits"])
    doing("cwd")
    try:
        enter_directory(process["cwd"])  # with root's rights first: homes are often closed to others
        entered = True
    except StartFailed:
        entered = False
    doing("user", process["user"])
    effective, permitted = switch(process, identity)
    masks = process["caps"]
    doing("cwd")
    if not entered:
        enter_directory(process["cwd"])
    doing("exec")
    env = environment(process, identity[3])
    path = find(process["argv"][0], env.get(b"PATH", DEFAULT_PATH))
    if fork:
        status = fork(bool(process["tty"]), sock)
        if status >= 0:
            return status
    doing("seccomp")
    if process["seccomp"]:
        seccomp.load(process["seccomp"], bool(process["no_new_privs"]))
    doing("capabilities")
    caps.set_masks(effective, permitted, masks["inheritable"])
    caps.set_ambient(masks["ambient"])
    doing("exec")
    sock.send(EXEC)
    execute(path, process["argv"], env)
    return 1
