"""Seals anew what was sealed with a retired key: a few rows at a time, so that all others get their turn.

Nothing is kept of how far it came: what is done already begins with the present key's id, and is passed over.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Table, and_, bindparam, func, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates import store, tickets
from edgeward.certificates.acme import accounts
from edgeward.certificates.local import authority
from edgeward.certificates.orders import queue
from edgeward.database import schema
from edgeward.database.engine import Database
from edgeward.database.leases import Lease, held
from edgeward.declaration import secrets
from edgeward.declaration.store import json_text
from edgeward.errors import Invalid
from edgeward.kinds import KINDS
from edgeward.log import logger
from edgeward.sealing import Seal

AT_ONCE: Final = 200
_PAUSE: Final = 0.02
_log = logger("edgeward.controller.keys.resealing")

_Row = Mapping[str, Any]


@dataclass(frozen=True)
class Records:
    """A column of sealed records; ``context`` gives what a row's record is bound to."""

    column: Column[Any]
    context: Callable[[_Row], str]

    def among(self, seal: Seal) -> ColumnElement[bool]:
        return func.substr(self.column, 1, len(seal.prefix)) != seal.prefix

    def again(self, seal: Seal, row: _Row) -> bytes | None:
        """Give the record sealed with the present key; None where it is, or does not open."""
        context = self.context(row)
        try:
            return seal.seal(seal.open(bytes(row[self.column.name]), context), context)
        except Invalid as error:
            _log.error("a record cannot be opened, and stays as it is", reason=str(error))
            return None


@dataclass(frozen=True)
class Declared:
    """A column of JSON values, of kinds some of which have secrets."""

    column: Column[Any]

    def among(self, _seal: Seal) -> ColumnElement[bool]:
        kinds = [kind.name for kind in KINDS.values() if kind.secrets]
        return self.column.is_not(None) & self.column.table.c.kind.in_(kinds)

    def again(self, seal: Seal, row: _Row) -> str | None:
        before = json.loads(row[self.column.name])
        try:
            after = secrets.again(before, KINDS[row["kind"]], seal)
        except Invalid as error:
            _log.error("a declared secret cannot be opened, and stays as it is", reason=str(error))
            return None
        return None if after == before else json_text(after)


def _account(row: _Row) -> tuple[str, str, str]:
    return row["project"], row["issuer"], row["directory"]


PLACES: Final[Sequence[Records | Declared]] = (
    Records(schema.authorities.c.sealed_key, lambda row: authority.context(row["certificate"])),
    Records(schema.ticket_keys.c.sealed, lambda _row: tickets.CONTEXT),
    Records(schema.certificates.c.sealed_key, lambda row: store.context(row["name"], row["algorithm"])),
    Records(schema.orders.c.sealed_key, lambda row: queue.context(row["name"])),
    Records(schema.accounts.c.sealed_key, lambda row: accounts.context_at(_account(row))),
    Records(schema.accounts.c.sealed_next, lambda row: accounts.context_at(_account(row))),
    Declared(schema.objects.c.value),
    Declared(schema.audit.c.before),
    Declared(schema.audit.c.after),
)


async def reseal(database: Database, seal: Seal, lease: Lease | None = None) -> int:
    """Seal everything with the seal's present key and give how many records that took; raises Taken."""
    return sum([await _place(database, place, seal, lease) for place in PLACES])


async def older(database: Database, seal: Seal) -> int:
    """Count the records that are sealed with another key than the present one."""
    count = 0
    async with database.reading() as connection:
        for place in PLACES:
            if isinstance(place, Records):
                query = select(func.count()).select_from(place.column.table).where(place.among(seal))
                count += int((await connection.execute(query)).scalar_one())
                continue
            last: _Row | None = None
            while rows := await _page(connection, place, seal, last):
                count += sum(place.again(seal, row) is not None for row in rows)
                last = rows[-1]
    return count


async def _place(database: Database, place: Records | Declared, seal: Seal, lease: Lease | None) -> int:
    """Write each row's record anew where the row is still as it was read."""
    done, last = 0, None
    statement = _update(place.column)
    while True:
        async with database.reading() as connection:
            rows = await _page(connection, place, seal, last)
        writes = [
            {**_key(row, place.column), "was": row[place.column.name], "fresh": fresh}
            for row in rows
            if (fresh := place.again(seal, row)) is not None
        ]
        if writes:
            async with database.writing() as writing:
                await held(writing, lease)
                await writing.connection.execute(statement, writes)
        done += len(writes)
        if len(rows) < AT_ONCE:
            return done
        last = rows[-1]
        await asyncio.sleep(_PAUSE)


async def _page(
    connection: AsyncConnection, place: Records | Declared, seal: Seal, last: _Row | None
) -> Sequence[_Row]:
    """Give the next rows behind ``last`` that may have something to be sealed anew, in the order of keys."""
    key = list(place.column.table.primary_key)
    query = select(place.column.table).where(place.column.is_not(None), place.among(seal)).order_by(*key)
    if last is not None:
        query = query.where(tuple_(*key) > tuple_(*(literal(last[one.name], one.type) for one in key)))
    return [dict(row) for row in (await connection.execute(query.limit(AT_ONCE))).mappings()]


def _update(column: Column[Any]) -> Any:
    table = column.table
    assert isinstance(table, Table)
    same = (one == bindparam(f"k_{one.name}") for one in table.primary_key)
    return update(table).where(and_(*same), column == bindparam("was")).values({column: bindparam("fresh")})


def _key(row: _Row, column: Column[Any]) -> dict[str, Any]:
    return {f"k_{one.name}": row[one.name] for one in column.table.primary_key}
