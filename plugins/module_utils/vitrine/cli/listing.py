# Copyright: (c) 2026, the Vitrine authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ps, logs, inspect, stats, diff, port: what there is and what it does."""

from __future__ import annotations

import json
import os
import re
import sys
import time

from ..engine import health
from ..errors import ContainerNotFound, ImageNotFound, InvalidInput, NotFound, VitrineError
from . import table
from .flags import Command, Options, option, switch
from .messages import complain
from .progress import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..engine import Engine

_NO_TRUNC = switch("no-trunc", help="Print ids and commands whole")

COMMANDS = {
    "ps": Command(
        "ps", "List containers", "ps",
        flags=(
            switch("all", "a", help="Show those that do not run, too"),
            option("filter", "f", value="KEY=VALUE", many=True, help="Filter: name=, id=, status=, health=, label="),
            option("last", "n", value="N", help="Show the last N created, in any state"),
            switch("latest", "l", help="Show the latest created, in any state"),
            switch("quiet", "q", help="Only print ids"),
            _NO_TRUNC, table.FORMAT,
        ),
    ),
    "logs": Command(
        "logs", "Show the logs of a container", "logs", "CONTAINER", 1, 1, complete="container",
        flags=(
            switch("follow", "f", help="Go on as long as the container runs"),
            option("since", value="TIME", help="Only what came after: a time, or a duration such as 10m"),
            option("until", value="TIME", help="Only what came before"),
            option("tail", "n", value="N", help="Only the last N lines"),
            switch("timestamps", "t", help="Put the time before each line"),
        ),
    ),
    "inspect": Command(
        "inspect", "Show everything known about containers or images, as JSON", "inspect", "NAME [NAME...]", 1, -1,
        (
            option("type", value="TYPE", choices=("container", "image"), help="Look for this kind only"),
            option("format", "f", value="FORMAT", help="As json, or a text with keys such as {{.State.Status}}"),
        ),
        complete="container",
    ),
    "stats": Command(
        "stats", "Show what containers use", "stats", "[CONTAINER...]", 0, -1,
        (switch("no-stream", help="Print once and end"), table.FORMAT), complete="container",
    ),
    "diff": Command(
        "diff", "Show what a container changed in its file system", "diff", "CONTAINER", 1, 1, complete="container"
    ),
    "port": Command(
        "port", "List a container's published ports", "port", "CONTAINER [PORT[/PROTO]]", 1, 2, complete="container"
    ),
}  # fmt: skip


_FILTERS = ("name", "id", "status", "label", "ancestor", "exited", "health")
_STATES = ("created", "running", "paused", "restarting", "stopping", "exited", "dead", "removing")

# -- ps -------------------------------------------------------------------------------------------------------------


def status_text(observed: dict[str, Any]) -> str:
    """The STATUS column."""
    status = observed["status"]
    if status in ("running", "paused", "stopping"):
        up = f"Up {table.span(time.time() - (table.seconds_of(observed['started_at']) or time.time()))}"
        if status == "paused":
            return f"{up} (Paused)"
        checked = health.status(observed)
        return up if checked == "none" else f"{up} (health: starting)" if checked == "starting" else f"{up} ({checked})"
    if status == "created":
        return "Created"
    code = observed.get("exit_code")
    verb = "Restarting" if status == "restarting" else "Exited"
    return f"{verb} ({'unknown' if code is None else code}) {table.ago(observed.get('finished_at') or '')}"


def ports_text(ports: list[list[Any]]) -> str:
    """The PORTS column."""
    words = []
    for host_ip, host_port, container_port, protocol in ports:
        address = f"[{host_ip}]" if ":" in host_ip else host_ip or "0.0.0.0"
        words.append(f"{address}:{host_port}->{container_port}/{protocol}")
    return ", ".join(words)


def _matches(filters: list[tuple[str, str]], row: tuple[Any, Any, dict[str, Any]]) -> bool:
    record, spec, observed = row
    wanted: dict[str, list[bool]] = {}
    for key, value in filters:
        label, equals, text = value.partition("=")
        outcome = {
            "name": value in record.name,
            "id": record.id.startswith(value),
            "status": observed["status"] == value,
            "ancestor": value in (spec.image, record.image_id) or spec.image.partition(":")[0] == value,
            "label": label in spec.labels and (not equals or spec.labels[label] == text),
            "exited": observed["status"] == "exited" and str(observed.get("exit_code")) == value,
            "health": health.status(observed) == value,
        }
        wanted.setdefault(key, []).append(outcome[key])
    # as docker's: several values of one key are alternatives, but for labels
    return all(all(seen) if key == "label" else any(seen) for key, seen in wanted.items())


def _filters(words: list[str]) -> list[tuple[str, str]]:
    pairs = [word.partition("=") for word in words]
    for word, (key, equals, value) in zip(words, pairs):
        if not key or not equals:
            raise InvalidInput(f"invalid filter {word!r}", hint="write key=value", value=word)
        if key not in _FILTERS:
            raise InvalidInput(f"invalid filter {key!r}", hint=f"use one of {', '.join(_FILTERS)}", value=key)
        known = {"status": _STATES, "health": (*health.STATUSES, "none")}.get(key)
        if known and value not in known:
            raise InvalidInput(f"invalid filter {word!r}", hint=f"use one of {', '.join(known)}", value=value)
    return [(key, value) for key, _equals, value in pairs]


def ps(engine: Engine, options: Options, _operands: list[str]) -> int:
    """vitrine ps"""
    filters = _filters(options.filter)
    if options.last is not None and not options.last.isdigit():
        raise InvalidInput(f"--last is {options.last!r}", hint="write a whole number", value=options.last)
    last = 1 if options.latest else int(options.last or 0)
    everything = bool(options.all or last or any(key in ("status", "exited") for key, _value in filters))
    rows = [row for row in engine.containers.all(everything=everything) if _matches(filters, row)]
    rows = rows[:last] if last else rows
    if options.quiet:
        for record, _spec, _observed in rows:
            sys.stdout.write((record.id if options.no_trunc else record.id[:12]) + "\n")
        return 0
    shown = []
    for record, spec, observed in rows:
        words = engine.containers.command_line(record, spec)
        if not options.no_trunc and len(words) > 20:
            words = words[:19] + "…"
        running = observed["status"] in ("running", "paused")
        shown.append(
            {
                "ID": record.id if options.no_trunc else record.id[:12],
                "Image": spec.image,
                "Command": f'"{words}"',
                "CreatedAt": record.created,
                "RunningFor": table.ago(record.created),
                "State": observed["status"],
                "Status": status_text(observed),
                "Ports": ports_text(observed.get("ports") or []) if running else "",
                "Names": record.name,
                "Labels": ",".join(f"{key}={value}" for key, value in spec.labels.items()),
            }
        )
    table.print_rows(
        ("CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"),
        shown,
        options.format,
        keys=("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"),
    )
    return 0


# -- one container's output -----------------------------------------------------------------------------------------


def logs(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine logs"""
    tail = None
    if options.tail not in (None, "all"):
        if not options.tail.isdigit():
            raise InvalidInput(f"--tail is {options.tail!r}", hint="write a number, or all", value=options.tail)
        tail = int(options.tail)
    lines = engine.containers.logs(
        operands[0],
        follow=options.follow,
        since=None if options.since is None else table.moment(options.since),
        until=None if options.until is None else table.moment(options.until),
        tail=tail,
        timestamps=options.timestamps,
    )
    for stream, data in lines:
        fd = 2 if stream == "stderr" else 1
        while data:
            data = data[os.write(fd, data) :]
    return 0


def diff(engine: Engine, _options: Options, operands: list[str]) -> int:
    """vitrine diff"""
    for kind, path in engine.containers.changes(operands[0]):
        sys.stdout.buffer.write(kind.encode() + b" " + path + b"\n")
    sys.stdout.buffer.flush()
    return 0


def port(engine: Engine, _options: Options, operands: list[str]) -> int:
    """vitrine port"""
    bindings = engine.containers.inspect(operands[0])["NetworkSettings"]["Ports"]
    if len(operands) > 1:
        from ..engine import parse

        (wanted,) = parse.exposed(operands[1])[:1]
        if not bindings.get(wanted):
            raise NotFound(
                f"no public port {wanted!r} published for {operands[0]}",
                hint=f"see 'vitrine port {operands[0]}'",
                value=wanted,
            )
        for host in bindings[wanted]:
            sys.stdout.write(f"{host['HostIp'] or '0.0.0.0'}:{host['HostPort']}\n")
        return 0
    for key, hosts in bindings.items():
        for host in hosts or ():
            sys.stdout.write(f"{key} -> {host['HostIp'] or '0.0.0.0'}:{host['HostPort']}\n")
    return 0


# -- inspect --------------------------------------------------------------------------------------------------------


def _document(engine: Engine, name: str, kind: str | None) -> dict[str, Any]:
    if kind != "image":
        try:
            return engine.containers.inspect(name)
        except ContainerNotFound:
            if kind:
                raise
    try:
        return engine.images.inspect(name)
    except (ImageNotFound, InvalidInput):
        if kind:
            raise
        raise NotFound(f"no such object: {name}", hint="see 'vitrine ps -a' and 'vitrine images'", value=name) from None


def _fill(document: dict[str, Any], form: str) -> str:
    """A text with docker's simplest templates filled in: paths of keys, {{.State.Status}}, {{json .X}}."""
    pieces = re.split(r"(\{\{.*?\}\})", form)
    return "".join(_value(document, piece[2:-2].strip(), form) if piece[:2] == "{{" else piece for piece in pieces)


def _value(document: dict[str, Any], inner: str, form: str) -> str:
    match = re.fullmatch(r"(json\s+)?\.([\w.-]*)", inner)
    if match is None:
        raise InvalidInput(
            f"invalid format {form!r}: {inner!r} is not understood",
            hint="write paths of keys, as in {{.State.Status}} or {{json .Config}}; for more, take json and jq",
            value=form,
        )
    value: Any = document
    for key in filter(None, match[2].split(".")):
        if not isinstance(value, dict) or key not in value:
            raise InvalidInput(f"{form!r}: there is no key {key!r} here", hint="see inspect's JSON", value=form)
        value = value[key]
    if match[1] or isinstance(value, (dict, list)):
        return json.dumps(value)
    if isinstance(value, bool):  # 0 is not false
        return "true" if value else "false"
    return "<no value>" if value is None else str(value)


def inspect(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine inspect"""
    documents = []
    missing: list[VitrineError] = []
    for name in operands:
        try:
            documents.append(_document(engine, name, options.type))
        except NotFound as error:
            missing.append(error)
    if options.format in (None, "json"):
        sys.stdout.write(json.dumps(documents, indent=4 if options.format is None else None) + "\n")
    elif options.format == "":
        raise InvalidInput("the format is empty", hint="write json, or {{.Key}}", value="")
    else:
        for document in documents:
            sys.stdout.write(_fill(document, options.format) + "\n")
    for problem in missing:
        complain(problem)
    return int(bool(missing))


# -- stats ----------------------------------------------------------------------------------------------------------

_STATS_COLUMNS = ("CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS")
_STATS_KEYS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")


def _stats_rows(engine: Engine, names: list[str], pause: float) -> list[dict[str, str]]:
    records = [engine.containers.record(name) for name in names] if names else []
    if not names:
        records = [row[0] for row in engine.containers.all()]
    first = {record.id: (time.monotonic(), engine.containers.stats(record.id)) for record in records}
    time.sleep(pause)
    rows = []
    for record in records:
        before_time, before = first[record.id]
        after = engine.containers.stats(record.id)
        busy = (after["cpu_ns"] - before["cpu_ns"]) / ((time.monotonic() - before_time) * 10**9)
        used, limit = after["memory_usage"], after["memory_limit"]
        rows.append(
            {
                "ID": record.id[:12],
                "Name": record.name,
                "CPUPerc": f"{busy * 100:.2f}%",
                "MemUsage": f"{_binary(used)} / {_binary(limit)}",
                "MemPerc": f"{100 * used / limit:.2f}%" if limit else "0.00%",
                "NetIO": f"{size(after['net_rx_bytes'])} / {size(after['net_tx_bytes'])}",
                "BlockIO": f"{size(after['io_read_bytes'])} / {size(after['io_write_bytes'])}",
                "PIDs": str(after["pids"]),
            }
        )
    return rows


def _binary(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.4g}{unit}"
        count /= 1024
    return f"{count:.4g}TiB"


def stats(engine: Engine, options: Options, operands: list[str]) -> int:
    """vitrine stats"""
    live = not options.no_stream and options.format != "json" and sys.stdout.isatty()
    while True:
        rows = _stats_rows(engine, operands, 1.0 if live else 0.2)
        if live:
            sys.stdout.write("\x1b[H\x1b[J")
        table.print_rows(_STATS_COLUMNS, rows, options.format, keys=_STATS_KEYS)
        sys.stdout.flush()
        if not live:
            return 0
