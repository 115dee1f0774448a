"""Revoking takes away what was revoked, and nothing that came in its place."""

from __future__ import annotations

import pytest

from edgeward.certificates import summaries
from edgeward.certificates.model import Domain, Issuer, Wanted
from edgeward.certificates.revoke import Revocation, revoke
from edgeward.database.engine import Writing
from tests.unit.certificates.issuing import DAY, Installation, installation, put
from tests.unit.certificates.ordering import issuer


@pytest.fixture
async def here(database_url):
    async with installation(database_url) as made:
        yield made


async def note(_writing: Writing) -> None: ...


async def stored(here: Installation) -> dict[str, str]:
    async with here.database.reading() as connection:
        return {s.name: s.fingerprint for s in await summaries.listed(connection, Wanted(), 10)}


async def test_what_was_renewed_while_its_authority_was_told_stays(here):
    here.declare([Domain(name="a.example", issuer="local")], [issuer("local")])
    await put(here, "a.example")
    first = await stored(here)

    async def slowly(_issuer: Issuer, _chain: str, _reason: int) -> None:
        here.now += DAY
        await put(here, "a.example")

    await revoke(here.issuance, slowly, Revocation("a.example", "me", replace=True), note)
    second = await stored(here)
    assert set(second) == {"a.example"} and second != first

    async def at_once(_issuer: Issuer, _chain: str, _reason: int) -> None: ...

    await revoke(here.issuance, at_once, Revocation("a.example", "me"), note)
    assert await stored(here) == {}
