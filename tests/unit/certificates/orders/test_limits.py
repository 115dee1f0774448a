"""What is asked of an authority never exceeds what it allows, whatever comes when and however it ends."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.certificates.model import AcmeIssuer, Limit, Limits
from edgeward.certificates.orders.limits import (
    CLOCKS_APART,
    Book,
    Charge,
    Spent,
    costs,
    exact_set,
    paused_by,
    registered_domain,
)

START = 1_800_000_000.0
SMALL = Limits(
    orders=Limit(most=4, seconds=1000),
    domain=Limit(most=3, seconds=5000),
    exact=Limit(most=2, seconds=5000),
    failures=Limit(most=2, seconds=700),
)
ISSUER = AcmeIssuer(directory="https://ca.example/dir", limits=SMALL)
NAMES = ["a.shop.example", "b.shop.example", "*.shop.example", "a.other.co.uk", "b.other.co.uk"]

steps = st.tuples(
    st.sampled_from(NAMES),
    st.floats(0, 400),  # until it comes
    st.floats(0, 300),  # how long it takes
    st.floats(0, 1),  # when, of that, the authority counts it
    st.sampled_from(["issued", "unproven", "refused"]),
    st.booleans(),  # bulk
)


@settings(max_examples=300)
@given(st.lists(steps, max_size=60), st.floats(-CLOCKS_APART / 2, CLOCKS_APART / 2))
def test_no_window_of_an_authority_is_ever_exceeded(coming, apart):
    book, now = Book(), START
    under_way: list[tuple[float, str, object, list[Charge]]] = []
    counted: dict[Charge, list[float]] = defaultdict(list)

    def end_until(moment):
        for end, name, planned, kept in sorted((u for u in under_way if u[0] <= moment), key=lambda u: u[0]):
            book.settle(planned.charges, name, kept, end)
        under_way[:] = [u for u in under_way if u[0] > moment]

    for name, after, lasting, share, outcome, bulk in coming:
        now += after
        end_until(now)
        if any(name == other for _, other, _, _ in under_way):
            continue  # an order is worked on once at a time
        planned = costs(ISSUER, "account", [name], exempt=False, resumed=False)
        if book.earliest(planned, now, bulk=bulk) is not None:
            continue
        book.begin(planned.charges, name)
        used = {"issued": {"orders", "domain", "exact"}, "unproven": {"orders", "failures"}, "refused": set()}
        kept = [charge for charge in planned.charges if charge.scope in used[outcome]]
        for charge in kept:
            counted[charge].append(now + apart + lasting * share)
        under_way.append((now + lasting, name, planned, kept))

    for charge, at in counted.items():
        limit = getattr(SMALL, charge.scope)
        for first in at:
            within = [one for one in at if first <= one < first + limit.seconds]
            assert len(within) <= limit.most, charge


@given(st.lists(st.floats(0, 20_000), max_size=30), st.floats(0, 20_000))
def test_when_the_time_that_was_given_has_come_one_more_may_begin(spent, later):
    planned = costs(ISSUER, "account", ["a.shop.example"], exempt=False, resumed=False)
    book = Book(Spent(charge, "x", START + at, False) for at in spent for charge in planned.charges)
    now = START + later
    asked = 0
    while (found := book.earliest(planned, now)) is not None:
        assert found[0] > now
        now, asked = found[0], asked + 1
        assert asked <= 3 * len(planned.charges), "each limit is waited for, and no longer than that"
    assert now <= START + 20_000 + later + 5000 + CLOCKS_APART


def test_what_is_read_from_the_database_counts_as_before():
    planned = costs(ISSUER, "account", ["a.shop.example"], exempt=False, resumed=False)
    orders = next(charge for charge in planned.charges if charge.scope == "orders")
    book = Book([Spent(orders, "w.example", START, pending=True)] + [Spent(orders, "x", START, False)] * 3)

    assert book.earliest(planned, START + 1) is not None
    book.settle([orders], "w.example", (), START + 2)
    assert book.earliest(planned, START + 3) is None


def test_bulk_leaves_room_for_visitors():
    issuer = AcmeIssuer(directory="https://ca.example/dir", limits=Limits(orders=Limit(most=10, seconds=100)))
    book, begun = Book(), 0
    names = iter(f"n{i}.t{i}.example" for i in range(100))
    while True:
        planned = costs(issuer, "account", [name := next(names)], exempt=False, resumed=False)
        if book.earliest(planned, START, bulk=True) is not None:
            break
        book.begin(planned.charges, name)
        begun += 1

    assert begun == 8
    assert book.earliest(planned, START) is None


def test_a_renewal_the_authority_suggested_counts_against_nothing_but_failures():
    planned = costs(ISSUER, "account", ["a.shop.example"], exempt=True, resumed=False)

    assert {charge.scope for charge in planned.charges} == {"failures"}


def test_what_one_authority_has_paused_stops_that_and_nothing_else():
    ours = costs(ISSUER, "account", ["a.shop.example"], exempt=False, resumed=False)
    beside = costs(ISSUER, "account", ["a.other.co.uk"], exempt=False, resumed=False)
    elsewhere = costs(ISSUER, "another", ["b.other.co.uk"], exempt=False, resumed=False)
    book = Book()
    for charge in paused_by("domain", "shop.example", ours):
        book.pause(charge, START + 100)
    assert book.paused(ours, START)[0] == START + 100
    assert book.paused(beside, START)[1] is None

    for charge in paused_by("account", "whatever it called it", ours):
        book.pause(charge, START + 50)
    assert book.paused(beside, START)[0] == START + 50
    assert book.paused(elsewhere, START)[1] is None
    assert book.paused(beside, START + 51)[1] is None


def test_a_registered_domain_is_what_stands_below_a_public_suffix():
    assert registered_domain("*.a.b.co.uk") == "b.co.uk"
    assert registered_domain("shop.customers.example") == "customers.example"
    assert registered_domain("me.github.io") == "me.github.io"
    assert registered_domain("co.uk") == "co.uk"


def test_the_same_names_are_the_same_set_in_any_order():
    assert exact_set(["b.example", "a.example"]) == exact_set(["a.example", "b.example"])
    assert exact_set(["b.example", "a.example"]) != exact_set(["a.example", "c.example"])
