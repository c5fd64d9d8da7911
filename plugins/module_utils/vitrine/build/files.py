# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""COPY, ADD and WORKDIR: from an instruction to what is to be written where, and its digest.

``plan`` is pure; ``collect`` reads the sources; ``Picked.write`` writes them into an image's tree.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import ExitStack, contextmanager
from hashlib import sha256

from ..errors import InvalidInput, VitrineError
from ..record import Record
from ..store.layers import archive, stream
from ..store.layers.unpack import Unpacker
from . import copying, words
from .copying import Ownership, Target
from .lexer import Heredoc, heredoc_words
from .stage import bad
from .tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..store.layers.archive import Entry as Member
    from .dockerfile import Instruction
    from .stage import State
    from .tree import Entry

IGNORE_MAX = 1 << 20
_URL = re.compile(r"(?:https?|ftp|git|ssh)://|git@[^/:]+:", re.IGNORECASE)
_MODE = re.compile(r"0?[0-7]{1,4}")
_TAR_MAGIC_AT = 257


class Job(Record):
    """What one COPY or ADD wants, with its variables replaced.

    origin: stage or image that the sources are in, "" for the context. destination: absolute. owner: --chown's text.
    mode: permission bits or None. extract: local archives are unpacked (ADD).
    """

    sources: tuple[str, ...]
    destination: str
    directory: bool
    origin: str = ""
    owner: str = ""
    mode: int | None = None
    extract: bool = False
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def key_parts(self) -> list[str]:
        """What the cache key says of it, beside the content."""
        mode = "" if self.mode is None else f"{self.mode:o}"
        return [self.destination, "/" if self.directory else "", self.owner, mode, "extract" if self.extract else ""]


def plan(state: State, instruction: Instruction) -> Job:
    """Read the instruction. Raises DockerfileError."""
    expand = state.expander(instruction)
    arguments = [expand(argument) for argument in instruction.arguments]
    if not all(arguments):
        raise bad(instruction, "a source or the destination is empty", "see which variable has no value")
    *sources, destination = arguments
    heredocs = {document.name: document for document in instruction.heredocs}
    chosen = []
    for source in sources:
        opened = heredoc_words(source)
        if opened and opened[0][2] in heredocs:
            chosen.append(_expanded(state, instruction, heredocs[opened[0][2]]))
        elif instruction.name == "ADD" and _URL.match(source):
            raise bad(
                instruction,
                f"ADD of an URL is not supported: {source}",
                "RUN a program that downloads it, or put it into the context",
                source,
            )
    plain = tuple(source for source in sources if not heredoc_words(source))
    directory = destination.endswith(("/", "/.", "/..")) or destination in (".", "..")
    if len(sources) > 1 and not directory:
        raise bad(
            instruction,
            f"{len(sources)} sources, and the destination {destination!r} is not a directory",
            "end the destination with '/'",
            destination,
        )
    mode = expand(instruction.flags.get("chmod", ""))
    if mode and not _MODE.fullmatch(mode):
        raise bad(instruction, f"--chmod={mode} is no octal mode", "write --chmod=0644", mode)
    return Job(
        plain,
        state.working_dir(destination),
        directory,
        origin=expand(instruction.flags.get("from", "")),
        owner=expand(instruction.flags.get("chown", "")),
        mode=int(mode, 8) if mode else None,
        extract=instruction.name == "ADD",
        heredocs=tuple(chosen),
    )


def _expanded(state: State, instruction: Instruction, document: Heredoc) -> Heredoc:
    if not document.expand:
        return document
    try:
        return document.replace(content=words.replace_variables(document.content, state.variables(), state.escape))
    except words.BadWord as error:
        raise bad(instruction, str(error)) from None


class Picked:
    """The sources of one job. digests: for the cache key. summary: for the history, as docker writes it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.parts: list[tuple[Tree, str, list[Entry], bool]] = []
        self.digests: list[str] = []

    def add(self, tree: Tree, path: str, real: str) -> None:
        """Take one source: read it for its digest."""
        entries = list(tree.entries(real))
        directory = stat.S_ISDIR(entries[0].status.st_mode)
        unpacked = self.job.extract and not directory and is_archive(tree, entries[0])
        kind = "dir" if directory else "file"
        name = "" if directory else os.path.basename(path)
        self.parts.append((tree, path, entries, unpacked))
        self.digests += [kind, name, tree.digest(entries)]

    @property
    def summary(self) -> str:
        kinds, digests = self.digests[0::3], self.digests[2::3]
        if len(digests) == 1:
            return f"{kinds[0]}:{digests[0]}"
        total = sha256(",".join(f"{kind}:{digest}" for kind, digest in zip(kinds, digests)).encode()).hexdigest()
        return f"multi:{total}"

    def write(self, root_fd: int) -> None:
        """Write everything into the image's tree. Raises OSError, InvalidInput."""
        job = self.job
        owner = Ownership(mode=job.mode)
        if job.owner:
            uid, gid = copying.resolve_owner(root_fd, job.owner)
            owner = owner.replace(uid=uid, gid=gid)
        target = Target(job.destination, job.directory)
        before = os.umask(0)
        try:
            for tree, path, entries, unpacked in self.parts:
                if unpacked:
                    _unpack(root_fd, tree, entries[0], job.destination, owner)
                else:
                    copying.copy(root_fd, tree, path, entries, target, owner)
        finally:
            os.umask(before)


@contextmanager
def collect(tree: Tree, job: Job) -> Iterator[Picked]:
    """Find and read all sources of a job. Raises InvalidInput for what is not there or leads out of the context."""
    picked = Picked(job)
    with ExitStack() as stack:
        if job.heredocs:
            inline = Tree(stack.enter_context(_written(job.heredocs)))
            for document in job.heredocs:
                picked.add(inline, document.name, document.name)
        for source in job.sources:
            try:
                found = tree.find(source)
            except (FileNotFoundError, NotADirectoryError):
                raise InvalidInput(
                    f"{source!r} is not in {f'{job.origin!r}' if job.origin else 'the build context'}",
                    hint="see how it is written"
                    + (
                        ""
                        if job.origin
                        else ", that it is below the context directory, and that .dockerignore has it not"
                    ),
                    value=source,
                ) from None
            for path, real in found:
                picked.add(tree, path, real)
        if len(picked.parts) > 1 and not job.directory:
            raise InvalidInput(
                f"several sources match, and the destination {job.destination!r} is not a directory",
                hint="end the destination with '/'",
                value=job.destination,
            )
        yield picked


@contextmanager
def _written(documents: tuple[Heredoc, ...]) -> Iterator[int]:
    """A directory with the here-documents as files."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="vitrine-") as folder:
        for document in documents:
            path = os.path.join(folder, document.name)
            with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(document.content)
            os.chmod(path, 0o644)
            os.utime(path, (0, 0))
        with open_directory(folder) as fd:
            yield fd


def is_archive(tree: Tree, entry: Entry) -> bool:
    """Whether a file is a tar archive, compressed or not: as its content says, not its name."""
    if not stat.S_ISREG(entry.status.st_mode) or entry.status.st_size < 32:
        return False
    fd = tree.open_file(entry)
    try:
        head = b""
        for chunk in stream.chunks(fd):
            head += chunk
            if len(head) >= 512:
                break
    except VitrineError:
        return False  # compressed, but not readable: it is copied as any other file
    finally:
        os.close(fd)
    return head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar"


class _Owned(archive.Reader):
    """An archive whose members all belong to --chown's user."""

    owner = Ownership()

    def __iter__(self) -> Iterator[Member]:
        for member in super().__iter__():
            member.uid = member.uid if self.owner.uid is None else self.owner.uid
            member.gid = member.gid if self.owner.gid is None else self.owner.gid
            yield member


def _unpack(root_fd: int, tree: Tree, entry: Entry, destination: str, owner: Ownership) -> None:
    anchor = copying.make_directories(root_fd, destination, owner)
    try:
        target = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=anchor)
    finally:
        os.close(anchor)
    source = tree.open_file(entry)
    try:
        reader = _Owned(stream.chunks(source))
        reader.owner = owner
        Unpacker(target, "plain").apply(reader)
    finally:
        os.close(source)
        os.close(target)


# -- small ones ------------------------------------------------------------------------------------------------------


def make_directory(root_fd: int, path: str) -> None:
    """WORKDIR's directory: with its parents, owned by root, unless it is there."""
    before = os.umask(0)
    try:
        os.close(copying.make_directories(root_fd, path))
    finally:
        os.umask(before)


@contextmanager
def open_directory(path: str) -> Iterator[int]:
    """A descriptor of a directory. Raises InvalidInput if it is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidInput(
            f"the context {path!r} cannot be opened: {error.strerror}", hint="name a directory", value=path
        ) from None
    try:
        yield fd
    finally:
        os.close(fd)


def read_small(root_fd: int, path: str, limit: int) -> bytes:
    """The first limit bytes of a context's file. Raises OSError, InvalidInput for what is no file or leads out."""
    tree = Tree(root_fd)
    fd = tree.open(tree.resolve(path), os.O_RDONLY | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidInput(f"{path} in the context is no file", hint="replace it by one", value=path)
        return file.read(limit)
