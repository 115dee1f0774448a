"""Records of proofs: what cannot be shown in whole leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from edgeward.certificates.acme.records import Records
from edgeward.certificates.acme.zones import Place
from edgeward.certificates.model.dns01 import DnsProof, DnsUpdate
from edgeward.errors import Refused
from edgeward.sealing import Seal, Sealed
from tests.patience import PATIENCE


class Zone:
    """A zone, whose slow names are known late; there is nothing in it of the name that is nowhere."""

    def __init__(self) -> None:
        self.records: set[str] = set()
        self.slow = asyncio.Event()

    async def place(self, name: str) -> Place:
        if "nowhere" in name:
            raise Refused("there is no such zone")
        if "slow" in name:
            await self.slow.wait()
        return Place(name, "example")

    async def servers(self, _zone: str) -> list[tuple[str, int]]:
        return [("192.0.2.1", 53)]

    async def blind(self, _servers: object, _name: str, _text: str) -> list[str]:
        return []

    async def add(self, place: Place, _text: str) -> None:
        self.records.add(place.name)

    async def remove(self, place: Place, _text: str) -> None:
        self.records.discard(place.name)


async def test_what_fails_for_one_name_leaves_no_record_of_the_others():
    seal = Seal(b"k" * 32)
    server = DnsUpdate(server="192.0.2.1", key_name="k", secret=Sealed.of("c2VjcmV0", seal))
    records, zone = Records(DnsProof(update=server, resolvers=["192.0.2.1"]), seal), Zone()
    records._zones, records._writer = zone, zone
    names = ("slow.example", "nowhere.example", "quick.example")

    async with asyncio.timeout(5 * PATIENCE):
        with pytest.raises(Refused, match="no such zone"):
            await records.put_up([(name, "value") for name in names])
        await records.take_down()
        zone.slow.set()
        for _ in range(20):
            await asyncio.sleep(0)

    assert zone.records == set()
