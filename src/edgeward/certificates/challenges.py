"""What nodes answer authorities with, as stored: any controller puts it up, any node answers."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.database.schema import challenges


async def value(connection: AsyncConnection, kind: str, key: str, now: float) -> str | None:
    """Give the key authorization (RFC 8555 8.1) of a challenge; None where there is none, or none any more.

    ``key`` is what the authority asks for: the token (http-01) or the name itself (tls-alpn-01).
    """
    query = select(challenges.c.value).where(
        challenges.c.type == kind, challenges.c.key == key, challenges.c.expires > now
    )
    found: str | None = (await connection.execute(query)).scalar_one_or_none()
    return found
