# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of all modules. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    """Where the engine keeps its things."""

    DOCUMENTATION = r"""
options:
  engine_root:
    description:
      - Where the engine keeps images, containers and volumes on the target.
      - Several roots can live side by side on one host; each is an engine of its own.
    type: path
    default: /var/lib/vitrine
requirements:
  - Python 3.9 or newer on the target
  - root on the target
notes:
  - The first task on a target sends the engine there; it is kept below C(/var/lib/vitrine-engine).
  - For registries the engine needs the Python packages C(requests), and for some questions about networks C(pyroute2).
    If the target's Python has none, those of the controller are sent along.
  - A task takes one remote command, without copying a module. The variable C(vitrine_short_way), set to V(false),
    makes it go the usual way of Ansible; the results are the same.
"""
