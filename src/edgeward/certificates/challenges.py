"""What authorities ask the nodes for, as stored: any controller places it, any node answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from sqlalchemy import delete, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.database import schema
from edgeward.database.engine import Writing

_challenges = schema.challenges
Type = Literal["http-01", "tls-alpn-01"]


@dataclass(frozen=True)
class Placed:
    """``key`` is what the authority will ask for: the token (http-01) or the name itself (tls-alpn-01);
    ``value`` is the key authorization (RFC 8555 8.1). ``expires`` is in Unix seconds.
    """

    type: Type
    key: str
    name: str
    value: str
    expires: float


async def place(writing: Writing, placed: Iterable[Placed], now: float) -> None:
    """Have these answered from now on, in place of others of the same keys; forget what has expired."""
    rows = [asdict(one) for one in placed]
    await writing.connection.execute(delete(_challenges).where(_challenges.c.expires <= now))
    await remove(writing, ((row["type"], row["key"]) for row in rows))
    if rows:
        await writing.connection.execute(insert(_challenges), rows)


async def remove(writing: Writing, keys: Iterable[tuple[str, str]]) -> None:
    """Have these (type and key) answered no more."""
    wanted = list(keys)
    if wanted:
        these = tuple_(_challenges.c.type, _challenges.c.key).in_(wanted)
        await writing.connection.execute(delete(_challenges).where(these))


async def value(connection: AsyncConnection, kind: str, key: str, now: float) -> str | None:
    """Give what a challenge is answered with; None where it is not to be answered."""
    query = select(_challenges.c.value).where(
        _challenges.c.type == kind, _challenges.c.key == key, _challenges.c.expires > now
    )
    found: str | None = (await connection.execute(query)).scalar_one_or_none()
    return found
