"""The use cases of the facade: which certificate an OpenResty client gets, and when it is ordered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from edgeward.api.openresty.app import Ordering
from edgeward.certificates import store
from edgeward.certificates.model import Domain, Kept
from edgeward.certificates.on_demand.obtain import Obtainer
from edgeward.certificates.policy import Policy, withheld_sentence
from edgeward.database.engine import Database
from edgeward.errors import NotFound, Refused
from edgeward.gateway.model import OpenResty
from edgeward.placement import holds, shown, where
from edgeward.sealing import Seal

_ORDER_SECONDS: Final = 600.0
"""How long an order is followed that no client waits for any more."""


class Facade:
    def __init__(
        self,
        database: Database,
        seal: Seal,
        obtainer: Obtainer,
        policy: Callable[[], Policy],
        settings: Callable[[], OpenResty | None],
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._seal = seal
        self._obtainer = obtainer
        self._policy = policy
        self._settings = settings
        self._clock = clock

    async def found(self, name: str) -> Kept:
        allowed(self._policy(), name, self._labels())
        async with self._database.reading() as connection:
            kept = await store.find(connection, self._seal, name, self._clock())
        if kept is None:
            raise NotFound(f"there is no certificate for {name}")
        return self._theirs(kept)

    async def obtained(self, name: str) -> Kept:
        allowed(self._policy(), name, self._labels())
        settings = self._settings()
        patience = settings.autocert_seconds if settings is not None else 1.0
        try:
            async with asyncio.timeout(patience):
                kept = await self._obtainer.obtain(name, _ORDER_SECONDS)
        except TimeoutError as error:
            raise Ordering from error
        return self._theirs(kept)

    def _theirs(self, kept: Kept) -> Kept:
        """Give it where gateways may have it: while a name has none of its own it is a wildcard's."""
        allowed(self._policy(), kept.certificate.name, self._labels())
        return kept

    def _labels(self) -> Mapping[str, str]:
        settings = self._settings()
        return settings.labels if settings is not None else {}


def allowed(policy: Policy, name: str, labels: Mapping[str, str]) -> Domain:
    """Give the domain that covers a name; raises NotFound where none does, Refused where the name is
    deactivated, or served on other nodes than gateways count as: their keys are not for everybody.
    """
    domain = policy.covering(name)
    if domain is None:
        raise NotFound(f"no domain covers {name}; declare it under domains to serve it")
    if policy.withheld(name):
        raise Refused(withheld_sentence(name))
    if domain.nodes is not None and not holds(where(domain.nodes), labels):
        raise Refused(
            f"the domain {domain.name} is served on nodes with {shown(domain.nodes)} only;"
            " say so under openresty.labels if gateways are such"
        )
    return domain
