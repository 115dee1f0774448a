"""How many names below a wildcard on demand may have certificates: strangers choose these names."""

from __future__ import annotations

from dataclasses import dataclass, field
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


@dataclass
class _Counted:
    """How many names were in the store, when, and which have taken a place since."""

    number: int
    at: float
    since: set[str] = field(default_factory=set)

    def full(self, domain: Domain) -> bool:
        return self.number + len(self.since) >= domain.most_names


class Quota:
    """Counts in the store, then as it is told; again each hour, and each minute where nothing is left.

    ``check`` whether there is a place for a name, and ``take`` it once it may have a certificate: what is
    refused to strangers takes nobody's place, and a name that is tried again takes one only.
    """

    def __init__(self) -> None:
        self._counted: dict[str, _Counted] = {}

    async def check(self, connection: AsyncConnection, name: str, domain: Domain, now: float) -> None:
        """Raise Refused where there is no place below the domain for a name that has none."""
        if not domain.many:
            return
        counted = self._counted.get(domain.name)
        if counted is None or not 0 <= now - counted.at < _again(counted, domain):
            counted = self._counted[domain.name] = _Counted(await _count(connection, domain), now)
            if counted.full(domain):
                _log.warning("no new names below a domain", domain=domain.name, names=counted.number)
        if not counted.full(domain) or name in counted.since:
            return
        if not await summaries.holds(connection, name):
            raise Refused(
                f"{domain.most_names} names below {domain.name} have certificates already; raise most_names"
            )

    def take(self, name: str, domain: Domain) -> None:
        """Count a name that was checked."""
        if domain.many:
            self._counted[domain.name].since.add(name)


def _again(counted: _Counted, domain: Domain) -> float:
    return _COUNT_AGAIN_FULL if counted.full(domain) else _COUNT_AGAIN


async def _count(connection: AsyncConnection, domain: Domain) -> int:
    if domain.name == CATCH_ALL:
        return (await summaries.counts(connection, 0.0, domain.project))["total"]
    return await summaries.count_below(connection, domain.name)
