# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The short way of the module container_info."""

from __future__ import annotations

from ansible_collections.vitrine.engine.plugins.plugin_utils.action import EngineAction


class ActionModule(EngineAction):
    """See plugin_utils/action.py."""
