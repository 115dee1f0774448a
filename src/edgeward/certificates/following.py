"""Which names' certificates changed or went since a revision, for who keeps copies outside of nodes."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates import store
from edgeward.database.schema import certificates, counter

_columns = certificates.c
_ECDSA = _columns.algorithm == "ecdsa"


async def names_after(connection: AsyncConnection, after: str, limit: int) -> list[str]:
    """Give names in their order, those behind ``after``."""
    query = select(_columns.name).where(_columns.name > after, _ECDSA).order_by(_columns.name).limit(limit)
    return list((await connection.execute(query)).scalars())


async def names_changed(connection: AsyncConnection, since: int, limit: int) -> tuple[list[str], int | None]:
    """Give the names whose certificates changed, moved or were to be dropped after a revision, ``*`` among
    them where all were; and up to which revision this looked: None where at all there is.
    """
    upto = await store.changes_end(connection, since, limit)
    query = select(_columns.name).where(_columns.placed > since, _ECDSA)
    orders = await store.expirations_since(connection, since)
    if upto is not None:
        query = query.where(_columns.placed <= upto)
        orders = [order for order in orders if order.revision <= upto]
    names = dict.fromkeys(
        (await connection.execute(query.order_by(_columns.placed, _columns.name))).scalars()
    )
    names.update(dict.fromkeys(order.name for order in orders))
    return list(names), upto


async def store_and_floor(connection: AsyncConnection) -> tuple[str, int]:
    """Give the identity of the store, and the revision below which orders to drop were forgotten."""
    row = (await connection.execute(select(counter.c.store, counter.c.floor))).one()
    return row.store, row.floor
