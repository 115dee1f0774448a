"""Envoy's memory with all its certificates resident."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.edgeward import Edgeward
from benchmarks.processes import rss_mb, until
from benchmarks.table import Goal, Row
from benchmarks.visits import Visits, visit

_FULL = 10_000
_MOST_MB = 200.0


def measure(edgeward: Edgeward, names: Sequence[str], empty_mb: float) -> list[Row]:
    """Visit every name once; ``empty_mb`` is what Envoy took before any certificate.

    The goal is for 10,000 certificates; with fewer, the share of each is carried on to as many.
    """
    told = visit(Visits(edgeward.port, names))
    if told.failed:
        raise RuntimeError(f"{told.failed} handshakes failed: {told.first_failure}")
    goal = min(len(names), _FULL)
    until(lambda: _resident(edgeward) >= goal, 20, f"{goal} resident certificates", edgeward.process.check)
    time.sleep(1.0)
    count, full = _resident(edgeward), rss_mb(edgeward.parts["envoy"])
    each_kb = 1024 * (full - empty_mb) / count
    note = f"{count:,} resident, {empty_mb:.0f} MB without any, {each_kb:.1f} KB each"
    carried = full if count >= _FULL else empty_mb + _FULL * each_kb / 1024
    rows = [
        Row("Envoy's memory, 10,000 resident", "Edgeward", carried, "MB", note, (Goal(carried, _MOST_MB),))
    ]
    node = rss_mb(edgeward.parts["node"])
    return [*rows, Row("Envoy's memory, 10,000 resident", "Edgeward, node beside it", node, "MB")]


def _resident(edgeward: Edgeward) -> int:
    return int(edgeward.cache()["tiers"]["resident"]["size"])
