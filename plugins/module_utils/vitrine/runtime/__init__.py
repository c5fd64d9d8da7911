# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one container: an OCI runtime spec becomes a plan (plan.py), the plan becomes a process (start.py, exec.py).

From outside, use plan, start, exec, seal, cgroups, seccomp and capabilities. Nothing here knows images, names of
containers or the policy of networks; what runs beside a container comes from an interpreter sealed by seal.py.
"""
