"""What the audit logs of nodes' rootds ended with, each minute: kept where root of a node cannot reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from sqlalchemy import delete, insert, select

from edgeward.database import schema
from edgeward.database.engine import Database, Writing
from edgeward.declaration.feed import LogHead
from edgeward.errors import Unavailable
from edgeward.log import logger

_heads = schema.root_log_heads
_KEEP_SECONDS: Final = 30 * 86400.0
_MOST: Final = 50_000
_log = logger("edgeward.controller.nodes.root_logs")


class RootLogs:
    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._last: dict[str, LogHead] = {}

    async def note(self, node: str, head: LogHead | None) -> None:
        """Note a node's newest line. The first one said for a number stays: nobody can take it back."""
        if head is None or self._last.get(node) == head:
            return
        with suppress(Unavailable):  # it says the next one in a minute
            async with self._database.noting() as connection:
                query = select(_heads.c.hash).where(_heads.c.node == node, _heads.c.number == head.n)
                known = (await connection.execute(query)).scalar_one_or_none()
                if known is None:
                    row = {"node": node, "number": head.n, "hash": head.hash, "at": self._clock()}
                    await connection.execute(insert(_heads).values(row))
            self._last[node] = head
            if known not in (None, head.hash):
                _log.error("the audit log of a node's rootd is not the one it was", node=node, line=head.n)

    async def of(self, node: str) -> Mapping[int, str]:
        """Give the hashes by line number, of the last 30 days."""
        async with self._database.reading() as connection:
            query = select(_heads.c.number, _heads.c.hash).where(_heads.c.node == node)
            rows = (await connection.execute(query.order_by(_heads.c.number.desc()).limit(_MOST))).all()
        return {row.number: row.hash for row in rows}


async def forget(writing: Writing, node: str) -> None:
    """Forget a node's: it is set up anew, and its log begins anew."""
    await writing.connection.execute(delete(_heads).where(_heads.c.node == node))


async def sweep(writing: Writing, now: float) -> None:
    await writing.connection.execute(delete(_heads).where(_heads.c.at < now - _KEEP_SECONDS))
