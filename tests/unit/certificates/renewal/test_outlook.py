"""The outlook on all renewals keeps to the limits that the orders themselves will keep to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.certificates import store
from edgeward.certificates.model import AcmeIssuer, Domain, Limit, Limits, Order
from edgeward.certificates.orders.downloaded import downloaded
from edgeward.certificates.orders.fulfilment import Fulfilled
from edgeward.certificates.orders.limits import registered_domain
from edgeward.certificates.renewal.outlook import Renewals, outlook
from tests.unit.certificates.issuing import DAY, START, installation
from tests.unit.certificates.ordering import issuer

SMALL = Limits(orders=Limit(most=3, seconds=100), domain=Limit(most=2, seconds=1000))
ACME = AcmeIssuer(directory="https://ca.example/dir", limits=SMALL)


def planned(*renewals: tuple[str, float], limits: Limits = SMALL, ends: float = 1e6) -> tuple[float, int]:
    found = Renewals()
    for name, due in renewals:
        found.add(name, START + due, START + ends, exempt=False)
    finish, late = found.planned(ACME.model_copy(update={"limits": limits}), START)
    return finish - START, late


def test_more_than_an_account_may_order_waits_for_the_next_window():
    names = [(f"shop{i}.test", 0.0) for i in range(7)]

    assert planned(*names[:3]) == (0, 0)
    assert planned(*names[:4]) == (100, 0)
    assert planned(*names) == (200, 0)
    assert planned(*names, ends=150) == (200, 1)


def test_more_than_a_registered_domain_may_have_waits_longer():
    assert planned(*((f"n{i}.shop.co.uk", 0.0) for i in range(6))) == (2000, 0)
    assert planned(*((f"n{i}.shop{i}.co.uk", 0.0) for i in range(3))) == (0, 0)


def test_what_the_authority_suggested_itself_waits_for_nothing():
    found = Renewals()
    for i in range(100):
        found.add(f"n{i}.shop.test", START + i, START + 1000, exempt=True)

    assert found.planned(ACME, START) == (START + 99, 0)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 5000)), max_size=40))
def test_it_ends_no_sooner_than_a_limit_allows_and_no_sooner_than_the_last_is_due(renewals):
    names = [(f"n{i}.{domain}.example", due) for i, (domain, due) in enumerate(renewals)]
    finish, _ = planned(*names)

    assert finish >= max((due for _, due in names), default=0) - 1e-3
    dues = sorted(due for _, due in names)
    assert not dues or finish >= dues[0] + (len(dues) - 1) // 3 * 100 - 1e-3
    for whose in {registered_domain(name) for name, _ in names}:
        dues = sorted(due for name, due in names if registered_domain(name) == whose)
        assert finish >= dues[0] + (len(dues) - 1) // 2 * 1000 - 1e-3


async def test_it_looks_at_what_other_authorities_issued_and_at_nothing_else(database_url):
    async with installation(database_url) as here:
        names = [f"shop{i}.test" for i in range(5)]
        here.declare([Domain(name=name, issuer="ca") for name in names], [issuer(limits=SMALL)])
        made = []
        for name in names:
            signed = here.authority.issue(Order(name, "default", "ca", 90 * DAY), START, 0)
            one = Fulfilled(signed.chain, signed.key)
            made.append(downloaded(one, (name,), "default", "ca", START, 0.0))
        local = here.authority.issue(Order("own.test", "default", "local", 7 * DAY), START, 0)
        async with here.database.writing() as writing:
            await store.put(writing, here.seal, [*made, local], here.now)
        async with here.database.reading() as connection:
            found = await outlook(connection, here.policy.issuer, START)

    assert found.renewals == 5
    assert found.finish == pytest.approx(START + 60 * DAY + 100, abs=2)
    assert found.late == 0
