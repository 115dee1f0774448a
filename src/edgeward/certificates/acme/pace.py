"""How long to wait before asking again how far something is: short at first, then longer and longer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_FIRST: Final = 0.05
_GROWTH: Final = 1.6
_LONGEST: Final = 10.0
_MOST_ASKED_FOR: Final = 120.0


def pauses(patience: float) -> Iterator[float]:
    """Give pauses, in seconds, that add up to ``patience``."""
    pause, left = _FIRST, patience
    while left > 0:
        yield min(pause, left)
        left -= pause
        pause = min(pause * _GROWTH, _LONGEST)


def obeying(pause: float, retry_after: float | None) -> float:
    """Give the pause an authority asked for where that is longer; nobody is waited for endlessly."""
    return max(pause, min(retry_after or 0.0, _MOST_ASKED_FOR))
