"""Orders are carried out by worth, within limits, one a name, whatever fails and whoever dies when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from edgeward.certificates import eager, store, summaries
from edgeward.certificates.model import Domain, Issuer, Limit, Limits, LocalIssuer, Order, Summary, Wanted
from edgeward.certificates.on_demand.obtain import Obtainer
from edgeward.certificates.orders import progress, queue
from edgeward.certificates.orders.downloaded import downloaded
from edgeward.certificates.orders.fulfilment import (
    Fulfilled,
    Job,
    Limited,
    Rejected,
    Unproven,
    Unshown,
    Window,
)
from edgeward.certificates.orders.model import Queued, Sought, Wish
from edgeward.certificates.orders.planner import Planner
from edgeward.certificates.renewal import renew
from edgeward.database.engine import Database, Writing
from edgeward.database.leases import Leases, Taken
from edgeward.database.schema import certificates, issuances, orders, spendings
from edgeward.errors import Refused, Unavailable
from tests.unit.certificates.issuing import DAY, START, Installation, installation
from tests.unit.certificates.ordering import UNLIMITED, Ca, issuer, planning, until


@pytest.fixture
async def here(database_url):
    async with installation(database_url) as made:
        yield made


@pytest.fixture
def ca(here):
    return Ca(here)


async def stored(here: Installation) -> dict[str, Summary]:
    async with here.database.reading() as connection:
        return {s.name: s for s in await summaries.listed(connection, Wanted(), 2000)}


async def queued(here: Installation) -> dict[str, Queued]:
    async with here.database.reading() as connection:
        return {q.name: q for q in await queue.listed(connection, Sought(), 20000)}


async def outcomes(here: Installation) -> list[tuple[str, str]]:
    async with here.database.reading() as connection:
        rows = await connection.execute(
            select(issuances.c.name, issuances.c.outcome).order_by(issuances.c.id)
        )
        return [(row.name, row.outcome) for row in rows]


async def declared(here: Installation, names: list[str], *issuers: Issuer, **more: object) -> None:
    first = issuers[0].name
    here.declare([Domain(name=name, issuer=first, **more) for name in names], issuers)
    await eager.make_missing(here.issuance, list(here.policy.eager()))


async def all_failed(here: Installation) -> bool:
    return {order.state for order in (await queued(here)).values()} == {"failed"}


async def none_queued(here: Installation) -> bool:
    async with here.database.reading() as connection:
        return not await progress.counts(connection)


async def test_every_declared_name_gets_one_certificate_by_one_order(here, ca):
    names = [f"shop{i}.example" for i in range(30)]
    await declared(here, names, issuer())
    assert set(await queued(here)) == set(names)
    async with planning(here, ca):
        await until(lambda: none_queued(here))

    made = await stored(here)
    assert {name: made[name].source for name in names} == dict.fromkeys(names, "ordered")
    assert ca.orders == dict.fromkeys(names, 1)
    assert 1 < ca.most_under_way <= 10
    assert sorted(await outcomes(here)) == sorted((name, "issued") for name in names)
    await eager.make_missing(here.issuance, list(here.policy.eager()))
    assert await queued(here) == {}, "what has its certificate is not ordered again"


async def test_a_visitors_name_is_ordered_once_and_told_when_it_is_there(here, ca):
    here.declare([Domain(name="*.customers.example", issuer="ca", on_demand=True)], [issuer()])
    obtainer = Obtainer(here.issuance)
    worker = asyncio.create_task(obtainer.run())
    async with planning(here, ca):
        kept = await asyncio.gather(*(obtainer.obtain("a.customers.example") for _ in range(20)))
    worker.cancel()

    assert len({k.certificate.fingerprint for k in kept}) == 1
    assert ca.orders == {"a.customers.example": 1}


async def test_a_name_that_waits_for_its_turn_to_be_queued_is_not_taken_for_one_that_was_taken_back(here, ca):
    here.declare([Domain(name="*.customers.example", issuer="ca", on_demand=True)], [issuer()])
    obtainer = Obtainer(here.issuance)
    worker = asyncio.create_task(obtainer.run())
    first = asyncio.create_task(obtainer.obtain("a.customers.example", 60))
    await until(lambda: queued(here))
    async with here.database.writing():
        second = asyncio.create_task(obtainer.obtain("b.customers.example", 60))
        await asyncio.sleep(1.2)  # what is awaited is looked at twice
    async with planning(here, ca):
        kept = await asyncio.gather(first, second)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)

    assert [k.certificate.name for k in kept] == ["a.customers.example", "b.customers.example"]


async def test_a_visitor_at_one_controller_gets_what_another_one_ordered(database_url, here, ca):
    domains, issuers = [Domain(name="*.customers.example", issuer="ca", on_demand=True)], [issuer()]
    here.declare(domains, issuers)
    async with installation(database_url) as elsewhere:
        elsewhere.declare(domains, issuers)
        obtainers = [Obtainer(elsewhere.issuance), Obtainer(here.issuance)]
        workers = [asyncio.create_task(one.run()) for one in obtainers]
        async with planning(here, ca):
            kept = await asyncio.gather(*(one.obtain("a.customers.example") for one in obtainers))
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    assert kept[0].certificate.fingerprint == kept[1].certificate.fingerprint
    assert ca.orders == {"a.customers.example": 1}


async def test_a_visitor_hears_why_there_is_no_certificate_and_costs_no_second_order_for_a_minute(here, ca):
    here.declare([Domain(name="*.customers.example", issuer="ca", on_demand=True)], [issuer()])

    def trouble(_job, step):
        if step == "validation":
            raise Unproven("nobody answers at 192.0.2.1")

    ca.trouble = trouble
    obtainer = Obtainer(here.issuance)
    worker = asyncio.create_task(obtainer.run())
    async with planning(here, ca):
        for _ in range(3):
            with pytest.raises(Unavailable, match="nobody answers"):
                await obtainer.obtain("a.customers.example")
        assert ca.orders["a.customers.example"] == 1
        here.now += 61
        await asyncio.sleep(1.2)
        assert ca.orders["a.customers.example"] == 1, "without a visitor it is not tried again"
        ca.trouble = lambda _job, _step: None
        assert (await obtainer.obtain("a.customers.example")).certificate.name == "a.customers.example"
    worker.cancel()
    assert ca.orders["a.customers.example"] == 2


async def test_failures_wait_1_10_and_100_minutes_and_a_day_across_restarts(here, ca):
    await declared(here, ["bad.example"], issuer())
    ca.trouble = refuse

    waits = []
    for _ in range(5):
        asked = len(ca.asked)
        async with planning(here, ca):
            await until(lambda asked=asked: len(ca.asked) > asked)
            await until(lambda: is_state(here, "bad.example", "failed"))
        due = (await queued(here))["bad.example"].due
        waits.append(due - here.now)
        here.now = due - 1
        async with planning(here, ca):
            await asyncio.sleep(0.05)
            assert len(ca.asked) == asked + 1
        here.now = due

    assert waits == [60, 600, 6000, DAY, DAY]


async def have(here, names):
    return set(names) <= set(await stored(here))


def refuse(job, step):
    if step == "order":
        raise Rejected("the authority does not issue for such names\0")


async def is_state(here, name, state):
    found = (await queued(here)).get(name)
    return found is not None and found.state == state


async def test_a_name_that_failed_is_ordered_at_once_where_it_has_another_issuer(here, ca):
    def refuse(job: Job, _step: str) -> None:
        if job.issuer.name == "first":
            raise Rejected("not for you")

    ca.trouble = refuse
    both = [issuer("first"), issuer("second")]
    visited = Domain(name="*.customers.example", issuer="first", on_demand=True)
    here.declare([Domain(name="a.example", issuer="first"), visited], both)
    await eager.make_missing(here.issuance, list(here.policy.eager()))
    obtainer = Obtainer(here.issuance)
    worker = asyncio.create_task(obtainer.run())
    async with planning(here, ca):
        with pytest.raises(Unavailable, match="not for you"):
            await obtainer.obtain("b.customers.example", 60)
        await until(lambda: all_failed(here))
        others = [Domain(name="a.example", issuer="second"), visited.model_copy(update={"issuer": "second"})]
        here.declare(others, both)
        await eager.make_missing(here.issuance, list(here.policy.eager()))
        kept = await obtainer.obtain("b.customers.example", 60)
        await until(lambda: none_queued(here))
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)

    assert kept.certificate.issuer == "second"
    assert {s.issuer for s in (await stored(here)).values()} == {"second"}


async def test_one_bad_name_and_one_slow_authority_stall_nobody(here, ca):
    slow, never = issuer("slow", parallel=2), asyncio.Event()
    names = [f"ok{i}.example" for i in range(10)]
    here.declare(
        [
            *(Domain(name=f"slow{i}.example", issuer="slow") for i in range(20)),
            Domain(name="bad.example", issuer="ca"),
            *(Domain(name=name, issuer="ca") for name in names),
        ],
        [slow, issuer()],
    )

    def trouble(job, step):
        if job.names[0] == "bad.example":
            raise Unproven("nobody answers")
        return never if job.issuer.name == "slow" else None

    ca.trouble = trouble
    await eager.make_missing(here.issuance, list(here.policy.eager()))
    async with planning(here, ca):
        await until(lambda: have(here, names))

    assert sum(name.startswith("slow") for name in ca.asked) == 1, "bulk leaves a place to visitors"


async def test_a_visitor_goes_before_ten_thousand_that_wait(here, ca):
    domains = [Domain(name=f"bulk{i}.example", issuer="ca") for i in range(10_000)]
    visited = Domain(name="*.customers.example", issuer="ca", on_demand=True)
    here.declare([*domains, visited], [issuer(parallel=4)])
    hold = asyncio.Event()
    ca.trouble = lambda job, _step: hold if job.names[0].startswith("bulk") else None
    async with here.database.writing() as writing:
        wishes = [Wish(here.policy.order(d.name, d), "new") for d in domains]
        await queue.add(writing, wishes, here.now)
    obtainer = Obtainer(here.issuance)
    worker = asyncio.create_task(obtainer.run())
    async with planning(here, ca):
        await until(lambda: ca.under_way == 3)
        kept = await obtainer.obtain("a.customers.example")
        assert kept.certificate.name == "a.customers.example"
        assert sum(name.startswith("bulk") for name in ca.asked) == 3
    worker.cancel()


async def test_what_ends_soon_goes_before_what_is_new(here, ca):
    domains = [Domain(name=f"d{i}.example", issuer="ca") for i in range(6)]
    here.declare(domains, [issuer(parallel=1)])
    policy = here.policy
    async with here.database.writing() as writing:
        for i, domain in enumerate(domains):
            reason, ends = ("new", None) if i < 3 else ("renewal", here.now + DAY * (6 - i) / 3)
            await queue.add(writing, [Wish(policy.order(domain.name, domain), reason, ends)], here.now - i)
    async with planning(here, ca):
        await until(lambda: none_queued(here))

    assert ca.asked[:3] == ["d5.example", "d4.example", "d3.example"]


async def test_our_orders_stay_within_what_the_authority_allows(here, ca):
    limits = UNLIMITED.model_copy(update={"orders": Limit(most=5, seconds=1000)})
    names = [f"shop{i}.example" for i in range(12)]
    await declared(here, names, issuer(limits=limits))
    async with planning(here, ca):
        for done in (4, 8, 12):  # bulk leaves a fifth to visitors
            await until(lambda done=done: are_left(here, 12 - done))
            here.now += 1055
            here.issuance.ordered.set()
            await asyncio.sleep(0.1)
            assert len(ca.asked) == done
            here.now += 6
            here.issuance.ordered.set()


async def are_left(here, number):
    return len(await queued(here)) == number


async def test_a_limited_domain_waits_alone_and_says_for_what(here, ca):
    limits = UNLIMITED.model_copy(update={"domain": Limit(most=2, seconds=7 * DAY)})
    await declared(here, [*(f"n{i}.shop.example" for i in range(5)), "other.test"], issuer(limits=limits))
    async with planning(here, ca):
        await until(lambda: len(ca.issued) == 3 and "other.test" in ca.issued)
        await until(lambda: all_later(here))
    waiting = await queued(here)

    assert all("shop.example" in (q.problem or "") for q in waiting.values())
    assert len({q.due for q in waiting.values()}) == 2, "two come with the next window, one after that"
    assert all(q.attempts == 0 and q.state == "waiting" for q in waiting.values())


async def test_thousands_that_wait_for_a_limit_keep_no_visitor_waiting(here, ca):
    limits = UNLIMITED.model_copy(update={"domain": Limit(most=10, seconds=7 * DAY)})
    domains = [Domain(name=f"n{i}.shop.example", issuer="ca") for i in range(1500)]
    visited = Domain(name="*.customers.test", issuer="ca", on_demand=True)
    here.declare([*domains, visited], [issuer(limits=limits)])
    async with here.database.writing() as writing:
        wishes = [Wish(here.policy.order(d.name, d), "new") for d in domains]
        await queue.add(writing, wishes, here.now)
    obtainer = Obtainer(here.issuance)
    worker = asyncio.create_task(obtainer.run())
    async with planning(here, ca):
        await until(lambda: ca.asked)
        await obtainer.obtain("a.customers.test")
        waiting = await queued(here)
    worker.cancel()

    assert len(waiting) > 1400
    assert sum(q.due > here.now for q in waiting.values()) < 1000, "it did not wait until all were looked at"


async def all_later(here):
    return all(q.due > here.now for q in (await queued(here)).values())


async def test_a_429_pauses_its_scope_until_then_and_survives_a_restart(here, ca):
    await declared(here, ["a.shop.example", "b.shop.example", "c.other.test"], issuer())
    refused = []

    def trouble(job, step):
        if step == "order" and job.names[0].endswith("shop.example"):
            refused.append(job.names[0])
            raise Limited("too many certificates", "domain", "shop.example", here.now + 5000)

    ca.trouble = trouble
    async with planning(here, ca):
        await until(lambda: ca.issued["c.other.test"])
        await until(lambda: all_later(here))
    before = len(refused)
    here.now += 4990
    async with planning(here, ca):
        await asyncio.sleep(0.2)
        assert len(refused) == before
        ca.trouble = lambda _job, _step: None
        here.now += 11
        here.issuance.ordered.set()
        await until(lambda: none_queued(here))

    assert before <= 2
    assert {"a.shop.example", "b.shop.example"} <= set(ca.issued)


async def test_another_issuer_is_tried_where_the_first_cannot_issue_and_its_certificate_stays(here, ca):
    first, second = issuer("first", fallback=["second"]), issuer("second")

    def trouble(job, _step):
        if job.issuer.name == "first":
            raise Unavailable("first is down")

    ca.trouble = trouble
    await declared(here, ["a.example"], first, second)
    async with planning(here, ca):
        await until(lambda: none_queued(here))
    assert (await stored(here))["a.example"].issuer == "second"
    await eager.make_missing(here.issuance, list(here.policy.eager()))
    assert await queued(here) == {}


async def test_an_order_says_why_its_issuer_has_no_account_until_it_has_one(here, ca):
    async def problem():
        return (await queued(here))["a.example"].problem

    async def told():
        return await problem() == "no account at ca: the key is unknown"

    async def troubled():
        async with here.database.reading() as connection:
            return await progress.troubled(connection), await progress.troubled(connection, "elsewhere")

    ca.no_account = Refused("the key is unknown")
    await declared(here, ["a.example"], issuer())
    async with planning(here, ca):
        await until(told)
        assert await troubled() == (
            progress.Troubled(1, "a.example", "no account at ca: the key is unknown"),
            None,
        )
        ca.no_account = None
        ca.trouble = lambda _job, _step: asyncio.Event()
        here.now += 61
        here.issuance.ordered.set()
        await until(lambda: ca.asked)
        assert await problem() is None
        assert await troubled() == (None, None)


async def test_what_one_authority_says_stops_no_orders_at_others(here):
    class Odd(Ca):
        async def account(self, issuer: Issuer) -> str:
            if issuer.name == "odd":
                raise ValueError("nobody thought of this")
            return await super().account(issuer)

        async def window(self, issuer: Issuer, chain: str) -> Window | None:
            raise ValueError("nor of this")

    first, odd = issuer(), issuer("odd")
    here.declare(
        [Domain(name="a.example", issuer="odd"), Domain(name="b.example", issuer="ca")], [first, odd]
    )
    async with planning(here, Odd(here)):
        await eager.make_missing(here.issuance, [here.policy.covering("a.example")])
        await until(lambda: told(here, "a.example", "nobody thought of"))
        await eager.make_missing(here.issuance, [here.policy.covering("b.example")])
        await until(lambda: asked_for_a_window(here, "b.example"))


async def told(here: Installation, name: str, text: str) -> bool:
    return text in ((await queued(here))[name].problem or "")


async def asked_for_a_window(here: Installation, name: str) -> bool:
    own = certificates.c
    async with here.database.reading() as connection:
        query = select(own.window_next).where(own.name == name, own.window_next > here.now)
        return (await connection.execute(query)).first() is not None


async def test_a_claim_of_which_the_database_does_not_say_whether_it_holds_is_made_again(here):
    database = Silent(here.database)
    ca = Ca(here)
    await declared(here, ["a.example", "b.example"], issuer())
    planner = Planner(replace(here.issuance, database=database), ca)
    work = asyncio.create_task(planner.run())
    await until(lambda: none_queued(here))
    work.cancel()

    assert database.kept_silent == 1
    assert ca.orders == {"a.example": 1, "b.example": 1}
    assert await spent(here) == {False}


async def spent(here: Installation) -> set[bool]:
    async with here.database.reading() as connection:
        return {False, *(await connection.execute(select(spendings.c.pending))).scalars()}


class Silent:
    """A database whose connection breaks once, just when orders were claimed: they are, and it does not say so."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.kept_silent = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._database, name)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Writing]:
        async with self._database.writing() as writing:
            yield writing
            counted = select(func.count()).select_from(orders).where(orders.c.state == "working")
            claimed = (await writing.connection.execute(counted)).scalar_one()
        if claimed and not self.kept_silent:
            self.kept_silent = 1
            raise Unavailable("the connection broke")


async def test_slow_authorities_keep_nobody_from_another_one_however_many_orders_they_hold(here, ca):
    slow = [issuer("slow", parallel=100), issuer("slower", parallel=100)]
    names = [(f"n{i}.{one.name}.example", one.name) for one in slow for i in range(100)]
    domains = [Domain(name=name, issuer=whose) for name, whose in names]
    here.declare([*domains, Domain(name="a.example", issuer="ca")], [*slow, issuer()])
    ca.trouble = lambda job, _step: asyncio.Event() if job.issuer.name != "ca" else None
    async with planning(here, ca):
        await eager.make_missing(here.issuance, domains)
        here.issuance.ordered.set()
        await until(lambda: ca.under_way >= 100)
        await eager.make_missing(here.issuance, [here.policy.covering("a.example")])
        here.issuance.ordered.set()
        await until(lambda: ca.issued["a.example"])

    assert ca.most_under_way <= 102


async def test_names_whose_records_cannot_be_put_up_do_not_make_their_authority_count_as_down(here, ca):
    def trouble(_job: Job, at: str) -> None:
        if at == "validation":
            raise Unshown("the record _acme-challenge.broken.example is not seen at 192.0.2.1")

    ca.trouble = trouble
    one = issuer()
    await declared(here, [f"n{i}.broken.example" for i in range(5)], one)
    async with planning(here, ca) as planner:
        await until(lambda: are_failed(here, 5))
        assert planner.plan is not None
        assert not planner.plan.health[one.theirs.directory].ill


async def are_failed(here: Installation, number: int) -> bool:
    return [q.state for q in (await queued(here)).values()] == ["failed"] * number


async def test_our_own_authority_may_stand_behind_others(here, ca):
    ca.no_account = Refused("the account is closed")
    first = issuer("first", fallback=["own"])
    await declared(here, ["a.example"], first, Issuer(name="own", local=LocalIssuer(lifetime_days=2)))
    async with planning(here, ca):
        await until(lambda: none_queued(here))

    made = (await stored(here))["a.example"]
    assert (made.issuer, made.source) == ("own", "issued")


@pytest.mark.parametrize("step", ["order", "validation", "finalize", "download"])
async def test_a_controller_that_dies_at_a_step_leaves_one_order_and_one_certificate(here, ca, step):
    await declared(here, ["a.example"], issuer(), also=["b.example"])
    reached: list[str] = []

    def trouble(_job: Job, at: str) -> asyncio.Event | None:
        reached.append(at)
        return asyncio.Event() if at == step else None

    ca.trouble = trouble
    async with planning(here, ca):
        await until(lambda: step in reached)
    assert (await queued(here))["a.example"].state == "working"
    ca.trouble = lambda _job, _step: None
    async with planning(here, ca):
        await until(lambda: none_queued(here))

    assert ca.orders == {"a.example": 1}
    assert ca.issued == {"a.example": 1}
    made = await stored(here)
    assert made["a.example"].fingerprint == made["b.example"].fingerprint
    assert made["b.example"].leader == "a.example"


async def test_a_name_whose_order_is_taken_away_and_queued_anew_is_not_ordered_twice_at_a_time(here, ca):
    await declared(here, ["a.example"], issuer())
    hold = asyncio.Event()
    ca.trouble = lambda _job, at: hold if at == "download" else None
    async with planning(here, ca):
        await until(lambda: ca.under_way)
        async with here.database.writing() as writing:
            await queue.remove(writing, ["a.example"])
        await eager.make_missing(here.issuance, list(here.policy.eager()))
        here.issuance.ordered.set()
        await until(lambda: told(here, "a.example", "an earlier order"))
        hold.set()
        await until(lambda: none_queued(here))

    assert ca.orders == {"a.example": 1}
    assert (await stored(here))["a.example"].source == "ordered"


async def test_who_lost_the_lease_writes_nothing_more(here, ca):
    await declared(here, ["a.example"], issuer())
    leases = Leases(here.database, "me", lambda: here.now, seconds=5)
    lease = await leases.take("orders")
    hold = asyncio.Event()
    ca.trouble = lambda _job, at: hold if at == "download" else None
    with pytest.raises(Taken):
        async with planning(here, ca, lease) as planner:
            await until(lambda: ca.under_way)
            await asyncio.sleep(0.1)
            await leases.release(lease)
            assert await Leases(here.database, "another", lambda: here.now).take("orders") is not None
            hold.set()
            await until(lambda: planner.plan is None)

    assert "a.example" not in await stored(here)


async def test_renewals_are_ordered_in_time_and_say_what_they_replace(here, ca):
    await declared(here, ["a.example"], issuer())
    suggested = Window(START + 20 * DAY, START + 21 * DAY, START + 6 * 3600)
    ca.windows = lambda _chain: suggested
    async with planning(here, ca):
        await until(lambda: none_queued(here))
        await until(lambda: renews_at(here, "a.example", suggested.start, suggested.end))
    before = (await stored(here))["a.example"]
    here.now = START + 19.9 * DAY
    assert await renew.order_due(here.issuance, here.now) == 0
    here.now = before.renew_at + 1
    assert await renew.order_due(here.issuance, here.now) == 1
    assert await renew.order_due(here.issuance, here.now) == 0
    async with planning(here, ca):
        await until(lambda: none_queued(here))

    assert ca.jobs[0].replaces is None
    assert ca.jobs[1].replaces is not None
    assert ca.jobs[1].replaces.count(".") == 1
    assert (await stored(here))["a.example"].fingerprint != before.fingerprint


async def renews_at(here, name, after, before):
    return after <= (await stored(here))[name].renew_at <= before


@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.slow)])
async def test_an_authority_down_for_a_week_lets_no_certificate_expire(here, ca, count):
    names = [f"shop{i}.example" for i in range(count)]
    here.declare([Domain(name=name, issuer="ca") for name in names], [issuer(parallel=50)])
    ca.lifetime = 90 * DAY
    async with here.database.writing() as writing:
        made = []
        for name in names:
            signed = here.authority.issue(Order(name, "default", "ca", 90 * DAY), START, 0)
            one = Fulfilled(signed.chain, signed.key)
            made.append(downloaded(one, (name,), "default", "ca", START, here.issuance.spread()))
        await store.put(writing, here.seal, made, here.now)
    down = [True]

    def trouble(_job, _step):
        if down[0]:
            raise Unavailable("the authority does not answer")

    ca.trouble = trouble
    end = START + 90 * DAY
    here.now = end - 25 * DAY  # all are due, and it has just gone
    asked_while_down = 0
    async with planning(here, ca):
        while here.now < end - 18 * DAY:
            await renew.order_due(here.issuance, here.now)
            here.issuance.ordered.set()
            await asyncio.sleep(0.02)
            here.now += 4 * 3600
        asked_while_down = len(ca.asked)
        down[0] = False
        while not await none_queued(here):
            assert here.now < end - 16 * DAY, "all are renewed within two days"
            here.issuance.ordered.set()
            await asyncio.sleep(0.05)
            here.now += 60

    assert all(s.not_after > end for s in (await stored(here)).values())
    assert asked_while_down < 150, "who does not answer is asked by one order at a time"


async def test_what_is_kept_of_spendings_is_bounded_by_the_limits(here, ca):
    await declared(here, [f"n{i}.example" for i in range(20)], issuer(limits=Limits()))
    async with planning(here, ca):
        await until(lambda: none_queued(here))
    here.now += 32 * DAY
    here.declare([], [issuer(limits=Limits(exact=Limit(most=5, seconds=33 * DAY)))])
    async with planning(here, ca) as planner:
        await until(lambda: planner.plan is not None)
        await asyncio.sleep(0.3)
    assert not await nothing_spent(here), "a window that long is declared"
    here.declare([], [issuer(limits=Limits())])
    async with planning(here, ca):
        await until(lambda: nothing_spent(here))


async def nothing_spent(here):
    async with here.database.reading() as connection:
        return not (await connection.execute(select(func.count()).select_from(spendings))).scalar_one()
