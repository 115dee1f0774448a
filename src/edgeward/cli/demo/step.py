"""What a step of the demo is, and what it gives: rows of what it did and measured, or what went wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from edgeward.cli.demo.world import World


class Wrong(Exception):
    """What should have happened did not."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    result: str
    measured: str


Step = Callable[[World], Awaitable[list[Row]]]


def expect(holds: bool, otherwise: str) -> None:
    """Raise Wrong with the sentence where it does not hold."""
    if not holds:
        raise Wrong(otherwise)


def in_milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def in_seconds(seconds: float) -> str:
    return f"{seconds:.2f} s"
