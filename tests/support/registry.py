# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The distribution project's registry (package docker-registry) as a process of the test's own, on loopback."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path


class Registry:
    """One docker-registry process on a free port of the loopback. host: "127.0.0.1:port"."""

    def __init__(self, folder: Path, tls: dict | None = None, htpasswd: Path | None = None) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.host = f"127.0.0.1:{port}"
        self.data = folder / "data"
        config: dict = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.data)}},
            "compatibility": {"schema1": {"enabled": True}},  # so that old manifests can be put there and refused by us
            "http": {"addr": self.host, **({"tls": tls} if tls else {})},
        }
        if htpasswd:
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(htpasswd)}}
        (folder / "config.yml").write_text(json.dumps(config))  # YAML is a superset of JSON
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            assert self.process.poll() is None, (folder / "log").read_text()
            time.sleep(0.02)
        raise AssertionError("the registry does not listen")

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
