# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instructions without a Dockerfile: what ``commit --change`` does to an image's configuration."""

from __future__ import annotations

from ..errors import InvalidInput
from ..oci.config import ImageConfig
from . import dockerfile
from .stage import METADATA, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

#: The instructions that docker's commit takes, and the other two that are metadata of the same kind.
CHANGES = (
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
)


def apply_changes(config: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """A copy of an image configuration's "config" object after some instructions, each one text.

    Raises InvalidInput for an instruction that cannot be used so, DockerfileError (its line is the text's number,
    counted from 1) for one that means nothing.
    """
    state = State(ImageConfig("", "linux", config, ()), None, "", "\\")
    for number, text in enumerate(changes, 1):
        if not text.strip():
            raise InvalidInput("a change is empty", hint='write for example "ENV NAME=VALUE"', value=text)
        instruction = dockerfile.parse_instruction(text.strip(), number, "\\")
        if instruction.name == "WORKDIR":
            path = state.expander(instruction)(instruction.arguments[0])
            state.config["WorkingDir"] = state.working_dir(path)
        elif instruction.name in METADATA and instruction.name in CHANGES:
            state.apply(instruction, "")
        else:
            raise InvalidInput(
                f"{instruction.name} is no change of an image's configuration",
                hint=f"use one of {', '.join(CHANGES)}",
                value=text,
            )
    return state.config
