"""The keys that records are sealed with, wrapped; one seals, others wait or are retired and still open.

A new key waits until every controller holds it: nobody may seal with what another one cannot open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.database import schema
from edgeward.database.engine import Database, Writing
from edgeward.errors import Invalid
from edgeward.sealing import Seal, id_of, new_key
from edgeward.wrapping import Wrapping

_DIGEST: Final = "digest"
"""Makes the digests of declared secrets; the same for ever, or nothing would be equal any more."""
_KEY_ID: Final = slice(1, 9)
_table = schema.seal_keys


@dataclass(frozen=True)
class SealKey:
    """One key of the store. Times are Unix seconds; ``active`` None: it waits."""

    id: str
    wrapped_by: str
    created: float
    active: float | None
    retired: float | None
    resealed: float | None
    """Since when no older record is left; None: some may be."""


async def fresh(database: Database) -> bool:
    """Say whether nothing in the store was sealed yet."""
    async with database.reading() as connection:
        return await _direct_id(connection) is None and not await _rows(connection)


async def load(database: Database, wrapping: Wrapping, now: float) -> Seal:
    """Give the seal with every key of the store, made at the first start; safe against races.

    A store whose records were sealed with the wrapping key itself goes on with that until the next rotation.
    Raises Invalid with the remedy where its keys do not open.
    """
    async with database.reading() as connection:
        rows = await _rows(connection)
    if not rows:
        async with database.writing() as writing:
            if not await _rows(writing.connection):
                await _begin(writing.connection, wrapping, now)
            rows = await _rows(writing.connection)
    seal = Seal(new_key())
    _hold(seal, wrapping, rows)
    return seal


async def refresh(connection: AsyncConnection, wrapping: Wrapping, seal: Seal) -> list[SealKey]:
    """Have the seal hold what the store holds now; give the keys, the oldest first."""
    rows = await _rows(connection)
    if rows:
        _hold(seal, wrapping, rows)
    return _shown(rows)


async def keys(connection: AsyncConnection) -> list[SealKey]:
    """Give the keys, the oldest first."""
    return _shown(await _rows(connection))


async def rotate(writing: Writing, wrapping: Wrapping, now: float) -> str:
    """Make a new key that waits, or find one, and give its id; all are wrapped with the present wrapping
    key.
    """
    rows = await _rows(writing.connection)
    for row in rows:
        if row.wrapped_by != wrapping.id:
            key = wrapping.unwrap(row.wrapped, row.wrapped_by, row.id)
            again = {"wrapped": wrapping.wrap(key, row.id), "wrapped_by": wrapping.id}
            await writing.connection.execute(update(_table).where(_table.c.id == row.id).values(again))
    waiting = [row.id for row in rows if row.id != _DIGEST and row.active is None]
    return waiting[0] if waiting else await _add(writing.connection, wrapping, new_key(), now, active=None)


async def activate(writing: Writing, key_id: str, now: float) -> None:
    """Have records sealed with a key that waited, and all others retire."""
    active = _table.c.active.is_not(None) & _table.c.retired.is_(None) & (_table.c.id != _DIGEST)
    await writing.connection.execute(update(_table).where(active).values(retired=now))
    await writing.connection.execute(update(_table).where(_table.c.id == key_id).values(active=now))


async def resealed(writing: Writing, key_id: str, now: float) -> None:
    """Write down that no older record is left."""
    await writing.connection.execute(update(_table).where(_table.c.id == key_id).values(resealed=now))


async def _begin(connection: AsyncConnection, wrapping: Wrapping, now: float) -> None:
    direct = await _direct_id(connection)
    key = new_key() if direct is None else wrapping.direct(direct)
    if key is None:
        raise Invalid(
            f"what the database holds was sealed with another key than those of {wrapping.places}; copy that"
            " of another controller, or restore the one it was sealed with from your backup"
        )
    resealed = now if direct is None else None
    await _add(connection, wrapping, key, now, active=now, resealed=resealed)
    await _add(connection, wrapping, new_key(), now, active=now, key_id=_DIGEST)


async def _add(
    connection: AsyncConnection,
    wrapping: Wrapping,
    key: bytes,
    now: float,
    *,
    active: float | None,
    key_id: str | None = None,
    resealed: float | None = None,
) -> str:
    key_id = key_id or id_of(key).hex()
    wrapped = {"wrapped": wrapping.wrap(key, key_id), "wrapped_by": wrapping.id}
    await connection.execute(
        insert(_table).values(id=key_id, created=now, active=active, resealed=resealed, **wrapped)
    )
    return key_id


async def _direct_id(connection: AsyncConnection) -> bytes | None:
    """Give the id of the key that sealed the local authority, the first thing any store seals."""
    record = (await connection.execute(select(schema.authorities.c.sealed_key).limit(1))).scalar()
    return None if record is None else bytes(record)[_KEY_ID]


async def _rows(connection: AsyncConnection) -> list[Row[Any]]:
    return list((await connection.execute(select(_table).order_by(_table.c.created, _table.c.id))).all())


def _hold(seal: Seal, wrapping: Wrapping, rows: list[Row[Any]]) -> None:
    opened = {row.id: wrapping.unwrap(row.wrapped, row.wrapped_by, row.id) for row in rows}
    digesting = opened.pop(_DIGEST)
    sealing = [row for row in rows if row.active is not None and row.retired is None and row.id in opened]
    key = opened.pop(max(sealing, key=lambda row: row.active).id)
    seal.hold(key, opened.values(), digesting)


def _shown(rows: list[Row[Any]]) -> list[SealKey]:
    return [
        SealKey(row.id, row.wrapped_by, row.created, row.active, row.retired, row.resealed)
        for row in rows
        if row.id != _DIGEST
    ]
