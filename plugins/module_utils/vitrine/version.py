# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The version of the engine and of the collection; ``galaxy.yml`` says the same (a test holds them together)."""

VERSION = "0.1.0"
