"""The history of names: what became of their orders, and what people brought or took away; bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates.problem import one_line
from edgeward.database.engine import Writing
from edgeward.database.schema import audit, issuances

_SECONDS: Final = 400 * 86400.0
_MOST: Final = 1_000_000
_WITHHELD: Final = {"create": "deactivated", "delete": "activated"}


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
            row["problem"] = row["problem"] and one_line(row["problem"])
        await writing.connection.execute(insert(issuances), rows)


async def sweep(writing: Writing, now: float) -> None:
    """Forget what is older than a year, and the oldest where there is too much."""
    await writing.connection.execute(delete(issuances).where(issuances.c.at < now - _SECONDS))
    newest = (await writing.connection.execute(select(func.max(issuances.c.id)))).scalar_one() or 0
    await writing.connection.execute(delete(issuances).where(issuances.c.id <= newest - _MOST))


async def of_name(connection: AsyncConnection, name: str, limit: int) -> Sequence[Happened]:
    """Give what happened to a name, the newest first."""
    own = issuances.c
    columns = [own[field] for field in Happened.__dataclass_fields__]
    query = select(*columns).where(own.name == name).order_by(own.id.desc()).limit(limit)
    lines = [Happened(*row) for row in await connection.execute(query)]
    lines += await _withheld(connection, name, limit)
    return sorted(lines, key=lambda line: line.at, reverse=True)[:limit]


async def _withheld(connection: AsyncConnection, name: str, limit: int) -> list[Happened]:
    did = audit.c
    query = select(did.project, did.at, did.action, did.who).where(did.kind == "withheld", did.name == name)
    rows = await connection.execute(query.order_by(did.id.desc()).limit(limit))
    shown = ((row, _WITHHELD.get(row.action)) for row in rows)
    return [Happened(name, row.project, "", row.at, what, row.who) for row, what in shown if what]
