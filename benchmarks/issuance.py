"""How long the first visitor of a name waits: its certificate is issued, locally, at the handshake."""

from __future__ import annotations

from benchmarks.edgeward import ON_DEMAND, Edgeward
from benchmarks.table import Row
from benchmarks.visits import Visits, visit

WHAT = "first handshake of a name, certificate issued in it"


def measure(edgeward: Edgeward, count: int) -> list[Row]:
    before = edgeward.cpu()
    names = [f"first-{n}.{ON_DEMAND}" for n in range(count)]
    told = visit(Visits(edgeward.port, names, threads=1, ca=edgeward.ca))
    if told.failed:
        raise RuntimeError(f"{told.failed} first handshakes failed: {told.first_failure}")
    spent = {part: 1e3 * (cpu - before[part]) / count for part, cpu in edgeward.cpu().items()}
    cpu = "CPU a name: " + ", ".join(f"{p} {spent[p]:.1f} ms" for p in ("envoy", "node", "controller"))
    return [
        Row(WHAT, "Edgeward, p50", told.percentile(0.5), "ms", f"{count} names one after the other"),
        Row(WHAT, "Edgeward, p99", told.percentile(0.99), "ms", cpu),
    ]
