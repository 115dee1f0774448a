"""Who may see, expire and obtain which certificate."""

from __future__ import annotations

import asyncio

import pytest

from edgeward.access.model import Principal
from edgeward.certificates import expirations
from edgeward.certificates.eager import make_missing
from edgeward.certificates.model import Domain, Wanted
from edgeward.certificates.on_demand.obtain import Obtainer
from edgeward.controller.certificates.usecases import Certificates
from edgeward.declaration import audit
from edgeward.errors import NotFound, Refused
from tests.unit.certificates.issuing import DAY, Installation, installation


def somebody(role: str, project: str = "*", node: str | None = None) -> Principal:
    return Principal("id", f"{role} of {project}", role, project, node)


ADMIN = somebody("admin")


@pytest.fixture
async def here(database_url):
    async with installation(database_url) as made:
        made.declare(
            [
                Domain(name="a.example", project="p"),
                Domain(name="*.b.example", project="q"),
                Domain(name="*.lazy.example", project="q", on_demand=True),
            ]
        )
        await make_missing(made.issuance, list(made.policy.eager()))
        yield made


@pytest.fixture
async def cases(here):
    obtainer = Obtainer(here.issuance)
    worker = asyncio.create_task(obtainer.run())
    yield Certificates(here.database, obtainer, lambda: here.policy, lambda: here.authority, lambda: here.now)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def names(cases: Certificates, who: Principal, where: Wanted | None = None, expiring=None) -> list[str]:
    return [s.name for s in await cases.listed(who, where or Wanted(), expiring, 100, None)]


async def test_everybody_sees_the_certificates_of_their_own_project(cases):
    assert await names(cases, ADMIN) == ["*.b.example", "a.example"]
    assert await names(cases, somebody("viewer", "p")) == ["a.example"]
    with pytest.raises(NotFound):
        await names(cases, somebody("viewer", "p"), Wanted(project="q"))
    assert (await cases.found(somebody("viewer", "q"), "X.B.example")).name == "*.b.example"
    for hidden in ("a.example", "b.example", "none.example", "not a name"):
        with pytest.raises(NotFound):
            await cases.found(somebody("viewer", "q"), hidden)


async def test_a_certificate_goes_with_its_domain_to_another_project(here: Installation, cases):
    here.declare([Domain(name="a.example", project="q")])

    assert (await cases.found(somebody("viewer", "q"), "a.example")).project == "p"
    with pytest.raises(NotFound):
        await cases.found(somebody("viewer", "p"), "a.example")


async def test_those_that_end_soon_can_be_asked_for(cases):
    assert await names(cases, ADMIN, expiring=8 * DAY) == ["*.b.example", "a.example"]
    assert await names(cases, ADMIN, expiring=6 * DAY) == []


async def test_an_order_to_expire_names_the_certificate_and_is_written_down(here: Installation, cases):
    revision = await cases.expired(somebody("operator", "q"), "x.b.example")
    async with here.database.reading() as connection:
        orders = await expirations.since(connection, 0)
        (entry,) = await audit.listed(connection, limit=10)

    assert orders == [expirations.Expiration("*.b.example", revision)]
    assert (entry["who"], entry["action"], entry["name"]) == ("operator of q", "expire", "*.b.example")


async def test_only_who_may_change_a_certificate_expires_it(cases):
    with pytest.raises(Refused):
        await cases.expired(somebody("viewer", "p"), "a.example")
    with pytest.raises(NotFound):
        await cases.expired(somebody("operator", "q"), "a.example")
    with pytest.raises(NotFound):
        await cases.expired(ADMIN, "new.lazy.example")
    with pytest.raises(Refused):
        await cases.expired(somebody("operator", "q"), "*")
    assert await cases.expired(somebody("operator"), "*") > 0


async def test_nodes_obtain_and_everybody_may_have_the_roots(cases):
    kept = await cases.obtained(somebody("node", "*", "edge1"), "new.lazy.example")

    assert kept.certificate.name == "new.lazy.example"
    assert cases.roots().startswith("-----BEGIN CERTIFICATE-----")
