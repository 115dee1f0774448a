"""Orders to drop every copy of a name, in the database: nodes find them when they catch up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.database.engine import Writing
from edgeward.database.schema import counter, expirations

EVERY_NAME: Final = "*"


@dataclass(frozen=True)
class Expiration:
    """An order to drop every copy of a name, or of all with ``*``."""

    name: str
    revision: int


async def since(connection: AsyncConnection, after: int) -> list[Expiration]:
    """Give the orders to drop copies after a revision, oldest first."""
    order = expirations.c
    query = select(order.name, order.revision).where(order.revision > after).order_by(order.revision)
    return [Expiration(row.name, row.revision) for row in await connection.execute(query)]


async def expire(writing: Writing, name: str, now: float) -> int:
    """Order every copy of a name (or of all, ``*``) to be dropped, and give the order's revision."""
    revision = await writing.next_revision()
    await writing.connection.execute(delete(expirations).where(expirations.c.name == name))
    await writing.connection.execute(insert(expirations).values(name=name, revision=revision, at=now))
    return revision


async def sweep(writing: Writing, before: float) -> None:
    """Forget old orders: a node away for that long starts over (``floor``)."""
    old = expirations.c.at < before
    swept = (await writing.connection.execute(select(func.max(expirations.c.revision)).where(old))).scalar()
    if swept is not None:
        await writing.connection.execute(delete(expirations).where(old))
        await writing.connection.execute(update(counter).where(counter.c.floor < swept).values(floor=swept))
