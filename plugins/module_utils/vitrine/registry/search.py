# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding images: Docker Hub's index, and the catalogues of other registries."""

from __future__ import annotations

from ..errors import ImageNotFound, RegistryError
from ..oci import document
from ..oci.reference import HUB, valid_repository, valid_tag
from ..record import Record
from .transport import Origin, finish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .session import Session

INDEX = "index.docker.io"
HUB_API = "hub.docker.com"
MAX_PAGE = 4 << 20
MAX_PAGES = 1000
PAGE = 1000
MAX_LIMIT = 100  # the index gives no more for one question


class Found(Record):
    """One result of a search. name: as it can be pulled; stars: how many users like it."""

    name: str
    description: str = ""
    stars: int = 0
    official: bool = False
    automated: bool = False


def pages(session: Session, path: str, key: str, scopes: tuple[str, ...]) -> Iterator[list[str]]:
    """Return the list under key of each page of a listing (distribution spec, "Listing": Link rel=next).

    Raises ImageNotFound for 404, RegistryError.
    """
    target = f"{path}?n={PAGE}"
    for _number in range(MAX_PAGES):
        answer = session.open("GET", target, scopes=scopes, accept=(200, 404))
        if answer.status_code == 404:
            finish(answer)
            raise ImageNotFound(f"the registry {session.endpoint.host} has no {path}", value=path)
        body = document.load(session.read(answer, MAX_PAGE, "the list"), "the list")
        yield list(document.texts(body, key, "the list"))
        following = next_link(answer.headers.get("Link"))
        if not following:
            return
        target = session.resolve(following, answer.url)
        if Origin.of(target) != Origin.of(answer.url):
            raise RegistryError(f"the registry {session.endpoint.host} continues its list at {target}", value=target)
    raise RegistryError(f"the registry {session.endpoint.host} lists without end", value=path)


def next_link(header: str | None) -> str:
    """Return the address of a Link header's rel="next" (RFC 8288), "" if there is none."""
    for part in (header or "").split(","):
        address, *parameters = part.split(";")
        address = address.strip()
        relations = [item.partition("=")[2].strip().strip('"') for item in parameters if item.strip()[:3] == "rel"]
        if "next" in relations and address.startswith("<") and address.endswith(">"):
            return address[1:-1]
    return ""


def catalogue(session: Session) -> list[str]:
    """Return the names of all repositories of a registry. Raises RegistryError, Unauthorized."""
    names: list[str] = []
    for page in pages(session, "/v2/_catalog", "repositories", ("registry:catalog:*",)):
        names += filter(valid_repository, page)
    return list(dict.fromkeys(names))


def tags(session: Session, repository: str, scopes: tuple[str, ...]) -> list[str]:
    """Return all tags of a repository. Raises ImageNotFound, RegistryError."""
    found: list[str] = []
    for page in pages(session, f"/v2/{session.repository(repository)}/tags/list", "tags", scopes):
        found += filter(valid_tag, page)
    return list(dict.fromkeys(found))


def search(session_of: Callable[[str], Session], registry: str, term: str, limit: int) -> list[Found]:
    """Search one registry: Docker Hub by its index; another one by its own index, if it has one, or its catalogue."""
    limit = max(1, min(limit, MAX_LIMIT))
    if registry == HUB:
        term = term.removeprefix("library/")
        try:
            return _index(session_of(INDEX), "", term, limit)
        except RegistryError as error:
            try:
                return _hub(session_of(HUB_API), term, limit)
            except RegistryError:
                raise error from None
    session = session_of(registry)
    try:
        names = [name for name in catalogue(session) if term.lower() in name]
        return [Found(f"{registry}/{name}") for name in names[:limit]]
    except RegistryError as error:
        try:
            return _index(session, registry + "/", term, limit)
        except RegistryError:
            raise error from None


def _hub(session: Session, term: str, limit: int) -> list[Found]:
    """Ask the API of Docker Hub's own pages: the same content under other names."""
    from urllib.parse import urlencode

    path = "/v2/search/repositories/?" + urlencode({"query": term, "page_size": limit})
    body = document.load(session.read(session.open("GET", path), MAX_PAGE, "the result"), "the result")
    found = []
    for item in document.objects(body, "results", "the result")[:limit]:
        known = {"name": item.get("repo_name"), "description": item.get("short_description")}
        found.append(_result({**item, **known}, ""))
    return found


def _index(session: Session, prefix: str, term: str, limit: int) -> list[Found]:
    """Ask docker's index protocol, version 1."""
    from urllib.parse import urlencode

    path = "/v1/search?" + urlencode({"q": term, "n": limit})
    body = document.load(session.read(session.open("GET", path), MAX_PAGE, "the result"), "the result")
    return [_result(item, prefix) for item in document.objects(body, "results", "the result")[:limit]]


def _result(item: dict[str, Any], prefix: str) -> Found:
    name = document.text(item, "name", "a result")
    description = document.text(item, "description", "a result")
    stars = item.get("star_count")
    return Found(
        prefix + _printable(name),
        _printable(description),
        stars if isinstance(stars, int) else 0,
        item.get("is_official") is True,
        item.get("is_automated") is True,
    )


def _printable(text: str) -> str:
    """Strangers' texts go to a terminal: one line, no control characters."""
    return "".join(character if character.isprintable() else " " for character in text).strip()
