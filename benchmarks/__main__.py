"""`make bench`: every measurement in one run, one table, and the same as JSON."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import (
    change,
    fleet,
    gateways,
    handshake,
    hostile,
    issuance,
    memory,
    openstack,
    ordering,
    relay,
    renewals,
    request,
    root,
    scale,
    sites,
    start,
    stored,
    table,
    telling,
    tier,
    tunnels,
    unknown,
)
from benchmarks.edgeward import EAGER, Edgeward, edgeward
from benchmarks.material import material
from benchmarks.peers import NAME, Contender, Scene, backend, peers, program
from benchmarks.processes import rss_mb
from benchmarks.table import FAILED, Row
from benchmarks.visits import ROOT

OUTPUT = ROOT / "benchmarks" / "result.json"
_SMALL = ("handshake", "request", "issuance", "stored", "memory", "unknown", "hostile")
_LARGE = ("change", "fleet", "scale", "ordering", "root", "renewals", "tier", "start")
MEASUREMENTS = (*_SMALL, *_LARGE, "relay", "tunnels", "gateways", "telling", "sites", "openstack")


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
    sites: int
    changes: int
    domains: int
    nodes: int
    ordered: int
    ordered_by_caddy: int
    planned: int


FULL = Size(5, 1500, 15_000, 400, 10_000, 3000, 100_000, 90.0, 10_000, 100, 100_000, 10, 1000, 40, 1_000_000)
QUICK = Size(1, 1000, 10_000, 50, 800, 600, 10_000, 8.0, 1000, 10, 5000, 3, 100, 10, 50_000)


class Run:
    """The rows so far. A measurement that fails becomes a row that says so, and the others go on."""

    def __init__(self, size: Size, only: Sequence[str]) -> None:
        self.size = size
        self._only = only
        self.rows: list[Row] = []

    def wants(self, *names: str) -> bool:
        return not set(names).isdisjoint(self._only)

    def add(self, name: str, measure: Callable[[], list[Row]]) -> None:
        """Measure where it is wanted."""
        if self.wants(name):
            self.attempt(name, measure)

    def attempt(self, name: str, measure: Callable[[], list[Row]]) -> None:
        print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)
        try:
            self.rows += measure()
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            self.rows.append(Row(name, "", FAILED, note=(str(error).splitlines() or [""])[0]))

    @property
    def failed(self) -> bool:
        return any(row.figure == FAILED for row in self.rows)


def main() -> int:
    options = _options()
    run = Run(QUICK if options.quick else FULL, options.only or MEASUREMENTS)
    started, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="edgeward-bench-", dir="/tmp") as directory:
        _measure(run, Path(directory))
    seconds = time.monotonic() - started
    table.write(OUTPUT, run.rows, seconds, load, _versions())
    missed = sum(not goal.met for row in run.rows for goal in row.goals)
    print(f"\n{table.printed(run.rows)}\n")
    print(f"{seconds:.0f} s; {missed} goals missed; written to {OUTPUT.relative_to(ROOT)}")
    if load > 0.5:
        print(f"The machine was not idle before (load {load:.1f}): others' work is in these figures.")
    return 1 if run.failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, rough")
    parser.add_argument("only", nargs="*", metavar="MEASUREMENT", help=f"some of: {', '.join(MEASUREMENTS)}")
    options = parser.parse_args()
    unheard = sorted(set(options.only) - set(MEASUREMENTS))
    if unheard:
        parser.error(f"there is no measurement {unheard[0]}; there are {', '.join(MEASUREMENTS)}")
    return options


def _measure(run: Run, directory: Path) -> None:
    with backend(directory) as port:
        if run.wants(*_SMALL):
            _small(run, directory, port)
        if run.wants(*_LARGE):
            _large(run, directory, port)
    run.add("relay", lambda: relay.measure(directory / "relay", run.size.rounds))
    run.add("openstack", lambda: openstack.measure(directory / "openstack", 10_000, run.size.rounds + 2))
    run.add("tunnels", lambda: tunnels.measure(directory / "tunnels", run.size.rounds))
    run.add("telling", lambda: telling.measure(run.size.rounds))
    run.add("sites", lambda: sites.measure(run.size.rounds))
    run.add("gateways", lambda: gateways.measure(directory / "gateways", run.size.rounds))


def _small(run: Run, directory: Path, port: int) -> None:
    with edgeward(directory / "edgeward", port) as ours:
        empty_mb = rss_mb(ours.parts["envoy"])
        if run.wants("handshake", "request"):
            _beside_peers(run, directory, port, ours)
        run.add("issuance", partial(issuance.measure, ours, run.size.first_visits))
        if run.wants("stored", "memory", "unknown", "hostile"):
            _with_many_names(run, ours, empty_mb)


def _large(run: Run, directory: Path, port: int) -> None:
    """Measure what has an installation of its own, so that nothing else is in its figures."""
    size = run.size
    run.add("renewals", lambda: renewals.measure(directory, run.size.planned))
    run.add("root", lambda: root.measure(directory / "root", 1000))
    run.add("start", lambda: start.measure(directory / "start", port, size.rounds + 2))
    run.add("tier", lambda: tier.measure(directory / "redis", min(size.domains, 20_000)))
    if run.wants("change"):
        with edgeward(directory / "changed", port) as ours:
            place = directory / "change"
            place.mkdir()
            run.add("change", lambda: change.measure(ours, place, port, size.sites, min(size.changes, 20)))
    if run.wants("fleet"):
        with edgeward(directory / "many", port) as ours:
            place = directory / "fleet"
            place.mkdir()
            run.add("fleet", lambda: fleet.measure(ours, place, size.nodes, min(size.changes, 50)))
    if run.wants("ordering"):
        place = directory / "ordering"
        place.mkdir()
        run.add("ordering", lambda: ordering.measure(place, port, size.ordered, size.ordered_by_caddy))
    if run.wants("scale"):
        with edgeward(directory / "scaled", port) as ours:
            wanted = size.domains, size.certificates, size.changes
            run.add("scale", lambda: scale.measure(ours, directory, port, *wanted))


def _beside_peers(run: Run, directory: Path, port: int, ours: Edgeward) -> None:
    size = run.size
    scene = Scene(directory, material(directory, NAME), port)
    with peers(scene) as (running, missing):
        contenders: list[Contender] = [*running, ours]
        run.add("handshake", lambda: handshake.measure(contenders, missing, size.rounds, size.handshakes))
        if run.wants("request"):
            with edgeward(directory / "logging", port, access_log="stdout") as logging:
                all_of_them = [*contenders, ours.by_wildcard(), logging]
                run.add("request", lambda: request.measure(all_of_them, missing, size.rounds, size.requests))


def _with_many_names(run: Run, ours: Edgeward, empty_mb: float) -> None:
    size = run.size
    names = [f"n{number:05}.{EAGER}" for number in range(size.certificates)]
    run.attempt("eager", lambda: _declared(ours, names))
    if run.failed:
        return
    run.add("stored", lambda: stored.measure(ours, names[: size.new_names]))
    if run.wants("memory", "unknown"):
        run.attempt("memory", lambda: memory.measure(ours, names, empty_mb))
    flood = names[-100:], size.unknown_names, size.unknown_seconds
    run.add("unknown", lambda: unknown.measure(ours, *flood))
    run.add("hostile", lambda: hostile.measure(ours, *flood))


def _declared(ours: Edgeward, names: Sequence[str]) -> list[Row]:
    began = time.monotonic()
    ours.declare(names, 120)
    took = time.monotonic() - began
    note = f"{len(names):,} in {took:.1f} s, all on the node's disk"
    return [Row("eager domains, declared at once", "Edgeward", len(names) / took, "/s", note)]


def _versions() -> dict[str, str]:
    asked = {"nginx": ("nginx", "-v"), "HAProxy": ("haproxy", "-v"), "h2load": ("h2load", "--version")}
    found = {}
    for label, (name, flag) in asked.items():
        binary = program(name)
        if binary:
            told = subprocess.run([binary, flag], capture_output=True, text=True, timeout=10)
            found[label] = (told.stdout + told.stderr).strip().splitlines()[0]
    return found


if __name__ == "__main__":
    sys.exit(main())
