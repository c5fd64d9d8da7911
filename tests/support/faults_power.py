# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power cuts: what a command wrote below a folder, and what a disk may hold of it when the power goes at any point.

    log = record(command, folder, env)         run the command, return a Replay of all its calls that write
    for point in range(len(log.calls) + 1):    go on by one call
        log.go_to(point)
        log.materialise(target, model)         the folder as it may be found after a power cut

Models: "ordered": all that was written, in order. "lost": only what was synced - a file's content by fsync of the
file, a name by fsync of its directory, everything by syncfs. "names": all names are there, but no content that was not
synced (as after a journal's commit without the data). "last": what was synced, and of the rest the last name alone.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

CALLS = (
    "open,openat,creat,close,dup,dup2,dup3,fcntl,lseek,write,pwrite64,writev,pwritev,rename,renameat,renameat2,link,"
    "linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat,ftruncate,fallocate,fsync,fdatasync,syncfs,sync,"
    "copy_file_range,sendfile,clone,clone3,fork,vfork,fchmod,fchmodat,chmod,utimensat"
)
MODELS = ("ordered", "lost", "names", "last")
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+|\?)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FD = re.compile(r"(AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2})*)>")


class Node:
    """A file, a link or a directory: as programs see it, and as it is on the disk."""

    def __init__(self, kind: str, data: bytes = b"", source: str = "", mode: int = 0o700) -> None:
        self.kind = kind
        self.data = bytearray(data)
        self.durable = bytes(data)
        self.source = source  # where the unchanged content can be linked from
        self.mode = mode
        self.times: tuple[int, int] | None = None  # modes and times are taken to come with the name
        self.names: dict[str, Node] = {}
        self.durable_names: dict[str, Node] = {}

    @classmethod
    def scan(cls, path: str) -> Node:
        """What is there before: all of it is on the disk."""
        status = os.lstat(path)
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISLNK(status.st_mode):
            node = cls("link", os.fsencode(os.readlink(path)))
        elif stat.S_ISREG(status.st_mode):
            whole = status.st_size > 1 << 16 and ("/layers/" in path or "/blobs/" in path)  # nobody writes there again
            node = cls("file", Path(path).read_bytes(), path if whole else "", mode)
        else:
            node = cls("directory", mode=mode)
            for name in os.listdir(path):
                node.names[name] = cls.scan(f"{path}/{name}")
            node.durable_names = dict(node.names)
        node.times = (status.st_atime_ns, status.st_mtime_ns)
        return node


class Open:
    """An open file: where its next write goes."""

    def __init__(self, node: Node, append: bool) -> None:
        self.node = node
        self.offset = 0
        self.append = append


class Replay:
    """A folder's past, call by call."""

    def __init__(self, folder: str, top: Node, calls: list[tuple[int, str, str, int]]) -> None:
        self.folder = folder
        self.top = top
        self.calls = calls
        self.done = 0
        self.pending: list[list[tuple[Node, str, Node | None]]] = []  # names that were changed and not synced
        self.tables: dict[int, dict[int, Open]] = {}

    # -- names --------------------------------------------------------------------------------------------------------

    def _find(self, path: str) -> tuple[Node, str] | None:
        """(directory, name) of a path below the folder; None for any other."""
        path = os.path.normpath(path)
        if not path.startswith(self.folder + "/"):
            return None
        *way, name = path[len(self.folder) + 1 :].split("/")
        node = self.top
        for part in way:
            found = node.names.get(part)
            if found is None or found.kind != "directory":
                return None
            node = found
        return node, name

    def _node(self, path: str) -> Node | None:
        if os.path.normpath(path) == self.folder:
            return self.top
        found = self._find(path)
        return found[0].names.get(found[1]) if found else None

    def _change(self, *changes: tuple[Node, str, Node | None]) -> None:
        for folder, name, node in changes:
            _set(folder.names, name, node)
        self.pending.append(list(changes))

    def _sync(self, node: Node) -> None:
        node.durable = bytes(node.data)
        node.durable_names = dict(node.names)
        kept = []
        for changes in self.pending:
            rest = [change for change in changes if change[0] is not node]
            if rest:
                kept.append(rest)
        self.pending = kept

    def _sync_all(self, node: Node) -> None:
        self._sync(node)
        for child in node.names.values():
            self._sync_all(child)

    # -- calls --------------------------------------------------------------------------------------------------------

    def go_to(self, point: int) -> None:
        """Carry out the calls up to a point."""
        while self.done < point:
            pid, name, text, result = self.calls[self.done]
            self.done += 1
            self._call(pid, name, text, result)

    def told(self, point: int) -> str:
        """The call before a point, to be read."""
        _pid, name, text, result = self.calls[point - 1]
        words = re.sub(r"(?:\\x[0-9a-f]{2})+", lambda found: repr(_text(found.group()))[1:-1], text)
        return f"{name}({words.replace(self.folder, '')[:120]}) = {result}"

    def _call(self, pid: int, name: str, text: str, result: int) -> None:
        strings = [bytes.fromhex(part.replace("\\x", "")) for part in _STRING.findall(text)]
        fds = [(fd, os.fsdecode(bytes.fromhex(path.replace("\\x", "")))) for fd, path in _FD.findall(text)]
        table = self.tables.setdefault(pid, {})
        paths = _paths(name, strings, fds)
        if name in ("fork", "vfork", "clone", "clone3"):
            self.tables[result] = table if "CLONE_FILES" in text else dict(table)
        elif name in ("open", "openat", "creat"):
            self._open(table, paths[0], text, result)
        elif name.startswith(("rename", "link")):
            self._move(name, paths)
        elif name.startswith(("unlink", "rmdir", "mkdir", "symlink")):
            self._name(name, paths[-1], strings, text)
        elif name == "sync":
            self._sync_all(self.top)
        elif name in ("chmod", "fchmodat", "fchmod", "utimensat"):
            node = self._node(paths[0]) if paths else self._of(table, text, fds)
            if node is not None:
                _attribute(node, name, text)
        elif text[:1].isdigit():
            self._described(table, name, text, strings, result, fds)

    def _open(self, table: dict[int, Open], path: str, text: str, result: int) -> None:
        found = self._find(path)
        if found is None and os.path.normpath(path) != self.folder:
            return
        folder, name = found or (self.top, "")
        node = folder.names.get(name) if name else self.top
        if node is None:
            if "O_CREAT" not in text:
                return
            node = Node("file", mode=_mode(text, 0o600))
            self._change((folder, name, node))
        if "O_TRUNC" in text and node.data:
            node.data.clear()
            node.source = ""
        table[result] = Open(node, "O_APPEND" in text)

    def _move(self, name: str, paths: list[str]) -> None:
        one, other = self._find(paths[0]), self._find(paths[1])
        node = one[0].names.get(one[1]) if one else None
        if other is None or node is None:
            if one is not None and node is not None:
                self._change((*one, None))
            return
        if name.startswith("link"):
            self._change((*other, node))
        else:
            self._change((*one, None), (*other, node))  # type: ignore[misc]

    def _name(self, name: str, path: str, strings: list[bytes], text: str) -> None:
        found = self._find(path)
        if found is None:
            return
        if name.startswith("mkdir"):
            self._change((*found, Node("directory", mode=_mode(text, 0o700))))
        elif name.startswith("symlink"):
            self._change((*found, Node("link", strings[0])))
        elif "AT_REMOVEDIR" in text or found[1] in found[0].names:
            self._change((*found, None))

    def _described(
        self, table: dict[int, Open], name: str, text: str, strings: list[bytes], result: int, fds: list
    ) -> None:
        fd = int(re.match(r"\d+", text).group())  # type: ignore[union-attr]
        if name == "close":
            table.pop(fd, None)
            return
        opened = table.get(fd)
        if opened is None:
            node = self._of(table, text, fds)
            if node is None:
                return
            opened = table[fd] = Open(node, False)
        if name.startswith("dup") or (name == "fcntl" and "F_DUPFD" in text):
            table[result] = opened
        elif name in ("fsync", "fdatasync"):
            self._sync(opened.node)
        elif name == "syncfs":
            self._sync_all(self.top)
        elif name == "lseek":
            opened.offset = result
        elif name == "ftruncate":
            size = int(text.rpartition(",")[2])
            opened.node.source = ""
            del opened.node.data[size:]
            opened.node.data.extend(bytes(size - len(opened.node.data)))
        elif name in ("write", "writev"):
            data = b"".join(strings)[:result]
            offset = len(opened.node.data) if opened.append else opened.offset
            opened.offset = _put(opened.node, offset, data)
        elif name == "pwrite64":
            _put(opened.node, int(text.rpartition(",")[2]), strings[0][:result])
        elif name in ("copy_file_range", "sendfile") and result > 0:
            self._copy(table, name, text, result)

    def _of(self, table: dict[int, Open], text: str, fds: list[tuple[str, str]]) -> Node | None:
        number = re.match(r"\d+", text)
        opened = table.get(int(number.group())) if number else None
        return opened.node if opened else (self._node(fds[0][1]) if fds else None)

    def _copy(self, table: dict[int, Open], name: str, text: str, result: int) -> None:
        numbers = [int(number) for number in re.findall(r"(?:^|, )(\d+)<", text)]
        target, source = reversed(numbers) if name == "copy_file_range" else numbers
        to, origin = table.get(target), table.get(source)
        if to is None:
            return
        data = bytes(origin.node.data[origin.offset : origin.offset + result]) if origin else bytes(result)
        if origin:
            origin.offset += result
        to.offset = _put(to.node, to.offset, data)

    # -- what is found afterwards -------------------------------------------------------------------------------------

    def materialise(self, target: str, model: str) -> None:
        """Make the folder as it may be after a power cut at this point."""
        extra: dict[int, dict[str, Node | None]] = {}
        if model == "last" and self.pending:
            for folder, name, node in self.pending[-1]:
                extra.setdefault(id(folder), {})[name] = node
        self._make(self.top, target, model, extra)

    def _make(self, node: Node, path: str, model: str, extra: dict[int, dict[str, Node | None]]) -> None:
        if node.kind == "link":
            os.symlink(bytes(node.data), path)
        elif node.kind == "file":
            data = bytes(node.data) if model == "ordered" else node.durable
            if node.source and data == bytes(node.data):
                os.link(node.source, path)
                return  # with all its attributes
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, node.mode)
            with open(fd, "wb") as file:
                file.write(data)
        else:
            os.mkdir(path)
            names = dict(node.names if model in ("ordered", "names") else node.durable_names)
            for name, child in extra.get(id(node), {}).items():
                _set(names, name, child)
            for name, child in names.items():
                if not name.endswith("-shm"):  # SQLite's shared memory: never read from the disk
                    self._make(child, f"{path}/{name}", model, extra)
        if node.kind != "link":
            os.chmod(path, node.mode)
        if node.times is not None:
            os.utime(path, ns=node.times, follow_symlinks=False)


def _text(escaped: str) -> str:
    return os.fsdecode(bytes.fromhex(escaped.replace("\\x", "")))


def _attribute(node: Node, name: str, text: str) -> None:
    if name == "utimensat":
        times = re.findall(r"tv_sec=(-?\d+)(?: /\*[^*]*\*/)?, tv_nsec=(\d+)", text)
        if len(times) == 2:
            first, second = (int(seconds) * 1_000_000_000 + int(rest) for seconds, rest in times)
            node.times = (first, second)
        return
    node.mode = _mode(text, node.mode)


def _mode(text: str, otherwise: int) -> int:
    """The mode among a call's arguments, as the engine's umask (022 at most) leaves it: it sets what it means."""
    mode = re.findall(r", (0[0-7]+)(?:, |$)", text)
    return int(mode[-1], 8) if mode else otherwise


def _set(names: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _put(node: Node, offset: int, data: bytes) -> int:
    node.source = ""
    if offset > len(node.data):
        node.data.extend(bytes(offset - len(node.data)))
    node.data[offset : offset + len(data)] = data
    return offset + len(data)


def _paths(name: str, strings: list[bytes], fds: list[tuple[str, str]]) -> list[str]:
    """The paths that a call names, whole."""
    texts = [os.fsdecode(text) for text in strings]
    if name.startswith("symlink"):
        texts = texts[1:]
    if not name.endswith(("at", "at2")):
        return texts
    folders = [path for _fd, path in fds]
    return [os.path.join(folder, text) for folder, text in zip(folders, texts)]


def record(
    command: list[str], folder: str, env: dict[str, str], log: str
) -> tuple[Replay, subprocess.CompletedProcess]:
    """Run a command and return what it did below a folder, and what came of it. log: a file to use meanwhile."""
    folder = os.path.realpath(folder)
    top = Node.scan(folder)
    argv = ["strace", "-f", "-qq", "-y", "-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-e", "signal=none"]
    done = subprocess.run([*argv, "-o", log, *command], capture_output=True, text=True, env=env, timeout=120)
    calls = []
    unfinished: dict[str, str] = {}
    with open(log, encoding="ascii", errors="replace") as file:
        for line in file:
            pid, _space, rest = line.rstrip("\n").partition(" ")
            rest = rest.lstrip()
            if rest.endswith("<unfinished ...>"):
                unfinished[pid] = rest[: -len("<unfinished ...>")].rstrip()
                continue
            if rest.startswith("<... "):
                rest = unfinished.pop(pid, "") + rest.partition(" resumed>")[2]
            match = _LINE.match(f"{pid} {rest}")
            if match and match[4] != "?" and not match[4].startswith("-"):
                calls.append((int(match[1]), match[2], match[3], int(match[4])))
    os.unlink(log)
    return Replay(folder, top, calls), done
