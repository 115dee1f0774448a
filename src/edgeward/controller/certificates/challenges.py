"""The use case on challenges: what nodes answer authorities with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeward.access.model import Principal
from edgeward.certificates.acme import challenges
from edgeward.certificates.acme.challenges import Answer
from edgeward.database.engine import Database


class Challenges:
    """What ``api.challenges`` calls."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    async def answered(self, who: Principal) -> Sequence[Answer]:
        """Give them to a node; the face has seen that it is one."""
        async with self._database.reading() as connection:
            return await challenges.answers(connection, self._clock())
