"""A flood of names nobody declared: what it costs, what it leaves behind, and what visitors notice of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.edgeward import Edgeward
from benchmarks.flood import Flood, Flooded
from benchmarks.processes import rss_mb
from benchmarks.table import Goal, Row
from benchmarks.visits import ROOT, Told, Visitor, Visits

WHAT = "flood of unknown names"
_KNOWN_RATE = 50.0


def measure(edgeward: Edgeward, known: Sequence[str], count: int, seconds: float) -> list[Row]:
    """Flood with at most ``count`` names for at most ``seconds`` while resident names are visited."""
    envoy = edgeward.parts["envoy"]
    certificates, memory, cpu = edgeward.certificates(), rss_mb(envoy), edgeward.cpu()
    flooded, told = together(edgeward, known, Flood(edgeward.port, count, seconds))
    spent = {part: used - cpu[part] for part, used in edgeward.cpu().items()}
    grown, made = rss_mb(envoy) - memory, edgeward.certificates() - certificates
    answered = flooded.refused + flooded.served
    shares = ", ".join(
        f"{part} {100 * used / flooded.seconds:.0f}%"
        for part, used in {
            "envoy": spent["envoy"], "node": spent["node"], "controller": spent["controller"],
            "flooding client": flooded.cpu_seconds, "probing client": told.cpu_seconds,
        }.items()
    )  # fmt: skip
    each = 1e6 * spent["all"] / max(1, answered)
    return [
        Row(WHAT, "Edgeward, certificates made", made + flooded.served, "",
            f"{answered:,} names refused in {flooded.seconds:.0f} s, {flooded.unanswered} not answered",
            (Goal(made + flooded.served, 0),)),
        Row(WHAT, "Edgeward, Envoy grows by", grown, "MB", f"{memory:.0f} MB before", (Goal(grown, 32),)),
        Row(WHAT, "Edgeward, known names' p99", told.percentile(0.99), "ms",
            f"p50 {told.percentile(0.5):.1f} ms, {told.count} visits, {told.failed} failed",
            (Goal(told.percentile(0.99), 50), *([Goal(told.failed, 0)] if told.failed else []))),
        Row(WHAT, "Edgeward, names a second", answered / flooded.seconds, "", f"of one CPU: {shares}"),
        Row(WHAT, "Edgeward, CPU a name", each, "µs"),
    ]  # fmt: skip


def together(edgeward: Edgeward, known: Sequence[str], flood: Flood) -> tuple[Flooded, Told]:
    """Run both; the flood is nice to all others, as one from elsewhere would be."""
    prober = Visitor(Visits(edgeward.port, known, _KNOWN_RATE, 8, edgeward.ca, endless=True), niceness=-5)
    try:
        done = subprocess.run(
            ["nice", "-n", "19", sys.executable, "-m", "benchmarks.flood"],
            input=json.dumps(asdict(flood)) + "\n",
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=flood.seconds + 60,
            check=True,
        )
    finally:
        told = prober.end()
    return Flooded(**json.loads(done.stdout)), told
