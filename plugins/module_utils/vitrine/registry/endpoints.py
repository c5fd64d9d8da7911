# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a registry is reached: its mirrors in order, then itself; over TLS, or, where that is allowed, without.

From the configuration's "registries": {"mirrors": {"docker.io": ["https://mirror.example/prefix"]}, "insecure":
["10.0.0.0/8", "registry.example:5000"], "search": ["docker.io"]}.
"""

from __future__ import annotations

from ..errors import InvalidInput
from ..oci.reference import HUB, valid_registry, valid_repository
from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HUB_HOST = "registry-1.docker.io"
KEYS = {"mirrors": dict, "insecure": list, "search": list}
HINT = (
    'write {"registries": {"mirrors": {"docker.io": ["https://host"]}, "insecure": ["host:port"], "search": ["host"]}}'
)


class Endpoint(Record):
    """One server to ask.

    registry: its name as credentials and certificates are filed under. host: "host[:port]" to connect to. schemes: in
    the order in which they are tried. prefix: put before repositories ("proxy/"), for mirrors that live under a path.
    verify: whether its certificate must be trusted.
    """

    registry: str
    host: str
    schemes: tuple[str, ...] = ("https",)
    prefix: str = ""
    verify: bool = True
    mirror: bool = False


def check_config(value: object) -> dict[str, Any]:
    """Return the configuration's "registries" object. Raises InvalidInput for a wrong key or type."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f'"registries" must be an object, not {value!r}', hint=HINT, value=value)
    for key, item in value.items():
        if key not in KEYS:
            raise InvalidInput(f'"registries" has the unknown key {key!r}', hint=HINT, value=key)
        if not isinstance(item, KEYS[key]):
            raise InvalidInput(f'"registries": {key!r} has a value of the wrong type: {item!r}', hint=HINT, value=item)
    return value


def endpoints(config: dict[str, Any], registry: str) -> list[Endpoint]:
    """Return whom to ask for what a registry holds: its mirrors, then itself (always last)."""
    mirrors = config.get("mirrors", {}).get(registry, ())
    if not isinstance(mirrors, (list, tuple)):
        raise InvalidInput(f"the mirrors of {registry!r} must be a list, not {mirrors!r}", hint=HINT, value=mirrors)
    return [_mirror(config, text) for text in mirrors] + [origin(config, registry)]


def origin(config: dict[str, Any], registry: str) -> Endpoint:
    """Return the registry itself."""
    host = HUB_HOST if registry == HUB else registry
    if is_loopback(host) or is_insecure(config, host):
        return Endpoint(registry, host, ("https", "http"), verify=False)
    return Endpoint(registry, host)


def is_loopback(host: str) -> bool:
    """Tell whether a "host[:port]" is this host: then neither TLS nor a trusted certificate is asked for."""
    name = _name(host).lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(name)
    return address is not None and bool(address.is_loopback)


def is_insecure(config: dict[str, Any], host: str) -> bool:
    """Tell whether the configuration lists the host: by name, name and port, address, or network."""
    name = _name(host)
    address = _address(name)
    for entry in config.get("insecure", ()):
        if entry in (host, name):
            return True
        if address is not None and isinstance(entry, str) and "/" in entry:
            import ipaddress

            try:
                if address in ipaddress.ip_network(entry, strict=False):
                    return True
            except ValueError:
                raise InvalidInput(f"{entry!r} in insecure registries is no network", hint=HINT, value=entry) from None
    return False


def _mirror(config: dict[str, Any], text: object) -> Endpoint:
    if not isinstance(text, str):
        raise InvalidInput(f"a mirror must be a text, not {text!r}", hint=HINT, value=text)
    scheme, separator, rest = text.rpartition("://")
    host, _slash, path = rest.strip("/").partition("/")
    if (separator and scheme not in ("http", "https")) or not valid_registry(host):
        raise InvalidInput(f"{text!r} is not a mirror's address", hint='write "https://host[:port][/path]"', value=text)
    path = path[3:] if path == "v2" or path.startswith("v2/") else path
    if path and not valid_repository(path):
        raise InvalidInput(f"{text!r}: {path!r} cannot stand before a repository", hint=HINT, value=text)
    found = origin(config, host).replace(prefix=path + "/" if path else "", mirror=True)
    return found.replace(schemes=(scheme,)) if separator else found


def _name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _address(name: str) -> Any:
    if ":" not in name and not name.replace(".", "").isdigit():
        return None
    import ipaddress

    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
