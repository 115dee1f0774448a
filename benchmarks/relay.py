"""The relay beside its peers: new connections, bulk, idle connections, and how fast it follows a name."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks import relays, streams
from benchmarks.relays import HAPROXY, NGINX, OURS, PROXYD, Relay
from benchmarks.table import NOT_INSTALLED, Goal, Row

_AT_ONCE = 32
_NAME = "backend.bench.example"
_TTL = 1
_DNS = "127.0.0.53"
_ALL = (OURS, PROXYD, HAPROXY, NGINX)


def measure(directory: Path, rounds: int) -> list[Row]:
    """Measure all; with one round, less of everything."""
    connections, megabytes, idle, flips = (5000, 4096, 3000, 100) if rounds > 1 else (2000, 1024, 1000, 5)
    directory.mkdir()
    return [
        *_connections(directory, "address", rounds, connections, _ALL),
        *_connections(directory, "name", rounds, connections, (OURS, PROXYD)),
        *_bulk(directory, rounds, megabytes, 1),
        *_bulk(directory, rounds, megabytes, 8),
        *_idle(directory, idle),
        *_moves(directory, flips),
    ]


def _by_turns(
    directory: Path,
    labels: tuple[str, ...],
    target: str,
    rounds: int,
    drive: Callable[[Relay], tuple[float, float]],
) -> tuple[dict[str, list[tuple[float, float]]], list[str]]:
    """Drive each in each round, after one to warm up; gives their figures, and who is not installed."""
    found: dict[str, list[tuple[float, float]]] = {}
    missing = []
    with ExitStack() as stack:
        contenders = []
        for label in labels:
            try:
                contenders.append(stack.enter_context(relays.running(label, directory, target)))
            except FileNotFoundError:
                missing.append(label)
        for contender in contenders:
            drive(contender)
        for number in range(rounds):
            for contender in contenders if number % 2 == 0 else reversed(contenders):
                found.setdefault(contender.label, []).append(drive(contender))
    return found, missing


def _median(figures: list[tuple[float, float]], which: int) -> float:
    return statistics.median(figure[which] for figure in figures)


def _connections(directory: Path, to: str, rounds: int, count: int, labels: tuple[str, ...]) -> list[Row]:
    """Measure CPU for each new connection: a question, an answer, an end, 32 at once."""

    def drive(relay: Relay) -> tuple[float, float]:
        before = relay.cpu()
        seconds = streams.connect_and_ask(relay.port, count, _AT_ONCE)
        return 1e6 * (relay.cpu() - before) / count, count / seconds

    with ExitStack() as stack:
        port = stack.enter_context(streams.backend("echo", directory))
        target = f"127.0.0.1:{port}"
        if to == "name":
            directory = directory / "named"
            target = f"{_name_served(stack, directory)}:{port}"
        found, missing = _by_turns(directory, labels, target, rounds, drive)
    what, costs = f"new connection to an {to}".replace("an name", "a name"), {}
    most = {"address": 1.0, "name": 0.5}[to]
    for label in found:
        costs[label] = _median(found[label], 0)
    rows = []
    for label, figures in found.items():
        goals: tuple[Goal, ...] = ()
        if label == OURS and PROXYD in costs:
            goals = (Goal(costs[OURS] / costs[PROXYD], most, PROXYD),)
        note = f"{1e6 / costs[label]:,.0f}/s of a core; {_median(figures, 1):,.0f}/s with one client process"
        rows.append(Row(what, label, costs[label], "µs CPU", note, goals))
    return [*rows, *(Row(what, label, NOT_INSTALLED) for label in missing)]


def _name_served(stack: ExitStack, directory: Path) -> str:
    """Serve a name by a real DNS server, where we may show it to programs that ask the host's."""
    directory.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        return "localhost"
    from tests.integration.name_server import name_server

    try:
        dns = stack.enter_context(name_server(_DNS, 53))
    except OSError:
        return "localhost"
    dns.put(_NAME, "A", 60, "127.0.0.1")
    (directory / "resolv.conf").write_text(f"nameserver {_DNS}\n")
    return _NAME


def _bulk(directory: Path, rounds: int, megabytes: int, count: int) -> list[Row]:
    """Measure how much goes through, and what CPU it costs."""

    def drive(relay: Relay) -> tuple[float, float]:
        before = relay.cpu()
        seconds = streams.push(relay.port, megabytes, count)
        return (relay.cpu() - before) * 1024 / megabytes, megabytes / seconds

    with streams.backend("sink", directory) as port:
        found, missing = _by_turns(directory, _ALL, f"127.0.0.1:{port}", rounds, drive)
    what, rows = f"{count} bulk stream{'s' if count > 1 else ''}", []
    for label, figures in found.items():
        goals: tuple[Goal, ...] = ()
        speed, cost = _median(figures, 1), _median(figures, 0)
        if label == OURS and PROXYD in found:
            faster, cheaper = _median(found[PROXYD], 1), _median(found[PROXYD], 0)
            goals = (
                Goal(faster / speed, 1 / 0.95, f"time of {PROXYD}"),
                Goal(cost / cheaper, 1.1, f"CPU of {PROXYD}"),
            )
        rows.append(Row(what, label, speed, "MB/s", f"{cost:.2f} s CPU for each GB", goals))
    return [*rows, *(Row(what, label, NOT_INSTALLED) for label in missing)]


def _idle(directory: Path, count: int) -> list[Row]:
    """Measure memory for each connection that does nothing, and how many are held."""
    rows = []
    with streams.backend("hold", directory) as port:
        for label in _ALL:
            try:
                with relays.running(label, directory, f"127.0.0.1:{port}") as relay:
                    rows += _held(relay, count)
            except FileNotFoundError:
                rows.append(Row(f"{count:,} idle connections", label, NOT_INSTALLED))
    return rows


def _held(relay: Relay, count: int) -> list[Row]:
    for stream in streams.hold(relay.port, 20):
        stream.close()
    time.sleep(0.2)
    before = relay.memory_kb()
    held = streams.hold(relay.port, count)
    each = (relay.memory_kb() - before) / max(1, len(held))
    goals: tuple[Goal, ...] = ()
    note = "" if len(held) == count else f"only {len(held):,} were answered"
    if relay.label == OURS:
        more = streams.hold(relay.port, 3 * count - len(held))
        held += more
        note = f"{len(held):,} held at once"
        goals = (
            Goal(each, 3.0),
            Goal(3 * count / len(held), 1.0, "9,000 wanted" if count == 3000 else "wanted"),
        )
    for stream in held:
        stream.close()
    return [Row(f"{count:,} idle connections", relay.label, each, "KB each", note, goals)]


def _moves(directory: Path, flips: int) -> list[Row]:
    """Measure from a changed answer of DNS to the first new connection at the new address."""
    from tests.integration.name_server import name_server

    hosts, took = ("127.0.0.11", "127.0.0.12"), []
    with ExitStack() as stack:
        port = stack.enter_context(streams.backend("name", directory, hosts[0]))
        other = streams.serve_beside("name", hosts[1], port, directory)
        stack.callback(other.stop)
        dns = stack.enter_context(name_server())
        dns.put(_NAME, "A", _TTL, hosts[0])
        relay = stack.enter_context(relays.ours_to(f"{_NAME}:{port}", dns.address, directory))
        for number in range(flips):
            to = hosts[(number + 1) % 2]
            time.sleep(0.037 * number % 1)
            dns.put(_NAME, "A", _TTL, to)
            since = time.monotonic()
            while streams.answered_by(relay.port) != to:
                if time.monotonic() - since > 10:
                    raise RuntimeError("the relay does not follow its name")
                time.sleep(0.005)
            took.append(time.monotonic() - since)
    worst = statistics.quantiles(took, n=100)[98] if len(took) > 1 else took[0]
    note = f"TTL {_TTL} s; median {statistics.median(took):.2f} s of {flips}; worst {max(took):.2f} s"
    return [Row("DNS changed until connected there, p99", OURS, worst, "s", note, (Goal(worst, _TTL + 1),))]
