# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images from Dockerfiles: lexer, parser, expansion of variables, .dockerignore, cache keys, and the executor.

From outside: ``dockerfile.parse``, ``executor.build`` and the ``executor.Operations`` that a builder works through.
Nothing here knows the store, the runtime or a registry: the engine hands them in as operations.
"""
