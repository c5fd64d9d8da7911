# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""images, pull, push, tag, rmi, save, load, history, search, login, logout, bootstrap."""

from __future__ import annotations

import os
import sys

from ..errors import InvalidInput
from ..oci import digest as digests
from ..oci import reference as references
from . import table
from .flags import Command, Options, option, switch
from .lifecycle import each
from .output import written
from .progress import reporter, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..engine import Engine

_QUIET = switch("quiet", "q", help="No progress, only the result")
_PLATFORM = option("platform", value="OS/ARCH", help="Platform to choose where there are several")

COMMANDS = {
    "images": Command(
        "images", "List images", "images", "[REPOSITORY[:TAG]]", 0, 1, complete="image",
        flags=(
            switch("quiet", "q", help="Only print ids"),
            switch("no-trunc", help="Print ids whole"),
            switch("digests", help="Show the manifests' digests"),
            switch("all", "a", help="Show images without a name, too"),
            table.FORMAT,
        ),
    ),
    "pull": Command("pull", "Get an image from a registry", "pull", "NAME[:TAG|@DIGEST]", 1, 1, (_QUIET, _PLATFORM)),
    "push": Command(
        "push", "Put an image into a registry", "push", "NAME[:TAG]", 1, 1, complete="image",
        flags=(
            _QUIET,
            option("format", value="FORMAT", choices=("oci", "docker"), help="Media types: oci, docker"),
        ),
    ),
    "tag": Command("tag", "Give an image another name", "tag", "IMAGE NAME[:TAG]", 2, 2, complete="image"),
    "rmi": Command(
        "rmi", "Remove images", "rmi", "IMAGE [IMAGE...]", 1, -1, complete="image",
        flags=(switch("force", "f", help="Remove all names of an image, and despite stopped containers"),),
    ),
    "save": Command(
        "save", "Write images to a tar archive (standard output, if no file is named)", "save", "IMAGE [IMAGE...]",
        1, -1,
        (
            option("output", "o", value="FILE", help="Write to a file"),
            option("format", value="FORMAT", choices=("docker", "oci"), help="Kind of archive: docker, oci"),
        ),
        complete="image",
    ),
    "load": Command(
        "load", "Read images from a tar archive (standard input, if no file is named)", "load",
        flags=(option("input", "i", value="FILE", help="Read from a file"), _QUIET),
    ),
    "history": Command(
        "history", "Show an image's layers", "history", "IMAGE", 1, 1,
        (switch("no-trunc", help="Print commands whole"), table.FORMAT), complete="image",
    ),
    "search": Command(
        "search", "Search a registry for images; TERM may begin with a registry's name: host:5000/name", "search",
        "TERM", 1, 1, (option("limit", value="N", help="At most N results (25)"), table.FORMAT),
    ),
    "login": Command(
        "login", "Check and keep a registry's credentials", "login", "[REGISTRY]", 0, 1,
        (
            option("username", "u", value="NAME", help="User name"),
            option("password", "p", value="WORD", help="Password (better: --password-stdin)"),
            switch("password-stdin", help="Read the password from standard input"),
        ),
    ),
    "logout": Command("logout", "Forget a registry's credentials", "logout", "[REGISTRY]", 0, 1),
    "bootstrap": Command(
        "bootstrap", "Make a base image from a distribution's packages", "bootstrap", "NAME[:TAG]", 1, 1,
        (
            option("suite", value="SUITE", help="Release, such as bookworm (default: from the tag)"),
            option("mirror", value="URL", help="Where to get packages (default: as the host does)"),
            option("include", value="PACKAGE", many=True, help="Install this package too"),
            option("variant", value="VARIANT", help="Set of packages: minbase"),
            _QUIET,
        ),
    ),
}  # fmt: skip


def _rows(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(repository, tag, digest) for each name of an image; one row of <none> for a nameless one."""
    digest_of = dict(word.split("@", 1) for word in document["RepoDigests"])
    rows = []
    for name in document["RepoTags"]:
        reference = references.parse(name)
        rows.append((reference.familiar_name, reference.tag or "", digest_of.get(reference.familiar_name, "<none>")))
    return rows or [("<none>", "<none>", next(iter(digest_of.values()), "<none>"))]


def images(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine images"""
    wanted = references.parse(operands[0], default_tag=None) if operands else None
    rows = []
    for document in engine.images.all(everything=options.all):
        for repository, tag, digest in _rows(document):
            if wanted and (repository != wanted.familiar_name or wanted.tag not in (None, tag)):
                continue
            identity = document["Id"] if options.no_trunc else digests.short(document["Id"])
            rows.append(
                {
                    "Repository": repository,
                    "Tag": tag,
                    "Digest": digest,
                    "ID": identity,
                    "CreatedSince": table.ago(document["Created"] or ""),
                    "CreatedAt": document["Created"] or "",
                    "Size": size(document["Size"]),
                }
            )
    if options.quiet:
        sys.stdout.write("".join(f"{identity}\n" for identity in dict.fromkeys(row["ID"] for row in rows)))
        return 0
    columns = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
    keys = ["Repository", "Tag", "ID", "CreatedSince", "Size"]
    if options.digests:
        columns.insert(2, "DIGEST")
        keys.insert(2, "Digest")
    table.print_rows(columns, rows, options.format, keys=keys)
    return 0


def pull(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine pull"""
    document = engine.images.pull(operands[0], platform=options.platform, progress=reporter(quiet=options.quiet))
    if not options.quiet:
        for digest in document["RepoDigests"][:1]:
            sys.stderr.write(f"Digest: {digest.partition('@')[2]}\n")
    sys.stdout.write(references.parse(operands[0]).canonical + "\n")
    return 0


def push(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine push"""
    result = engine.images.push(operands[0], progress=reporter(quiet=options.quiet), image_format=options.format or "")
    tag = references.parse(operands[0]).tag
    sys.stdout.write(f"{tag}: digest: {result['digest']}\n")
    return 0


def tag(engine: Engine, _options: Options, operands: list[str]) -> int:
    """vitrine tag"""
    engine.images.tag(*operands)
    return 0


def rmi(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine rmi"""

    def work(name: str) -> str:
        removed = engine.images.remove(name, force=options.force)
        lines = [f"Untagged: {each_name}\n" for each_name in removed["untagged"]]
        return "".join(lines + [f"Deleted: {each_id}\n" for each_id in removed["deleted"]])

    return each(operands, work)


def save(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine save"""
    written(
        options.output,
        lambda file: engine.images.save(operands, file, image_format=options.format or "docker"),
    )
    return 0


def load(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine load"""
    progress = reporter(quiet=options.quiet)
    if options.input is None:
        if os.isatty(0):
            raise InvalidInput("no archive to load", hint="use --input FILE, or redirect", value="")
        names = engine.images.load(sys.stdin.buffer, progress=progress)
    else:
        try:
            file = open(options.input, "rb")  # noqa: SIM115  (the next line closes it)
        except OSError as error:
            raise InvalidInput(
                f"cannot read {options.input!r}: {error.strerror}", hint="name an archive", value=options.input
            ) from None
        with file:
            names = engine.images.load(file, progress=progress)
    sys.stdout.write("".join(f"Loaded image: {name}\n" for name in names))
    return 0


def history(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine history"""
    rows = []
    for entry in engine.images.history(operands[0]):
        words = entry["CreatedBy"]
        rows.append(
            {
                "ID": digests.short(entry["Id"]) if entry["Id"].startswith("sha256:") else entry["Id"],
                "CreatedSince": table.ago(entry["Created"]),
                "CreatedBy": words if options.no_trunc or len(words) <= 45 else words[:44] + "…",
                "Size": size(entry["Size"]),
                "Comment": entry["Comment"],
            }
        )
    table.print_rows(
        ("IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"),
        rows,
        options.format,
        keys=("ID", "CreatedSince", "CreatedBy", "Size", "Comment"),
    )
    return 0


def search(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine search"""
    if options.limit is not None and not options.limit.isdigit():
        raise InvalidInput(f"--limit is {options.limit!r}", hint="write a whole number", value=options.limit)
    first, slash, rest = operands[0].partition("/")
    registry = first if slash and ("." in first or ":" in first or first == "localhost") else None
    found = engine.images.search(rest if registry else operands[0], limit=int(options.limit or 25), registry=registry)
    rows = [
        {
            "Name": entry["name"],
            "Description": entry["description"].replace("\n", " ")[:45],
            "StarCount": str(entry["stars"]),
            "IsOfficial": "[OK]" if entry["official"] else "",
        }
        for entry in found
    ]
    table.print_rows(
        ("NAME", "DESCRIPTION", "STARS", "OFFICIAL"),
        rows,
        options.format,
        keys=("Name", "Description", "StarCount", "IsOfficial"),
    )
    return 0


def login(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine login"""
    registry = operands[0] if operands else references.HUB
    user, password = options.username, options.password
    if user is None:
        if not os.isatty(0):
            raise InvalidInput("a user name is needed", hint="use --username", value=registry)
        sys.stderr.write("Username: ")
        sys.stderr.flush()
        user = sys.stdin.readline().strip()
    if options.password_stdin:
        password = sys.stdin.read().rstrip("\r\n")
    elif password is None:
        if not os.isatty(0):
            raise InvalidInput("a password is needed", hint="use --password-stdin", value=registry)
        from getpass import getpass

        password = getpass("Password: ")
    engine.images.login(registry, user, password)
    sys.stdout.write("Login Succeeded\n")
    return 0


def logout(engine: Engine, _options: Options, operands: list[str]) -> int:
    """vitrine logout"""
    registry = operands[0] if operands else references.HUB
    known = engine.images.logout(registry)
    sys.stdout.write(f"Removed the credentials for {registry}\n" if known else f"Not logged in to {registry}\n")
    return 0


def bootstrap(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine bootstrap"""
    given = {"suite": options.suite, "mirror": options.mirror, "variant": options.variant}
    document = engine.images.bootstrap(
        operands[0],
        packages=tuple(options.include),
        progress=reporter(quiet=options.quiet),
        **{key: value for key, value in given.items() if value is not None},
    )
    sys.stdout.write(document["Id"] + "\n")
    return 0
