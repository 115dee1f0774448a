"""`make bench`: every measurement in one run, one table, and the same as JSON."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks import handshake, issuance, memory, request, stored, table, unknown
from benchmarks.edgeward import EAGER, Edgeward, edgeward
from benchmarks.material import material
from benchmarks.peers import NAME, Contender, Scene, backend, peers, program
from benchmarks.processes import rss_mb
from benchmarks.table import Row
from benchmarks.visits import ROOT

OUTPUT = ROOT / "benchmarks" / "result.json"


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    rounds: int
    handshakes: int
    requests: int
    first_visits: int
    certificates: int
    new_names: int
    unknown_names: int
    unknown_seconds: float


FULL = Size(5, 1000, 15_000, 400, 10_000, 3000, 100_000, 90.0)
QUICK = Size(1, 500, 5_000, 50, 800, 400, 10_000, 8.0)
MEASUREMENTS = ("handshake", "request", "issuance", "stored", "memory", "unknown")


def main() -> int:
    options = _options()
    size = QUICK if options.quick else FULL
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgeward-bench-", dir="/tmp") as directory:
        rows = _measured(Path(directory), size, options.only or MEASUREMENTS)
    seconds = time.monotonic() - started
    print(f"\n{table.printed(rows)}\n")
    table.write(OUTPUT, rows, seconds, _versions())
    missed = [f"{r.what}, {r.who}: {g}" for r in rows for g in r.goals if not g.met]
    print(f"{seconds:.0f} s; {len(missed)} goals missed; written to {OUTPUT.relative_to(ROOT)}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything: about a minute, rough")
    parser.add_argument("only", nargs="*", metavar="MEASUREMENT", help=f"some of: {', '.join(MEASUREMENTS)}")
    options = parser.parse_args()
    unheard = sorted(set(options.only) - set(MEASUREMENTS))
    if unheard:
        parser.error(f"there is no measurement {unheard[0]}; there are {', '.join(MEASUREMENTS)}")
    return options


def _measured(directory: Path, size: Size, only: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    with ExitStack() as stack:
        port = stack.enter_context(backend(directory))
        _say("starting Edgeward")
        ours = stack.enter_context(edgeward(directory / "edgeward", port))
        empty_mb = rss_mb(ours.parts["envoy"])
        rows += _beside_peers(directory, port, ours, size, only)
        rows += _alone(ours, empty_mb, size, only)
    return rows


def _beside_peers(directory: Path, port: int, ours: Edgeward, size: Size, only: Sequence[str]) -> list[Row]:
    if not {"handshake", "request"} & set(only):
        return []
    rows: list[Row] = []
    scene = Scene(directory, material(directory, NAME), port)
    with peers(scene) as (running, missing):
        contenders: list[Contender] = [*running, ours]
        if "handshake" in only:
            _say("handshakes")
            rows += handshake.measure(contenders, missing, size.rounds, size.handshakes)
        if "request" in only:
            _say("requests")
            with edgeward(directory / "logging", port, access_log="stdout") as logging:
                rows += request.measure([*contenders, logging], missing, size.rounds, size.requests)
    return rows


def _alone(ours: Edgeward, empty_mb: float, size: Size, only: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    if "issuance" in only:
        _say("first visits")
        rows += issuance.measure(ours, size.first_visits)
    if not {"stored", "memory", "unknown"} & set(only):
        return rows
    names = [f"n{number:05}.{EAGER}" for number in range(size.certificates)]
    _say(f"declaring {len(names):,} domains")
    began = time.monotonic()
    ours.declare(names, 120)
    took = time.monotonic() - began
    note = f"{len(names):,} in {took:.1f} s"
    rows.append(Row("eager domains: declared, issued, copied", "Edgeward", len(names) / took, "/s", note))
    if "stored" in only:
        _say("stored names")
        rows += stored.measure(ours, names[: size.new_names])
    if {"memory", "unknown"} & set(only):
        _say("resident names")
        rows += memory.measure(ours, names, empty_mb)
    if "unknown" in only:
        _say("unknown names")
        rows += unknown.measure(ours, names[-100:], size.unknown_names, size.unknown_seconds)
    return rows


def _versions() -> dict[str, str]:
    asked = {"nginx": ("nginx", "-v"), "HAProxy": ("haproxy", "-v")}
    found = {}
    for label, (name, flag) in asked.items():
        binary = program(name)
        if binary:
            told = subprocess.run([binary, flag], capture_output=True, text=True, timeout=10)
            found[label] = (told.stdout + told.stderr).strip().splitlines()[0]
    return found


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
