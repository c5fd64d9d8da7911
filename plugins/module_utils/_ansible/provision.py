# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's sources, their digest, and the few lines of Python that start the engine on a target.

Read on the controller (short way) and on the target (module way, from the zip that Ansible sent).
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile

from . import install

BASE = "/var/lib/vitrine-engine"
ANSWER = "VITRINE-ANSWER "
ABSENT = "VITRINE-ABSENT "
PACKAGES = ("requests", "pyroute2")
NO_FOLDER = "/dev/null/none"  # can never be: asking for an engine there asks for the target's facts
# By this variable an action plugin spares the module the reading of all sources for their digest.
FOLDER_VARIABLE = "VITRINE_ENGINE_FOLDER"
# The program comes as the first line of standard input: no shell ever sees it, and no length limit holds for it.
COMMAND = ("-I", "-S", "-X", "utf8", "-c", "import sys;exec(sys.stdin.buffer.readline())")
_START = """\
import os, sys
folder = {folder!r}
sys.path[:0] = [folder]
try:
    from vitrine.engine.desired.serve import main
except ModuleNotFoundError:
    if os.path.isdir(folder):
        raise
    main = None
if main is not None:
    main()
else:
    import importlib.util, json, site
    site.main()
    lacking = [name for name in {packages!r} if importlib.util.find_spec(name) is None]
    facts = dict(python=list(sys.version_info[:3]), euid=os.geteuid(), lacking=lacking)
    print("\\n{absent}" + json.dumps(facts))
"""


def sources() -> dict[str, bytes]:
    """The engine's files by path below the folder that holds the package: {"vitrine/record.py": text, ...}."""
    archive = getattr(globals().get("__loader__"), "archive", None)
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if archive:
        prefix = os.path.relpath(here, archive).replace(os.sep, "/") + "/"
        with zipfile.ZipFile(archive) as packed:
            names = [name for name in packed.namelist() if name.startswith(prefix + "vitrine/") and name[-3:] == ".py"]
            return {name[len(prefix) :]: packed.read(name) for name in names}
    found = {}
    for folder, folders, names in os.walk(os.path.join(here, "vitrine")):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, here).replace(os.sep, "/")] = file.read()
    return found


def digest(files: dict[str, bytes]) -> str:
    """64 hex digits that stand for exactly these files."""
    total = hashlib.sha256()
    for name in sorted(files):
        total.update(b"%s\0%d\0" % (name.encode(), len(files[name])))
        total.update(files[name])
    return total.hexdigest()


def folder(files: dict[str, bytes]) -> str:
    """Where these sources live on a target."""
    return f"{BASE}/{digest(files)[:32]}"


def pack(files: dict[str, bytes]) -> bytes:
    """A zip of files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in sorted(files):
            packed.writestr(zipfile.ZipInfo(name), files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def first_line(program: str) -> bytes:
    """A program as one line of Python, for the first line of standard input."""
    return b"exec(%s)\n" % ascii(program).encode()


def start_program(where: str) -> str:
    """Serve the request that follows, or say that no such engine is here."""
    return _START.format(folder=where, packages=PACKAGES, absent=ABSENT)


def receive_program() -> str:
    """Install what follows and serve the request after it."""
    import inspect

    return inspect.getsource(install) + "\nreceive()\n"
