# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ground floor: immutable models of what images are made of, and their validation. No input or output.

From outside, any module of this package may be imported by its name (``oci.reference``, ``oci.digest``, ...); this file
imports nothing, because the command line's start path needs two or three of them only.
"""
