# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container's spec may say, whoever wrote it: found out before anything is made, not when it starts."""

from __future__ import annotations

from ..errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .spec import ContainerSpec

# field -> (the words it may be, besides container:NAME where that is allowed, whether that is)
_MODES = {
    "pid_mode": (("", "private", "host"), True),
    "ipc_mode": (("", "private", "shareable", "none", "host"), True),
    "uts": (("", "private", "host"), False),
}
# field -> (least, most); None is not given
_RANGES = {
    "blkio_weight": (10, 1000),
    "memory_swappiness": (0, 100),
    "oom_score_adj": (-1000, 1000),
    "cpu_shares": (2, 262144),
    "cpu_period": (1000, 1000000),
    "stop_timeout": (-1, 1 << 31),
}
_HOSTNAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def check(spec: ContainerSpec) -> None:
    """Raise InvalidInput for the first value that no container can have."""
    for field, (words, joins) in _MODES.items():
        value = getattr(spec, field)
        if value in words or (joins and value.startswith("container:") and value != "container:"):
            continue
        choices = [word for word in words if word] + (["container:NAME"] if joins else [])
        raise InvalidInput(f"invalid {field} {value!r}", hint=f"use {', '.join(choices)}", value=value)
    for field, (least, most) in _RANGES.items():
        number = getattr(spec, field)
        # 0 is docker's way to leave these to the kernel
        if number is None or least <= number <= most or (number == 0 and field.startswith(("blkio", "cpu"))):
            continue
        raise InvalidInput(f"invalid {field} {number}", hint=f"use a number from {least} to {most}", value=number)
    for path, weight in spec.blkio_weight_device.items():
        if not 10 <= weight <= 1000:
            raise InvalidInput(
                f"invalid blkio_weight_device {path}:{weight}", hint="use a weight from 10 to 1000", value=weight
            )
    for field in ("hostname", "domainname"):
        name = getattr(spec, field)
        if name and (len(name) > 64 or name[0] in ".-" or name[-1] in ".-" or not _HOSTNAME.issuperset(name)):
            raise InvalidInput(
                f"invalid {field} {name!r}",
                hint="use up to 64 letters, digits, '-', '_' and '.', beginning and ending with a letter or a digit",
                value=name,
            )
    for server in spec.dns_servers:
        _address(server)
    for field in ("etc_hosts", "dns_search_domains", "dns_opts"):
        for word in getattr(spec, field):
            if not word or not word.isprintable() or len(word.split()) != 1 or word != word.strip():
                raise InvalidInput(
                    f"invalid name {word!r} in {field}", hint="write one word, which is part of a line", value=word
                )


def _address(text: str) -> None:
    import ipaddress

    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise InvalidInput(
            f"invalid DNS server {text!r}", hint="write its IP address, such as 192.0.2.53", value=text
        ) from None
