# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The texts that users write - sizes, ports, volumes, limits - and what they mean. One grammar for both the command
line and the modules; docker's, as its reference documentation of ``docker run`` describes it."""

from __future__ import annotations

import os

from ..errors import InvalidInput
from .spec import Mount, Port

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_MARKS = frozenset("_.-")
_PROTOCOLS = ("tcp", "udp", "sctp")
_MODES = frozenset("rw ro z Z consistent delegated cached nocopy private rprivate shared rshared slave rslave".split())
_RLIMITS = frozenset(
    "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack as".split()
)
_SIGNALS = {
    name: number
    for number, name in enumerate(
        "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU "
        "URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS".split(),
        1,
    )
}


def name(text: str) -> str:
    """A container's or volume's name."""
    if not (0 < len(text) <= 128 and text[0] in _LETTERS and (_LETTERS | _MARKS).issuperset(text)):
        raise InvalidInput(
            f"invalid name {text!r}",
            hint="use 1 to 128 letters, digits, '_', '.' or '-', beginning with a letter or a digit",
            value=text,
        )
    return text


def size(text: str | int, what: str = "size") -> int:
    """Bytes from "64m", "1.5g", "1024"; units are powers of 1024, upper or lower case, "b" or "ib" may follow."""
    word = str(text).strip().lower()
    word = word[:-2] if word.endswith("ib") else word[:-1] if word.endswith("b") else word
    unit = word[-1:] if word[-1:] in _UNITS else ""
    number = word[: len(word) - len(unit)].rstrip()
    whole, dot, fraction = number.partition(".")
    if not (whole.isdecimal() and (fraction.isdecimal() or not dot)):
        raise InvalidInput(
            f"invalid {what} {text!r}", hint="write a number with an optional unit, such as 64m or 1g", value=text
        )
    return int(float(number) * _UNITS[unit])


def memory_swap(text: str | int) -> int:
    """Like size, and "unlimited" or -1 for no limit (-1)."""
    return -1 if str(text).strip().lower() in ("-1", "unlimited") else size(text, "memory_swap")


def cpus(text: str | float) -> int:
    """Thousand-millionths of a CPU from "0.5"."""
    try:
        value = round(float(text) * 10**9)
    except ValueError:
        value = -1
    if value <= 0:
        raise InvalidInput(f"invalid number of CPUs {text!r}", hint="write a number above 0, such as 0.5", value=text)
    return value


def cpuset(text: str) -> str:
    """A list of CPUs or memory nodes: "0-2,4"."""
    numbers = [number for piece in text.split(",") for number in piece.split("-", 1)]
    if not all(number.isdecimal() for number in numbers):
        raise InvalidInput(f"invalid list of CPUs {text!r}", hint="write numbers and ranges: 0-2,4", value=text)
    return text


def _port_range(text: str, whole: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    digits = low.isdecimal() and len(low) <= 5 and (high.isdecimal() and len(high) <= 5 or not dash)
    first = int(low) if digits else 0
    last = int(high or low) if digits else 0
    if not 1 <= first <= last <= 65535:
        raise InvalidInput(
            f'Invalid port range: "{text}"',
            hint=f"in {whole!r}: ports are numbers from 1 to 65535, ranges go upwards",
            value=whole,
        )
    return first, last


def _split_host(text: str, whole: str) -> tuple[str, str]:
    """Split "[v6]:rest", "v4:rest" or "rest" into (address, rest)."""
    import ipaddress

    if text.startswith("["):
        address, closed, rest = text[1:].partition("]")
        if not closed or not rest.startswith(":"):
            raise InvalidInput(
                f"cannot find closing ']' in {whole!r}", hint="write [address]:host-port:container-port", value=whole
            )
        rest = rest[1:]
    elif text.count(":") == 2:
        address, _colon, rest = text.partition(":")
    elif ":" not in text or text.count(":") == 1:
        return "", text
    else:
        raise InvalidInput(
            f"invalid published port {whole!r}", hint="put an IPv6 address in brackets: [::1]:80:80", value=whole
        )
    try:
        return str(ipaddress.ip_address(address)), rest
    except ValueError:
        raise InvalidInput(
            f"Bind addresses for published ports must be IPv4 or IPv6 addresses, not hostnames."
            f" Found {address!r} in {whole!r}",
            hint="look the name up first and write its address",
            value=whole,
        ) from None


def port(text: str | int, default_host_ip: str = "") -> list[Port]:
    """Published ports from "[address:][host port or range:]container port or range[/protocol]".

    A range on both sides pairs them one by one; one container port with a host range takes the first (any free one
    of the range is docker's rule; the monitor tries them in order). Raises InvalidInput.
    """
    whole = str(text)
    body, slash, protocol = whole.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in _PROTOCOLS:
        raise InvalidInput(f"invalid protocol {protocol!r} in {whole!r}", hint="use tcp, udp or sctp", value=whole)
    address, rest = _split_host(body, whole)
    host, colon, container = rest.rpartition(":")
    first, last = _port_range(container, whole)
    if not colon or host in ("", "0"):
        return [Port(address or default_host_ip, 0, number, protocol) for number in range(first, last + 1)]
    host_first, host_last = _port_range(host, whole)
    if last > first and host_last - host_first != last - first:
        raise InvalidInput(
            f'Invalid port range: "{rest}"',
            hint=f"{host_last - host_first + 1} host ports cannot be paired with {last - first + 1} container ports",
            value=whole,
        )
    pairs = zip(range(host_first, host_last + 1), range(first, last + 1))
    return [Port(address or default_host_ip, left, right, protocol) for left, right in pairs]


def exposed(text: str | int) -> list[str]:
    """Exposed ports from "80", "80/udp" or "9010-9050": ["80/tcp", ...]."""
    body, slash, protocol = str(text).partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in _PROTOCOLS:
        raise InvalidInput(f"invalid protocol {protocol!r} in {text!r}", hint="use tcp, udp or sctp", value=text)
    first, last = _port_range(body, str(text))
    return [f"{number}/{protocol}" for number in range(first, last + 1)]


def _target(path: str, whole: str) -> str:
    clean = os.path.normpath(path)
    if not path.startswith("/") or clean in ("/", "//"):
        raise InvalidInput(
            f"invalid mount target {path!r} in {whole!r}", hint="write an absolute path other than /", value=whole
        )
    return clean


def volume(text: str) -> Mount:
    """A mount from "[source:]target[:modes]"; a source that begins with "/", "." or "~" is a host path."""
    parts = text.split(":")
    modes: tuple[str, ...] = ()
    if len(parts) > 1 and parts[-1] and all(word in _MODES for word in parts[-1].split(",")):
        modes = tuple(parts.pop().split(","))
    if len(parts) == 1:
        source, target = "", parts[0]
    elif len(parts) == 2:
        source, target = parts
    else:
        raise InvalidInput(
            f"invalid volume {text!r}",
            hint=f"write source:target:modes; modes are {', '.join(sorted(_MODES))}",
            value=text,
        )
    if len(parts) == 2 and not source:
        raise InvalidInput(f"invalid volume {text!r}: the source is empty", hint="write source:target", value=text)
    kind = "volume"
    if source[:1] in ("/", ".", "~"):
        source = os.path.normpath(os.path.abspath(os.path.expanduser(source)))
        kind = "bind"
    elif "/" in source:
        raise InvalidInput(
            f"invalid volume {text!r}: {source!r} is neither a path nor a volume's name",
            hint=f"write a host's folder as /... or ./{source}; a volume's name has no slash",
            value=text,
        )
    elif source:
        name(source)
    read_only = "ro" in modes
    rest = tuple(word for word in modes if word not in ("ro", "rw", "consistent", "delegated", "cached", "z", "Z"))
    return Mount(kind, source, _target(target, text), read_only, rest)


def mount(text: str) -> Mount:
    """A mount from "type=bind,source=/a,target=/b,readonly" (the --mount flag)."""
    fields: dict[str, str] = {}
    for word in text.split(","):
        key, _equals, value = word.partition("=")
        fields[key.strip().lower()] = value
    kind = fields.pop("type", "volume")
    source = fields.pop("source", fields.pop("src", ""))
    target = fields.pop("target", fields.pop("destination", fields.pop("dst", "")))
    read_only = fields.pop("readonly", fields.pop("ro", "false")) in ("", "true", "1")
    options = []
    for key in ("bind-propagation", "tmpfs-size", "tmpfs-mode", "volume-nocopy"):
        if key in fields:
            value = fields.pop(key)
            if key == "tmpfs-size":
                options.append(f"size={size(value)}")
            elif key == "tmpfs-mode":
                options.append(f"mode={value}")
            else:
                options.append(value if key == "bind-propagation" else "nocopy")
    if kind not in ("bind", "volume", "tmpfs") or fields:
        wrong = sorted(fields)[0] if fields else f"type={kind}"
        raise InvalidInput(
            f"invalid mount {text!r}: {wrong!r} is not understood",
            hint="write type=bind|volume|tmpfs,source=...,target=...[,readonly]",
            value=text,
        )
    if kind == "bind" and not source.startswith("/"):
        raise InvalidInput(
            f"invalid mount {text!r}: a bind mount needs an absolute source", hint="write source=/path", value=text
        )
    if kind == "volume" and source:
        name(source)
    return Mount(kind, source, _target(target, text), read_only, tuple(options))


def tmpfs(text: str) -> tuple[str, str]:
    """("/path", "options") from "/path[:options]"."""
    path, _colon, options = text.partition(":")
    return _target(path, text), options


def ulimit(text: str) -> tuple[str, int, int]:
    """(name, soft, hard) from "nofile=1024:2048", "nofile:1024:2048" or "nofile=1024"; -1 is unlimited."""
    import re

    match = re.fullmatch(r"([a-z]+)[=:](-?\d+|unlimited)(?::(-?\d+|unlimited))?", text.strip())
    if not match or match[1] not in _RLIMITS:
        raise InvalidInput(
            f"invalid ulimit {text!r}",
            hint=f"write name=soft[:hard]; names are {', '.join(sorted(_RLIMITS))}",
            value=text,
        )
    soft, hard = (-1 if word == "unlimited" else int(word) for word in (match[2], match[3] or match[2]))
    if hard != -1 and (soft > hard or soft == -1):
        raise InvalidInput(
            f"invalid ulimit {text!r}: the soft limit is above the hard one", hint="raise the hard limit", value=text
        )
    return match[1], soft, hard


def device_limit(text: str, what: str) -> tuple[str, int]:
    """(path of a device, number) from "/dev/x:1mb"; what: the limit, of which those of bytes ("..._bps") take units."""
    path, _colon, number = text.rpartition(":")
    sized = what.endswith("bps")
    try:
        if not path.startswith("/"):
            raise InvalidInput("")
        return path, size(number) if sized else int(number)
    except (InvalidInput, ValueError):
        hint = "write /dev/x:RATE, such as /dev/sda:1mb" if sized else "write /dev/x:NUMBER"
        raise InvalidInput(f"invalid {what} {text!r}", hint=hint, value=text) from None


def device(text: str) -> tuple[str, str, str]:
    """(host path, container path, permissions) from "/dev/x[:/dev/y][:rwm]"."""
    parts = text.split(":")
    permissions = "rwm"
    if len(parts) > 1 and 1 <= len(parts[-1]) <= 3 and set("rwm").issuperset(parts[-1]):
        permissions = parts.pop()
    if not 1 <= len(parts) <= 2 or not all(part.startswith("/") for part in parts):
        raise InvalidInput(f"invalid device {text!r}", hint="write /dev/on-host[:/dev/in-container][:rwm]", value=text)
    return parts[0], parts[-1], permissions


def env(words: Iterable[str], environ: Mapping[str, str] | None = None) -> list[str]:
    """Environment settings: "A=b" stays, a bare "A" takes its value from environ and is dropped if it has none."""
    environ = os.environ if environ is None else environ
    result = []
    for word in words:
        key, equals, _value = word.partition("=")
        if not key or "\0" in word:
            raise InvalidInput(f"invalid environment variable {word!r}", hint="write NAME=value", value=word)
        if equals:
            result.append(word)
        elif key in environ:
            result.append(f"{key}={environ[key]}")
    return result


def env_file(path: str) -> list[str]:
    """Environment settings of a file: one a line, "#" begins a comment line, no quoting (as docker reads it)."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.rstrip("\r\n").lstrip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"the environment file {path!r} cannot be read: {getattr(error, 'strerror', error)}",
            hint="name a text file with NAME=value lines",
            value=path,
        ) from None
    for number, line in enumerate(lines, 1):
        key = line.partition("=")[0]
        if line and not line.startswith("#") and (not key or any(char.isspace() for char in key)):
            raise InvalidInput(
                f"{path}:{number}: {line!r} is not a setting", hint="write NAME=value, one a line", value=line
            )
    return env(line for line in lines if line and not line.startswith("#"))


def label(text: str) -> tuple[str, str]:
    """("key", "value") from "key[=value]"."""
    key, _equals, value = text.partition("=")
    if not key:
        raise InvalidInput(f"invalid label {text!r}", hint="write key=value", value=text)
    return key, value


def pairs(words: Iterable[str], flag: str) -> dict[str, str]:
    """{"key": "value"} from the "key=value" words of a flag."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise InvalidInput(f"--{flag} is {word!r}", hint="write key=value", value=word)
        found[key] = value
    return found


def filters(
    words: Iterable[str], known: Iterable[str], values: Mapping[str, Iterable[str]] | None = None
) -> list[tuple[str, str]]:
    """[("key", "value")] from "key=value". known: the keys that there are; values: what those of some keys may be."""
    found = []
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise InvalidInput(f"invalid filter {word!r}", hint="write key=value", value=word)
        if key not in known:
            raise InvalidInput(f"invalid filter {key!r}", hint=f"use one of {', '.join(known)}", value=key)
        allowed = (values or {}).get(key)
        if allowed is not None and value not in allowed:
            raise InvalidInput(f"invalid filter {word!r}", hint=f"use one of {', '.join(allowed)}", value=value)
        found.append((key, value))
    return found


def restart(text: str) -> tuple[str, int]:
    """(policy, maximum of retries) from "always" or "on-failure:3"; 0 retries is no maximum."""
    policy, colon, retries = text.partition(":")
    if policy not in ("no", "always", "unless-stopped", "on-failure") or (
        colon and (policy != "on-failure" or not retries.isdigit())
    ):
        raise InvalidInput(
            f"invalid restart policy {text!r}",
            hint="use no, always, unless-stopped or on-failure[:max-retries]",
            value=text,
        )
    return policy, int(retries or 0)


def duration(text: str | int | float) -> int:
    """Nanoseconds from "1m30s", "500ms"; a bare number is seconds."""
    import re

    units = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
    word = str(text).strip()
    if len(word) <= 100 and re.fullmatch(r"\d+(\.\d+)?", word):
        return int(float(word) * 10**9)
    if len(word) > 100 or not re.fullmatch(r"(\d+(\.\d+)?(ns|us|ms|s|m|h))+", word):
        raise InvalidInput(f"invalid duration {text!r}", hint="write numbers with units, as in 1m30s", value=text)
    pieces = re.findall(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)", word)
    return sum(int(float(number) * units[unit]) for number, unit in pieces)


def signal(text: str | int) -> int:
    """A signal's number from "TERM", "SIGTERM", "15", "RTMIN+3" (Linux numbering; RTMIN is 34 as glibc has it)."""
    word = str(text).strip().upper()
    word = word[3:] if word.startswith("SIG") else word
    number = int(word) if word.isdigit() else _SIGNALS.get(word, 0)
    base = {"RTMIN": 34, "RTMAX": 64}.get(word[:5])
    if base and (not word[5:] or (word[5] in "+-" and word[6:].isdecimal())):
        number = base + int(word[5:] or "0")
    if not 1 <= number <= 64:
        raise InvalidInput(f"invalid signal {text!r}", hint="use a name such as SIGTERM or its number", value=text)
    return number


def host_entry(text: str) -> tuple[str, str]:
    """(name, address) from "name:address" (the --add-host flag); "host-gateway" stands for the bridge's address."""
    import ipaddress

    host, colon, address = text.partition(":")
    address = address.strip("[]")
    try:
        if address != "host-gateway":
            ipaddress.ip_address(address)
    except ValueError:
        colon = ""
    if not host or not colon:
        raise InvalidInput(f"invalid host entry {text!r}", hint="write name:address", value=text)
    return host, address


def detach_keys(text: str) -> bytes:
    """The bytes of "ctrl-p,ctrl-q"."""
    from ..supervise.attach import parse_keys

    return parse_keys(text)


_NETWORK_KEYS = {"name", "alias", "ip", "ip6", "mac-address", "driver-opt", "gw-priority"}


def network(text: str) -> tuple[str, dict[str, Any]]:
    """ "web", or "name=web,alias=a,ip=10.5.0.9,..." -> (name or mode, what is wanted of it: ContainerSpec.networks)."""
    if "=" not in text:
        if not text:
            raise InvalidInput("the network's name is empty", hint="name one: vitrine network ls", value=text)
        return text, {}
    given: dict[str, Any] = {"alias": [], "driver-opt": []}
    for word in text.split(","):
        key, equals, value = word.partition("=")
        if not equals or key not in _NETWORK_KEYS:
            raise InvalidInput(
                f"invalid field {word!r} in --network {text}",
                hint=f"use {', '.join(sorted(_NETWORK_KEYS))}",
                value=word,
            )
        if isinstance(given.get(key), list):
            given[key].append(value)
        else:
            given[key] = value
    if not given.get("name"):
        raise InvalidInput(f"--network {text} names no network", hint="write name=NETWORK", value=text)
    return given["name"], network_options(given)


def network_options(given: dict[str, Any]) -> dict[str, Any]:
    """Docker's words for an endpoint (alias, ip, ip6, mac-address, gw-priority, driver-opt) -> those of the spec."""
    options: dict[str, Any] = {}
    for key, field in (("ip", "ipv4_address"), ("ip6", "ipv6_address"), ("mac-address", "mac_address")):
        if given.get(key):
            options[field] = given[key]
    if given.get("alias"):
        for alias in given["alias"]:
            host_name(alias)
        options["aliases"] = list(given["alias"])
    priority = given.get("gw-priority")
    if priority is not None:
        try:
            options["gw_priority"] = int(priority)
        except ValueError:
            raise InvalidInput(f"gw-priority is {priority!r}", hint="write a whole number", value=priority) from None
    if given.get("driver-opt"):
        words = [word.partition("=") for word in given["driver-opt"]]
        options["driver_opts"] = {key: value for key, _equals, value in words}
    return options


def host_name(text: str) -> str:
    """A name that others may ask for. Raises InvalidInput."""
    labels = text.split(".")
    fine = all(0 < len(one) < 64 and all(letter.isalnum() or letter in "-_" for letter in one) for one in labels)
    if not fine or not text.isascii() or len(text) > 253:
        raise InvalidInput(
            f"invalid alias {text!r}", hint="use letters, digits, '-', '_' and '.' between them", value=text
        )
    return text
