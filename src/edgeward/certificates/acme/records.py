"""Proves names by records in DNS (dns-01): written, seen by every name server, removed again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final, Protocol

from edgeward.certificates.acme.keys import base64url
from edgeward.certificates.acme.pace import pauses
from edgeward.certificates.acme.providers import Providers
from edgeward.certificates.acme.updates import Updates
from edgeward.certificates.acme.zones import Place, Zones
from edgeward.certificates.model.dns01 import DnsProof
from edgeward.errors import EdgewardError, Unavailable
from edgeward.log import logger
from edgeward.sealing import Seal

_LABEL: Final = "_acme-challenge"
_log = logger("edgeward.certificates.acme")


class Writer(Protocol):
    """Puts records into a zone; raises Rejected, Unavailable."""

    async def add(self, place: Place, text: str) -> None: ...

    async def remove(self, place: Place, text: str) -> None: ...


class Records:
    """The records of one order; ``wanted`` are pairs of a name, as declared, and a key authorization."""

    def __init__(self, settings: DnsProof, seal: Seal) -> None:
        self._zones = Zones(settings.resolvers)
        self._patience = settings.wait_seconds
        self._writer = _writer(settings, seal)
        self._added: list[tuple[Place, str]] = []

    async def put_up(self, wanted: Sequence[tuple[str, str]]) -> None:
        """Returns when the records are seen; raises Refused, Unavailable."""
        tasks = [asyncio.create_task(self._put_up(name, value)) for name, value in wanted]
        try:
            await asyncio.gather(*tasks)
        finally:  # what one of them wrote after this nobody would take down
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def take_down(self) -> None:
        """What cannot be removed stays, and does no harm but to stand there."""
        for place, text in self._added:
            try:
                await self._writer.remove(place, text)
            except EdgewardError as error:
                _log.warning("the record of a proof stays", record=place.name, reason=str(error))

    async def _put_up(self, name: str, value: str) -> None:
        place, text = await self._zones.place(record_name(name)), record_text(value)
        self._added.append((place, text))
        await self._writer.add(place, text)
        servers = await self._zones.servers(place.zone)
        blind: list[str] = []
        for pause in (0.0, *pauses(self._patience)):
            await asyncio.sleep(pause)
            blind = await self._zones.blind(servers, place.name, text)
            if not blind:
                return
        raise Unavailable(
            f"the record {place.name} is not seen at {', '.join(blind)} after {self._patience:.0f} s"
        )


def record_name(name: str) -> str:
    """Give where a name, or a wildcard, is proven (RFC 8555, 8.4)."""
    return f"{_LABEL}.{name.removeprefix('*.')}"


def record_text(authorization: str) -> str:
    return base64url(hashlib.sha256(authorization.encode()).digest())


def _writer(settings: DnsProof, seal: Seal) -> Writer:
    if settings.update is not None:
        return Updates(settings.update, seal)
    assert settings.provider is not None
    return Providers(settings.provider, seal)
