"""Records at providers: what is written side by side does not undo one another."""

from __future__ import annotations

import asyncio
import sys
import time
from types import ModuleType

import pytest

from edgeward.certificates.acme.providers import Providers
from edgeward.certificates.acme.zones import Place
from edgeward.certificates.model.dns01 import DnsProvider
from edgeward.sealing import Seal


@pytest.fixture
def zone(monkeypatch):
    """A zone at a provider whose API has no other change than to write all its records."""
    records: list[str] = []

    class Provider:
        def __init__(self, _config: object) -> None: ...

        def authenticate(self) -> None: ...

        def create_record(self, _kind: str, name: str, content: str) -> None:
            self._write([*records, f"{name} {content}"])

        def delete_record(self, _id: None, _kind: str, name: str, content: str) -> None:
            self._write([record for record in records if record != f"{name} {content}"])

        def _write(self, every: list[str]) -> None:
            time.sleep(0.05)
            records[:] = every

    module = ModuleType("fake")
    module.Provider = Provider
    monkeypatch.setitem(sys.modules, "lexicon._private.providers.namecheap", module)
    return records


async def test_names_of_a_zone_that_is_written_as_a_whole_are_changed_one_after_the_other(zone):
    provider = Providers(DnsProvider(name="namecheap"), Seal(bytes(32)))
    places = [Place(f"_acme-challenge.{name}.example", "example") for name in "abcd"]
    await asyncio.gather(*(provider.add(place, "first") for place in places))
    added = sorted(zone)
    await asyncio.gather(
        *(provider.remove(place, "first") for place in places[:2]), provider.add(places[3], "b")
    )

    assert added == [f"{place.name}. first" for place in places]
    assert sorted(zone) == [f"{places[2].name}. first", f"{places[3].name}. b", f"{places[3].name}. first"]
