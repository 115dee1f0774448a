"""INSERT with ``on_conflict_do_…``: both databases have it, SQLAlchemy has it in each dialect for itself."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection


def insert(connection: AsyncConnection, table: Table) -> Any:
    if connection.dialect.name == "sqlite":  # imported here, so that the other one is not loaded at all
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)
