# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module way: the module file alone, in Ansible's usual way.

The engine's sources came along in Ansible's own zip (bundle.py names them). They are put where the short way puts
them, unless they are there, and the same entry point answers, in a process of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile

from ansible.module_utils.basic import AnsibleModule

from . import bundle, install, provision
from .arguments import specification

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


def _ask(module: AnsibleModule, folder: str, request: dict[str, Any]) -> dict[str, Any]:
    data = provision.first_line(provision.start_program(folder)) + json.dumps(request).encode()
    status, out, err = module.run_command(
        [sys.executable, *provision.COMMAND], data=data, binary_data=True, handle_exceptions=True
    )
    for line in out.splitlines():
        if line.startswith(provision.ANSWER):
            return json.loads(line[len(provision.ANSWER) :])
    module.fail_json(msg="the engine gave no answer", rc=status, module_stdout=out, module_stderr=err)


def run_module(name: str) -> NoReturn:
    """Be the module of that name."""
    module = AnsibleModule(supports_check_mode=True, **specification(name, on_target=True))
    if os.geteuid() != 0:
        module.fail_json(msg=install.NOT_ROOT.format(os.geteuid()), error_kind="HostError")
    folder = os.environ.get(provision.FOLDER_VARIABLE) or provision.folder(bundle.sources())
    request = {
        "module": name,
        "params": module.params,
        "check": module.check_mode,
        "diff": module._diff,
        "folder": folder,
    }
    temporary = None
    try:
        if not os.path.isdir(folder):
            files = bundle.sources()
            if module.check_mode:
                folder = temporary = tempfile.mkdtemp(prefix="vitrine-check-")
                install.unpack(provision.pack(files), folder)
            else:
                folder = provision.folder(files)
                install.install(folder, provision.pack(files))
        result = _ask(module, folder, request)
    except OSError as error:
        module.fail_json(msg=f"the engine cannot be put into {folder}: {error}")
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)
