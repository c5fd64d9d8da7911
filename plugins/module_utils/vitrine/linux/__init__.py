# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ground floor: what the kernel offers, called through ctypes, with no policy.

Everything may be used from outside; imports nothing above it, and only modules that are cheap to import.
"""
