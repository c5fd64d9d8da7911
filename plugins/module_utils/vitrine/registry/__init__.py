# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes over the wire: pull, push, search, and the credentials for it. ``requests`` lives here.

From outside: ``Client`` (client.py) with its results, and ``auth`` (login, logout, stored credentials). Importing this
package costs little: ``requests`` is imported by the first request.
"""

from __future__ import annotations

from .client import Client, Pulled, PushResult

__all__ = ("Client", "Pulled", "PushResult")
