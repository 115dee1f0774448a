"""Measures several servers by turns, so that what else the machine does falls on all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.peers import Contender


@dataclass
class Costs:
    """Microseconds of CPU for each visit, a figure for each round; ``parts`` sums all rounds."""

    label: str
    rounds: list[float] = field(default_factory=list)
    parts: dict[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def note(self) -> str:
        spread = f"rounds {min(self.rounds):.1f} to {max(self.rounds):.1f}" if len(self.rounds) > 1 else ""
        parts = ", ".join(f"{part} {cost / len(self.rounds):.1f}" for part, cost in self.parts.items())
        return "; ".join(filter(None, (parts, spread)))


def by_turns(
    contenders: Sequence[Contender], rounds: int, drive: Callable[[Contender, bool], int]
) -> dict[str, Costs]:
    """Drive each in each round; ``drive(contender, warming)`` gives how many visits it made."""
    for contender in contenders:
        drive(contender, True)
    costs = {c.label: Costs(c.label) for c in contenders}
    for number in range(rounds):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            found = costs[contender.label]
            before = contender.cpu()
            visits = drive(contender, False)
            spent = {part: 1e6 * (cpu - before[part]) / visits for part, cpu in contender.cpu().items()}
            found.rounds.append(spent.pop("all"))
            for part, cost in spent.items():
                found.parts[part] = found.parts.get(part, 0.0) + cost
    return costs
