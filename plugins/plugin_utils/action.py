# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The short way to a target: one remote command for a task, on an engine that is there already.

Every module's action plugin is this one. Where the short way is not possible - async, a connection or a become method
without standard input, or the variable vitrine_short_way: false - the module goes Ansible's usual way instead.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.errors import UnsupportedError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.vitrine.engine.plugins.module_utils._ansible import install, provision
from ansible_collections.vitrine.engine.plugins.module_utils._ansible.arguments import specification
from ansible_collections.vitrine.engine.plugins.plugin_utils import packages

display = Display()

SWITCH = "vitrine_short_way"
MINIMUM = (3, 9)
_WARNING = "Both option {option} and its alias {alias} are set."
# Ansible's workers are forked from the process that imports this file: reading the sources here, they are read once.
FILES = provision.sources()
FOLDER = provision.folder(FILES)
START = provision.first_line(provision.start_program(FOLDER))


class NotThisWay(Exception):
    """The short way turned out to be closed, before the engine did anything."""


class Refused(Exception):
    """The task fails here on the controller. As the module would: with a result, not with Ansible's own exception."""

    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message)
        self.result = {"failed": True, "msg": message, **more}


class EngineAction(ActionBase):
    """One task of one of our modules."""

    _supports_async = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ansible's entry point; the result is the module's."""
        result = super().run(tmp, task_vars)
        del tmp
        task_vars = task_vars or {}
        wrap_async = bool(self._task.async_val) and not self._connection.has_native_async
        if self._short_way(task_vars, wrap_async):
            try:
                result.update(self._run_short(task_vars))
                return result
            except Refused as refused:
                result.update(refused.result)
                return result
            except NotThisWay as reason:
                display.vv(f"vitrine: {reason}; the module goes Ansible's usual way")
        environment = {provision.FOLDER_VARIABLE: FOLDER}
        self._task.environment = [*(self._task.environment or ()), environment]
        result.update(self._execute_module(task_vars=task_vars, wrap_async=wrap_async))
        return result

    def _is_pipelining_enabled(self, module_style: str, wrap_async: bool = False) -> bool:
        """Send the module as a file: a program on standard input Python reads byte by byte, each by a system call,
        and the engine's sources in the module make that half a second."""
        return False

    def _short_way(self, task_vars: dict[str, Any], wrap_async: bool) -> bool:
        """Whether a command with standard input can be run on the target, and nobody asked for the other way."""
        if wrap_async or not boolean(self._templar.template(task_vars.get(SWITCH, True)), strict=False):
            return False
        connection = self._connection
        if getattr(connection._shell, "_IS_WINDOWS", False) or getattr(connection, "_remote_is_local", False):
            return False
        return bool(connection.has_pipelining and (not connection.become or connection.become.pipelining))

    def _run_short(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        name = self._task.action.rsplit(".", 1)[-1]
        checked = ArgumentSpecValidator(**specification(name, on_target=False)).validate(dict(self._task.args))
        if checked.error_messages:
            message = checked.errors.msg
            if isinstance(checked.errors[0], UnsupportedError):
                message = f"Unsupported parameters for ({self._task.action}) module: {message}"
            raise Refused(message)
        params = checked.validated_parameters
        request = {
            "module": name,
            "params": params,
            "check": bool(self._task.check_mode),
            "diff": bool(self._task.diff),
            "folder": FOLDER,
        }
        answer = self._ask(json.dumps(request).encode(), task_vars, keep=not request["check"])
        answer["invocation"] = {"module_args": params}
        answer = remove_values(answer, checked._no_log_values)
        if self._discovered_interpreter_key:
            answer.setdefault("ansible_facts", {})[self._discovered_interpreter_key] = self._discovered_interpreter
        if checked._warnings:
            answer["warnings"] = [*answer.get("warnings", ()), *(_WARNING.format(**item) for item in checked._warnings)]
        return answer

    def _ask(self, request: bytes, task_vars: dict[str, Any], keep: bool) -> dict[str, Any]:
        """One remote command; more, when the target has no such engine yet, or no Python package that it needs."""
        command = self._command(task_vars)
        absent, answer = self._exchange(command, START + request)
        if absent is not None:
            return self._send(command, absent, request, keep)
        if answer.get("error_kind") != "DependencyMissing":
            return answer
        facts, _none = self._exchange(command, provision.first_line(provision.start_program(provision.NO_FOLDER)))
        if facts is None or not packages.collect(facts["lacking"], tuple(facts["python"])):
            return answer
        again = self._send(command, facts, request, keep)
        again["changed"] = bool(again.get("changed") or answer.get("changed"))
        return again

    def _send(self, command: str, absent: dict[str, Any], request: bytes, keep: bool) -> dict[str, Any]:
        """Send the engine, and what the target's Python lacks if we have it, and the request behind them."""
        version = tuple(absent["python"])
        if version < MINIMUM:
            raise Refused(
                f"the target's Python is {'.'.join(map(str, version))}, and the engine needs"
                f" {'.'.join(map(str, MINIMUM))} or newer (set ansible_python_interpreter)"
            )
        if absent["euid"] != 0:
            raise Refused(install.NOT_ROOT.format(absent["euid"]), error_kind="HostError")
        engine = provision.pack(FILES)
        brought = packages.collect(absent["lacking"], version)
        more = provision.pack(brought) if brought else b""
        header = {"folder": FOLDER, "engine": len(engine), "packages": len(more), "keep": keep}
        program = provision.first_line(provision.receive_program())
        display.vv(f"vitrine: sending the engine to {FOLDER} ({len(engine) + len(more)} bytes)")
        data = b"".join((program, json.dumps(header).encode(), b"\n", engine, more, request))
        absent_still, answer = self._exchange(command, data)
        if absent_still is not None:
            raise Refused(f"the engine was sent to {FOLDER}, yet it is not there")
        return answer

    def _exchange(self, command: str, data: bytes) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """(what an empty target says, or None; the engine's answer)."""
        done = self._low_level_execute_command(command, in_data=data, sudoable=True)
        for line in done["stdout"].splitlines():
            if line.startswith(provision.ANSWER):
                return None, json.loads(line[len(provision.ANSWER) :])
            if line.startswith(provision.ABSENT):
                return json.loads(line[len(provision.ABSENT) :]), {}
        if "tty" in done["stderr"] and "Traceback" not in done["stderr"]:
            raise NotThisWay(done["stderr"].strip())
        text = (done["stderr"] or done["stdout"]).strip()
        raise Refused(
            f"the target gave no answer (exit status {done['rc']}): {text.splitlines()[-1] if text else 'no output'}",
            rc=done["rc"],
            module_stdout=done["stdout"],
            module_stderr=done["stderr"],
        )

    def _command(self, task_vars: dict[str, Any]) -> str:
        words = " ".join(shlex.quote(word) for word in provision.COMMAND)
        environment = self._compute_environment_string()
        return f"{environment} {self._interpreter(task_vars)} {words}".strip()

    def _interpreter(self, task_vars: dict[str, Any]) -> str:
        """The target's Python, as Ansible itself would choose it for a module: configured, known, or discovered."""
        try:
            from ansible.executor.interpreter_discovery import InterpreterDiscoveryRequiredError, discover_interpreter
            from ansible.executor.module_common import _get_shebang
        except ImportError as error:
            raise NotThisWay(f"this version of ansible-core chooses interpreters in another way: {error}") from None
        known = task_vars
        if self._task.delegate_to:
            known = task_vars.get("ansible_delegated_vars", {}).get(self._task.delegate_to, task_vars)
        try:
            return _get_shebang("/usr/bin/python", known, self._templar)[1]
        except InterpreterDiscoveryRequiredError as wanted:
            found = discover_interpreter(
                action=self,
                interpreter_name=wanted.interpreter_name,
                discovery_mode=wanted.discovery_mode,
                task_vars=known,
            )
            key = f"discovered_interpreter_{wanted.interpreter_name}"
            if not self._task.delegate_to or self._task.delegate_facts:
                self._discovered_interpreter_key = key
                self._discovered_interpreter = found
            return found
        except (TypeError, AttributeError) as error:
            raise NotThisWay(f"this version of ansible-core chooses interpreters in another way: {error}") from None
