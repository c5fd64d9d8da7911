#!/usr/bin/python
# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at the engine and its host"""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: engine_info
short_description: Look at the engine and what its host offers
version_added: 0.1.0
author:
  - The Vitrine authors (@vitrine-containers)
description:
  - Returns the version of the engine, where it is on the target, and every prerequisite of the host - with what is
    missing, and how to get it.
extends_documentation_fragment:
  - vitrine.engine._attributes
  - vitrine.engine._engine
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
  idempotent:
    support: full
  platform:
    support: full
  action_group:
    support: full
"""

EXAMPLES = r"""
---
- name: Ask whether the host can run containers
  vitrine.engine.engine_info:
  register: engine

- name: Fail, and say what is missing
  ansible.builtin.assert:
    that: engine.ready
    fail_msg: "{{ engine.checks | rejectattr('ok') | map(attribute='fix') | list }}"
"""

RETURN = r"""
---
version:
  description: Version of the engine.
  returned: success
  type: str
  sample: 0.1.0
folder:
  description: Where the sources of the engine are on the target.
  returned: success
  type: str
  sample: /var/lib/vitrine-engine/0c63dd3a9ffac4d0b9f4f9f0a3a7c36c
root:
  description: Where the engine keeps images and containers.
  returned: success
  type: str
  sample: /var/lib/vitrine
run_root:
  description: Where the engine keeps what a reboot may forget.
  returned: success
  type: str
  sample: /run/vitrine
python:
  description: The target's Python that runs the engine.
  returned: success
  type: str
  sample: /usr/bin/python3
ready:
  description: Whether nothing that is required is missing.
  returned: success
  type: bool
  sample: true
checks:
  description: What was checked.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: What it is.
      type: str
      returned: always
    ok:
      description: Whether the host has it.
      type: bool
      returned: always
    required:
      description: Whether the engine cannot do without.
      type: bool
      returned: always
    detail:
      description: What was found.
      type: str
      returned: always
    fix:
      description: How to get it.
      type: str
      returned: always
"""

from ansible_collections.vitrine.engine.plugins.module_utils._ansible.module import run_module  # noqa: E402


def main() -> None:
    """Hand over: the engine answers, the same both ways to a target."""
    run_module("engine_info")


if __name__ == "__main__":
    main()
