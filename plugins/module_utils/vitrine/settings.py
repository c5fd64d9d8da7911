# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where this engine keeps things, what the host's configuration says, and the names of its kernel objects.

All names of kernel objects are derived from the engine's root, so that several roots live side by side on one host.
"""

from __future__ import annotations

import os
import sys

from .errors import InvalidInput
from .record import Record

DEFAULT_ROOT = "/var/lib/vitrine"
DEFAULT_RUN_ROOT = "/run/vitrine"
DEFAULT_CONFIG = "/etc/vitrine/config.json"
CONFIG_KEYS = frozenset(
    ("bridge_subnet", "dns", "default_ulimits", "log_driver", "log_options", "registries", "storage_driver", "without")
)


class Settings(Record):
    """root: durable state. run_root: what a reboot may forget. instance: "" for the default root, else 6 hex digits.
    config: the parsed configuration file; config_path: where it was read, "" for the usual place."""

    root: str
    run_root: str
    instance: str
    config: dict[str, object]
    config_path: str = ""

    @classmethod
    def load(cls, root: str | None = None, run_root: str | None = None, config_path: str | None = None) -> Settings:
        """Read the configuration file (absent: all defaults) and derive the names that depend on root.

        Raises InvalidInput for a file that is not a JSON object with known keys.
        """
        root = os.path.realpath(root or DEFAULT_ROOT)
        instance = ""
        if root != DEFAULT_ROOT:
            instance = sha256(os.fsencode(root))[:6]
        if run_root is None:
            run_root = f"{DEFAULT_RUN_ROOT}-{instance}" if instance else DEFAULT_RUN_ROOT
        return cls(
            root, run_root, instance, _read_config(config_path), os.path.abspath(config_path) if config_path else ""
        )

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts in the configuration file; () when it is not there. Raises InvalidInput."""
        value = self.config.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InvalidInput(
                f"the configuration key {key!r} is {value!r}", hint='write a list of texts: ["...", "..."]', value=value
            )
        return tuple(value)

    @property
    def tag(self) -> str:
        """Prefix of this root's kernel objects."""
        return f"vitrine-{self.instance}" if self.instance else "vitrine"

    @property
    def bridge(self) -> str:
        """Name of the default network's bridge (at most 15 bytes, as IFNAMSIZ allows)."""
        return f"vitrine-{self.instance}" if self.instance else "vitrine0"

    @property
    def table(self) -> str:
        """Name of the nf_tables tables."""
        return f"vitrine_{self.instance}" if self.instance else "vitrine"


def sha256(data: bytes) -> str:
    """The digest in hex, without loading OpenSSL where the interpreter has code of its own."""
    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha256
        else:
            from _sha256 import sha256
    except ImportError:
        from hashlib import sha256
    return sha256(data).hexdigest()  # type: ignore[no-any-return]


def _read_config(path: str | None) -> dict[str, object]:
    required = path is not None
    path = path or DEFAULT_CONFIG
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        if required:
            raise InvalidInput(
                f"the configuration file {path!r} does not exist", hint="name an existing file, or none", value=path
            ) from None
        return {}
    from . import lightjson as json

    try:
        config = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}", hint="correct the file", value=path) from None
    if not isinstance(config, dict):
        raise InvalidInput(f"{path} must hold one JSON object", hint='write at least "{}"', value=path)
    unknown = sorted(set(config) - CONFIG_KEYS)
    if unknown:
        raise InvalidInput(
            f"{path} has the unknown key {unknown[0]!r}",
            hint=f"known keys are {', '.join(sorted(CONFIG_KEYS))}",
            value=unknown[0],
        )
    return config
