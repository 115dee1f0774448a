"""Envoy's memory with all its certificates resident."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.edgeward import Edgeward
from benchmarks.processes import rss_mb, until
from benchmarks.table import Goal, Row
from benchmarks.visits import Visits, visit

WHAT = "memory with resident certificates"
_FULL = 10_000
_MOST_MB = 200.0


def measure(edgeward: Edgeward, names: Sequence[str], empty_mb: float) -> list[Row]:
    """Visit every name once; ``empty_mb`` is what Envoy took before any certificate."""
    told = visit(Visits(edgeward.port, names))
    if told.failed:
        raise RuntimeError(f"{told.failed} handshakes failed: {told.first_failure}")
    goal = min(len(names), _FULL)
    until(lambda: _resident(edgeward) >= goal, 20, f"{goal} resident certificates", edgeward.process.check)
    time.sleep(1.0)
    count, full = _resident(edgeward), rss_mb(edgeward.parts["envoy"])
    each_kb = 1024 * (full - empty_mb) / count
    note = f"{count:,} resident, {empty_mb:.0f} MB without any, {each_kb:.1f} KB each"
    goals = (Goal(full, _MOST_MB),) if count >= _FULL else ()
    return [
        Row(WHAT, "Edgeward, Envoy", full, "MB", note, goals),
        Row(WHAT, "Edgeward, node", rss_mb(edgeward.parts["node"]), "MB"),
    ]


def _resident(edgeward: Edgeward) -> int:
    return int(edgeward.cache()["tiers"]["resident"]["size"])
