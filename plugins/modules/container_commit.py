#!/usr/bin/python
# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make images of containers"""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: container_commit
short_description: Make an image of what a container changed
version_added: 0.1.0
author:
  - The Vitrine authors (@vitrine-containers)
description:
  - Makes an image of a container, running or not, as C(docker commit) does.
  - If the container changed nothing since the image of that name was committed from it, nothing is done.
extends_documentation_fragment:
  - vitrine.engine._attributes
  - vitrine.engine._engine
  - vitrine.engine._credentials
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    support: full
  action_group:
    support: full
options:
  author:
    description:
      - Author of the image.
    type: str
  changes:
    description:
      - Dockerfile instructions to apply to the configuration, such as V(CMD ["memcached"]).
    type: list
    elements: str
    aliases:
      - change
  container:
    description:
      - Name or id of the container.
    type: str
    required: true
    aliases:
      - name
  message:
    description:
      - A message for the history of the image.
    type: str
    aliases:
      - comment
  pause:
    description:
      - Freeze the container while it is copied.
    type: bool
    default: true
  push:
    description:
      - Push the image to its registry. A change is reported if the registry did not have it.
    type: bool
    default: false
  repository:
    description:
      - Name of the image to make, as V(repository[:tag]).
    type: str
    required: true
    aliases:
      - image
  tag:
    description:
      - Tag of the image, unless O(repository) has one.
    type: str
    default: latest
seealso:
  - module: vitrine.engine.container
  - module: vitrine.engine.container_image
"""

EXAMPLES = r"""
---
- name: Keep what was installed by hand
  vitrine.engine.container_commit:
    container: workbench
    repository: registry.example.com/workbench
    tag: "2"
    author: Ada
    message: With vim
    changes:
      - CMD ["vim"]
    push: true
"""

RETURN = r"""
---
image:
  description: The image, in the shape of C(docker image inspect).
  returned: success, unless it is yet to be made
  type: dict
  sample:
    Id: sha256:0d1c7f4b8a3b1f4e2ac1d9a30b1a36e4b9a7c5a9b2f5fcb0b5f2ad1c7a9c3d21
actions:
  description: What was done, or in check mode would be done, in order.
  returned: always
  type: list
  elements: str
  sample:
    - Committed container workbench to registry.example.com/workbench:2
"""

from ansible_collections.vitrine.engine.plugins.module_utils._ansible.module import run_module  # noqa: E402


def main() -> None:
    """Hand over: the engine answers, the same both ways to a target."""
    run_module("container_commit")


if __name__ == "__main__":
    main()
