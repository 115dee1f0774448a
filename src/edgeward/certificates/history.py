"""The history of names: what became of their orders, and what people brought or took away; bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import delete, func, insert, select

from edgeward.database.engine import Writing
from edgeward.database.schema import issuances

_SECONDS: Final = 400 * 86400.0
_MOST: Final = 1_000_000
_LONGEST_PROBLEM: Final = 500


@dataclass(frozen=True)
class Happened:
    """One line of a name's history. ``seconds``: from queued to done; ``who``: a person who did it."""

    name: str
    project: str
    issuer: str
    at: float
    outcome: str
    who: str | None = None
    seconds: float | None = None
    fingerprint: str | None = None
    problem: str | None = None


async def record(writing: Writing, lines: Sequence[Happened]) -> None:
    if lines:
        rows = [asdict(line) for line in lines]
        for row in rows:
            row["problem"] = row["problem"] and row["problem"][:_LONGEST_PROBLEM]
        await writing.connection.execute(insert(issuances), rows)


async def sweep(writing: Writing, now: float) -> None:
    """Forget what is older than a year, and the oldest where there is too much."""
    await writing.connection.execute(delete(issuances).where(issuances.c.at < now - _SECONDS))
    newest = (await writing.connection.execute(select(func.max(issuances.c.id)))).scalar_one() or 0
    await writing.connection.execute(delete(issuances).where(issuances.c.id <= newest - _MOST))
