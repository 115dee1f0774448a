"""The use case on challenges: what nodes answer authorities with."""

from __future__ import annotations

from collections.abc import Callable

from edgeward.access.model import Principal
from edgeward.certificates import challenges
from edgeward.database.engine import Database
from edgeward.errors import NotFound


class Challenges:
    """What ``api.challenges`` calls."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    async def answered(self, who: Principal, kind: str, key: str) -> str:
        """Give the key authorization to a node; the face has seen that it is one."""
        async with self._database.reading() as connection:
            value = await challenges.value(connection, kind, key, self._clock())
        if value is None:
            raise NotFound("there is no such challenge")
        return value
