from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import select

from edgeward.certificates.model import Budgets, Domain
from edgeward.certificates.on_demand.budgets import Exhausted, Ledger, Purse
from edgeward.certificates.on_demand.permission import Permission
from edgeward.database.schema import budgets
from edgeward.errors import Refused, Unavailable
from tests.unit.certificates.asked import somebody_asked
from tests.unit.certificates.issuing import installation

NOW = 1_800_000_000.0
HOUR = 3600.0
SUFFIX = Domain(name="*.c.example", on_demand=True)
OTHER = Domain(name="*.d.example", on_demand=True)


@pytest.fixture
async def here(database_url):
    async with installation(database_url) as made:
        yield made


async def allowed(ledger: Ledger, limits: dict[Purse, int], times: int, now: float = NOW) -> int:
    found = 0
    for _ in range(times):
        try:
            await ledger.take(limits, now)
        except Refused:
            continue
        found += 1
    return found


async def test_an_hours_budget_is_never_passed_by_several_controllers_or_restarts(here):
    purse = {Purse("domain", "*.c.example"): 100}
    ledgers = [Ledger(here.database) for _ in range(3)]
    found = sum(await asyncio.gather(*(allowed(ledger, purse, 60) for ledger in ledgers)))
    again = await allowed(Ledger(here.database), purse, 200)

    assert 85 <= found <= 100
    assert found + again <= 100


async def test_no_hour_has_more_than_its_budget_wherever_it_begins(here):
    purse, ledger = {Purse("all", ""): 40}, Ledger(here.database)
    taken = []
    for at in (NOW + n * 97.0 for n in range(150)):
        taken += [at] * await allowed(ledger, purse, 3, at)
    counted = [sum(start <= at < start + HOUR for at in taken) for start in taken]

    assert len(taken) > 80, "what is older than an hour is forgotten"
    assert max(counted) <= 40


async def test_a_clock_that_goes_back_gives_nobody_more(here):
    purse = {Purse("all", ""): 10}
    assert await allowed(Ledger(here.database), purse, 99, NOW) <= 10
    assert await allowed(Ledger(here.database), purse, 99, NOW - 2 * HOUR) == 0


async def test_what_was_taken_is_forgotten_after_a_while(here):
    ledger = Ledger(here.database)
    for n in range(5):
        await allowed(ledger, {Purse("domain", str(n)): 5}, 1, NOW)
    await allowed(ledger, {Purse("domain", "x"): 5}, 1, NOW + 3 * HOUR)

    async with here.database.reading() as connection:
        rows = (await connection.execute(select(budgets.c.key))).scalars().all()
    assert rows == ["x"]


def permission(here, **limits: int) -> Permission:
    return Permission(here.database, lambda: Budgets(**limits))


async def permitted(permission: Permission, domain: Domain, *labels: str, ordered: bool = False) -> list[str]:
    found = []
    for label in labels:
        try:
            await permission.permit(f"{label}{domain.name[1:]}", domain, ordered, NOW)
        except Refused:
            continue
        found.append(label)
    return found


async def test_each_purse_bounds_names_and_what_was_allowed_stays_so(here):
    limited = permission(here, each_domain=2, each_project=3, in_all=100)
    assert await permitted(limited, SUFFIX, "a", "b", "c") == ["a", "b"]
    assert await permitted(limited, OTHER, "a", "b") == ["a"]
    assert await permitted(limited, SUFFIX, "b", "x", "a") == ["b", "a"]

    with pytest.raises(Exhausted, match="2 new names below"):
        await limited.permit("z.c.example", SUFFIX, False, NOW)
    assert limited.decided == {"allowed": 5, "too many": 4}


async def test_names_that_are_ordered_have_a_budget_of_their_own_and_a_domain_may_have_another(here):
    limited = permission(here, each_domain=3, each_ordering_domain=1)
    own = Domain(name="*.own.example", on_demand=True, new_names=2)

    assert await permitted(limited, SUFFIX, "a", "b", ordered=True) == ["a"]
    assert await permitted(limited, own, "a", "b", "c", ordered=True) == ["a", "b"]


async def test_names_that_somebody_declared_cost_nothing(here):
    limited = permission(here, each_domain=1, in_all=1)
    for domain in (Domain(name="a.example", on_demand=True), Domain(name="*.wild.example")):
        for _ in range(3):
            await limited.permit("a.example", domain, False, NOW)


async def test_a_name_is_asked_about_before_it_costs_anything(here):
    domain = Domain(name="*.c.example", on_demand=True, ask="http://127.0.0.1:1/ask")
    limited = permission(here, each_domain=1)
    assert not limited.knows("a.c.example", domain)
    with pytest.raises(Unavailable):
        await limited.permit("a.c.example", domain, False, NOW)

    await limited.learn("a.c.example", domain)
    assert limited.knows("a.c.example", domain)
    with pytest.raises(Unavailable, match="asked about new names"):
        await limited.permit("a.c.example", domain, False, NOW)
    assert await permitted(limited, SUFFIX, "b") == ["b"]


async def test_a_no_stops_renewal_and_no_answer_does_not(here):
    limited = permission(here)
    async with somebody_asked() as asked:
        domain = Domain(name="*.c.example", on_demand=True, ask=asked.url())
        await limited.confirm("a.c.example", domain)
        asked.status = "410 Gone"
        with pytest.raises(Refused, match="410"):
            await limited.confirm("b.c.example", domain)
    await limited.confirm(
        "c.c.example", Domain(name="*.c.example", on_demand=True, ask="http://127.0.0.1:1/")
    )
    await limited.confirm("d.example", Domain(name="d.example"))
    await limited.confirm("e.example", None)


async def test_why_a_url_lets_a_name_have_none_is_told(here):
    asking = Domain(name="*.c.example", on_demand=True, ask="http://127.0.0.1:1/may")

    assert "which is asked about new names, fails" in (await permission(here).refusal("a.c.example", asking))
    assert await permission(here).refusal("a.c.example", SUFFIX) is None
