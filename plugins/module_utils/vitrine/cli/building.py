# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""build, commit, cp, export."""

from __future__ import annotations

import os
import sys

from ..engine import parse
from ..errors import InvalidInput
from ..oci import reference as references
from .flags import Command, Options, option, switch
from .output import written
from .progress import reporter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..engine import Engine

COMMANDS = {
    "build": Command(
        "build", "Build an image from a Dockerfile", "build", "PATH", 1, 1,
        (
            option("add-host", value="NAME:IP", many=True, help="Add an entry to /etc/hosts while building"),
            option("build-arg", value="NAME=VALUE", many=True, help="Set a build argument"),
            option("file", "f", value="FILE", help="The Dockerfile (PATH/Dockerfile)"),
            option("iidfile", value="FILE", help="Write the image's id to a file"),
            option("label", value="KEY=VALUE", many=True, help="Set a label"),
            option("network", value="MODE", help="Network of RUN: bridge, host, none"),
            switch("no-cache", help="Do not use the build cache"),
            option("platform", value="OS/ARCH", help="Platform of the base image"),
            switch("pull", help="Always look for a newer base image"),
            switch("quiet", "q", help="Only print the image's id"),
            option("tag", "t", value="NAME[:TAG]", many=True, help="Name of the image"),
            option("target", value="STAGE", help="Stage to end with"),
        ),
    ),
    "commit": Command(
        "commit", "Make an image of a container's changes", "commit", "CONTAINER [NAME[:TAG]]", 1, 2,
        (
            option("author", "a", value="TEXT", help="Author"),
            option("change", "c", value="INSTRUCTION", many=True, help="Apply a Dockerfile instruction"),
            option("message", "m", value="TEXT", help="Message"),
            option("pause", "p", value="BOOL", choices=("true", "false"), help="Pause the container meanwhile (true)"),
        ),
        complete="container",
    ),
    "cp": Command(
        "cp", "Copy files between a container and the host", "copy", "CONTAINER:PATH|PATH|- CONTAINER:PATH|PATH|-",
        2, 2,
        (switch("archive", "a", help="Keep owner and group"),), complete="container",
    ),
    "export": Command(
        "export", "Write a container's files to a tar archive", "export", "CONTAINER", 1, 1,
        (option("output", "o", value="FILE", help="Write to this file (standard output)"),), complete="container",
    ),
}  # fmt: skip


def build(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine build"""
    context = operands[0]
    if not os.path.isdir(context):
        raise InvalidInput(
            f"the build context {context!r} is not a folder", hint="name the folder to build from", value=context
        )
    arguments = {}
    for word in options.build_arg:
        name, equals, value = word.partition("=")
        if equals:
            arguments[name] = value
        elif name in os.environ:
            arguments[name] = os.environ[name]

    def show(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    image_id = engine.builds.build(
        context,
        dockerfile=os.path.abspath(options.file) if options.file else None,
        tags=tuple(references.parse(tag).canonical for tag in options.tag),
        args=arguments,
        labels=dict(map(parse.label, options.label)),
        target=options.target,
        nocache=options.no_cache,
        pull=options.pull,
        platform=options.platform,
        network_mode=options.network,
        etc_hosts=dict(map(parse.host_entry, options.add_host)),
        output=(lambda _data: None) if options.quiet else show,
        progress=reporter(quiet=options.quiet),
    )
    if options.iidfile:
        with open(options.iidfile, "w", encoding="ascii") as file:
            file.write(image_id)
    if options.quiet:
        sys.stdout.write(image_id + "\n")
    return 0


def commit(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine commit"""
    result = engine.containers.commit(
        operands[0],
        operands[1] if len(operands) > 1 else None,
        author=options.author or "",
        message=options.message or "",
        changes=options.change,
        pause=options.pause != "false",
    )
    sys.stdout.write(result["Id"] + "\n")
    return 0


def _place(word: str) -> tuple[str | None, str]:
    """(container, path): a word with a "/" before its ":" is a path of the host."""
    container, colon, path = word.partition(":")
    return (container, path) if colon and "/" not in container and container != "." else (None, word)


def copy(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine cp"""
    (source_container, source), (target_container, target) = map(_place, operands)
    if source_container is not None and target_container is None:
        engine.containers.copy_out(source_container, source, target)
    elif target_container is not None and source_container is None:
        engine.containers.copy_in(target_container, source, target, keep_owner=options.archive)
    else:
        raise InvalidInput(
            f"cannot copy {operands[0]!r} to {operands[1]!r}",
            hint="exactly one of them must be CONTAINER:PATH",
            value=operands,
        )
    return 0


def export(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine export"""
    engine.containers.record(operands[0])  # before a file is made for nothing
    written(options.output, lambda file: engine.containers.export(operands[0], file))
    return 0
