# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one tree of exceptions. Each says what was wanted, what happened and what to do.

The command line and the Ansible glue each translate these at one place: none ever reaches a user as a traceback.
``exit_code`` is what the command line returns, as docker's does: 125 the engine failed, 126 the command cannot be
executed, 127 the command was not found, 1 an ordinary failure.
"""

from __future__ import annotations


class VitrineError(Exception):
    """Base of all errors that are meant for a user.

    message: what was wanted and what happened, one sentence, naming the value.
    hint: what to do, one sentence, or empty.
    value: the offending value, for programs.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", value: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.value = value

    @property
    def kind(self) -> str:
        """The class's name: what a program tells errors apart by, over JSON too."""
        return type(self).__name__

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), dict(self.__dict__)))


def _rebuild(cls: type[VitrineError], state: dict[str, object]) -> VitrineError:
    error = cls.__new__(cls)
    Exception.__init__(error, state["message"])
    error.__dict__.update(state)
    return error


# -- what a user asked for -------------------------------------------------------------------------------------------


class InvalidInput(VitrineError):
    """A value that cannot be understood: its syntax, range or combination."""


class NotFound(VitrineError):
    """A named object does not exist."""


class ImageNotFound(NotFound):
    """No image of that name or id, locally or at its registry."""


class ContainerNotFound(NotFound):
    """No container of that name or id."""


class Conflict(VitrineError):
    """The object's present state does not allow what was asked."""


class NameInUse(Conflict):
    """Another container has that name."""


class PortInUse(Conflict):
    """A host port that should be published is taken."""


class ImageInUse(Conflict):
    """An image that should be removed is needed by containers or other images."""


# -- the host --------------------------------------------------------------------------------------------------------


class HostError(VitrineError):
    """The host lacks something: kernel feature, privilege, program. The hint says how to get it."""

    exit_code = 125


class DependencyMissing(HostError):
    """A Python package that this operation needs is not importable on this host."""


class DiskFull(HostError):
    """A write failed for want of space or inodes; what was begun was undone."""


class StoreDamaged(HostError):
    """Something in the store is not what its digest or index says."""


# -- running ---------------------------------------------------------------------------------------------------------


class StartFailed(VitrineError):
    """A container's process could not be started.

    stage: the step of the start that failed ("mount", "cgroup", "user", "exec", ...); errno: its errno, or 0.
    """

    exit_code = 125

    def __init__(self, message: str, *, stage: str = "", errno: int = 0, hint: str = "", value: object = None) -> None:
        super().__init__(message, hint=hint, value=value)
        self.stage = stage
        self.errno = errno


class CommandNotFound(StartFailed):
    """The container's command does not exist in its image."""

    exit_code = 127


class CommandNotExecutable(StartFailed):
    """The container's command exists, but cannot be executed."""

    exit_code = 126


# -- registries ------------------------------------------------------------------------------------------------------


class RegistryError(VitrineError):
    """A registry answered something that is not what was asked for."""


class RegistryUnreachable(RegistryError):
    """No connection to the registry: name, network, refused, timed out, or its certificate is not trusted."""


class Unauthorized(RegistryError):
    """The registry wants other credentials, or these give no access to the repository."""


class ContentMismatch(RegistryError):
    """Content whose size, digest or type is not what was announced."""


class UnsupportedContent(RegistryError):
    """Valid content of a kind that this engine or host cannot use: platform, media type, compression."""


# -- builds ----------------------------------------------------------------------------------------------------------


class DockerfileError(VitrineError):
    """A Dockerfile that cannot be understood; line is the first line of the instruction, counted from 1."""

    def __init__(self, message: str, *, line: int, hint: str = "", value: object = None) -> None:
        super().__init__(message, hint=hint, value=value)
        self.line = line


class BuildFailed(VitrineError):
    """An instruction of a Dockerfile failed; exit_status is its command's, output the last of what it wrote.

    As docker's does, the command line ends with the same status.
    """

    def __init__(
        self, message: str, *, line: int, exit_status: int = 1, output: str = "", hint: str = "", value: object = None
    ) -> None:
        super().__init__(message, hint=hint, value=value)
        self.line = line
        self.exit_status = self.exit_code = exit_status
        self.output = output
