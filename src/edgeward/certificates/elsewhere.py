"""What only authorities elsewhere need, loaded when the first of them is asked for something.

ACME and DNS with their libraries were a sixth of a controller's start, and need not be there where all is
issued by the local authority.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from edgeward.certificates.model import Issuer
from edgeward.certificates.orders.fulfilment import Fulfilled, Job, Save, Saved, Window
from edgeward.certificates.preflight.lookups import Caa, Lookups
from edgeward.database.engine import Database
from edgeward.sealing import Seal

if TYPE_CHECKING:
    from edgeward.certificates.acme.fulfiller import AcmeFulfiller

T = TypeVar("T")


class Elsewhere:
    """``fulfilment.Fulfiller`` and all else that is asked of an authority that speaks ACME."""

    def __init__(self, database: Database, seal: Seal, clock: Callable[[], float]) -> None:
        def load() -> AcmeFulfiller:
            from edgeward.certificates.acme.fulfiller import AcmeFulfiller

            return AcmeFulfiller(database, seal, clock)

        self._acme = _Loaded(load)

    async def fulfil(self, job: Job, saved: Saved, save: Save) -> Fulfilled:
        return await (await self._acme.here()).fulfil(job, saved, save)

    async def window(self, issuer: Issuer, chain: str) -> Window | None:
        return await (await self._acme.here()).window(issuer, chain)

    async def revoke(self, issuer: Issuer, chain: str, reason: int) -> None:
        await (await self._acme.here()).revoke(issuer, chain, reason)

    async def account(self, issuer: Issuer) -> str:
        return await (await self._acme.here()).account(issuer)

    async def identities(self, issuer: Issuer) -> tuple[str, ...]:
        return await (await self._acme.here()).identities(issuer)

    async def change_account_key(self, issuer: Issuer) -> None:
        await (await self._acme.here()).change_account_key(issuer)

    def close(self) -> None:
        if self._acme.found is not None:
            self._acme.found.close()


class PublicDns:
    """``Lookups`` of the servers in /etc/resolv.conf, or of these (``IP:PORT``)."""

    def __init__(self, servers: Sequence[str] = ()) -> None:
        def load() -> Lookups:
            from edgeward.certificates.preflight.public_dns import Dns

            return Dns(servers)

        self._dns = _Loaded(load)

    async def addresses(self, name: str) -> frozenset[str]:
        return await (await self._dns.here()).addresses(name)

    async def caa(self, name: str) -> frozenset[Caa]:
        return await (await self._dns.here()).caa(name)


class _Loaded(Generic[T]):
    """Loads once, in a thread: everybody else goes on meanwhile."""

    def __init__(self, load: Callable[[], T]) -> None:
        self.found: T | None = None
        self._load = load
        self._loading = asyncio.Lock()

    async def here(self) -> T:
        async with self._loading:
            if self.found is None:
                self.found = await asyncio.to_thread(self._load)
            return self.found
