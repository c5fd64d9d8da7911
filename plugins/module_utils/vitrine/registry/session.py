# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to one registry: which scheme it speaks, who we are there, where it redirects us to, what its errors mean.

The ladder for each (registry, scopes): what got us in the last time -> nothing or our credentials, as the registry's
401 asks (distribution auth spec "token": a Bearer token from its token service; or Basic) -> Unauthorized.
"""

from __future__ import annotations

import threading
import time

from ..errors import ContentMismatch, RegistryError, RegistryUnreachable, Unauthorized
from ..oci import document, media
from . import challenge
from .auth import Credentials
from .transport import Origin, finish, join, read_failures, unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .endpoints import Endpoint
    from .transport import Transport

MAX_REDIRECTS = 5
MAX_ERROR = 64 << 10
MAX_TOKEN = 1 << 20
REDIRECTS = frozenset((301, 302, 303, 307, 308))
TOKEN_LIFE = 60  # seconds, when the token service does not say (token spec, "expires_in")
CLIENT_ID = "vitrine"


class Session:
    """One registry (or mirror) as one Client sees it. Used by several threads at once.

    find_credentials(registry) -> Credentials or None is called when the registry wants some, at most once.
    """

    def __init__(
        self, endpoint: Endpoint, transport: Transport, find_credentials: Callable[[str], Credentials | None]
    ) -> None:
        self.endpoint = endpoint
        self.transport = transport
        self._find_credentials = find_credentials
        self._credentials: list[Credentials | None] = []
        self._headers: dict[tuple[str, ...], tuple[str, float]] = {}
        self._lock = threading.RLock()
        self._base = ""
        # A filed CA is a wish to have the registry checked, be it on this host or listed as insecure.
        self._verify = endpoint.verify or transport.has_certificates(endpoint.registry)

    def url(self, path: str) -> str:
        """Return the full address of an API path ("/v2/...")."""
        return self._base + path

    def repository(self, name: str) -> str:
        """Return a repository's path at this endpoint: a mirror may keep it under a prefix."""
        return self.endpoint.prefix + name

    def open(
        self,
        method: str,
        target: str,
        *,
        scopes: tuple[str, ...] = (),
        headers: dict[str, str] | None = None,
        body: bytes | Callable[[], Any] | None = None,
        accept: tuple[int, ...] = (200,),
        repeat: bool = True,
    ) -> Any:
        """Send a request and return the answer (status in accept; its body is not yet read).

        target: a path, or a full address that the registry gave us; a foreign one does not get our credentials.
        scopes: what a token must allow. Other arguments as Transport.exchange. Raises Unauthorized,
        RegistryUnreachable, RegistryError.
        """
        if not self._base:
            self._find_scheme()
        url = self.url(target) if target.startswith("/") else target
        answer = self._authorised(method, url, scopes, headers or {}, body, repeat)
        for _hop in range(MAX_REDIRECTS):
            if answer.status_code not in REDIRECTS or answer.status_code in accept:
                break
            if method not in ("GET", "HEAD") and answer.status_code not in (307, 308):
                raise RegistryError(f"the registry {self.endpoint.host} redirects a {method} as a GET", value=url)
            url = self.resolve(answer.headers.get("Location"), url)
            finish(answer)
            answer = self._authorised(method, url, scopes, headers or {}, body, repeat)
        if answer.status_code in accept:
            return answer
        raise self.failure(answer)

    def resolve(self, location: str | None, url: str) -> str:
        """Return the full address of a Location header. Raises RegistryError when it leads from TLS to no TLS."""
        if not location:
            raise RegistryError(f"the registry {self.endpoint.host} redirects to nowhere", value=url)
        found = join(url, location)
        if Origin.of(found)[0] == "http" and Origin.of(url)[0] == "https":
            raise RegistryError(
                f"the registry {self.endpoint.host} redirects from https to {found}",
                hint="content is not fetched without TLS from a registry that has it; tell its operator",
                value=found,
            )
        return found

    def read(self, answer: Any, limit: int, what: str) -> bytes:
        """Return a small body, whole. Raises ContentMismatch when it is longer than limit or ends early."""
        data = b""
        try:
            while len(data) <= limit:
                chunk = answer.raw.read(limit + 1 - len(data))
                if not chunk:
                    break
                data += chunk
        except read_failures() as error:
            raise unreachable(Origin.of(answer.url), error) from None
        finally:
            answer.close()
        if len(data) > limit:
            raise ContentMismatch(f"{what} from {self.endpoint.host} is longer than {limit} bytes", value=limit)
        length = answer.headers.get("Content-Length", "")
        if length.isdigit() and int(length) != len(data):
            raise ContentMismatch(f"{what} from {self.endpoint.host} ended after {len(data)} of {length} bytes")
        return data

    def failure(self, answer: Any) -> RegistryError:
        """Return the error that an answer of another status than the wanted one stands for."""
        status, host = answer.status_code, self.endpoint.host
        codes, text = _messages(self._error_body(answer))
        said = f": {text}" if text else ""
        origin = Origin.of(answer.url)
        if origin != Origin.of(self._base):
            return RegistryError(
                f"{origin[1]}, where the registry {host} sends us to, answered {status}{said}",
                hint="try again; if that does not help, ask the registry's operator",
                value=status,
            )
        if status in (401, 403):
            return self._refused(said, status)
        if status == 429 or "TOOMANYREQUESTS" in codes:
            hint = "wait, or log in: registries allow more to those whom they know"
            return RegistryError(f"the registry {host} allows no more requests for now{said}", hint=hint, value=status)
        if status >= 500:
            hint = "it is the registry's fault; try again later"
        else:
            hint = "check the name of the registry and of the repository"
        return RegistryError(f"the registry {host} answered {status}{said}", hint=hint, value=status)

    # -- who we are ---------------------------------------------------------------------------------------------

    @property
    def credentials(self) -> Credentials | None:
        """Our credentials for this registry, looked up once."""
        with self._lock:
            if not self._credentials:
                self._credentials.append(self._find_credentials(self.endpoint.registry))
            return self._credentials[0]

    def _find_scheme(self) -> None:
        with self._lock:
            if self._base:
                return
            schemes = self.endpoint.schemes
            if len(schemes) > 1 and self._verify:
                schemes = ("https",)
            for scheme in schemes:
                base = f"{scheme}://{self.endpoint.host}"
                if scheme != schemes[-1]:
                    try:
                        finish(self._exchange("GET", base + "/v2/", {}, None, True))
                    except RegistryUnreachable:
                        continue
                self._base = base
                return

    def _exchange(self, method: str, url: str, headers: dict[str, str], body: Any, repeat: bool) -> Any:
        # Leave to skip the check of a certificate was given for this host only.
        verify = self._verify or Origin.of(url)[1] != Origin.of(f"https://{self.endpoint.host}")[1]
        return self.transport.exchange(
            method, url, headers=headers, body=body, registry=self.endpoint.registry, verify=verify, repeat=repeat
        )

    def _authorised(
        self, method: str, url: str, scopes: tuple[str, ...], headers: dict[str, str], body: Any, repeat: bool
    ) -> Any:
        if Origin.of(url) != Origin.of(self._base):
            return self._exchange(method, url, headers, body, repeat)
        used, fresh = self._known(scopes), False
        while True:
            sent = {**headers, "Authorization": used} if used else headers
            answer = self._exchange(method, url, sent, body, repeat)
            if answer.status_code != 401 or fresh:
                return answer
            challenges = challenge.parse(answer.headers.get("WWW-Authenticate"))
            with self._lock:
                following = self._known(scopes)
                if following is None or following == used:  # no other thread has got us in meanwhile
                    following, fresh = self._obtain(challenges, scopes, used), True
            if following is None:
                return answer
            finish(answer)
            used = following

    def _known(self, scopes: tuple[str, ...]) -> str | None:
        header, until = self._headers.get(scopes, (None, 0.0))
        return header if header and time.monotonic() < until else None

    def _obtain(
        self, challenges: list[challenge.Challenge], scopes: tuple[str, ...], refused: str | None
    ) -> str | None:
        """Return the next Authorization header to try, or None: there is nothing left."""
        offered = {item.scheme: item.parameters for item in challenges}
        if "bearer" in offered:
            if refused is not None and offered["bearer"].get("error") == "insufficient_scope":
                return None
            header, life = self._token(offered["bearer"], scopes)
        elif "basic" in offered:
            credentials = self.credentials
            if credentials is None or not credentials.user:
                return None
            header, life = credentials.basic, float("inf")
        else:
            return None
        if header == refused:
            return None
        self._headers[scopes] = (header, time.monotonic() + life)
        return header

    def _token(self, parameters: dict[str, str], scopes: tuple[str, ...]) -> tuple[str, float]:
        """Ask the token service (distribution spec auth/token.md, auth/oauth.md); returns (header, seconds)."""
        from urllib.parse import urlencode

        if not parameters.get("realm"):
            raise RegistryError(f"the registry {self.endpoint.host} wants a token, but does not say from where")
        realm = join(self._base + "/", parameters["realm"])
        if Origin.of(realm)[0] != "https" and self._base.startswith("https://") and self._verify:
            raise RegistryError(
                f"the registry {self.endpoint.host} names a token service without TLS: {realm}",
                hint="credentials are not sent there; tell the registry's operator",
                value=realm,
            )
        credentials = self.credentials
        wanted = scopes or tuple(filter(None, parameters.get("scope", "").split(" ")))
        query = [("service", parameters["service"])] if parameters.get("service") else []
        headers: dict[str, str] = {}
        body = None
        if credentials is not None and credentials.identity_token:
            query += [("scope", " ".join(wanted)), ("grant_type", "refresh_token"), ("client_id", CLIENT_ID)]
            body = urlencode([*query, ("refresh_token", credentials.identity_token)]).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        else:
            query += [("scope", scope) for scope in wanted]
            if credentials is not None:
                query.append(("account", credentials.user))
                headers["Authorization"] = credentials.basic
            realm += ("&" if "?" in realm else "?") + urlencode(query)
        answer = self._exchange("POST" if body else "GET", realm, headers, body, True)
        if answer.status_code != 200:
            raise self._token_failure(answer)
        return _read_token(self.read(answer, MAX_TOKEN, "the token"))

    def _token_failure(self, answer: Any) -> RegistryError:
        _codes, text = _messages(self._error_body(answer))
        said = f": {text}" if text else ""
        if answer.status_code in (400, 401, 403):
            return self._refused(said, answer.status_code)
        return RegistryError(
            f"the token service of {self.endpoint.host} answered {answer.status_code}{said}", value=answer.status_code
        )

    def _refused(self, said: str, status: int) -> Unauthorized:
        registry, credentials = self.endpoint.registry, self.credentials
        if credentials is None:
            return Unauthorized(
                f"the registry {registry} refuses access without a login{said}",
                hint=f"check the name, or log in with: vitrine login {registry}",
                value=registry,
            )
        return Unauthorized(
            f"the registry {registry} refuses access to user {credentials.user!r} ({credentials.source}){said}",
            hint="check user name and password, and what that user may do there",
            value=registry,
        )

    def _error_body(self, answer: Any) -> bytes:
        try:
            return bytes(answer.raw.read(MAX_ERROR) or b"")
        except read_failures():
            return b""
        finally:
            answer.close()


def _read_token(data: bytes) -> tuple[str, float]:
    body = document.load(data, "the token service's answer")
    token = document.text(body, "token", "the token") or document.text(body, "access_token", "the token")
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise RegistryError("the token service answered without a usable token")
    life = body.get("expires_in")
    life = life if isinstance(life, (int, float)) and life > 0 else TOKEN_LIFE
    # A token that is about to end would end on the way.
    return f"Bearer {token}", max(min(life, 86400) * 0.9 - 2, 5.0)


def _messages(data: bytes) -> tuple[list[str], str]:
    """Return the codes and the text of an error body (distribution spec, "Errors"); both empty for anything else."""
    import json

    try:
        body = json.loads(data)
        errors = body.get("errors") or [body]
        codes = [str(item.get("code", "")).upper() for item in errors]
        texts = [str(item.get("message") or item.get("details") or item.get("error") or "") for item in errors]
    except (ValueError, AttributeError, TypeError, RecursionError):
        return [], ""
    text = "; ".join(dict.fromkeys(filter(None, texts)))
    # A stranger's text goes to a terminal: no control characters, and no novels.
    return codes, "".join(character if character.isprintable() else " " for character in text)[:300]


def content_type(answer: Any) -> str:
    """Return the media type that an answer announces."""
    return media.bare(answer.headers.get("Content-Type"))
