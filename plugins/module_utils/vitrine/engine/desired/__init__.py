# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Desired state: what the modules ask for, compared with what is, and the steps between the two.

``options`` describes every option once; ``normalise`` turns parameters into records; ``plan`` is pure; ``execute``
carries plans out; ``serve.main()`` answers one request. From outside, ``options`` and ``serve`` may be used.
"""
