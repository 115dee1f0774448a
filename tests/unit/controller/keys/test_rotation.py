"""The keys of the store: turned over while all is served, by several controllers, and after any interruption."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest
from sqlalchemy import LargeBinary, select, update

from edgeward.certificates import store as certificates
from edgeward.certificates import tickets
from edgeward.certificates.acme import accounts
from edgeward.certificates.orders import queue
from edgeward.controller.keys import resealing
from edgeward.controller.keys.resealing import PLACES, older, reseal
from edgeward.database import schema, seal_keys
from edgeward.database.leases import Lease
from edgeward.errors import Invalid
from edgeward.sealing import Seal, id_of
from edgeward.wrapping import Sources, gathered
from tests.unit.controller.assembled import ADMIN, controller, on_both
from tests.unit.controller.test_secrets import OLD, secret_of
from tests.unit.declaration.test_secrets import issuer

ALONE = Lease("keys", "me", 1, 0.0)


def seal_of(here) -> Seal:
    return here.parts.certificates.issuance.seal


async def issued(here, admin, count: int = 3) -> list[str]:
    """Give names that have certificates, one of them with its twin and keys for tickets."""
    names = [f"d{i}.example" for i in range(count)]
    domains = [{"name": name, "on_demand": True} for name in names[1:]] + [{"name": names[0], "hot": True}]
    for secret in (OLD, "another-s3cret"):
        await here.apply(admin, domains=domains, issuers=[issuer(secret)])
    for name in names:
        await asyncio.wait_for(here.parts.certificates.obtainer.obtain(name), 10)
    await tickets.rotate(here.parts.certificates.issuance, here.parts.certificates.issuance.clock())
    return names


async def everything(here) -> dict[str, str]:
    """Give every private key and secret as it opens now."""
    seal = seal_of(here)
    async with here.parts.database.reading() as connection:
        names = (await connection.execute(select(schema.certificates.c.name))).scalars().all()
        kept = await certificates.find_all(connection, seal, names, here.parts.certificates.issuance.clock())
        masters = await tickets.masters(connection, seal)
    found = {name: one.certificate.key.reveal() for name, one in kept.items()}
    found |= {
        f"{n}/rsa": one.certificate.beside.key.reveal() for n, one in kept.items() if one.certificate.beside
    }
    return found | {"declared": secret_of(here), "tickets": repr(masters)}


async def turned_over(*here) -> None:
    """Carry a rotation to its end, as the lease's holder does, while every controller follows."""
    for _ in range(5):
        for one in here:
            await one.parts.keys.take()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await here[0].parts.leases.work("keys", here[0].parts.keys.work)


def test_every_sealed_column_is_sealed_anew():
    sealed = {
        f"{table.name}.{column.name}"
        for table in schema.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary) and table is not schema.seal_keys
    }

    assert {str(p.column) for p in PLACES if isinstance(p.column.type, LargeBinary)} == sealed


@on_both
async def test_a_rotation_seals_everything_anew_and_nothing_is_lost(here, admin):
    await issued(here, admin)
    before, first = await everything(here), seal_of(here).key_id

    key = (await here.http.post("/v1/keys/rotate", headers=admin)).json()["id"]
    await turned_over(here)

    assert seal_of(here).key_id.hex() == key != first.hex()
    assert await everything(here) == before
    assert await older(here.parts.database, seal_of(here)) == 0
    shown = (await here.http.get("/v1/keys", headers=admin)).json()
    assert [(k["id"], k["retired"] is None) for k in shown["keys"]] == [(first.hex(), False), (key, True)]
    assert (shown["older_records"], shown["waits_for"]) == (0, [])
    digest = (await here.http.get("/v1/export", headers=admin)).json()["issuers"][0]["acme"]["eab"][
        "hmac_key"
    ]
    again = await here.apply(admin, keep=True, issuers=[issuer(digest)])
    assert again.json()["changes"] == []


@on_both
async def test_orders_and_accounts_go_on_after_a_rotation(here, admin):
    seal = seal_of(here)
    place = {"project": "default", "issuer": "le", "directory": "https://ca.example/directory"}
    context = accounts.context_at(tuple(place.values()))
    account = {**place, "created": 1.0, "sealed_key": seal.seal(b"now", context)}
    order = {"name": "a.example", "project": "default", "issuer": "le", "reason": "new", "state": "working"}
    order |= {"queued": 1.0, "due": 1.0, "sealed_key": seal.seal(b"ordered", queue.context("a.example"))}
    async with here.parts.database.writing() as writing:
        account["sealed_next"] = seal.seal(b"next", context)
        await writing.connection.execute(schema.accounts.insert().values(account))
        await writing.connection.execute(schema.orders.insert().values(order))
    await here.parts.keys.rotated(ADMIN)
    await turned_over(here)

    async with here.parts.database.reading() as connection:
        kept = (await connection.execute(select(schema.accounts))).one()
        going = (await connection.execute(select(schema.orders))).one()
    for record, where, plain in (
        (kept.sealed_key, context, b"now"),
        (kept.sealed_next, context, b"next"),
        (going.sealed_key, queue.context("a.example"), b"ordered"),
    ):
        assert bytes(record).startswith(seal.prefix)
        assert seal.open(bytes(record), where) == plain


async def test_an_older_secret_comes_back_after_a_rotation(here, admin):
    first = (await here.apply(admin, issuers=[issuer(OLD)])).json()["revision"]
    await here.apply(admin, issuers=[issuer("another-s3cret")])
    await here.http.post("/v1/keys/rotate", headers=admin)
    await turned_over(here)
    only = Seal(b"x" * 32)
    async with here.parts.database.reading() as connection:
        await seal_keys.refresh(connection, here.parts.keys._wrapping, only)
    only._opening = {only.key_id: only._opening[only.key_id]}  # as if the retired key were gone

    await here.http.post(f"/v1/history/{first}/rollback", json={}, headers=admin)

    value = here.parts.state.stored
    (held,) = [s.value for k, s in value.items() if k.kind == "issuers"]
    assert held.acme.eab.hmac_key.reveal(only).reveal() == OLD


@pytest.mark.parametrize("stop", [1, 3, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4, 5))])
async def test_a_rotation_interrupted_anywhere_goes_on(here, admin, stop, monkeypatch):
    await issued(here, admin)
    before = await everything(here)
    monkeypatch.setattr(resealing, "AT_ONCE", 1)
    await here.parts.keys.rotated(ADMIN)
    writings, writing = 0, here.parts.database.writing

    def failing():
        nonlocal writings
        writings += 1
        if writings > stop:
            raise asyncio.CancelledError
        return writing()

    monkeypatch.setattr(here.parts.database, "writing", failing)
    with suppress(asyncio.CancelledError):
        await turned_over(here)
    monkeypatch.setattr(here.parts.database, "writing", writing)

    assert await everything(here) == before
    await turned_over(here)
    assert await older(here.parts.database, seal_of(here)) == 0
    assert await everything(here) == before


async def test_sealing_anew_passes_over_what_does_not_open(here, admin):
    names = await issued(here, admin)
    async with here.parts.database.writing() as writing:
        spoilt = update(schema.certificates).where(schema.certificates.c.name == names[1])
        await writing.connection.execute(spoilt.values(sealed_key=b"\x01" + b"?" * 60))
    await here.parts.keys.rotated(ADMIN)

    await turned_over(here)

    assert await older(here.parts.database, seal_of(here)) == 1
    assert names[2] in await everything(here)


async def test_an_old_stores_records_are_sealed_anew_by_themselves(tmp_path, sqlite_template):
    key = b"k" * 32
    (tmp_path / "seal.key").write_bytes(key)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(controller(tmp_path))
        old = Seal(key)
        seal_of(first).hold(key, (), b"d" * 32)
        async with first.parts.database.writing() as writing:  # as the version before left it
            await writing.connection.execute(schema.seal_keys.delete())
            await writing.connection.execute(schema.authorities.delete())
        await first.parts.certified.load()
        admin = await first.token("boss", "admin")
        await issued(first, admin)
        before = await everything(first)
        assert await older(first.parts.database, old) == 0
    async with controller(tmp_path) as here:
        assert seal_of(here).key_id == id_of(key)
        await turned_over(here)

        assert seal_of(here).key_id != id_of(key)
        assert await older(here.parts.database, seal_of(here)) == 0
        found = await everything(here)
        assert {k: v for k, v in found.items() if k != "declared"} == {
            k: v for k, v in before.items() if k != "declared"
        }


async def test_two_controllers_turn_over_without_either_missing_a_record(tmp_path, postgres_url):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "seal.key").write_bytes(b"k" * 32)
    async with (
        controller(tmp_path / "one", postgres_url) as one,
        controller(tmp_path / "two", postgres_url) as two,
    ):
        for here in (one, two):
            await here.parts.fleet._beat()
            await here.parts.fleet.load()
        await one.parts.fleet.load()
        admin = await one.token("boss", "admin")
        await issued(one, admin)
        before = await everything(one)
        key = await two.parts.keys.rotated(ADMIN)

        await one.parts.keys._forward(await one.parts.leases.take("keys"))
        assert seal_of(one).key_id.hex() != key, "the other one does not hold it yet"
        assert len((await one.parts.keys.shown(ADMIN))["waits_for"]) == 1
        await two.parts.keys.take()
        await one.parts.leases.release(await one.parts.leases.take("keys"))
        await turned_over(one, two)

        assert seal_of(one).key_id.hex() == seal_of(two).key_id.hex() == key
        assert await everything(one) == before
        assert await older(two.parts.database, seal_of(two)) == 0


async def test_a_wrapping_key_is_exchanged_by_a_rotation(tmp_path):
    sources = Sources(tmp_path / "seal.key")
    async with controller(tmp_path) as here:
        admin = await here.token("boss", "admin")
        await issued(here, admin)
        (tmp_path / "new.key").write_bytes(b"n" * 32)
        both = gathered(Sources(sources.own, file=tmp_path / "new.key"), fresh=False)
        here.parts.keys._wrapping = both
        await here.parts.keys.take()
        await here.parts.keys.rotated(ADMIN)
        await turned_over(here)
        before = await everything(here)

        alone = gathered(Sources(tmp_path / "gone.key", file=tmp_path / "new.key"), fresh=False)
        opened = await seal_keys.load(here.parts.database, alone, 0.0)
        assert opened.key_id == seal_of(here).key_id
        with pytest.raises(Invalid, match="put it in a line behind the present one"):
            await seal_keys.load(here.parts.database, gathered(sources, fresh=False), 0.0)
        assert before


async def test_only_admins_of_everything_see_and_rotate_keys(here, admin):
    for role, project in (("operator", "*"), ("viewer", "*"), ("admin", "default")):
        other = await here.token(f"{role}-{project}".replace("*", "all"), role, project)
        assert (await here.http.get("/v1/keys", headers=other)).status_code == 403
        assert (await here.http.post("/v1/keys/rotate", headers=other)).status_code == 403


async def test_a_second_rotation_finds_the_one_that_goes_on(here, admin):
    first = (await here.http.post("/v1/keys/rotate", headers=admin)).json()
    second = (await here.http.post("/v1/keys/rotate", headers=admin)).json()

    assert first == second
    await reseal(here.parts.database, seal_of(here))
