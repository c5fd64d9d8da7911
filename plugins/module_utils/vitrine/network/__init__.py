# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bridge networks: a container's address, link, name files and published ports, wired from outside its namespace.

From outside use ``plan`` (pure), ``links`` (set up, connect, disconnect, sweep), ``ports``, ``files``, ``inspect``.
"""
