# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of modules that talk to registries. Private to this collection."""

from __future__ import annotations


class ModuleDocFragment:
    """Who one is at a registry."""

    DOCUMENTATION = r"""
options:
  username:
    description:
      - User name at the registry, for pulling and pushing.
      - Without it, the files are read in which C(docker login) and C(podman login) keep credentials.
    type: str
  password:
    description:
      - Password or token at the registry.
    type: str
"""
