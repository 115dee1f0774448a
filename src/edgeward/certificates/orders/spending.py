"""What was spent of authorities' limits, and what they paused, in the database: it outlives a restart."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates.orders.limits import Book, Charge, Spent
from edgeward.certificates.problem import one_line
from edgeward.database.engine import Writing
from edgeward.database.schema import pauses, spendings

_ENDED: Final = delete(spendings).where(spendings.c.name == bindparam("order"), spendings.c.pending)


async def book(connection: AsyncConnection, now: float) -> Book:
    """Read all there is, once for each holder of the lease: who holds it is the only one who writes it."""
    spent = [
        Spent(Charge(row.account, row.scope, row.key), row.name, row.at, row.pending)
        for row in await connection.execute(select(spendings))
    ]
    paused = {
        Charge(row.account, row.scope, row.key): row.until
        for row in await connection.execute(select(pauses).where(pauses.c.until > now))
    }
    return Book(spent, paused)


async def begin(writing: Writing, charges: Mapping[str, Collection[Charge]], now: float) -> None:
    """Put down what orders that begin may use."""
    await _put(writing, charges, now, pending=True)


async def settle(writing: Writing, kept: Mapping[str, Collection[Charge]], now: float) -> None:
    """End what is under way for orders: what is ``kept`` was used now, at the latest; the rest never was."""
    await writing.connection.execute(_ENDED, [{"order": name} for name in kept])
    await _put(writing, kept, now, pending=False)


async def _put(
    writing: Writing, charges: Mapping[str, Collection[Charge]], now: float, *, pending: bool
) -> None:
    known = {"pending": pending, "at": now}
    rows = [{**_row(charge), "name": name, **known} for name, some in charges.items() for charge in some]
    if rows:
        await writing.connection.execute(insert(spendings), rows)


async def recover(writing: Writing, now: float) -> None:
    """End what was under way when somebody stopped: an order may have been made, no more; what is gone on
    with counts again.
    """
    made = (spendings.c.pending, spendings.c.scope == "orders")
    await writing.connection.execute(update(spendings).where(*made).values(pending=False, at=now))
    await writing.connection.execute(delete(spendings).where(spendings.c.pending))


async def pause(writing: Writing, until: Mapping[Charge, float], reason: str) -> None:
    for charge, end in until.items():
        await writing.connection.execute(delete(pauses).where(*_is(pauses, charge)))
        row = {**_row(charge), "until": end, "reason": one_line(reason)}
        await writing.connection.execute(insert(pauses), row)


async def sweep(writing: Writing, now: float, longest: float) -> None:
    """Forget what no window reaches back to, and pauses that ended."""
    old = (~spendings.c.pending, spendings.c.at < now - longest)
    await writing.connection.execute(delete(spendings).where(*old))
    await writing.connection.execute(delete(pauses).where(pauses.c.until <= now))


def _row(charge: Charge) -> dict[str, Any]:
    return {"account": charge.account, "scope": charge.scope, "key": charge.key}


def _is(table: Any, charge: Charge) -> tuple[Any, ...]:
    return (table.c.account == charge.account, table.c.scope == charge.scope, table.c.key == charge.key)
