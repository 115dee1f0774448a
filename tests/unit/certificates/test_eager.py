"""Eager domains have their certificate before anybody visits."""

from __future__ import annotations

import asyncio

import pytest

from edgeward.certificates import eager, store, summaries
from edgeward.certificates.eager import make_missing
from edgeward.certificates.model import Domain, Issuer, LocalIssuer, Summary, Wanted
from edgeward.certificates.renewal.renew import renew_due
from tests.unit.certificates.issuing import DAY, START, Installation, installation


@pytest.fixture
async def here(database_url):
    async with installation(database_url) as made:
        yield made


async def stored(here: Installation) -> dict[str, Summary]:
    async with here.database.reading() as connection:
        return {s.name: s for s in await summaries.listed(connection, Wanted(), 1000)}


async def test_each_eager_domain_gets_one_certificate_by_its_own_name(here):
    names = [f"shop{i}.example" for i in range(70)]
    here.declare(
        [
            *(Domain(name=name) for name in names),
            Domain(name="*.wild.example"),
            Domain(name="*.lazy.example", on_demand=True),
        ]
    )

    assert await make_missing(here.issuance, list(here.policy.eager())) == 71
    assert set(await stored(here)) == {*names, "*.wild.example"}
    assert await make_missing(here.issuance, list(here.policy.eager())) == 0


async def test_a_domain_below_a_wildcard_gets_its_own_too(here):
    here.declare([Domain(name="*.a.example"), Domain(name="b.a.example")])

    assert await make_missing(here.issuance, list(here.policy.eager())) == 2


async def test_a_change_of_project_or_issuer_makes_a_new_one(here):
    here.declare([Domain(name="a.example")])
    await make_missing(here.issuance, list(here.policy.eager()))
    before = (await stored(here))["a.example"]
    short = Issuer(name="short", project="p", local=LocalIssuer(lifetime_days=1))
    here.declare([Domain(name="a.example", project="p", issuer="short")], [short])

    assert await make_missing(here.issuance, list(here.policy.eager())) == 1
    after = (await stored(here))["a.example"]
    assert (after.project, after.issuer) == ("p", "short")
    assert after.fingerprint != before.fingerprint
    assert after.not_after == START + DAY


async def test_one_without_an_issuer_holds_up_no_other(here):
    here.declare([Domain(name="a.example", issuer="nobody"), Domain(name="b.example")])

    assert await make_missing(here.issuance, list(here.policy.eager())) == 1


async def test_two_controllers_make_each_once(database_url, here):
    async with installation(database_url) as elsewhere:
        for one in (here, elsewhere):
            one.declare([Domain(name=f"shop{i}.example") for i in range(100)])
        made = await asyncio.gather(
            make_missing(here.issuance, list(here.policy.eager())),
            make_missing(elsewhere.issuance, list(elsewhere.policy.eager())),
        )

    assert sum(made) == 100


async def test_the_loop_makes_them_at_the_start_and_after_each_change(here):
    changed = asyncio.Event()
    here.declare([Domain(name="a.example")])
    worker = asyncio.create_task(eager.run(here.issuance, changed))
    await until(here, {"a.example"})
    here.declare([Domain(name="a.example"), Domain(name="b.example")])
    changed.set()
    await until(here, {"a.example", "b.example"})
    worker.cancel()


async def until(here: Installation, names: set[str]) -> None:
    async with asyncio.timeout(30):
        while set(await stored(here)) != names:
            await asyncio.sleep(0.01)


async def test_a_name_that_becomes_hot_gets_an_rsa_certificate_too_and_keeps_it(here):
    here.declare([Domain(name="a.example")])
    await make_missing(here.issuance, list(here.policy.eager()))
    here.declare([Domain(name="a.example", hot=True)])

    assert await make_missing(here.issuance, list(here.policy.eager())) == 1
    assert await make_missing(here.issuance, list(here.policy.eager())) == 0
    here.now = (await stored(here))["a.example"].renew_at
    assert await renew_due(here.issuance, here.now) == 1
    async with here.database.reading() as connection:
        kept = await store.find(connection, here.seal, "a.example", here.now)
    assert kept is not None and kept.certificate.beside is not None
    assert kept.certificate.not_after.timestamp() > here.now + 6 * DAY
