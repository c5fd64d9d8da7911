# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One small monitor process per container: logs, attached terminals, restarts, the record of its end.

From outside, call ``launch``, ``attach``, ``logs``, ``stop``, ``wait`` and ``state``. ``monitor`` runs in its own
sealed interpreter and imports only the start path; nothing here knows images, names or the store.
"""
