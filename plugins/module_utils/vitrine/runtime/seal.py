# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An interpreter that nothing inside a container can write to, and processes run by it.

What a container executes as /proc/self/exe, or finds as another process's executable, is this process's own binary
(CVE-2019-5736). So every process that comes near a container runs from a read-only, detached view of the host's
interpreter: a lower-only overlay, else a read-only bind, else a sealed copy in memory.
"""

from __future__ import annotations

import errno
import fcntl
import marshal
import os
import sys

from ..linux import features, fs, mount
from ..linux.syscall import syscall

PAYLOAD_FD = 3
_HIGH = 20  # descriptors that are put in place for a child wait above this
_MFD_CLOEXEC = 1
_MFD_ALLOW_SEALING = 2
_MFD_EXEC = 16
_F_ADD_SEALS = 1033
_SEAL_ALL = 1 | 2 | 4 | 8  # no more seals, no shrinking, growing, writing
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PROGRAM = (
    "import sys;sys.path.append(sys.argv[1]);from vitrine.runtime.entry import enter;enter(sys.argv[2],sys.argv[3])"
)


def interpreter() -> str:
    """Real path of the interpreter's binary."""
    return os.path.realpath(sys.executable or "/proc/self/exe")


def sealed_interpreter() -> int:
    """Descriptor (O_PATH or read-only, CLOEXEC) of the interpreter's binary that cannot be written through.

    Raises OSError when not even a copy in memory can be made.
    """
    path = interpreter()
    for name, rung in (("seal_overlay", _by_overlay), ("seal_bind", _by_bind)):
        if not (features.has(name) and features.has("new_mount_api") and features.has("mount_setattr")):
            continue
        try:
            return rung(path)
        except OSError:
            continue  # no overlay, an overlay too deep, no privilege for mounts: the next one needs less
    return _by_copy(path)


def _open_below(tree: int, name: str) -> int:
    try:
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=tree)
    finally:
        os.close(tree)


def _by_overlay(path: str) -> int:
    # Overlay wants two lowers; the second is never looked into, for the first has the name. A bind's read-only flag
    # could be taken back by a container with CAP_SYS_ADMIN, an overlay without upper has nothing to write to.
    folder, name = os.path.split(path)
    tree = mount.detached_overlay([folder, os.path.join(_PACKAGE, "linux")], None, None, readonly=True)
    if tree < 0:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return _open_below(tree, name)


def _by_bind(path: str) -> int:
    source = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        tree = mount.open_tree(source, "")
    finally:
        os.close(source)
    try:
        mount.mount_setattr(tree, set_=mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV)
    except OSError:
        os.close(tree)
        raise
    return tree


def memory_file(name: str, *, executable: bool = False) -> int:
    """An empty file in memory that can be sealed. Before Linux 3.17 an unlinked file in /dev/shm."""
    if not features.has("memfd"):
        path = f"/dev/shm/vitrine.{os.getpid()}.{name}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o500)
        os.unlink(path)
        return fd
    flags = _MFD_CLOEXEC | _MFD_ALLOW_SEALING
    if executable:
        try:  # vm.memfd_noexec wants it said; kernels before 6.3 do not know the flag
            return syscall("memfd_create", name.encode(), flags | _MFD_EXEC)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
    return syscall("memfd_create", name.encode(), flags)


def seal(fd: int) -> None:
    """Make a memory file unchangeable for good."""
    if features.has("memfd"):
        fcntl.fcntl(fd, _F_ADD_SEALS, _SEAL_ALL)


def _by_copy(path: str) -> int:
    target = memory_file("python", executable=True)
    try:
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fs.copy_file(source, target)
        finally:
            os.close(source)
        seal(target)
        if features.has("memfd"):
            return os.dup(target)
        # An open writer keeps a file from being executed: only a read-only descriptor may be left.
        return os.open(f"/proc/self/fd/{target}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(target)


def pack(value: object) -> int:
    """Descriptor of a sealed memory file that holds the value, marshalled; what request() reads."""
    fd = memory_file("request")
    data = memoryview(value if isinstance(value, bytes) else marshal.dumps(value))  # type: ignore[arg-type]
    while data:
        data = data[os.write(fd, data) :]
    os.lseek(fd, 0, os.SEEK_SET)
    seal(fd)
    return fd


def request() -> object:
    """In the child: read and close what the parent gave as payload, or gives now (Beginning).

    A parent that was killed before it had said all of it ends this process too, which has done nothing yet.
    """
    try:
        os.lseek(PAYLOAD_FD, 0, os.SEEK_SET)
    except OSError as error:
        if error.errno != errno.ESPIPE:
            raise
    with open(PAYLOAD_FD, "rb") as file:
        data = file.read()
    try:
        return marshal.loads(data)
    except EOFError:
        raise SystemExit(1) from None


def spawn(module: str, *, fds: dict[int, int] | None = None, payload: object = None) -> int:
    """Run ``vitrine.<module>.main()`` of this engine in the sealed interpreter; return the child's pid.

    fds: descriptor in the child -> here; 0, 1 and 2 are /dev/null unless named. Descriptor 3 is for the payload
    (any value that marshal takes, or bytes that are marshalled already): the child calls request().
    The child inherits nothing else, has a fixed environment, / as directory and cannot be looked into.
    """
    wanted = dict(fds or {})
    opened: list[int] = []
    try:
        if payload is not None:
            opened.append(pack(payload))
            wanted[PAYLOAD_FD] = opened[-1]
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        opened.append(null)
        for standard in (0, 1, 2):
            wanted.setdefault(standard, null)
        actions = []
        for target, source in sorted(wanted.items()):
            # First all out of the way, so that putting one in place never overwrites another.
            opened.append(fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, max(_HIGH, max(wanted) + 1)))
            actions.append((os.POSIX_SPAWN_DUP2, opened[-1], target))
        program = sealed_interpreter()
        opened.append(fcntl.fcntl(program, fcntl.F_DUPFD_CLOEXEC, max(_HIGH, max(wanted) + 1)))
        os.close(program)
        keep = ",".join(map(str, sorted(wanted)))
        argv = [interpreter(), "-I", "-S", "-B", "-X", "utf8", "-c", _PROGRAM, os.path.dirname(_PACKAGE), module, keep]
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
        if features.without():
            environment["VITRINE_WITHOUT"] = ",".join(sorted(features.without()))
        return os.posix_spawn(
            f"/proc/self/fd/{opened[-1]}", argv, environment, file_actions=actions, setsigmask=[], setsigdef=_signals()
        )
    finally:
        for fd in opened:
            os.close(fd)


class Beginning:
    """A process of spawn() whose interpreter starts while its request is still being made up. pid: of our child."""

    own = True

    def __init__(self, module: str, fds: dict[int, int]) -> None:
        reader, self._writer = os.pipe2(os.O_CLOEXEC)
        try:
            self.pid = spawn(module, fds={**fds, PAYLOAD_FD: reader})
        except BaseException:
            os.close(self._writer)
            raise
        finally:
            os.close(reader)

    def ready(self) -> bool:
        """Whether there is a process that give() may be called for."""
        return True

    def give(self, value: object) -> None:
        """Hand over the request (any value that marshal takes). That the process is dead is found out elsewhere."""
        writer, self._writer = self._writer, -1
        hand_over(writer, value)

    def drop(self) -> None:
        """End the process if it was given no request."""
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1
            self.kill()
            os.waitpid(self.pid, 0)

    def kill(self) -> None:
        os.kill(self.pid, 9)  # our own child that we have not waited for: the pid cannot be another's


def hand_over(writer: int, value: object) -> None:
    """Write a request to the pipe that request() reads, and close it. A reader that is gone is no error."""
    data = memoryview(marshal.dumps(value))  # type: ignore[arg-type]
    try:
        while data:
            data = data[os.write(writer, data) :]
    except BrokenPipeError:
        pass
    finally:
        os.close(writer)


def _signals() -> list[int]:
    """All that can be set to their default: what a caller ignores, a child should not."""
    import _signal

    return [number for number in _signal.valid_signals() if number not in (_signal.SIGKILL, _signal.SIGSTOP)]
