#!/usr/bin/python
# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a container"""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: container_info
short_description: Look at a container
version_added: 0.1.0
author:
  - The Vitrine authors (@vitrine-containers)
description:
  - Returns what C(docker inspect) shows of a container.
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
options:
  name:
    description:
      - Name or id of the container.
    type: str
    required: true
seealso:
  - module: vitrine.engine.container
"""

EXAMPLES = r"""
---
- name: Look at a container
  vitrine.engine.container_info:
    name: cache
  register: cache

- name: Say its address
  ansible.builtin.debug:
    msg: "{{ cache.container.NetworkSettings.IPAddress }}"
  when: cache.exists
"""

RETURN = r"""
---
exists:
  description: Whether there is such a container.
  returned: always
  type: bool
  sample: true
container:
  description: The container, in the shape of C(docker inspect); none if there is no such container.
  returned: always
  type: dict
  sample:
    Name: /cache
    State:
      Status: running
"""

from ansible_collections.vitrine.engine.plugins.module_utils._ansible.module import run_module  # noqa: E402


def main() -> None:
    """Hand over: the engine answers, the same both ways to a target."""
    run_module("container_info")


if __name__ == "__main__":
    main()
