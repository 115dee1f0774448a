"""Obtaining: one certificate a name however many ask, from however many controllers."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import func, select

from edgeward.certificates.model import Budgets, Domain, Kept
from edgeward.certificates.on_demand.budgets import Exhausted
from edgeward.certificates.on_demand.obtain import Obtainer
from edgeward.certificates.on_demand.permission import Permission
from edgeward.database.engine import current_revision
from edgeward.database.schema import certificates
from edgeward.errors import Invalid, NotFound, Refused, Unavailable
from tests.unit.certificates.asked import somebody_asked
from tests.unit.certificates.issuing import DAY, START, Installation, installation

DOMAINS = [
    Domain(name="*.customers.example", on_demand=True),
    Domain(name="*.wild.example"),
    Domain(name="shop.example"),
    Domain(name="lost.example", issuer="nobody"),
]


@pytest.fixture
async def here(database_url):
    async with installation(database_url) as made:
        made.declare(DOMAINS)
        yield made


@pytest.fixture
async def obtainer(here):
    made = Obtainer(here.issuance, most_waiting=50)
    worker = asyncio.create_task(made.run())
    yield made
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


def fingerprint(kept: Kept) -> tuple[str, str]:
    return kept.certificate.name, kept.certificate.fingerprint


async def revision(here: Installation) -> int:
    async with here.database.reading() as connection:
        return await current_revision(connection)


async def test_a_new_name_gets_its_own_certificate_and_keeps_it(here, obtainer):
    first = await obtainer.obtain("New.Customers.Example.")
    written = await revision(here)
    again = await obtainer.obtain("new.customers.example")

    assert first.certificate.name == "new.customers.example"
    assert first == again
    assert await revision(here) == written, "a stored certificate is answered without writing"


async def test_however_many_ask_at_once_one_is_issued(here, obtainer):
    spellings = ["a.customers.example", "A.customers.example", "a.customers.example."] * 20
    answers = await asyncio.gather(*(obtainer.obtain(name) for name in spellings))

    assert len({c.certificate.fingerprint for c in answers}) == 1
    assert await revision(here) == 1


async def test_two_controllers_never_issue_twice(database_url, here, obtainer):
    async with installation(database_url) as elsewhere:
        elsewhere.declare(DOMAINS)
        other = Obtainer(elsewhere.issuance)
        worker = asyncio.create_task(other.run())
        names = [f"n{i}.customers.example" for i in range(30)]
        ours, theirs = await asyncio.gather(
            asyncio.gather(*(obtainer.obtain(n) for n in names)),
            asyncio.gather(*(other.obtain(n) for n in reversed(names))),
        )
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)

    assert set(map(fingerprint, ours)) == set(map(fingerprint, theirs))
    async with here.database.reading() as connection:
        assert (await connection.execute(select(func.count()).select_from(certificates))).scalar_one() == 30


async def test_names_that_wait_together_share_a_commit(here, obtainer):
    await asyncio.gather(*(obtainer.obtain(f"n{i}.customers.example") for i in range(40)))

    assert await revision(here) <= 3


async def test_an_eager_name_whose_certificate_is_not_there_yet_gets_it_now(obtainer):
    below = await asyncio.gather(obtainer.obtain("a.wild.example"), obtainer.obtain("b.wild.example"))

    assert (await obtainer.obtain("shop.example")).certificate.name == "shop.example"
    assert {c.certificate.name for c in below} == {"*.wild.example"}
    assert len(set(map(fingerprint, below))) == 1


async def test_strangers_who_make_names_up_fill_no_disk(here, obtainer):
    here.declare([Domain(name="*.customers.example", on_demand=True, most_names=3)])
    first = await obtainer.obtain("a.customers.example")
    made = await asyncio.gather(
        *(obtainer.obtain(f"n{i}.customers.example") for i in range(20)), return_exceptions=True
    )
    assert sum(isinstance(one, Kept) for one in made) == 2
    assert all("raise most_names" in str(one) for one in made if isinstance(one, Refused))
    assert await obtainer.obtain("a.customers.example") == first, "names that have one are served on"

    elsewhere = Obtainer(here.issuance)  # as after a restart: it counts in the store
    worker = asyncio.create_task(elsewhere.run())
    with pytest.raises(Refused):
        await elsewhere.obtain("new.customers.example")
    here.declare([Domain(name="*.customers.example", on_demand=True, most_names=4)])
    await elsewhere.obtain("new.customers.example")
    here.now = START + 8 * DAY
    assert (await elsewhere.obtain("a.customers.example")).certificate.name == "a.customers.example"
    with pytest.raises(Refused):
        await elsewhere.obtain("newer.customers.example")
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_what_is_refused_to_strangers_takes_nobodys_place(here, obtainer):
    async with somebody_asked() as asked:
        domain = Domain(name="*.customers.example", on_demand=True, most_names=2, ask=asked.url())
        here.declare([domain])
        asked.status = "404 Not Found"
        for i in range(4):
            with pytest.raises(Refused, match="does not allow"):
                await obtainer.obtain(f"n{i}.customers.example")
        asked.status = "200 OK"

        for name in ("a", "b"):
            assert (await obtainer.obtain(f"{name}.customers.example")).certificate
        with pytest.raises(Refused, match="raise most_names"):
            await obtainer.obtain("c.customers.example")


@pytest.mark.parametrize("url", ["http://[::1/?key=secret", "http://xn--a/?key=secret"])
async def test_a_url_that_is_none_keeps_no_name_waiting(here, obtainer, url):
    here.declare([Domain(name="*.customers.example", on_demand=True, ask=url)])

    for _ in range(2):
        with pytest.raises(Unavailable, match="which is asked about new names, fails") as found:
            await obtainer.obtain("a.customers.example")
        assert "secret" not in str(found.value)
    assert obtainer.waiting == 0


async def test_asking_that_fails_in_a_way_nobody_thought_of_keeps_no_name_waiting(here):
    class Failing(Permission):
        def knows(self, name, domain):
            return False

        async def learn(self, name, domain):
            raise RuntimeError("out of order")

    obtainer = Obtainer(here.issuance, permission=Failing(here.database, Budgets))
    worker = asyncio.create_task(obtainer.run())
    with pytest.raises(Unavailable, match="the controller's log tells why"):
        await obtainer.obtain("a.customers.example")
    assert obtainer.waiting == 0
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_an_expired_certificate_is_replaced(here, obtainer):
    first = await obtainer.obtain("a.customers.example")
    here.now = START + 8 * DAY
    second = await obtainer.obtain("a.customers.example")

    assert second.certificate.not_after.timestamp() > here.now > first.certificate.not_after.timestamp()


async def test_every_refusal_says_which_kind_it_is(here, obtainer):
    with pytest.raises(NotFound, match="declare it under domains"):
        await obtainer.obtain("unknown.example")
    with pytest.raises(NotFound):
        await obtainer.obtain("a.b.customers.example")
    with pytest.raises(NotFound):
        await obtainer.obtain("customers.example")
    with pytest.raises(Refused, match="'nobody' does not exist"):
        await obtainer.obtain("lost.example")
    for name in ("127.0.0.1", "*.customers.example", "a_b.customers.example", "\x00.customers.example"):
        with pytest.raises(Invalid):
            await obtainer.obtain(name)
    assert await revision(here) == 0
    assert obtainer.waiting == 0


async def test_a_domain_deleted_meanwhile_yields_nothing(here):
    obtainer = Obtainer(here.issuance)
    asking = asyncio.create_task(obtainer.obtain("a.customers.example"))
    await asyncio.sleep(0)
    here.declare([])
    worker = asyncio.create_task(obtainer.run())
    with pytest.raises(NotFound):
        await asking
    worker.cancel()


async def test_one_waiter_that_leaves_takes_nobody_along(here):
    obtainer = Obtainer(here.issuance)
    leaving, staying = (asyncio.create_task(obtainer.obtain("a.customers.example")) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    worker = asyncio.create_task(obtainer.run())

    assert (await staying).certificate.name == "a.customers.example"
    worker.cancel()


async def test_the_number_that_waits_is_bounded_and_those_already_under_way_still_join(here):
    obtainer = Obtainer(here.issuance, most_waiting=3)
    waiting = [asyncio.create_task(obtainer.obtain(f"n{i}.customers.example")) for i in range(3)]
    await asyncio.sleep(0)

    with pytest.raises(Unavailable, match="try again"):
        await obtainer.obtain("n9.customers.example")
    joined = asyncio.create_task(obtainer.obtain("n0.customers.example"))
    worker = asyncio.create_task(obtainer.run())
    await asyncio.gather(*waiting, joined)
    await obtainer.obtain("n9.customers.example")
    worker.cancel()


async def test_nobody_waits_for_ever(here):
    obtainer = Obtainer(here.issuance)

    with pytest.raises(Unavailable, match="within"):
        await obtainer.obtain("a.customers.example", timeout=0.05)


async def test_those_who_wait_hear_that_the_controller_stops(here):
    obtainer = Obtainer(here.issuance)
    worker = asyncio.create_task(obtainer.run())
    async with here.database.writing():
        asking = asyncio.create_task(obtainer.obtain("a.customers.example"))
        await asyncio.sleep(0.05)
        worker.cancel()
        with pytest.raises(Unavailable, match="stopping"):
            await asking


async def test_a_database_in_trouble_is_unavailable_and_the_worker_lives_on(here, obtainer):
    await obtainer.obtain("before.customers.example")
    async with here.database.noting() as connection:
        await connection.exec_driver_sql("ALTER TABLE certificates RENAME TO hidden")
    with pytest.raises(Unavailable):
        await obtainer.obtain("a.customers.example")
    async with here.database.noting() as connection:
        await connection.exec_driver_sql("ALTER TABLE hidden RENAME TO certificates")

    assert (await obtainer.obtain("a.customers.example")).certificate.name == "a.customers.example"


async def test_a_defect_is_logged_and_does_not_end_the_worker(here, obtainer):
    authority, here.authority = here.authority, None
    with pytest.raises(Unavailable, match="log tells why"):
        await obtainer.obtain("a.customers.example")
    here.authority = authority

    assert (await obtainer.obtain("a.customers.example")).certificate.name == "a.customers.example"


async def test_a_name_is_asked_about_once_and_never_again_once_it_has_a_certificate(here, obtainer):
    async with somebody_asked() as asked:
        here.declare([Domain(name="*.asked.example", on_demand=True, ask=asked.url())])
        found = await asyncio.gather(*(obtainer.obtain("a.asked.example") for _ in range(20)))
        assert len({fingerprint(kept) for kept in found}) == 1
        asked.status = "403 Forbidden"
        assert await obtainer.obtain("a.asked.example") == found[0]
        with pytest.raises(Refused, match="403"):
            await obtainer.obtain("b.asked.example")

    assert asked.lines == [f"GET /check?domain={name}.asked.example HTTP/1.1" for name in "ab"]
    assert obtainer.waiting == 0


async def test_a_server_that_does_not_say_whether_holds_up_no_other_name(here, obtainer):
    async with somebody_asked() as asked:
        asked.silent = True
        here.declare([Domain(name="*.asked.example", on_demand=True, ask=asked.url()), *DOMAINS])
        waiting = [asyncio.create_task(obtainer.obtain(f"{n}.asked.example", timeout=5)) for n in range(40)]
        await asyncio.sleep(0.1)
        for n in range(5):
            await obtainer.obtain(f"{n}.customers.example", timeout=4)
        assert not any(task.done() for task in waiting)
        found = await asyncio.gather(*waiting, return_exceptions=True)

    assert {type(outcome) for outcome in found} == {Unavailable}


async def test_strangers_bring_about_no_more_names_than_the_budget(here):
    permission = Permission(here.database, lambda: Budgets(each_domain=7))
    obtainer = Obtainer(here.issuance, permission=permission)
    worker = asyncio.create_task(obtainer.run())
    names = [f"{n}.customers.example" for n in range(60)]
    found = await asyncio.gather(*(obtainer.obtain(n) for n in names), return_exceptions=True)
    known = [name for name, outcome in zip(names, found, strict=True) if isinstance(outcome, Kept)]
    again = [await obtainer.obtain(name) for name in known]
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)

    assert len(known) == len(again) == 7
    assert {type(outcome) for outcome in found} == {Kept, Exhausted}
