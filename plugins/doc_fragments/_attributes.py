# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module says of itself. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes, as Ansible's documentation shows them."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and say what would be done, without changing the target.
  diff_mode:
    description: Says in diff mode what changes.
  idempotent:
    description: When run twice in a row, without a change in between, the second run changes nothing.
  platform:
    description: The operating systems of targets.
    platforms: linux
  action_group:
    description: Use C(group/vitrine.engine.engine) in C(module_defaults) to set defaults for all modules of the group.
    membership:
      - vitrine.engine.engine
"""
