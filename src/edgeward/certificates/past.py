"""The history of a name, read: what became of its orders, and what people brought, took away or withheld."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates.history import Happened
from edgeward.database.schema import audit, issuances

_WITHHELD = {"create": "deactivated", "delete": "activated"}


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
