"""Renewal comes in time, for what is still wanted, and never in a tight loop."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.certificates import store, summaries
from edgeward.certificates.eager import make_missing
from edgeward.certificates.model import Domain, Issuer, LocalIssuer, Order, Summary, Wanted
from edgeward.certificates.renewal.renew import forget_uploaded, renew_due
from edgeward.certificates.timing import renewal_of_own
from tests.unit.certificates.issuing import DAY, START, Installation, installation


@pytest.fixture
async def here(database_url):
    async with installation(database_url) as made:
        yield made


async def stored(here: Installation) -> dict[str, Summary]:
    async with here.database.reading() as connection:
        return {s.name: s for s in await summaries.listed(connection, Wanted(), 1000)}


async def renew_everything(here: Installation, now: float) -> int:
    here.now = now
    batches = 0
    while await renew_due(here.issuance, now):
        batches += 1
        assert batches < 20, "what was looked at must not be due again at once"
    return batches


async def test_nothing_is_renewed_before_its_time_and_everything_with_a_third_of_life_left(here):
    here.declare([Domain(name=f"shop{i}.example") for i in range(80)])
    await make_missing(here.issuance, list(here.policy.eager()))
    before = await stored(here)
    assert await renew_everything(here, START + 3.9 * DAY) == 0
    assert await renew_everything(here, START + 7 * DAY * 2 / 3) > 1

    after = await stored(here)
    assert all(after[name].fingerprint != before[name].fingerprint for name in before)
    assert len({s.renew_at for s in after.values()}) > 40, "renewals are spread"


async def test_what_no_domain_wants_is_kept_while_valid_and_forgotten_once_expired(here):
    here.declare([Domain(name="a.example"), Domain(name="b.example")])
    await make_missing(here.issuance, list(here.policy.eager()))
    before = await stored(here)
    here.declare([Domain(name="b.example")])
    await renew_everything(here, START + 5 * DAY)
    kept = await stored(here)
    await renew_everything(here, START + 8 * DAY)

    assert kept["a.example"].fingerprint == before["a.example"].fingerprint
    assert START + 5 * DAY < kept["a.example"].renew_at < START + 5.2 * DAY
    assert kept["b.example"].fingerprint != before["b.example"].fingerprint
    assert set(await stored(here)) == {"b.example"}


async def test_names_that_shared_a_certificate_are_forgotten_once_it_has_expired(here):
    here.declare([Domain(name="a.example", also=["b.example", "c.example", "x.d.example"])])
    await make_missing(here.issuance, list(here.policy.eager()))
    here.declare([Domain(name="a.example", also=["b.example"]), Domain(name="*.d.example", on_demand=True)])
    await renew_everything(here, START + 5 * DAY)
    still = set(await stored(here))
    await renew_everything(here, START + 11 * DAY)
    left = set(await stored(here))
    here.declare([])
    await renew_everything(here, START + 19 * DAY)

    assert still == {"a.example", "b.example", "c.example", "x.d.example"}
    assert left == {"a.example", "b.example"}
    assert await stored(here) == {}


async def test_a_domain_that_comes_back_is_renewed_again(here):
    here.declare([Domain(name="a.example")])
    await make_missing(here.issuance, list(here.policy.eager()))
    here.declare([])
    await renew_everything(here, START + 5 * DAY)
    here.declare([Domain(name="a.example")])
    await renew_everything(here, START + 6 * DAY)

    assert (await stored(here))["a.example"].not_after == START + 13 * DAY


async def test_one_that_cannot_be_renewed_waits_and_holds_up_no_other(here):
    short = Issuer(name="gone", local=LocalIssuer(lifetime_days=7))
    stuck = [Domain(name=f"a{i}.example", issuer="gone") for i in range(40)]
    here.declare([*stuck, Domain(name="b.example")], [short])
    await make_missing(here.issuance, list(here.policy.eager()))
    here.declare([*stuck, Domain(name="b.example")])
    await renew_everything(here, START + 5 * DAY)

    after = await stored(here)
    assert after["b.example"].not_after == START + 12 * DAY
    assert START + 5 * DAY < after["a0.example"].renew_at < START + 5.2 * DAY


async def test_an_expired_certificate_that_is_still_wanted_is_renewed(here):
    here.declare([Domain(name="*.a.example", on_demand=True)])
    async with here.database.writing() as writing:
        old = here.authority.issue(Order("b.a.example", "default", "local", DAY), START, 0)
        await store.put(writing, here.seal, [old], here.now)
    await renew_everything(here, START + 3 * DAY)

    assert (await stored(here))["b.a.example"].not_after == START + 10 * DAY


async def uploaded(here: Installation, name: str, life: float) -> None:
    made = here.authority.issue(Order(name, "default", "uploaded", life), START, 0)
    async with here.database.writing() as writing:
        await store.put(writing, here.seal, [replace(made, source="uploaded")], here.now)


async def test_what_was_uploaded_is_forgotten_once_it_has_expired_and_no_domain_covers_it(here):
    for name, life in {"a.example": 2 * DAY, "b.example": 2 * DAY, "c.example": 4 * DAY}.items():
        await uploaded(here, name, life)
    here.declare([Domain(name="b.example", issuer="uploaded")])
    await forget_uploaded(here.issuance, START + DAY)
    before = set(await stored(here))
    await forget_uploaded(here.issuance, START + 3 * DAY)

    assert before == {"a.example", "b.example", "c.example"}
    assert set(await stored(here)) == {"b.example", "c.example"}


async def test_a_name_that_joined_an_uploaded_certificate_is_renewed_in_time(here):
    await uploaded(here, "a.example", 60 * DAY)
    here.declare([Domain(name="a.example", also=["b.example", "c.example"])])
    await make_missing(here.issuance, list(here.policy.eager()))
    before = await stored(here)
    await renew_everything(here, START + 5 * DAY)
    after = await stored(here)

    assert before["b.example"].not_after == before["c.example"].not_after == START + 7 * DAY
    assert after["b.example"].not_after == after["c.example"].not_after == START + 12 * DAY
    assert after["a.example"] == before["a.example"]
    assert await make_missing(here.issuance, list(here.policy.eager())) == 0


async def test_the_shortest_lifetime_is_not_renewed_in_a_loop(here):
    blink = Issuer(name="blink", local=LocalIssuer(lifetime_days=0.000501))
    here.declare([Domain(name="a.example", issuer="blink")], [blink])
    await make_missing(here.issuance, list(here.policy.eager()))
    assert await renew_everything(here, START) == 0
    assert await renew_everything(here, START + 60) == 1


@given(st.floats(60, 400 * DAY), st.floats(0, 0.999))
def test_renewal_lies_between_the_middle_and_two_thirds_of_life(life, spread):
    at = renewal_of_own(START, START + life, spread)

    assert START + life / 2 < at <= START + life * 2 / 3 + 1
