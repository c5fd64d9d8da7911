# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request to one server, and what can go wrong with it. Knows HTTP and TLS; knows nothing of registries.

requests' sessions are not used, only its transport adapter: a session would read ~/.netrc, keep cookies, follow
redirects with our credentials and undo content encodings, and each of these has been a security hole somewhere.
"""

from __future__ import annotations

import os
import time

from ..errors import DependencyMissing, HostError, RegistryError, RegistryUnreachable
from ..version import VERSION
from .endpoints import is_loopback
from .retry import TRANSIENT, Policy, parse_retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CERTS_DIRS = ("/etc/vitrine/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d")
# The distributions' bundles come before the one that a pip-installed requests brings: that knows no company's own CA.
CA_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
# Content is hashed and kept as the registry has it: nobody on the way may compress it once more.
HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"vitrine/{VERSION}"}
CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 60.0
CONNECTIONS = 10
DRAIN = 16 << 10
# Exceptions of requests and urllib3 that say the same every time; by name, for they are imported late.
_FINAL_NAMES = frozenset(("CertificateError", "InvalidURL", "InvalidHeader"))


def import_requests() -> Any:
    """Return the requests module. Raises DependencyMissing."""
    try:
        import requests
    except ImportError:
        raise DependencyMissing(
            "the Python package requests, which talks to registries, is not installed on this host",
            hint="install python3-requests (Debian, Ubuntu, CentOS), apply the role vitrine.engine.engine, or let the "
            "collection's modules bring the controller's own",
            value="requests",
        ) from None
    return requests


class Origin(tuple):  # type: ignore[type-arg]
    """(scheme, host, port) of a URL: who gets our credentials."""

    __slots__ = ()

    @classmethod
    def of(cls, url: str) -> Origin:
        """Raises RegistryError for what is no http or https URL."""
        from urllib.parse import urlsplit

        try:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
                raise ValueError
            return cls((parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)))
        except ValueError:
            raise RegistryError(f"the registry names the address {url!r}, which cannot be used", value=url) from None


def join(base: str, location: str) -> str:
    """Return the full address of what a server at base calls location. Raises RegistryError."""
    from urllib.parse import urljoin

    try:
        return urljoin(base, location)
    except ValueError:
        raise RegistryError(f"the registry names the address {location!r}, which is none", value=location) from None


class Transport:
    """Connections to the servers of one Client; used by several threads at once.

    certs_dirs: where <registry>/*.crt (its CA) and *.cert with *.key (our certificate) are looked for.
    sleep: waits between attempts.
    """

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        certs_dirs: tuple[str, ...] = CERTS_DIRS,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.policy = policy or Policy()
        self.sleep = sleep
        self._certs_dirs = certs_dirs
        self._adapters: dict[tuple[Origin, str, bool], Any] = {}
        self._answered: set[Origin] = set()
        self._filed: dict[str, list[tuple[str, str]]] = {}

    def close(self) -> None:
        """Close all connections."""
        for adapter in self._adapters.values():
            adapter.close()
        self._adapters.clear()

    def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        body: bytes | Callable[[], Any] | None = None,
        registry: str = "",
        verify: bool = True,
        repeat: bool = True,
    ) -> Any:
        """Send one request, again if that may help, and return the answer (a requests.Response, body not yet read).

        body: bytes, or a function that returns the body from its beginning. registry: whose certificates are used.
        verify: whether the server's certificate must be trusted. repeat: whether it does no harm to send this twice.
        No redirect is followed. Raises RegistryUnreachable, RegistryError.
        """
        import_requests()
        origin = Origin.of(url)
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = self._send(origin, method, url, headers, body() if callable(body) else body, registry, verify)
            except _failures() as error:
                # A server that was never there is not waited for; one that was may be restarting.
                wait = self.policy.delay(attempt) if repeat and origin in self._answered else None
                if wait is None or _final(error):
                    raise unreachable(origin, error) from None
            else:
                self._answered.add(origin)
                if answer.status_code not in TRANSIENT or not (repeat or answer.status_code == 429):
                    return answer
                retry_after = parse_retry_after(answer.headers.get("Retry-After"), time.time())
                wait = self.policy.delay(attempt, retry_after)
                if wait is None:
                    return answer
                finish(answer)
            self.sleep(wait)

    def _send(
        self, origin: Origin, method: str, url: str, headers: dict[str, str], body: Any, registry: str, verify: bool
    ) -> Any:
        requests = import_requests()
        prepared = requests.models.PreparedRequest()
        prepared.prepare(method=method, url=url, headers={**HEADERS, **headers}, data=body)
        key = (origin, registry, verify)
        adapter = self._adapters.get(key)
        if adapter is None:
            context = self._tls_context(origin, registry, verify) if origin[0] == "https" else None
            adapter = self._adapters.setdefault(key, _new_adapter(requests, context))
        # Proxies are the one thing that the environment decides (HTTPS_PROXY, NO_PROXY, ...); this host needs none.
        near = is_loopback(f"[{origin[1]}]" if ":" in origin[1] else origin[1])
        proxies = {} if near else requests.utils.get_environ_proxies(prepared.url, no_proxy=None)
        return adapter.send(prepared, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT), proxies=proxies)

    def has_certificates(self, registry: str) -> bool:
        """Tell whether somebody filed a CA for the registry: then it is spoken to with TLS and nothing else."""
        return any(name.endswith(".crt") for _folder, name in self._certificates(registry))

    def _certificates(self, registry: str) -> list[tuple[str, str]]:
        if registry not in self._filed:
            found = []
            for folder in (os.path.join(base, registry) for base in self._certs_dirs):
                try:
                    found += [(folder, name) for name in sorted(os.listdir(folder))]
                except OSError:
                    continue
            self._filed[registry] = found
        return self._filed[registry]

    def _tls_context(self, origin: Origin, registry: str, verify: bool) -> Any:
        import ssl

        if not verify:
            import urllib3

            # Whose certificate is not checked was decided by the configuration: nobody needs to read it each time.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        else:
            context = ssl.create_default_context(cafile=_ca_bundle())
            # Python 3.13 and later refuse CAs without a key usage, which is what people make with openssl; docker and
            # older Pythons take them, and the host's Python should not decide whom a registry's client trusts.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if _is_address(origin[1]) and _urllib3_major() < 2:
                # urllib3 1.x gives addresses to ssl without a name to check, and checks the certificate's name itself.
                context.check_hostname = False
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        names = dict.fromkeys((registry, f"{origin[1]}:{origin[2]}", *((origin[1],) if origin[2] == 443 else ())))
        for filed_under in filter(None, names):
            ours = filed_under != registry or registry.partition(":")[0] == origin[1]
            for folder, name in self._certificates(filed_under):
                path = os.path.join(folder, name)
                try:
                    if name.endswith(".crt") and verify:
                        context.load_verify_locations(path)
                    elif name.endswith(".cert") and ours:
                        # Our own certificate is shown to the registry that it was made for, to nobody it points at.
                        context.load_cert_chain(path, path[: -len("cert")] + "key")
                except (OSError, ValueError) as error:
                    raise HostError(
                        f"the certificate {path} cannot be used: {error}",
                        hint="a .crt file holds a CA in PEM form, a .cert file with its .key this host's certificate",
                        value=path,
                    ) from None
        return context


def _new_adapter(requests: Any, context: Any) -> Any:
    class Adapter(requests.adapters.HTTPAdapter):  # type: ignore[misc]
        """requests' adapter with our TLS context in place of its own idea of certificates."""

        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options, **({"ssl_context": context} if context else {}))

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            return super().proxy_manager_for(proxy, **options, **({"ssl_context": context} if context else {}))

        def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
            """requests would set the CA bundle of its own here; all that is needed stands in the context."""
            if context:
                conn.cert_reqs = context.verify_mode  # else urllib3 1.x puts CERT_REQUIRED into the context
                conn.ca_certs = conn.ca_cert_dir = None  # else Debian's loads the whole bundle for each connection

        def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
            """requests >= 2.32: likewise."""
            parts = requests.compat.urlparse(request.url)
            return {"scheme": parts.scheme, "host": parts.hostname, "port": parts.port}, {}

    return Adapter(pool_connections=2, pool_maxsize=CONNECTIONS, max_retries=0)


def _is_address(host: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _urllib3_major() -> int:
    import urllib3

    return int(urllib3.__version__.partition(".")[0])


def _ca_bundle() -> str | None:
    for path in (os.environ.get("SSL_CERT_FILE", ""), *CA_BUNDLES):
        if path and os.path.exists(path):
            return path
    return str(import_requests().certs.where())


def _failures() -> tuple[type[BaseException], ...]:
    requests = import_requests()
    import urllib3

    return (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)


def read_failures() -> tuple[type[BaseException], ...]:
    """Return what a broken connection may raise while an answer's body is read."""
    import http.client

    return (*_failures(), http.client.HTTPException)


def finish(answer: Any) -> None:
    """End an answer whose body does not matter. A short one is read: only then can its connection be used again."""
    try:
        answer.raw.read(DRAIN)
    except read_failures():
        pass
    answer.close()


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and all that it wraps: the libraries hide the errno three levels deep, in args or context."""
    found: list[BaseException] = []
    queue: list[Any] = [error]
    while queue and len(found) < 20:
        item = queue.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            queue += [getattr(item, "reason", None), item.__cause__, item.__context__, *item.args]
    return found


def _final(error: BaseException) -> bool:
    import socket
    import ssl

    final = (ssl.SSLCertVerificationError, socket.gaierror)
    causes = _causes(error)
    return any(isinstance(cause, final) or type(cause).__name__ in _FINAL_NAMES for cause in causes)


def unreachable(origin: Origin, error: BaseException) -> RegistryUnreachable:
    """Return the error that says to a user why no answer came from a server, and what to do about it."""
    import socket
    import ssl

    scheme, host, port = origin
    where = f"{host}:{port}" if port != (443 if scheme == "https" else 80) else host
    causes = _causes(error)

    def any_is(*kinds: type[BaseException]) -> BaseException | None:
        return next((cause for cause in causes if isinstance(cause, kinds)), None)

    untrusted = any_is(ssl.SSLCertVerificationError) or next(
        (cause for cause in causes if type(cause).__name__ == "CertificateError"), None
    )
    text = " ".join(str(cause) for cause in causes)
    if any(type(cause).__name__ == "ProxyError" for cause in causes):
        what, hint = "the proxy does not let us through", "check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
    elif untrusted is not None:
        reason = getattr(untrusted, "verify_message", "") or str(untrusted)
        what = f"its certificate is not trusted: {reason}"
        hint = f"put the certificate of its CA into {CERTS_DIRS[0]}/{where}/ca.crt"
    elif "WRONG_VERSION_NUMBER" in text or "record layer failure" in text.lower() or "UNKNOWN_PROTOCOL" in text:
        what = "it does not speak TLS on this port"
        hint = f'if it is to be used without TLS, list "{where}" under registries.insecure in /etc/vitrine/config.json'
    elif any_is(ssl.SSLError):
        what, hint = f"TLS failed: {any_is(ssl.SSLError)}", "check what the server's TLS offers"
    elif any_is(socket.gaierror):
        what, hint = "its name cannot be resolved", "check the name's spelling and this host's DNS"
    elif any_is(ConnectionRefusedError):
        what, hint = "the connection was refused", "check that it runs, and its port"
    elif any_is(TimeoutError, socket.timeout) or "timed out" in text:
        what, hint = "it did not answer in time", "check the network and firewalls between this host and it"
    else:
        deepest = any_is(OSError)
        reason = getattr(deepest, "strerror", None) or str(causes[-1]) or type(error).__name__
        what, hint = f"the connection failed: {reason}", "check the network between this host and it"
    return RegistryUnreachable(f"the registry {where} cannot be reached: {what}", hint=hint, value=where)
