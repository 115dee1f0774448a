"""How long a start takes: the whole until a visitor has a page, the CPU of each program, and of commands."""

from __future__ import annotations

import json
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.edgeward import ON_DEMAND, Edgeward, edgeward
from benchmarks.processes import cpu_seconds
from benchmarks.table import Goal, Row

WHOLE = "edgeward up, nothing there before, until a visitor has a page"
PROGRAM = "CPU of a program's start"
COMMAND = "CPU of a command"


def measure(place: Path, backend: int, rounds: int) -> list[Row]:
    """Give the rows; medians of ``rounds`` starts, each with a state directory of its own."""
    place.mkdir()
    seconds: list[float] = []
    parts: dict[str, list[float]] = {}
    commands: dict[str, list[float]] = {}
    for number in range(rounds):
        began = time.monotonic()
        with edgeward(place / str(number), backend) as ours:
            _page(ours)
            seconds.append(time.monotonic() - began)
            for name, pid in _programs(ours):
                parts.setdefault(name, []).append(cpu_seconds([pid]))
            for argv in _commands(ours):
                commands.setdefault(f"edgeward {argv[0]}", []).append(_cpu_of(argv))
    return [
        _row(WHOLE, "Edgeward", seconds, 3.0),
        *(_row(PROGRAM, name, found, 1.0) for name, found in parts.items()),
        *(_row(COMMAND, name, found, 0.35) for name, found in commands.items()),
    ]


def _row(what: str, who: str, found: Sequence[float], most: float) -> Row:
    middle = statistics.median(found)
    return Row(what, who, middle, "s", f"{min(found):.2f} to {max(found):.2f}", (Goal(middle, most),))


def _page(ours: Edgeward) -> None:
    """Get a page of a name that nobody has visited yet."""
    name = f"site.{ON_DEMAND}"
    context = ssl.create_default_context(cafile=ours.ca)
    with (
        socket.create_connection(("127.0.0.1", ours.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as connection,
    ):
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
        answer = connection.recv(100)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"the first visitor got no page: {answer!r}")


def _programs(ours: Edgeward) -> Iterator[tuple[str, int]]:
    record = json.loads((ours.state / "up.json").read_text())
    yield "supervisor", record["pid"]
    for program in record["programs"]:
        yield {"envoy": "launcher"}.get(program["name"], program["name"]), program["pid"]


def _commands(ours: Edgeward) -> list[tuple[str | Path, ...]]:
    return [
        ("--help",),
        ("status", "--state-dir", ours.state),
        ("validate", "--file", ours.state.parent / "edgeward.yaml"),
    ]


def _cpu_of(argv: Sequence[str | Path]) -> float:
    command = [sys.executable, "-P", "-m", "edgeward.cli", *map(str, argv)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
