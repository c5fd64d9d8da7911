# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions that only trying answers, tried in a child with namespaces of its own: nothing shows outside."""

from __future__ import annotations

import marshal
import os
import struct

from ..linux import mount, namespaces, netlink, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

MS_NODEV, MS_NOSUID = 4, 2
NAME = "vtprobe"


def run(root: str) -> dict[str, str]:
    """Return {probe: "" where it works, else what the kernel said}: overlay, bridge, veth, nf_tables, namespaces.

    root: the engine's folder; overlay is tried on its file system when it exists, else on one in memory.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            os.write(writer, marshal.dumps(_all(root)))
        except BaseException:
            pass
        finally:
            os._exit(0)
    os.close(writer)
    chunks = []
    while True:
        chunk = os.read(reader, 65536)
        if not chunk:
            break
        chunks.append(chunk)
    os.close(reader)
    os.waitpid(pid, 0)
    try:
        return marshal.loads(b"".join(chunks))
    except (EOFError, ValueError, TypeError):
        return dict.fromkeys(("namespaces", "overlay", "bridge", "veth", "nf_tables"), "the probe itself failed")


def _all(root: str) -> dict[str, str]:
    result = {"namespaces": _outcome(_enter)}
    if result["namespaces"]:
        # Without namespaces of our own nothing may be tried: it would be done to the host.
        return dict.fromkeys(("overlay", "bridge", "veth", "nf_tables"), "cannot be tried without namespaces") | result
    result["overlay"] = _outcome(lambda: _overlay(root))
    result["bridge"] = _outcome(_bridge)
    result["veth"] = _outcome(_veth)
    result["nf_tables"] = _outcome(_nf_tables)
    return result


def _outcome(probe: Callable[[], None]) -> str:
    try:
        probe()
    except OSError as error:
        return error.strerror or str(error)
    except Exception as error:  # whatever it is, it is an answer: this must not end the others
        return f"{type(error).__name__}: {error}"
    return ""


def _enter() -> None:
    flags = namespaces.FLAGS
    namespaces.unshare(flags["mnt"] | flags["net"] | flags["ipc"] | flags["uts"])
    mount.mount("none", "/", None, mount.MS_REC | mount.MS_PRIVATE)
    namespaces.unshare(flags["pid"])


def _overlay(root: str) -> None:
    """Mount two layers and a writable one, and write through it."""
    import tempfile

    base = tempfile.mkdtemp(prefix=".probe-", dir=root if os.path.isdir(root) else None)
    try:
        if not os.path.isdir(root):
            mount.mount("none", base, "tmpfs", MS_NODEV | MS_NOSUID, "size=64k")
        names = [os.path.join(base, name) for name in ("one", "two", "upper", "work", "merged")]
        for name in names:
            os.mkdir(name)
        open(names[0] + "/file", "w").close()
        mount.overlay(names[:2], names[2], names[3], names[4])
        try:
            os.unlink(names[4] + "/file")
        finally:
            mount.umount(names[4])
    finally:
        if os.path.ismount(base):
            mount.umount(base, 2)
        from ..linux import fs

        fs.remove_tree(base)


def _bridge() -> None:
    with netlink.Netlink() as route:
        _do(route, netlink.bridge_create(NAME, b"\x02\0\0\0\0\1", 1500, 0))


def _veth() -> None:
    with netlink.Netlink() as route:
        bridge = netlink.link(route, NAME)
        space = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            index = bridge[0] if bridge else 1
            _do(route, netlink.veth_create("vtp0", index, 1500, 0, space, "vtp1", b"\x02\0\0\0\0\2"))
        finally:
            os.close(space)


def _nf_tables() -> None:
    """A table with a nat chain and a masquerading rule: what the engine's own needs most modules for.

    One batch (linux/netfilter/nf_tables.h): family IPv4, hook 4 (postrouting) at priority 100 (source nat).
    """
    attribute, nested, text = netlink.attribute, netlink.nested, netlink.text
    head = struct.pack(">BBH", 2, 0, 0)
    hook = nested(4, attribute(1, struct.pack(">I", 4)), attribute(2, struct.pack(">i", 100)))
    masquerade = nested(4, nested(1, attribute(1, text("masq")), nested(2)))
    bodies = (
        (0, attribute(1, text(NAME))),
        (3, attribute(1, text(NAME)) + attribute(3, text("nat")) + hook + attribute(7, text("nat"))),
        (6, attribute(1, text(NAME)) + attribute(2, text("nat")) + masquerade),
    )
    edge = struct.pack(">BBH", 0, 0, 10)
    with netlink.Netlink(12) as netfilter:  # NETLINK_NETFILTER
        messages = [(10 << 8 | kind, netlink.NLM_F_CREATE, head + body) for kind, body in bodies]
        for _, code, said in netfilter.batch(messages, (0x10, 0, edge), (0x11, 0, edge)):
            raise OSError(code, said or os.strerror(code))


def _do(route: netlink.Netlink, message: netlink.Message) -> None:
    for code, text in route.transact([message]):
        if code:
            raise OSError(code, text or os.strerror(code))


def seccomp() -> str:
    """Return "" when filters can be loaded, else why not. A filter at a bad address is loaded by no kernel."""
    import errno

    for attempt in (("seccomp", 1, 0, None), ("prctl", 22, 2, None, 0, 0)):
        try:
            syscall.syscall(*attempt)
        except OSError as error:
            if error.errno == errno.EFAULT:
                return ""
            if error.errno not in (errno.ENOSYS, errno.EINVAL):
                return os.strerror(error.errno or 0)
    return "the kernel has no seccomp filters"
