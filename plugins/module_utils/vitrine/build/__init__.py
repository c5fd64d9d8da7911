# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images from Dockerfiles: lexer, parser, expansion of variables, .dockerignore, cache keys, and the executor.

From outside: ``dockerfile.parse``, and ``executor`` with the ``Operations`` that a build works through: images, layers
and containers are the engine's. Of other rooms this one uses the readers of archives and of a container's users only.
"""
