# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that must be refused, and hosts that lack something."""

from __future__ import annotations

import json

import pytest

from .host import Host, Result


def refused(result: Result, code: int, *words: str, lines: int = 2) -> str:
    """Hold an error to what is promised: its exit code, these words in one or two lines, no page of program text."""
    assert result.code == code, result
    assert "Traceback" not in result.err and "internal error" not in result.err, result
    message = [line for line in result.err.splitlines() if line.startswith(("vitrine: ", "  "))]
    assert message and message[0].startswith("vitrine: "), result
    assert len(message) <= lines, result
    for word in words:
        assert word in "\n".join(message), (word, result)
    return result.err


def whole(host: Host) -> None:
    """The store has no damage, and no container is left half made."""
    assert json.loads(host.try_("check", "--format", "json").out)["store"] == []


@pytest.fixture(autouse=True)
def no_container_left(request: pytest.FixtureRequest):
    """A refused command leaves no container."""
    yield
    if "host" in request.fixturenames:
        host = request.getfixturevalue("host")
        left = host("ps", "-a")
        host.close()
        assert len(left.splitlines()) == 1, left


def in_namespace(prepare: str) -> list[str]:
    """The first words of a command whose mounts nobody else sees, after this shell command."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{prepare} && exec "$@"', "sh"]


class Elsewhere(Host):
    """A host whose commands are typed after others' words."""

    def __init__(self, like: Host, *before: str) -> None:
        self.__dict__.update(like.__dict__)
        self.before = list(before)

    @property
    def base(self) -> list[str]:
        return [*self.before, *super().base]
