#!/usr/bin/python
# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manage container images"""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: container_image
short_description: Pull, build, make, load, tag, push and remove images
version_added: 0.1.0
author:
  - The Vitrine authors (@vitrine-containers)
description:
  - Manages images on the target, with the options of M(community.docker.docker_image) where both have them.
extends_documentation_fragment:
  - vitrine.engine._attributes
  - vitrine.engine._engine
  - vitrine.engine._credentials
attributes:
  check_mode:
    support: partial
    details:
      - Whether a pull or a build brings another image is known only by doing it. Check mode says so for images that
        are not on the host, and for builds by asking the build cache.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - O(force_source=true) with O(source=pull) asks the registry each time; a change is reported only for another
        image.
  platform:
    support: full
  action_group:
    support: full
options:
  archive_path:
    description:
      - Also write the image to this archive, on the target, unless the archive holds it already.
    type: path
  bootstrap:
    description:
      - How to make a base image.
    type: dict
    suboptions:
      distribution:
        description:
          - The distribution; by default what the image's name says, else the host's.
        type: str
        choices:
          - debian
          - ubuntu
          - centos
      mirror:
        description:
          - Address of the distribution's archive; by default the one that the host uses.
        type: str
      packages:
        description:
          - More packages to install.
        type: list
        elements: str
      suite:
        description:
          - The release, such as V(bookworm); by default what the tag says.
        type: str
      variant:
        description:
          - The set of packages to begin with, as debootstrap names it; V(minbase) by default.
        type: str
        choices:
          - minbase
          - buildd
          - important
  build:
    description:
      - How to build the image.
    type: dict
    suboptions:
      args:
        description:
          - Build arguments (C(ARG)).
        type: dict
      dockerfile:
        description:
          - The Dockerfile, relative to O(build.path); V(Dockerfile) by default.
        type: str
        aliases:
          - file
      labels:
        description:
          - Labels to add to the image.
        type: dict
      nocache:
        description:
          - Run every instruction anew.
        type: bool
        default: false
      path:
        description:
          - The directory, on the target, that is the build context.
        type: path
        required: true
      pull:
        description:
          - Ask the registry for newer base images.
        type: bool
        default: false
      target:
        description:
          - The stage to build, for Dockerfiles of several.
        type: str
  force_absent:
    description:
      - Remove the image with all its names, though stopped containers need it.
    type: bool
    default: false
  force_source:
    description:
      - Get the image from O(source) though it is on the host.
    type: bool
    default: false
  force_tag:
    description:
      - Give the image the name in O(repository) though another image has it.
    type: bool
    default: false
  load_path:
    description:
      - The archive, on the target, for O(source=load), as C(docker save) or C(skopeo) write it.
    type: path
  name:
    description:
      - Name of the image, optionally with a registry and a tag, which then wins over O(tag). V(repository@sha256:...)
        and image ids can be used with O(state=absent), and where the image is on the host.
    type: str
    required: true
  pull:
    description:
      - How to pull the image.
    type: dict
    suboptions:
      platform:
        description:
          - The platform, as V(os[/architecture[/variant]]).
        type: str
  push:
    description:
      - Push the image to its registry. A change is reported if the registry did not have it.
    type: bool
    default: false
  repository:
    description:
      - Also give the image this name, as V(repository[:tag]). With O(push=true) this name is pushed.
    type: str
  source:
    description:
      - Where an image comes from that is not on the host.
      - V(pull) - from its registry.
      - V(build) - from a Dockerfile, see O(build). The build runs each time, on its cache. Its result is a change
        exactly when it is another image.
      - V(load) - from an archive, see O(load_path).
      - V(bootstrap) - made on the target from the packages of a distribution, see O(bootstrap). No registry is
        needed.
      - V(local) - from nowhere; the task fails if it is not there.
      - The default is V(pull) for O(state=present), unless the image is on the host.
    type: str
    choices:
      - bootstrap
      - build
      - load
      - local
      - pull
  state:
    description:
      - V(present) - the image is on the host.
      - V(absent) - the name is not; the image goes when it has no other name and no container needs it.
    type: str
    default: present
    choices:
      - absent
      - present
  tag:
    description:
      - Tag of the image, unless O(name) has one.
    type: str
    default: latest
seealso:
  - module: vitrine.engine.container
  - module: vitrine.engine.container_image_info
"""

EXAMPLES = r"""
---
- name: Make a base image from the distribution's packages
  vitrine.engine.container_image:
    name: debian:bookworm
    source: bootstrap

- name: Pull an image
  vitrine.engine.container_image:
    name: registry.example.com/app
    tag: "1.4"
    source: pull

- name: Build an image and push it
  vitrine.engine.container_image:
    name: registry.example.com/cache
    source: build
    build:
      path: /srv/cache
    push: true
    username: deployer
    password: "{{ registry_password }}"

- name: Remove an image
  vitrine.engine.container_image:
    name: debian:bookworm
    state: absent
"""

RETURN = r"""
---
image:
  description: The image, in the shape of C(docker image inspect).
  returned: success, unless O(state=absent) or the image is yet to be made
  type: dict
  sample:
    Id: sha256:0d1c7f4b8a3b1f4e2ac1d9a30b1a36e4b9a7c5a9b2f5fcb0b5f2ad1c7a9c3d21
    RepoTags:
      - debian:bookworm
actions:
  description: What was done, or in check mode would be done, in order.
  returned: always
  type: list
  elements: str
  sample:
    - Bootstrapped image debian:bookworm
output:
  description: What the build wrote; for a failed build, the last of it.
  returned: O(source=build)
  type: str
  sample: "Step 1/2 : FROM debian:bookworm"
error_kind:
  description: The kind of failure, for programs, such as V(BuildFailed) or V(ImageNotFound).
  returned: failure
  type: str
  sample: BuildFailed
"""

from ansible_collections.vitrine.engine.plugins.module_utils._ansible.module import run_module  # noqa: E402


def main() -> None:
    """Hand over: the engine answers, the same both ways to a target."""
    run_module("container_image")


if __name__ == "__main__":
    main()
