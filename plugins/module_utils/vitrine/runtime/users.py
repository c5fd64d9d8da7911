# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a container's process is: "user[:group]" looked up in the image's own /etc/passwd and /etc/group.

Never through the C library, which would load name service modules from inside the container (CVE-2019-14271). The files
are hostile: read up to a limit, regular ones only, and a number is always an id, never a name.
"""

from __future__ import annotations

import errno
import os
import stat

from ..errors import StartFailed
from ..linux import paths

SIZE_MAX = 16 << 20
_LINE_MAX = 64 << 10
_ID_MAX = 2**32 - 2  # the last one means "leave as it is" to the kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def read_database(root_fd: int, path: str) -> bytes:
    """The file's content; empty when there is none. Raises StartFailed for anything but a regular file up to 16 MiB."""
    try:
        fd = paths.open_in_root(root_fd, path, os.O_PATH)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return b""
        raise
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise StartFailed(f"/{path} of the container is not a regular file", stage="user", errno=errno.EINVAL)
        if status.st_size > SIZE_MAX:
            raise StartFailed(f"/{path} of the container is larger than 16 MiB", stage="user", errno=errno.EFBIG)
        with open(f"/proc/self/fd/{fd}", "rb", buffering=0) as file:
            chunks, size = [], 0
            while size <= SIZE_MAX:
                chunk = file.read(1 << 20)
                if not chunk:
                    break
                chunks.append(chunk)
                size += len(chunk)
        return b"".join(chunks)[:SIZE_MAX]
    finally:
        os.close(fd)


def _lines(text: bytes, count: int) -> Iterator[list[bytes]]:
    """The lines that have at least that many fields; comments and lines of absurd length are skipped."""
    start = 0
    while start < len(text):
        end = text.find(b"\n", start)
        if end < 0:
            end = len(text)
        if end - start <= _LINE_MAX and text[start : start + 1] not in (b"#", b"+", b"-", b":"):
            fields = text[start:end].split(b":")
            if len(fields) >= count:
                yield fields
        start = end + 1


def number(text: bytes) -> int | None:
    """The id that the text is, or None when it is no decimal number in range."""
    if not text.isdigit() or len(text) > 10:
        return None
    value = int(text)
    return value if value <= _ID_MAX else None


def _numeric(text: str, what: str) -> int | None:
    """The id when the text is all digits, None when it is a name. Raises StartFailed for what is neither."""
    data = os.fsencode(text)
    if data.isdigit():
        value = number(data)
        if value is None:
            raise StartFailed(f"{what} {text!r} is out of range: 0 to {_ID_MAX}", stage="user", errno=errno.EINVAL)
        return value
    if not data or any(byte <= 32 or byte == 127 or byte == 58 for byte in data):
        raise StartFailed(f"{text!r} is no {what} name", stage="user", errno=errno.EINVAL, value=text)
    return None


def _passwd_entry(passwd: bytes, *, name: bytes | None = None, uid: int | None = None) -> tuple | None:
    """(name, uid, gid, home) of the first fitting line (passwd(5)), or None."""
    for fields in _lines(passwd, 4):
        found_uid, found_gid = number(fields[2]), number(fields[3])
        if found_uid is None or found_gid is None:
            continue
        if fields[0] == name if name is not None else found_uid == uid:
            return fields[0], found_uid, found_gid, fields[5] if len(fields) > 5 else b""
    return None


def _group_id(text: str, group: bytes) -> int:
    gid = _numeric(text, "group")
    if gid is not None:
        return gid
    wanted = os.fsencode(text)
    for fields in _lines(group, 3):
        found = number(fields[2])
        if fields[0] == wanted and found is not None:
            return found
    raise StartFailed(
        f"unable to find group {text}: no matching entries in group file", stage="user", errno=errno.ENOENT, value=text
    )


def resolve(user: str, groups: Sequence[str], passwd: bytes, group: bytes) -> tuple[int, int, list[int], bytes]:
    """Return (uid, gid, all groups, home directory).

    user: "", "user", "user:group", names or numbers; groups: additional ones. passwd, group: the files' content.
    As docker does: without a group, those of the passwd entry and of /etc/group count; a number without an entry
    gets group 0. Raises StartFailed(stage="user").
    """
    name, separator, group_text = user.partition(":")
    if ":" in group_text or (separator and not (name and group_text)):
        raise StartFailed(f"{user!r} is not user[:group]", stage="user", errno=errno.EINVAL, value=user)
    uid = _numeric(name, "user") if name else 0
    if uid is None:
        entry = _passwd_entry(passwd, name=os.fsencode(name))
        if entry is None:
            raise StartFailed(
                f"unable to find user {name}: no matching entries in passwd file",
                stage="user", errno=errno.ENOENT, value=user,
            )  # fmt: skip
        uid = entry[1]
    else:
        entry = _passwd_entry(passwd, uid=uid)
    gid = entry[2] if entry else 0
    members = []
    if group_text:
        gid = _group_id(group_text, group)
    elif entry:
        for fields in _lines(group, 4):
            found = number(fields[2])
            if found is not None and entry[0] in fields[3].split(b","):
                members.append(found)
    members += [_group_id(text, group) for text in groups]
    home = entry[3] if entry and entry[3].startswith(b"/") else b"/"
    return uid, gid, list(dict.fromkeys([gid, *members])), home
