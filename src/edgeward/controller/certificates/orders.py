"""The use cases on orders: what waits for certificates, and how far that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from edgeward.access.decide import require
from edgeward.access.model import Principal, Right
from edgeward.certificates.orders import queue
from edgeward.certificates.orders.model import Queued, Sought
from edgeward.certificates.orders.progress import Progress, progress
from edgeward.certificates.policy import Policy
from edgeward.certificates.renewal.outlook import Outlook, outlook
from edgeward.controller.declared.rights import visible
from edgeward.database.engine import Database
from edgeward.domain_name import normalise_pattern, printable
from edgeward.errors import Invalid, NotFound


class Orders:
    """What ``api.orders`` calls."""

    def __init__(self, database: Database, policy: Callable[[], Policy], clock: Callable[[], float]) -> None:
        self._database = database
        self._policy = policy
        self._clock = clock
        self._planning = asyncio.Lock()

    async def listed(self, who: Principal, sought: Sought, limit: int, after: str | None) -> Sequence[Queued]:
        sought = sought.within(visible(who, sought.project))
        async with self._database.reading() as connection:
            return await queue.listed(connection, sought, limit, after)

    async def found(self, who: Principal, name: str) -> Queued:
        try:
            canonical = normalise_pattern(name)
            async with self._database.reading() as connection:
                found = (await queue.states(connection, [canonical])).get(canonical)
        except Invalid:
            found = None
        if found is None or not who.sees(found.project):
            raise NotFound(f"there is no order for {printable(name)}: it is done, or nobody waits for it")
        return found

    async def outlook(self, who: Principal) -> Outlook:
        """Plan all renewals there are; one at a time, for it takes seconds where there are a million."""
        require(who, Right.SURVEY)
        async with self._planning, self._database.reading() as connection:
            return await outlook(connection, self._policy().issuer, self._clock())

    async def progress(self, who: Principal, project: str | None) -> Progress:
        project = visible(who, project)
        async with self._database.reading() as connection:
            return await progress(
                connection, self._policy().issuer, self._clock(), project, whole=who.everywhere
            )
