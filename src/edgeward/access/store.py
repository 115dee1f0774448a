"""Tokens in the database: kept by hash, found by id."""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import Row, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.access.model import EVERY_PROJECT, Token
from edgeward.database import schema
from edgeward.database.engine import Writing
from edgeward.errors import Conflict
from edgeward.placement import read_labels

_tokens = schema.tokens
KEEP_DEAD_SECONDS: Final = 30 * 86400.0


async def add(writing: Writing, token: Token, kept_hash: str, now: float) -> None:
    """Keep a new token; a dead one of the same name makes room, a live one is a Conflict."""
    query = select(_tokens).where(_tokens.c.name == token.name)
    row = (await writing.connection.execute(query)).one_or_none()
    if row is not None:
        if alive(_token(row), now):
            raise Conflict(f"there is a token named '{token.name}' already; revoke it or choose another name")
        await writing.connection.execute(delete(_tokens).where(_tokens.c.id == row.id))
    fields = {name: getattr(token, name) for name in Token.__dataclass_fields__}
    fields["labels"] = None if token.labels is None else json.dumps(dict(token.labels))
    await writing.connection.execute(insert(_tokens).values(hash=kept_hash, **fields))


async def find(connection: AsyncConnection, token_id: str) -> tuple[Token, str] | None:
    """Give a token and the hash of its secret."""
    row = (await connection.execute(select(_tokens).where(_tokens.c.id == token_id))).one_or_none()
    return None if row is None else (_token(row), row.hash)


async def named(connection: AsyncConnection, id_or_name: str) -> Token | None:
    """Give the token of this id, else the one of this name."""
    query = select(_tokens).where(or_(_tokens.c.id == id_or_name, _tokens.c.name == id_or_name))
    found = [_token(row) for row in (await connection.execute(query)).all()]
    return min(found, key=lambda t: t.id != id_or_name, default=None)


async def listed(
    connection: AsyncConnection, *, project: str | None, limit: int, after: str | None = None
) -> list[Token]:
    """Give tokens in the order of their names; ``project`` None: of all projects."""
    query = select(_tokens).order_by(_tokens.c.name).limit(limit)
    if project is not None:
        query = query.where(_tokens.c.project == project)
    if after is not None:
        query = query.where(_tokens.c.name > after)
    return [_token(row) for row in (await connection.execute(query)).all()]


async def revoke(writing: Writing, token_id: str, now: float) -> None:
    statement = update(_tokens).where(_tokens.c.id == token_id, _tokens.c.revoked.is_(None))
    await writing.connection.execute(statement.values(revoked=now))


async def of_node(connection: AsyncConnection, node: str, now: float) -> list[Token]:
    """Give the live tokens bound to a node."""
    rows = (await connection.execute(select(_tokens).where(_tokens.c.node == node))).all()
    return [token for row in rows if alive(token := _token(row), now)]


async def has_governor(connection: AsyncConnection, now: float) -> bool:
    """Say whether anybody is left who may do everything."""
    query = select(_tokens).where(_tokens.c.role == "admin", _tokens.c.project == EVERY_PROJECT)
    return any(alive(_token(row), now) for row in (await connection.execute(query)).all())


async def sweep(writing: Writing, now: float) -> None:
    """Forget tokens that have been dead for 30 days."""
    limit = now - KEEP_DEAD_SECONDS
    dead = or_(_tokens.c.revoked < limit, _tokens.c.expires < limit)
    await writing.connection.execute(delete(_tokens).where(dead))


def alive(token: Token, now: float) -> bool:
    return token.revoked is None and (token.expires is None or token.expires > now)


def _token(row: Row[Any]) -> Token:
    fields = {name: getattr(row, name) for name in Token.__dataclass_fields__}
    return Token(**{**fields, "labels": None if row.labels is None else read_labels(row.labels)})
