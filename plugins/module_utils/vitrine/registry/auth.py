# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who we are at which registry: the files and helper programs of docker and podman; login and logout.

Read, in this order: $REGISTRY_AUTH_FILE, docker's config.json ($DOCKER_CONFIG or ~/.docker), podman's auth.json
(${XDG_RUNTIME_DIR} or /run, then ~/.config). Written: docker's. Passwords appear in no message, argument, environment.
"""

from __future__ import annotations

import os

from ..errors import HostError, InvalidInput, VitrineError
from ..oci.reference import HUB, HUB_ALIASES, valid_registry
from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

HUB_KEY = "https://index.docker.io/v1/"
TOKEN_USER = "<token>"
MAX_FILE = 4 << 20
HELPER_TIMEOUT = 60.0


class Credentials(Record):
    """user and password, or (instead of the password) identity_token; source: where they are from, for messages."""

    user: str
    password: str
    identity_token: str = ""
    source: str = "as given"

    @property
    def basic(self) -> str:
        """The Authorization header's value for HTTP Basic (RFC 7617)."""
        import base64

        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, source={self.source!r})"


def find(registry: str, repository: str = "") -> Credentials | None:
    """Return the stored credentials for a registry, None if there are none.

    podman's files may name repositories too ("quay.io/org"): the longest that holds the repository wins. Raises
    InvalidInput for a file that is damaged, HostError for a helper that fails.
    """
    for path in files():
        found = _find_in(path, registry, repository)
        if found is not None:
            return found
    return None


def files() -> list[str]:
    """Return the paths where credentials may be, the first one that knows a registry counts."""
    home = os.path.expanduser("~")
    named = os.environ.get("REGISTRY_AUTH_FILE")
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    podman = (f"{runtime}/containers", f"/run/containers/{os.getuid()}", f"{home}/.config/containers")
    found = [*([named] if named else []), docker_file(), *(f"{folder}/auth.json" for folder in podman)]
    return list(dict.fromkeys(found))


def docker_file() -> str:
    """Return the path of docker's config.json."""
    return os.path.join(os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"), "config.json")


def normalise(registry: str) -> str:
    """Return a registry's name from what people type at login: "https://host:port/v1/" is "host:port".

    Raises InvalidInput.
    """
    name = registry.strip().rpartition("://")[2].partition("/")[0] or HUB
    if name in HUB_ALIASES:
        return HUB
    if not valid_registry(name):
        raise InvalidInput(f"{registry!r} is not a registry", hint="write host or host:port", value=registry)
    return name


def store(registry: str, credentials: Credentials, path: str | None = None) -> bool:
    """Write credentials where docker keeps them (its helper program, if it is set up); returns whether that changed
    anything. All other content of the file stays. Raises InvalidInput, HostError."""
    path = os.path.realpath(path or docker_file())
    with _Edited(path) as document:
        helper = _helper(document, registry)
        if helper:
            return _store_by_helper(helper, registry, credentials)
        auths = _object(document, "auths", path)
        entry = {"auth": credentials.basic.partition(" ")[2]}
        if auths.get(_key(registry)) == entry:
            return False
        for name in [name for name in auths if _same(name, registry)]:
            del auths[name]
        auths[_key(registry)] = entry
        document["auths"] = auths
    return True


def logout(registry: str, path: str | None = None) -> bool:
    """Forget the credentials that store() wrote; returns whether there were any. Raises InvalidInput, HostError."""
    registry = normalise(registry)
    path = os.path.realpath(path or docker_file())
    if not os.path.exists(path):
        return False
    removed = False
    with _Edited(path) as document:
        helper = _helper(document, registry)
        if helper and _ask_helper(helper, _key(registry)) is not None:
            _run_helper(helper, "erase", _key(registry).encode())
            removed = True
        auths = _object(document, "auths", path)
        for name in [name for name in auths if _same(name, registry)]:
            del auths[name]
            removed = True
        if removed and "auths" in document:
            document["auths"] = auths
    return removed


def login(
    registry: str,
    user: str,
    password: str,
    *,
    config: dict[str, Any] | None = None,
    path: str | None = None,
    check: bool = False,
) -> bool:
    """Verify a user's password at a registry, then write it down; returns whether the file changed.

    config: the engine's configuration. path: instead of docker's config.json. check: verify and compare only. Raises
    Unauthorized, RegistryUnreachable, InvalidInput.
    """
    from .client import Client

    registry = normalise(registry)
    if not user or ":" in user or "\0" in user + password:
        raise InvalidInput(f"{user!r} is not a user name: it must be there, without a colon", value=user)
    with Client(config or {}, credentials=(user, password)) as client:
        client.check_login(registry)
    known = _find_in(os.path.realpath(path or docker_file()), registry, "")
    if known is not None and (known.user, known.password) == (user, password):
        return False
    return True if check else store(registry, Credentials(user, password), path)


# -- files -----------------------------------------------------------------------------------------------------------


def _key(registry: str) -> str:
    return HUB_KEY if registry == HUB else registry


def _same(name: str, registry: str) -> bool:
    bare = name.rpartition("://")[2]
    host, _slash, path = bare.partition("/")
    return path.strip("/") in ("", "v1", "v2") and (host == registry or (registry == HUB and host in HUB_ALIASES))


def _load(path: str) -> dict[str, Any] | None:
    import json

    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE)
    except OSError:
        return None
    try:
        document = json.loads(data) if data.strip() else {}
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not JSON: {error}", hint="correct or remove the file", value=path) from None
    if not isinstance(document, dict):
        raise InvalidInput(f"{path} must hold one JSON object", hint="correct or remove the file", value=path)
    return document


def _object(document: dict[str, Any], key: str, path: str) -> dict[str, Any]:
    value = document.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput(f"{path}: {key!r} must be an object", hint="correct or remove the file", value=path)
    return value


def _candidates(registry: str, repository: str) -> Iterator[str]:
    parts = repository.split("/") if repository else []
    for count in range(len(parts), 0, -1):
        yield "/".join([registry, *parts[:count]])


def _find_in(path: str, registry: str, repository: str) -> Credentials | None:
    document = _load(path)
    if document is None:
        return None
    helper = _helper(document, registry)
    found = None
    if helper:
        try:
            found = _ask_helper(helper, _key(registry))
        except HostError as error:
            # A config.json copied from a desktop names a helper that this host lacks: its plain entries still count.
            if _entry(_object(document, "auths", path), registry, repository) is None:
                error.hint = f"install or repair the helper, or take it out of {path}"
                raise
    if found is None:
        entry = _entry(_object(document, "auths", path), registry, repository)
        found = _read_entry(entry, path) if entry else None
    return found.replace(source=f"from {path}") if found else None


def _entry(auths: dict[str, Any], registry: str, repository: str) -> dict[str, Any] | None:
    for name in _candidates(registry, repository):
        if isinstance(auths.get(name), dict) and auths[name]:
            return auths[name]  # type: ignore[no-any-return]
    for name, entry in auths.items():
        if isinstance(entry, dict) and entry and _same(name, registry):
            return entry
    return None


def _read_entry(entry: dict[str, Any], path: str) -> Credentials | None:
    import base64

    texts = {key: entry.get(key) or "" for key in ("auth", "username", "password", "identitytoken")}
    if not all(isinstance(value, str) for value in texts.values()):
        raise InvalidInput(f"{path}: an entry of auths holds something else than text", value=path)
    user, password = texts["username"], texts["password"]
    if texts["auth"]:
        try:
            decoded = base64.b64decode(texts["auth"], validate=True).decode()
        except ValueError:
            raise InvalidInput(f"{path}: an auth entry is not base64", hint="log in anew", value=path) from None
        user, _colon, password = decoded.partition(":")
        password = password.rstrip("\0")
    if user == TOKEN_USER:
        return Credentials(user, "", password)
    return Credentials(user, password, texts["identitytoken"]) if user or texts["identitytoken"] else None


class _Edited:
    """The parsed file, under a lock; written back atomically, 0600, when it was changed. Missing: begins empty."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._document: dict[str, Any] = {}
        self._before = b""
        self._lock = -1

    def __enter__(self) -> dict[str, Any]:
        from ..linux import fs

        try:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            self._lock = fs.lock(self.path + ".lock", timeout=30)
        except OSError as error:
            raise HostError(f"{self.path} cannot be written: {error.strerror}", value=self.path) from None
        try:
            self._document = _load(self.path) or {}
            self._before = self._text()
        except BaseException:
            os.close(self._lock)
            raise
        return self._document

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        from ..linux import fs

        try:
            if kind is None and self._text() != self._before:
                fs.write_atomic(self.path, self._text(), 0o600)
        except OSError as error:
            raise HostError(f"{self.path} cannot be written: {error.strerror}", value=self.path) from None
        finally:
            os.close(self._lock)

    def _text(self) -> bytes:
        import json

        return json.dumps(self._document, indent="\t").encode() + b"\n"


# -- helper programs -------------------------------------------------------------------------------------------------
# docker-credential-<name> get|store|erase: the request on standard input, one JSON object on standard output.


def _helper(document: dict[str, Any], registry: str) -> str:
    helpers = document.get("credHelpers")
    name = ""
    if isinstance(helpers, dict):
        name = next((helper for key, helper in helpers.items() if _same(key, registry)), "")
    name = name or document.get("credsStore") or ""
    if not isinstance(name, str) or name.strip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"):
        raise InvalidInput(f"{name!r} is not the name of a credential helper", value=name)
    return name


def _run_helper(helper: str, verb: str, request: bytes) -> tuple[int, bytes]:
    from ..linux import command

    environment = {key: value for key, value in os.environ.items() if key not in ("PATH", "LC_ALL")}
    done = command.run([f"docker-credential-{helper}", verb], input=request, env=environment, timeout=HELPER_TIMEOUT)
    return done.status, done.stdout


def _ask_helper(helper: str, server: str) -> Credentials | None:
    import json

    status, output = _run_helper(helper, "get", server.encode())
    if status != 0:
        if b"credentials not found" in output:
            return None
        said = output.decode(errors="replace").strip()[:200]
        raise HostError(f"docker-credential-{helper} failed: {said or f'exit status {status}'}", value=helper)
    try:
        answer = json.loads(output)
        user, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError):
        raise HostError(f"docker-credential-{helper} answered something else than credentials", value=helper) from None
    return Credentials(user, "", secret) if user == TOKEN_USER else Credentials(user, secret)


def _store_by_helper(helper: str, registry: str, credentials: Credentials) -> bool:
    import json

    try:
        known = _ask_helper(helper, _key(registry))
    except VitrineError:
        known = None
    if known is not None and (known.user, known.password) == (credentials.user, credentials.password):
        return False
    request = {"ServerURL": _key(registry), "Username": credentials.user, "Secret": credentials.password}
    status, output = _run_helper(helper, "store", json.dumps(request).encode())
    if status != 0:
        said = output.decode(errors="replace").strip()[:200]
        raise HostError(f"docker-credential-{helper} failed: {said or f'exit status {status}'}", value=helper)
    return True
