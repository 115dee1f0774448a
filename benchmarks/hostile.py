"""A flood of names below a suffix on demand: what its budget lets through, and what visitors notice of it."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.edgeward import Edgeward
from benchmarks.flood import Flood
from benchmarks.table import Goal, Row
from benchmarks.unknown import together

WHAT = "flood of names on demand"
_SUFFIX = "hostile.bench.example"
_SOURCE = "file:bench-hostile.yaml"
_BUDGET = 500


def measure(edgeward: Edgeward, known: Sequence[str], count: int, seconds: float) -> list[Row]:
    """Flood with at most ``count`` names for at most ``seconds`` while resident names are visited."""
    domain = {"name": f"*.{_SUFFIX}", "on_demand": True, "new_names": _BUDGET}
    edgeward.ask("POST", "/v1/apply", {"source": _SOURCE, "document": {"version": 1, "domains": [domain]}})
    before, cpu = edgeward.certificates(), edgeward.cpu()
    flooded, told = together(edgeward, known, Flood(edgeward.port, count, seconds, suffix=_SUFFIX))
    made = edgeward.certificates() - before
    spent = {part: used - cpu[part] for part, used in edgeward.cpu().items()}
    answered = flooded.refused + flooded.served
    shares = ", ".join(
        f"{part} {100 * spent[part] / flooded.seconds:.0f}%" for part in ("envoy", "node", "controller")
    )
    return [
        Row(WHAT, f"Edgeward, certificates made of {_BUDGET} allowed", made, "",
            f"{answered:,} names answered in {flooded.seconds:.0f} s, {flooded.unanswered} not",
            (Goal(made, _BUDGET),)),
        Row(WHAT, "Edgeward, known names' p99", told.percentile(0.99), "ms",
            f"p50 {told.percentile(0.5):.1f} ms, {told.count} visits, {told.failed} failed",
            (Goal(told.percentile(0.99), 50), *([Goal(told.failed, 0)] if told.failed else []))),
        Row(WHAT, "Edgeward, names a second", answered / flooded.seconds, "", f"of one CPU: {shares}"),
    ]  # fmt: skip
