# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the mounts of an OCI runtime spec to operations: tuples of a name and plain values, in order. Pure.

("propagation", MS_*)  ("fetch", source)  ("root", driver, lowers, upper, work)
("mount", type, target, MS_*, options, propagation, real)   real: no link on the way to target
("bind", source, target, recursive, MS_*, MS_* to clear, MS_* for all below too, propagation, proc)
("cgroup", target, MS_*)  ("nodes",)  ("device", path, S_IF*, major, minor, mode, uid, gid)
("directory", path)  ("mask", path)  ("readonly", path)  ("root_readonly",)
"""

from __future__ import annotations

import posixpath
import stat

from .. import lightjson as json
from ..errors import InvalidInput
from ..linux import mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ANNOTATION_ROOT = "io.vitrine.root"
_SET = {
    "ro": mount.MS_RDONLY,
    "nosuid": mount.MS_NOSUID,
    "nodev": mount.MS_NODEV,
    "noexec": mount.MS_NOEXEC,
    "noatime": mount.MS_NOATIME,
    "nodiratime": mount.MS_NODIRATIME,
    "relatime": mount.MS_RELATIME,
    "strictatime": mount.MS_STRICTATIME,
    "nosymfollow": mount.MS_NOSYMFOLLOW,
}
_CLEAR = {
    "rw": mount.MS_RDONLY,
    "suid": mount.MS_NOSUID,
    "dev": mount.MS_NODEV,
    "exec": mount.MS_NOEXEC,
    "atime": mount.MS_NOATIME,
    "diratime": mount.MS_NODIRATIME,
    "norelatime": mount.MS_RELATIME,
    "nostrictatime": mount.MS_STRICTATIME,
    "symfollow": mount.MS_NOSYMFOLLOW,
}
_PROPAGATION = {
    "private": mount.MS_PRIVATE,
    "slave": mount.MS_SLAVE,
    "shared": mount.MS_SHARED,
    "unbindable": mount.MS_UNBINDABLE,
}
_PROPAGATION.update({"r" + word: kind | mount.MS_REC for word, kind in list(_PROPAGATION.items())})
# Words for others than us: SELinux relabelling, Docker Desktop's consistency, how a volume is first filled.
_IGNORED = {"", "defaults", "z", "Z", "delegated", "cached", "consistent", "nocopy", "copy", "bind", "rbind"}
# The kernel's own file systems: a link in the image must not decide where they land.
_OWN = ("proc", "sysfs", "mqueue", "devpts", "cgroup", "cgroup2")
# What lxcfs and its like replace (runc allows the same).
_PROC_ALLOWED = {
    "/proc/" + name
    for name in "cpuinfo diskstats meminfo stat swaps uptime loadavg slabinfo net/dev sys/kernel/ns_last_pid".split()
}


class _Options:
    """The words of a mount's options, sorted by what they are."""

    def __init__(self, words: list[str], target: str) -> None:
        self.set = self.clear = self.deep = self.propagation = 0
        self.data: list[str] = []
        for word in words:
            if word in _SET:
                self.set, self.clear = self.set | _SET[word], self.clear & ~_SET[word]
            elif word in _CLEAR:
                self.clear, self.set = self.clear | _CLEAR[word], self.set & ~_CLEAR[word]
            elif word in _PROPAGATION:
                self.propagation = _PROPAGATION[word]
            elif word[:1] == "r" and word[1:] in _SET:
                self.deep |= _SET[word[1:]]
            elif word[:1] == "r" and word[1:] in _CLEAR:
                continue
            elif word in ("idmap", "ridmap", "remount"):
                raise InvalidInput(f"the mount option {word!r} of {target} is not supported", value=word)
            elif word not in _IGNORED:
                self.data.append(word)


def _root(spec: dict[str, Any], bundle: str) -> tuple:
    text = (spec.get("annotations") or {}).get(ANNOTATION_ROOT)
    if text:
        root = json.loads(text)
        return "root", root["driver"], list(root["lowers"]), root.get("upper"), root.get("work")
    path = (spec.get("root") or {}).get("path") or ""
    if not path:
        raise InvalidInput("the spec names no root", hint='set "root.path"')
    return "root", "bind", [posixpath.normpath(posixpath.join(bundle, path))], None, None


def _target(item: dict[str, Any]) -> str:
    target = item.get("destination") or ""
    if "\0" in target or not target.startswith("/"):
        raise InvalidInput(f"the mount target {target!r} is not absolute", hint="begin it with /", value=target)
    return "/" + posixpath.normpath(target).lstrip("/")


def _operation(item: dict[str, Any]) -> tuple:
    target = _target(item)
    kind, words = item.get("type") or "", list(item.get("options") or ())
    options = _Options(words, target)
    bound = kind == "bind" or "bind" in words or "rbind" in words
    if target == "/" or (target == "/proc" and kind != "proc"):
        raise InvalidInput(f"{target} cannot be mounted over", hint="choose another target", value=target)
    if target.startswith("/proc/") and not (bound and target in _PROC_ALLOWED):
        raise InvalidInput(f"{target} is inside /proc, which cannot be mounted over", value=target)
    if bound:
        if options.data:
            raise InvalidInput(f"unknown option {options.data[0]!r} of the mount {target}", value=options.data[0])
        source = item.get("source") or ""
        if not source.startswith("/") or "\0" in source:
            raise InvalidInput(f"the bind source {source!r} is not absolute", hint="begin it with /", value=source)
        recursive = "rbind" in words or "bind" not in words
        # A bind shows the source's own flags; "rw" there means: leave them.
        clear = options.clear & ~mount.MS_RDONLY
        allowed = target in _PROC_ALLOWED
        return ("bind", source, target, recursive, options.set, clear, options.deep, options.propagation, allowed)
    if kind in ("cgroup", "cgroup2"):
        return "cgroup", target, options.set
    if not kind or kind == "none":
        raise InvalidInput(f"the mount {target} names no type", hint="bind, tmpfs, proc, ...", value=target)
    real = kind in _OWN or target == "/dev" or target.startswith("/dev/")
    return ("mount", kind, target, options.set | options.deep, ",".join(options.data), options.propagation, real)


def _device(item: dict[str, Any]) -> tuple:
    kinds = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
    path, kind = item.get("path") or "", kinds.get(item.get("type") or "")
    if kind is None or not path.startswith("/"):
        raise InvalidInput(f"{path!r} is no device", hint='give an absolute path and the type "c" or "b"', value=path)
    mode = item.get("fileMode")
    mode = 0o666 if mode is None else stat.S_IMODE(mode)
    numbers = (item.get("major") or 0, item.get("minor") or 0, mode, item.get("uid") or 0, item.get("gid") or 0)
    return ("device", path, kind, *numbers)


def compile_mounts(spec: dict[str, Any], bundle: str = "/") -> list[tuple]:
    """Return the operations. Raises InvalidInput for what no mount can be made of."""
    linux = spec.get("linux") or {}
    operations = [_operation(item) for item in spec.get("mounts") or ()]
    shared = [op[1] for op in operations if op[0] == "bind" and op[7] & mount.MS_SHARED]
    foreign = [op[1] for op in operations if op[0] == "bind" and op[1].startswith("/proc/") and "/root/" in op[1]]
    result: list[tuple] = [("fetch", source) for source in dict.fromkeys([*shared, *foreign])]
    word = linux.get("rootfsPropagation") or "slave"
    if word not in _PROPAGATION:
        raise InvalidInput(f"unknown propagation {word!r} of the root", hint="slave, private, shared", value=word)
    # Shared binds were fetched before; nothing else of ours is to reach the host.
    private = word in ("private", "rprivate", "unbindable", "runbindable")
    result.append(("propagation", mount.MS_PRIVATE if private else mount.MS_SLAVE))
    result.append(_root(spec, bundle))
    for operation in operations:
        result.append(operation)
        if operation[0] == "mount" and operation[2] == "/dev":
            result.append(("nodes",))
    result += [_device(item) for item in linux.get("devices") or ()]
    result.append(("directory", (spec.get("process") or {}).get("cwd") or "/"))
    result += [("readonly", path) for path in linux.get("readonlyPaths") or ()]
    result += [("mask", path) for path in linux.get("maskedPaths") or ()]
    if (spec.get("root") or {}).get("readonly"):
        result.append(("root_readonly",))
    return result


def describe_mount(operation: tuple) -> str:
    """One line for people."""
    name, *values = operation
    if name == "mount":
        fstype, target, flags, options = values[:4]
        return f"mount {fstype} on {target} ({','.join(filter(None, [*_words(flags), options]))})"
    if name == "bind":
        source, target, recursive, flags = values[:4]
        words = ["rbind" if recursive else "bind", *_words(flags | values[5])]
        words += [word for word, kind in _PROPAGATION.items() if kind == values[6]]
        return f"bind {source} on {target} ({','.join(words)})"
    if name == "root":
        driver, lowers, upper, _work = values
        return f"root {driver} of {len(lowers)} layers" + (f" under {upper}" if upper else ", read only")
    return " ".join([name, *(str(value) for value in values)])


def _words(flags: int) -> list[str]:
    return [word for word, flag in _SET.items() if flags & flag]
