#!/usr/bin/python
# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at images"""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: container_image_info
short_description: Look at images
version_added: 0.1.0
author:
  - The Vitrine authors (@vitrine-containers)
description:
  - Returns what C(docker image inspect) shows of images.
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
      - Names or ids of images; all images of the host without this option. Names of images that do not exist are left
        out of the result.
    type: list
    elements: str
seealso:
  - module: vitrine.engine.container_image
"""

EXAMPLES = r"""
---
- name: Look at all images
  vitrine.engine.container_image_info:
  register: all_images

- name: Look at one image
  vitrine.engine.container_image_info:
    name: debian:bookworm
"""

RETURN = r"""
---
images:
  description: The images, in the shape of C(docker image inspect).
  returned: always
  type: list
  elements: dict
  sample:
    - Id: sha256:0d1c7f4b8a3b1f4e2ac1d9a30b1a36e4b9a7c5a9b2f5fcb0b5f2ad1c7a9c3d21
      RepoTags:
        - debian:bookworm
"""

from ansible_collections.vitrine.engine.plugins.module_utils._ansible.module import run_module  # noqa: E402


def main() -> None:
    """Hand over: the engine answers, the same both ways to a target."""
    run_module("container_image_info")


if __name__ == "__main__":
    main()
