"""Which names' certificates changed or went since a revision, for who keeps copies outside of nodes."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select, union
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates import expirations, store
from edgeward.database.schema import certificates, counter, objects, tombstones

_columns = certificates.c
_ECDSA = _columns.algorithm == "ecdsa"


async def names_after(connection: AsyncConnection, after: str, limit: int) -> list[str]:
    """Give names in their order, those behind ``after``."""
    query = select(_columns.name).where(_columns.name > after, _ECDSA).order_by(_columns.name).limit(limit)
    return list((await connection.execute(query)).scalars())


async def names_changed(connection: AsyncConnection, since: int, limit: int) -> tuple[list[str], int | None]:
    """Give the names whose certificates changed, moved, went or were to be dropped after a revision, or that
    were deactivated or activated, ``*`` among them where all were to be dropped; and up to which revision
    this looked: None where at all there is.
    """
    upto = await store.changes_end(connection, since, limit)
    query = select(_columns.name).where(_columns.placed > since, _ECDSA)
    orders = await expirations.since(connection, since)
    if upto is not None:
        query = query.where(_columns.placed <= upto)
        orders = [order for order in orders if order.revision <= upto]
    names = dict.fromkeys(
        (await connection.execute(query.order_by(_columns.placed, _columns.name))).scalars()
    )
    names.update(dict.fromkeys(order.name for order in orders))
    names.update(dict.fromkeys(await _withheld(connection, since)))
    gone = select(tombstones.c.name).where(tombstones.c.kind == "certificates", tombstones.c.revision > since)
    names.update(dict.fromkeys((await connection.execute(gone)).scalars()))
    return list(names), upto


async def _withheld(connection: AsyncConnection, since: int) -> Iterable[str]:
    """Give what was deactivated or activated after a revision, and the names below where it is a wildcard."""
    changed = union(
        *(
            select(table.c.name).where(table.c.kind == "withheld", table.c.revision > since)
            for table in (objects, tombstones)
        )
    )
    found = list((await connection.execute(changed)).scalars())
    for wildcard in [name for name in found if name.startswith("*.")]:
        below = _columns.name.like(f"%_{wildcard[1:]}")  # names have neither % nor _
        found += (await connection.execute(select(_columns.name).where(below, _ECDSA))).scalars()
    return found


async def store_and_floor(connection: AsyncConnection) -> tuple[str, int]:
    """Give the identity of the store, and the revision below which orders to drop were forgotten."""
    row = (await connection.execute(select(counter.c.store, counter.c.floor))).one()
    return row.store, row.floor
