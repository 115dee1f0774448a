"""How long to wait before a dead program is started again."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST = 10.0
STEADY = 30.0


@dataclass(frozen=True)
class Backoff:
    """Deaths in a row: 0, 0.5, 1, 2, 4, 8, 10, 10 … seconds; whoever ran for 30 s starts from 0 again."""

    deaths: int = 0

    def after_death(self, ran_seconds: float) -> Backoff:
        """Give the backoff that counts one more death of a program that ran this long."""
        return Backoff(1 if ran_seconds >= STEADY else self.deaths + 1)

    @property
    def delay(self) -> float:
        """Seconds to wait before the next start."""
        if self.deaths <= 1:
            return 0.0
        return min(LONGEST, 0.5 * 2.0 ** min(self.deaths - 2, 10))
