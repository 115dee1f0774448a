"""How many names below a wildcard on demand may have certificates: strangers choose these names."""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates import summaries
from edgeward.certificates.model import Domain
from edgeward.domain_name import CATCH_ALL
from edgeward.errors import Refused
from edgeward.log import logger

_COUNT_AGAIN: Final = 3600.0
_COUNT_AGAIN_FULL: Final = 60.0
_log = logger("edgeward.certificates.on_demand.quota")


class Quota:
    """Counts in the store, then as it is told; again each hour, and each minute where nothing is left."""

    def __init__(self) -> None:
        self._counted: dict[str, tuple[int, float]] = {}

    async def take(self, connection: AsyncConnection, name: str, domain: Domain, now: float) -> None:
        """Take a place below the domain for a name, unless it has one; raises Refused where none is left."""
        if not domain.many:
            return
        taken, at = self._counted.get(domain.name, (0, float("-inf")))
        full = taken >= domain.most_names
        if not 0 <= now - at < (_COUNT_AGAIN_FULL if full else _COUNT_AGAIN):
            taken, at = await _count(connection, domain), now
            full = taken >= domain.most_names
            if full:
                _log.warning("no new names below a domain", domain=domain.name, names=taken)
        self._counted[domain.name] = (taken if full else taken + 1, at)
        if full and not await summaries.holds(connection, name):
            raise Refused(
                f"{domain.most_names} names below {domain.name} have certificates already; raise most_names"
            )


async def _count(connection: AsyncConnection, domain: Domain) -> int:
    if domain.name == CATCH_ALL:
        return (await summaries.counts(connection, 0.0, domain.project))["total"]
    return await summaries.count_below(connection, domain.name)
