"""What nodes answer authorities with, as stored: any controller puts it up, any node answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.database.schema import challenges

_MOST: Final = 5000


@dataclass(frozen=True)
class Answer:
    """``key`` is what the authority asks for: the token (http-01) or the name itself (tls-alpn-01);
    ``value`` is the key authorization (RFC 8555 8.1).
    """

    type: str
    key: str
    value: str


async def answers(connection: AsyncConnection, now: float) -> list[Answer]:
    """Give what may be asked for now; of very many those that were put up last."""
    columns = challenges.c
    query = select(columns.type, columns.key, columns.value).where(columns.expires > now)
    rows = await connection.execute(query.order_by(columns.expires.desc()).limit(_MOST))
    return [Answer(row.type, row.key, row.value) for row in rows]
