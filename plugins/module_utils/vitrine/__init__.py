# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vitrine: containers from layers, with no daemon. The engine library; it imports nothing of Ansible.

Floors import downwards only: linux, oci < store, registry, runtime, network, supervise, host < build < engine < cli.
From outside, call ``vitrine.engine``; the modules and the command line do nothing else.
"""
