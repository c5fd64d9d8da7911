# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from vitrine.errors import InvalidInput
from vitrine.runtime import capabilities

ALL = (1 << len(capabilities.NAMES)) - 1


def test_the_default_set_is_docker_s() -> None:
    assert len(capabilities.DEFAULT) == 14
    assert capabilities.mask(capabilities.DEFAULT) == 0xA80425FB


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), (), set(capabilities.DEFAULT)),
        (("net_admin",), (), {*capabilities.DEFAULT, "CAP_NET_ADMIN"}),
        (("CAP_Net_Admin",), ("MKNOD",), {*capabilities.DEFAULT, "CAP_NET_ADMIN"} - {"CAP_MKNOD"}),
        ((), ("ALL",), set()),
        (("CHOWN",), ("all",), {"CAP_CHOWN"}),
        (("CHOWN",), ("ALL", "CHOWN"), set()),
        (("CHOWN",), ("CHOWN",), set(capabilities.DEFAULT) - {"CAP_CHOWN"}),
        (("ALL",), ("SYS_ADMIN",), set(capabilities.NAMES) - {"CAP_SYS_ADMIN"}),
        (("ALL",), ("ALL",), set(capabilities.NAMES)),
    ],
)
def test_resolve(add: tuple[str, ...], drop: tuple[str, ...], expected: set[str]) -> None:
    assert set(capabilities.resolve(add, drop, within=ALL)) == expected


def test_all_means_what_can_be_given() -> None:
    within = ALL & ~(1 << capabilities.BITS["CAP_SYS_RESOURCE"])
    assert "CAP_SYS_RESOURCE" not in capabilities.resolve(privileged=True, within=within)
    assert "CAP_BPF" in capabilities.resolve(privileged=True, within=within)


def test_unknown_names_are_refused_with_the_value() -> None:
    with pytest.raises(InvalidInput, match="'SYS_EVERYTHING'") as caught:
        capabilities.resolve(["SYS_EVERYTHING"])
    assert caught.value.value == "SYS_EVERYTHING"


def test_masks_are_consistent_sets() -> None:
    every = ["CAP_CHOWN", "CAP_KILL", "CAP_NO_SUCH"]
    masks = capabilities.masks(
        {"bounding": ["CAP_CHOWN"], "permitted": every, "effective": every, "ambient": ["CAP_CHOWN", "CAP_KILL"]}, ALL
    )
    assert masks == {"bounding": 1, "permitted": 1, "effective": 1, "inheritable": 0, "ambient": 0}


def test_masks_never_ask_for_more_than_there_is() -> None:
    same = dict.fromkeys(("bounding", "permitted", "effective"), list(capabilities.NAMES))
    assert capabilities.masks(same, within=0b101)["effective"] == 0b101


def test_names_and_mask_are_inverse() -> None:
    assert capabilities.names(capabilities.mask(capabilities.NAMES)) == capabilities.NAMES
