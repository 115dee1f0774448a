"""Server CPU of a full TLS 1.3 handshake, ECDSA P-256; Edgeward's certificate is on demand and resident."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers import Contender
from benchmarks.rounds import by_turns
from benchmarks.table import NOT_INSTALLED, Goal, Row, ratio_goals
from benchmarks.visits import Visits, visit

WHAT = "full ECDSA handshake, CPU"
_LIMITS = (("nginx", 0.8), ("Caddy", 1.05))


def measure(contenders: Sequence[Contender], missing: Sequence[str], rounds: int, count: int) -> list[Row]:
    def drive(contender: Contender, warming: bool) -> int:
        names = [contender.name] * (50 if warming else count)
        told = visit(Visits(contender.port, names))
        if told.failed:
            raise RuntimeError(f"{contender.label}: {told.failed} handshakes failed: {told.first_failure}")
        return told.count

    costs = by_turns(contenders, rounds, drive)
    figures = {label: c.median for label, c in costs.items()}
    return [
        *(Row(WHAT, label, NOT_INSTALLED) for label in missing),
        *(
            Row(WHAT, label, c.median, "µs", c.note, _goals(label, figures))
            for label, c in costs.items()
        ),
    ]  # fmt: skip


def _goals(label: str, figures: dict[str, float]) -> tuple[Goal, ...]:
    return ratio_goals(figures[label], _LIMITS, figures) if label == "Edgeward" else ()
