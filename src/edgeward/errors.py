"""The five kinds of error that cross module borders; only a face turns one into a status code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing wrong with an input: where it is, what is wrong and what would be right.

    ``field`` is a dotted path as people write it (``services[1].backends[0].url``); ``line`` counts
    from 1 and is None where the input had no lines; ``object`` names the declared object it is about
    (``services/default/shop``).
    """

    field: str
    message: str
    line: int | None = None
    file: str | None = None
    object: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file and self.line else ""
        return f"{place}{self.field}: {self.message}" if self.field else f"{place}{self.message}"


class EdgewardError(Exception):
    """Never raised itself: its five subclasses are the kinds."""


class Invalid(EdgewardError):
    """The input is wrong; carries every problem found, not only the first."""

    def __init__(self, *problems: Problem | str) -> None:
        self.problems: Sequence[Problem] = tuple(
            p if isinstance(p, Problem) else Problem("", p) for p in problems
        )
        super().__init__("; ".join(str(p) for p in self.problems))


class NotFound(EdgewardError):
    """What was named does not exist, or the asker must not know that it does."""


class Conflict(EdgewardError):
    """Somebody else's change or object stands in the way; the message names it."""


class Refused(EdgewardError):
    """Understood, and not allowed: by a role, a policy or a limit."""


class Unavailable(EdgewardError):
    """Something outside did not answer, or not in time; trying again may help."""
